//! The closed vocabularies of AVP v0.1.

use serde::{Deserialize, Serialize};

/// How a run or a sub-agent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The agent says it is done.
    Converged,
    /// It failed.
    Error,
    /// The operator or a limit cut it short.
    Interrupted,
    /// The agent or its model declined.
    Refused,
    /// Work was left in flight.
    Abandoned,
}

impl StopReason {
    /// The word used on the wire and in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::Converged => "converged",
            StopReason::Error => "error",
            StopReason::Interrupted => "interrupted",
            StopReason::Refused => "refused",
            StopReason::Abandoned => "abandoned",
        }
    }
}

/// The class of an error. AVP has no code for a denial, a limit or a trap: those use
/// [`ErrorCode::AgentCrash`] or [`ErrorCode::Unknown`], with the cause as data beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are AVP's and say what they mean")]
pub enum ErrorCode {
    RateLimit,
    ContextLimit,
    AuthError,
    AgentCrash,
    UnsupportedModel,
    UnsupportedProvider,
    UnsupportedAgentVersion,
    CommissionCollision,
    McpConnectFailed,
    Unknown,
}
