//! Never coming back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use wasip2::cli::environment::get_arguments;
use wasip2::cli::stdin::get_stdin;
use wasip2::clocks::monotonic_clock::{now, subscribe_duration};
use wasip2::io::poll::poll;
use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn};

use crate::Case;
use crate::disk::{dir, read};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("time-loop", looping),
    ("time-host-calls", host_calls),
    ("calls-total", host_calls),
    ("calls-rate", rate),
    ("time-idle", sleep),
    ("repeated-call", repeated_call),
    ("repeated-error", repeated_error),
    ("time-files", files),
    ("time-sleep", sleep),
    ("time-poll", poll_for_ever),
    ("time-stdin", stdin),
    ("time-first-call", looping),
    ("time-after-result", after_result),
    ("time-drop", in_drop),
    ("time-realloc", in_realloc),
    ("time-bulk", bulk),
    ("panic", panic),
    ("exit-zero", exit_zero),
    ("exit-one", exit_one),
];

fn looping(_: &mut Trial, _: &str) {
    let mut x = 1_u64;
    loop {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

fn host_calls(_: &mut Trial, _: &str) {
    loop {
        black_box(now());
    }
}

/// More calls than a second may have, for longer than one. Whether it was held back is in the account: its own clock
/// would tell of a busy machine, too.
fn rate(trial: &mut Trial, _: &str) {
    let (start, mut calls) = (now(), 0_u32);
    while now() - start < 1_500_000_000 || calls < 5000 {
        calls = calls.saturating_add(1);
    }
    trial.holds("it came back", true);
}

fn repeated_call(trial: &mut Trial, _: &str) {
    for number in 0..1000 {
        let id = format!("c{number}");
        let call = ToolCall::new(id.clone(), "granted", r#"{"path":"a"}"#);
        let _ = trajectory::assistant(Turn::new().tool_use(call));
        let _ = trajectory::tool_result(ToolResult::text(id, "the same"));
        black_box(now());
    }
    trial.broke("a thousand equal calls");
}

fn repeated_error(trial: &mut Trial, _: &str) {
    let work = dir("/work");
    for _ in 0..1000 {
        let _ = black_box(read(&work, "../outside/secret.txt"));
    }
    trial.broke("a thousand times the same was refused");
}

fn files(_: &mut Trial, _: &str) {
    let work = dir("/work");
    loop {
        let _ = black_box(read(&work, "hello.txt"));
    }
}

fn sleep(_: &mut Trial, _: &str) {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

fn poll_for_ever(_: &mut Trial, _: &str) {
    let never = subscribe_duration(u64::MAX);
    let later = subscribe_duration(u64::MAX / 2);
    loop {
        poll(&[&never, &later]);
    }
}

/// Standard input of an agent is empty, not something to wait for; whatever it does, it must not last.
/// It looks busy: it reads the clock.
fn after_result(trial: &mut Trial, _: &str) {
    let call = ToolCall::new("c1", "granted", "{}");
    trial.works("a call", trajectory::assistant(Turn::new().tool_use(call)));
    let result = ToolResult::text("c1", "done");
    trial.works("its result", trajectory::tool_result(result));
    let start = now();
    while now() - start < 60_000_000_000 {
        subscribe_duration(10_000_000).block();
    }
    trial.broke("nobody minded");
}

fn stdin(trial: &mut Trial, _: &str) {
    let input = get_stdin();
    for _ in 0..1000 {
        match input.blocking_read(1024) {
            Err(_) => return trial.holds("it is closed", true),
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => return trial.broke(format!("{} bytes were in it", bytes.len())),
        }
    }
    trial.broke("it never ends");
}

/// What never ends is where values go, not where they are made.
fn in_drop(_: &mut Trial, _: &str) {
    struct Sticky;
    impl Drop for Sticky {
        fn drop(&mut self) {
            looping(&mut Trial::default(), "");
        }
    }
    drop(black_box(Sticky));
}

/// An allocator that never returns once told to. The host calls it to hand over a result.
pub struct Stalling;

static STALL: AtomicBool = AtomicBool::new(false);

// SAFETY: the system's allocator, or nothing at all.
unsafe impl GlobalAlloc for Stalling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        while STALL.load(Ordering::Relaxed) {
            black_box(());
        }
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn in_realloc(trial: &mut Trial, _: &str) {
    STALL.store(true, Ordering::Relaxed);
    let arguments = get_arguments();
    STALL.store(false, Ordering::Relaxed);
    trial.broke(format!("came back with {} arguments", arguments.len()));
}

/// One instruction that moves megabytes, over and over: the least often a guest can be stopped.
fn bulk(_: &mut Trial, _: &str) {
    let mut block = vec![1_u8; 8 << 20];
    loop {
        let middle = block.len() / 2;
        block.copy_within(..middle, middle);
        black_box(&mut block);
    }
}

fn panic(_: &mut Trial, _: &str) {
    panic!("a guest that panics");
}

fn exit_zero(_: &mut Trial, _: &str) {
    std::process::exit(0);
}

fn exit_one(_: &mut Trial, _: &str) {
    std::process::exit(1);
}
