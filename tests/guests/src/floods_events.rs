//! Events over the limit are refused with a typed error, and the agent goes on.

use wasm_agent_sdk::trajectory::{self, Rejected, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let mut accepted = 0;
    let mut refused = 0;
    for turn in 0..1000 {
        match trajectory::assistant(Turn::new().text(format!("turn {turn}"))) {
            Ok(_) => accepted += 1,
            Err(Rejected::Limit(limit)) if limit.name == "events" => refused += 1,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(format!("{accepted} accepted, {refused} refused"))
}
