//! The strict judge of a trajectory or a run directory.
//!
//! It works on the text alone and shares no types with the recorder, so that a mistake of one is not a
//! mistake of both. AVP's public harness compares selected events and accepts a trajectory that lies
//! about the rest; every rule here names the sentence of the specification it comes from.
//!
//! What a judge cannot see: a turn without tool calls that was left out at the end, or a trajectory that
//! was written anew as a whole. In a run directory the hash chain shows the first, and a
//! [`Report::head`] that was kept elsewhere the second.

mod calls;
mod claims;
mod envelope;
mod event;
mod frames;
mod judge;
mod key;
mod lines;
mod prelude;
mod record;
mod report;
mod rule;
mod schema;
mod shape;
mod spans;
mod time;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use claims::{ClaimedCall, Claims, MAX_CALLS, Split};
pub use report::{Kind, MAX_VIOLATIONS, Report, Verdict, Violation};
pub use rule::Rule;

use crate::error::Hint;
use crate::json;
use envelope::Origin;
use judge::Judge;
use lines::{Line, Lines};
use prelude::Commissioned;
use record::Chain;
use report::Findings;

/// Longest line that is read, in bytes: four times the largest commission, which is the largest thing
/// an event carries.
pub const MAX_LINE: usize = 16 << 20;

/// Most events that are judged. What the judge remembers of an event is about 200 bytes.
pub const MAX_EVENTS: u64 = 1_000_000;

/// Why nothing could be judged.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is neither a regular file nor a run directory.
    #[error("{path} is neither a trajectory nor a run directory", path = .path.display())]
    NotARun {
        /// What was given.
        path: PathBuf,
    },
}

impl Hint for VerifyError {
    fn hint(&self) -> Option<String> {
        match self {
            VerifyError::Read { .. } => None,
            VerifyError::NotARun { .. } => Some(format!(
                "give a file of AVP events, or a directory with {RUN_FILE} and {EVENTS_FILE}"
            )),
        }
    }
}

const RUN_FILE: &str = "run.json";
const EVENTS_FILE: &str = "events.ndjson";

/// Judges AVP events, one a line.
pub fn verify_lines(input: impl BufRead) -> Report {
    let mut judge = Judge::new(Origin::Optional, Commissioned::Unknown);
    let mut found = Findings::default();
    let mut complete = true;
    read(input, &mut found, |line, out| {
        let (text, torn) = match line {
            Line::Whole(text) => (text, false),
            Line::Torn(text) => (text, true),
            Line::TooLong => return true,
        };
        match std::str::from_utf8(text).map(json::parse) {
            Ok(Ok(value)) => judge.event(&value, out),
            // The one line that was being written when the writer was killed.
            _ if torn => complete = false,
            Ok(Err(error)) => record::unreadable(&error, out),
            Err(_) => out.add(Rule::NotJson, "", "is not utf-8"),
        }
        judge.events <= MAX_EVENTS
    });
    if !judge.stopped() {
        found.add(Rule::Unfinished, "", "there is no agent_stopped");
    }
    report(Kind::Trajectory, &judge, found, complete)
}

/// Judges a file of AVP events, or a run directory. `events.ndjson` in a run directory stands for the
/// directory.
///
/// # Errors
/// When there is nothing to judge; what is wrong with the content is in the report.
pub fn verify_path(path: &Path) -> Result<Report, VerifyError> {
    let failed = |source| VerifyError::Read {
        path: path.to_owned(),
        source,
    };
    let kind = fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        return verify_directory(path);
    }
    if !kind.is_file() {
        return Err(VerifyError::NotARun {
            path: path.to_owned(),
        });
    }
    if let (true, Some(parent)) = (path.ends_with(EVENTS_FILE), path.parent())
        && is_regular(&parent.join(RUN_FILE))
    {
        return verify_directory(parent);
    }
    Ok(verify_lines(BufReader::new(
        File::open(path).map_err(failed)?,
    )))
}

