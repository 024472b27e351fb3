//! Where an agent comes from: a component file, or a project that is built first.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcetera::{BaseStrategy, choose_base_strategy};
use wasm_agent::egress::secrets::{SecretStore, Vault};
use wasm_agent::engine::artifact::{Artifact, MAX_ARTIFACT};
use wasm_agent::engine::{Cache, Profile};
use wasm_agent::grants::Grants;
use wasm_agent::grants::limits::Unit;
use wasm_agent::project::build::{BuildEvent, Built, build};
use wasm_agent::project::{AgentSource, find_built, resolve_agent};
use wasm_agent::run::{Agent, Host, HostOptions, RunsDir};

use super::failure::Failure;
use super::out::note;
use super::secret::StoreFlags;
use super::signals::Signals;
use super::text::{duration, plural, printable};

/// Options of the host itself.
#[derive(clap::Args)]
#[command(next_help_heading = "Host")]
pub(super) struct HostFlags {
    #[command(flatten)]
    runs: RunsFlags,

    #[command(flatten)]
    secrets: StoreFlags,

    /// Keep compiled components in this folder instead of the platform's cache directory
    #[arg(
        long,
        value_name = "DIR",
        env = "WASM_AGENT_CACHE_DIR",
        hide_env_values = true
    )]
    cache_dir: Option<PathBuf>,

    /// Longest time to wait for a component to be compiled, like 30s or 5m [default: 2m]
    #[arg(
        long,
        value_name = "TIME",
        value_parser = time,
        env = "WASM_AGENT_LOAD_TIMEOUT",
        hide_env_values = true
    )]
    load_timeout: Option<Duration>,

    #[arg(skip)]
    signing_key: Option<PathBuf>,
}

/// The platform's folder for compiled components.
fn platform_cache() -> Option<PathBuf> {
    let strategy = choose_base_strategy().ok()?;
    Some(strategy.cache_dir().join("wasm-agent"))
}

fn time(text: &str) -> Result<Duration, &'static str> {
    Unit::Duration.parse(text).map(Duration::from_millis)
}

impl HostFlags {
    /// The host these flags ask for, for guests that are metered like this.
    pub(super) fn host(&self, profile: Profile) -> Result<Host, Failure> {
        let dir = self.cache_dir.clone().or_else(platform_cache);
        let cache = dir.map_or_else(Cache::disabled, Cache::open_or_disabled);
        let defaults = HostOptions::default();
        Ok(Host::new(HostOptions {
            cache,
            profile,
            vault: self.vault(),
            places: self.places(),
            load_time: self.load_timeout.unwrap_or(defaults.load_time),
            ..defaults
        })?)
    }

    /// Where the host keeps its own data, in this run or in others: where it does by default, and where these flags say.
    fn places(&self) -> Vec<PathBuf> {
        let places = [
            RunsDir::platform().ok().map(|runs| runs.path().to_owned()),
            self.runs().ok().map(|runs| runs.path().to_owned()),
            SecretStore::platform()
                .ok()
                .map(|store| store.path().to_owned()),
            platform_cache(),
            self.cache_dir.clone(),
            self.signing_key.clone(),
        ];
        places.into_iter().flatten().collect()
    }

    /// The same flags for a host that has this key to sign with, which is for no guest either.
    pub(super) fn signing_with(&mut self, key: Option<&Path>) {
        self.signing_key = key.map(Path::to_owned);
    }

    /// Where values of secrets come from. Without a home directory, from the environment alone.
    fn vault(&self) -> Vault {
        match self.secrets.store() {
            Ok(store) => Vault::of_user(store),
            Err(_) => Vault::of_environment(),
        }
    }

    /// Where runs are kept, to find one in.
    pub(super) fn runs_flags(&self) -> &RunsFlags {
        &self.runs
    }

    /// The folder runs are kept in.
    pub(super) fn runs(&self) -> Result<RunsDir, Failure> {
        self.runs.dir()
    }
}

/// Where runs are kept.
#[derive(clap::Args)]
#[command(next_help_heading = "Host")]
pub(super) struct RunsFlags {
    /// Keep runs in this folder instead of the platform's data directory
    #[arg(
        long,
        value_name = "DIR",
        env = "WASM_AGENT_RUNS_DIR",
        hide_env_values = true
    )]
    runs_dir: Option<PathBuf>,
}

