//! Ask a language model.
//!
//! The host holds the keys, retries, counts tokens and money, and writes the turn into the trajectory:
//! an agent that asks here does not report the turn. Which models may be asked is the operator's to say.
//!
//! ```
//! use wasm_agent_sdk::model::{self, Reply, Request};
//! # use wasm_agent_sdk::testing::TestHost;
//! # fn main() -> wasm_agent_sdk::Result<()> {
//! # let _host = TestHost::new().replies([Reply::new().with_text("Paris.")]).install();
//! let reply = model::complete(Request::ask("What is the capital of France?").system("Be brief."))?;
//! assert_eq!(reply.text(), "Paris.");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Completion`] gives the reply as it arrives. Conversations with tools are what
//! [`AgentLoop`](crate::agent_loop::AgentLoop) is for.

mod error;

use crate::trajectory::{ContentBlock, ToolCall, ToolResult, Usage};
use crate::{Json, Tool, host};

pub use crate::bindings::wasm_agent::agent::model::{
    Delta, InputBlock, Message, ProviderFailure, Reply, Request, Sampling, StopCause, ToolChoice,
};
pub use error::ModelError;

/// Asks, and waits for the whole reply.
///
/// # Errors
/// [`ModelError`]; the host has retried what is worth retrying and written down what happened.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a request is made once; clone what is asked again"
)]
pub fn complete(request: Request) -> Result<Reply, ModelError> {
    host::complete(&request)
}

/// Asks, and gives the reply as it arrives.
///
/// # Errors
/// [`ModelError`], where nothing has arrived.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a request is made once; clone what is asked again"
)]
pub fn stream(request: Request) -> Result<Completion, ModelError> {
    Ok(Completion {
        raw: host::stream(&request)?,
        ended: false,
    })
}

/// A reply that is arriving: an iterator over its pieces, until it is complete or fails. Dropped before
/// its end it is cancelled; what has arrived is a turn of the trajectory nevertheless.
///
/// ```
/// use wasm_agent_sdk::model::{self, Delta, Reply, Request};
/// # use wasm_agent_sdk::testing::TestHost;
/// # fn main() -> wasm_agent_sdk::Result<()> {
/// # let _host = TestHost::new().replies([Reply::new().with_text("Paris.")]).install();
/// let mut seen = String::new();
/// let mut completion = model::stream(Request::ask("What is the capital of France?"))?;
/// for delta in &mut completion {
///     match delta? {
///         Delta::Text(text) => seen.push_str(&text),
///         Delta::Retry(_) => seen.clear(),
///         _ => {}
///     }
/// }
/// assert_eq!(completion.reply()?.text(), seen);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a reply that is dropped is cancelled"]
pub struct Completion {
    raw: host::Completion,
    ended: bool,
}

impl Completion {
    /// The whole reply. Waits for its end; can be asked any number of times.
    ///
    /// # Errors
    /// [`ModelError`], where the reply did not become complete.
    pub fn reply(&self) -> Result<Reply, ModelError> {
        host::reply(&self.raw)
    }
}

impl Iterator for Completion {
    type Item = Result<Delta, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = host::next(&self.raw).transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Request {
    /// A request without a conversation. One message is needed at least.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "an empty request is a start, not a value of use"
    )]
    pub fn new() -> Self {
        Self {
            model: None,
            system: None,
            messages: Vec::new(),
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            provider_tools: Vec::new(),
            output_schema: None,
            sampling: Sampling::default(),
            frame: None,
        }
    }

    /// A conversation that begins with these words.
    pub fn ask(text: impl Into<String>) -> Self {
        Self::new().user(text)
    }

    /// The model to ask, as `provider/model`, instead of the commission's.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The system prompt.
    #[must_use]
    pub fn system(mut self, prompt: impl Into<String>) -> Self {
        self.system = Some(prompt.into());
        self
    }

    /// Adds a message.
    #[must_use]
    pub fn message(mut self, message: Message) -> Self {
        self.messages.push(message);
        self
    }

    /// Adds words of the user.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.message(Message::user(text))
    }

    /// Adds an earlier reply, unchanged.
    #[must_use]
    pub fn assistant(self, reply: &Reply) -> Self {
        self.message(Message::Assistant(reply.content.clone()))
    }

    /// Adds the results of the calls of the reply before, each of them once.
    #[must_use]
    pub fn results(self, results: impl IntoIterator<Item = ToolResult>) -> Self {
        self.message(Message::results(results))
    }

    /// Offers a tool.
    #[must_use]
    pub fn tool(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Says which of the offered tools have to be called; the model decides otherwise.
    #[must_use]
    pub fn tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = choice;
        self
    }

    /// Offers a tool the provider runs itself: a JSON object in the provider's own form.
    #[must_use]
    pub fn provider_tool(mut self, tool: impl Into<Json>) -> Self {
        self.provider_tools.push(tool.into().into_text());
        self
    }

    /// The JSON Schema the text of the reply has to match. The reply still has to be checked.
    #[must_use]
    pub fn output_schema(mut self, schema: impl Into<Json>) -> Self {
        self.output_schema = Some(schema.into().into_text());
        self
    }

    /// How the next tokens are chosen.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// The open frame of the sub-agent whose turn this is: its
    /// [`id`](crate::trajectory::Subagent::id).
    #[must_use]
    pub fn frame(mut self, invocation_id: impl Into<String>) -> Self {
        self.frame = Some(invocation_id.into());
        self
    }
}

