//! `wasm-agent runs`: what has been run.

use clap::Subcommand;

use super::Done;
use super::load::HostFlags;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List runs, newest first
    List {
        #[command(flatten)]
        host: HostFlags,
    },
}

pub(super) fn runs(command: Command) -> Done {
    match command {
        Command::List { host } => {
            for run in host.runs()?.list()? {
                super::run::print(run.session_id())?;
            }
        }
    }
    Ok(wasm_agent::error::Exit::Success)
}
