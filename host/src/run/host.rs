//! The host: loads agents, starts runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wasmtime::component::{Component, Linker};

use super::directory::{self, DirectoryError, RunDir, RunsDir};
use super::drive::{self, Job};
use super::evidence::{self, EvidenceError};
use super::loading::{LOAD_TIME, Loading, NotLoaded};
use super::outcome::Outcome;
use super::secrets::gather;
use super::supervise::Interrupt;
use super::taping::{Mode, Planned, Taped, copies};
use super::workspaces::{Workspaces, WorkspacesError};
use crate::capabilities::state::RunState;
use crate::capabilities::{bindings, link};
use crate::commission::{Commission, CommissionError};
use crate::descriptor::{Descriptor, DescriptorError};
use crate::egress::secrets::{Guard, SecretError, Vault};
use crate::egress::{Egress, EgressOptions};
use crate::engine::artifact::MAX_ARTIFACT;
use crate::engine::inspect::{self, Import, asks_models, unmet};
use crate::engine::{
    AgentKind, Allocation, Artifact, ArtifactError, Cache, Engine, EngineError, LoadError, Profile,
};
use crate::error::{Exit, Hint};
use crate::grants::recorded::RecordedError;
use crate::grants::{DirSpec, FileSpec, GrantError, Grants};
use crate::model;
use crate::preflight::Refusal;
use crate::recording::tape::TapeError;
use crate::recording::{InputError, Recording, RecordingError, Tape};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::tools::Toolbox;
use crate::trajectory::journal::{Journal, JournalError, Link};
use crate::trajectory::ledger::{FactLimits, Ledger};
use crate::trajectory::opening::Opening;
use crate::trajectory::recorder::Ids;
use crate::trajectory::{Audit, Record, Recorder};

/// Records a listener may be behind before the guest has to wait.
const LISTENER_BUFFER: usize = 1000;

/// `describe` says who an agent is; it has nothing to wait for, and next to nothing to compute: a tenth of it.
pub(super) const DESCRIBE_TIME: Duration = Duration::from_secs(20);

/// How a host is set up.
#[derive(Debug)]
pub struct HostOptions {
    /// Where compiled components are kept.
    pub cache: Cache,
    /// Largest component in bytes.
    pub max_component_bytes: u64,
    /// How guests are metered: in time, or in fuel, so that their runs can be repeated.
    pub profile: Profile,
    /// Where the values of secrets come from.
    pub vault: Vault,
    /// Longest time [`Host::load`] waits for a component to be compiled. Compiling cannot be stopped: it goes
    /// on in the background until it is done or the process ends.
    pub load_time: Duration,
}

impl Default for HostOptions {
    /// No cache, no secrets, and components of up to 128 MiB that are compiled within two minutes and metered in
    /// time.
    fn default() -> HostOptions {
        HostOptions {
            cache: Cache::disabled(),
            max_component_bytes: MAX_ARTIFACT,
            profile: Profile::Live,
            vault: Vault::default(),
            load_time: LOAD_TIME,
        }
    }
}

/// Runs agents. One host serves any number of runs at once.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    linker: Linker<RunState>,
    cache: Cache,
    loading: Loading,
    max_component_bytes: u64,
    vault: Vault,
}

/// A loaded agent: compiled, linked, and described by itself.
#[derive(Clone)]
pub struct Agent {
    pub(super) artifact: Arc<Artifact>,
    pub(super) entry: Entry,
    pub(super) descriptor: Descriptor,
}

/// How an agent is entered.
#[derive(Clone)]
pub(super) enum Entry {
    /// `describe` and `run` of our world.
    Agent(bindings::AgentPre<RunState>),
    /// `wasi:cli/run`.
    Command(wasmtime_wasi::p2::bindings::CommandPre<RunState>),
}

/// What is to be run.
pub struct RunRequest {
    /// The agent.
    pub agent: Agent,
    /// What it is asked to do.
    pub commission: Commission,
    /// What it may touch.
    pub grants: Grants,
    /// Where the account of the run is kept. Without it only the listener sees it, and the guest can
    /// store neither checkpoint nor artifacts.
    pub runs: Option<RunsDir>,
}

