//! An event that no host call may carry ends the run at the limit of host-call bytes.

use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    trajectory::assistant(Turn::new().text("small"))?;
    let answer = trajectory::assistant(Turn::new().text("x".repeat(100 << 20)));
    Ok(format!("{answer:?}"))
}
