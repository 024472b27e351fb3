//! How a run ended.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::capabilities::activity::Diagnosis;
use crate::capabilities::meters::LimitHit;
use crate::capabilities::storage::Submitted;
use crate::digest::Digest;
use crate::error::Exit;
use crate::recording::Divergence;
use crate::trajectory::{StopReason, Totals};

/// Why a run ended, as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ended {
    /// The agent returned a result.
    Converged,
    /// The agent said itself that it did not get there.
    Stopped {
        /// In its own words.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// The agent returned a result, but not what the operator requires to believe it.
    Incomplete {
        /// What it has not shown, in the words of `--require`.
        missing: Vec<String>,
    },
    /// The agent returned a result with a secret in it, which was not handed on.
    Withheld {
        /// Which secret.
        reason: String,
    },
    /// The commission does not fit the agent; it was not started.
    Refused {
        /// What does not fit.
        message: String,
        /// What the operator can say so that it can be.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remedy: Option<String>,
    },
    /// The guest trapped or exited.
    Crashed(Crash),
    /// A limit of the grants.
    Limit(LimitHit),
    /// The agent is done, and what it has changed in copies of directories could not be found out.
    Uncompared {
        /// Why.
        reason: String,
    },
    /// The operator interrupted it.
    Interrupted,
    /// A replay left its recording.
    Diverged(Box<Divergence>),
    /// The host failed.
    HostFault {
        /// What happened.
        message: String,
    },
}

/// How a guest crashed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// The trap or exit, in words.
    pub message: String,
    /// Innermost frames of the WebAssembly stack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<String>,
}

/// Everything about a run that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Version of this document.
    #[serde(skip_deserializing, default = "format")]
    pub format: &'static str,
    /// The commission's run id.
    pub run_id: String,
    /// The host's own id.
    pub session_id: String,
    /// Why it ended.
    pub ended: Ended,
    /// How AVP names it.
    pub stop_reason: StopReason,
    /// What the agent returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What the agent declared done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    /// What the agent handed over, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<Submitted>,
    /// Sums over the trajectory.
    pub totals: Totals,
    /// Files changed in granted directories, by guest path.
    pub files: Vec<FileChange>,
    /// Directories that could be written to, as a whole before and after the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<TreeChange>,
    /// Paths changed in copies of directories, for the operator to review and apply.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub to_apply: u64,
    /// Microseconds from start to end: most of what a small agent does takes less than a millisecond.
    pub wall_us: u64,
    /// Microseconds of computing.
    pub cpu_us: u64,
    /// Most bytes of linear memory.
    pub memory_peak: u64,
    /// Calls of the host by the guest.
    #[serde(default)]
    pub host_calls: u64,
    /// Fuel the guest has burned, where it is metered in fuel and was not ended from outside: the same in every
    /// repetition of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// One digest for everything that went into the run and came out of it, where it can be repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_digest: Option<Digest>,
    /// What the guest was doing when it did not end by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// End of what the guest wrote to standard error, at most 64 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
    /// End of what the guest wrote to standard output, at most 64 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout_tail: String,
    /// The run directory.
    #[serde(skip)]
    pub directory: Option<PathBuf>,
    /// The recording that was written.
    #[serde(skip)]
    pub recording: Option<PathBuf>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A file that is different after the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// In the guest.
    pub path: String,
    /// What happened to it.
    pub change: String,
    /// Bytes written to it in the whole run.
    pub bytes_written: u64,
    /// `sha256:…` of its content before the run; nothing when there was none or it is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// `sha256:…` of its content now; nothing when there is none or it is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A directory that could be written to, as a whole: a check on the list of changed files. Whoever else
/// writes to the directory meanwhile shows here, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeChange {
    /// In the guest.
    pub path: String,
    /// `sha256:…` of everything in it before the run; of the copy, when it is granted copy-on-write. How it is
    /// computed is said in `capabilities/filesystem/survey.rs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The same after the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why one of them is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// Version of the outcome document.
pub const FORMAT: &str = "wasm-agent/outcome@1";

fn format() -> &'static str {
    FORMAT
}

impl Outcome {
    /// The outcome of a run in which no guest was started.
    #[must_use]
    pub fn without_guest(run_id: &str, session_id: &str, ended: Ended) -> Outcome {
        Outcome {
            format: FORMAT,
            run_id: run_id.to_owned(),
            session_id: session_id.to_owned(),
            ended,
            stop_reason: StopReason::Error,
            output: None,
            completed: None,
            artifacts: Vec::new(),
            totals: Totals::default(),
            files: Vec::new(),
            trees: Vec::new(),
            to_apply: 0,
            wall_us: 0,
            cpu_us: 0,
            memory_peak: 0,
            host_calls: 0,
            fuel: None,
            run_digest: None,
            diagnosis: None,
            stderr_tail: String::new(),
            stdout_tail: String::new(),
            directory: None,
            recording: None,
        }
    }

    /// The exit code of a process that ran just this.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.ended {
            Ended::Converged if self.stop_reason == StopReason::Converged => Exit::Success,
            // It is for the operator to say more; the agent was not tried.
            Ended::Refused {
                remedy: Some(_), ..
            } => Exit::CannotRun,
            Ended::Converged
            | Ended::Stopped { .. }
            | Ended::Incomplete { .. }
            | Ended::Withheld { .. }
            | Ended::Refused { .. }
            | Ended::Crashed(_) => Exit::Failed,
            Ended::Limit(_) => Exit::Limit,
            Ended::Interrupted => Exit::Interrupted,
            Ended::Diverged(_) => Exit::Diverged,
            Ended::Uncompared { .. } | Ended::HostFault { .. } => Exit::HostFault,
        }
    }

    /// Time from start to end.
    #[must_use]
    pub fn wall(&self) -> Duration {
        Duration::from_micros(self.wall_us)
    }
}
