//! Runs that are over, read back from their directories.
//!
//! The text is read as it stands and judged by nobody here: that is what `trajectory::verify` is for. A
//! host that was killed leaves no outcome and perhaps half a line; both are states, not errors.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::directory::{self, DirectoryError, Life, RunDir};
use super::outcome::{self, Outcome};
use super::related::Related;
use super::workspaces::MARKS;
use crate::capabilities::filesystem::cow::Mark;
use crate::capabilities::filesystem::runs;
use crate::error::Hint;
use crate::foreign::{self, MAX_LINE};
use crate::trajectory::Totals;

/// Bytes that are read first to find the last record. Most outcomes are shorter.
const TAIL: u64 = 16 << 10;

/// What is known of a run without reading all of it.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// What was asked: `run.json`.
    pub request: Request,
    /// How far it got.
    pub state: State,
}

/// How far a run got.
#[derive(Clone, Debug)]
pub enum State {
    /// Its account is closed.
    Ended(Box<Outcome>),
    /// Its account is not closed yet. What was recorded so far.
    Running(Totals),
    /// Its account was never closed: the host was killed. What was recorded up to there.
    Died(Totals),
    /// Its account is not closed, and whether the host is still there cannot be told here.
    Unfinished(Totals),
}

/// `run.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// The host's own id of the run.
    pub session_id: String,
    /// When it was started.
    #[serde(deserialize_with = "timestamp")]
    pub started: Timestamp,
    /// The commission as it was given.
    pub commission: Value,
    /// The agent.
    pub agent: RequestedAgent,
    /// The effective grants, in the words of a grants file.
    pub grants: Value,
    /// How it relates to a recording, if it does.
    pub taping: Option<Related>,
}

/// The agent of a run.
#[derive(Clone, Debug, Deserialize)]
pub struct RequestedAgent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The file it came from.
    pub component: Option<PathBuf>,
    /// `sha256:…` of the component.
    pub digest: String,
}

/// One line of `events.ndjson`.
#[derive(Clone, Debug)]
pub struct PastEvent {
    /// Position in the run, from 0.
    pub seq: u64,
    /// When it was recorded.
    pub time: Timestamp,
    /// What it holds, as JSON text.
    pub body: PastBody,
}

/// What a record holds, as JSON text.
#[derive(Clone, Debug)]
pub enum PastBody {
    /// An AVP event: a line of the AVP view of the run.
    Avp(Box<RawValue>),
    /// An audit record.
    Audit(Box<RawValue>),
}

/// A run cannot be read back.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum HistoryError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("cannot read `{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot read `{}`: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error("cannot read line {line} of `{}`: {reason}", path.display())]
    Line {
        path: PathBuf,
        line: u64,
        reason: String,
    },
}

impl Hint for HistoryError {
    fn hint(&self) -> Option<String> {
        match self {
            HistoryError::Directory(error) => error.hint(),
            HistoryError::Io { .. } => None,
            HistoryError::Malformed { path, .. } | HistoryError::Line { path, .. } => {
                let run = path.parent().unwrap_or(path);
                Some(format!(
                    "`wasm-agent verify {}` says what is wrong with it",
                    run.display()
                ))
            }
        }
    }
}

impl RunDir {
    /// What was asked and how far it got. Reads `run.json` and the end of the log; only the log of a run
    /// that was not closed is read as a whole.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or is not what this host writes.
    pub fn summary(&self) -> Result<PastRun, HistoryError> {
        let request = self.request()?;
        // First: a run that ends in between has closed its account by then.
        let life = self.life();
        let path = self.events();
        let io_error = |source| HistoryError::Io {
            path: path.clone(),
            source,
        };
        let last = match File::open(&path) {
            // The host was killed between writing what was asked and the first record.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error(error)),
            Ok(mut file) => last_line(&mut file).map_err(io_error)?,
        };
        let malformed = |reason| HistoryError::Malformed {
            path: path.clone(),
            reason,
        };
        let state = match last
            .as_deref()
            .map(outcome_of)
            .transpose()
            .map_err(malformed)?
            .flatten()
        {
            Some(mut outcome) => {
                outcome.directory = Some(self.path().to_owned());
                State::Ended(outcome)
            }
            None => {
                let totals = self.totals_so_far()?;
                match life {
                    Life::Running => State::Running(totals),
                    Life::Over => State::Died(totals),
                    Life::Unknown => State::Unfinished(totals),
                }
            }
        };
        Ok(PastRun { request, state })
    }

