//! Of a directory one file is granted, `hello.txt`; beside it there is a lot.

use crate::Case;
use crate::disk::{
    Descriptor, FOLLOW, KEEP, NewTimestamp, create, dir, open, open_dir, read, write,
};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[("file-sibling", sibling), ("file-names", names)];

const BESIDE: [&str; 10] = [
    "gone.txt",
    "sub",
    "sub/inner/inner.txt",
    ".git/config",
    "hard.txt",
    "inside-1",
    "link-file",
    "./gone.txt",
    "hello.txt/../gone.txt",
    "HELLO.TXT",
];

fn listed(dir: &Descriptor) -> Vec<String> {
    let Ok(entries) = dir.read_directory() else {
        return Vec::new();
    };
    let next = || entries.read_directory_entry().ok().flatten();
    std::iter::from_fn(next).map(|entry| entry.name).collect()
}

fn sibling(trial: &mut Trial, _: &str) {
    let one = dir("/one");
    trial.works("what is granted", read(&one, "hello.txt"));
    for path in BESIDE {
        trial.refused(path, read(&one, path));
        trial.refused(path, open_dir(&one, path));
        trial.refused(path, one.stat_at(FOLLOW, path).map(drop));
        trial.refused(path, one.readlink_at(path));
        trial.refused(path, one.metadata_hash_at(KEEP, path).map(drop));
    }
    for path in ["..", "../read/file.txt", "../work/gone.txt", "/"] {
        trial.refused(path, open(&one, path));
    }
    let listed = listed(&one);
    trial.holds(&format!("listed: {listed:?}"), listed == ["hello.txt"]);
    let size = one.stat().map(|stat| stat.size);
    trial.holds("the directory does not tell its size", size == Ok(0));
}

fn names(trial: &mut Trial, _: &str) {
    let one = dir("/one");
    trial.works("written in place", write(&one, "hello.txt", "HELLO"));
    for path in ["new.txt", "gone.txt", "sub/new.txt", ".git/config"] {
        trial.refused(path, create(&one, path));
        trial.refused(path, one.create_directory_at(path));
        trial.refused(path, one.symlink_at("hello.txt", path));
        trial.refused(path, one.unlink_file_at(path));
        trial.refused(path, one.remove_directory_at(path));
        trial.refused(path, one.rename_at(path, &one, "hello.txt"));
        trial.refused(path, one.rename_at("hello.txt", &one, path));
        trial.refused(path, one.link_at(KEEP, "hello.txt", &one, path));
        trial.refused(path, one.link_at(KEEP, path, &one, "other"));
        let now = NewTimestamp::Now;
        trial.refused(path, one.set_times_at(FOLLOW, path, now, now));
    }
    trial.refused("itself", one.unlink_file_at("hello.txt"));
}
