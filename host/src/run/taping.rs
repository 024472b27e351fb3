//! How a run relates to a recording: none, it makes one, or it repeats one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::agent::Agent;
use super::directory::RunDir;
use super::kept::{Kept, copy_plain};
use super::onward::Continued;
use super::related::{Kind, Related};
use super::start::StartError;
use super::workspaces::{Workspaces, WorkspacesError};
use crate::commission::Commission;
use crate::egress::secrets::Secrets;
use crate::engine::Profile;
use crate::grants::{Access, FileGrant, Grants};
use crate::recording::format::{ClockKind, Component, FORMAT, Header, Onward};
use crate::recording::inputs::{self, Inventory};
use crate::recording::tape::{Scrub, Sink};
use crate::recording::{Recording, Seed, Tape};
use crate::trajectory::event::Rfc3339;

/// Name of a recording in a run directory.
pub const FILE: &str = "recording.ndjson";

/// When hermetic runs begin, unless it is declared: midnight of 2000-01-01 UTC, in seconds since the epoch.
const HERMETIC_START: i64 = 946_684_800;

/// How a run relates to a recording.
#[derive(Clone, Debug, Default)]
pub enum Mode {
    /// Not at all.
    #[default]
    Live,
    /// It is recorded: the world as it is, and what came of it on the tape.
    Record(RecordTo),
    /// It has nothing but its inputs: virtual time and numbered randomness. Recorded where that is wanted.
    Hermetic {
        /// What everything random follows from.
        seed: Seed,
        /// When its clock begins; [`hermetic_start`] unless it matters.
        start: Timestamp,
        /// Where it is recorded, if anywhere.
        record: Option<RecordTo>,
    },
    /// It repeats a recording.
    Replay(Arc<Recording>),
    /// It goes on from what another run got: see [`super::onward`].
    Onward(Box<Continued>),
}

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordTo {
    /// To [`FILE`] in the run directory.
    RunDirectory,
    /// To a file, which is replaced.
    File(PathBuf),
}

/// When the clock of a hermetic run begins unless something else is declared.
#[must_use]
pub fn hermetic_start() -> Timestamp {
    Timestamp::from_second(HERMETIC_START).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A mode, made ready for one run.
pub(super) struct Taped {
    pub(super) tape: Tape,
    pub(super) seed: Seed,
    /// What the run's digest begins with; nothing for a live run.
    pub(super) header: Option<Header>,
    /// The session id as the guest and the trajectory know it.
    pub(super) known_as: String,
    /// What the trajectory says was granted.
    pub(super) guest_grants: Value,
    /// Whether checkpoints and artifacts can be kept.
    pub(super) storage: bool,
    /// The file that is written.
    pub(super) recording: Option<PathBuf>,
}

/// What a run is about to be, before anything is written.
pub(super) struct Planned<'a> {
    pub(super) agent: &'a Agent,
    pub(super) commission: &'a Commission,
    /// As the operator gave them.
    pub(super) granted: &'a Grants,
    /// As the agent gets them.
    pub(super) effective: &'a Grants,
}

impl Mode {
    /// Whether it works with this profile: code that is metered in time cannot be repeated.
    pub(super) fn fits(&self, profile: Profile) -> bool {
        matches!(self, Mode::Live) || profile == Profile::Hermetic
    }

    /// Whether a run makes requests where they are granted. A replay and a hermetic run make none.
    pub(super) fn makes_requests(&self) -> bool {
        matches!(self, Mode::Live | Mode::Record(_))
    }

    /// Refuses to record what the tape does not hold yet: a recording without it would be wrong.
    pub(super) fn can_repeat(&self, grants: &Grants) -> Result<(), StartError> {
        match self {
            Mode::Live | Mode::Replay(_) | Mode::Onward(_) => return Ok(()),
            Mode::Record(_) | Mode::Hermetic { .. } => {}
        }
        if let Mode::Hermetic { .. } = self {
            let tools = &grants.tools;
            if !tools.servers.is_empty() {
                return Err(StartError::Outside {
                    what: "MCP servers",
                });
            }
            if !tools.commands.is_empty() {
                return Err(StartError::Outside { what: "commands" });
            }
        }
        Ok(())
    }

