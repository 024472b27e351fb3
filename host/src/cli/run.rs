//! `wasm-agent run`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use serde_json::Value;
use wasm_agent::capabilities::storage::CHECKPOINT;
use wasm_agent::run::{Outcome, RunHandle};
use wasm_agent::trajectory::Record;

use super::commission::CommissionFlags;
use super::failure::Failure;
use super::grants::GrantFlags;
use super::live::Live;
use super::load::{HostFlags, load};
use super::onward::{self, OnwardFlags};
use super::out::{self, print, put};
use super::sign::{SignFlag, sign_outcome};
use super::signals::Signals;
use super::taping::{self, TapingFlags};
use super::text::for_terminal;
use super::{Done, EXIT_CODES};

const EXAMPLES: &str = "\
Examples:
  wasm-agent run ./my-agent \"what is this repository about?\" --dir ./repo
  wasm-agent run audit.wasm --dir ./repo::/work:rw --limit memory=1GiB --timeout 5m
  wasm-agent run audit.wasm --commission task.json --grants grants.toml --format json
  wasm-agent run audit.wasm \"task\" --out trajectory.ndjson
  wasm-agent run audit.wasm \"task\" --record=audit.rec
  wasm-agent run --resume latest";

#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// A component (.wasm), or the folder of an agent project, which is built first
    #[arg(value_name = "AGENT", required_unless_present_any = ["resume", "replay"])]
    pub(super) agent: Option<PathBuf>,

    #[command(flatten)]
    commission: CommissionFlags,

    #[command(flatten)]
    pub(super) grants: GrantFlags,

    /// Start from the checkpoint of this run, or of this file, which the agent finds when it loads one
    #[arg(long, value_name = "RUN|FILE", help_heading = "Grants")]
    checkpoint: Option<String>,

    #[command(flatten)]
    pub(super) taping: TapingFlags,

    #[command(flatten)]
    pub(super) onward: OnwardFlags,

    #[command(flatten)]
    pub(super) sign: SignFlag,

    #[command(flatten)]
    pub(super) result: ResultFlags,

    #[command(flatten)]
    pub(super) host: HostFlags,
}

/// What is shown of a run, and where.
#[derive(clap::Args)]
pub(super) struct ResultFlags {
    /// Write the AVP trajectory as NDJSON to a file, or to standard output with `-`
    #[arg(long, value_name = "FILE|-", help_heading = "Output")]
    out: Option<String>,

    /// What standard output is: the answer, the whole outcome, or the trajectory
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,

    /// Show nothing while running
    #[arg(long, short, help_heading = "Output")]
    pub(super) quiet: bool,
}

impl ResultFlags {
    /// Where the trajectory goes besides the run directory.
    pub(super) fn sink(&self) -> Result<Option<Sink>, Failure> {
        let out = match (self.out.as_deref(), self.format) {
            (None | Some("-"), Format::Avp) => Some("-"),
            (Some("-"), _) => {
                return Err(Failure::with_hint(
                    anyhow!("standard output cannot be both the trajectory and the answer"),
                    "leave out `--out -`, or say `--format avp`",
                ));
            }
            (out, _) => out,
        };
        out.map(Sink::open).transpose()
    }

    /// The file the trajectory goes to.
    pub(super) fn file(&self) -> Option<&Path> {
        self.out.as_deref().filter(|out| *out != "-").map(Path::new)
    }

