//! A call of a tool that is not in the run is answered by the host.

use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let turn = Turn::new().tool_use(ToolCall::new("c1", "rm-rf", r#"{"path":"/"}"#));
    let receipt = trajectory::assistant(turn)?;
    let late = trajectory::tool_result(ToolResult::text("c1", "I did it anyway"));
    Ok(format!("{:?}, then {late:?}", receipt.refused_calls))
}
