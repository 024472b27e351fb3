//! Symbolic and hard links, those that are there and those a guest makes.

use wasip2::clocks::monotonic_clock;

use crate::Case;
use crate::disk::{
    self, Descriptor, ErrorCode, FOLLOW, KEEP, NONE, create, dir, open, open_dir, read, write,
};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("link-relative", relative),
    ("link-absolute", absolute),
    ("link-chain", chain),
    ("link-directory", directory),
    ("link-loop", looping),
    ("link-dangling", dangling),
    ("link-proc", proc),
    ("link-made", made),
    ("link-moved", moved),
    ("link-tree-moved", tree_moved),
    ("link-walked", walked),
    ("link-race-read", race_read),
    ("link-race-write", race_write),
    ("link-race-remove", race_remove),
    ("slash-open", slash_open),
    ("slash-rename", slash_rename),
    ("slash-remove", slash_remove),
    ("rename-across", rename_across),
    ("hardlink-write", hardlink_write),
    ("hardlink-across", hardlink_across),
    ("hardlink-follow", hardlink_follow),
];

fn not_followed(trial: &mut Trial, path: &str) {
    let work = dir("/work");
    trial.refused(&format!("read {path}"), read(&work, path));
    trial.refused(&format!("write {path}"), create(&work, path));
    trial.refused(&format!("truncate {path}"), truncate(&work, path));
}

fn truncate(dir: &Descriptor, path: &str) -> Result<Descriptor, ErrorCode> {
    dir.open_at(
        FOLLOW,
        path,
        disk::OpenFlags::TRUNCATE,
        disk::DescriptorFlags::WRITE,
    )
}

fn relative(trial: &mut Trial, _: &str) {
    not_followed(trial, "link-file");
    not_followed(trial, "sub/link-up");
}

fn absolute(trial: &mut Trial, _: &str) {
    not_followed(trial, "link-absolute");
    not_followed(trial, "link-root/etc/passwd");
}

fn chain(trial: &mut Trial, _: &str) {
    not_followed(trial, "chain-1");
    trial.works("a chain that stays inside", read(&dir("/work"), "inside-1"));
}

fn directory(trial: &mut Trial, _: &str) {
    not_followed(trial, "link-dir/secret.txt");
    not_followed(trial, "link-dir/new.txt");
    not_followed(trial, "sub/../link-dir/secret.txt");
    let work = dir("/work");
    trial.refused("mkdir", work.create_directory_at("link-dir/new"));
    trial.refused("unlink", work.unlink_file_at("link-dir/kept.txt"));
    trial.refused(
        "rename",
        work.rename_at("link-dir/kept.txt", &work, "mine.txt"),
    );
    trial.refused("open", open_dir(&work, "link-dir"));
}

fn looping(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        "loop-a",
        "loop-self",
        "loop-a/x",
        "sub/loop-parent/loop-parent/loop-self",
    ] {
        trial.refused(path, read(&work, path));
        trial.refused(path, work.stat_at(FOLLOW, path).map(drop));
    }
    trial.works("hello.txt", read(&work, "hello.txt"));
}

/// The link's target does not exist: creating "it" would create a file outside.
fn dangling(trial: &mut Trial, _: &str) {
    not_followed(trial, "link-dangling");
    let work = dir("/work");
    let exclusive = disk::OpenFlags::CREATE | disk::OpenFlags::EXCLUSIVE;
    let flags = disk::DescriptorFlags::WRITE;
    trial.refused(
        "exclusive",
        work.open_at(FOLLOW, "link-dangling", exclusive, flags),
    );
    trial.refused("mkdir", work.create_directory_at("link-dangling/"));
}

fn proc(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        "link-proc/environ",
        "link-proc/root/etc/passwd",
        "link-proc/cwd",
        "link-proc/fd/0",
        "link-dev/mem",
    ] {
        trial.refused(path, read(&work, path));
        trial.refused(path, open_dir(&work, path));
    }
}

