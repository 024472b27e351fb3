//! Use the tools the operator granted: those of MCP servers and of tool components.
//!
//! The host makes the calls, checks them against what was granted, and writes their results into the
//! trajectory. A call needs a `tool-use` first, in a reply of [`model`](crate::model) or in a reported
//! turn. Whatever is answered here, an error too, is the result of the call: do not report it again.
//!
//! ```
//! use wasm_agent_sdk::granted;
//! use wasm_agent_sdk::model::{self, Request};
//! # use wasm_agent_sdk::model::Reply;
//! # use wasm_agent_sdk::testing::TestHost;
//! # use wasm_agent_sdk::trajectory::{ToolCall, ToolResult};
//! # use wasm_agent_sdk::Tool;
//! # fn main() -> wasm_agent_sdk::Result<()> {
//! # let _host = TestHost::new()
//! #     .granted(Tool::new("time__now"), |call| Ok(ToolResult::text(&*call.id, "noon")))
//! #     .replies([Reply::new().with_tool_use(ToolCall::new("c1", "time__now", "{}"))])
//! #     .install();
//! let mut request = Request::ask("What time is it?");
//! for offered in granted::list() {
//!     request = request.tool(offered.tool);
//! }
//! let reply = model::complete(request)?;
//! for call in reply.tool_calls().filter(|call| reply.allows(&call.id)) {
//!     let result = granted::call(call)?;
//!     assert!(!result.is_error);
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;

use crate::bindings::wasm_agent::agent::tools as raw;
use crate::host;
use crate::session::{Denied, Limit};
use crate::trajectory::{ToolCall, ToolResult};

pub use crate::bindings::wasm_agent::agent::tools::{
    Offered, PromptInfo, PromptMessage, ResourceContent, ResourceInfo, Server, Status,
};

/// The granted tools.
#[must_use]
pub fn list() -> Vec<Offered> {
    host::list()
}

/// The servers, those that could not be reached too.
#[must_use]
pub fn servers() -> Vec<Server> {
    host::servers()
}

/// Makes a call and waits for its result.
///
/// # Errors
/// [`CallError`]; the call has been answered with it.
pub fn call(call: &ToolCall) -> Result<ToolResult, CallError> {
    host::call(call)
}

/// Makes several calls: at the same time where their tools allow it. The results are in the order of
/// the calls.
#[must_use]
pub fn call_all(calls: &[ToolCall]) -> Vec<Result<ToolResult, CallError>> {
    host::call_all(calls)
}

/// Resources of a server, up to 1000.
///
/// # Errors
/// [`CallError::Unknown`] for a server that is not there, others when it does not answer.
pub fn resources(server: &str) -> Result<Vec<ResourceInfo>, CallError> {
    host::resources(server)
}

/// Reads a resource.
///
/// # Errors
/// As [`resources`].
pub fn read_resource(server: &str, uri: &str) -> Result<Vec<ResourceContent>, CallError> {
    host::read_resource(server, uri)
}

/// Prompts of a server, up to 1000.
///
/// # Errors
/// As [`resources`].
pub fn prompts(server: &str) -> Result<Vec<PromptInfo>, CallError> {
    host::prompts(server)
}

/// A prompt with its arguments, names and values, filled in.
///
/// # Errors
/// As [`resources`].
pub fn prompt(
    server: &str,
    name: &str,
    arguments: &[(String, String)],
) -> Result<Vec<PromptMessage>, CallError> {
    host::prompt(server, name, arguments)
}

/// Why a call has no result of its tool. Its text can be given to a model as it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// No granted tool or server has this name.
    Unknown(String),
    /// No `tool-use` with this id and name waits for its result.
    NoSuchCall(String),
    /// The arguments do not match the tool's schema or the operator's constraints; the text says where.
    InvalidArguments(String),
    /// The operator has not granted it.
    Denied(Denied),
    /// A limit of the run is reached.
    Limit(Limit),
    /// The tool took longer than it may, in milliseconds.
    TimedOut(u64),
    /// The server is gone, or answered something that is not an answer.
    Unavailable(String),
}

impl fmt::Display for CallError {
    /// In the words the host writes into the trajectory, so that it tells what a model got to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no tool or server `{name}` in this run"),
            Self::NoSuchCall(id) => write!(f, "no call `{id}` waits for its result"),
            Self::InvalidArguments(what) => f.write_str(what),
            Self::Denied(denied) => {
                write!(f, "`{}` is not granted: {}", denied.subject, denied.rule)
            }
            Self::Limit(limit) => write!(f, "limit `{}` is reached ({})", limit.name, limit.max),
            Self::TimedOut(ms) => write!(f, "the tool took longer than {ms} ms"),
            Self::Unavailable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CallError {}

impl From<raw::ToolError> for CallError {
    fn from(error: raw::ToolError) -> Self {
        match error {
            raw::ToolError::Unknown(name) => Self::Unknown(name),
            raw::ToolError::NoSuchCall(id) => Self::NoSuchCall(id),
            raw::ToolError::InvalidArguments(what) => Self::InvalidArguments(what),
            raw::ToolError::Denied(denied) => Self::Denied(denied),
            raw::ToolError::Limit(limit) => Self::Limit(limit),
            raw::ToolError::TimedOut(ms) => Self::TimedOut(ms),
            raw::ToolError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}
