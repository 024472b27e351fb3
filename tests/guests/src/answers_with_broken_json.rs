//! An answer that claims to be JSON and is not ends the run as an error.

use wasm_agent_sdk::{Commission, Output, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<Output> {
    Ok(Output::Json("{\"half\":".to_owned()))
}
