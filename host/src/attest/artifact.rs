//! The documents an agent handed over, against the account.

use std::fs::File;

use serde::Serialize;

use super::account::{Account, is_regular};
use crate::capabilities::storage::Submitted;
use crate::digest::Digest;
use crate::grants::require::is_artifact_name;
use crate::json::printable;

/// One document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactCheck {
    /// Its name in `artifacts`.
    pub name: String,
    /// What became of it.
    pub state: ArtifactState,
    /// What was handed over, as the account says.
    pub digest: String,
    /// What is there now, where that is something else.
    pub found: Option<Digest>,
}

/// What became of a document since it was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArtifactState {
    /// Nothing.
    Same,
    /// It is another one.
    Altered,
    /// It is not there. Who moves it away changes nothing of what is said of it.
    Missing,
}

/// Looks at every document the account has.
pub(super) fn check(account: &Account) -> Vec<ArtifactCheck> {
    let artifacts = account.artifacts.iter();
    let checks = artifacts.map(|Submitted { name, digest, .. }| {
        let path = account.directory.join("artifacts").join(name);
        // A forged account may name anything: nothing is read but what a host would have written.
        let found = (is_artifact_name(name) && is_regular(&path))
            .then(|| File::open(&path).and_then(Digest::of_reader).ok())
            .flatten();
        let (state, found) = match found {
            None => (ArtifactState::Missing, None),
            Some(found) if found.to_string() == *digest => (ArtifactState::Same, None),
            Some(found) => (ArtifactState::Altered, Some(found)),
        };
        ArtifactCheck {
            name: printable(name),
            state,
            digest: printable(digest),
            found,
        }
    });
    checks.collect()
}
