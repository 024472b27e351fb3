//! The command line: parse, resolve, call the library, print. No logic lives here.

mod avp;
mod commission;
mod describe;
mod failure;
mod grants;
mod live;
mod load;
mod run;
mod runs;
mod signals;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use wasm_agent::error::Exit;

use self::failure::Failure;

type Done = Result<Exit, Failure>;

/// Run AI agents compiled to WASI components, in a sandbox that grants nothing by itself.
///
/// An agent starts with no files, no network and no environment. What it may touch is said on the
/// command line or in a grants file; what it did is written by the host, not by the agent.
#[derive(Parser)]
#[command(name = "wasm-agent", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 converged or done; 1 the agent stopped without converging, or verify \
found a violation; 2 nothing could be run; 3 a limit was reached; 4 a replay diverged; 70 the host \
failed; 130 interrupted.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an agent on a task
    Run(run::Args),
    /// Print what an agent says of itself, without granting it anything
    Describe(describe::Args),
    /// Drive an agent the way AVP's conformance harness does
    Avp(avp::Args),
    /// Judge a trajectory or a run directory by the rules of AVP and of this host
    Verify(verify::Args),
    /// List, show and remove the runs that are kept
    #[command(subcommand)]
    Runs(runs::Command),
}

/// Parses the command line, does what it says, and prints what went wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    let done = match cli.command {
        Command::Run(args) => on_runtime(run::run(args)),
        Command::Describe(args) => on_runtime(describe::describe(args)),
        Command::Avp(args) => on_runtime(avp::avp(args)),
        Command::Verify(args) => verify::verify(&args),
        Command::Runs(command) => runs::runs(command),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.print().into(),
    }
}

/// One worker drives the guest; a second thread is only there when files are read or code is compiled.
fn on_runtime(work: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(anyhow::anyhow!("cannot start the runtime: {error}")))?;
    let done = runtime.block_on(work);
    // A guest's file operation that never returns must not keep the process alive.
    runtime.shutdown_background();
    done
}

/// Diagnostics of the host itself go to standard error; `WASM_AGENT_LOG` says how much of them.
fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("WASM_AGENT_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
}
