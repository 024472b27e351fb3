//! `wasm-agent key`: keys to sign runs with.

use std::path::PathBuf;

use clap::Subcommand;
use wasm_agent::attest::SecretKey;
use wasm_agent::attest::key::public_path;
use wasm_agent::error::Exit;

use super::Done;
use super::out::{note, print};

const EXAMPLES: &str = "\
Examples:
  wasm-agent key new ci.key
  wasm-agent run my-agent \"a task\" --sign ci.key
  wasm-agent verify latest --key ci.key.pub";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a key to sign runs with
    New(NewArgs),
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NewArgs {
    /// The file of the private key; the public one is FILE.pub. Neither is replaced
    file: PathBuf,
}

pub(super) fn key(command: &Command) -> Done {
    let Command::New(NewArgs { file }) = command;
    let key = SecretKey::generate()?;
    key.write_new(file)?;
    note(&format!("private key: {}", file.display()));
    note(&format!("public key: {}", public_path(file).display()));
    print(&key.public().id())?;
    Ok(Exit::Success)
}
