//! Errors as a person reads them: what was being done, to what, why it failed, and a hint.

use std::io::Write;

use wasm_agent::error::{Exit, Hint};

/// Why a command did not do what it was asked to do.
#[derive(Debug)]
pub(super) struct Failure {
    error: anyhow::Error,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// Nothing was run.
    pub(super) fn new(error: anyhow::Error) -> Failure {
        Failure {
            error,
            hint: None,
            exit: Exit::CannotRun,
        }
    }

    /// Nothing was run, and this may help.
    pub(super) fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> Failure {
        Failure {
            error,
            hint: Some(hint.into()),
            exit: Exit::CannotRun,
        }
    }

    /// Prints the error and its hint to standard error.
    pub(super) fn print(&self) -> Exit {
        let mut message = String::new();
        for cause in self.error.chain() {
            let cause = cause.to_string();
            // Many messages name their cause already.
            if message.is_empty() {
                message = cause;
            } else if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        let mut stderr = std::io::stderr().lock();
        // When standard error is gone there is nobody left to tell.
        let _ = writeln!(stderr, "error: {message}");
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "hint: {hint}");
        }
        self.exit
    }
}

impl<E: std::error::Error + Hint + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let hint = error.hint();
        Failure {
            error: anyhow::Error::new(error),
            hint,
            exit: Exit::CannotRun,
        }
    }
}
