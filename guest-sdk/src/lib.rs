//! Write AI agents that run as WASI components under `wasm-agent`.
//!
//! An agent is a function from a [`Commission`] to a [`Result`], or a type that implements [`Agent`]:
//!
//! ```
//! use wasm_agent_sdk::{Commission, Context, Result, agent};
//! use wasm_agent_sdk::tools::{ListDir, Workspace, list_dir};
//!
//! agent!(run);
//!
//! /// Names what is in the directory the operator granted.
//! fn run(commission: Commission) -> Result<String> {
//!     let work = Workspace::open("/work").context("looking for something to do")?;
//!     let listing = list_dir(&work, &ListDir::new("").depth(1))?;
//!     Ok(format!("{}\n{listing}", commission.prompt()))
//! }
//! # fn main() {}
//! ```
//!
//! With a model it is an [`AgentLoop`](agent_loop::AgentLoop), which describes itself:
//!
//! ```
//! use wasm_agent_sdk::agent;
//! use wasm_agent_sdk::agent_loop::AgentLoop;
//! use wasm_agent_sdk::session::Access;
//!
//! agent!(librarian);
//!
//! fn librarian() -> AgentLoop {
//!     AgentLoop::new()
//!         .system("You answer questions about the files in /work.")
//!         .files("/work", Access::ReadOnly)
//! }
//! # fn main() {}
//! ```
//!
//! Built for `wasm32-wasip2` as a `cdylib`, that is a component `wasm-agent run` takes.
//!
//! # What an agent can do
//!
//! It starts with nothing. What the operator granted is there: directories through `std::fs` and
//! [`tools`], variables through `std::env`. Everything else is refused with an error it can handle.
//!
//! - [`model`] asks the language models the operator granted; the host holds the keys.
//! - [`granted`] uses the tools the operator granted: MCP servers and tool components.
//! - [`agent_loop`] makes an agent of both, and of tools of its own.
//! - [`trajectory`] reports what only the agent knows: a turn of a model, a tool it ran, a sub-agent.
//! - [`session`] says what is granted and what is left, keeps checkpoints, takes results.
//! - [`tools`] reads, lists and searches files in the form a model expects.
//!
//! # How a run ends
//!
//! With what `run` returns: an [`Output`] for `converged`, an [`Error`] for the reason it carries. Any
//! `std::error::Error` becomes one with `?`; [`Context`] says what was being done.
//!
//! A panic ends the run as an error of code `agent_crash`. Its message, with file and line, is on
//! standard error, which the host keeps as events; nothing the agent has reported is lost.
//!
//! # Testing
//!
//! Outside of WebAssembly every host call goes to [`testing::TestHost`], so that plain `cargo test` runs
//! an agent, sees what it reported, and gives it a temporary directory for `/work`:
//!
//! ```
//! use wasm_agent_sdk::testing::{TestHost, commission};
//! use wasm_agent_sdk::{Commission, Output, Result};
//!
//! fn run(commission: Commission) -> Result<String> {
//!     Ok(format!("Hello, {}!", commission.prompt()))
//! }
//!
//! let trial = TestHost::new().run(run, commission("Ada"));
//! assert_eq!(trial.result, Ok(Output::text("Hello, Ada!")));
//! ```
//!
//! Models and granted tools are closures there: [`TestHost::model`](testing::TestHost::model),
//! [`TestHost::replies`](testing::TestHost::replies), [`TestHost::granted`](testing::TestHost::granted).
//!
//! # Features
//!
//! Both are on unless switched off; an agent of text alone is smaller without.
//!
//! - `json`: typed output, schemas and tool arguments through serde; the [`agent_loop`] module.
//! - `tools`: the [`tools`] module.

// `agent!` and the generated bindings name this crate the way an agent does.
extern crate self as wasm_agent_sdk;

mod agent;
#[cfg(feature = "json")]
pub mod agent_loop;
#[doc(hidden)]
pub mod bindings;
mod commission;
mod descriptor;
mod error;
pub mod granted;
mod host;
mod json;
pub mod model;
mod output;
#[cfg(feature = "json")]
mod schema;
pub mod session;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
#[cfg(feature = "tools")]
pub mod tools;
pub mod trajectory;

#[doc(hidden)]
pub use agent::__private;
pub use agent::Agent;
pub use bindings::wasm_agent::agent::types::{
    Commission, Descriptor, ErrorCode, ErrorReport, Failure, McpServer, Output, Skill, SkillInfo,
    Subagent, Tool,
};
pub use error::{Context, Error, Result};
pub use json::Json;
#[doc(hidden)]
pub use wit_bindgen;
