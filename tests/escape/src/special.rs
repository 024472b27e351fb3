//! What is neither file nor directory.

use wasip2::filesystem::types::DescriptorType;

use crate::Case;
use crate::disk::{DescriptorFlags, FOLLOW, KEEP, NONE, NewTimestamp, create, dir, open, read};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("special-fifo", fifo),
    ("special-socket", socket),
    ("special-device", device),
    ("special-times", times),
    ("times-overflow", overflow),
];

fn not_opened(trial: &mut Trial, path: &str) {
    let work = dir("/work");
    trial.refused("read", read(&work, path));
    trial.refused("write", create(&work, path));
    trial.refused(
        "write only",
        work.open_at(FOLLOW, path, NONE, DescriptorFlags::WRITE),
    );
    trial.refused(
        "nothing",
        work.open_at(KEEP, path, NONE, DescriptorFlags::empty()),
    );
    trial.refused("through a link", open(&work, &format!("to-{path}")));
    let kind = work.stat_at(KEEP, path).map(|stat| stat.type_);
    trial.holds(
        &format!("it is no regular file: {kind:?}"),
        kind.is_ok_and(|kind| kind != DescriptorType::RegularFile),
    );
}

fn fifo(trial: &mut Trial, _: &str) {
    not_opened(trial, "fifo");
}

fn socket(trial: &mut Trial, _: &str) {
    not_opened(trial, "socket");
}

fn device(trial: &mut Trial, _: &str) {
    not_opened(trial, "device");
}

fn times(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    trial.refused(
        "fifo",
        work.set_times_at(KEEP, "fifo", NewTimestamp::Now, NewTimestamp::Now),
    );
    trial.refused("second name", work.link_at(KEEP, "fifo", &work, "fifo-too"));
}

/// Times no clock has. Some are taken, some are not; none may bring the host down.
fn overflow(trial: &mut Trial, _: &str) {
    use wasip2::clocks::wall_clock::Datetime;
    let work = dir("/work");
    for (seconds, nanoseconds) in [
        (u64::MAX, u32::MAX),
        (u64::MAX, 0),
        (1 << 63, 0),
        ((1 << 63) - 1, 999_999_999),
        (0, u32::MAX),
        (1 << 40, 0),
    ] {
        let time = NewTimestamp::Timestamp(Datetime {
            seconds,
            nanoseconds,
        });
        let by_name = work.set_times_at(FOLLOW, "gone.txt", time, time);
        let by_handle = open(&work, "gone.txt").and_then(|file| file.set_times(time, time));
        trial.saw(format!("{seconds}: {by_name:?} {by_handle:?}"));
        let _ = work.stat_at(FOLLOW, "gone.txt");
    }
    trial.works("after all of them", read(&work, "gone.txt"));
}
