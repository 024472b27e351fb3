//! Starting runs: everything that can be refused is refused before there is a guest.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::account::{Account, Asked, RunHandle};
use super::agent::{Agent, Entry};
use super::directory::{self, DirectoryError, RunDir, RunsDir};
use super::drive::{self, Job};
use super::equip;
use super::evidence::{self, EvidenceError};
use super::host::Host;
use super::kept;
use super::outcome::Outcome;
use super::secrets::gather;
use super::supervise::Interrupt;
use super::taping::{Mode, Planned, Taped, copies, copy_files};
use super::workspaces::{Workspaces, WorkspacesError};
use crate::commission::{Commission, CommissionError};
use crate::egress::secrets::{SecretError, Secrets};
use crate::egress::{Egress, EgressOptions};
use crate::engine::inspect::{self, asks_models};
use crate::error::{Exit, Hint};
use crate::grants::dir::DEFAULT_GUEST;
use crate::grants::recorded::RecordedError;
use crate::grants::{DirSpec, FileGrant, FileSpec, GrantError, Grants, Limits, Reach};
use crate::model;
use crate::preflight::Refusal;
use crate::recording::tape::TapeError;
use crate::recording::{InputError, OnwardError, Recording, RecordingError, Tape};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::tools::Toolbox;
use crate::trajectory::Audit;
use crate::trajectory::journal::JournalError;
use crate::trajectory::opening::Opening;

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

/// Where on this host is what a recorded run had: those that say nothing are where they were.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Directories, by their path in the guest.
    pub dirs: Vec<DirSpec>,
    /// Single files, by theirs.
    pub files: Vec<FileSpec>,
    /// What a run may use at most, whatever a recording from elsewhere says.
    pub limits: Limits,
}

impl Places {
    /// Whether they say where it is that the guest has at `path`.
    pub(super) fn say_of(&self, path: &str) -> bool {
        let dirs = self.dirs.iter().map(|dir| &dir.guest);
        let mut all = dirs.chain(self.files.iter().map(|file| &file.guest));
        all.any(|guest| guest.as_deref().unwrap_or(DEFAULT_GUEST) == path)
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
    Journal(JournalError),
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
    #[error(transparent)]
    Onward(#[from] OnwardError),
    #[error("cannot grant `{}`: the host keeps its own data there", path.display())]
    Withheld { path: PathBuf },
    #[error("cannot go on from run `{run}`: it was not recorded to its directory")]
    NotRecorded { run: String },
    #[error("cannot resume run `{run}`: it has come to its end ({how})")]
    Done { run: String, how: String },
    #[error("cannot resume run `{run}`: run `{by}` goes on from it already")]
    GoneOnWith { run: String, by: String },
    #[error("cannot run again what `{recording}` was: it does not say itself where `{path}` is")]
    Unplaced { recording: String, path: String },
    #[error("cannot go on: {message}")]
    Refused {
        message: String,
        remedy: Option<String>,
    },
    #[error("cannot record to the run directory: this run has none")]
    NoRecording,
    #[error("cannot go on with the tape: {0}")]
    Taping(String),
    #[error(
        "cannot record this run: a secret is in its commission, its arguments, its variables or those of its tool \
         servers, or the names of its files"
    )]
    SecretGiven,
    #[error("cannot start a hermetic run: it has nothing but its inputs, and {what} are granted")]
    Outside { what: &'static str },
    #[error("cannot repeat runs on a host that meters guests in time")]
    Profile,
    #[error("cannot make a place for what the run keeps: {0}")]
    Scratch(std::io::Error),
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> StartError {
        error
            .tape()
            .map_or_else(StartError::Journal, StartError::Tape)
    }
}

impl StartError {
    /// How a process ends that could not start a run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Input(InputError::Changed { .. })
            | StartError::Tape(TapeError::Diverged(_)) => Exit::Diverged,
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
            StartError::Onward(error) => error.hint(),
            StartError::NotRecorded { .. } => Some(
                "`run --record` records a run, so that it can be resumed and forked".to_owned(),
            ),
            StartError::Done { run, .. } => Some(format!(
                "`wasm-agent fork {run} --at CALL` goes on from one of its calls"
            )),
            StartError::GoneOnWith { by, .. } => {
                Some(format!("`wasm-agent run --resume {by}` goes on with that one"))
            }
            StartError::Unplaced { path, .. } => {
                Some(format!("grant it: `--dir HOST::{path}`, or `--file HOST::{path}`"))
            }
            StartError::Refused { remedy, .. } => remedy.clone(),
            StartError::NoRecording => Some("name a file".to_owned()),
            StartError::Profile => Some("set `HostOptions::profile` to hermetic".to_owned()),
            StartError::Outside { .. } => Some(
                "`--record` keeps what they answer, and a replay gives the same answers without them"
                    .to_owned(),
            ),
            StartError::SecretGiven => Some(
                "what the agent is given stands in the recording; bind the secret to a host with `--secret` \
                 instead"
                    .to_owned(),
            ),
            StartError::Withheld { .. } => Some(
                "secrets, runs and compiled code are for no agent; copy what it may see to another directory".to_owned(),
            ),
            StartError::Taping(_) => None,
            StartError::Tape(TapeError::Diverged(divergence)) => divergence.hint.clone(),
            StartError::Random(_) | StartError::Tape(_) | StartError::Scratch(_) => None,
            StartError::Secrets(error) => error.hint(),
            StartError::NoHost { .. } => {
                Some("`--allow-host HOST` allows requests to a host, and to no other".to_owned())
            }
        }
    }
}