/// A commission of a version of AVP this host does not speak.
#[derive(Debug)]
pub struct Unsupported {
    /// The supervisor's id of the run.
    pub run_id: String,
    /// The commission as it was given.
    pub raw: Box<RawValue>,
    /// The version it has.
    pub found: String,
}

/// The account of a run that has been opened.
struct Account {
    session_id: String,
    directory: Option<PathBuf>,
    ledger: Ledger,
    events: mpsc::Receiver<Arc<Record>>,
}

impl Account {
    /// Opens the trajectory. Where that fails no guest has run, and no half-written run is left behind.
    fn or_removed<T>(
        &self,
        open: impl FnOnce(&Account) -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        open(self).inspect_err(|_| {
            if let Some(directory) = &self.directory {
                remove(directory);
            }
        })
    }

    fn handle(self, interrupt: Interrupt, task: tokio::task::JoinHandle<Outcome>) -> RunHandle {
        let Account {
            session_id,
            directory,
            events,
            ..
        } = self;
        RunHandle {
            session_id,
            directory,
            events,
            interrupt,
            task,
        }
    }
}

/// A run that has been started.
///
/// Dropping the handle interrupts nothing: the run goes on and its account is kept.
pub struct RunHandle {
    /// The host's own id of the run.
    pub session_id: String,
    /// The run directory.
    pub directory: Option<PathBuf>,
    events: mpsc::Receiver<Arc<Record>>,
    interrupt: Interrupt,
    task: tokio::task::JoinHandle<Outcome>,
}

/// A host cannot be set up.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum HostError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot link the host's interfaces: {0}")]
    Linker(String),
}

impl Hint for HostError {}

/// An agent cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum AgentError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("cannot load `{}`: compiling it takes longer than {max:?}", path.display())]
    TooLong { path: PathBuf, max: Duration },
    #[error("cannot start `{}`: it imports what this host does not offer: {}", path.display(), list(imports))]
    Imports { path: PathBuf, imports: Vec<Import> },
    #[error("cannot run `{}`: it is a tool, not an agent", path.display())]
    Tool { path: PathBuf },
    #[error("cannot start `{}`: {reason}", path.display())]
    Link { path: PathBuf, reason: String },
    #[error("cannot describe `{}`: {reason}", path.display())]
    Describe { path: PathBuf, reason: String },
    #[error("cannot use the description `{}` gives of itself: {source}", path.display())]
    Descriptor {
        path: PathBuf,
        source: DescriptorError,
    },
}

impl Hint for AgentError {
    fn hint(&self) -> Option<String> {
        match self {
            AgentError::Artifact(error) => error.hint(),
            AgentError::Load(error) => error.hint(),
            AgentError::TooLong { .. } => Some(
                "give it more time with `--load-timeout`; what is compiled is kept for the next time"
                    .to_owned(),
            ),
            AgentError::Imports { path, .. } => Some(format!(
                "`wasm-agent inspect {}` shows what each import needs",
                path.display()
            )),
            AgentError::Tool { path } => Some(format!(
                "give it to an agent: `--tool {}`",
                path.display()
            )),
            AgentError::Link { .. } => {
                Some("build it against this host's wit/, or with `wasm-agent build`".to_owned())
            }
            AgentError::Describe { .. } | AgentError::Descriptor { .. } => None,
        }
    }
}

/// A run cannot be started.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum StartError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Workspaces(#[from] WorkspacesError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error(transparent)]
    Secrets(#[from] SecretError),
    #[error("cannot start the agent: it makes requests (`{import}`), and no host is granted")]
    NoHost { import: String },
    #[error("cannot get random numbers from the operating system: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("cannot read the commission of the recording: {0}")]
    Commission(CommissionError),
    #[error("cannot record to the run directory: this run has none")]
    NoRecording,
    #[error("cannot go on with the tape: {0}")]
    Taping(String),
    #[error("cannot record this run: {what} cannot be recorded yet")]
    NotYet { what: &'static str },
    #[error("cannot repeat runs on a host that meters guests in time")]
    Profile,
    #[error("cannot make a place for what the run keeps: {0}")]
    Scratch(std::io::Error),
}

impl StartError {
    /// How a process ends that could not start a run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Input(InputError::Changed { .. }) => Exit::Diverged,
            _ => Exit::CannotRun,
        }
    }
}

