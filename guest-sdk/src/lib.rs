//! Write AI agents that run as WASI components under `wasm-agent`.

// `agent!` and the generated bindings name this crate the way an agent does.
extern crate self as wasm_agent_sdk;

mod agent;
#[doc(hidden)]
pub mod bindings;
mod commission;
mod descriptor;
mod error;
mod host;
mod json;
mod output;
pub mod session;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
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
