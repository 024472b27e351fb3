//! Going on from a recording: resuming a run that was ended, forking one at a call, filling a recording's gaps.
//!
//! The guest is run again from its first instruction and gets what the recorded one got, up to a call; from
//! there on it is live. What it did until then is not done again: it is answered from the tape. What it wrote
//! is written again, in directories that are what they were before the run.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::account::RunHandle;
use super::agent::Agent;
use super::directory::{DirectoryError, RunDir, RunsDir};
use super::host::Host;
use super::kept::{Around, Kept};
use super::related::{Kind, Related};
use super::start::{Places, RunRequest, StartError, Started};
use super::taping::{FILE, Mode, RecordTo};
use super::workspaces::WorkspacesError;
use crate::commission::Commission;
use crate::grants::{Access, FileGrant, Grants, Outside};
use crate::recording::format::{Onward, Parent, Redirect};
use crate::recording::onward::{Doubt, Edit};
use crate::recording::tape::Miss;
use crate::recording::{InDoubt, Recording};
use crate::tools;

/// A recorded run that is gone on from.
#[derive(Clone, Debug)]
pub struct Past {
    /// The name of its directory, or of the file.
    pub run: String,
    /// What it got.
    pub recording: Recording,
    /// What its directories were like before, where that was kept.
    pub kept: Option<Kept>,
    /// Relative paths of it begin there.
    pub base: PathBuf,
    /// What it may reach from the call on from which it is live.
    pub outside: Outside,
}

impl Past {
    /// A run of this host, with what it was granted.
    ///
    /// # Errors
    ///
    /// It was not recorded to its directory, or that cannot be read.
    pub fn of(run: &RunDir) -> Result<Past, StartError> {
        let path = run.path().join(FILE);
        if !path.is_file() {
            return Err(StartError::NotRecorded {
                run: run.session_id().to_owned(),
            });
        }
        let around = Around::read(run.path())?;
        Ok(Past {
            run: run.session_id().to_owned(),
            recording: Recording::read(&path)?,
            kept: Some(Kept::open(run.path())?),
            base: around.base,
            outside: around.outside,
        })
    }

    /// A recording by itself: what may be reached is for the caller to say.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn of_file(path: &Path, outside: Outside) -> Result<Past, StartError> {
        Ok(Past {
            run: path.display().to_string(),
            recording: Recording::read(path)?,
            kept: None,
            base: PathBuf::new(),
            outside,
        })
    }

    /// What the recorded run was asked, with places here for what it was granted.
    ///
    /// # Errors
    ///
    /// Something it was granted is not there.
    pub fn request(
        &self,
        agent: Agent,
        places: &Places,
        runs: Option<RunsDir>,
    ) -> Result<RunRequest, StartError> {
        let header = &self.recording.header;
        let commission = Commission::parse(header.commission.get().as_bytes())
            .map_err(StartError::Commission)?;
        let grants =
            Grants::from_recorded(&header.grants, &self.base, &places.dirs, &places.files)?;
        // What is in a run directory of this host was said by its operator.
        let grants = match &self.kept {
            Some(_) => grants,
            None => grants.from_elsewhere(&places.dirs, &places.files, &places.limits)?,
        };
        let grants = grants.with_outside(self.outside.clone())?;
        if let Some(kept) = &self.kept {
            kept.is_where_it_was(&grants, |path| places.say_of(path))?;
        }
        Ok(RunRequest {
            agent,
            commission,
            grants,
            runs,
        })
    }
}

/// How a run goes on from another one.
#[derive(Clone, Debug)]
pub struct Continued {
    /// What it is answered from at first.
    pub(super) from: Arc<Recording>,
    pub(super) parent: Parent,
    pub(super) miss: Miss,
    /// What its directories were like before.
    pub(super) kept: Option<Kept>,
    /// Models that are asked instead of the commission's.
    pub(super) redirects: Vec<Redirect>,
    pub(super) record: RecordTo,
}

impl Continued {
    /// Whether the run works on what the recorded one was let change, and not on copies.
    pub(super) fn is_in_place(&self) -> bool {
        self.parent.how == Onward::Resume
    }

    /// Makes what the run may change itself what it was before. Blocks. Returns how many paths were put back.
    pub(super) fn put_back(&self, grants: &Grants) -> Result<usize, WorkspacesError> {
        match &self.kept {
            Some(kept) if self.is_in_place() => kept.put_back(grants),
            _ => Ok(0),
        }
    }

    /// Lets the run have copies of what it could otherwise change itself.
    pub(super) fn on_copies(&self, grants: &mut Grants) {
        if self.is_in_place() {
            return;
        }
        for dir in &mut grants.dirs {
            if dir.access == Access::ReadWrite {
                dir.access = Access::CopyOnWrite;
            }
        }
    }
}

/// What came of looking at a run that is to be resumed.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// Number of the first call that is performed.
    pub at: u64,
    /// Calls that were under way, which were left to the policy.
    pub in_doubt: Vec<Doubt>,
    /// Paths of directories that were put back to what they were before the run.
    pub put_back: usize,
}

/// Where a run is forked, and what is different from there on.
#[derive(Clone, Debug, Default)]
pub struct Fork {
    /// Number of the first call that is performed.
    pub at: u64,
    /// Answers that are different.
    pub edits: Vec<Edit>,
    /// The model that is asked instead of the commission's.
    pub model: Option<String>,
}

