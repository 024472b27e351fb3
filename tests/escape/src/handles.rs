//! Handles that are none, or not any more.

use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::filesystem::types::Descriptor;
use wasip2::io::poll::Pollable;
use wasip2::io::streams::InputStream;

use crate::Case;
use crate::disk::{dir, open};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("handle-double-drop", double_drop),
    ("handle-after-drop", after_drop),
    ("handle-forged", forged),
    ("handle-of-other-type", other_type),
    ("handle-parent-first", parent_first),
    ("handle-flood", flood),
    ("handle-poll-nothing", poll_nothing),
];

fn double_drop(trial: &mut Trial, _: &str) {
    let timer = subscribe_duration(0);
    // SAFETY: not kept, and that is the point: both now stand for one handle.
    let again = unsafe { Pollable::from_handle(timer.handle()) };
    drop(timer);
    drop(again);
    trial.broke("dropped twice");
}

fn after_drop(trial: &mut Trial, _: &str) {
    let file = open(&dir("/work"), "hello.txt").expect("it is there");
    // SAFETY: as above.
    let again = unsafe { Descriptor::from_handle(file.handle()) };
    drop(file);
    trial.broke(format!(
        "used after it was dropped: {:?}",
        again.stat().is_ok()
    ));
}

fn forged(trial: &mut Trial, _: &str) {
    // SAFETY: as above.
    let forged = unsafe { Descriptor::from_handle(4711) };
    trial.broke(format!(
        "used a handle nobody gave: {:?}",
        forged.stat().is_ok()
    ));
}

fn other_type(trial: &mut Trial, _: &str) {
    let directory = dir("/work");
    // SAFETY: as above.
    let stream = unsafe { InputStream::from_handle(directory.handle()) };
    trial.broke(format!(
        "read a directory as a stream: {:?}",
        stream.read(10).is_ok()
    ));
}

/// A stream that is dropped while somebody waits for it: refused, or the waiting is over; either is fine
/// as long as the host stands.
fn parent_first(trial: &mut Trial, _: &str) {
    let file = open(&dir("/work"), "hello.txt").expect("it is there");
    let stream = file.read_via_stream(0).expect("it can be read");
    let ready = stream.subscribe();
    drop(stream);
    ready.block();
    trial.holds("the host let it pass", true);
}

fn flood(trial: &mut Trial, _: &str) {
    let mut timers = Vec::new();
    for _ in 0..200_000 {
        timers.push(subscribe_duration(1_000_000_000_000));
    }
    trial.broke(format!("{} timers at once", timers.len()));
}

fn poll_nothing(trial: &mut Trial, _: &str) {
    let ready = wasip2::io::poll::poll(&[]);
    trial.broke(format!("polling nothing came back with {ready:?}"));
}
