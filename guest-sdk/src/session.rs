//! The run as the agent sees it: who am I, what may I use, what is left, what have I got to show.
//!
//! ```
//! use wasm_agent_sdk::session::{self, Access};
//! # fn main() -> wasm_agent_sdk::Result<()> {
//! # let _host = wasm_agent_sdk::testing::TestHost::new().install();
//! let writable = session::directory("/work").is_some_and(|dir| dir.access == Access::ReadWrite);
//! if !session::budget().low {
//!     session::submit_artifact("report.md", "text/markdown", b"# Report\n")?;
//! }
//! # let _ = writable;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use crate::bindings::wasm_agent::agent::session as raw;
use crate::host;

pub use crate::bindings::wasm_agent::agent::session::{
    Access, Artifact, Directory, RunBudget, RunInfo, Stored,
};
pub use crate::bindings::wasm_agent::agent::types::{Denied, Limit};

/// Facts about this run. They do not change while it lasts.
#[must_use]
pub fn info() -> RunInfo {
    host::info()
}

/// The granted directory at `path`, where there is one.
#[must_use]
pub fn directory(path: &str) -> Option<Directory> {
    info()
        .directories
        .into_iter()
        .find(|directory| directory.path == path)
}

/// What is left of the budgets, now. Cheap enough to ask in a loop over files.
#[must_use]
pub fn budget() -> RunBudget {
    host::budget()
}

/// Stores the agent's own state, which [`load`] gives back: here, and in a run that resumes this one.
///
/// # Errors
/// [`SessionError::Limit`] when there is no room for it.
pub fn save(checkpoint: &[u8]) -> Result<Stored, SessionError> {
    Ok(host::save(checkpoint)?)
}

/// The last checkpoint stored.
///
/// # Errors
/// [`SessionError::Unavailable`] when the host cannot read it.
pub fn load() -> Result<Option<Vec<u8>>, SessionError> {
    Ok(host::load()?)
}

/// Declares the commissioned work done, with one sentence about what was done. May be declared once.
///
/// # Errors
/// [`SessionError::Exists`] the second time.
pub fn complete(summary: &str) -> Result<(), SessionError> {
    Ok(host::declare_complete(summary)?)
}

/// Hands over a result as a document. `name` is a file name, `[A-Za-z0-9._-]{1,128}` without a leading
/// dot, and unique within the run.
///
/// # Errors
/// [`SessionError`], for example for a name that was used before.
pub fn submit_artifact(
    name: impl Into<String>,
    media_type: impl Into<String>,
    data: impl Into<Vec<u8>>,
) -> Result<Stored, SessionError> {
    Ok(host::submit_artifact(&Artifact {
        name: name.into(),
        media_type: media_type.into(),
        data: data.into(),
    })?)
}

/// Why something was not stored or declared.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SessionError {
    /// A field is malformed; the text names it.
    Invalid(String),
    /// It exists already; the text names it.
    Exists(String),
    /// A limit of the run is reached.
    Limit(Limit),
    /// The operator has not granted it.
    Denied(Denied),
    /// The host could not store it; the text says why. Nothing was stored.
    Unavailable(String),
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => write!(f, "the host refused it: {what}"),
            Self::Exists(what) => write!(f, "it exists already: {what}"),
            Self::Limit(limit) => {
                write!(f, "the limit `{}` of {} is reached", limit.name, limit.max)
            }
            Self::Denied(denied) => write!(
                f,
                "{} `{}` is not granted: {}",
                denied.capability, denied.subject, denied.rule
            ),
            Self::Unavailable(why) => write!(f, "the host could not do it: {why}"),
        }
    }
}

impl std::error::Error for SessionError {}

impl From<raw::SessionError> for SessionError {
    fn from(error: raw::SessionError) -> Self {
        match error {
            raw::SessionError::Invalid(what) => Self::Invalid(what),
            raw::SessionError::Exists(what) => Self::Exists(what),
            raw::SessionError::Limit(limit) => Self::Limit(limit),
            raw::SessionError::Denied(denied) => Self::Denied(denied),
            raw::SessionError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
