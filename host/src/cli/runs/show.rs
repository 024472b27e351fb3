//! `wasm-agent runs show`.

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};
use wasm_agent::error::Exit;
use wasm_agent::run::history::{PastBody, Request, artifacts, marks};
use wasm_agent::run::{Outcome, PastRun, RunDir, State};

use super::super::Done;
use super::super::failure::Failure;
use super::super::load::RunsFlags;
use super::super::out::{BOLD, CYAN, Cell, DIM, Out, Table, YELLOW, print_json, put, styled};
use super::super::summary::{Stderr, counts, details, summary, tail};
use super::super::text::{
    age, clipped, duration, for_terminal, path as shown_path, printable, size,
};
use super::super::timeline::moment;
use super::granted::granted;
use super::list::word;

const EXAMPLES: &str = "\
Examples:
  wasm-agent runs show
  wasm-agent runs show 20261121-0530
  wasm-agent runs show latest --format avp > trajectory.ndjson";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A session id, the beginning of one, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    id: String,

    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    #[command(flatten)]
    runs: RunsFlags,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// A report for a person
    Text,
    /// What was asked and how it ended, as one JSON document
    Json,
    /// The AVP trajectory as NDJSON
    Avp,
}

pub(super) fn show(args: &Args) -> Done {
    let run = args.runs.dir()?.find(&args.id)?;
    match args.format {
        Format::Text => text(&run)?,
        Format::Json => print_json(&to_json(&run)?)?,
        Format::Avp => avp(&run)?,
    }
    Ok(Exit::Success)
}

fn avp(run: &RunDir) -> Result<(), Failure> {
    let mut out = Out::plain();
    for record in run.records()? {
        if let PastBody::Avp(event) = record?.body {
            out.line(event.get())?;
        }
    }
    out.finish()
}

fn to_json(run: &RunDir) -> Result<Value, Failure> {
    let PastRun { state, .. } = run.summary()?;
    let mut value = json!({
        "format": "wasm-agent/run-report@1",
        "session_id": run.session_id(),
        "directory": run.path(),
        "request": run.read_request()?,
    });
    put(&mut value, "state", json!(word(&state)));
    match state {
        State::Ended(outcome) => {
            put(&mut value, "marks", json!(marks(run.path(), &outcome)?));
            put(&mut value, "outcome", json!(outcome));
        }
        State::Running(totals) | State::Died(totals) | State::Unfinished(totals) => {
            put(&mut value, "totals", json!(totals));
        }
    }
    Ok(value)
}

fn text(run: &RunDir) -> Result<(), Failure> {
    let PastRun { request, state } = run.summary()?;
    let mut out = Out::new();
    match &state {
        State::Ended(outcome) => {
            out.line(&summary(&printable(&request.agent.name), outcome))?;
            let details = details(outcome, Stderr::Unseen);
            if !details.is_empty() {
                out.line(&details)?;
            }
        }
        State::Running(totals) | State::Died(totals) | State::Unfinished(totals) => {
            let (style, why) = match &state {
                State::Running(_) => (CYAN, "its account is not closed yet"),
                State::Died(_) => (YELLOW, "its account was never closed: the host was killed"),
                _ => (
                    YELLOW,
                    "its account is not closed: the host was killed, or the run goes on",
                ),
            };
            let name = styled(BOLD, printable(&request.agent.name));
            let mut parts = vec![format!(
                "{} {name} {}",
                styled(style, "■"),
                styled(style, word(&state))
            )];
            parts.extend(counts(totals));
            out.line(&parts.join(" · "))?;
            out.line(&format!("  {why}"))?;
        }
    }
    out.line("")?;
    asked(&mut out, run, &request)?;
    timeline(&mut out, run, request.started)?;
    if let State::Ended(outcome) = &state {
        ended(&mut out, run, outcome)?;
    }
    let submitted = match &state {
        State::Ended(outcome) => outcome.artifacts.as_slice(),
        State::Running(_) | State::Died(_) | State::Unfinished(_) => &[],
    };
    let artifacts = artifacts(run.path())?;
    if !artifacts.is_empty() {
        out.heading("Artifacts")?;
        let mut table = Table::indented(2);
        for (name, bytes) in artifacts {
            let path = run.path().join("artifacts").join(&name);
            let (kind, digest) = submitted
                .iter()
                .find(|submitted| submitted.name == name)
                .map(|submitted| {
                    (
                        printable(&submitted.media_type),
                        clipped(&submitted.digest, 20),
                    )
                })
                .unwrap_or_default();
            table.row([
                shown_path(&path.display().to_string()).into(),
                Cell::right(size(bytes)).with(DIM),
                kind.into(),
                Cell::styled(DIM, digest),
            ]);
        }
        out.table(&table)?;
    }
    out.finish()
}