impl Hint for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            StartError::Directory(error) => error.hint(),
            StartError::Journal(error) => error.hint(),
            StartError::Workspaces(error) => error.hint(),
            StartError::Evidence(error) => error.hint(),
            StartError::Input(error) => error.hint(),
            StartError::Recording(error) => error.hint(),
            StartError::Recorded(error) => error.hint(),
            StartError::Grant(error) => error.hint(),
            StartError::Commission(error) => error.hint(),
            StartError::NoRecording => Some("name a file".to_owned()),
            StartError::Profile => Some("set `HostOptions::profile` to hermetic".to_owned()),
            StartError::NotYet { .. } | StartError::Taping(_) => None,
            StartError::Random(_) | StartError::Tape(_) | StartError::Scratch(_) => None,
            StartError::Secrets(error) => error.hint(),
            StartError::NoHost { .. } => {
                Some("`--allow-host HOST` allows requests to a host, and to no other".to_owned())
            }
        }
    }
}

fn list(imports: &[Import]) -> String {
    imports
        .iter()
        .map(|import| format!("`{}`", import.item.name))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Host {
    /// A host.
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine.
    pub fn new(options: HostOptions) -> Result<Host, HostError> {
        let engine = Engine::new(options.profile, Allocation::OnDemand)?;
        let mut linker = Linker::new(engine.wasmtime());
        link(&mut linker).map_err(|error| HostError::Linker(format!("{error:#}")))?;
        Ok(Host {
            inner: Arc::new(Inner {
                engine,
                linker,
                cache: options.cache,
                loading: Loading::new(options.load_time),
                max_component_bytes: options.max_component_bytes,
                vault: options.vault,
            }),
        })
    }

    /// Loads the component at `path`, compiling it unless it has been compiled before, and lets it
    /// describe itself, with nothing granted.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn load(&self, path: &Path) -> Result<Agent, AgentError> {
        let artifact = Artifact::open(path, self.inner.max_component_bytes)?;
        self.load_artifact(artifact).await
    }

    /// Loads a component that has been read already.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn load_artifact(&self, artifact: Artifact) -> Result<Agent, AgentError> {
        let path = artifact
            .path()
            .unwrap_or(Path::new("(in memory)"))
            .to_owned();
        let artifact = Arc::new(artifact);
        let component = self.compile(&path, &artifact).await?;
        let pre = self
            .inner
            .linker
            .instantiate_pre(&component)
            .map_err(|error| link_error(&path, error))?;
        let entry = match artifact.kind() {
            AgentKind::Tool => return Err(AgentError::Tool { path }),
            AgentKind::Agent => Entry::Agent(
                bindings::AgentPre::new(pre).map_err(|error| link_error(&path, error))?,
            ),
            AgentKind::Command => Entry::Command(
                wasmtime_wasi::p2::bindings::CommandPre::new(pre)
                    .map_err(|error| link_error(&path, error))?,
            ),
        };
        let descriptor = match &entry {
            Entry::Agent(pre) => {
                let described = drive::describe(&self.inner.engine, pre, DESCRIBE_TIME).await;
                described.map_err(|reason| AgentError::Describe {
                    path: path.clone(),
                    reason,
                })?
            }
            Entry::Command(_) => Descriptor::minimal(&agent_name(&path), "0.0.0"),
        };
        descriptor
            .validate()
            .map_err(|source| AgentError::Descriptor { path, source })?;
        Ok(Agent {
            artifact,
            entry,
            descriptor,
        })
    }

    /// Loads the component at `path` as a tool.
    pub(super) async fn load_tool(
        &self,
        path: &Path,
    ) -> Result<(Engine, bindings::tool::ToolComponentPre<RunState>), AgentError> {
        let artifact = Arc::new(Artifact::open(path, self.inner.max_component_bytes)?);
        let component = self.compile(path, &artifact).await?;
        let pre = self
            .inner
            .linker
            .instantiate_pre(&component)
            .and_then(bindings::tool::ToolComponentPre::new)
            .map_err(|error| link_error(path, error))?;
        Ok((self.inner.engine.clone(), pre))
    }

    /// The compiled form of a component that imports nothing this host does not offer.
    async fn compile(
        &self,
        path: &Path,
        artifact: &Arc<Artifact>,
    ) -> Result<Component, AgentError> {
        let path = path.to_owned();
        let imports = unmet(artifact);
        if !imports.is_empty() && !down(Wall::Imports) {
            return Err(AgentError::Imports { path, imports });
        }
        let Inner {
            engine,
            cache,
            loading,
            ..
        } = &*self.inner;
        match loading.load(engine, artifact, cache).await {
            Ok(component) => Ok(component),
            Err(NotLoaded::Failed(error)) => Err(error.into()),
            Err(NotLoaded::TooLong(max)) => Err(AgentError::TooLong { path, max }),
        }
    }

    /// Starts a run. Everything that can be refused has been refused when this returns; what goes
    /// wrong later is part of the outcome.
    ///
    /// Has to be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The agent makes requests and no host is granted, a secret is not set, the run directory cannot be
    /// written, a directory granted copy-on-write cannot be copied, or the output has to match a schema that is
    /// missing or cannot be used. The copying is done before this returns.
    pub fn start(&self, request: RunRequest) -> Result<RunHandle, StartError> {
        self.start_in(Mode::Live, request)
    }

    /// Starts a run that is recorded, or has nothing but its inputs; see [`Mode`].
    ///
    /// # Errors
    ///
    /// As [`Host::start`]; and when this host meters guests in time, the recording cannot be written, or a
    /// granted directory cannot be read or has too much in it.
    pub fn start_in(&self, mode: Mode, request: RunRequest) -> Result<RunHandle, StartError> {
        let RunRequest {
            mut agent,
            commission,
            grants: granted,
            runs,
        } = request;
        if !mode.fits(self.inner.engine.profile()) {
            return Err(StartError::Profile);
        }
        let mut grants = granted.clone();
        let left_out = agent
            .artifact
            .ask()
            .filter(|_| !down(Wall::Ask))
            .map(|ask| grants.narrow(ask))
            .unwrap_or_default();
        let provider = commission
            .body()
            .provider
            .as_ref()
            .map(|provider| provider.id.clone());
        let run_id = commission.body().run_id.clone();
        if let Some(import) = inspect::makes_requests(&agent.artifact)
            && grants.network.hosts.is_empty()
            && !matches!(mode, Mode::Replay(_))
            && !down(Wall::HttpGranted)
        {
            return Err(StartError::NoHost { import });
        }
        mode.can_repeat(&agent, &grants)?;
        let output_schema = evidence::output_schema(&grants.require, &commission)?;
        // Who asks no model needs none; a replay asks nobody.
        let mut setup = if asks_models(&agent.artifact) && !matches!(mode, Mode::Replay(_)) {
            model::Setup::of(&grants, &commission)
        } else {
            Ok(model::Setup::default())
        };
        let secrets = if let Mode::Replay(_) = mode {
            gather(&Vault::default(), &Grants::default(), None, None)?
        } else {
            let body = Some(commission.body());
            gather(&self.inner.vault, &grants, body, setup.as_mut().ok())?
        };
        mode.can_hide(&secrets)?;
        let inputs = mode.inputs(&grants)?;
        let replayed = match &mode {
            Mode::Replay(recording) => {
                recording.finished()?;
                if let Entry::Command(_) = agent.entry {
                    // It has no name but that of its file.
                    let name = &recording.header.component.name;
                    agent.descriptor.agent_name.clone_from(name);
                }
                true
            }
            _ => false,
        };
        let scratch = match runs {
            None if replayed => Some(tempfile::tempdir().map_err(StartError::Scratch)?),
            _ => None,
        };
        let directory = runs.map(|runs| runs.create()).transpose()?;
        let session_id = session_id(directory.as_ref());
        let name = mode.name();
        let planned = Planned {
            agent: &agent,
            commission: &commission,
            granted: &granted,
            effective: &grants,
        };
        let opened = mode
            .prepare(
                &planned,
                inputs,
                directory.as_ref(),
                &session_id,
                secrets.guard(),
            )
            .and_then(|taped| {
                let place = directory.as_ref().map(RunDir::path);
                let place = place.or(scratch.as_ref().map(tempfile::TempDir::path));
                let workspaces = if replayed {
                    copies(place, &mut grants)?
                } else {
                    Workspaces::prepare(place, &grants.dirs)?
                };
                let models = models(&agent, &grants, &commission, setup, &taped.tape)?;
                let asked = Asked {
                    agent: &agent,
                    commission: commission.raw(),
                    run_id: &run_id,
                    provider,
                    grants: &grants,
                    mode: name,
                    guard: secrets.guard(),
                };
                let account = self.open_account(&asked, directory.as_ref(), &session_id, &taped)?;
                let opening = Opening::begin(
                    commission.clone(),
                    taped.guest_grants.clone(),
                    grants
                        .tools
                        .servers
                        .iter()
                        .map(|server| server.id.clone())
                        .collect(),
                    taped.known_as.clone(),
                    account.ledger.clone(),
                )?;
                if let Err(refusal) = &models {
                    opening.object(refusal.clone());
                }
                for subject in left_out {
                    account.ledger.audit(Audit::Narrowed { subject })?;
                }
                match agent.entry {
                    // It starts once its tool servers are reached, or not.
                    Entry::Agent(_) => opening.describe(&agent.descriptor)?,
                    Entry::Command(_) => {
                        let reason = "an agent that speaks over its standard streams cannot use it";
                        let tools = Toolbox::without(reason, &grants, commission.body());
                        opening.reached(drive::reached(&tools));
                    }
                }
                Ok((taped, workspaces, account, opening, models))
            });
        // Where that fails no guest has run, and no half-written run is left behind.
        let (taped, workspaces, account, opening, models) = opened.inspect_err(|_| {
            if let Some(directory) = &directory {
                remove(directory.path());
            }
        })?;
        let interrupt = Interrupt::default();
        let egress = EgressOptions {
            network: grants.network.clone(),
            limits: grants.limits.clone(),
            injector: secrets.injector(account.ledger.clone()),
            ..EgressOptions::default()
        };
        let job = Job {
            engine: self.inner.engine.clone(),
            agent,
            commission,
            grants: Arc::new(grants),
            workspaces,
            host: self.clone(),
            session_id: account.session_id.clone(),
            known_as: taped.known_as,
            directory: account.directory.clone(),
            scratch,
            storage: taped.storage,
            tape: taped.tape,
            seed: taped.seed,
            header: taped.header,
            recording: taped.recording,
            egress: Egress::with(account.ledger.clone(), egress),
            ledger: account.ledger.clone(),
            opening,
            // A run that was refused asks nobody.
            models: models.unwrap_or_default(),
            output_schema,
            secrets,
            interrupt: interrupt.clone(),
        };
        Ok(account.handle(interrupt, tokio::spawn(drive::drive(job))))
    }

    /// Repeats a recorded run: nothing is reached, nobody is asked, no time passes, and what the run was let
    /// change itself is copied first. The outcome says where it diverged, if it did.
    ///
    /// `agent` may be another one than was recorded: it then has to do the same and return the same.
    ///
    /// # Errors
    ///
    /// As [`Host::start_in`]; and when the recording does not go to its end, or a directory is not what it was.
    pub fn replay(
        &self,
        agent: Agent,
        recording: Arc<Recording>,
        places: &Places,
        runs: Option<RunsDir>,
    ) -> Result<RunHandle, StartError> {
        let header = &recording.header;
        let commission = Commission::parse(header.commission.get().as_bytes())
            .map_err(StartError::Commission)?;
        let grants = Grants::from_recorded(&header.grants, &places.dirs, &places.files)?;
        self.start_in(
            Mode::Replay(recording),
            RunRequest {
                agent,
                commission,
                grants,
                runs,
            },
        )
    }

    /// Keeps the account of a run that cannot be started, because its commission is of a version of AVP
    /// this host does not speak: AVP asks for a trajectory that says so (README §7).
    ///
    /// # Errors
    ///
    /// The run directory cannot be written.
    pub fn refuse(
        &self,
        agent: &Agent,
        unsupported: &Unsupported,
        grants: &Grants,
        runs: Option<RunsDir>,
    ) -> Result<RunHandle, StartError> {
        let Unsupported { run_id, raw, found } = unsupported;
        let secrets = gather(&self.inner.vault, grants, None, None)?;
        let guard = secrets.guard();
        let directory = runs.map(|runs| runs.create()).transpose()?;
        let session_id = session_id(directory.as_ref());
        let asked = Asked {
            agent,
            commission: raw,
            run_id,
            provider: None,
            grants,
            mode: None,
            guard,
        };
        let taped = Taped::live(&session_id, grants)?;
        let account = self
            .open_account(&asked, directory.as_ref(), &session_id, &taped)
            .inspect_err(|_| {
                if let Some(directory) = &directory {
                    remove(directory.path());
                }
            })?;
        let message = format!(
            "commission has schema_version `{found}`; this host reads `{}`",
            crate::commission::SCHEMA_VERSION
        );
        let refused = account.or_removed(|account| {
            Ok(Opening::refuse(
                &account.ledger,
                &agent.descriptor,
                message,
            )?)
        })?;
        let outcome = drive::not_started(&account.ledger, run_id, &account.session_id, refused);
        let outcome = Outcome {
            directory: account.directory.clone(),
            ..outcome
        };
        let ledger = account.ledger.clone();
        let task = tokio::spawn(async move {
            ledger.deliver().await;
            outcome
        });
        Ok(account.handle(Interrupt::default(), task))
    }

    fn open_account(
        &self,
        asked: &Asked<'_>,
        directory: Option<&RunDir>,
        session_id: &str,
        taped: &Taped,
    ) -> Result<Account, StartError> {
        let mut run_json = self.request_json(asked, session_id, taped);
        if let Some(guard) = asked.guard
            && let Some(redacted) = guard.redact_value(&run_json)
        {
            // The commission itself has a secret in it.
            run_json = redacted.rest;
        }
        let journal = match directory {
            Some(dir) => {
                let bytes = dir.write_request(&run_json)?;
                Journal::create(Link::of(&bytes), &dir.events())?
            }
            None => Journal::in_memory(Link::of(run_json.to_string().as_bytes())),
        };
        let journal = journal.guarded(asked.guard.cloned());
        let Asked {
            run_id,
            provider,
            grants,
            ..
        } = asked;
        let ids = Ids::seeded(taped.seed.bytes("trajectory ids"));
        let recorder = Recorder::new(ids, run_id, provider.clone());
        let limits = FactLimits {
            facts: grants.limits.events,
            fact_bytes: grants.limits.event_bytes,
            total_bytes: grants.limits.trajectory_bytes,
        };
        let (sender, events) = mpsc::channel(LISTENER_BUFFER);
        let ledger = if taped.tape.is_off() {
            Ledger::new(recorder, journal, limits, Some(sender))
        } else {
            let clock = Arc::new(taped.tape.clone());
            let ledger = Ledger::with_clock(recorder, journal, limits, Some(sender), clock);
            ledger.digest_trajectory();
            ledger
        };
        Ok(Account {
            session_id: session_id.to_owned(),
            directory: directory.map(|dir| dir.path().to_owned()),
            ledger,
            events,
        })
    }

    fn request_json(&self, asked: &Asked<'_>, session_id: &str, taped: &Taped) -> Value {
        let Asked {
            agent,
            commission,
            grants,
            mode,
            ..
        } = asked;
        let mut json = json!({
            "format": directory::FORMAT,
            "session_id": session_id,
            "started": crate::trajectory::event::Rfc3339(jiff::Timestamp::now()).to_string(),
            "commission": commission,
            "agent": {
                "name": agent.descriptor.agent_name,
                "version": agent.descriptor.agent_version,
                "component": agent.artifact.path(),
                "digest": agent.artifact.digest().to_string(),
                "bytes": agent.artifact.bytes().len(),
            },
            "grants": grants.to_host_json(),
            "host": {
                "version": env!("CARGO_PKG_VERSION"),
                "profile": format!("{:?}", self.inner.engine.profile()).to_lowercase(),
            },
        });
        if let (Some(mode), Some(map)) = (mode, json.as_object_mut()) {
            // The trajectory of a run that can be repeated has the session id of its recording.
            let taping = json!({ "mode": mode, "session_id": taped.known_as });
            map.insert("taping".to_owned(), taping);
        }
        json
    }
}