    /// What was asked.
    ///
    /// # Errors
    ///
    /// `run.json` cannot be read, or is not what this host writes.
    pub fn request(&self) -> Result<Request, HistoryError> {
        let value = self.read_request()?;
        let path = self.path().join("run.json");
        let malformed = |reason| HistoryError::Malformed {
            path: path.clone(),
            reason,
        };
        match value.get("format").and_then(Value::as_str) {
            Some(directory::FORMAT) => {}
            Some(other) => {
                let reason = format!(
                    "its format is `{other}`, this host reads `{}`",
                    directory::FORMAT
                );
                return Err(malformed(reason));
            }
            None => return Err(malformed("it does not say its format".to_owned())),
        }
        Request::deserialize(value).map_err(|error| malformed(error.to_string()))
    }

    /// The records, in order. A torn last line, which a killed host leaves, is left out.
    ///
    /// # Errors
    ///
    /// The log cannot be opened. A line that cannot be read is an item, and the last one.
    pub fn records(&self) -> Result<Records, HistoryError> {
        let path = self.events();
        let file = match File::open(&path) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(HistoryError::Io { path, source }),
        };
        Ok(Records {
            path,
            file,
            line: 0,
        })
    }

    fn totals_so_far(&self) -> Result<Totals, HistoryError> {
        let mut totals = Totals::default();
        for record in self.records()? {
            match record {
                Ok(PastEvent {
                    body: PastBody::Avp(event),
                    ..
                }) => add(&mut totals, event.get()),
                Ok(_) => {}
                // Whatever can be said of a damaged log is better than nothing.
                Err(_) => break,
            }
        }
        Ok(totals)
    }
}

/// The records of a run, in order.
#[derive(Debug)]
pub struct Records {
    path: PathBuf,
    file: Option<BufReader<File>>,
    line: u64,
}

impl Iterator for Records {
    type Item = Result<PastEvent, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let file = self.file.as_mut()?;
        self.line += 1;
        let text = match foreign::line(file, MAX_LINE) {
            Ok(foreign::Line::Whole(text)) => text,
            Ok(foreign::Line::Torn | foreign::Line::None) => {
                self.file = None;
                return None;
            }
            Err(source) => {
                self.file = None;
                return Some(Err(match source.kind() {
                    io::ErrorKind::InvalidData => self.malformed(source.to_string()),
                    _ => HistoryError::Io {
                        path: self.path.clone(),
                        source,
                    },
                }));
            }
        };
        // Whoever asks what is in the event builds it.
        let parsed = foreign::check_built(&text)
            .and_then(|()| PastEvent::parse(&text).map_err(|error| error.to_string()));
        match parsed {
            Ok(record) => Some(Ok(record)),
            Err(reason) => {
                self.file = None;
                Some(Err(self.malformed(reason)))
            }
        }
    }
}

impl Records {
    fn malformed(&self, reason: String) -> HistoryError {
        HistoryError::Line {
            path: self.path.clone(),
            line: self.line,
            reason,
        }
    }
}

impl PastEvent {
    /// Reads one line of `events.ndjson`.
    ///
    /// # Errors
    ///
    /// It is not a record.
    pub fn parse(line: &[u8]) -> Result<PastEvent, serde_json::Error> {
        #[derive(Deserialize)]
        struct Line {
            seq: u64,
            #[serde(deserialize_with = "timestamp")]
            time: Timestamp,
            avp: Option<Box<RawValue>>,
            audit: Option<Box<RawValue>>,
        }
        let Line {
            seq,
            time,
            avp,
            audit,
        } = serde_json::from_slice(line)?;
        let body = match (avp, audit) {
            (Some(event), None) => PastBody::Avp(event),
            (None, Some(audit)) => PastBody::Audit(audit),
            _ => {
                return Err(serde_json::Error::custom(
                    "it has to hold either `avp` or `audit`",
                ));
            }
        };
        Ok(PastEvent { seq, time, body })
    }
}

fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

/// The last whole line of a file, without its newline.
fn last_line(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut size = TAIL;
    loop {
        let start = len.saturating_sub(size);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.by_ref().take(size).read_to_end(&mut tail)?;
        let newline = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
        if let Some(end) = newline(&tail) {
            tail.truncate(end);
            match newline(&tail) {
                Some(begin) => return Ok(Some(tail.split_off(begin + 1))),
                None if start == 0 => return Ok(Some(tail)),
                None => {}
            }
        } else if start == 0 {
            return Ok(None);
        }
        if size > MAX_LINE {
            return Ok(None);
        }
        size = (size * 8).min(MAX_LINE + 1);
    }
}

