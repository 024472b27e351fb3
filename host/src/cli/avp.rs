//! `wasm-agent avp`: the argv shape AVP's harness drives.
//!
//! The harness knows a command prefix and appends `ping`, `describe` or `run` with their flags; so the
//! agent and its grants come first. Exit code 0 means that the trajectory was closed, however the run
//! ended.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use wasm_agent::engine::Profile;
use wasm_agent::error::Exit;
use wasm_agent::grants::Grants;
use wasm_agent::run::Ended;
use wasm_agent::run::Mode;

use super::Done;
use super::commission::{Asked, file, read, read_bytes};
use super::failure::Failure;
use super::grants::GrantFlags;
use super::live::Live;
use super::load::{AgentArg, HostFlags};
use super::out::print;
use super::run::{Sink, follow};
use super::usage;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    agent: AgentArg,

    #[command(flatten)]
    grants: GrantFlags,

    #[command(flatten)]
    host: HostFlags,

    /// What the harness appends: `ping`, `describe` or `run`, with its flags
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    call: Vec<OsString>,
}

/// What AVP's harness appends.
#[derive(Parser)]
#[command(no_binary_name = true, name = "avp")]
enum Call {
    /// Write `{"type":"pong"}`
    Ping {
        /// Where to write it
        #[arg(long)]
        out: PathBuf,
    },
    /// Write the agent's descriptor
    Describe {
        /// Where to write it; standard output when left out
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Run a commission
    Run {
        /// The commission: a file, or JSON
        #[arg(long, value_name = "FILE|JSON")]
        commission: String,
        /// Seeds the prompts the commission leaves out: a file, or JSON
        #[arg(long, value_name = "FILE|JSON")]
        built_in: Option<String>,
        /// Where to write the trajectory
        #[arg(long)]
        out: PathBuf,
    },
}

pub(super) async fn avp(args: Args) -> Done {
    let call = match Call::try_parse_from(&args.call) {
        Ok(call) => call,
        Err(error) => return usage::explain(&error),
    };
    match call {
        Call::Ping { out } => {
            write(&out, "{\"type\":\"pong\"}\n")?;
            Ok(Exit::Success)
        }
        Call::Describe { out } => {
            let host = args.host.host(Profile::Live)?;
            let (agent, _) = args.agent.load(&host, &Grants::default()).await?;
            let json = serde_json::to_string(agent.descriptor())
                .map_err(|error| Failure::new(error.into()))?;
            match out {
                Some(out) => write(&out, &format!("{json}\n"))?,
                None => print(&json)?,
            }
            Ok(Exit::Success)
        }
        Call::Run {
            commission,
            built_in,
            out,
        } => {
            let mut grants = args.grants.resolve()?;
            let documents = [Some(&commission), built_in.as_ref()];
            for document in documents.into_iter().flatten().filter_map(|it| file(it)) {
                grants.inputs.add(document);
            }
            grants.inputs.add(&out);
            let mut asked = read(&commission)?;
            if let (Asked::Commission(commission), Some(built_in)) = (&mut asked, built_in) {
                let built_in = read_bytes(&built_in, "the built-in fixture")?;
                **commission = commission.with_built_in(&built_in)?;
            }
            let host = args.host.host(Profile::Live)?;
            let (agent, signals) = args.agent.load(&host, &grants).await?;
            let sink = Sink::open(&out.to_string_lossy())?;
            let live = Live::new(&agent.descriptor().agent_name, false);
            let runs = args.host.runs()?;
            signals.hold();
            let handle = asked.start(&host, agent, grants, runs, Mode::Live)?;
            let outcome = follow(handle, signals, Some(sink), live).await?;
            Ok(match outcome.ended {
                Ended::HostFault { .. } => Exit::HostFault,
                Ended::Interrupted => Exit::Interrupted,
                _ => Exit::Success,
            })
        }
    }
}

fn write(path: &PathBuf, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .with_context(|| format!("cannot write `{}`", path.display()))
        .map_err(Failure::new)
}