impl Host {
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
        self.begin(mode, request).map(|started| started.handle)
    }

    /// The same, and says what was done for it.
    pub(super) fn begin(&self, mode: Mode, request: RunRequest) -> Result<Started, StartError> {
        let RunRequest {
            mut agent,
            commission,
            grants: mut granted,
            runs,
        } = request;
        granted.withheld = self.places(runs.as_ref(), &granted);
        // A replay shows its guest what the recording says, wherever that is kept, and reaches nobody.
        if !matches!(mode, Mode::Replay(_)) {
            withheld(&granted)?;
        }
        granted.check_component(agent.artifact.digest())?;
        let in_reach = match &mode {
            // What was kept from the recorded run is what is kept from it again.
            Mode::Replay(_) => Reach::default(),
            _ => {
                granted.read_agent(&agent.artifact);
                granted.read_commission(&commission);
                granted.guard_inputs()
            }
        };
        if let Mode::Onward(onward) = &mode {
            onward.on_copies(&mut granted);
        }
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
            && mode.makes_requests()
            && !down(Wall::HttpGranted)
        {
            return Err(StartError::NoHost { import });
        }
        mode.can_repeat(&grants)?;
        let output_schema = evidence::output_schema(&grants.require, &commission)?;
        // Who asks no model needs none; a replay asks nobody.
        let mut setup = match &mode {
            _ if !asks_models(&agent.artifact) => Ok(model::Setup::default()),
            Mode::Replay(recording) => Ok(model::Setup::recorded(&grants, &commission)
                .redirected(&recording.header.redirects)),
            Mode::Onward(onward) => model::Setup::of(&grants, &commission)
                .map(|setup| setup.redirected(&onward.redirects)),
            _ => model::Setup::of(&grants, &commission),
        };
        let seed = mode.seed()?;
        let secrets = if let Mode::Replay(recording) = &mode {
            Secrets::recorded(&recording.header.placeholders, &seed)
        } else {
            let body = Some(commission.body());
            let models = setup.as_mut().ok();
            gather(&self.inner.vault, &grants, body, models, seed)?
        };
        let put_back = match &mode {
            // What can be refused has been, as far as it does not depend on what is there.
            Mode::Onward(onward) => onward.put_back(&granted)?,
            _ => 0,
        };
        let inputs = mode.inputs(&grants)?;
        let replayed = matches!(mode, Mode::Replay(_));
        if let Some(recording) = mode.recording() {
            if replayed {
                recording.finished()?;
            }
            if let Entry::Command(_) = agent.entry {
                // It has no name but that of its file.
                let name = &recording.header.component.name;
                agent.descriptor.agent_name.clone_from(name);
            }
        }
        let scratch = match runs {
            None if replayed => Some(tempfile::tempdir().map_err(StartError::Scratch)?),
            _ => None,
        };
        let place = Place::make(runs.as_ref())?;
        let directory = place.directory.as_ref();
        let keeps = directory.map(RunDir::path);
        let kept = match &mode {
            Mode::Onward(onward) => onward.kept.clone(),
            _ => None,
        };
        if let Mode::Onward(onward) = &mode
            && !onward.is_in_place()
        {
            copy_files(keeps, kept.as_ref(), &mut granted)?;
            grants.files.clone_from(&granted.files);
        }
        if let Some(directory) = keeps
            && mode.keeps()
        {
            kept::keep(directory, kept.as_ref(), &granted, secrets.guard())?;
        }
        let planned = Planned {
            agent: &agent,
            commission: &commission,
            granted: &granted,
            effective: &grants,
        };
        let guard = secrets.guard();
        let related = mode.related(&place.session_id);
        let taped = mode.prepare(
            &planned,
            inputs,
            directory,
            &place.session_id,
            seed,
            &secrets,
        )?;
        let keeps = keeps.or(scratch.as_ref().map(tempfile::TempDir::path));
        let workspaces = if replayed {
            copies(keeps, &mut grants)?
        } else {
            Workspaces::prepare_from(kept.as_ref(), keeps, &grants)?
        };
        let models = models(&agent, setup, &taped.tape)?;
        let asked = Asked {
            profile: self.inner.engine.profile(),
            agent: &agent,
            commission: commission.raw(),
            run_id: &run_id,
            provider,
            grants: &grants,
            related,
            guard,
        };
        let account = Account::open(&asked, directory, &place.session_id, &taped)?;
        let servers = grants.tools.servers.iter();
        let opening = Opening::begin(
            commission.clone(),
            taped.guest_grants.clone(),
            servers.map(|server| server.id.clone()).collect(),
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
                opening.reached(equip::reached(&tools));
            }
        }
        place.keep();
        let interrupt = Interrupt::default();
        let egress = EgressOptions {
            network: grants.network.clone(),
            limits: grants.limits.clone(),
            injector: secrets.injector(account.ledger.clone()),
            tape: taped.tape.clone(),
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
        let mut handle = account.handle(interrupt, tokio::spawn(drive::drive(job)));
        handle.in_reach = in_reach;
        Ok(Started { handle, put_back })
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
        let grants =
            Grants::from_recorded(&header.grants, Path::new(""), &places.dirs, &places.files)?
                .from_elsewhere(&places.dirs, &places.files, &places.limits)?;
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
        runs: Option<&RunsDir>,
    ) -> Result<RunHandle, StartError> {
        let Unsupported { run_id, raw, found } = unsupported;
        let seed = Mode::Live.seed()?;
        let secrets = gather(&self.inner.vault, grants, None, None, seed)?;
        let place = Place::make(runs)?;
        let asked = Asked {
            profile: self.inner.engine.profile(),
            agent,
            commission: raw,
            run_id,
            provider: None,
            grants,
            related: None,
            guard: secrets.guard(),
        };
        let taped = Taped::live(&place.session_id, grants, seed);
        let directory = place.directory.as_ref();
        let account = Account::open(&asked, directory, &place.session_id, &taped)?;
        let message = format!(
            "commission has schema_version `{found}`; this host reads `{}`",
            crate::commission::SCHEMA_VERSION
        );
        let refused = Opening::refuse(&account.ledger, &agent.descriptor, message)?;
        place.keep();
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
}