/// The name of a run: its directory's, if it has one.
fn session_id(directory: Option<&RunDir>) -> String {
    directory.map_or_else(directory::new_session_id, |dir| dir.session_id().to_owned())
}

/// The models of a run, or why the agent cannot do its work.
fn models(
    agent: &Agent,
    grants: &Grants,
    commission: &Commission,
    setup: Result<model::Setup, Refusal>,
    tape: &Tape,
) -> Result<Result<model::Setup, Refusal>, StartError> {
    if !asks_models(&agent.artifact) {
        return Ok(Ok(model::Setup::default()));
    }
    let mut read = None;
    let refusal: Option<Refusal> = tape
        .observe(
            "model.setup",
            || Value::Null,
            || {
                let refusal = setup.as_ref().err().cloned();
                read = setup.ok();
                Ok(refusal)
            },
        )
        .map_err(|error| StartError::Taping(format!("{error:#}")))?;
    Ok(match refusal {
        Some(refusal) => Err(refusal),
        None => Ok(read.unwrap_or_else(|| model::Setup::recorded(grants, commission))),
    })
}

/// What an account begins with.
struct Asked<'a> {
    agent: &'a Agent,
    commission: &'a RawValue,
    run_id: &'a str,
    provider: Option<String>,
    grants: &'a Grants,
    mode: Option<&'static str>,
    guard: Option<&'a Arc<Guard>>,
}

