//! Language models, provider-neutral: what is asked, what comes back, what it costs.
//!
//! `wire.rs` is the seam: each provider's format turns a [`Request`] into HTTP and a stream of
//! server-sent events into a [`Reply`]. Nothing here knows a guest; `capabilities/model.rs` does.

pub mod anthropic;
pub mod arrival;
mod assembly;
pub mod completion;
mod context_limit;
pub mod error;
pub mod exchange;
pub mod gemini;
mod media;
pub mod openai_chat;
pub mod openai_responses;
pub mod price;
pub mod provider;
mod provider_error;
mod refused;
pub mod retry;
mod retry_after;
pub mod scripted;
pub mod service;
pub mod spent;
pub mod sse;
mod strict_schema;
mod taped;
#[cfg(test)]
mod testing;
mod tool_schema;
pub mod validate;
pub mod wire;

pub use completion::{Answered, Completion, Piece};
pub use error::{ModelError, ProviderFailure};
pub use service::{Asked, Models, Setup};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::descriptor::ToolDecl;
use crate::trajectory::content::Block;
use crate::trajectory::fact::{ToolResult, Usage};

/// One inference to make.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Request {
    /// The model, without its provider.
    pub model: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The conversation; begins with a user message.
    pub messages: Vec<Message>,
    /// Tools the model may call.
    pub tools: Vec<ToolDecl>,
    /// Which of them it has to call.
    pub tool_choice: ToolChoice,
    /// Tools the provider runs itself, in its own form.
    pub provider_tools: Vec<Value>,
    /// The schema the reply's text has to match.
    pub output_schema: Option<Value>,
    /// How the next tokens are chosen.
    pub sampling: Sampling,
}

/// A message of the conversation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// What the model is told.
    User(Vec<Input>),
    /// What it said before.
    Assistant(Vec<Block>),
}

/// A block of what the model is told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Text, a picture, sound or a document.
    Block(Block),
    /// The result of a tool call.
    ToolResult(ToolResult),
}

/// Which of the offered tools the model has to call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// One of them.
    Any,
    /// None.
    None,
    /// This one.
    Tool(String),
}

/// How the next tokens are chosen; what is left out is the provider's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sampling {
    /// Between 0 and 2.
    pub temperature: Option<f64>,
    /// Between 0 and 1.
    pub top_p: Option<f64>,
    /// Tokens of the reply at most. Always set for a format that insists on a number; where it is left out
    /// the provider's own default will do.
    pub max_output_tokens: Option<u32>,
    /// Texts that end the reply.
    pub stop_sequences: Vec<String>,
    /// Tokens to reason with.
    pub reasoning_tokens: Option<u32>,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// It had said what it had to say.
    EndTurn,
    /// It waits for results.
    ToolUse,
    /// The reply is cut off.
    MaxTokens,
    /// A stop sequence came.
    StopSequence,
    /// It declined, or its provider did.
    Refusal,
    /// Something else.
    Other,
}

/// What the model answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// What it said, in order.
    pub content: Vec<Block>,
    /// Why it stopped.
    pub stop: StopCause,
    /// The provider's own words for that.
    pub finish_reasons: Vec<String>,
    /// The model that answered, as the provider named it.
    pub model: Option<String>,
    /// Tokens, as the provider counted them, in AVP's sense: input includes what a cache gave.
    pub usage: Option<Usage>,
    /// US dollars, where the provider names them.
    pub cost_usd: Option<f64>,
    /// The provider's category of a refusal.
    pub refusal_category: Option<String>,
}

/// A piece of a reply, as it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delta {
    /// More text.
    Text(String),
    /// More reasoning.
    Thinking(String),
    /// A call begins.
    ToolUse {
        /// Its id.
        id: String,
        /// The name of the tool.
        name: String,
    },
    /// A piece of the JSON text of its arguments.
    ToolInput(String),
}