    /// What everything random in the run follows from.
    pub(super) fn seed(&self) -> Result<Seed, StartError> {
        match self {
            Mode::Live | Mode::Record(_) => Seed::random().map_err(StartError::Random),
            Mode::Hermetic { seed, .. } => Ok(*seed),
            Mode::Replay(recording) => Ok(recording.header.seed),
            Mode::Onward(onward) => Ok(onward.from.header.seed),
        }
    }

    /// What `run.json` calls it; nothing for a live run.
    fn kind(&self) -> Option<Kind> {
        match self {
            Mode::Live => None,
            Mode::Record(_) => Some(Kind::Record),
            Mode::Hermetic { .. } => Some(Kind::Hermetic),
            Mode::Replay(_) => Some(Kind::Replay),
            Mode::Onward(onward) => Some(match onward.parent.how {
                Onward::Resume => Kind::Resume,
                Onward::Fork => Kind::Fork,
                Onward::Hybrid => Kind::Hybrid,
            }),
        }
    }

    /// Where it is recorded, if anywhere.
    fn recorded_to(&self) -> Option<&RecordTo> {
        match self {
            Mode::Live | Mode::Replay(_) => None,
            Mode::Record(to) => Some(to),
            Mode::Hermetic { record, .. } => record.as_ref(),
            Mode::Onward(onward) => Some(&onward.record),
        }
    }

    /// The session id as the guest and the trajectory know it, of a run whose own is `session_id`.
    fn known_as(&self, session_id: &str) -> String {
        match self {
            Mode::Live | Mode::Record(_) => session_id.to_owned(),
            Mode::Hermetic { seed, .. } => {
                let seed = seed.to_string();
                format!("hermetic-{}", seed.get(..16).unwrap_or_default())
            }
            Mode::Replay(recording) => recording.header.session_id.clone(),
            Mode::Onward(onward) => onward.from.header.session_id.clone(),
        }
    }

    /// What `run.json` says of it, for a run of this session id; nothing for a live run.
    pub(super) fn related(&self, session_id: &str) -> Option<Related> {
        Some(Related {
            mode: self.kind()?,
            session_id: self.known_as(session_id),
            parent: match self {
                Mode::Onward(onward) => Some(onward.parent.clone()),
                _ => None,
            },
            recording: self.recorded_to().map(RecordTo::name),
        })
    }

    /// Looks at the inputs, where they matter, and compares them with those of the recording. Blocks while it
    /// reads.
    pub(super) fn inputs(&self, grants: &Grants) -> Result<Vec<Inventory>, StartError> {
        if matches!(self, Mode::Live) {
            return Ok(Vec::new());
        }
        let mut grants = grants.clone();
        if let Mode::Onward(onward) = self
            && let Some(kept) = &onward.kept
        {
            for dir in &mut grants.dirs {
                if dir.access == Access::CopyOnWrite
                    && let Some(tree) = kept.dir(&dir.guest)
                {
                    tree.clone_into(&mut dir.host);
                }
            }
            if !onward.is_in_place() {
                for file in &mut grants.files {
                    if file.access == Access::ReadWrite
                        && let Some(was) = kept.file(file)
                        && let Some(folder) = was.parent()
                    {
                        folder.clone_into(&mut file.host);
                    }
                }
            }
        }
        let now = inputs::inventories(&grants)?;
        if let Some(recording) = self.recording() {
            inputs::compare(&recording.header.inputs, &now)?;
        }
        Ok(now)
    }

    /// What the run is answered from.
    pub(super) fn recording(&self) -> Option<&Arc<Recording>> {
        match self {
            Mode::Live | Mode::Record(_) | Mode::Hermetic { .. } => None,
            Mode::Replay(recording) => Some(recording),
            Mode::Onward(onward) => Some(&onward.from),
        }
    }

