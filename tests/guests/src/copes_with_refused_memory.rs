//! A refused allocation is an error the guest can handle; it goes on and converges.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let mut large: Vec<u8> = Vec::new();
    match large.try_reserve(1 << 30) {
        Ok(()) => Ok("got a gigabyte".to_owned()),
        Err(_) => Ok("no gigabyte for me".to_owned()),
    }
}
