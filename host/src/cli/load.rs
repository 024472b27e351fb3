//! Where an agent comes from: a component file, or a project that is built first.

use std::io::Write;
use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};
use wasm_agent::engine::Cache;
use wasm_agent::engine::artifact::{Artifact, MAX_ARTIFACT};
use wasm_agent::project::build::{BuildEvent, build};
use wasm_agent::project::{AgentSource, resolve_agent};
use wasm_agent::run::{Agent, Host, HostOptions, RunsDir};

use super::failure::Failure;

/// Options of the host itself.
#[derive(clap::Args)]
#[command(next_help_heading = "Host")]
pub(super) struct HostFlags {
    /// Keep runs in this folder instead of the platform's data directory
    #[arg(long, value_name = "DIR", env = "WASM_AGENT_RUNS_DIR")]
    pub(super) runs_dir: Option<PathBuf>,

    /// Keep compiled components in this folder instead of the platform's cache directory
    #[arg(long, value_name = "DIR", env = "WASM_AGENT_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
}

impl HostFlags {
    /// The host these flags ask for.
    pub(super) fn host(&self) -> Result<Host, Failure> {
        let dir = self.cache_dir.clone().or_else(|| {
            let strategy = choose_base_strategy().ok()?;
            Some(strategy.cache_dir().join("wasm-agent"))
        });
        let cache = dir.map_or_else(Cache::disabled, Cache::open_or_disabled);
        Ok(Host::new(HostOptions {
            cache,
            ..HostOptions::default()
        })?)
    }

    /// The folder runs are kept in.
    pub(super) fn runs(&self) -> Result<RunsDir, Failure> {
        match &self.runs_dir {
            Some(dir) => Ok(RunsDir::at(dir)),
            None => Ok(RunsDir::platform()?),
        }
    }
}

/// The component `agent` names, built first when it is a project.
pub(super) fn artifact(agent: &Path) -> Result<Artifact, Failure> {
    match resolve_agent(agent)? {
        AgentSource::File(path) => Ok(Artifact::open(path, MAX_ARTIFACT)?),
        AgentSource::Project(dir) => Ok(build(&dir, &mut show_build_event)?.artifact),
    }
}

/// Loads the agent that `agent` names.
pub(super) async fn agent(host: &Host, agent: &Path) -> Result<Agent, Failure> {
    Ok(host.load_artifact(artifact(agent)?).await?)
}

/// Says on standard error what a build is doing.
pub(super) fn show_build_event(event: BuildEvent) {
    let mut stderr = std::io::stderr().lock();
    let _ = match event {
        BuildEvent::AddingTarget { target } => {
            writeln!(stderr, "adding the target {target} with rustup")
        }
        BuildEvent::Compiled { name } => writeln!(stderr, "compiled {name}"),
        _ => Ok(()),
    };
}
