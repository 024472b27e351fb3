//! The last checkpoint is what the agent gets back; one over the limit leaves it as it was.

use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let before = session::load()?;
    session::save(b"first")?;
    let stored = session::save(b"second")?;
    let too_large = session::save(&[0; 2000]).unwrap_err();
    let after = session::load()?.map(String::from_utf8).transpose()?;
    Ok(format!(
        "{before:?}, {} bytes {}, {too_large}, {after:?}",
        stored.bytes, stored.digest
    ))
}
