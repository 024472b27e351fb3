//! What a run came to: one line, and what is needed to understand a failure.

use std::fmt::Write as _;

use clap::builder::styling::Style;
use wasm_agent::grants::limits;
use wasm_agent::run::{Ended, Outcome};
use wasm_agent::trajectory::{StopReason, Totals};

use super::out::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use super::text::{duration, money, plural, printable};

/// Frames of a crash that are shown: more than that is recursion.
const FRAMES: usize = 8;

/// Lines of standard error that are shown: a panic and what led to it.
const LINES: usize = 24;

/// How a run ended, in one word or two, and its colour.
pub(super) fn verdict(outcome: &Outcome) -> (&'static str, Style) {
    match &outcome.ended {
        Ended::Converged if outcome.stop_reason == StopReason::Converged => ("converged", GREEN),
        Ended::Converged | Ended::Stopped { .. } => (outcome.stop_reason.as_str(), YELLOW),
        Ended::Refused { .. } => ("not started", RED),
        Ended::Crashed(_) => ("crashed", RED),
        Ended::Limit(_) => ("limit", RED),
        Ended::Interrupted => ("interrupted", YELLOW),
        Ended::HostFault { .. } => ("host fault", RED),
    }
}

/// Why it ended like that, where there is more to say.
fn reason(outcome: &Outcome) -> Option<String> {
    match &outcome.ended {
        Ended::Stopped {
            message: Some(message),
        }
        | Ended::Refused { message } => Some(printable(message)),
        Ended::Crashed(crash) => Some(printable(&crash.message)),
        Ended::Limit(hit) => Some(format!(
            "`{}` is used up ({})",
            hit.name,
            limits::show(hit.name, hit.max)
        )),
        Ended::HostFault { message } => Some(printable(message)),
        Ended::Converged | Ended::Stopped { message: None } | Ended::Interrupted => None,
    }
}

/// `✔ name converged · 3 turns · 2 tool calls · $0.0123 · 1 file changed · 1.24 s`, and under it what a
/// person needs to understand a failure.
pub(super) fn summary(name: &str, outcome: &Outcome) -> String {
    let (word, style) = verdict(outcome);
    let sign = match &outcome.ended {
        Ended::Converged if style == GREEN => "✔",
        Ended::Interrupted | Ended::Stopped { .. } | Ended::Converged => "■",
        _ => "✖",
    };
    let mut text = format!("{} {}", styled(style, sign), styled(BOLD, name));
    let _ = write!(text, " {}", styled(style, word));
    if let Some(reason) = reason(outcome) {
        let _ = write!(text, ": {reason}");
    }
    for part in parts(outcome) {
        let _ = write!(text, " {} {part}", styled(DIM, "·"));
    }
    if let Ended::Crashed(crash) = &outcome.ended {
        for frame in crash.backtrace.iter().take(FRAMES) {
            let _ = write!(text, "\n    {} {}", styled(DIM, "at"), printable(frame));
        }
        if let Some(hidden) = crash.backtrace.len().checked_sub(FRAMES + 1) {
            let more = format!("and {} more frames", hidden + 1);
            let _ = write!(text, "\n    {}", styled(DIM, more));
        }
    }
    if !matches!(outcome.ended, Ended::Converged | Ended::Stopped { .. }) {
        for line in tail(&outcome.stderr_tail) {
            let _ = write!(text, "\n  {} {line}", styled(DIM, "|"));
        }
    }
    if let Some(hint) = hint(outcome) {
        let _ = write!(text, "\n{} {hint}", styled(CYAN.bold(), "hint:"));
    }
    text
}

fn parts(outcome: &Outcome) -> Vec<String> {
    let mut parts = counts(&outcome.totals);
    if !outcome.files.is_empty() {
        parts.push(format!(
            "{} changed",
            plural(outcome.files.len() as u64, "file")
        ));
    }
    if outcome.to_apply > 0 {
        parts.push(format!("{} to apply", plural(outcome.to_apply, "change")));
    }
    if outcome.wall_us > 0 {
        parts.push(duration(outcome.wall()));
    }
    parts
}

/// Turns, tool calls and cost, as far as there are any.
pub(super) fn counts(totals: &Totals) -> Vec<String> {
    let mut parts = Vec::new();
    for (count, noun) in [(totals.turns, "turn"), (totals.tool_calls, "tool call")] {
        if count > 0 {
            parts.push(plural(count, noun));
        }
    }
    parts.extend(money(totals.cost_usd));
    parts
}

/// The last lines of what the guest wrote to standard error.
pub(super) fn tail(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().rev().take(LINES).map(printable).collect();
    lines.reverse();
    lines
}

/// What to do about it.
fn hint(outcome: &Outcome) -> Option<String> {
    if outcome.to_apply > 0 {
        return Some(format!(
            "review `workspace.patch` in the run directory, then `wasm-agent apply {}`",
            outcome.session_id
        ));
    }
    match &outcome.ended {
        Ended::Limit(hit) => {
            let more = limits::show(hit.name, hit.max.saturating_mul(2));
            Some(format!("allow more with `--limit {}={more}`", hit.name))
        }
        // A function with its place in the source reads `name (file:line)`.
        Ended::Crashed(crash)
            if !crash.backtrace.is_empty()
                && !crash.backtrace.iter().any(|frame| frame.ends_with(')')) =>
        {
            Some(
                "with `debug = \"line-tables-only\"` in the agent's `[profile.release]`, \
                 frames name file and line"
                    .to_owned(),
            )
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(ended: &serde_json::Value, more: &serde_json::Value) -> Outcome {
        let mut value = json!({
            "run_id": "r", "session_id": "s", "ended": ended, "stop_reason": "error",
            "totals": {}, "files": [], "wall_us": 412, "cpu_us": 3, "memory_peak": 1,
        });
        value
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn show(ended: &serde_json::Value, more: &serde_json::Value) -> String {
        let text = summary("audit", &outcome(ended, more));
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_run_that_converged_is_one_line() {
        let more = json!({
            "stop_reason": "converged", "stderr_tail": "chatter",
            "totals": {"turns": 1, "tool_calls": 2, "cost_usd": 0.5},
            "files": [{"path": "/work/a", "change": "created", "bytes_written": 1}],
        });
        assert_eq!(
            show(&json!({"kind": "converged"}), &more),
            "✔ audit converged · 1 turn · 2 tool calls · $0.5000 · 1 file changed · 412 µs"
        );
    }

    #[test]
    fn a_crash_shows_where_and_what_was_said_last() {
        let backtrace: Vec<_> = (0..10).map(|n| format!("f{n}")).collect();
        let ended = json!({"kind": "crashed", "message": "trap\u{1b}", "backtrace": backtrace});
        let text = show(&ended, &json!({"stderr_tail": "panicked\nat x"}));
        let expected = "✖ audit crashed: trap · 412 µs\n    at f0\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("    and 2 more frames\n"), "{text}");
        assert!(text.contains("  | panicked\n  | at x\nhint: "), "{text}");
    }

    #[test]
    fn a_limit_says_how_to_allow_more() {
        let text = show(
            &json!({"kind": "limit", "name": "memory", "max": 1 << 20}),
            &json!({}),
        );
        assert_eq!(
            text,
            "✖ audit limit: `memory` is used up (1MiB) · 412 µs\nhint: allow more with `--limit memory=2MiB`"
        );
    }
}
