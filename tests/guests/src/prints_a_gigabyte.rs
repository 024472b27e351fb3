//! A gigabyte on standard output and standard error neither stops the run nor fills the disk.

use std::io::Write;

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let line = [
        b"0123456789abcdef".repeat(255).as_slice(),
        b"0123456789abcde\n",
    ]
    .concat();
    let lines = (512 << 20) / line.len();
    for _ in 0..lines {
        std::io::stdout().write_all(&line)?;
        std::io::stderr().write_all(&line)?;
    }
    println!("the end of stdout");
    eprintln!("the end of stderr");
    Ok(format!("{} bytes each", lines * line.len()))
}
