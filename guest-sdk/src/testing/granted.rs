//! The granted tools, answered by closures.

use super::{Fact, STATE};
use crate::granted::{
    CallError, Offered, PromptInfo, PromptMessage, ResourceContent, ResourceInfo, Server,
};
use crate::trajectory::{ToolCall, ToolResult};

pub(crate) fn list() -> Vec<Offered> {
    STATE.with_borrow(|state| {
        (state.host.granted.iter())
            .map(|granted| granted.offered.clone())
            .collect()
    })
}

pub(crate) fn servers() -> Vec<Server> {
    Vec::new()
}

pub(crate) fn call(call: &ToolCall) -> Result<ToolResult, CallError> {
    let answer = STATE.with_borrow_mut(|state| {
        let waits = (state.calls.iter_mut())
            .find(|(id, returned)| *id == call.id && !returned)
            .map(|(_, returned)| returned);
        let (Some(returned), Some(name)) = (waits, state.names.get(&call.id)) else {
            return Err(CallError::NoSuchCall(call.id.clone()));
        };
        if *name != call.name {
            return Err(CallError::NoSuchCall(call.id.clone()));
        }
        *returned = true;
        Ok((state.host.granted.iter())
            .find(|granted| granted.offered.tool.name == call.name)
            .map(|granted| granted.call.clone()))
    })?;
    let result = match answer {
        // Not while the state is borrowed: the tool may look at what was reported.
        Some(answer) => answer(call),
        None => Err(CallError::Unknown(call.name.clone())),
    };
    STATE.with_borrow_mut(|state| {
        state.facts.push(Fact::Called(call.clone(), result.clone()));
    });
    result
}

pub(crate) fn call_all(calls: &[ToolCall]) -> Vec<Result<ToolResult, CallError>> {
    calls.iter().map(call).collect()
}

pub(crate) fn resources(server: &str) -> Result<Vec<ResourceInfo>, CallError> {
    Err(CallError::Unknown(server.into()))
}

pub(crate) fn read_resource(server: &str, _uri: &str) -> Result<Vec<ResourceContent>, CallError> {
    Err(CallError::Unknown(server.into()))
}

pub(crate) fn prompts(server: &str) -> Result<Vec<PromptInfo>, CallError> {
    Err(CallError::Unknown(server.into()))
}

pub(crate) fn prompt(
    server: &str,
    _name: &str,
    _arguments: &[(String, String)],
) -> Result<Vec<PromptMessage>, CallError> {
    Err(CallError::Unknown(server.into()))
}