    /// Prints what standard output is to be, once the run has ended, and says how it can be repeated.
    pub(super) fn print(&self, outcome: &Outcome) -> Result<(), Failure> {
        if !self.quiet {
            taping::tell(outcome);
        }
        match self.format {
            Format::Text => print_answer(outcome.output.as_ref()),
            Format::Json => print_outcome(outcome),
            Format::Avp => Ok(()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The agent's answer
    Text,
    /// The outcome as one JSON document
    Json,
    /// The AVP trajectory as NDJSON
    Avp,
}

pub(super) async fn run(mut args: Args) -> Done {
    args.host.signing_with(args.sign.path());
    let Some(agent) = &args.agent else {
        return onward::instead(args).await;
    };
    if args.onward.resume.is_some() || args.onward.replay.is_some() {
        return onward::instead(args).await;
    }
    let mode = args.taping.mode()?;
    let key = args.sign.key()?;
    let mut grants = args.grants.resolve_with_model(args.commission.model())?;
    if let Some(from) = &args.checkpoint {
        let runs = args.host.runs()?;
        let path = match Path::new(from) {
            file if file.is_file() => file.to_owned(),
            _ => runs.find(from)?.path().join(CHECKPOINT),
        };
        let checkpoint = wasm_agent::foreign::read(&path, grants.limits.storage_bytes)
            .with_context(|| format!("cannot start from the checkpoint `{}`", path.display()))
            .map_err(|error| Failure::with_hint(error, "an agent makes one with `session.save`"))?;
        grants.inputs.add(&path);
        grants.checkpoint = Some(checkpoint.into());
    }
    let files = [
        args.commission.file(),
        args.taping.file(),
        args.result.file(),
    ];
    for file in files.into_iter().flatten() {
        grants.inputs.add(file);
    }
    let host = args.host.host(taping::profile(&mode))?;
    let (agent, signals) = load(agent, &host, &grants).await?;
    let asked = args
        .commission
        .resolve(agent.descriptor(), args.taping.run_id())?;
    let sink = args.result.sink()?;
    let runs = args.host.runs()?;
    let live = Live::new(&agent.descriptor().agent_name, args.result.quiet);
    signals.hold();
    let handle = asked.start(&host, agent, grants, runs, mode)?;
    let outcome = follow(handle, signals, sink, live).await?;
    let signed = sign_outcome(key.as_ref(), &outcome, args.result.quiet);
    args.result.print(&outcome)?;
    signed?;
    args.taping.expected().exit(&outcome)
}

/// Follows a run to its end.
pub(super) async fn follow(
    mut handle: RunHandle,
    signals: Signals,
    mut sink: Option<Sink>,
    mut live: Live,
) -> Result<Outcome, Failure> {
    live.in_reach(&handle.in_reach);
    signals.interrupt(handle.interrupter(), live.notes());
    let mut lost = None;
    while let Some(record) = handle.next().await {
        live.record(&record);
        if let Some(open) = &mut sink
            && let Err(error) = open.write(&record)
        {
            // The account itself is in the run directory; a view of it that breaks ends no run.
            lost = Some(error);
            sink = None;
        }
    }
    let outcome = handle.outcome().await;
    live.finish(&outcome);
    let flushed = sink.map_or(Ok(()), |mut sink| sink.flush());
    match lost.map_or(flushed, Err) {
        Ok(()) => Ok(outcome),
        // Whoever reads standard output may stop reading.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(outcome),
        Err(error) => Err(Failure::new(
            anyhow::Error::new(error).context("cannot write the trajectory"),
        )),
    }
}

/// Where the AVP view of a run goes besides its run directory.
pub(super) struct Sink {
    writer: Box<dyn Write + Send>,
}

impl Sink {
    pub(super) fn open(path: &str) -> Result<Sink, Failure> {
        let writer: Box<dyn Write + Send> = if path == "-" {
            Box::new(io::stdout())
        } else {
            let file = File::create(path)
                .with_context(|| format!("cannot write the trajectory to `{path}`"))
                .map_err(Failure::new)?;
            Box::new(BufWriter::new(file))
        };
        Ok(Sink { writer })
    }

    /// Writes the record if it is an AVP event; each line is flushed, so that a reader can follow.
    fn write(&mut self, record: &Record) -> io::Result<()> {
        if let Some(line) = record.avp() {
            writeln!(self.writer, "{line}")?;
            self.writer.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn print_answer(output: Option<&Value>) -> Result<(), Failure> {
    let text = match output {
        None => return Ok(()),
        Some(Value::String(text)) => text.clone(),
        Some(value) => format!("{value:#}"),
    };
    // A terminal obeys what it is sent; a file or a program gets the answer as it is.
    let text = if io::stdout().is_terminal() {
        for_terminal(&text)
    } else {
        text
    };
    seen(print(&text))
}

fn print_outcome(outcome: &Outcome) -> Result<(), Failure> {
    let mut value = serde_json::to_value(outcome).map_err(|error| Failure::new(error.into()))?;
    put(
        &mut value,
        "directory",
        serde_json::json!(outcome.directory),
    );
    seen(out::print_json(&value))
}

/// The exit code says how the run ended, even when nobody reads its answer to the end.
fn seen(printed: Result<(), Failure>) -> Result<(), Failure> {
    printed.or_else(|failure| {
        if failure.is_reader_gone() {
            Ok(())
        } else {
            Err(failure)
        }
    })
}