fn made(trial: &mut Trial, outside: &str) {
    let work = dir("/work");
    for target in [
        "..",
        "../outside/secret.txt",
        "sub/../../outside",
        "sub/..",
        "/etc/passwd",
        "//etc",
        "/",
        "./../outside",
        outside,
    ] {
        trial.refused(target, work.symlink_at(target, "mine"));
        if target.starts_with("..") {
            trial.refused(
                &format!("{target} from sub"),
                work.symlink_at(&format!("../{target}"), "sub/mine"),
            );
        }
    }
    trial.works(
        "a link that stays inside",
        work.symlink_at("../hello.txt", "sub/fine"),
    );
    trial.works("through it", read(&work, "sub/fine"));
}

fn moved(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("link", work.symlink_at("../../hello.txt", "sub/inner/up"));
    trial.refused(
        "moved up by one",
        work.rename_at("sub/inner/up", &work, "sub/up"),
    );
    trial.refused(
        "moved to the top",
        work.rename_at("sub/inner/up", &work, "up"),
    );
    trial.refused(
        "second name",
        work.link_at(KEEP, "sub/inner/up", &work, "up"),
    );
    trial.works(
        "moved beside",
        work.rename_at("sub/inner/up", &work, "sub/inner/up2"),
    );
}

fn tree_moved(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("mkdir", work.create_directory_at("sub/inner/tree"));
    trial.works(
        "link",
        work.symlink_at("../../../hello.txt", "sub/inner/tree/up"),
    );
    trial.refused(
        "moved to the top",
        work.rename_at("sub/inner/tree", &work, "tree"),
    );
    trial.refused(
        "its parent moved to the top",
        work.rename_at("sub/inner", &work, "inner"),
    );
}

/// Everything that could fool a tool of the host that walks the directory afterwards; the host walks it.
fn walked(trial: &mut Trial, outside: &str) {
    let work = dir("/work");
    let _ = work.symlink_at("../outside", "plant-1");
    let _ = work.symlink_at(outside, "plant-2");
    let _ = work.symlink_at("sub", "alias");
    let _ = work.symlink_at("../../outside", "alias/plant-3");
    let _ = work.symlink_at("alias/../../outside", "plant-4");
    let _ = work.create_directory_at("sub/a");
    let _ = work.symlink_at("../../../outside", "sub/a/plant-5");
    let _ = work.symlink_at("../..", "sub/a/plant-6");
    let _ = work.rename_at("sub/a/plant-6", &work, "plant-6");
    let _ = work.rename_at("sub/a", &work, "a");
    let _ = work.symlink_at("plant-8", "plant-7");
    let _ = work.symlink_at("..", "plant-8");
    trial.holds("planted what could be planted", true);
}

/// Does something over and over while somebody on the host exchanges `swap` for a link and back.
fn race(mut attempt: impl FnMut(u64)) -> u64 {
    let until = monotonic_clock::now() + 400_000_000;
    let mut tries = 0;
    while monotonic_clock::now() < until {
        attempt(tries);
        tries += 1;
    }
    tries
}

fn race_read(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let (mut decoys, mut secrets) = (0, 0);
    let tries = race(|_| match read(&work, "swap/secret.txt") {
        Ok(text) if text.contains("SECRET") => secrets += 1,
        Ok(_) => decoys += 1,
        Err(_) => {}
    });
    trial.holds(
        &format!("{tries} reads, {decoys} of the decoy, none of the secret"),
        secrets == 0,
    );
    trial.holds("some reads got through", decoys > 0);
}

fn race_write(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let mut written = 0;
    race(|at| {
        let path = format!("swap/written-{}", at % 8);
        written += u64::from(write(&work, &path, "x").is_ok());
        let _ = truncate(&work, "swap/kept.txt");
        let _ = work.create_directory_at("swap/made");
        let _ = work.remove_directory_at("swap/made");
        let _ = work.rename_at("swap/written-0", &work, "swap/renamed");
        let now = disk::NewTimestamp::Now;
        let _ = work.set_times_at(FOLLOW, "swap/kept.txt", now, now);
    });
    trial.holds("some writes got through", written > 0);
}

fn race_remove(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let tries = race(|_| {
        let _ = work.unlink_file_at("swap/kept.txt");
        let _ = work.remove_directory_at("swap/empty");
        let _ = work.rename_at("swap/secret.txt", &work, "taken.txt");
        let _ = work.link_at(KEEP, "swap/secret.txt", &work, "linked.txt");
    });
    trial.holds("it was tried", tries > 0);
}

