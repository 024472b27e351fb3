//! What a run directory says of its run, as text: digests are over texts.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::trajectory::verify::{MAX_LINE, Report};

/// A run directory that has been judged.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) directory: PathBuf,
    /// Nothing when it is not what this host writes; the judge says what is wrong then.
    pub(super) run: Option<RunFile>,
    /// How the run ended; nothing when its account was not closed.
    pub(super) outcome: Option<OutcomeText>,
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
    pub(super) taping: Option<Taping>,
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

/// How the run relates to a recording.
#[derive(Debug, Deserialize)]
pub(super) struct Taping {
    /// The session id as the guest and the trajectory know it.
    pub(super) session_id: String,
    /// The file it was recorded to: a name in the run directory, or a path.
    pub(super) recording: Option<PathBuf>,
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
        let outcome = report
            .outcome
            .as_ref()
            .and_then(|text| serde_json::from_str(text.get()).ok());
        Account {
            run: read_run_file(&directory),
            outcome,
            directory,
            report,
        }
    }

    /// The session id as the trajectory knows it.
    pub(super) fn known_as(&self) -> Option<&str> {
        let run = self.run.as_ref()?;
        let taped = run.taping.as_ref().map(|taping| taping.session_id.as_str());
        Some(taped.unwrap_or(&run.session_id))
    }

    pub(super) fn into_report(self) -> Report {
        self.report
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

/// Reads `run.json`; nothing when it is not what this host writes.
pub(super) fn read_run_file(directory: &Path) -> Option<RunFile> {
    let bytes = read_bounded(&directory.join("run.json"), MAX_LINE)?;
    serde_json::from_slice(&bytes).ok()
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