    /// Whether the run is recorded to its own directory, so that it can be gone on with.
    pub(super) fn keeps(&self) -> bool {
        self.recorded_to() == Some(&RecordTo::RunDirectory)
    }

    /// Makes the tape of a run whose directory is there.
    pub(super) fn prepare(
        self,
        planned: &Planned<'_>,
        inputs: Vec<Inventory>,
        directory: Option<&RunDir>,
        session_id: &str,
        seed: Seed,
        secrets: &Secrets,
    ) -> Result<Taped, StartError> {
        let guest_grants = planned.effective.to_guest_json();
        let known_as = self.known_as(session_id);
        let (start, clock, record) = match self {
            Mode::Live => {
                return Ok(Taped {
                    storage: directory.is_some(),
                    ..Taped::live(session_id, planned.effective, seed)
                });
            }
            Mode::Replay(recording) => return Ok(replayed(recording, planned.agent)),
            Mode::Onward(onward) => {
                return continued(*onward, planned, inputs, directory, secrets);
            }
            Mode::Record(to) => (Timestamp::now(), ClockKind::Real, Some(to)),
            Mode::Hermetic { start, record, .. } => (start, ClockKind::Virtual, record),
        };
        let header = Header {
            format: FORMAT.to_owned(),
            host: env!("CARGO_PKG_VERSION").to_owned(),
            component: component(planned.agent),
            profile: Profile::Hermetic,
            clock,
            seed,
            start: Rfc3339(start).to_string(),
            session_id: known_as.clone(),
            storage: directory.is_some(),
            commission: planned.commission.raw().to_owned(),
            grants: planned.granted.to_recorded_json(&base())?,
            guest_grants: guest_grants.clone(),
            placeholders: secrets
                .placeholders()
                .iter()
                .map(|it| (it.variable.clone(), it.name.clone()))
                .collect(),
            inputs,
            parent: None,
            redirects: Vec::new(),
        };
        let scrub = scrub(secrets, &header)?;
        let recording = record.map(|to| to.path(directory)).transpose()?;
        let sink = recording.as_deref().map(Sink::create).transpose()?;
        Ok(Taped {
            tape: Tape::record(&header, sink, scrub)?,
            seed,
            header: Some(header),
            known_as,
            guest_grants,
            storage: directory.is_some(),
            recording,
        })
    }
}

/// Keeps the secrets of a run out of its recording. What stands in its first line is what a replay gives the
/// guest: nothing can be taken out there.
fn scrub(secrets: &Secrets, header: &Header) -> Result<Option<Scrub>, StartError> {
    let Some(guard) = secrets.guard().cloned() else {
        return Ok(None);
    };
    if guard.redact_secrets(&header.line()).is_some() {
        return Err(StartError::SecretGiven);
    }
    let scrub: Scrub = Arc::new(move |line| guard.redact_secrets(line).map(|it| it.rest));
    Ok(Some(scrub))
}

impl Taped {
    /// Without a tape, and without storage.
    pub(super) fn live(session_id: &str, grants: &Grants, seed: Seed) -> Taped {
        Taped {
            tape: Tape::off(),
            seed,
            header: None,
            known_as: session_id.to_owned(),
            guest_grants: grants.to_guest_json(),
            storage: false,
            recording: None,
        }
    }
}

impl RecordTo {
    /// As `run.json` says it.
    fn name(&self) -> PathBuf {
        match self {
            RecordTo::File(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()),
            RecordTo::RunDirectory => PathBuf::from(FILE),
        }
    }

    fn path(self, directory: Option<&RunDir>) -> Result<PathBuf, StartError> {
        match self {
            RecordTo::File(path) => Ok(path),
            RecordTo::RunDirectory => {
                let directory = directory.ok_or(StartError::NoRecording)?;
                Ok(directory.path().join(FILE))
            }
        }
    }
}

/// Paths of a recording are relative to where it was made.
fn base() -> PathBuf {
    std::env::current_dir().unwrap_or_default()
}

