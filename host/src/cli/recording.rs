//! `wasm-agent recording`: what is in a recording, how two of them differ, and what others may have of one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use wasm_agent::error::Exit;
use wasm_agent::grants::{Grants, Limits};
use wasm_agent::recording::format::{Answer, Entry};
use wasm_agent::recording::request::FirstDifference;
use wasm_agent::recording::{Difference, Recording, differences};

use tempfile::NamedTempFile;

use super::Done;
use super::failure::Failure;
use super::out::{DIM, Out, print, print_json, styled};
use super::text::{clipped, plural};

/// Characters of an entry that are shown.
const SHOWN: usize = 100;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show what a run depended on, what it got from outside, and how it ended
    Show(Show),
    /// Compare two recordings, whatever time it was
    Diff(Diff),
    /// Take out names of files and places of the machine, which a replay can do without
    Prune(Prune),
    /// Print a recording as one JSON document, or as Markdown to review
    Export(Export),
}

#[derive(clap::Args)]
pub(super) struct Show {
    /// The recording
    file: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  they say the same\n  1  they differ\n  2  one of them cannot be read"
)]
pub(super) struct Diff {
    /// The one
    one: PathBuf,

    /// The other
    other: PathBuf,
}

#[derive(clap::Args)]
pub(super) struct Prune {
    /// The recording
    file: PathBuf,

    /// Where to write it; to the recording itself if left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(super) struct Export {
    /// The recording
    file: PathBuf,

    /// What to print
    #[arg(long, value_enum, default_value_t = Form::Markdown)]
    format: Form,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// A heading a call, with its request and its answer
    Markdown,
    /// One document with `header`, `calls` and `end`
    Json,
}

pub(super) fn recording(command: &Command) -> Done {
    match command {
        Command::Show(args) => show(args),
        Command::Diff(args) => diff(args),
        Command::Prune(args) => prune(args),
        Command::Export(args) => export(args),
    }
}

/// All of it or nothing: the file is there before it takes the place of another.
fn prune(args: &Prune) -> Done {
    let text = Recording::read(&args.file)?.pruned().to_text();
    let path = args.out.as_ref().unwrap_or(&args.file);
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let written = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.persist(path)?;
        Ok(())
    });
    written
        .with_context(|| format!("cannot write the recording `{}`", path.display()))
        .map_err(Failure::new)?;
    Ok(Exit::Success)
}

fn export(args: &Export) -> Done {
    let recording = Recording::read(&args.file)?;
    match args.format {
        Form::Markdown => print(recording.to_markdown().trim_end())?,
        Form::Json => print_json(&recording.to_json()?)?,
    }
    Ok(Exit::Success)
}

fn show(args: &Show) -> Done {
    let recording = Recording::read(&args.file)?;
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &recording.entries {
        let (kind, calls) = match entry {
            Entry::Readings { by, .. } => ("clock", by.len() as u64),
            Entry::Call { kind, .. } | Entry::Asked { kind, .. } => (kind.as_str(), 1),
            Entry::Answered { .. } => continue,
            Entry::Cut { .. } => ("cut", 1),
        };
        *kinds.entry(kind).or_default() += calls;
    }
    if args.json {
        let header: Value = serde_json::from_str(&recording.header.line())
            .map_err(|error| Failure::new(error.into()))?;
        print_json(&json!({ "header": header, "calls": kinds, "end": recording.end }))?;
        return Ok(Exit::Success);
    }
    let header = &recording.header;
    let mut out = Out::new();
    let mut line =
        |name: &str, value: &str| out.line(&format!("{name:<11}{}", clipped(value, 160)));
    line("agent", &header.component.name)?;
    line("component", &header.component.digest.to_string())?;
    line("session", &header.session_id)?;
    line("start", &header.start)?;
    line(
        "clock",
        match header.clock {
            wasm_agent::recording::format::ClockKind::Real => "real",
            wasm_agent::recording::format::ClockKind::Virtual => "virtual",
        },
    )?;
    line("seed", &header.seed.to_string())?;
    for input in &header.inputs {
        line("input", &format!("{} {}", input.path, input.digest))?;
    }
    if let Ok(limits) = Grants::recorded_limits(&header.grants) {
        for (limit, value, default) in limits.differing(&Limits::default()) {
            line(
                "limit",
                &format!("{}={value} (default {default})", limit.name),
            )?;
        }
    }
    for (kind, calls) in &kinds {
        line("calls", &format!("{kind}: {calls}"))?;
    }
    match &recording.end {
        Some(end) => {
            let how = end
                .ended
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default();
            line("ended", how)?;
            if let Some(fuel) = end.fuel {
                line("fuel", &fuel.to_string())?;
            }
            line("run digest", &end.run.to_string())?;
        }
        None => line("ended", "no: its host was killed, or the file was cut off")?,
    }
    out.heading("What it got from outside")?;
    for entry in &recording.entries {
        let text = match entry {
            Entry::Readings { by, us, .. } => {
                let total: u64 = us.iter().fold(0, |sum, us| sum.saturating_add(*us));
                format!(
                    "{} in {total} µs",
                    plural(by.len() as u64, "reading of the clock")
                )
            }
            Entry::Call {
                kind,
                request,
                answer,
                ..
            } => {
                format!("{kind} {request} → {}", answered(answer))
            }
            Entry::Asked { kind, request, .. } => format!("{kind} {request} …"),
            Entry::Answered { answer, .. } => format!("… → {}", answered(answer)),
            Entry::Cut { ended, .. } => format!("ended from outside: {ended}"),
        };
        let number = styled(DIM, format!("{:>6}", entry.number()));
        out.line(&format!("{number} {}", clipped(&text, SHOWN)))?;
    }
    out.finish()?;
    Ok(Exit::Success)
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Result(value) => value.to_string(),
        Answer::Trap(message) => format!("trap: {message}"),
    }
}

fn diff(args: &Diff) -> Done {
    let (one, other) = (Recording::read(&args.one)?, Recording::read(&args.other)?);
    let found = differences(&one, &other);
    let mut out = Out::new();
    for difference in &found {
        let text = match difference {
            Difference::Header(first) => format!("header: {}", side_by_side(first)),
            Difference::Entry { call, difference } => {
                format!("call {call}: {}", side_by_side(difference))
            }
            Difference::Length { one, other } => format!(
                "the one has {} from outside, the other {other}",
                plural(*one, "answer")
            ),
            Difference::End(first) => format!("end: {}", side_by_side(first)),
        };
        out.line(&text)?;
    }
    out.finish()?;
    Ok(if found.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    })
}

fn side_by_side(first: &FirstDifference) -> String {
    let value = |value: &Option<String>| match value {
        Some(text) => clipped(text, SHOWN),
        None => "nothing".to_owned(),
    };
    let (path, one, other) = (&first.path, value(&first.expected), value(&first.found));
    format!("`{}`: {one}, {other}", clipped(path, SHOWN))
}
