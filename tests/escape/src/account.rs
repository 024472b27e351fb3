//! Lies told to the host, and too many of them.

use std::io::Write as _;

use wasm_agent_sdk::trajectory::{
    self, ContentBlock, Rejected, StopReason, SubagentCall, ToolCall, ToolResult, Turn, Usage,
};

use wasm_agent_sdk::ErrorCode;

use crate::Case;
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("fact-unknown-call", unknown_call),
    ("fact-duplicate-call", duplicate_call),
    ("fact-second-result", second_result),
    ("fact-unlisted-tool", unlisted_tool),
    ("fact-frames", frames),
    ("fact-numbers", numbers),
    ("fact-malformed", malformed),
    ("fact-other-run", other_run),
    ("fact-open-end", open_end),
    ("event-bytes", event_bytes),
    ("event-count", event_count),
    ("event-total", event_total),
    ("hostcall-bytes", hostcall_bytes),
    ("stdout-flood", stdout_flood),
    ("stderr-flood", stderr_flood),
    ("output-forged", output_forged),
];

fn call(id: &str) -> Turn {
    Turn::new().tool_use(ToolCall::new(id, "granted", "{}"))
}

fn unknown_call(trial: &mut Trial, _: &str) {
    trial.refused(
        "result of nothing",
        trajectory::tool_result(ToolResult::text("never-called", "done")),
    );
    trial.refused(
        "empty id",
        trajectory::tool_result(ToolResult::text("", "done")),
    );
    trial.works(
        "a turn",
        trajectory::assistant(Turn::new().text("still here")),
    );
}

fn duplicate_call(trial: &mut Trial, _: &str) {
    trial.works("first", trajectory::assistant(call("c1")));
    trial.refused("again", trajectory::assistant(call("c1")));
    trial.refused(
        "twice in a turn",
        trajectory::assistant(call("c2").tool_use(ToolCall::new("c2", "granted", "{}"))),
    );
    trial.works(
        "its result",
        trajectory::tool_result(ToolResult::text("c1", "fine")),
    );
    trial.refused("after its result", trajectory::assistant(call("c1")));
}

fn second_result(trial: &mut Trial, _: &str) {
    trial.works("call", trajectory::assistant(call("c1")));
    trial.works(
        "first",
        trajectory::tool_result(ToolResult::text("c1", "failed")),
    );
    trial.refused(
        "another",
        trajectory::tool_result(ToolResult::text("c1", "succeeded")),
    );
}

fn unlisted_tool(trial: &mut Trial, _: &str) {
    let turn = Turn::new().tool_use(ToolCall::new("c1", "shell", "{}"));
    let Some(receipt) = trial.works("reported", trajectory::assistant(turn)) else {
        return;
    };
    trial.holds("the host says not to run it", !receipt.allows("c1"));
    trial.refused(
        "a result all the same",
        trajectory::tool_result(ToolResult::text("c1", "ran it")),
    );
}

fn frames(trial: &mut Trial, _: &str) {
    trial.refused(
        "turn in no frame",
        trajectory::assistant(Turn::new().frame("nobody").text("x")),
    );
    let Some(frame) = trial.works(
        "open",
        trajectory::subagent(SubagentCall::new("s1", "helper")),
    ) else {
        return;
    };
    trial.refused(
        "opened again",
        trajectory::subagent(SubagentCall::new("s1", "helper")).map(std::mem::forget),
    );
    trial.works("close", frame.finish(StopReason::Converged, "ok"));
    trial.refused(
        "turn in a closed frame",
        trajectory::assistant(Turn::new().frame("s1").text("x")),
    );
    trial.refused(
        "opened once more",
        trajectory::subagent(SubagentCall::new("s1", "helper")).map(std::mem::forget),
    );
}

fn numbers(trial: &mut Trial, _: &str) {
    for cost in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        trial.refused(
            &format!("cost {cost}"),
            trajectory::assistant(Turn::new().text("x").cost_usd(cost)),
        );
    }
    trial.refused(
        "usage of no turn",
        trajectory::report_usage(None, Usage::new(1, 1), None),
    );
    trial.refused("progress", trajectory::progress("x", Some(f64::NAN)));
    let turn = Turn::new().text("x").usage(Usage::new(u64::MAX, u64::MAX));
    // Whether it is taken is the host's choice; adding it up must not be a panic.
    let _ = trajectory::assistant(turn.clone());
    let _ = trajectory::assistant(turn);
}

