//! Report what only the agent knows; the host writes the events.
//!
//! An agent reports a model turn it made, a tool it ran in its own code, a sub-agent's work. The host
//! validates, orders, stamps and chains it. A fact that is impossible is [`Rejected`] and changes
//! nothing.
//!
//! ```
//! use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn};
//! # fn main() -> wasm_agent_sdk::Result<()> {
//! # let _host = wasm_agent_sdk::testing::TestHost::new().install();
//! let turn = Turn::new()
//!     .text("I will count the lines.")
//!     .tool_use(ToolCall::new("c1", "count", r#"{"path":"README.md"}"#));
//! let receipt = trajectory::assistant(turn)?;
//! if receipt.allows("c1") {
//!     trajectory::tool_result(ToolResult::text("c1", "42 lines"))?;
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use crate::bindings::wasm_agent::agent::trajectory as raw;
use crate::{ErrorCode, Json, host};

pub use crate::bindings::wasm_agent::agent::trajectory::{
    Receipt, ResultBlock, SubagentCall, SubagentResult, SubagentUsage, ToolResult, Turn, Usage,
};
pub use crate::bindings::wasm_agent::agent::types::{
    ContentBlock, Document, InlineMedia, Limit, ServerToolResult, Source, StopReason, Thinking,
    ToolCall,
};

/// Reports what a model said: one inference, or one chunk of it.
///
/// # Errors
/// [`Rejected`] when the host cannot take it; nothing is recorded then.
#[expect(clippy::needless_pass_by_value, reason = "a fact is reported once")]
pub fn assistant(turn: Turn) -> Result<Receipt, Rejected> {
    Ok(host::assistant(&turn)?)
}

/// Reports tokens and cost of the open turn after its content: the turn of `key`, or whichever is open.
///
/// # Errors
/// [`Rejected::NoOpenTurn`] when that turn is not open.
pub fn report_usage(
    key: Option<&str>,
    usage: Usage,
    cost_usd: Option<f64>,
) -> Result<(), Rejected> {
    Ok(host::report_usage(key, usage, cost_usd)?)
}

/// Closes the open turn, if there is one.
///
/// # Errors
/// [`Rejected`] when a limit is reached.
pub fn close_turn() -> Result<(), Rejected> {
    Ok(host::close_turn()?)
}

/// Reports the result of a tool call.
///
/// # Errors
/// [`Rejected`], for example when no turn has called it or its result is known already.
#[expect(clippy::needless_pass_by_value, reason = "a fact is reported once")]
pub fn tool_result(result: ToolResult) -> Result<(), Rejected> {
    Ok(host::report_tool_result(&result)?)
}

/// Reports an error that does not end the run. To end it, return an error from `run`.
///
/// # Errors
/// [`Rejected`] when a limit is reached.
pub fn error(code: ErrorCode, message: &str) -> Result<(), Rejected> {
    Ok(host::report_error(code, message)?)
}

/// Says what the agent is doing, for whoever watches; not part of the AVP trajectory. `fraction` is
/// between 0 and 1.
///
/// # Errors
/// [`Rejected::Invalid`] for a fraction out of its range.
pub fn progress(message: &str, fraction: Option<f64>) -> Result<(), Rejected> {
    Ok(host::progress(message, fraction)?)
}

/// Opens the frame of a sub-agent, to be closed by [`Subagent::finish`].
///
/// # Errors
/// [`Rejected::DuplicateInvocation`] when the id was used before.
pub fn subagent(call: SubagentCall) -> Result<Subagent, Rejected> {
    host::start_subagent(&call)?;
    Ok(Subagent {
        id: Some(call.invocation_id),
    })
}

/// A sub-agent at work. Dropped without [`finish`](Self::finish), its frame closes as abandoned, and the
/// run then does not count as converged.
#[derive(Debug)]
#[must_use = "a frame that is dropped closes as abandoned"]
pub struct Subagent {
    id: Option<String>,
}

