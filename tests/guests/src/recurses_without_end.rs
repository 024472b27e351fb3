//! Recursion without end is a trap of the guest, not a crash of the host.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    Ok(deeper(commission.prompt().len() as u64).to_string())
}

#[expect(unconditional_recursion, reason = "that is the claim")]
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 16]);
    deeper(frame[0] + 1) ^ frame[1]
}
