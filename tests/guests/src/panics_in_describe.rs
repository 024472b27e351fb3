//! A trap in `describe` means that the agent cannot be run.

use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, agent};

struct Shy;

impl Agent for Shy {
    fn describe() -> Descriptor {
        panic!("who wants to know?")
    }

    fn run(_: Commission) -> Result<Output> {
        Ok(Output::text("never"))
    }
}

agent!(Shy);
