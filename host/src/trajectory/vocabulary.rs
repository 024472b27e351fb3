//! Words of AVP that form closed sets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a run or a sub-agent ended (AVP v0.1, `StopReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It did what it was asked to do.
    Converged,
    /// It failed.
    Error,
    /// Somebody or a limit cut it short.
    Interrupted,
    /// The agent or its model declined.
    Refused,
    /// Delegated work was left unfinished.
    Abandoned,
}

impl StopReason {
    /// The word on the wire.
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

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Classes of errors (AVP v0.1, `ErrorCode`). There is none for a denial, a limit or a trap: those are
/// `AgentCrash` or `Unknown`, with details beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The provider asked to slow down.
    RateLimit,
    /// The context was too long for the model.
    ContextLimit,
    /// A credential was missing or refused.
    AuthError,
    /// The agent's own code failed.
    AgentCrash,
    /// The agent cannot work with the model.
    UnsupportedModel,
    /// The agent cannot speak to the provider.
    UnsupportedProvider,
    /// The commission is pinned to another version of the agent.
    UnsupportedAgentVersion,
    /// The commission does not fit the agent's own tools, sub-agents, skills or servers.
    CommissionCollision,
    /// An MCP server of the commission could not be reached.
    McpConnectFailed,
    /// Anything else.
    Unknown,
}

impl ErrorCode {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorCode::RateLimit => "rate_limit",
            ErrorCode::ContextLimit => "context_limit",
            ErrorCode::AuthError => "auth_error",
            ErrorCode::AgentCrash => "agent_crash",
            ErrorCode::UnsupportedModel => "unsupported_model",
            ErrorCode::UnsupportedProvider => "unsupported_provider",
            ErrorCode::UnsupportedAgentVersion => "unsupported_agent_version",
            ErrorCode::CommissionCollision => "commission_collision",
            ErrorCode::McpConnectFailed => "mcp_connect_failed",
            ErrorCode::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_words_are_the_serialised_ones() {
        for reason in [
            StopReason::Converged,
            StopReason::Error,
            StopReason::Interrupted,
            StopReason::Refused,
            StopReason::Abandoned,
        ] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for code in [
            ErrorCode::RateLimit,
            ErrorCode::ContextLimit,
            ErrorCode::AuthError,
            ErrorCode::AgentCrash,
            ErrorCode::UnsupportedModel,
            ErrorCode::UnsupportedProvider,
            ErrorCode::UnsupportedAgentVersion,
            ErrorCode::CommissionCollision,
            ErrorCode::McpConnectFailed,
            ErrorCode::Unknown,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
