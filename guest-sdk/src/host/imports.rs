//! What the component imports, with the SDK's own errors.

use crate::bindings::wasm_agent::agent::{model, tools};
use crate::granted::{
    CallError, Offered, PromptInfo, PromptMessage, ResourceContent, ResourceInfo, Server,
};
use crate::model::{Delta, ModelError, Reply, Request};
use crate::trajectory::{ToolCall, ToolResult};

pub(crate) use crate::bindings::wasm_agent::agent::model::Completion;
pub(crate) use crate::bindings::wasm_agent::agent::session::{
    budget, complete as declare_complete, info, load, save, submit_artifact,
};
pub(crate) use crate::bindings::wasm_agent::agent::trajectory::{
    assistant, close_turn, finish_subagent, progress, report_error, report_tool_result,
    report_usage, start_subagent,
};

pub(crate) fn complete(request: &Request) -> Result<Reply, ModelError> {
    Ok(model::complete(request)?)
}

pub(crate) fn stream(request: &Request) -> Result<Completion, ModelError> {
    Ok(model::stream(request)?)
}

pub(crate) fn next(completion: &Completion) -> Result<Option<Delta>, ModelError> {
    Ok(completion.next()?)
}

pub(crate) fn reply(completion: &Completion) -> Result<Reply, ModelError> {
    Ok(completion.reply()?)
}

pub(crate) fn list() -> Vec<Offered> {
    tools::list()
}

pub(crate) fn servers() -> Vec<Server> {
    tools::servers()
}

pub(crate) fn call(call: &ToolCall) -> Result<ToolResult, CallError> {
    Ok(tools::call(call)?)
}

pub(crate) fn call_all(calls: &[ToolCall]) -> Vec<Result<ToolResult, CallError>> {
    (tools::call_all(calls).into_iter())
        .map(|result| result.map_err(CallError::from))
        .collect()
}

pub(crate) fn resources(server: &str) -> Result<Vec<ResourceInfo>, CallError> {
    Ok(tools::resources(server)?)
}

pub(crate) fn read_resource(server: &str, uri: &str) -> Result<Vec<ResourceContent>, CallError> {
    Ok(tools::read_resource(server, uri)?)
}

pub(crate) fn prompts(server: &str) -> Result<Vec<PromptInfo>, CallError> {
    Ok(tools::prompts(server)?)
}

pub(crate) fn prompt(
    server: &str,
    name: &str,
    arguments: &[(String, String)],
) -> Result<Vec<PromptMessage>, CallError> {
    Ok(tools::prompt(server, name, arguments)?)
}
