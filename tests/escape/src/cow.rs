//! What a guest does to a directory that is granted copy-on-write.

use crate::Case;
use crate::disk::{self, FOLLOW, KEEP, NewTimestamp, OpenFlags, create, dir, open, read, write};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("cow-untouched", everything),
    ("cow-links", links),
    ("ending-compared", holes),
];

/// Files that take no time to make, and much to read.
fn holes(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for number in 0..4 {
        let file = trial.works("open", create(&work, &format!("hole-{number}")));
        if let Some(file) = file {
            trial.works("a hole", file.set_size(200 << 20));
        }
    }
}

/// Every kind of change; all of them work, on the copy.
fn everything(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("write", write(&work, "hello.txt", "HELLO from the guest"));
    trial.works("make", write(&work, "new.txt", "new"));
    trial.works("mkdir", work.create_directory_at("made"));
    trial.works("unlink", work.unlink_file_at("gone.txt"));
    trial.works("rmdir", work.remove_directory_at("swap/empty"));
    trial.works("rename", work.rename_at("sub/inner", &work, "sub/moved"));
    trial.works("symlink", work.symlink_at("hello.txt", "made-link"));
    trial.works("link", work.link_at(KEEP, "new.txt", &work, "newer.txt"));
    let truncated = work.open_at(
        FOLLOW,
        "swap/kept.txt",
        OpenFlags::TRUNCATE,
        disk::DescriptorFlags::WRITE,
    );
    trial.works("truncate", truncated);
    let file = trial.works("open", create(&work, "swap/secret.txt"));
    if let Some(file) = file {
        trial.works("resize", file.set_size(3));
        let stream = trial.works("stream", file.append_via_stream());
        if let Some(stream) = stream {
            trial.works("append", stream.blocking_write_and_flush(b"appended"));
        }
    }
    let now = NewTimestamp::Now;
    trial.works("times", work.set_times_at(FOLLOW, "hello.txt", now, now));
    trial.holds(
        "it sees what it wrote",
        read(&work, "hello.txt").is_ok_and(|text| text.starts_with("HELLO")),
    );
}

/// Links were copied as links: they lead where they led before.
fn links(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in ["link-absolute", "link-root/etc/passwd", "link-file"] {
        trial.refused(path, read(&work, path));
        trial.refused(path, create(&work, path));
    }
    trial.refused("parent", open(&work, "../base.json"));
    trial.works("a link that stays inside", read(&work, "inside-1"));
}