fn verify_directory(path: &Path) -> Result<Report, VerifyError> {
    let (run, events) = (path.join(RUN_FILE), path.join(EVENTS_FILE));
    if !is_regular(&run) || !is_regular(&events) {
        return Err(VerifyError::NotARun {
            path: path.to_owned(),
        });
    }
    let open = |path: &Path| {
        File::open(path).map_err(|source| VerifyError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let mut run_file = Vec::new();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let read = open(&run)?.take(limit).read_to_end(&mut run_file);
    read.map_err(|source| VerifyError::Read {
        path: run.clone(),
        source,
    })?;
    Ok(verify_records(&run_file, BufReader::new(open(&events)?)))
}

/// Judges the two files of a run directory.
fn verify_records(run_file: &[u8], events: impl BufRead) -> Report {
    let mut found = Findings::default();
    let commissioned = commissioned(run_file, &mut found);
    let mut judge = Judge::new(Origin::Required, commissioned);
    let mut chain = Chain::new(run_file);
    let mut complete = true;
    read(events, &mut found, |line, out| {
        match line {
            Line::Whole(text) => chain.record(text, &mut judge, out),
            Line::Torn(_) => complete = false,
            Line::TooLong => {}
        }
        judge.events <= MAX_EVENTS
    });
    match (judge.stopped(), chain.ended()) {
        (true, true) => {}
        (true, false) => found.add(
            Rule::Unfinished,
            "",
            "there is no run_ended after agent_stopped",
        ),
        (false, false) => found.add(Rule::Unfinished, "", "there is no agent_stopped"),
        (false, true) => found.add(
            Rule::StopMissing,
            "",
            "run_ended is there, agent_stopped is not",
        ),
    }
    let report = report(Kind::RunDirectory, &judge, found, complete);
    let read = chain.finish();
    Report {
        head: read.head,
        trajectory: Some(read.trajectory),
        claims: Some(read.claims),
        outcome: read.outcome,
        ..report
    }
}

/// The commission in `run.json`.
fn commissioned(run_file: &[u8], found: &mut Findings) -> Commissioned {
    let parsed = std::str::from_utf8(run_file).ok().map(json::parse);
    match parsed {
        Some(Ok(Value::Object(mut run))) => match run.remove("commission") {
            Some(commission) => return Commissioned::As(commission),
            None => found.add(Rule::RunFile, "commission", "run.json has none"),
        },
        Some(Err(error)) => found.add(
            Rule::RunFile,
            "",
            format_args!("run.json is not json: {error}"),
        ),
        _ => found.add(Rule::RunFile, "", "run.json is not a JSON object"),
    }
    Commissioned::Unknown
}

/// Reads line by line until the input ends or `each` says that it is enough.
fn read(
    input: impl BufRead,
    found: &mut Findings,
    mut each: impl FnMut(Line<'_>, &mut Findings) -> bool,
) {
    let mut lines = Lines::new(input, MAX_LINE);
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => return found.add(Rule::Unreadable, "", error),
        };
        found.line += 1;
        if matches!(line, Line::TooLong) {
            found.add(
                Rule::LineTooLong,
                "",
                format_args!("has more than {MAX_LINE} bytes"),
            );
        }
        if !each(line, found) {
            return found.add(
                Rule::TooManyEvents,
                "",
                format_args!("has more than {MAX_EVENTS} events"),
            );
        }
    }
}

fn report(kind: Kind, judge: &Judge, found: Findings, complete: bool) -> Report {
    let Findings {
        violations, total, ..
    } = found;
    Report {
        kind,
        events: judge.events,
        violations,
        total,
        head: None,
        trajectory: None,
        complete,
        claims: None,
        outcome: None,
    }
}

/// A symbolic link could lead out of the directory, and a pipe would never end.
fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_file())
}

#[cfg(test)]
mod tests;
