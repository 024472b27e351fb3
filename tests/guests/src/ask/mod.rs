//! Shared by the guests that ask models: requests and replies without the ceremony.

#![allow(dead_code, unused_imports, reason = "no guest uses all of it")]

pub use wasm_agent_sdk::bindings::wasm_agent::agent::model::{
    self, Completion, Delta, InputBlock, Message, ModelError, Reply, Request, Sampling, ToolChoice,
};
pub use wasm_agent_sdk::bindings::wasm_agent::agent::trajectory::{ResultBlock, ToolResult};
pub use wasm_agent_sdk::bindings::wasm_agent::agent::types::{ContentBlock, Tool, ToolCall};

/// A request that says this, and nothing else.
pub fn says(text: &str) -> Request {
    Request {
        model: None,
        system: None,
        messages: vec![user(text)],
        tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        provider_tools: Vec::new(),
        output_schema: None,
        sampling: Sampling {
            temperature: None,
            top_p: None,
            max_output_tokens: None,
            stop_sequences: Vec::new(),
            reasoning_tokens: None,
        },
        frame: None,
    }
}

/// What the user says.
pub fn user(text: &str) -> Message {
    Message::User(vec![InputBlock::Text(text.to_owned())])
}

/// The result of a call.
pub fn result(call_id: &str, text: &str) -> ToolResult {
    ToolResult {
        call_id: call_id.to_owned(),
        content: vec![ResultBlock::Text(text.to_owned())],
        structured: None,
        is_error: false,
    }
}

/// A tool by its name.
pub fn tool(name: &str) -> Tool {
    Tool::new(name)
}

/// The texts of a reply, one a line.
pub fn texts(content: &[ContentBlock]) -> String {
    let texts: Vec<_> = content
        .iter()
        .filter_map(|block| match block {
            ContentBlock::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}

/// The calls of a reply.
pub fn calls(content: &[ContentBlock]) -> Vec<ToolCall> {
    content
        .iter()
        .filter_map(|block| match block {
            ContentBlock::ToolUse(call) => Some(call.clone()),
            _ => None,
        })
        .collect()
}
