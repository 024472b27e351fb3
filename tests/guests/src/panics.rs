//! A panic ends the run as an error, with its message in the tail of standard error.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<()> {
    panic!("the sky is falling")
}