/// Refuses grants of what the host keeps for itself.
fn withheld(grants: &Grants) -> Result<(), StartError> {
    let dirs = grants.dirs.iter().map(|dir| dir.host.clone());
    let files = grants.files.iter().map(FileGrant::host_path);
    for path in dirs.chain(files) {
        let inode = path.symlink_metadata().ok();
        let is_known = inode.is_some_and(|meta| grants.withheld.has_inode(meta.dev(), meta.ino()));
        if is_known || grants.withheld.covers(&path) {
            return Err(StartError::Withheld { path });
        }
    }
    Ok(())
}

/// A run that has been started, and what was done for it.
pub(super) struct Started {
    pub(super) handle: RunHandle,
    /// Paths that were put back to what they were before the run it goes on with.
    pub(super) put_back: usize,
}

/// Where a run that is about to start keeps its account. Unless it is kept, no half-written run is left behind.
struct Place {
    directory: Option<RunDir>,
    /// The name of the run: its directory's, if it has one.
    session_id: String,
    kept: bool,
}

impl Place {
    fn make(runs: Option<&RunsDir>) -> Result<Place, DirectoryError> {
        let directory = runs.map(RunsDir::create).transpose()?;
        let named = directory.as_ref().map(|dir| dir.session_id().to_owned());
        Ok(Place {
            session_id: named.unwrap_or_else(directory::new_session_id),
            directory,
            kept: false,
        })
    }

    /// There is a run now.
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (false, Some(directory)) = (self.kept, &self.directory) {
            // The error that kept the run from starting is the one to tell.
            let _ = std::fs::remove_dir_all(directory.path());
        }
    }
}

/// The models of a run, or why the agent cannot do its work.
fn models(
    agent: &Agent,
    setup: Result<model::Setup, Refusal>,
    tape: &Tape,
) -> Result<Result<model::Setup, Refusal>, StartError> {
    if !asks_models(&agent.artifact) {
        return Ok(setup);
    }
    let refused = || Ok(setup.as_ref().err().cloned());
    let refusal: Option<Refusal> = tape
        .observe("model.setup", || Value::Null, refused)
        .map_err(|error| StartError::Taping(format!("{error:#}")))?;
    match (refusal, setup) {
        (Some(refusal), _) => Ok(Err(refusal)),
        (None, Ok(setup)) => Ok(Ok(setup)),
        // The run that is gone on from could ask it.
        (
            None,
            Err(Refusal {
                message, remedy, ..
            }),
        ) => Err(StartError::Refused { message, remedy }),
    }
}
