//! An agent that never stops computing is stopped, and its open call is closed for it.

use wasm_agent_sdk::trajectory::{self, ToolCall, Turn};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Looper;

impl Agent for Looper {
    fn describe() -> Descriptor {
        Descriptor::new("looper", "1.0.0").tool(Tool::new("think"))
    }

    fn run(_: Commission) -> Result<Output> {
        let call = ToolCall::new("c1", "think", "{}");
        trajectory::assistant(Turn::new().text("Thinking.").tool_use(call))?;
        trajectory::progress("computing", None)?;
        loop {
            std::hint::black_box(0);
        }
    }
}

agent!(Looper);
