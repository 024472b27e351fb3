//! A run that reports nothing and answers nothing still leaves a whole trajectory.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<()> {
    Ok(())
}
