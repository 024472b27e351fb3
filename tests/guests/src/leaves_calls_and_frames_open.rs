//! What an agent leaves open the host closes, and the run then does not count as converged.

use wasm_agent_sdk::trajectory::{self, SubagentCall, ToolCall, Turn};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Subagent, Tool, agent};

struct Sloppy;

impl Agent for Sloppy {
    fn describe() -> Descriptor {
        Descriptor::new("sloppy", "1.0.0")
            .tool(Tool::new("dig"))
            .subagent(Subagent::new("helper"))
    }

    fn run(commission: Commission) -> Result<Output> {
        let call = ToolCall::new("c1", "dig", r#"{"depth":3}"#);
        trajectory::assistant(Turn::new().text("Digging.").tool_use(call))?;
        if commission.prompt() == "frame" {
            // Dropping the guard would close the frame.
            std::mem::forget(trajectory::subagent(SubagentCall::new("s1", "helper"))?);
        }
        Ok(Output::text("done, more or less"))
    }
}

agent!(Sloppy);
