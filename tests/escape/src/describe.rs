//! An agent whose `describe` never returns.

use std::hint::black_box;

use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, agent};

struct Endless;

impl Agent for Endless {
    fn describe() -> Descriptor {
        loop {
            black_box(());
        }
    }

    fn run(_: Commission) -> Result<Output> {
        Ok(Output::None)
    }
}

agent!(Endless);
