//! A run that returns text converges, and the text is the answer.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    Ok(format!("You said: {}", commission.prompt()))
}
