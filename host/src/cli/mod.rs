//! The command line: parse, resolve, call the library, print. No logic lives here.

mod apply;
mod avp;
mod commission;
mod consent;
mod describe;
mod failure;
mod generate;
mod grants;
mod help;
mod inspect;
mod key;
mod limits;
mod live;
mod load;
mod onward;
mod out;
mod policy;
mod project;
mod recording;
mod replay;
mod run;
mod runs;
mod secret;
mod selftest;
mod sign;
mod signals;
mod summary;
mod taping;
mod text;
mod timeline;
mod usage;
mod verify;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use wasm_agent::egress::secrets::logs::without_secrets;
use wasm_agent::error::Exit;

use self::failure::Failure;
use self::help::EXIT_CODES;

type Done = Result<Exit, Failure>;

/// Run AI agents compiled to WASI components, in a sandbox that grants nothing by itself
#[derive(Parser)]
#[command(name = "wasm-agent", version, max_term_width = 100)]
struct Cli {
    /// Use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    #[arg(
        hide_possible_values = true,
        hide_default_value = true,
        help_heading = "Global options"
    )]
    color: clap::ColorChoice,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run an agent on a task
    Run(Box<run::Args>),
    /// Repeat a recorded run, without network, keys or waiting
    Replay(replay::Args),
    /// Repeat a recorded run up to a call, and go on from there with something changed
    Fork(onward::Args),
    /// List, show and remove the runs that are kept
    #[command(subcommand)]
    Runs(runs::Command),
    /// Show what is in a recording, or how two of them differ
    #[command(subcommand)]
    Recording(recording::Command),
    /// Apply or discard what a run changed in a directory granted copy-on-write
    Apply(apply::Args),
    /// Suggest grants from what runs have used, or check grants against it
    #[command(subcommand)]
    Policy(policy::Command),
    /// Judge a trajectory or a run directory by the rules of AVP and of this host
    Verify(verify::Args),
    /// Sign the account of a run, for others to verify
    Sign(sign::SignArgs),
    /// Make keys to sign runs with
    #[command(subcommand)]
    Key(key::Command),
    /// Show what an agent imports and asks for, and what grants would let it touch
    Inspect(inspect::Args),
    /// Print what an agent says of itself, without granting it anything
    Describe(describe::Args),
    /// Keep secrets that the host puts on the wire and no agent sees
    #[command(subcommand)]
    Secret(secret::Command),
    /// Explain what a run may use up, and the defaults
    Limits(limits::Args),
    /// Make an agent project that builds and runs at once
    New(project::NewArgs),
    /// Build an agent project into a component that carries its ask
    Build(project::BuildArgs),
    /// Try every known way out of the sandbox against this binary, on this machine
    Selftest(selftest::Args),
    /// Drive an agent the way AVP's conformance harness does
    Avp(avp::Args),
    /// Print the JSON Schema of a file format
    Schema(generate::SchemaArgs),
    /// Print a completion script for a shell
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands
    Man(generate::ManArgs),
}

/// The definitions everything is made from: parsing, help, completions, manual pages.
fn command() -> clap::Command {
    help::arranged(Cli::command())
}

/// Parses the command line, does what it says, and prints what went wrong.
pub(crate) fn main() -> ExitCode {
    let parse = |command: clap::Command| {
        let matches = command.try_get_matches()?;
        Cli::from_arg_matches(&matches)
    };
    // Arranging the help builds every command, which takes as long as a short run. So it is done only for a command
    // line that asks for help or cannot be read; every other one is parsed the same without it.
    let cli = parse(Cli::command()).or_else(|_| parse(command()));
    let done = match cli {
        Ok(cli) => {
            use_colors(cli.color);
            start_logging(match &cli.command {
                // It provokes whatever there is to warn of.
                Command::Selftest(_) => "error",
                _ => "warn",
            });
            execute(cli.command)
        }
        Err(error) => usage::explain(&error),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.print().into(),
    }
}

fn execute(command: Command) -> Done {
    match command {
        Command::Run(args) => on_runtime(run::run(*args)),
        Command::Replay(args) => on_runtime(replay::replay(args)),
        Command::Fork(args) => on_runtime(onward::fork(args)),
        Command::Recording(command) => recording::recording(&command),
        Command::Runs(command) => runs::runs(&command),
        Command::Apply(args) => apply::apply(&args),
        Command::Policy(command) => policy::policy(&command),
        Command::Verify(args) => on_runtime(verify::verify(args)),
        Command::Sign(args) => sign::sign(&args),
        Command::Key(command) => key::key(&command),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Describe(args) => on_runtime(describe::describe(args)),
        Command::Secret(command) => secret::secret(&command),
        Command::Limits(args) => limits::limits(&args),
        Command::New(args) => project::new(&args),
        Command::Build(args) => project::build(&args),
        Command::Selftest(args) => selftest::selftest(&args),
        Command::Avp(args) => on_runtime(avp::avp(args)),
        Command::Schema(args) => generate::schema(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args),
    }
}

/// Left to itself, each stream finds out: a terminal, NO_COLOR, CLICOLOR, TERM=dumb.
fn use_colors(choice: clap::ColorChoice) {
    match choice {
        clap::ColorChoice::Auto => {}
        clap::ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        clap::ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
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

/// Standard error without the secrets of a run. An event comes in one piece.
struct Log;

impl std::io::Write for Log {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let mut stderr = std::io::stderr().lock();
        match without_secrets(event) {
            Some(rest) => stderr.write_all(&rest)?,
            None => stderr.write_all(event)?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Diagnostics of the host itself go to standard error; `WASM_AGENT_LOG` says how much of them.
fn start_logging(default: &str) {
    use tracing_subscriber::EnvFilter;
    // What rmcp finds odd about a server stands in the account, where it matters, or does not matter.
    let filter = EnvFilter::try_from_env("WASM_AGENT_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{default},rmcp=off")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        // Colours are for people; a file or a pipe would keep the codes.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}
