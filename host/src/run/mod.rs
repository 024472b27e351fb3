//! One run: from a request to an outcome.

mod account;
pub mod agent;
mod alone;
pub mod breaker;
mod caught;
mod convert;
pub mod directory;
mod drive;
mod evidence;
mod finish;
pub mod history;
pub mod host;
mod loading;
pub mod outcome;
mod sealed;
mod secrets;
pub mod start;
mod store;
pub mod supervise;
pub mod taping;
mod tool;
mod trees;
pub mod watchdog;
pub mod workspaces;

pub use account::RunHandle;
pub use agent::{Agent, AgentError};
pub use directory::{Life, RunDir, RunsDir};
pub use evidence::EvidenceError;
pub use history::{HistoryError, PastEvent, PastRun, State};
pub use host::{Host, HostError, HostOptions};
pub use outcome::{Ended, Outcome};
pub use start::{Places, RunRequest, StartError, Unsupported};
pub use store::FUEL_PER_MS;
pub use supervise::Interrupt;
pub use taping::{Mode, RecordTo};
pub use workspaces::{Workspaces, WorkspacesError};
