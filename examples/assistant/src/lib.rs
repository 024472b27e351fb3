//! An assistant: a model, file tools over `/work`, the tools the operator granted, and a sub-agent that
//! looks things up. All of it is the SDK's loop; what is here is who it is.

use wasm_agent_sdk::agent_loop::{AgentLoop, Granted};
use wasm_agent_sdk::session::Access;
use wasm_agent_sdk::{Subagent, agent};

agent!(assistant);

const ASSISTANT: &str = "\
You are a careful assistant that works on the files in /work.
Look before you answer: what you say about a file has to be in it.
Change files only when the task asks for it, and no more of them than it takes.
When a tool fails, say so, and go on with what works.
Answer briefly. Say what you did, and what is left undone.";

const EXPLORER: &str = "\
You explore the files in /work for somebody else, who sees nothing but your answer.
You change nothing. Answer with what you found, and with the path and line of each finding.";

fn assistant() -> AgentLoop {
    let explorer = AgentLoop::new()
        .system(EXPLORER)
        .files("/work", Access::ReadOnly)
        .granted(Granted::ReadOnly)
        .max_turns(20);
    AgentLoop::new()
        .system(ASSISTANT)
        .files("/work", Access::ReadWrite)
        .subagent(
            Subagent::new("explorer").describe("Reads and searches files, and changes none."),
            explorer,
        )
}

#[cfg(test)]
mod tests;
