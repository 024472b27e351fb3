//! Chunks with one key are one turn until a tool result; an empty turn uses no step.

use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn, Usage};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Streamer;

impl Agent for Streamer {
    fn describe() -> Descriptor {
        Descriptor::new("streamer", "1.0.0").tool(Tool::new("t"))
    }

    fn run(_: Commission) -> Result<Output> {
        let mut steps = Vec::new();
        let mut say = |turn: Turn| -> Result<()> {
            steps.push(trajectory::assistant(turn)?.step);
            Ok(())
        };
        say(Turn::new().key("a").text("Hel"))?;
        say(Turn::new().key("a").text("lo"))?;
        say(Turn::new()
            .key("a")
            .tool_use(ToolCall::new("c1", "t", "{}")))?;
        trajectory::report_usage(Some("a"), Usage::new(10, 2), Some(0.25))?;
        trajectory::tool_result(ToolResult::text("c1", "ok"))?;
        // The call has returned: the same key is a new turn now.
        say(Turn::new().key("a").text("after"))?;
        trajectory::close_turn()?;
        say(Turn::new())?;
        say(Turn::new().text("last"))?;
        Ok(Output::text(format!("{steps:?}")))
    }
}

agent!(Streamer);