/// Held while a run is being gone on with. The file system releases it with the process.
struct Lock(#[expect(dead_code, reason = "closing it is what releases the lock")] File);

impl Lock {
    fn of(run: &RunDir) -> Result<Lock, StartError> {
        let path = run.path().join(FILE);
        let io = |source| DirectoryError::Io {
            action: "lock",
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(io)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(DirectoryError::Running {
                action: "resume",
                id: run.session_id().to_owned(),
            }
            .into()),
            // A file system without locks has none to break.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Lock(file)),
        }
    }
}

/// Refuses to go on a second time from the same point: what the first one has done would be done again.
fn gone_on_with(run: &RunDir, runs: &RunsDir) -> Result<(), StartError> {
    for other in runs.list()? {
        // One that cannot be read has not been started by this host.
        let Some(Related {
            mode: Kind::Resume,
            parent: Some(parent),
            ..
        }) = other.request().ok().and_then(|request| request.taping)
        else {
            continue;
        };
        if parent.run == run.session_id() {
            return Err(StartError::GoneOnWith {
                run: parent.run,
                by: other.session_id().to_owned(),
            });
        }
    }
    Ok(())
}

impl Host {
    /// Goes on with a run that was ended before it was done: killed, cut off by a limit, interrupted. It is a new
    /// run in a directory of its own. Directories it may change are made what they were before the run first;
    /// what was there is kept in the directory of the old run.
    ///
    /// # Errors
    ///
    /// The run goes on or is gone on with, was not recorded or has come to its end, a call was under way and
    /// `in_doubt` says to stop then, or the run cannot be started.
    pub fn resume(
        &self,
        agent: Agent,
        run: &RunDir,
        in_doubt: InDoubt,
        runs: &RunsDir,
    ) -> Result<(RunHandle, Resumption), StartError> {
        run.is_over_to("resume")?;
        let past = Past::of(run)?;
        // One at a time: nobody takes it for one that is not gone on with while the new run is being made.
        let _lock = Lock::of(run)?;
        gone_on_with(run, runs)?;
        if let Some(end) = &past.recording.end
            && !past.recording.was_cut()
        {
            let how = end.ended.get("kind").and_then(Value::as_str);
            return Err(StartError::Done {
                run: past.run,
                how: how.unwrap_or_default().to_owned(),
            });
        }
        let beginning = past.recording.resumable(in_doubt, tools::in_doubt)?;
        let request = past.request(agent, &Places::default(), Some(runs.clone()))?;
        let (at, in_doubt) = (beginning.at, beginning.in_doubt);
        let mode = Mode::Onward(Box::new(Continued {
            from: Arc::new(beginning.recording),
            parent: Parent {
                run: past.run,
                how: Onward::Resume,
                at: Some(at),
            },
            miss: Miss::Diverges,
            kept: past.kept,
            redirects: past.recording.header.redirects,
            record: RecordTo::RunDirectory,
        }));
        let Started { handle, put_back } = self.begin(mode, request)?;
        let resumption = Resumption {
            at,
            in_doubt,
            put_back,
        };
        Ok((handle, resumption))
    }

    /// Repeats a run up to a call and goes on from there with something changed. What the run may change are
    /// copies.
    ///
    /// # Errors
    ///
    /// There is no such call, an answer cannot be changed, or the run cannot be started.
    pub fn fork(
        &self,
        agent: Agent,
        past: Past,
        fork: Fork,
        places: &Places,
        runs: &RunsDir,
    ) -> Result<RunHandle, StartError> {
        let mut from = past.recording.ongoing().before(fork.at)?;
        for edit in fork.edits {
            from.edit(edit)?;
        }
        let mut request = past.request(agent, places, Some(runs.clone()))?;
        let mut redirects = past.recording.header.redirects;
        redirects.retain(|redirect| redirect.at < fork.at);
        redirects.extend(
            fork.model
                .clone()
                .map(|model| Redirect { at: fork.at, model }),
        );
        // Naming it grants it, as with `run --model`.
        request.grants.models.allow.extend(fork.model.clone());
        let mode = Mode::Onward(Box::new(Continued {
            from: Arc::new(from),
            parent: Parent {
                run: past.run,
                how: Onward::Fork,
                at: Some(fork.at),
            },
            miss: Miss::Diverges,
            kept: past.kept,
            redirects,
            record: RecordTo::RunDirectory,
        }));
        self.start_in(mode, request)
    }

    /// Runs again what was recorded, with nothing answered from the recording. What it is granted is for the
    /// operator to say: a recording is a file from elsewhere.
    ///
    /// # Errors
    ///
    /// `places` does not say where a directory or file is, or the run cannot be started.
    pub fn again(
        &self,
        agent: Agent,
        past: &Past,
        record: RecordTo,
        places: &Places,
        runs: &RunsDir,
    ) -> Result<RunHandle, StartError> {
        let request = past.request(agent, places, Some(runs.clone()))?;
        let dirs = request.grants.dirs.iter().map(|dir| dir.guest.clone());
        let files = request.grants.files.iter().map(FileGrant::guest_path);
        if let Some(path) = dirs.chain(files).find(|path| !places.say_of(path)) {
            let recording = past.run.clone();
            return Err(StartError::Unplaced { recording, path });
        }
        self.start_in(Mode::Record(record), request)
    }

    /// Repeats a recording as far as it goes, and asks for what it does not have. What the run may change are
    /// copies. The whole is recorded anew.
    ///
    /// # Errors
    ///
    /// The run cannot be started.
    pub fn hybrid(
        &self,
        agent: Agent,
        past: Past,
        record: RecordTo,
        places: &Places,
        runs: &RunsDir,
    ) -> Result<RunHandle, StartError> {
        let request = past.request(agent, places, Some(runs.clone()))?;
        let mode = Mode::Onward(Box::new(Continued {
            from: Arc::new(past.recording.answered()),
            parent: Parent {
                run: past.run,
                how: Onward::Hybrid,
                at: None,
            },
            miss: Miss::Performs,
            kept: past.kept,
            redirects: past.recording.header.redirects,
            record,
        }));
        self.start_in(mode, request)
    }
}