fn component(agent: &Agent) -> Component {
    let base = base();
    let path = agent.artifact.path();
    Component {
        digest: agent.artifact.digest(),
        name: agent.descriptor.agent_name.clone(),
        path: path.map(|path| path.strip_prefix(&base).unwrap_or(path).to_owned()),
    }
}

/// What differs from the recorded run before it begins.
fn changed(header: &Header, agent: &Agent) -> Option<String> {
    let digest = agent.artifact.digest();
    (digest != header.component.digest).then(|| {
        format!(
            "the component is another one: recorded {}, replayed {digest}",
            header.component.digest
        )
    })
}

/// The tape of a run that goes on from another one: as the guest sees it, it is the same run.
fn continued(
    onward: Continued,
    planned: &Planned<'_>,
    inputs: Vec<Inventory>,
    directory: Option<&RunDir>,
    secrets: &Secrets,
) -> Result<Taped, StartError> {
    let Continued {
        from,
        parent,
        miss,
        record,
        redirects,
        ..
    } = onward;
    let header = Header {
        host: env!("CARGO_PKG_VERSION").to_owned(),
        component: component(planned.agent),
        grants: planned.granted.to_recorded_json(&base())?,
        inputs,
        parent: Some(parent),
        redirects,
        ..from.header.clone()
    };
    let changed = changed(&from.header, planned.agent);
    let scrub = scrub(secrets, &header)?;
    let recording = record.path(directory)?;
    let sink = Sink::create(&recording)?;
    let tape = Tape::go_on(from, changed, miss, &header, Some(sink), scrub)?;
    Ok(Taped {
        tape,
        seed: header.seed,
        known_as: header.session_id.clone(),
        guest_grants: header.guest_grants.clone(),
        storage: header.storage && directory.is_some(),
        recording: Some(recording),
        header: Some(header),
    })
}

fn replayed(recording: Arc<Recording>, agent: &Agent) -> Taped {
    let header = recording.header.clone();
    let changed = changed(&header, agent);
    Taped {
        tape: Tape::replay(recording, changed),
        seed: header.seed,
        known_as: header.session_id.clone(),
        guest_grants: header.guest_grants.clone(),
        storage: header.storage,
        recording: None,
        header: Some(header),
    }
}

/// Copies what a replay would otherwise change a second time: it writes to nothing the operator has. Blocks.
pub(super) fn copies(
    place: Option<&Path>,
    grants: &mut Grants,
) -> Result<Workspaces, WorkspacesError> {
    let mut copied = grants.clone();
    for dir in &mut copied.dirs {
        if dir.access == Access::ReadWrite {
            dir.access = Access::CopyOnWrite;
        }
    }
    let workspaces = Workspaces::prepare(place, &copied)?;
    copy_files(place, None, grants)?;
    Ok(workspaces)
}

/// Copies single files that may be changed, as they were where that was kept. Blocks.
pub(super) fn copy_files(
    place: Option<&Path>,
    kept: Option<&Kept>,
    grants: &mut Grants,
) -> Result<(), WorkspacesError> {
    for file in &mut grants.files {
        if file.access == Access::ReadWrite {
            copy_file(place, kept.and_then(|kept| kept.file(file)), file)?;
        }
    }
    Ok(())
}

fn copy_file(
    place: Option<&Path>,
    source: Option<PathBuf>,
    file: &mut FileGrant,
) -> Result<(), WorkspacesError> {
    let place = place.ok_or_else(|| WorkspacesError::NoDirectory {
        guest: file.guest_path(),
    })?;
    // Files of one directory of the guest have to come from one of the host.
    let folder = place
        .join("files")
        .join(crate::digest::Digest::of(file.guest.as_bytes()).hex());
    let io = |source| WorkspacesError::Io {
        action: "copy",
        path: file.host_path(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(io)?;
    let folder = folder.canonicalize().map_err(io)?;
    let to = folder.join(&file.name);
    match source {
        Some(kept) => std::fs::copy(kept, to).map(drop).map_err(io)?,
        None => copy_plain(&file.host_path(), &to)?,
    }
    file.host = folder;
    Ok(())
}
