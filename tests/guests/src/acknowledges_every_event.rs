//! What the agent was told is recorded is recorded, whatever happens to the host afterwards.

use std::fs::File;
use std::io::Write;

use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

/// Each number is written to the disk only after the host has taken it.
fn run(_: Commission) -> Result<()> {
    let mut acknowledged = File::create("/work/acknowledged")?;
    trajectory::progress("reporting", None)?;
    for number in 0_u64.. {
        let text = format!("turn {number} {}", "x".repeat(400));
        // Chunks of an open turn are held back from the trajectory; they have to be safe all the same.
        trajectory::assistant(Turn::new().key((number / 5).to_string()).text(text))?;
        acknowledged.write_all(format!("{number}\n").as_bytes())?;
    }
    Ok(())
}
