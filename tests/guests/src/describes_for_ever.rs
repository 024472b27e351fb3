//! `describe` that never returns is cut off, and the agent cannot be run.

use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, agent};

struct Endless;

impl Agent for Endless {
    fn describe() -> Descriptor {
        loop {
            std::hint::black_box(0);
        }
    }

    fn run(_: Commission) -> Result<Output> {
        Ok(Output::text("never"))
    }
}

agent!(Endless);
