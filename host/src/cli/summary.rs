//! What a run came to: one line, and what is needed to understand a failure.

use std::fmt::Write as _;

use clap::builder::styling::Style;
use wasm_agent::grants::limits;
use wasm_agent::run::{Ended, Outcome};
use wasm_agent::trajectory::{StopReason, Totals};

use super::out::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use super::text::{duration, money, plural, printable};

/// Calls of a crash that are shown.
const CALLS: usize = 8;

/// Lines of standard error that are shown: a panic and what led to it.
const LINES: usize = 24;

/// Whether the person who reads the details has seen what the guest wrote to standard error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stderr {
    Seen,
    Unseen,
}

/// How a run ended, in one word or two, and its colour.
pub(super) fn verdict(outcome: &Outcome) -> (&'static str, Style) {
    match &outcome.ended {
        Ended::Converged if outcome.stop_reason == StopReason::Converged => ("converged", GREEN),
        Ended::Converged | Ended::Stopped { .. } => (outcome.stop_reason.as_str(), YELLOW),
        Ended::Incomplete { .. } => ("incomplete", YELLOW),
        Ended::Withheld { .. } => ("withheld", RED),
        Ended::Refused { .. } => ("not started", RED),
        Ended::Crashed(_) => ("crashed", RED),
        Ended::Limit(_) => ("limit", RED),
        Ended::Interrupted => ("interrupted", YELLOW),
        Ended::Diverged(_) => ("diverged", RED),
        Ended::Uncompared { .. } => ("not compared", RED),
        Ended::HostFault { .. } => ("host fault", RED),
    }
}

/// Why it ended like that, where there is more to say.
fn reason(outcome: &Outcome) -> Option<String> {
    match &outcome.ended {
        Ended::Stopped {
            message: Some(message),
        }
        | Ended::Refused { message, .. } => Some(printable(message)),
        Ended::Incomplete { missing } => {
            Some(format!("missing {}", printable(&missing.join(", "))))
        }
        Ended::Crashed(crash) => Some(printable(&crash.message)),
        Ended::Limit(hit) => Some(format!(
            "`{}` is used up ({})",
            hit.name,
            limits::show(hit.name, hit.max)
        )),
        Ended::Diverged(divergence) => Some(printable(&divergence.what())),
        Ended::Withheld { reason } => Some(format!("the answer: {}", printable(reason))),
        Ended::Uncompared { reason } => Some(printable(reason)),
        Ended::HostFault { message } => Some(printable(message)),
        Ended::Converged | Ended::Stopped { message: None } | Ended::Interrupted => None,
    }
}