fn asked(out: &mut Out, run: &RunDir, request: &Request) -> Result<(), Failure> {
    let mut table = Table::default();
    let mut row = |name: &str, value: String| table.row([Cell::styled(BOLD, name), value.into()]);
    row("run", run.path().display().to_string());
    let agent = format!("{} {}", request.agent.name, request.agent.version);
    row(
        "agent",
        format!(
            "{} ({})",
            printable(&agent),
            clipped(&request.agent.digest, 20)
        ),
    );
    let passed = Timestamp::now().as_second() - request.started.as_second();
    row(
        "started",
        format!(
            "{} UTC, {}",
            request.started.strftime("%Y-%m-%d %H:%M:%S"),
            age(passed)
        ),
    );
    let text = |name: &str| {
        request
            .commission
            .get(name)
            .and_then(Value::as_str)
            .map(printable)
    };
    row("task", text("prompt").unwrap_or_else(|| "none".to_owned()));
    if let Some(model) = text("model").filter(|model| model != "none/none") {
        row("model", model);
    }
    row("grants", granted(&request.grants));
    out.table(&table)
}

fn timeline(out: &mut Out, run: &RunDir, started: Timestamp) -> Result<(), Failure> {
    out.heading("Timeline")?;
    for record in run.records()? {
        let record = record?;
        let Some(moment) = moment(&record) else {
            continue;
        };
        let since = record
            .time
            .duration_since(started)
            .max(jiff::SignedDuration::ZERO);
        let since = format!("+{}", duration(since.unsigned_abs()));
        let (style, label) = (moment.style, moment.label);
        out.line(&format!(
            "  {DIM}{since:>9}{DIM:#}  {style}{label:<10}{style:#}  {}",
            moment.text
        ))?;
    }
    Ok(())
}

fn ended(out: &mut Out, run: &RunDir, outcome: &Outcome) -> Result<(), Failure> {
    if !outcome.files.is_empty() {
        out.heading("Files")?;
        let mut table = Table::indented(2);
        for file in &outcome.files {
            let written = Cell::right(size(file.bytes_written)).with(DIM);
            table.row([
                printable(&file.change).into(),
                shown_path(&file.path).into(),
                written,
            ]);
        }
        out.table(&table)?;
    }
    let marks = marks(run.path(), outcome)?;
    if !marks.is_empty() {
        out.heading("Run by other programs")?;
        let mut table = Table::indented(2);
        for mark in &marks {
            table.row([
                Cell::styled(YELLOW, "!"),
                shown_path(&mark.path).into(),
                printable(&mark.reason).into(),
            ]);
        }
        out.table(&table)?;
    }
    let stderr = tail(&outcome.stderr_tail);
    // After a failure the summary has shown it.
    if !stderr.is_empty() && outcome.exit() == Exit::Success {
        out.heading("Standard error, last lines")?;
        for line in stderr {
            out.line(&format!("  {} {line}", styled(DIM, "|")))?;
        }
    }
    if let Some(summary) = &outcome.completed {
        out.heading("Declared done")?;
        out.line(&format!("  {}", printable(summary)))?;
    }
    if let Some(output) = &outcome.output {
        let answer = match output {
            Value::String(text) => for_terminal(text),
            value => for_terminal(&format!("{value:#}")),
        };
        out.heading("Answer")?;
        for line in answer.lines() {
            out.line(&format!("  {line}"))?;
        }
    }
    Ok(())
}