impl RunsFlags {
    /// The folder.
    pub(super) fn dir(&self) -> Result<RunsDir, Failure> {
        match &self.runs_dir {
            Some(dir) => Ok(RunsDir::at(dir)),
            None => Ok(RunsDir::platform()?),
        }
    }
}

/// A person who waits wonders by then what for.
const A_WHILE: Duration = Duration::from_secs(1);

/// The agent of a command.
#[derive(clap::Args)]
pub(super) struct AgentArg {
    /// A component (.wasm), or the folder of an agent project, which is built first
    #[arg(value_name = "AGENT")]
    agent: PathBuf,
}

impl AgentArg {
    /// As [`load`].
    pub(super) async fn load(
        &self,
        host: &Host,
        grants: &Grants,
    ) -> Result<(Agent, Signals), Failure> {
        load(&self.agent, host, grants).await
    }
}

/// The agent of a command that only looks at it: nothing is built unless that is asked for, because building runs what
/// the project says.
#[derive(clap::Args)]
pub(super) struct LookArg {
    /// A component (.wasm), or the folder of an agent project that has been built
    #[arg(value_name = "AGENT")]
    agent: PathBuf,

    /// Build the project first, which runs its build scripts outside the sandbox
    #[arg(long)]
    build: bool,
}

impl LookArg {
    /// Its component.
    pub(super) fn artifact(&self) -> Result<Artifact, Failure> {
        if self.build {
            return artifact_at(&self.agent);
        }
        let dir = match resolve_agent(&self.agent)? {
            AgentSource::File(path) => return Ok(Artifact::open(path, MAX_ARTIFACT)?),
            AgentSource::Project(dir) => dir,
        };
        let found = find_built(&dir)?;
        if let Some(changed) = found.changed {
            note(&format!(
                "note: `{}` was changed after it was built; `--build` builds it again",
                printable(&changed.display().to_string())
            ));
        }
        Ok(found.artifact)
    }

    /// As [`load`].
    pub(super) async fn load(&self, host: &Host) -> Result<(Agent, Signals), Failure> {
        let artifact = self.artifact()?;
        load_artifact(&self.agent, artifact, host).await
    }
}

/// The agent at a path, ready to run, and the signals from here on: the first one ends the process until there
/// is a run it can end. One that the grants are not for is not even asked who it is.
pub(super) async fn load(
    path: &Path,
    host: &Host,
    grants: &Grants,
) -> Result<(Agent, Signals), Failure> {
    let artifact = artifact_at(path)?;
    grants.check_component(artifact.digest())?;
    load_artifact(path, artifact, host).await
}

async fn load_artifact(
    path: &Path,
    artifact: Artifact,
    host: &Host,
) -> Result<(Agent, Signals), Failure> {
    let signals = Signals::catch();
    let mut loading = std::pin::pin!(host.load_artifact(artifact));
    let agent = tokio::select! {
        biased;
        loaded = &mut loading => loaded?,
        () = tokio::time::sleep(A_WHILE), if std::io::stderr().is_terminal() => {
            note(&format!("loading {}", path.display()));
            loading.await?
        }
    };
    Ok((agent, signals))
}

/// The component at a path, built first when there is a project.
pub(super) fn artifact_at(path: &Path) -> Result<Artifact, Failure> {
    match resolve_agent(path)? {
        AgentSource::File(path) => Ok(Artifact::open(path, MAX_ARTIFACT)?),
        AgentSource::Project(dir) => Ok(project(&dir)?.artifact),
    }
}

/// Builds a project, saying on standard error what takes a while.
pub(super) fn project(dir: &Path) -> Result<Built, Failure> {
    let mut compiled = 0;
    let started = Instant::now();
    let built = build(dir, &mut |event| match event {
        BuildEvent::AddingTarget { target } => {
            note(&format!(
                "adding the target {target} to the toolchain with rustup"
            ));
        }
        BuildEvent::Compiled { .. } => {
            if compiled == 0 {
                note(&format!("building {}", dir.display()));
            }
            compiled += 1;
        }
        _ => {}
    })?;
    if compiled > 0 {
        let (crates, took) = (plural(compiled, "crate"), duration(started.elapsed()));
        note(&format!(
            "built {}: {crates} compiled in {took}",
            built.name
        ));
    }
    Ok(built)
}
