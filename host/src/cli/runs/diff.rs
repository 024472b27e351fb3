//! `wasm-agent runs diff`.

use std::time::Duration;

use serde_json::{Value, json};
use wasm_agent::error::Exit;
use wasm_agent::recording::request::FirstDifference;
use wasm_agent::run::compare::{Comparison, Counts, Fact, Pair, Side, compare};

use super::super::Done;
use super::super::failure::Failure;
use super::super::load::RunsFlags;
use super::super::out::{BOLD, Cell, DIM, GREEN, Out, RED, Table, YELLOW, print_json, put, styled};
use super::super::text::{clipped, duration, plural, printable, size};

const EXAMPLES: &str = "\
Examples:
  wasm-agent runs diff 20261121-0530 latest

Exit codes:
  0  they say the same; how long they took and what memory they had does not count, and
     what they were granted is not compared
  1  they differ
  2  one of them cannot be read";

/// Characters of a value that are shown.
const SHOWN: usize = 60;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A session id, the beginning of one, `latest`, or a run directory
    one: String,

    /// The same of the other
    other: String,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    runs: RunsFlags,
}

pub(super) fn diff(args: &Args) -> Done {
    let runs = args.runs.dir()?;
    let (one, other) = (
        runs.find_or_open(&args.one)?,
        runs.find_or_open(&args.other)?,
    );
    let found = compare(&one, &other)?;
    if args.json {
        let mut value = json!({
            "format": "wasm-agent/runs-diff@1",
            "one": one.session_id(),
            "other": other.session_id(),
            "same": found.same(),
        });
        if let Ok(Value::Object(members)) = serde_json::to_value(&found) {
            for (name, member) in members {
                put(&mut value, &name, member);
            }
        }
        print_json(&value)?;
    } else {
        text(one.session_id(), other.session_id(), &found)?;
    }
    Ok(if found.same() {
        Exit::Success
    } else {
        Exit::Failed
    })
}

fn text(one: &str, other: &str, found: &Comparison) -> Result<(), Failure> {
    let mut out = Out::new();
    let mut table = Table::default();
    table.row([
        "".into(),
        Cell::styled(BOLD, one),
        Cell::styled(BOLD, other),
    ]);
    for fact in &found.facts {
        let style = match (fact.same(), fact.counts) {
            (true, _) => DIM,
            (false, Counts::Yes) => YELLOW,
            (false, Counts::No) => clap::builder::styling::Style::new(),
        };
        let (a, b) = shown(fact);
        table.row([
            Cell::styled(BOLD, fact.name.replace('_', " ")),
            Cell::styled(style, a),
            Cell::styled(style, b),
        ]);
    }
    out.table(&table)?;
    calls(&mut out, found)?;
    sides(&mut out, "Files", &found.files)?;
    sides(&mut out, "Artifacts", &found.artifacts)?;
    if let Some(difference) = &found.output {
        out.heading("Answer")?;
        out.line(&format!("  {}", side_by_side(difference)))?;
    }
    out.finish()
}

/// Both values of a fact, as a person reads them. Of digests and long texts the beginning, and all of it where
/// that is the same and they are not.
fn shown(fact: &Fact) -> (String, String) {
    let value = |value: &Option<Value>| match (fact.name, value) {
        (_, None) => "-".to_owned(),
        ("memory_peak", Some(value)) => size(value.as_u64().unwrap_or(0)),
        ("wall_us" | "cpu_us", Some(value)) => {
            duration(Duration::from_micros(value.as_u64().unwrap_or(0)))
        }
        ("cost_usd", Some(value)) => format!("${:.4}", value.as_f64().unwrap_or(0.0)),
        ("component", Some(Value::String(digest))) => clipped(digest, 20),
        (_, Some(Value::String(text))) => clipped(text, SHOWN),
        (_, Some(value)) => clipped(&value.to_string(), SHOWN),
    };
    (value(&fact.one), value(&fact.other))
}

fn calls(out: &mut Out, found: &Comparison) -> Result<(), Failure> {
    let same = found.calls.iter().filter(|pair| pair.same()).count() as u64;
    if found.calls.len() as u64 == same && found.more_calls == (0, 0) {
        return Ok(());
    }
    out.heading("Tool calls")?;
    let mut skipped = 0;
    for pair in &found.calls {
        if pair.same() {
            skipped += 1;
            continue;
        }
        told_skipped(out, &mut skipped)?;
        call(out, pair)?;
    }
    told_skipped(out, &mut skipped)?;
    if found.more_calls != (0, 0) {
        let (one, other) = found.more_calls;
        let text = format!("  and {one} and {other} more, which are not compared");
        out.line(&styled(DIM, text))?;
    }
    Ok(())
}

fn told_skipped(out: &mut Out, skipped: &mut u64) -> Result<(), Failure> {
    let count = std::mem::take(skipped);
    if count > 0 {
        out.line(&styled(
            DIM,
            format!("    {} the same", plural(count, "call")),
        ))?;
    }
    Ok(())
}

fn call(out: &mut Out, pair: &Pair) -> Result<(), Failure> {
    let tool = printable(&pair.tool);
    match (pair.one, pair.other) {
        (Some(one), None) => out.line(&styled(RED, format!("  - {tool} (call {one} of the one)"))),
        (None, Some(other)) => out.line(&styled(
            GREEN,
            format!("  + {tool} (call {other} of the other)"),
        )),
        (one, other) => {
            let (one, other) = (one.unwrap_or(0), other.unwrap_or(0));
            let place = if one == other {
                format!("call {one}")
            } else {
                format!("calls {one} and {other}")
            };
            out.line(&styled(YELLOW, format!("  ~ {tool} ({place})")))?;
            for (what, difference) in [("arguments", &pair.arguments), ("result", &pair.result)] {
                if let Some(difference) = difference {
                    out.line(&format!("      {what} {}", side_by_side(difference)))?;
                }
            }
            Ok(())
        }
    }
}

fn sides(out: &mut Out, heading: &str, sides: &[Side]) -> Result<(), Failure> {
    if sides.is_empty() {
        return Ok(());
    }
    out.heading(heading)?;
    let mut table = Table::indented(2);
    let value = |value: &Option<String>| match value {
        Some(text) => clipped(text, 40),
        None => "-".to_owned(),
    };
    for side in sides {
        table.row([
            printable(&side.name).into(),
            value(&side.one).into(),
            value(&side.other).into(),
        ]);
    }
    out.table(&table)
}

fn side_by_side(first: &FirstDifference) -> String {
    let value = |value: &Option<String>| match value {
        Some(text) => clipped(text, SHOWN),
        None => "nothing".to_owned(),
    };
    let (one, other) = (value(&first.expected), value(&first.found));
    match first.path.as_str() {
        "" => format!("{one}, {other}"),
        path => format!("`{}`: {one}, {other}", clipped(path, SHOWN)),
    }
}
