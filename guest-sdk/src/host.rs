//! Every call of the host, in one place: the component's imports, or the test host where there are none.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::wasm_agent::agent::session::{
    budget, complete, info, load, save, submit_artifact,
};
#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::wasm_agent::agent::trajectory::{
    assistant, close_turn, finish_subagent, progress, report_error, report_tool_result,
    report_usage, start_subagent,
};

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::calls::{
    assistant, budget, close_turn, complete, finish_subagent, info, load, progress, report_error,
    report_tool_result, report_usage, save, start_subagent, submit_artifact,
};