impl Default for Sampling {
    /// The provider's own defaults.
    fn default() -> Self {
        Self {
            temperature: None,
            top_p: None,
            max_output_tokens: None,
            stop_sequences: Vec::new(),
            reasoning_tokens: None,
        }
    }
}

impl Message {
    /// Words of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User(vec![InputBlock::Text(text.into())])
    }

    /// Results of tool calls.
    pub fn results(results: impl IntoIterator<Item = ToolResult>) -> Self {
        Self::User(results.into_iter().map(InputBlock::ToolResult).collect())
    }
}

impl Reply {
    /// An empty reply that ends the turn: a start for the scripted models of tests.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "an empty reply is a start, not a value of use"
    )]
    pub fn new() -> Self {
        Self {
            content: Vec::new(),
            stop: StopCause::EndTurn,
            finish_reasons: Vec::new(),
            model: "test".into(),
            usage: None,
            cost_usd: None,
            step: 0,
            refused_calls: Vec::new(),
        }
    }

    /// Adds a block.
    #[must_use]
    pub fn with_block(mut self, block: ContentBlock) -> Self {
        self.content.push(block);
        self
    }

    /// Adds text.
    #[must_use]
    pub fn with_text(self, text: impl Into<String>) -> Self {
        self.with_block(ContentBlock::Text(text.into()))
    }

    /// Adds a call, for whose result the model waits.
    #[must_use]
    pub fn with_tool_use(mut self, call: ToolCall) -> Self {
        self.stop = StopCause::ToolUse;
        self.with_block(ContentBlock::ToolUse(call))
    }

    /// Says why the model stopped.
    #[must_use]
    pub fn with_stop(mut self, cause: StopCause) -> Self {
        self.stop = cause;
        self
    }

    /// Says what it took.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// What the model said in words, without its reasoning.
    #[must_use]
    pub fn text(&self) -> String {
        (self.content.iter())
            .filter_map(|block| match block {
                ContentBlock::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// True when there is nothing in it for anybody: no words, no calls, no refusal and nothing to look at.
    /// Its reasoning, and what tools of the provider's brought, is the model's own.
    #[must_use]
    pub fn says_nothing(&self) -> bool {
        self.content.iter().all(|block| match block {
            ContentBlock::Text(text) => text.trim().is_empty(),
            ContentBlock::Thinking(_)
            | ContentBlock::ServerToolUse(_)
            | ContentBlock::ServerToolResult(_) => true,
            _ => false,
        })
    }

    /// The calls the model makes of tools of the run, in order; those the host has refused are among them.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(|block| match block {
            ContentBlock::ToolUse(call) => Some(call),
            _ => None,
        })
    }

    /// Should this call be carried out? False when the host has answered it already, because its tool
    /// is not among the tools of this run.
    #[must_use]
    pub fn allows(&self, call_id: &str) -> bool {
        !self.refused_calls.iter().any(|refused| refused == call_id)
    }

    /// What the model, or its provider, said when it declined; none when it did not.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let said = self.content.iter().find_map(|block| match block {
            ContentBlock::Refusal(why) => Some(why.clone()),
            _ => None,
        });
        match (said, self.stop) {
            (Some(why), _) => Some(why),
            (None, StopCause::Refusal) => Some(self.text()),
            (None, _) => None,
        }
    }
}