impl Subagent {
    /// The invocation's id, for [`Turn::frame`].
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Closes the frame with what the sub-agent answered.
    ///
    /// # Errors
    /// [`Rejected`] when a limit is reached.
    pub fn finish(self, reason: StopReason, text: impl Into<String>) -> Result<(), Rejected> {
        self.finish_with(reason, text, None)
    }

    /// Closes the frame; with the totals of a sub-agent whose own turns were not reported.
    ///
    /// # Errors
    /// [`Rejected`] when a limit is reached.
    pub fn finish_with(
        mut self,
        reason: StopReason,
        text: impl Into<String>,
        usage: Option<SubagentUsage>,
    ) -> Result<(), Rejected> {
        self.close(reason, text.into(), usage)
    }

    fn close(
        &mut self,
        reason: StopReason,
        text: String,
        usage: Option<SubagentUsage>,
    ) -> Result<(), Rejected> {
        let Some(invocation_id) = self.id.take() else {
            return Ok(());
        };
        Ok(host::finish_subagent(&SubagentResult {
            invocation_id,
            text,
            structured: None,
            reason,
            usage,
        })?)
    }
}

impl Drop for Subagent {
    fn drop(&mut self) {
        // A refusal here has no reader, and the host closes the frame in any case.
        let _ = self.close(StopReason::Abandoned, String::new(), None);
    }
}

impl SubagentCall {
    /// A call under this id, which is unique within the run: that of the tool use that led to it, where
    /// there is one.
    pub fn new(invocation_id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            invocation_id: invocation_id.into(),
            name: name.into(),
            description: None,
            input: None,
        }
    }

    /// What it is for.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Its input: a JSON object.
    #[must_use]
    pub fn input(mut self, input: impl Into<Json>) -> Self {
        self.input = Some(input.into().into_text());
        self
    }
}

impl Turn {
    /// A turn without content.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "an empty turn is a start, not a value of use"
    )]
    pub fn new() -> Self {
        Self {
            key: None,
            frame: None,
            content: Vec::new(),
            usage: None,
            model: None,
            request_model: None,
            finish_reasons: Vec::new(),
            cost_usd: None,
            duration_ms: None,
            time_to_first_chunk: None,
            refusal_category: None,
            meta: None,
        }
    }

    /// Joins chunks: turns reported with the same key are one turn until a tool called in it returns.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The open frame of the sub-agent whose turn this is: its [`Subagent::id`].
    #[must_use]
    pub fn frame(mut self, invocation_id: impl Into<String>) -> Self {
        self.frame = Some(invocation_id.into());
        self
    }

    /// Adds a block.
    #[must_use]
    pub fn block(mut self, block: ContentBlock) -> Self {
        self.content.push(block);
        self
    }

    /// Adds text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.block(ContentBlock::Text(text.into()))
    }

    /// Adds reasoning; `signature` is what a provider wants to have back.
    #[must_use]
    pub fn thinking(self, text: impl Into<String>, signature: Option<String>) -> Self {
        self.block(ContentBlock::Thinking(Thinking {
            thinking: text.into(),
            signature,
            redacted: false,
        }))
    }

    /// Adds a call of one of the agent's tools.
    #[must_use]
    pub fn tool_use(self, call: ToolCall) -> Self {
        self.block(ContentBlock::ToolUse(call))
    }

    /// Tokens, as the provider counted them.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// The model that answered, as the provider named it.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The model that was asked for, where it differs.
    #[must_use]
    pub fn request_model(mut self, model: impl Into<String>) -> Self {
        self.request_model = Some(model.into());
        self
    }

    /// Adds a finish reason, verbatim.
    #[must_use]
    pub fn finish_reason(mut self, reason: impl Into<String>) -> Self {
        self.finish_reasons.push(reason.into());
        self
    }

    /// What the turn cost in US dollars, where the provider says so.
    #[must_use]
    pub fn cost_usd(mut self, cost: f64) -> Self {
        self.cost_usd = Some(cost);
        self
    }

    /// How long the inference took; kept in milliseconds.
    #[must_use]
    pub fn duration(mut self, duration: Duration) -> Self {
        self.duration_ms = Some(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// A JSON object for `avp.meta`.
    #[must_use]
    pub fn meta(mut self, meta: impl Into<Json>) -> Self {
        self.meta = Some(meta.into().into_text());
        self
    }
}

impl Usage {
    /// Input and output tokens, all of them: those from a cache and of reasoning included.
    #[must_use]
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens,
            output_tokens,
            cache_read_input_tokens: None,
            cache_creation_input_tokens: None,
            reasoning_output_tokens: None,
        }
    }
}

