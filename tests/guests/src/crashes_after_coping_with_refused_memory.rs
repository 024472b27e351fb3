//! A refused allocation is handled; what the guest dies of comes later, and is something else.

use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let mut large: Vec<u8> = Vec::new();
    if large.try_reserve(1 << 30).is_err() {
        trajectory::assistant(Turn::new().text("I do without."))?;
    }
    panic!("for a reason of its own");
}
