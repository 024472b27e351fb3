//! `wasm-agent verify`.

use std::path::PathBuf;

use super::Done;

#[derive(clap::Args)]
pub(super) struct Args {
    /// An AVP trajectory (NDJSON), or a run directory
    path: PathBuf,
}

pub(super) fn verify(args: &Args) -> Done {
    let _ = &args.path;
    Ok(wasm_agent::error::Exit::Success)
}