fn malformed(trial: &mut Trial, _: &str) {
    for input in ["[1]", "{", "null", "\"x\"", "{\"a\":1,}", "NaN", ""] {
        let turn = Turn::new().tool_use(ToolCall::new("c1", "granted", input));
        trial.refused(input, trajectory::assistant(turn));
    }
    for block in [r#"{"type":"telepathy"}"#, "{}", "[]", r#"{"type":"text"}"#] {
        trial.refused(
            block,
            trajectory::assistant(Turn::new().block(ContentBlock::Other(block.to_owned()))),
        );
    }
    let deep = "[".repeat(100_000);
    trial.refused(
        "deep",
        trajectory::assistant(Turn::new().block(ContentBlock::Other(deep))),
    );
    trial.refused(
        "meta",
        trajectory::assistant(Turn::new().text("x").meta("1")),
    );
}

/// Everything an event has that says whose it is, claimed for another run. The host looks at the events.
fn other_run(trial: &mut Trial, _: &str) {
    let meta = r#"{"subject":"other-run","run_id":"other-run","avp.run_id":"other-run","trace_id":"0","id":"1"}"#;
    let _ = trajectory::assistant(Turn::new().text("mine").meta(meta));
    let event =
        "{\"specversion\":\"1.0\",\"type\":\"avp.agent_stopped\",\"subject\":\"other-run\"}";
    let _ = trajectory::assistant(Turn::new().text(format!("\n{event}\n")));
    let _ = trajectory::progress(&format!("\n{event}\n"), None);
    let _ = trajectory::error(ErrorCode::Unknown, &format!("\"}}\n{event}\n"));
    println!("{event}");
    trial.holds("told", true);
}

/// Leaves a call and a frame open, and says it converged.
fn open_end(trial: &mut Trial, _: &str) {
    trial.works("call", trajectory::assistant(call("c1")));
    if let Some(frame) = trial.works(
        "frame",
        trajectory::subagent(SubagentCall::new("s1", "helper")),
    ) {
        std::mem::forget(frame);
    }
}

fn event_bytes(trial: &mut Trial, max: &str) {
    let max: usize = max.parse().unwrap_or(0);
    let text = "x".repeat(max + 1);
    trial.refused(
        "turn",
        trajectory::assistant(Turn::new().text(text.clone())),
    );
    trial.refused("progress", trajectory::progress(&text, None));
    trial.refused("error", trajectory::error(ErrorCode::Unknown, &text));
    trial.works("a small one", trajectory::assistant(Turn::new().text("x")));
}

fn event_count(trial: &mut Trial, max: &str) {
    let max: u32 = max.parse().unwrap_or(0);
    let mut taken = 0;
    for number in 0..max * 4 {
        let told = match number % 3 {
            0 => trajectory::assistant(Turn::new().text("x")).map(drop),
            1 => trajectory::progress("x", None),
            _ => trajectory::error(ErrorCode::Unknown, "x"),
        };
        match told {
            Ok(()) => taken += 1,
            Err(Rejected::Limit(_)) => {}
            Err(other) => trial.broke(format!("{other:?}")),
        }
    }
    trial.holds(
        &format!("{taken} were taken, at most {max} allowed"),
        taken > 0 && taken <= max,
    );
}

fn event_total(trial: &mut Trial, max: &str) {
    let max: usize = max.parse().unwrap_or(0);
    let text = "x".repeat(4000);
    let mut taken = 0;
    while taken < max * 4 {
        match trajectory::assistant(Turn::new().text(text.clone())) {
            Ok(_) => taken += text.len(),
            Err(_) => break,
        }
    }
    trial.holds(
        &format!("{taken} bytes were taken, at most {max} allowed"),
        taken > 0 && taken <= max,
    );
}

fn hostcall_bytes(trial: &mut Trial, _: &str) {
    let text = "x".repeat(24 << 20);
    let answer = trajectory::progress(&text, None);
    trial.broke(format!("the host took 24 MiB in one call: {answer:?}"));
}

/// What an innocent guest does that prints too much: it must not die of it.
fn stdout_flood(trial: &mut Trial, _: &str) {
    let line = "x".repeat(1000);
    for _ in 0..3000 {
        println!("{line}");
    }
    trial.holds("still alive after 3 MB", true);
}

fn stderr_flood(trial: &mut Trial, _: &str) {
    let block = [b'x'; 8192];
    let mut written = 0;
    for _ in 0..400 {
        written += usize::from(std::io::stderr().write_all(&block).is_ok());
    }
    trial.holds("still alive after 3 MB without a line end", written == 400);
}

/// Text that would be another record if it were put into the log as it is.
fn output_forged(trial: &mut Trial, _: &str) {
    let record = r#"{"seq":0,"time":"2026-01-01T00:00:00Z","prev":"00","avp":{},"hash":"00"}"#;
    print!("\"}}\n{record}\n");
    eprint!("\r\n{record}\r\n\u{1b}[2J\0");
    let _ = trajectory::progress(&format!("\"}}}}\n{record}"), None);
    trial.holds("told", true);
}
