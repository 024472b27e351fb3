//! Errors as a person reads them: what was being done, to what, why it failed, and a hint.

use wasm_agent::error::{Exit, Hint};

use super::out::{CYAN, RED, note, styled};
use super::text::for_terminal;

/// Why a command did not do what it was asked to do.
#[derive(Debug)]
pub(super) struct Failure {
    /// Nothing when there is nobody to tell.
    error: Option<anyhow::Error>,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// Nothing was run.
    pub(super) fn new(error: anyhow::Error) -> Failure {
        Failure {
            error: Some(error),
            hint: None,
            exit: Exit::CannotRun,
        }
    }

    /// Nothing was run, and this may help.
    pub(super) fn with_hint(error: anyhow::Error, hint: impl Into<String>) -> Failure {
        Failure {
            hint: Some(hint.into()),
            ..Failure::new(error)
        }
    }

    /// The same with another exit code.
    pub(super) fn exiting(self, exit: Exit) -> Failure {
        Failure { exit, ..self }
    }

    /// Whoever read standard output has seen enough, as `head` does. That is no error.
    pub(super) fn reader_gone() -> Failure {
        Failure {
            error: None,
            hint: None,
            exit: Exit::Success,
        }
    }

    /// Whether nothing is wrong but that nobody reads on.
    pub(super) fn is_reader_gone(&self) -> bool {
        self.error.is_none()
    }

    /// Prints the error and its hint to standard error.
    pub(super) fn print(&self) -> Exit {
        let Some(error) = &self.error else {
            return self.exit;
        };
        let mut message = String::new();
        for cause in error.chain() {
            let cause = cause.to_string();
            // Many messages name their cause already.
            if message.is_empty() {
                message = cause;
            } else if !message.contains(&cause) {
                message = format!("{message}: {cause}");
            }
        }
        // Paths, names and what an agent said are in it: text that others chose.
        let message = for_terminal(&message);
        note(&format!("{} {message}", styled(RED.bold(), "error:")));
        if let Some(hint) = &self.hint {
            note(&format!("{} {hint}", styled(CYAN.bold(), "hint:")));
        }
        self.exit
    }
}

impl<E: std::error::Error + Hint + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let hint = error.hint();
        Failure {
            error: Some(anyhow::Error::new(error)),
            hint,
            exit: Exit::CannotRun,
        }
    }
}
