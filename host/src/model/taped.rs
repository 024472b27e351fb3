//! What models answer, as it stands on the tape.
//!
//! One call for whether a model may be asked, one for each request that is sent, one for each piece of its
//! answer, in the order in which the guest gets them: a replay asks again what was asked, retries what was
//! retried, and waits for nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Failed;
use super::{Delta, Reply};

/// Whether a model may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Access {
    /// It may.
    Granted {
        /// Somebody knows what its answers cost.
        priced: bool,
    },
    /// The operator has not granted it.
    Denied {
        /// What would allow it.
        rule: String,
    },
    /// There is no such provider, or none for this run.
    Unsupported(String),
}

/// What came of waiting for an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// The answer begins.
    Begun,
    /// A piece of it.
    Delta(Delta),
    /// It is whole.
    Reply(Reply),
    /// There is none.
    Failed(Failed),
}

/// The same, with the time since the request was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Timed {
    /// Microseconds.
    pub(super) us: u64,
    pub(super) step: Step,
}

impl Timed {
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_micros(self.us)
    }
}
