//! Budgets are what the operator set, and shrink with use.

use serde_json::{Value, json};
use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(_: Commission) -> Result<Value> {
    let before = session::budget();
    trajectory::assistant(Turn::new().text("one"))?;
    session::save(b"0123456789")?;
    let after = session::budget();
    Ok(json!({
        "events": [before.events, after.events],
        "storage": [before.storage_bytes, after.storage_bytes],
        "wall_in_range": before.wall_ms <= 60_000 && before.wall_ms > 0 && after.wall_ms <= before.wall_ms,
        "cpu_in_range": before.cpu_ms <= 30_000 && before.cpu_ms > 0 && after.cpu_ms <= before.cpu_ms,
        "memory_in_range": before.memory_bytes > 0 && before.memory_bytes < 64 << 20,
        "models": [before.model_calls, before.tokens, before.money_micro_usd],
        "low": [before.low, after.low],
    }))
}
