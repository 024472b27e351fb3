//! The failure that `run` returns decides the reason the run ends with.

use wasm_agent_sdk::{Commission, Error, ErrorCode, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<()> {
    Err(match commission.prompt() {
        "refuse" => Error::refused("it is not my job"),
        "abandon" => Error::abandoned("half of it is left"),
        "rate" => Error::code(ErrorCode::RateLimit, "asked too often"),
        _ => Error::new("it broke"),
    })
}