/// The outcome in a `run_ended` record; nothing when the line is another record.
fn outcome_of(line: &[u8]) -> Result<Option<Box<Outcome>>, String> {
    #[derive(Deserialize)]
    struct Ended {
        kind: String,
        outcome: Option<Value>,
    }
    foreign::check_built(line)?;
    let PastBody::Audit(audit) = PastEvent::parse(line)
        .map_err(|error| error.to_string())?
        .body
    else {
        return Ok(None);
    };
    let ended: Ended = serde_json::from_str(audit.get()).map_err(|error| error.to_string())?;
    let ("run_ended", Some(outcome)) = (ended.kind.as_str(), ended.outcome) else {
        return Ok(None);
    };
    let format = outcome
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if format != outcome::FORMAT {
        return Err(format!(
            "its outcome has format `{format}`, this host reads `{}`",
            outcome::FORMAT
        ));
    }
    serde_json::from_value(outcome)
        .map(Some)
        .map_err(|error| format!("its outcome: {error}"))
}

/// Adds an event to `totals` by its text. The fold of a run that goes on works on typed events.
fn add(totals: &mut Totals, event: &str) {
    let Ok(event) = serde_json::from_str::<Value>(event) else {
        return;
    };
    let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    totals.events += 1;
    match event
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
    {
        "avp.assistant_message" => {
            totals.turns += 1;
            totals.input_tokens += number("/data/avp.usage/input_tokens");
            totals.output_tokens += number("/data/avp.usage/output_tokens");
            let cost = event.pointer("/data/avp.cost_usd").and_then(Value::as_f64);
            totals.cost_usd += cost.unwrap_or(0.0);
        }
        "avp.tool_invoked" => totals.tool_calls += 1,
        "avp.tool_returned" => {
            let failed = event
                .pointer("/data/avp.tool_result/is_error")
                .and_then(Value::as_bool);
            totals.tool_errors += u64::from(failed == Some(true));
        }
        "avp.subagent_invoked" => totals.subagents += 1,
        "avp.error_occurred" => totals.errors += 1,
        _ => {}
    }
}

/// The files in the run's `artifacts`, by name, with their sizes in bytes.
///
/// # Errors
///
/// The folder is there but cannot be read.
pub fn artifacts(run: &Path) -> Result<Vec<(String, u64)>, HistoryError> {
    let path = run.join("artifacts");
    let io_error = |source| HistoryError::Io {
        path: path.clone(),
        source,
    };
    let entries = match std::fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error)?;
        let size = entry.metadata().map_err(io_error)?.len();
        files.push((entry.file_name().to_string_lossy().into_owned(), size));
    }
    files.sort();
    Ok(files)
}

