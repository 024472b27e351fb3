//! Why a model gave no reply.

use serde::{Deserialize, Serialize};

use super::wire::{Class, Failure};
use crate::capabilities::meters::LimitHit;
use crate::trajectory::{ErrorCode, JournalError};

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The guest gets to know; the run goes on.
    #[error(transparent)]
    Refused(#[from] ModelError),
    /// The account cannot be kept any more; the run has to end.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What comes next is not on the tape, or cannot be put there; the run has to end.
    #[error("{0:#}")]
    Tape(wasmtime::Error),
}

impl From<wasmtime::Error> for AskError {
    /// What the tape says.
    fn from(error: wasmtime::Error) -> AskError {
        AskError::Tape(error)
    }
}

/// Why there is no reply, as the guest gets to know it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The request is malformed.
    #[error("{0}")]
    Invalid(String),
    /// The operator has not granted the model.
    #[error("model `{subject}` is not granted: {rule}")]
    Denied {
        /// The model asked for.
        subject: String,
        /// What would allow it.
        rule: String,
    },
    /// A limit of the run is reached.
    #[error("limit `{}` is reached", .0.name)]
    Limit(LimitHit),
    /// The provider or the model cannot do what was asked.
    #[error("{0}")]
    Unsupported(String),
    /// The provider failed.
    #[error("{}", .failure.message)]
    Provider {
        /// What kind of failure.
        class: Class,
        /// The rest.
        failure: ProviderFailure,
    },
}

/// A failure on the provider's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFailure {
    /// What the provider said, or what went wrong with it.
    pub message: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// Requests made until giving up.
    pub attempts: u32,
}

/// One request that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Class and message.
    pub failure: Failure,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// How long the provider wants to be left alone.
    pub retry_after: Option<std::time::Duration>,
    /// The member of the request that was refused and can be left out: its name in `refused`'s table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave_out: Option<String>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Failed {
        Failed {
            retry_after: failure.retry_after,
            failure,
            status: None,
            leave_out: None,
        }
    }
}

impl Failed {
    /// A failure without an answer.
    #[must_use]
    pub fn new(class: Class, message: impl Into<String>) -> Failed {
        Failure::new(class, message).into()
    }
}

/// The beginning of a text from anywhere, on one line and without control characters.
#[must_use]
pub fn one_line(text: &str, characters: usize) -> String {
    let mut line = String::new();
    for (at, c) in text.trim().chars().enumerate() {
        if at == characters {
            line.push('…');
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

impl Class {
    /// Its name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Class::ContextLimit => "context_limit",
            Class::RateLimited => "rate_limited",
            Class::Overloaded => "overloaded",
            Class::UsageLimit => "usage_limit",
            Class::Auth => "auth",
            Class::Network => "network",
            Class::Garbled => "garbled",
            Class::Rejected => "rejected",
            Class::Unsupported => "unsupported",
        }
    }

    /// What AVP calls it.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Class::ContextLimit => ErrorCode::ContextLimit,
            Class::RateLimited => ErrorCode::RateLimit,
            Class::Auth => ErrorCode::AuthError,
            Class::Unsupported => ErrorCode::UnsupportedModel,
            Class::Overloaded
            | Class::UsageLimit
            | Class::Network
            | Class::Garbled
            | Class::Rejected => ErrorCode::Unknown,
        }
    }
}
