//! Sleeping costs no computing, but it ends at the limit of wall time.

use std::time::Duration;

use wasm_agent_sdk::{Commission, Result, agent, trajectory};

agent!(run);

fn run(_: Commission) -> Result<()> {
    trajectory::progress("sleeping", None)?;
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
