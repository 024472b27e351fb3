//! The live view of a run on standard error: one line that grows in a terminal, plain lines elsewhere,
//! nothing when quiet.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use wasm_agent::grants::Reach;
use wasm_agent::run::{Outcome, PastEvent};
use wasm_agent::trajectory::event::Body;
use wasm_agent::trajectory::journal::Entry;
use wasm_agent::trajectory::{Audit, Record, Totals};

use super::out::{CYAN, DIM, RED, YELLOW, note, styled};
use super::summary::{Stderr, details, summary};
use super::text::{clipped, duration, money, printable};
use super::timeline::{self, moment};

/// Turns that are shown as glyphs; of a longer run, the last ones.
const GLYPHS: usize = 24;

/// Longest description of what is going on, in characters.
const DOING: usize = 60;

/// How much of a run is shown while it runs.
pub(super) struct Live {
    name: String,
    view: View,
    totals: Totals,
    turns: Vec<Turn>,
    doing: Option<String>,
}

enum View {
    Line(ProgressBar),
    Lines,
    Quiet,
}

/// A turn, as one glyph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The model answered.
    Spoke,
    /// It called a tool.
    Acted,
    /// A tool it called failed.
    Stumbled,
    /// Something went wrong.
    Failed,
}

impl Turn {
    fn glyph(self) -> String {
        match self {
            Turn::Spoke => styled(CYAN, "●"),
            Turn::Acted => styled(CYAN, "◆"),
            Turn::Stumbled => styled(RED, "◆"),
            Turn::Failed => styled(RED, "✖"),
        }
    }
}

/// Says something while a view may be on the terminal.
#[derive(Clone)]
pub(super) struct Notes(Option<ProgressBar>);

impl Notes {
    pub(super) fn say(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }
}

impl Live {
    /// A view of the agent `name`.
    pub(super) fn new(name: &str, quiet: bool) -> Live {
        let view = if quiet {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            View::Line(bar())
        } else {
            View::Lines
        };
        let name = clipped(name, 32);
        let live = Live {
            name,
            view,
            totals: Totals::default(),
            turns: Vec::new(),
            doing: None,
        };
        live.draw();
        live
    }

    /// Where to say something while this view is shown.
    pub(super) fn notes(&self) -> Notes {
        match &self.view {
            View::Line(bar) => Notes(Some(bar.clone())),
            View::Lines | View::Quiet => Notes(None),
        }
    }

    /// Says what the host reads, builds or runs that lies where the agent may write, and what becomes of it.
    pub(super) fn in_reach(&self, reach: &Reach) {
        if matches!(self.view, View::Quiet) || reach.inputs.is_empty() {
            return;
        }
        let here = std::env::current_dir().unwrap_or_default();
        let shown: Vec<_> = reach
            .inputs
            .iter()
            .map(|it| match it.host.strip_prefix(&here) {
                Ok(below) if below.as_os_str().is_empty() => ".".to_owned(),
                Ok(below) => printable(&below.display().to_string()),
                Err(_) => printable(&it.host.display().to_string()),
            })
            .collect();
        let shown = shown.join(", ");
        self.notes().say(&match reach.kept {
            true => format!("kept as it is, because the host reads, builds or runs it: {shown}"),
            false => styled(
                YELLOW,
                format!("nothing is protected: the agent may change what the host reads, builds or runs: {shown}"),
            ),
        });
    }

    /// Takes one record.
    pub(super) fn record(&mut self, record: &Record) {
        match &self.view {
            View::Quiet => {}
            View::Lines => {
                let line = PastEvent::parse(record.line().as_bytes()).ok();
                if let Some(moment) = line.as_ref().and_then(moment) {
                    note(&format!(
                        "{}{:>10}{:#} {}",
                        moment.style, moment.label, moment.style, moment.text
                    ));
                }
            }
            View::Line(_) => {
                self.take(&record.entry);
                self.draw();
            }
        }
    }

