//! The granted directories and files as they were before a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::capabilities::filesystem::{Effort, SurveyError, SurveyLimits, digest_of, entries};
use crate::digest::Digest;
use crate::error::Hint;
use crate::grants::Grants;
use crate::json::printable;

/// Files that are listed one by one; a larger directory has its digest only.
const LISTED_MAX: usize = 1000;

/// Hex digits of a listed file's digest: enough to tell which file differs, as the whole directory has a full
/// digest.
const SHORT: usize = 16;

/// Names of changed files in a message.
const NAMED: usize = 5;

/// One directory or file as it was before the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// In the guest.
    pub path: String,
    /// Of everything in it; how it is computed is said in docs/recording.md.
    pub digest: Digest,
    /// `KIND DIGEST` of what is in it by path, the digest cut to 16 digits; nothing where that is too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<BTreeMap<String, String>>,
}

/// The inputs of a run cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum InputError {
    #[error("cannot take the digest of `{path}`: {source}")]
    Survey { path: String, source: SurveyError },
    #[error(
        "cannot replay: `{path}` is not what it was when the run was recorded{}",
        list(changed)
    )]
    Changed { path: String, changed: Vec<String> },
    #[error("cannot replay: the recorded run had `{path}`")]
    Missing { path: String },
    #[error("cannot replay: the recording grants `{path}` and does not say what was in it")]
    Unrecorded { path: String },
}

fn list(changed: &[String]) -> String {
    if changed.is_empty() {
        return String::new();
    }
    let named: Vec<String> = changed
        .iter()
        .take(NAMED)
        .map(|name| format!("`{}`", printable(name)))
        .collect();
    let more = changed.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!(": {}{more} differ", named.join(", "))
}

impl Hint for InputError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            InputError::Survey { .. } => {
                "a run can be repeated when its directories have at most 200000 entries and 4 GiB"
                    .to_owned()
            }
            InputError::Changed { path, .. } => format!(
                "restore it (a recorded run with `:rw` changes it itself; `:cow` does not), or name a copy \
                 with `--dir HOST::{path}`"
            ),
            InputError::Unrecorded { .. } => {
                "somebody has changed the file: a recording shows an agent only what it was made of"
                    .to_owned()
            }
            InputError::Missing { path } => format!("name it with `--dir HOST::{path}`"),
        })
    }
}

/// What may be in the directories of a run that is to be repeated: hashing it takes a few seconds.
const LIMITS: SurveyLimits = SurveyLimits {
    entries: 200_000,
    bytes: 4 << 30,
};

/// Looks at everything that is granted. Blocks while it reads.
///
/// # Errors
///
/// Something cannot be read, or there is too much of it.
pub fn inventories(grants: &Grants) -> Result<Vec<Inventory>, InputError> {
    let mut inventories = Vec::new();
    // For all of them together: how many there are is for the recording to say.
    let effort = Effort::bytes(LIMITS.bytes, Arc::default());
    let mut limits = LIMITS;
    for dir in &grants.dirs {
        let failed = |source| InputError::Survey {
            path: dir.guest.clone(),
            source,
        };
        let opened = File::open(&dir.host).map_err(|error| failed(error.into()))?;
        let found = entries(&opened, limits, &grants.withheld, &effort).map_err(failed)?;
        limits.entries = limits.entries.saturating_sub(found.len());
        inventories.push(Inventory {
            path: dir.guest.clone(),
            digest: digest_of(&found),
            entries: (found.len() <= LISTED_MAX).then(|| shortened(found)),
        });
    }
    for file in &grants.files {
        let path = file.guest_path();
        let digest =
            digest_of_file(&file.host.join(&file.name)).map_err(|error| InputError::Survey {
                path: path.clone(),
                source: error.into(),
            })?;
        inventories.push(Inventory {
            path,
            digest,
            entries: None,
        });
    }
    Ok(inventories)
}

fn digest_of_file(path: &Path) -> io::Result<Digest> {
    use std::io::Read as _;
    Digest::of_reader(File::open(path)?.take(LIMITS.bytes))
}

fn shortened(entries: BTreeMap<String, String>) -> BTreeMap<String, String> {
    entries
        .into_iter()
        .map(|(path, line)| {
            let short = match line.split_once(" sha256:") {
                Some((kind, hex)) => format!("{kind} {}", hex.get(..SHORT).unwrap_or(hex)),
                None => line,
            };
            (path, short)
        })
        .collect()
}

/// Compares what was with what is.
///
/// # Errors
///
/// The first directory that differs, and the names of the files that do; or one that the recording says nothing of:
/// a recording is a file from elsewhere, and grants nothing whose content its author did not know.
pub fn compare(recorded: &[Inventory], now: &[Inventory]) -> Result<(), InputError> {
    let unknown = |is: &&Inventory| recorded.iter().all(|was| was.path != is.path);
    if let Some(extra) = now.iter().find(unknown) {
        return Err(InputError::Unrecorded {
            path: extra.path.clone(),
        });
    }
    for was in recorded {
        let Some(is) = now.iter().find(|is| is.path == was.path) else {
            return Err(InputError::Missing {
                path: was.path.clone(),
            });
        };
        if is.digest != was.digest {
            return Err(InputError::Changed {
                path: was.path.clone(),
                changed: changed(was, is),
            });
        }
    }
    Ok(())
}

fn changed(was: &Inventory, is: &Inventory) -> Vec<String> {
    let (Some(was), Some(is)) = (&was.entries, &is.entries) else {
        return Vec::new();
    };
    let gone = was.keys().filter(|path| !is.contains_key(*path));
    let other = is
        .iter()
        .filter(|(path, line)| was.get(*path) != Some(line));
    let mut names: Vec<String> = gone.chain(other.map(|(path, _)| path)).cloned().collect();
    names.sort();
    names
}
