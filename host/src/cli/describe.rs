//! `wasm-agent describe`.

use wasm_agent::engine::Profile;
use wasm_agent::error::Exit;

use super::Done;
use super::load::{HostFlags, LookArg};
use super::out::print_json;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    agent: LookArg,

    #[command(flatten)]
    host: HostFlags,
}

pub(super) async fn describe(args: Args) -> Done {
    let host = args.host.host(Profile::Live)?;
    let (agent, _) = args.agent.load(&host).await?;
    print_json(agent.descriptor())?;
    Ok(Exit::Success)
}