/// Where on this host is what a recorded run had: those that say nothing are where they were.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Directories, by their path in the guest.
    pub dirs: Vec<DirSpec>,
    /// Single files, by theirs.
    pub files: Vec<FileSpec>,
}

impl Agent {
    /// What the agent says of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The component.
    #[must_use]
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

impl RunHandle {
    /// The next record of the run, in order; nothing once the run has ended. A caller that stops
    /// reading slows the guest down after a thousand records.
    pub async fn next(&mut self) -> Option<Arc<Record>> {
        self.events.recv().await
    }

    /// A handle to interrupt the run with, from anywhere.
    #[must_use]
    pub fn interrupter(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Waits for the end of the run. Records that have not been read are not waited for.
    pub async fn outcome(self) -> Outcome {
        drop(self.events);
        match self.task.await {
            Ok(outcome) => outcome,
            Err(error) => drive::lost(&self.session_id, self.directory, &error),
        }
    }
}

/// Removes the directory of a run that was not started.
fn remove(directory: &Path) {
    // The error that kept the run from starting is the one to tell.
    let _ = std::fs::remove_dir_all(directory);
}

fn link_error(path: &Path, error: impl std::fmt::Display) -> AgentError {
    AgentError::Link {
        path: path.to_owned(),
        reason: format!("{error:#}"),
    }
}

/// A name for an agent that does not say its own.
fn agent_name(path: &Path) -> String {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .collect();
    if name.is_empty() {
        "agent".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests;