impl Receipt {
    /// Should this call be carried out? False when the host has answered it already, because its tool
    /// is not among the tools of this run.
    #[must_use]
    pub fn allows(&self, call_id: &str) -> bool {
        !self.refused_calls.iter().any(|refused| refused == call_id)
    }
}

impl ToolCall {
    /// A call under an id that is unique within the run. `input` is a JSON object: text or a
    /// `serde_json::Value`.
    pub fn new(id: impl Into<String>, name: impl Into<String>, input: impl Into<Json>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            input: input.into().into_text(),
        }
    }
}

impl ToolResult {
    /// A result in words.
    pub fn text(call_id: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            call_id: call_id.into(),
            content: vec![ResultBlock::Text(text.into())],
            structured: None,
            is_error: false,
        }
    }

    /// The call failed or was refused; the text says why.
    pub fn error(call_id: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(call_id, why)
        }
    }

    /// A JSON object for programs, beside the text.
    #[must_use]
    pub fn structured(mut self, value: impl Into<Json>) -> Self {
        self.structured = Some(value.into().into_text());
        self
    }
}

/// Why a fact was refused. The trajectory is as it was before.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Rejected {
    /// A field is malformed; the text names it and says what is wrong.
    Invalid(String),
    /// No call with this id was reported.
    UnknownCall(String),
    /// The call has its result already.
    CallReturned(String),
    /// A call with this id was reported before.
    DuplicateCall(String),
    /// No sub-agent invocation with this id is open.
    UnknownInvocation(String),
    /// A sub-agent invocation with this id was reported before.
    DuplicateInvocation(String),
    /// No turn is open that could take this.
    NoOpenTurn,
    /// A limit of the run is reached.
    Limit(Limit),
    /// The run has been stopped; nothing can be added.
    Stopped,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host refused a fact: ")?;
        match self {
            Self::Invalid(what) => f.write_str(what),
            Self::UnknownCall(id) => write!(f, "no turn has called `{id}`"),
            Self::CallReturned(id) => write!(f, "the call `{id}` has its result already"),
            Self::DuplicateCall(id) => write!(f, "the call id `{id}` was used before"),
            Self::UnknownInvocation(id) => write!(f, "no sub-agent invocation `{id}` is open"),
            Self::DuplicateInvocation(id) => write!(f, "the invocation id `{id}` was used before"),
            Self::NoOpenTurn => f.write_str("no turn is open"),
            Self::Limit(limit) => {
                write!(f, "the limit `{}` of {} is reached", limit.name, limit.max)
            }
            Self::Stopped => f.write_str("the run has been stopped"),
        }
    }
}

impl std::error::Error for Rejected {}

impl From<raw::Rejected> for Rejected {
    fn from(rejected: raw::Rejected) -> Self {
        match rejected {
            raw::Rejected::Invalid(what) => Self::Invalid(what),
            raw::Rejected::UnknownCall(id) => Self::UnknownCall(id),
            raw::Rejected::CallReturned(id) => Self::CallReturned(id),
            raw::Rejected::DuplicateCall(id) => Self::DuplicateCall(id),
            raw::Rejected::UnknownInvocation(id) => Self::UnknownInvocation(id),
            raw::Rejected::DuplicateInvocation(id) => Self::DuplicateInvocation(id),
            raw::Rejected::NoOpenTurn => Self::NoOpenTurn,
            raw::Rejected::Limit(limit) => Self::Limit(limit),
            raw::Rejected::Stopped => Self::Stopped,
        }
    }
}
