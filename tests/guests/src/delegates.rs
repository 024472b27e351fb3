//! Turns of sub-agents stand under their frames, frames within frames.

use wasm_agent_sdk::trajectory::{
    self, StopReason, SubagentCall, SubagentUsage, ToolCall, ToolResult, Turn,
};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Subagent, Tool, agent};

struct Manager;

impl Agent for Manager {
    fn describe() -> Descriptor {
        Descriptor::new("manager", "1.0.0")
            .tool(Tool::new("task"))
            .subagent(Subagent::new("worker"))
    }

    fn run(_: Commission) -> Result<Output> {
        let call = ToolCall::new("s1", "task", r#"{"goal":"win"}"#);
        trajectory::assistant(Turn::new().text("Go on.").tool_use(call))?;
        let outer = trajectory::subagent(SubagentCall::new("s1", "worker").describe("works"))?;
        let call = ToolCall::new("s2", "task", r#"{"goal":"help"}"#);
        let turn = Turn::new().frame(outer.id()).text("working").tool_use(call);
        trajectory::assistant(turn)?;
        let inner = trajectory::subagent(SubagentCall::new("s2", "worker"))?;
        trajectory::assistant(Turn::new().frame(inner.id()).text("working deeper"))?;
        inner.finish(StopReason::Converged, "deep")?;
        trajectory::tool_result(ToolResult::text("s2", "deep"))?;
        let silent = trajectory::subagent(SubagentCall::new("s3", "worker"))?;
        let usage = SubagentUsage {
            cost_usd: Some(0.5),
            tokens_input: Some(3),
            tokens_output: None,
            turns: Some(1),
        };
        silent.finish_with(
            StopReason::Converged,
            "said nothing on the way",
            Some(usage),
        )?;
        outer.finish_with(StopReason::Refused, "no", Some(usage))?;
        trajectory::tool_result(ToolResult::text("s1", "no"))?;
        trajectory::assistant(Turn::new().text("Then not."))?;
        Ok(Output::text("delegated"))
    }
}

agent!(Manager);
