//! Is this account of a run true, and who says so?
//!
//! ```text
//! run directory ─▶ trajectory::verify (chain, order, claims) ─┐
//!   artifacts    ─▶ artifact.rs: what was handed over ──────────┤
//!   recording    ─▶ recording.rs: what both say is the same ───┼─▶ Verified
//!   receipt      ─▶ receipt.rs: says nothing else; dsse.rs ────┘
//! ```
//!
//! A *receipt* is a signed statement of what a run was and what came of it. It is made of the account alone, so
//! that a checker makes it again and compares. docs/receipts.md has the format.

mod account;
mod artifact;
pub mod dsse;
pub mod key;
mod receipt;
mod recording;
mod sign;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Hint;
use crate::json::printable;
use crate::trajectory::verify::{self, Kind, Report, Verdict, VerifyError};
use account::Account;
pub use artifact::{ArtifactCheck, ArtifactState};
pub use key::{KeyError, PublicKey, SecretKey};
pub use receipt::{FILE, PAYLOAD_TYPE, PREDICATE_TYPE, ReceiptCheck, SignatureCheck};
pub use recording::{Input, RecordingCheck, RecordingState};
pub use sign::{SignError, Signed, sign};

/// Everything that can be said of a trajectory or a run directory.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// What the strict judge found.
    #[serde(flatten)]
    pub report: Report,
    /// What of the account could not be read, in words, and so was compared with nothing: it is not valid then.
    pub unread: Vec<String>,
    /// The documents the agent handed over.
    pub artifacts: Vec<ArtifactCheck>,
    /// The recording beside the account, where the run has one.
    pub recording: Option<RecordingCheck>,
    /// The receipt beside the account, where there is one.
    pub receipt: Option<ReceiptCheck>,
    /// Why the run is not signed by the key it was to be signed by, where there is no receipt.
    pub unsigned: Option<String>,
}

/// Two things that have to say the same and do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What they differ in.
    pub what: String,
    /// What the account says; nothing when it says nothing of it.
    pub account: Option<String>,
    /// What the other one says.
    pub found: Option<String>,
}

impl Mismatch {
    fn new(
        what: &str,
        account: Option<impl std::fmt::Display>,
        found: Option<impl std::fmt::Display>,
    ) -> Mismatch {
        Mismatch {
            what: printable(what),
            account: account.map(|text| printable(&text.to_string())),
            found: found.map(|text| printable(&text.to_string())),
        }
    }
}

/// Nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// There is nothing to judge.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Only runs have receipts.
    #[error("cannot check the signature of `{}`: it is no run directory", path.display())]
    NoRun {
        /// What was given.
        path: PathBuf,
    },
}

impl Hint for AttestError {
    fn hint(&self) -> Option<String> {
        match self {
            AttestError::Verify(error) => error.hint(),
            AttestError::NoRun { .. } => {
                Some("a receipt is in the run directory; name that".to_owned())
            }
        }
    }
}

impl Verified {
    /// All of it in one word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let recording = self.recording.iter().flat_map(|check| &check.mismatches);
        let receipt = self.receipt.iter().flat_map(|check| &check.mismatches);
        let refused = self
            .receipt
            .as_ref()
            .is_some_and(|check| check.signature == SignatureCheck::Refused);
        let altered = self
            .artifacts
            .iter()
            .any(|check| check.state == ArtifactState::Altered);
        let differs = recording.chain(receipt).next().is_some();
        if differs || altered || refused || self.unsigned.is_some() || !self.unread.is_empty() {
            return Verdict::Invalid;
        }
        self.report.verdict()
    }
}

/// Judges a file of AVP events or a run directory, and compares a run's account with its recording and its
/// receipt, whose signature has to be that of `key` where one is given. `events.ndjson` in a run directory stands
/// for the directory.
///
/// # Errors
///
/// There is nothing to judge. What is wrong with what there is, is in the result.
pub fn verify(path: &Path, key: Option<&PublicKey>) -> Result<Verified, AttestError> {
    let report = verify::verify_path(path)?;
    if report.kind == Kind::Trajectory {
        if key.is_some() {
            return Err(AttestError::NoRun {
                path: path.to_owned(),
            });
        }
        return Ok(Verified {
            report,
            unread: Vec::new(),
            artifacts: Vec::new(),
            recording: None,
            receipt: None,
            unsigned: None,
        });
    }
    let account = Account::read(path, report);
    let artifacts = artifact::check(&account);
    let recording = recording::check(&account);
    let receipt = receipt::check(&account, recording.as_ref(), key);
    let unsigned = match (key, &receipt) {
        (Some(key), None) => Some(format!("there is no {FILE} to be signed by {}", key.id())),
        _ => None,
    };
    let (report, unread) = account.into_parts();
    Ok(Verified {
        report,
        unread,
        artifacts,
        recording,
        receipt,
        unsigned,
    })
}

/// Where the recording of a run should be, whose directory or event log is at `path`; nothing when it has none.
#[must_use]
pub fn recording_of(path: &Path) -> Option<PathBuf> {
    let directory = account::directory_of(path);
    let run = account::read_run_file(directory).ok()?;
    recording::place(directory, &run).map(|(file, _)| file)
}
