//! `wasm-agent describe`.

use std::path::PathBuf;

use wasm_agent::error::Exit;

use super::failure::Failure;
use super::load::{self, HostFlags};
use super::{Done, run};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A component (.wasm), or the folder of an agent project, which is built first
    agent: PathBuf,

    #[command(flatten)]
    host: HostFlags,
}

pub(super) async fn describe(args: Args) -> Done {
    let host = args.host.host()?;
    let agent = load::agent(&host, &args.agent).await?;
    let json = serde_json::to_string_pretty(agent.descriptor())
        .map_err(|error| Failure::new(error.into()))?;
    run::print(&json)?;
    Ok(Exit::Success)
}
