//! An exit in the middle of a turn loses nothing of it: the turn and its call are closed.

use wasm_agent_sdk::trajectory::{self, ToolCall, Turn};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Quitter;

impl Agent for Quitter {
    fn describe() -> Descriptor {
        Descriptor::new("quitter", "1.0.0").tool(Tool::new("look"))
    }

    fn run(commission: Commission) -> Result<Output> {
        let turn = Turn::new()
            .key("k")
            .text("I look")
            .tool_use(ToolCall::new("c1", "look", "{}"));
        trajectory::assistant(turn)?;
        std::process::exit(commission.prompt().parse()?)
    }
}

agent!(Quitter);
