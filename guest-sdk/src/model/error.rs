//! Why there is no reply.

use std::fmt;

use super::ProviderFailure;
use crate::ErrorCode;
use crate::bindings::wasm_agent::agent::model as raw;
use crate::session::{Denied, Limit};

/// Why there is no reply. Returned from `run` with `?`, it ends the run with the AVP code that fits.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ModelError {
    /// The request is malformed; the text names the field.
    Invalid(String),
    /// The operator has not granted this model.
    Denied(Denied),
    /// A limit of the run is reached.
    Limit(Limit),
    /// The provider or the model cannot do what was asked.
    Unsupported(String),
    /// The conversation is longer than the model can read. Shorten it.
    ContextLimit(ProviderFailure),
    /// Too many requests, even after waiting.
    RateLimited(ProviderFailure),
    /// The provider is overloaded or failing, even after waiting.
    Overloaded(ProviderFailure),
    /// The account has nothing left to spend.
    UsageLimit(ProviderFailure),
    /// The key is missing, wrong or not allowed to do this.
    Auth(ProviderFailure),
    /// The provider cannot be reached, closed early or timed out.
    Network(ProviderFailure),
    /// The provider answered something that is not an answer.
    Garbled(ProviderFailure),
    /// The provider refused the request for another reason.
    Rejected(ProviderFailure),
    /// The reply was cancelled.
    Cancelled,
}

impl ModelError {
    /// The AVP code that fits best.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Denied(_) | Self::Unsupported(_) => ErrorCode::UnsupportedModel,
            Self::ContextLimit(_) => ErrorCode::ContextLimit,
            Self::RateLimited(_) | Self::UsageLimit(_) => ErrorCode::RateLimit,
            Self::Auth(_) => ErrorCode::AuthError,
            Self::Invalid(_)
            | Self::Limit(_)
            | Self::Overloaded(_)
            | Self::Network(_)
            | Self::Garbled(_)
            | Self::Rejected(_)
            | Self::Cancelled => ErrorCode::Unknown,
        }
    }

    fn failure(&self) -> Option<(&'static str, &ProviderFailure)> {
        match self {
            Self::ContextLimit(failure) => {
                Some(("the conversation is too long for the model", failure))
            }
            Self::RateLimited(failure) => Some(("the provider limits requests", failure)),
            Self::Overloaded(failure) => Some(("the provider is overloaded", failure)),
            Self::UsageLimit(failure) => Some(("the provider's account is used up", failure)),
            Self::Auth(failure) => Some(("the provider needs a valid key", failure)),
            Self::Network(failure) => Some(("the provider cannot be reached", failure)),
            Self::Garbled(failure) => Some(("the provider's answer makes no sense", failure)),
            Self::Rejected(failure) => Some(("the provider refused the request", failure)),
            Self::Invalid(_)
            | Self::Denied(_)
            | Self::Limit(_)
            | Self::Unsupported(_)
            | Self::Cancelled => None,
        }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((what, failure)) = self.failure() {
            write!(f, "{what}: {}", failure.message)?;
            let status = failure.status.map(|status| format!("status {status}"));
            let attempts =
                (failure.attempts > 1).then(|| format!("after {} attempts", failure.attempts));
            let details: Vec<String> = status.into_iter().chain(attempts).collect();
            if !details.is_empty() {
                write!(f, " ({})", details.join(", "))?;
            }
            return Ok(());
        }
        match self {
            Self::Invalid(what) => write!(f, "the host refused the request: {what}"),
            Self::Denied(denied) => write!(
                f,
                "{} `{}` is not granted: {}",
                denied.capability, denied.subject, denied.rule
            ),
            Self::Limit(limit) => {
                write!(f, "the limit `{}` of {} is reached", limit.name, limit.max)
            }
            Self::Unsupported(what) => write!(f, "the model cannot do that: {what}"),
            _ => f.write_str("the reply was cancelled"),
        }
    }
}

impl std::error::Error for ModelError {}

impl From<raw::ModelError> for ModelError {
    fn from(error: raw::ModelError) -> Self {
        match error {
            raw::ModelError::Invalid(what) => Self::Invalid(what),
            raw::ModelError::Denied(denied) => Self::Denied(denied),
            raw::ModelError::Limit(limit) => Self::Limit(limit),
            raw::ModelError::Unsupported(what) => Self::Unsupported(what),
            raw::ModelError::ContextLimit(failure) => Self::ContextLimit(failure),
            raw::ModelError::RateLimited(failure) => Self::RateLimited(failure),
            raw::ModelError::Overloaded(failure) => Self::Overloaded(failure),
            raw::ModelError::UsageLimit(failure) => Self::UsageLimit(failure),
            raw::ModelError::Auth(failure) => Self::Auth(failure),
            raw::ModelError::Network(failure) => Self::Network(failure),
            raw::ModelError::Garbled(failure) => Self::Garbled(failure),
            raw::ModelError::Rejected(failure) => Self::Rejected(failure),
            raw::ModelError::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Failure};

    #[test]
    fn the_question_mark_keeps_the_class() {
        let failure = ProviderFailure {
            message: "slow down".into(),
            status: Some(429),
            attempts: 5,
        };
        let error = Error::from(ModelError::RateLimited(failure));
        let Failure::Error(report) = error.failure() else {
            panic!("{error:?}");
        };
        assert_eq!(report.code, ErrorCode::RateLimit);
        assert_eq!(
            report.message,
            "the provider limits requests: slow down (status 429, after 5 attempts)"
        );
    }
}