fn slash_open(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        "link-file/",
        "link-dir/",
        "link-dir/.",
        "link-dir//secret.txt",
        "link-dangling/",
        "hello.txt/",
    ] {
        trial.refused(path, read(&work, path));
        trial.refused(path, open_dir(&work, path));
        trial.refused(path, create(&work, path));
        trial.refused(
            &format!("{path} not following"),
            work.open_at(KEEP, path, NONE, disk::DescriptorFlags::READ),
        );
    }
    trial.refused("file/..", open(&work, "hello.txt/../sub"));
}

fn slash_rename(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in ["link-dir/", "link-file/", "link-dir//", "link-dir/."] {
        trial.refused(path, work.rename_at(path, &work, "moved"));
        trial.refused(
            &format!("onto {path}"),
            work.rename_at("sub/inner", &work, path),
        );
        trial.refused(
            &format!("file onto {path}"),
            work.rename_at("hello.txt", &work, path),
        );
        trial.refused(
            &format!("link at {path}"),
            work.link_at(KEEP, "hello.txt", &work, path),
        );
    }
}

fn slash_remove(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for path in [
        "link-dir/",
        "link-file/",
        "link-dir/empty",
        "link-dir/empty/",
        "link-dir/.",
    ] {
        trial.refused(&format!("rmdir {path}"), work.remove_directory_at(path));
        trial.refused(&format!("unlink {path}"), work.unlink_file_at(path));
    }
    trial.refused("unlink hello.txt/", work.unlink_file_at("hello.txt/"));
}

fn rename_across(trial: &mut Trial, _: &str) {
    let (work, read_only, data) = (dir("/work"), dir("/read"), dir("/data"));
    trial.refused("rw to rw", work.rename_at("hello.txt", &data, "hello.txt"));
    trial.refused(
        "ro to rw",
        read_only.rename_at("file.txt", &work, "file.txt"),
    );
    trial.refused(
        "rw to ro",
        work.rename_at("hello.txt", &read_only, "hello.txt"),
    );
    trial.refused(
        "within ro",
        read_only.rename_at("file.txt", &read_only, "other.txt"),
    );
    trial.works("within rw", data.rename_at("data.txt", &data, "other.txt"));
}

fn hardlink_write(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("reading", read(&work, "hard.txt"));
    trial.refused("write", create(&work, "hard.txt"));
    trial.refused("truncate", truncate(&work, "hard.txt"));
    trial.refused(
        "second name",
        work.link_at(KEEP, "hard.txt", &work, "harder.txt"),
    );
    let now = disk::NewTimestamp::Now;
    trial.refused("times", work.set_times_at(FOLLOW, "hard.txt", now, now));
    trial.works("made", write(&work, "made.txt", "x"));
    trial.works(
        "named again",
        work.link_at(KEEP, "made.txt", &work, "made-too.txt"),
    );
    trial.works(
        "written through its own second name",
        write(&work, "made-too.txt", "y"),
    );
}

fn hardlink_across(trial: &mut Trial, _: &str) {
    let (work, read_only, data) = (dir("/work"), dir("/read"), dir("/data"));
    trial.refused(
        "ro to rw",
        read_only.link_at(KEEP, "file.txt", &work, "mine.txt"),
    );
    trial.refused(
        "rw to rw",
        data.link_at(KEEP, "data.txt", &work, "mine.txt"),
    );
    trial.refused(
        "rw to ro",
        work.link_at(KEEP, "hello.txt", &read_only, "mine.txt"),
    );
    trial.refused(
        "within ro",
        read_only.link_at(KEEP, "file.txt", &read_only, "mine.txt"),
    );
}

fn hardlink_follow(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.refused(
        "following",
        work.link_at(FOLLOW, "link-file", &work, "mine.txt"),
    );
    trial.refused(
        "of a link",
        work.link_at(KEEP, "link-file", &work, "mine-link"),
    );
    trial.refused(
        "through a link",
        work.link_at(KEEP, "link-dir/secret.txt", &work, "mine.txt"),
    );
    trial.refused("of a directory", work.link_at(KEEP, "sub", &work, "mine"));
}
