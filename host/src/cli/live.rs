//! The live view of a run: one line in a terminal, plain lines elsewhere, nothing when quiet.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wasm_agent::run::{Ended, Outcome};
use wasm_agent::trajectory::event::Body;
use wasm_agent::trajectory::journal::Entry;
use wasm_agent::trajectory::{Audit, Record, Totals};

/// How much of a run is shown while it runs.
pub(super) struct Live {
    view: View,
    totals: Totals,
    tool: Option<String>,
    progress: Option<String>,
}

enum View {
    Bar(ProgressBar),
    Lines,
    Quiet,
}

impl Live {
    /// A view of the agent `name` on standard error.
    pub(super) fn new(name: &str, quiet: bool) -> Live {
        let view = if quiet {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(12));
            if let Ok(style) =
                ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold} {wide_msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(printable(name));
            bar.enable_steady_tick(Duration::from_millis(100));
            View::Bar(bar)
        } else {
            View::Lines
        };
        Live {
            view,
            totals: Totals::default(),
            tool: None,
            progress: None,
        }
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) {
        match &record.entry {
            Entry::Avp(event) => {
                self.totals.add(event);
                match &event.body {
                    Body::ToolInvoked(tool) => {
                        self.tool = Some(printable(&tool.name));
                        self.line(&format!("tool: {}", printable(&tool.name)));
                    }
                    Body::ErrorOccurred(error) => {
                        self.line(&format!("error: {}", printable(&error.message)));
                    }
                    _ => {}
                }
            }
            Entry::Audit(Audit::Progress { message, fraction }) => {
                let percent = fraction
                    .map(|f| format!(" ({:.0} %)", f * 100.0))
                    .unwrap_or_default();
                let text = format!("{}{percent}", printable(message));
                self.line(&text);
                self.progress = Some(text);
            }
            Entry::Audit(Audit::Denied {
                capability,
                subject,
                rule,
            }) => {
                self.line(&format!(
                    "denied: {capability} {} ({rule})",
                    printable(subject)
                ));
            }
            Entry::Audit(Audit::Limit { name, .. }) => self.line(&format!("limit reached: {name}")),
            Entry::Audit(_) => {}
        }
        if let View::Bar(bar) = &self.view {
            let mut parts = vec![counts(&self.totals)];
            parts.extend(self.tool.iter().map(|tool| format!("⚒ {tool}")));
            parts.extend(self.progress.clone());
            bar.set_message(parts.join(" · "));
        }
    }

    /// Replaces the view by a summary.
    pub(super) fn finish(self, outcome: &Outcome) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
        if matches!(self.view, View::Quiet) {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "{}", summary(outcome));
    }

    fn line(&self, text: &str) {
        if let View::Lines = self.view {
            let mut stderr = std::io::stderr().lock();
            let _ = writeln!(stderr, "{text}");
        }
    }
}

fn counts(totals: &Totals) -> String {
    format!(
        "{} · {}",
        plural(totals.turns, "turn"),
        plural(totals.tool_calls, "tool call")
    )
}

fn plural(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// What a run came to, in one to four lines.
pub(super) fn summary(outcome: &Outcome) -> String {
    let how = match &outcome.ended {
        Ended::Converged => outcome.stop_reason.to_string(),
        Ended::Stopped {
            message: Some(message),
        } => {
            format!("{}: {}", outcome.stop_reason, printable(message))
        }
        Ended::Stopped { message: None } => outcome.stop_reason.to_string(),
        Ended::Refused { message } => format!("not started: {}", printable(message)),
        Ended::Crashed(crash) => format!("crashed: {}", printable(&crash.message)),
        Ended::Limit(hit) => format!(
            "limit `{}` reached ({})",
            hit.name,
            wasm_agent::grants::limits::show(hit.name, hit.max)
        ),
        Ended::Interrupted => "interrupted".to_owned(),
        Ended::HostFault { message } => format!("host fault: {message}"),
    };
    let totals = &outcome.totals;
    let mut parts = vec![how, counts(totals)];
    if totals.cost_usd > 0.0 {
        parts.push(format!("${:.4}", totals.cost_usd));
    }
    if !outcome.files.is_empty() {
        parts.push(format!(
            "{} changed",
            plural(outcome.files.len() as u64, "file")
        ));
    }
    parts.push(format!("{:.2?}", outcome.wall()));
    let mut text = parts.join(" · ");
    if let Ended::Crashed(crash) = &outcome.ended {
        for frame in crash.backtrace.iter().take(8) {
            text.push_str(&format!("\n    at {}", printable(frame)));
        }
        for line in outcome
            .stderr_tail
            .lines()
            .rev()
            .take(24)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            text.push_str(&format!("\n  | {}", printable(line)));
        }
    }
    if let Some(directory) = &outcome.directory {
        text.push_str(&format!("\nrun: {}", directory.display()));
    }
    text
}

/// Text of a guest on one line, without control characters: a terminal obeys those.
pub(super) fn printable(text: &str) -> String {
    const MAX: usize = 400;
    let mut line: String = text
        .chars()
        .take(MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(MAX).is_some() {
        line.push('…');
    }
    line
}
