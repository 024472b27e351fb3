//! A descriptor that breaks AVP's rules means that the agent cannot be run.

use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Twice;

impl Agent for Twice {
    fn describe() -> Descriptor {
        Descriptor::new("twice", "1.0.0")
            .tool(Tool::new("same"))
            .tool(Tool::new("same"))
    }

    fn run(_: Commission) -> Result<Output> {
        Ok(Output::text("never"))
    }
}

agent!(Twice);
