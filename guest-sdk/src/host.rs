//! Every call of the host, in one place: the component's imports, or the test host where there are none.

#[cfg(target_family = "wasm")]
mod imports;
#[cfg(target_family = "wasm")]
pub(crate) use imports::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::calls::{
    assistant, budget, close_turn, complete as declare_complete, finish_subagent, info, load,
    progress, report_error, report_tool_result, report_usage, save, start_subagent,
    submit_artifact,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::{
    granted::{call, call_all, list, prompt, prompts, read_resource, resources, servers},
    model::{Completion, complete, next, reply, stream},
};