/// What a run changed that other programs of the operator's run or obey, by path: by its names, and in copies by what
/// was seen when they were compared.
///
/// # Errors
///
/// What was kept of it cannot be read.
pub fn marks(run: &Path, outcome: &Outcome) -> Result<Vec<Mark>, HistoryError> {
    let path = run.join(MARKS);
    let mut marks: Vec<Mark> = match File::open(&path) {
        Ok(file) => {
            let mut text = Vec::new();
            let read = file.take(MAX_LINE).read_to_end(&mut text);
            read.and_then(|_| Ok(serde_json::from_slice(&text)?))
                .map_err(|source| HistoryError::Io { path, source })?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(HistoryError::Io { path, source }),
    };
    let kept: HashSet<String> = marks.iter().map(|mark| mark.path.clone()).collect();
    for file in &outcome.files {
        if matches!(file.change.as_str(), "created" | "modified" | "renamed")
            && !kept.contains(&file.path)
            && let Some(reason) = runs(&[], Path::new(&file.path))
        {
            marks.push(Mark {
                path: file.path.clone(),
                reason: reason.to_owned(),
            });
        }
    }
    marks.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::run::RunsDir;

    const REQUEST: &str = r#"{"format":"wasm-agent/run@1","session_id":"s","started":"2026-01-01T00:00:00Z",
        "commission":{"prompt":"hi"},"agent":{"name":"a","version":"1","digest":"sha256:00"},"grants":{}}"#;

    fn line(seq: u64, body: &str) -> String {
        format!(
            r#"{{"seq":{seq},"time":"2026-01-01T00:00:00.000001Z","prev":"",{body},"hash":""}}"#
        )
    }

    fn ended(output: &str) -> String {
        let outcome = format!(
            r#"{{"format":"wasm-agent/outcome@1","run_id":"r","session_id":"s",
            "ended":{{"kind":"limit","name":"wall","max":5}},"stop_reason":"interrupted",
            "output":"{output}","totals":{{"turns":2}},"files":[],"wall_us":7,"cpu_us":3,"memory_peak":1}}"#
        );
        line(
            1,
            &format!(r#""audit":{{"kind":"run_ended","outcome":{outcome}}}"#),
        )
        .replace('\n', "")
    }

    /// A run directory with this log, in a folder that is removed with the first of the two.
    fn run(log: &str) -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("run.json"), REQUEST).unwrap();
        fs::write(path.join("events.ndjson"), log).unwrap();
        let run = RunsDir::at(dir.path()).find("s").unwrap();
        (dir, run)
    }

    fn turn() -> String {
        line(
            0,
            r#""avp":{"type":"avp.assistant_message","data":{"avp.usage":{"input_tokens":3}}}"#,
        )
    }

    #[test]
    fn an_ended_run_is_known_by_its_last_record() {
        // The second outcome is longer than what is read first.
        for output in ["done".to_owned(), "x".repeat(300_000)] {
            let (_dir, run) = run(&format!("{}\n{}\n", turn(), ended(&output)));
            let past = run.summary().unwrap();
            assert_eq!(past.request.commission["prompt"], "hi");
            let State::Ended(outcome) = past.state else {
                panic!("unfinished")
            };
            assert_eq!(outcome.output, Some(Value::String(output)));
            assert_eq!(outcome.totals.turns, 2);
            assert_eq!(outcome.exit(), crate::error::Exit::Limit);
            assert_eq!(outcome.directory.as_deref(), Some(run.path()));
        }
    }

    #[test]
    fn a_run_whose_host_was_killed_died_and_keeps_what_was_recorded() {
        let torn = ended("done");
        let cut = torn.get(..torn.len() / 2).unwrap();
        for log in [
            format!("{}\n{cut}", turn()),
            format!("{}\n{torn}", turn()),
            format!("{}\n", turn()),
        ] {
            let (_dir, run) = run(&log);
            let State::Died(totals) = run.summary().unwrap().state else {
                panic!("ended")
            };
            assert_eq!((totals.turns, totals.input_tokens), (1, 3));
            assert_eq!(run.records().unwrap().filter_map(Result::ok).count(), 1);
        }
        let (_dir, run) = run("");
        fs::remove_file(run.events()).unwrap();
        let State::Died(totals) = run.summary().unwrap().state else {
            panic!("ended")
        };
        assert_eq!(totals, Totals::default());
    }

    #[test]
    fn a_run_goes_on_for_as_long_as_its_journal_lives() {
        use crate::trajectory::journal::{Journal, Link};

        let (_dir, run) = run("");
        fs::remove_file(run.events()).unwrap();
        let journal = Journal::create(Link::of(b""), &run.events()).unwrap();
        assert!(matches!(run.summary().unwrap().state, State::Running(_)));
        let error = run.clone().remove().unwrap_err();
        assert!(matches!(error, DirectoryError::Running { .. }), "{error}");
        assert!(run.events().exists(), "nothing was removed");

        drop(journal);
        assert!(matches!(run.summary().unwrap().state, State::Died(_)));
        run.clone().remove().unwrap();
        assert!(!run.path().exists());
    }

    #[test]
    fn a_line_that_is_no_record_is_named_and_ends_the_reading() {
        let (_dir, run) = run(&format!("{}\nnonsense\n{}\n", turn(), turn()));
        let records: Vec<_> = run.records().unwrap().collect();
        assert_eq!(records.len(), 2);
        let error = records.into_iter().next_back().unwrap().unwrap_err();
        assert!(
            matches!(error, HistoryError::Line { line: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_request_of_another_format_is_not_guessed_at() {
        let (_dir, run) = run("");
        fs::write(
            run.path().join("run.json"),
            REQUEST.replace("run@1", "run@2"),
        )
        .unwrap();
        let error = run.summary().unwrap_err();
        assert!(error.to_string().contains("run@2"), "{error}");
    }
}
