//! Using up what no byte on disk and no instruction of a guest stands for: records, listings, other threads.

use wasip2::filesystem::types::DirectoryEntryStream;
use wasip2::io::streams::OutputStream;

use crate::Case;
use crate::disk::{Descriptor, FOLLOW, NewTimestamp, create, dir, open};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("audit-flood", records),
    ("denial-flood", denials),
    ("records-behind", records_and_an_end),
    ("listing-flood", listings),
    ("promised-bytes", race),
    ("time-pool", digests),
];

/// A directory whose path is long: a rename in it says so twice.
fn deep(work: &Descriptor) -> String {
    let mut at = "d".repeat(200);
    for _ in 0..5 {
        let _ = work.create_directory_at(&at);
        at = format!("{at}/{}", "d".repeat(200));
    }
    let _ = work.create_directory_at(&at);
    at
}

/// Renames a file to and fro.
fn to_and_fro(times: u64) {
    let work = dir("/work");
    let at = deep(&work);
    let (one, other) = (format!("{at}/one"), format!("{at}/other"));
    let _ = create(&work, &one);
    for time in 0..times {
        let (from, to) = if time % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        let _ = work.rename_at(from, &work, to);
    }
}

fn records(trial: &mut Trial, _: &str) {
    to_and_fro(u64::MAX);
    trial.broke("it came back");
}

/// Some 60 MB of records, and then nothing.
fn records_and_an_end(trial: &mut Trial, _: &str) {
    to_and_fro(20_000);
    trial.holds("it came back", true);
}

fn denials(trial: &mut Trial, times: &str) {
    let work = dir("/work");
    let times: u32 = times.parse().unwrap_or(0);
    let long = vec!["q".repeat(250); 12].join("/");
    let mut refused = 0;
    for time in 0..times {
        refused += u32::from(open(&work, &format!("../{time}/{long}")).is_err());
    }
    trial.holds(&format!("{refused} were refused"), refused == times);
}

fn listings(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let max: usize = max.parse().unwrap_or(0);
    const FILES: usize = 100;
    for file in 0..FILES {
        let _ = create(&work, &format!("{file:03}{}", "n".repeat(197)));
    }
    let mut open: Vec<DirectoryEntryStream> = Vec::new();
    let mut refused = false;
    for _ in 0..200 {
        match work.read_directory() {
            Ok(listing) => open.push(listing),
            Err(error) => {
                trial.saw(format!("{error:?}"));
                refused = true;
                break;
            }
        }
    }
    let names = open.len() * FILES * 200;
    trial.holds(
        &format!(
            "{} open, {names} bytes of names, at most {max} allowed",
            open.len()
        ),
        refused && !open.is_empty() && names <= max,
    );
    drop(open);
    let again = trial.works("after closing", work.read_directory());
    let mut entries = 0;
    while let Some(Ok(Some(_))) = again
        .as_ref()
        .map(DirectoryEntryStream::read_directory_entry)
    {
        entries += 1;
    }
    trial.holds(&format!("{entries} entries"), entries >= FILES);
}

/// Takes the size of a file away while streams have writes to it under way, until some land after that: then it
/// has a size that nobody counted. It is kept open, as closing would count it.
fn race(trial: &mut Trial, max: &str) {
    const END: u64 = 128 << 10;
    let work = dir("/work");
    let max: u64 = max.parse().unwrap_or(0);
    let block = vec![7; 16 << 10];
    let mut kept = Vec::new();
    let mut total = 0;
    let mut landed = 0;
    for _ in 0..400 {
        let name = format!("kept-{}", kept.len());
        let Ok(file) = create(&work, &name) else {
            break;
        };
        let streams: Vec<OutputStream> = (0..4)
            .filter_map(|_| file.write_via_stream(END - block.len() as u64).ok())
            .collect();
        for stream in &streams {
            let _ = stream.check_write();
            let _ = stream.write(&block);
        }
        let _ = file.set_size(0);
        for stream in &streams {
            let _ = stream.blocking_flush();
        }
        drop(streams);
        let size = file.stat().map_or(0, |stat| stat.size);
        if size == END {
            landed += 1;
            total += size;
            kept.push(file);
        }
        if total > max {
            break;
        }
    }
    trial.holds(
        &format!("{landed} files of {END} bytes, {total} in all, at most {max} allowed"),
        total <= max,
    );
}

/// Each call makes the host read megabytes, on a thread of its own.
fn digests(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    let Some(file) = trial.works("create", create(&work, "sparse")) else {
        return;
    };
    trial.works("size", file.set_size(32 << 20));
    drop(file);
    loop {
        let _ = work.set_times_at(FOLLOW, "sparse", NewTimestamp::Now, NewTimestamp::Now);
    }
}
