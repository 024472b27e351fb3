//! What the agent is asked to do: a task, a commission, or a commission with a task in it.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow};
use wasm_agent::commission::{Commission, CommissionError};
use wasm_agent::descriptor::Descriptor;
use wasm_agent::grants::Grants;
use wasm_agent::run::{Agent, Host, Mode, RunHandle, RunRequest, RunsDir, Unsupported};

use super::failure::Failure;

/// The model of a commission made from a task, for an agent that uses none. AVP requires a model.
const NO_MODEL: &str = "none/none";

#[derive(clap::Args)]
#[command(next_help_heading = "Commission")]
pub(super) struct CommissionFlags {
    /// What the agent is to do; takes the place of `{input}` of the commission's prompt if there is one
    #[arg(help_heading = None::<&str>)]
    task: Option<String>,

    /// The AVP commission: a file, JSON, or `-` for standard input
    #[arg(long, value_name = "FILE|JSON|-")]
    commission: Option<String>,

    /// Use this model, as ORIGIN/MODEL, whatever the commission or the agent says
    #[arg(long, value_name = "ORIGIN/MODEL")]
    model: Option<String>,
}

impl CommissionFlags {
    /// The model the operator names, which is thereby granted.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The file the commission is in.
    pub(super) fn file(&self) -> Option<&Path> {
        self.commission.as_deref().and_then(file)
    }

    /// The commission for the agent `descriptor` describes. One made from a task has the id `run_id`, or one
    /// nobody has used.
    pub(super) fn resolve(
        &self,
        descriptor: &Descriptor,
        run_id: Option<String>,
    ) -> Result<Asked, Failure> {
        let Some(source) = &self.commission else {
            let run_id = run_id.map_or_else(new_run_id, Ok)?;
            let model = self
                .model
                .as_deref()
                .or(descriptor.default_model.as_deref());
            let task = self.task.as_deref();
            let commission = Commission::for_task(&run_id, model.unwrap_or(NO_MODEL), task)?;
            return Ok(Asked::Commission(Box::new(commission)));
        };
        let mut commission = match read(source)? {
            Asked::Commission(commission) => *commission,
            unsupported @ Asked::Unsupported(_) => return Ok(unsupported),
        };
        if let Some(task) = &self.task {
            commission = commission.with_task(task)?;
        }
        if let Some(model) = &self.model {
            commission = commission.with_model(model)?;
        }
        Ok(Asked::Commission(Box::new(commission)))
    }
}

/// What was asked for.
pub(super) enum Asked {
    /// A commission this host reads.
    Commission(Box<Commission>),
    /// One of another version of AVP, which gets a trajectory that says so.
    Unsupported(Unsupported),
}

impl Asked {
    /// Starts the run, or opens and closes the account of one that cannot be started.
    pub(super) fn start(
        self,
        host: &Host,
        agent: Agent,
        grants: Grants,
        runs: RunsDir,
        mode: Mode,
    ) -> Result<RunHandle, Failure> {
        Ok(match self {
            Asked::Commission(commission) => {
                let commission = *commission;
                let request = RunRequest {
                    agent,
                    commission,
                    grants,
                    runs: Some(runs),
                };
                host.start_in(mode, request)?
            }
            Asked::Unsupported(unsupported) => {
                host.refuse(&agent, &unsupported, &grants, Some(&runs))?
            }
        })
    }
}

/// Reads a commission from a file, from standard input, or from the argument itself.
pub(super) fn read(source: &str) -> Result<Asked, Failure> {
    match Commission::parse(&read_bytes(source, "the commission")?) {
        Ok(commission) => Ok(Asked::Commission(Box::new(commission))),
        Err(CommissionError::UnsupportedVersion { found, run_id, raw }) => {
            let run_id = run_id.map_or_else(new_run_id, Ok)?;
            Ok(Asked::Unsupported(Unsupported { run_id, raw, found }))
        }
        Err(error) => Err(error.into()),
    }
}

/// The file a document is in, where [`read_bytes`] would read one.
pub(super) fn file(source: &str) -> Option<&Path> {
    let is_file = source != "-" && !source.trim_start().starts_with(['{', '[']);
    is_file.then(|| Path::new(source))
}

/// Reads a document the way AVP's command line does: inline JSON, `-`, or a path.
pub(super) fn read_bytes(source: &str, what: &str) -> Result<Vec<u8>, Failure> {
    if source.trim_start().starts_with(['{', '[']) {
        return Ok(source.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    let limit = wasm_agent::commission::MAX_BYTES as u64 + 1;
    let read = if source == "-" {
        std::io::stdin().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(Path::new(source))
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {what} `{source}`"))
        .map_err(|error| {
            Failure::with_hint(
                error,
                "name a file, write JSON that starts with `{`, or `-` for standard input",
            )
        })?;
    Ok(bytes)
}

/// A run id nobody has used: 64 random bits.
fn new_run_id() -> Result<String, Failure> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(anyhow!("cannot get random numbers: {error}")))?;
    Ok(format!("run-{:016x}", u64::from_be_bytes(random)))
}
