//! The error space of the library, and the exit codes of the binary.
//!
//! Messages are lowercase fragments that say what was being done, to what, and why it failed. What the
//! operator can do about it is a separate [`Hint`], printed on a line of its own.

use std::process::ExitCode;

/// What the operator can do about an error.
///
/// Every error type of the library implements it, so that the binary prints hints in one place.
pub trait Hint {
    /// One sentence without a final full stop, or nothing when there is nothing useful to say.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// How the `wasm-agent` process ends.
///
/// Documented in the README and pinned by tests: scripts depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The run converged, or the command did what it was asked to do.
    Success = 0,
    /// The agent stopped with `error`, `refused` or `abandoned`, or without the required evidence; or `verify`,
    /// `selftest` or `policy check` found something wrong, or `runs diff` a difference.
    Failed = 1,
    /// Nothing was run: usage, missing import, bad component, bad grant, bad commission, or given up on before
    /// there was a run.
    CannotRun = 2,
    /// A limit of the grants ended the run.
    Limit = 3,
    /// A replay met something the recording does not have.
    Diverged = 4,
    /// The host itself failed: a full disk, a defect. The trajectory is closed as far as it could be.
    HostFault = 70,
    /// The operator interrupted the run.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}