/// `✔ name converged · 3 turns · 2 tool calls · $0.0123 · 1 file changed · 1.24 s`.
pub(super) fn summary(name: &str, outcome: &Outcome) -> String {
    let (word, style) = verdict(outcome);
    let sign = match &outcome.ended {
        Ended::Converged if style == GREEN => "✔",
        Ended::Interrupted
        | Ended::Stopped { .. }
        | Ended::Incomplete { .. }
        | Ended::Converged => "■",
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
    text
}

/// What a person needs to understand a failure: where it happened, what was said last, what may help.
pub(super) fn details(outcome: &Outcome, stderr: Stderr) -> String {
    let mut text = String::new();
    if let Ended::Crashed(crash) = &outcome.ended {
        let mut calls = calls(&crash.backtrace);
        let hidden = calls.len().saturating_sub(CALLS);
        calls.truncate(CALLS);
        for (frame, times) in calls {
            let _ = write!(text, "\n    {} {}", styled(DIM, "at"), printable(frame));
            if times > 1 {
                let _ = write!(text, " {}", styled(DIM, format!("× {times}")));
            }
        }
        if hidden > 0 {
            let more = format!("and {}", plural(hidden as u64, "more call"));
            let _ = write!(text, "\n    {}", styled(DIM, more));
        }
    }
    if let Ended::Diverged(divergence) = &outcome.ended {
        for call in &divergence.nearby {
            let _ = write!(
                text,
                "\n    {} {}",
                styled(DIM, "recorded"),
                printable(call)
            );
        }
    }
    let failed = !matches!(outcome.ended, Ended::Converged | Ended::Stopped { .. });
    if failed && stderr == Stderr::Unseen {
        for line in tail(&outcome.stderr_tail) {
            let _ = write!(text, "\n  {} {line}", styled(DIM, "|"));
        }
    }
    if let Some(hint) = hint(outcome) {
        let _ = write!(text, "\n{} {hint}", styled(CYAN.bold(), "hint:"));
    }
    text.trim_start_matches('\n').to_owned()
}

/// Calls of a backtrace, innermost first, with how often each is repeated. What a panic does before it
/// traps is left out: it is the same in every panic.
fn calls(backtrace: &[String]) -> Vec<(&str, usize)> {
    const RUNTIME: &[&str] = &[
        "std::", "core::", "alloc::", "__rustc", "<std::", "<core::", "<alloc::",
    ];
    let is_runtime =
        |frame: &&String| *frame == "abort" || RUNTIME.iter().any(|start| frame.starts_with(start));
    let own = backtrace.iter().take_while(is_runtime).count();
    // A trap in the standard library itself, perhaps.
    let own = if own == backtrace.len() { 0 } else { own };
    let mut calls: Vec<(&str, usize)> = Vec::new();
    for frame in backtrace.iter().skip(own) {
        match calls.last_mut() {
            Some((last, times)) if last == frame => *times += 1,
            _ => calls.push((frame, 1)),
        }
    }
    calls
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
    if let Some(fuel) = outcome.fuel {
        parts.push(format!("{fuel} fuel"));
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

/// The last lines of what the guest wrote to standard error, without empty ones.
pub(super) fn tail(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .rev()
        .map(printable)
        .filter(|line| !line.is_empty());
    let mut lines: Vec<String> = lines.take(LINES).collect();
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
        Ended::Diverged(divergence) => Some(divergence.hint.clone().unwrap_or_else(|| {
            "the component and the inputs are the recorded ones: another version of wasm-agent, or a defect \
             of it"
                .to_owned()
        })),
        Ended::Incomplete { missing } => Some(format!(
            "it returned, but did not show what was required; `wasm-agent runs show {}` tells what it \
             did{}",
            outcome.session_id,
            if missing
                .iter()
                .any(|missing| missing.starts_with("artifact="))
            {
                ", and which artifacts were refused"
            } else {
                ""
            }
        )),
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
                "for file and line, set `debug = \"line-tables-only\"` in `[profile.release]`"
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

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn show(ended: &serde_json::Value, more: &serde_json::Value) -> String {
        plain(&summary("audit", &outcome(ended, more)))
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
        let mut backtrace = vec!["abort", "std::process::abort"];
        backtrace.extend(["deeper"; 3]);
        let others: Vec<_> = (0..9).map(|n| format!("f{n}")).collect();
        backtrace.extend(others.iter().map(String::as_str));
        let ended = json!({"kind": "crashed", "message": "trap\u{1b}", "backtrace": backtrace});
        let outcome = outcome(&ended, &json!({"stderr_tail": "\npanicked\nat x"}));
        assert_eq!(
            plain(&summary("audit", &outcome)),
            "✖ audit crashed: trap · 412 µs"
        );
        let text = plain(&details(&outcome, Stderr::Unseen));
        assert!(text.starts_with("    at deeper × 3\n    at f0\n"), "{text}");
        assert!(text.contains("    at f6\n    and 2 more calls\n"), "{text}");
        assert!(text.contains("  | panicked\n  | at x\nhint: "), "{text}");
        assert!(!plain(&details(&outcome, Stderr::Seen)).contains('|'));
    }

    #[test]
    fn a_crash_in_the_standard_library_alone_is_shown_whole() {
        let backtrace = ["std::a".to_owned(), "core::b".to_owned()];
        assert_eq!(calls(&backtrace).len(), 2);
    }

    #[test]
    fn an_incomplete_run_says_what_is_missing() {
        let ended = json!({"kind": "incomplete", "missing": ["complete", "artifact=a\u{1b}"]});
        let text = show(&ended, &json!({"stop_reason": "abandoned"}));
        assert_eq!(
            text,
            "■ audit incomplete: missing complete, artifact=a · 412 µs"
        );
        let outcome = outcome(&ended, &json!({}));
        assert_eq!(outcome.exit(), wasm_agent::error::Exit::Failed);
        assert!(plain(&details(&outcome, Stderr::Unseen)).contains("hint: "));
    }

    #[test]
    fn a_limit_says_how_to_allow_more() {
        let ended = json!({"kind": "limit", "name": "memory", "max": 1 << 20});
        assert_eq!(
            show(&ended, &json!({})),
            "✖ audit limit: `memory` is used up (1MiB) · 412 µs"
        );
        let hint = details(&outcome(&ended, &json!({})), Stderr::Unseen);
        assert_eq!(plain(&hint), "hint: allow more with `--limit memory=2MiB`");
    }
}
