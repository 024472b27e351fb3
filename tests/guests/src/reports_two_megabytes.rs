//! An event over the size limit is refused with a typed error, and the agent goes on.

use wasm_agent_sdk::trajectory::{self, Rejected, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    match trajectory::assistant(Turn::new().text("x".repeat(2 << 20))) {
        Err(Rejected::Limit(limit)) => {
            trajectory::assistant(Turn::new().text("shorter"))?;
            Ok(format!("{} {}", limit.name, limit.max))
        }
        other => Ok(format!("{other:?}")),
    }
}
