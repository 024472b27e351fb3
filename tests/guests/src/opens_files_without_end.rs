//! Open files are handles, and handles run out.

use std::fs::File;

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let mut open = Vec::new();
    for count in 0..100_000 {
        match File::open("/work/file") {
            Ok(file) => open.push(file),
            Err(error) => return Ok(format!("{count}: {error}")),
        }
    }
    Ok("no limit".to_owned())
}
