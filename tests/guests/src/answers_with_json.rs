//! A structured answer is JSON in the trajectory, not text.

use serde_json::{Value, json};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    Ok(json!({ "task": commission.prompt(), "done": true, "parts": [1, 2.5, null] }))
}