    fn take(&mut self, entry: &Entry) {
        let event = match entry {
            Entry::Avp(event) => event,
            Entry::Audit(Audit::Progress { message, fraction }) => {
                let fraction = fraction.map(serde_json::Value::from);
                self.doing = Some(timeline::progress(message, fraction.as_ref()));
                return;
            }
            Entry::Audit(_) => return,
        };
        self.totals.add(event);
        match &event.body {
            Body::AssistantMessage(message) => {
                let acts = message.content.iter().any(|block| block.call().is_some());
                self.turns
                    .push(if acts { Turn::Acted } else { Turn::Spoke });
                // Of what it said, the end is what leads to what comes next.
                let said = message.content.iter().rev().find_map(|block| {
                    let last = block.as_text()?.trim().lines().next_back()?;
                    (!last.is_empty()).then(|| printable(last))
                });
                if said.is_some() {
                    self.doing = said;
                }
            }
            Body::ToolInvoked(tool) => self.doing = Some(printable(&tool.name)),
            Body::ToolReturned(returned) if returned.result.is_error => {
                if let Some(turn @ Turn::Acted) = self.turns.last_mut() {
                    *turn = Turn::Stumbled;
                }
            }
            Body::SubagentInvoked(agent) => self.doing = Some(printable(&agent.name)),
            Body::ErrorOccurred(_) => self.turns.push(Turn::Failed),
            _ => {}
        }
    }

    fn draw(&self) {
        if let View::Line(bar) = &self.view {
            let line = self.line();
            bar.set_message(match anstream::AutoStream::choice(&std::io::stderr()) {
                anstream::ColorChoice::Never => anstream::adapter::strip_str(&line).to_string(),
                _ => line,
            });
        }
    }

    /// What there is to see of the run now.
    fn line(&self) -> String {
        let mut line = styled(clap::builder::styling::Style::new().bold(), &self.name);
        let hidden = self.turns.len().saturating_sub(GLYPHS);
        if !self.turns.is_empty() {
            line.push_str(if hidden > 0 { "  …" } else { "  " });
        }
        for turn in self.turns.iter().skip(hidden) {
            line.push_str(&turn.glyph());
        }
        if let Some(doing) = &self.doing {
            let _ = write!(line, "  {}", clipped(doing, DOING));
        }
        let tokens = self
            .totals
            .input_tokens
            .saturating_add(self.totals.output_tokens);
        if tokens > 0 {
            let shown = match tokens {
                ..10_000 => tokens.to_string(),
                _ => format!("{}k", tokens / 1000),
            };
            let _ = write!(line, "  {}", styled(DIM, format!("{shown} tokens")));
        }
        if let Some(cost) = money(self.totals.cost_usd) {
            let _ = write!(line, "  {}", styled(DIM, cost));
        }
        line
    }

    /// Replaces the view by a summary.
    pub(super) fn finish(self, outcome: &Outcome) {
        let stderr = match &self.view {
            View::Quiet => return,
            View::Line(bar) => {
                bar.finish_and_clear();
                Stderr::Unseen
            }
            View::Lines => Stderr::Seen,
        };
        note(&summary(&self.name, outcome));
        let details = details(outcome, stderr);
        if !details.is_empty() {
            note(&details);
        }
        if let Some(directory) = &outcome.directory {
            note(&styled(DIM, format!("run: {}", directory.display())));
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(12));
    let elapsed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // Tenths of a second change too quickly to be read, and microseconds are over before the first tick.
        let _ = match state.elapsed().as_secs() {
            seconds @ ..60 => write!(out, "{seconds} s"),
            _ => write!(out, "{}", duration(state.elapsed())),
        };
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {clock:.dim}") {
        bar.set_style(style.with_key("clock", elapsed).tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(turns: Vec<Turn>, doing: Option<&str>, cost_usd: f64) -> String {
        let live = Live {
            name: "audit".to_owned(),
            view: View::Quiet,
            totals: Totals {
                cost_usd,
                ..Totals::default()
            },
            turns,
            doing: doing.map(str::to_owned),
        };
        anstream::adapter::strip_str(&live.line()).to_string()
    }

    #[test]
    fn a_line_shows_turns_what_is_going_on_and_the_cost() {
        assert_eq!(live(Vec::new(), None, 0.0), "audit");
        let turns = vec![Turn::Spoke, Turn::Acted, Turn::Failed];
        assert_eq!(live(turns, Some("grep"), 0.25), "audit  ●◆✖  grep  $0.2500");
    }

    #[test]
    fn a_long_run_shows_its_last_turns() {
        let mut turns = vec![Turn::Spoke; GLYPHS];
        turns.insert(0, Turn::Failed);
        assert_eq!(
            live(turns, None, 0.0),
            format!("audit  …{}", "●".repeat(GLYPHS))
        );
    }
}
