//! Why a run did not converge.

use std::fmt;

use crate::bindings::wasm_agent::agent::types::{ErrorCode, ErrorReport, Failure};
use crate::model::ModelError;

/// The result of anything an agent does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run did not converge. Returned from `run`, it decides the reason the run ends with.
///
/// Every `std::error::Error` turns into one with `?`, its causes included:
///
/// ```
/// # use wasm_agent_sdk::Result;
/// fn port(text: &str) -> Result<u16> {
///     Ok(text.trim().parse()?)
/// }
/// assert_eq!(port("no").unwrap_err().to_string(), "invalid digit found in string");
/// ```
///
/// It does not implement `std::error::Error` itself: that would collide with the conversion from all
/// that do.
#[derive(Clone, PartialEq)]
pub struct Error {
    failure: Failure,
}

impl Error {
    /// The run failed; recorded with AVP's code `unknown`.
    pub fn new(message: impl Into<String>) -> Self {
        Self::code(ErrorCode::Unknown, message)
    }

    /// The run failed, with a code of AVP's closed list.
    pub fn code(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            failure: Failure::Error(ErrorReport {
                code,
                message: message.into(),
            }),
        }
    }

    /// The agent or its model declined to do it. The run ends as `refused`.
    pub fn refused(why: impl Into<String>) -> Self {
        Self {
            failure: Failure::Refused(why.into()),
        }
    }

    /// Work is left unfinished. The run ends as `abandoned`.
    pub fn abandoned(why: impl Into<String>) -> Self {
        Self {
            failure: Failure::Abandoned(why.into()),
        }
    }

    /// The failure as the contract has it.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// The text, without the kind of failure.
    #[must_use]
    pub fn message(&self) -> &str {
        match &self.failure {
            Failure::Error(report) => &report.message,
            Failure::Refused(why) | Failure::Abandoned(why) => why,
        }
    }

    /// Puts what was being done in front of the text; the kind of failure stays.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        let message = match &mut self.failure {
            Failure::Error(report) => &mut report.message,
            Failure::Refused(why) | Failure::Abandoned(why) => why,
        };
        *message = format!("{doing}: {message}");
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Failure::Error(report) => write!(f, "{} ({:?})", report.message, report.code),
            Failure::Refused(why) => write!(f, "{why} (refused)"),
            Failure::Abandoned(why) => write!(f, "{why} (abandoned)"),
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        // AVP has codes for what goes wrong with models.
        let code = (&error as &dyn std::any::Any)
            .downcast_ref::<ModelError>()
            .map_or(ErrorCode::Unknown, ModelError::code);
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // Many errors print their cause already; twice would only be noise.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self::code(code, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        error.failure
    }
}

/// Says what was being done when something failed.
///
/// ```
/// # use wasm_agent_sdk::{Context, Result};
/// let port: Result<u16> = "no".parse::<u16>().context("reading the port");
/// assert_eq!(port.unwrap_err().to_string(), "reading the port: invalid digit found in string");
/// ```
pub trait Context<T> {
    /// Puts `doing` in front of the error's text.
    ///
    /// # Errors
    /// The error it was called on, or an error made of `doing` alone for a `None`.
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().context(doing))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Error::new(doing.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot read the port")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_are_part_of_the_text() {
        let error = Error::from(Outer("x".parse::<u16>().unwrap_err()));
        assert_eq!(
            error.to_string(),
            "cannot read the port: invalid digit found in string"
        );
    }

    #[test]
    fn context_keeps_the_kind() {
        let error: Result<()> = Err(Error::refused("not my job")).context("planning");
        assert_eq!(
            Failure::from(error.unwrap_err()),
            Failure::Refused("planning: not my job".into())
        );
    }

    #[test]
    fn nothing_becomes_an_error_of_its_own() {
        assert_eq!(
            None::<u8>.context("no files").unwrap_err(),
            Error::new("no files")
        );
    }
}
