//! What a run directory says of its run, as text: digests are over texts.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::capabilities::storage::Submitted;
use crate::digest::Digest;
use crate::json::printable;
use crate::run::Related;
use crate::trajectory::verify::{MAX_LINE, Report};

/// A run directory that has been judged.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) directory: PathBuf,
    /// Nothing when it is not what this host writes.
    pub(super) run: Option<RunFile>,
    /// How the run ended; nothing when its account was not closed.
    pub(super) outcome: Option<OutcomeText>,
    /// The documents of the outcome.
    pub(super) artifacts: Vec<Submitted>,
    /// What of the account is not as this host writes it, in words: nothing could be compared with that.
    pub(super) unread: Vec<String>,
    pub(super) report: Report,
}

/// `run.json`.
#[derive(Debug, Deserialize)]
pub(super) struct RunFile {
    pub(super) session_id: String,
    pub(super) started: String,
    pub(super) commission: Box<RawValue>,
    pub(super) agent: AgentText,
    pub(super) grants: Box<RawValue>,
    pub(super) host: HostText,
    pub(super) taping: Option<Related>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AgentText {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) digest: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct HostText {
    pub(super) version: String,
    pub(super) profile: String,
}

/// The outcome in the last record.
#[derive(Debug, Deserialize)]
pub(super) struct OutcomeText {
    pub(super) run_id: String,
    pub(super) ended: Box<RawValue>,
    pub(super) stop_reason: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) output: Option<Box<RawValue>>,
    pub(super) completed: Option<String>,
    #[serde(default)]
    pub(super) artifacts: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) files: Vec<Box<RawValue>>,
    pub(super) fuel: Option<u64>,
    pub(super) run_digest: Option<Digest>,
}

/// `null` is an output, too.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl Account {
    /// Reads what was judged at `path`: the directory, or its event log.
    pub(super) fn read(path: &Path, report: Report) -> Account {
        let directory = directory_of(path).to_owned();
        let mut unread = Vec::new();
        let mut note = |what: &str, reason: &str| {
            let reason = printable(reason);
            unread.push(format!(
                "{what} cannot be read, and was not compared: {reason}"
            ));
        };
        let run = read_run_file(&directory).map_err(|reason| note("run.json", &reason));
        let outcome: Option<OutcomeText> = report.outcome.as_ref().and_then(|text| {
            let read = serde_json::from_str(text.get());
            read.map_err(|error| note("the outcome in events.ndjson", &error.to_string()))
                .ok()
        });
        let texts = outcome.iter().flat_map(|outcome| &outcome.artifacts);
        let mut artifacts = Vec::new();
        for (at, text) in texts.enumerate() {
            match serde_json::from_str(text.get()) {
                Ok(artifact) => artifacts.push(artifact),
                Err(error) => {
                    let what = format!("artifact {} in events.ndjson", at + 1);
                    note(&what, &error.to_string());
                }
            }
        }
        Account {
            run: run.ok(),
            outcome,
            artifacts,
            directory,
            unread,
            report,
        }
    }

    /// The session id as the trajectory knows it.
    pub(super) fn known_as(&self) -> Option<&str> {
        let run = self.run.as_ref()?;
        let taped = run.taping.as_ref().map(|taping| taping.session_id.as_str());
        Some(taped.unwrap_or(&run.session_id))
    }

    /// What the judge found, and what could not be read.
    pub(super) fn into_parts(self) -> (Report, Vec<String>) {
        (self.report, self.unread)
    }
}

/// The run directory of what the judge takes for one: itself, or its event log.
pub(super) fn directory_of(path: &Path) -> &Path {
    if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new(""))
    }
}

/// Reads `run.json`.
///
/// # Errors
///
/// Why it is not what this host writes, in words.
pub(super) fn read_run_file(directory: &Path) -> Result<RunFile, String> {
    let bytes = read_bounded(&directory.join("run.json"), MAX_LINE);
    let bytes = bytes.ok_or("it is no file, or too large")?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// The content of a regular file of at most `max` bytes. A link could lead anywhere, and a pipe never ends.
pub(super) fn read_bounded(path: &Path, max: usize) -> Option<Vec<u8>> {
    if !is_regular(path) {
        return None;
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .ok()?
        .take(limit)
        .read_to_end(&mut bytes)
        .ok()?;
    (bytes.len() <= max).then_some(bytes)
}

pub(super) fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_file())
}

/// SHA-256 of a JSON text without the white space between its parts.
pub(super) fn digest_of_json(text: &RawValue) -> Digest {
    Digest::of(crate::json::minify(text.get()).as_bytes())
}
