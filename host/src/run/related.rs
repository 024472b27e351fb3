//! How a run relates to a recording, as `run.json` says it: written by whoever opens an account, read by everybody
//! else.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::recording::format::Parent;

/// The section `taping` of `run.json`. A live run has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Related {
    /// What kind of run it is.
    pub mode: Kind,
    /// The session id as the guest and the trajectory know it: that of the recording, where there is one.
    pub session_id: String,
    /// The run it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The file it is recorded to: a name in the run directory, so that it can be moved, or a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<PathBuf>,
}

/// A kind of run that can be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is recorded.
    Record,
    /// It has nothing but its inputs.
    Hermetic,
    /// It repeats a recording.
    Replay,
    /// It goes on with a run that was ended.
    Resume,
    /// It goes on from a call of another run, with something changed.
    Fork,
    /// It repeats a recording as far as that goes.
    Hybrid,
}

impl Kind {
    /// Whether a recording answers it, at least in the beginning.
    #[must_use]
    pub fn is_answered(self) -> bool {
        match self {
            Kind::Record | Kind::Hermetic => false,
            Kind::Replay | Kind::Resume | Kind::Fork | Kind::Hybrid => true,
        }
    }
}
