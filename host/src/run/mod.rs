//! One run: from a request to an outcome.

pub mod directory;
pub mod host;
pub mod outcome;
pub mod supervise;

pub use directory::{RunDir, RunsDir};
pub use host::{Agent, Host, HostOptions, RunHandle, RunRequest, StartError};
pub use outcome::{Ended, Outcome};
