//! Of a call the agent makes itself the host knows what it was told, and what it saw happen meanwhile.

use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn, Usage};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Claimant;

impl Agent for Claimant {
    fn describe() -> Descriptor {
        Descriptor::new("claimant", "1.0.0")
            .tool(Tool::new("write"))
            .tool(Tool::new("read"))
    }

    fn run(commission: Commission) -> Result<Output> {
        // Calls that are open at once share what is seen.
        let turn = Turn::new()
            .usage(Usage::new(11, 7))
            .tool_use(ToolCall::new("wrote", "write", "{}"))
            .tool_use(ToolCall::new("beside", "read", "{}"));
        trajectory::assistant(turn)?;
        std::fs::write("/work/new", commission.prompt())?;
        trajectory::tool_result(ToolResult::text("wrote", "written"))?;
        trajectory::tool_result(ToolResult::text("beside", "it is there"))?;
        let turn = Turn::new().tool_use(ToolCall::new("lied", "write", "{}"));
        trajectory::assistant(turn)?;
        trajectory::tool_result(ToolResult::text("lied", "written, too"))?;
        // Held back until the turn closes: what counts is when it was reported.
        let turn = Turn::new()
            .key("chunked")
            .tool_use(ToolCall::new("held", "write", "{}"));
        trajectory::assistant(turn)?;
        std::fs::write("/work/other", "x")?;
        trajectory::tool_result(ToolResult::text("held", "written"))?;
        let turn = Turn::new()
            .tool_use(ToolCall::new("read", "read", "{}"))
            .tool_use(ToolCall::new("none", "conjure", "{}"));
        trajectory::assistant(turn)?;
        let _ = std::fs::read("/work/new")?;
        trajectory::tool_result(ToolResult::text("read", "it is there"))?;
        Ok(Output::text(commission.prompt()))
    }
}

agent!(Claimant);
