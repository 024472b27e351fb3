//! Filling the host's disk and its tables.

use crate::Case;
use crate::disk::{DescriptorFlags, ErrorCode, FOLLOW, NONE, create, dir, open, write};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("quota-disk", disk_bytes),
    ("quota-append", append),
    ("quota-unlinked", unlinked),
    ("quota-file", file_bytes),
    ("quota-files", files),
    ("quota-handles", handles),
    ("quota-streams", streams),
    ("files-observed", observed),
];

/// Writes until it is refused; the bytes that were taken.
fn fill(mut write: impl FnMut(u64) -> Result<u64, ErrorCode>) -> u64 {
    let mut total = 0;
    while total < 64 << 20 {
        match write(total) {
            Ok(0) | Err(_) => break,
            Ok(written) => total += written,
        }
    }
    total
}

fn within(trial: &mut Trial, total: u64, max: &str) {
    let max: u64 = max.parse().unwrap_or(0);
    trial.holds(
        &format!("{total} bytes were taken, at most {max} allowed"),
        (1..=max).contains(&total),
    );
}

fn disk_bytes(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let block = vec![7; 16 << 10];
    let mut total = 0;
    for name in ["one", "two", "three", "four"] {
        if let Ok(file) = create(&work, name) {
            total += fill(|at| file.write(&block, at));
        }
    }
    within(trial, total, max);
}

fn append(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let Some(file) = trial.works("create", create(&work, "log")) else {
        return;
    };
    let mut total = 0;
    for _ in 0..64 {
        if let Ok(stream) = file.append_via_stream() {
            total += fill(|_| match stream.blocking_write_and_flush(&[7; 4096]) {
                Ok(()) => Ok(4096),
                Err(_) => Ok(0),
            });
        }
    }
    within(trial, total, max);
}

/// A file without a name takes as much room as one with.
fn unlinked(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let block = vec![7; 16 << 10];
    let mut kept = Vec::new();
    let mut total = 0;
    for round in 0..16 {
        let name = format!("gone-{round}");
        if let Ok(file) = create(&work, &name) {
            total += fill(|at| file.write(&block, at));
            let _ = work.unlink_file_at(&name);
            kept.push(file);
        }
    }
    within(trial, total, max);
}

fn file_bytes(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let Some(file) = trial.works("create", create(&work, "large")) else {
        return;
    };
    trial.refused("a hole of a terabyte", file.write(b"x", 1 << 40));
    trial.refused(
        "a hole at the end of all numbers",
        file.write(b"x", u64::MAX - 1),
    );
    trial.refused("size", file.set_size(1 << 40));
    trial.refused("largest size", file.set_size(u64::MAX));
    if let Ok(stream) = file.write_via_stream(1 << 40) {
        trial.refused("stream", stream.blocking_write_and_flush(b"x"));
    }
    let block = vec![7; 16 << 10];
    let total = fill(|at| file.write(&block, at));
    within(trial, total, max);
}

fn files(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let max: u32 = max.parse().unwrap_or(0);
    let mut made = 0;
    for number in 0..max * 4 {
        made += match number % 4 {
            0 => u32::from(create(&work, &format!("f{number}")).is_ok()),
            1 => u32::from(work.create_directory_at(&format!("d{number}")).is_ok()),
            2 => u32::from(work.symlink_at("hello.txt", &format!("s{number}")).is_ok()),
            _ => {
                let name = format!("f{}", number - 3);
                u32::from(
                    work.link_at(crate::disk::KEEP, &name, &work, &format!("l{number}"))
                        .is_ok(),
                )
            }
        };
    }
    trial.holds(
        &format!("{made} were made, at most {max} allowed"),
        made > 0 && made <= max,
    );
}

fn handles(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let max: usize = max.parse().unwrap_or(0);
    let mut open_files = Vec::new();
    let mut refused = false;
    for _ in 0..max * 4 {
        match open(&work, "hello.txt") {
            Ok(file) => open_files.push(file),
            Err(error) => {
                trial.saw(format!("{error:?}"));
                refused = true;
                break;
            }
        }
    }
    trial.holds(
        &format!("{} files open, at most {max} allowed", open_files.len()),
        refused && open_files.len() <= max,
    );
    drop(open_files);
    trial.works("after closing", open(&work, "hello.txt"));
}

fn streams(trial: &mut Trial, max: &str) {
    let work = dir("/work");
    let max: usize = max.parse().unwrap_or(0);
    let Some(file) = trial.works("open", open(&work, "hello.txt")) else {
        return;
    };
    let mut kept = Vec::new();
    let mut refused = false;
    for _ in 0..max * 4 {
        match file.read_via_stream(0) {
            Ok(stream) => kept.push(stream),
            Err(_) => {
                refused = true;
                break;
            }
        }
    }
    trial.holds(
        &format!("{} streams, at most {max} allowed", kept.len()),
        refused && kept.len() <= max,
    );
}

/// Changes in every way; the host compares its account of them with the disk.
fn observed(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.works("create", write(&work, "made.txt", "made"));
    trial.works("modify", write(&work, "hello.txt", "changed by the guest"));
    trial.works(
        "rename",
        work.rename_at("sub/inner/inner.txt", &work, "renamed.txt"),
    );
    trial.works("mkdir", work.create_directory_at("made"));
    trial.works("symlink", work.symlink_at("hello.txt", "made-link"));
    trial.works("unlink", work.unlink_file_at("gone.txt"));
    let file = work.open_at(FOLLOW, "made.txt", NONE, DescriptorFlags::WRITE);
    if let Some(file) = trial.works("left open", file) {
        trial.works("write", file.write(b"never closed", 0));
        std::mem::forget(file);
    }
}
