//! A trap ends the run as an error, and what was reported before it stands.

use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<()> {
    trajectory::assistant(Turn::new().text("before the trap"))?;
    trap()
}

#[inline(never)]
fn trap() -> Result<()> {
    std::arch::wasm32::unreachable()
}
