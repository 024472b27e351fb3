//! The smallest agent: greets whom the task names.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let name = match commission.prompt().trim() {
        "" => "world",
        name => name,
    };
    Ok(format!("Hello, {name}!"))
}
