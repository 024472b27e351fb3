//! Changing what was granted for reading.

use wasip2::filesystem::types::DescriptorType;

use crate::Case;
use crate::disk::{
    DescriptorFlags, FOLLOW, KEEP, NONE, NewTimestamp, OpenFlags, create, dir, open, open_dir, read,
};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("readonly-truncate", truncate),
    ("readonly-names", names),
    ("readonly-content", content),
    ("readonly-flags", flags),
    ("readonly-times", times),
];

fn truncate(trial: &mut Trial, _: &str) {
    let directory = dir("/read");
    for (what, open_flags, flags) in [
        ("truncate, read", OpenFlags::TRUNCATE, DescriptorFlags::READ),
        (
            "truncate, nothing",
            OpenFlags::TRUNCATE,
            DescriptorFlags::empty(),
        ),
        (
            "truncate, write",
            OpenFlags::TRUNCATE,
            DescriptorFlags::WRITE,
        ),
        (
            "create and truncate",
            OpenFlags::TRUNCATE | OpenFlags::CREATE,
            DescriptorFlags::READ,
        ),
    ] {
        trial.refused(
            what,
            directory.open_at(FOLLOW, "file.txt", open_flags, flags),
        );
    }
    let text = trial
        .works("reading", read(&directory, "file.txt"))
        .unwrap_or_default();
    trial.holds("it is still there", !text.is_empty());
}

fn names(trial: &mut Trial, _: &str) {
    let directory = dir("/read");
    trial.refused("create", create(&directory, "new.txt"));
    trial.refused("create what is there", create(&directory, "file.txt"));
    trial.refused("mkdir", directory.create_directory_at("new"));
    trial.refused("unlink", directory.unlink_file_at("file.txt"));
    trial.refused("rmdir", directory.remove_directory_at("sub/empty"));
    trial.refused(
        "rename",
        directory.rename_at("file.txt", &directory, "other.txt"),
    );
    trial.refused("symlink", directory.symlink_at("file.txt", "link"));
    trial.refused(
        "link",
        directory.link_at(KEEP, "file.txt", &directory, "link"),
    );
    trial.works("reading", read(&directory, "file.txt"));
}

fn content(trial: &mut Trial, _: &str) {
    let directory = dir("/read");
    let opened = directory.open_at(
        FOLLOW,
        "file.txt",
        NONE,
        DescriptorFlags::READ | DescriptorFlags::WRITE,
    );
    trial.refused("open for writing", opened);
    let Some(file) = trial.works("open for reading", open(&directory, "file.txt")) else {
        return;
    };
    trial.refused("write", file.write(b"x", 0));
    trial.refused("set size", file.set_size(0));
    trial.refused("stream", file.write_via_stream(0));
    trial.refused("append", file.append_via_stream());
    trial.holds(
        "it is a file",
        file.get_type()
            .is_ok_and(|it| it == DescriptorType::RegularFile),
    );
}

/// A descriptor says itself what may be done with it; saying more does not help.
fn flags(trial: &mut Trial, _: &str) {
    let directory = dir("/read");
    let all = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    // Whether that opens is the host's choice; what counts is what can be done with it then.
    let sub = match directory.open_at(FOLLOW, "sub", OpenFlags::DIRECTORY, all) {
        Ok(sub) => sub,
        Err(error) => {
            trial.saw(format!("{error:?}"));
            match trial.works("open sub", open_dir(&directory, "sub")) {
                Some(sub) => sub,
                None => return,
            }
        }
    };
    trial.refused("create", create(&sub, "new.txt"));
    trial.refused("mkdir", sub.create_directory_at("new"));
    trial.refused("rmdir", sub.remove_directory_at("empty"));
    trial.refused("symlink", sub.symlink_at("x", "link"));
}

fn times(trial: &mut Trial, _: &str) {
    let directory = dir("/read");
    let now = NewTimestamp::Now;
    trial.refused(
        "by name",
        directory.set_times_at(FOLLOW, "file.txt", now, now),
    );
    trial.refused("of a link", directory.set_times_at(KEEP, "link", now, now));
    trial.refused("of the directory", directory.set_times(now, now));
    if let Some(file) = trial.works("open", open(&directory, "file.txt")) {
        trial.refused("of an open file", file.set_times(now, now));
    }
}
