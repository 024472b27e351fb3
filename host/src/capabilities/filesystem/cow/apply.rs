//! Bringing a difference into a directory: all of it or nothing.
//!
//! Everything new is first brought beside the directory's content, into a folder of its own (the stage), so that all
//! that can fail for want of space or rights fails there. Then each path is moved, and what was there is kept until the
//! end. After a failure, or at the next attempt after a crash, the moves are undone: which of them took place can be
//! read off the stage.
//!
//! The plan of the moves lies with the workspace in the run directory, never in the granted directory: an agent, or
//! whoever made a repository that was cloned, can write there, and a plan moves files. The stage has a random name that
//! stands in the plan together with its inode. What the plan does not vouch for is neither undone nor deleted.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::super::protect::STAGE;
use super::super::sys::{self, Found, Kind};
use super::delta::{self, Delta, Item, PathDelta};
use super::protected::Guard;
use super::staging::{Made, Staging};
use super::tree::Base;
use super::{CowError, VERSION, at, damaged};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Name of the plan in the folder of a workspace.
const PLAN: &str = "apply.json";

/// One move, of what is at `path` to `old/N`, or of `new/N` to `path`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Take { path: String },
    Put { path: String },
}

impl Step {
    fn path(&self) -> &str {
        match self {
            Step::Take { path } | Step::Put { path } => path,
        }
    }
}

/// What tells a directory from every other one of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(dir: &File) -> io::Result<Identity> {
        let meta = dir.metadata()?;
        Ok(Identity {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Progress {
    /// Paths may have been moved.
    Moving,
    /// All of them have been: what is left of the stage is only rubbish.
    Done,
}

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    version: u32,
    /// The directory the plan is for.
    root: Identity,
    /// Name of the stage in it.
    stage: String,
    /// The stage itself; nothing before it was made.
    made: Option<Identity>,
    progress: Progress,
    steps: Vec<Step>,
}

/// One attempt to bring a difference into a directory.
pub(super) struct Attempt<'a> {
    /// The folder of the workspace, where the plan is kept.
    workspace: &'a Path,
    base: &'a Base,
    /// Where the new content is.
    copy: &'a Path,
    /// What is known of it besides, where it is not a copy made from the base.
    kept: Option<&'a Base>,
    /// The granted directory.
    root: File,
    guard: Guard,
}

impl<'a> Attempt<'a> {
    /// Opens the granted directory, and undoes what is left of an attempt that was cut off.
    pub(super) fn begin(
        workspace: &'a Path,
        base: &'a Base,
        copy: &'a Path,
        kept: Option<&'a Base>,
    ) -> Result<Attempt<'a>, CowError> {
        let host = &base.host;
        let root = File::open(host).map_err(at("open", host))?;
        // One attempt at a time; the lock goes with the handle, also when the process dies.
        rustix::fs::flock(&root, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| at("lock", host)(errno.into()))?;
        let attempt = Attempt {
            workspace,
            base,
            copy,
            kept,
            root,
            guard: Guard::new(base)?,
        };
        attempt.recover()?;
        Ok(attempt)
    }

    /// The part of `delta` that a guest may change in this directory.
    pub(super) fn unprotected(&self, mut delta: Delta) -> Delta {
        delta.paths.retain(|entry| self.guard.check(entry).is_ok());
        delta
    }

    /// Brings `delta` in.
    pub(super) fn apply(&self, delta: &Delta) -> Result<(), CowError> {
        let pending = self.check(delta)?;
        if pending.is_empty() {
            return Ok(());
        }
        let mut plan = self.plan(&pending)?;
        let stage = match self.prepare(&mut plan, &pending) {
            Ok(stage) => stage,
            Err(error) => {
                self.clear(&plan)?;
                return Err(error);
            }
        };
        // Once more: preparing takes a while.
        let result = self.check(delta).and_then(|_| {
            run(&self.root, &stage, &plan).map_err(|source| CowError::RolledBack {
                host: self.base.host.clone(),
                source,
            })
        });
        if let Err(error) = result {
            self.undo(&stage, &plan)?;
            self.clear(&plan)?;
            return Err(error);
        }
        plan.progress = Progress::Done;
        self.write(&plan)?;
        self.clear(&plan)
    }

    /// Refuses when any of the paths is not what was copied, or is none that a guest may change; gives those that are
    /// not yet what they shall be.
    fn check<'d>(&self, delta: &'d Delta) -> Result<Vec<&'d PathDelta>, CowError> {
        let host = &self.base.host;
        let mut conflicts = Vec::new();
        let mut pending = Vec::new();
        for entry in &delta.paths {
            self.guard.check(entry)?;
            let path = &entry.path;
            let now = delta::item_at(&self.root, path).map_err(at("read", &host.join(path)))?;
            let unknown = matches!(entry.before, Some(Item::File { digest: None, .. }));
            if !unknown && now == entry.after {
                continue;
            }
            if unknown || now != entry.before {
                conflicts.push(path.clone());
            }
            pending.push(entry);
        }
        if conflicts.is_empty() || down(Wall::BaseMoved) {
            Ok(pending)
        } else {
            Err(CowError::Conflict {
                host: host.clone(),
                paths: conflicts,
            })
        }
    }

    fn plan(&self, pending: &[&PathDelta]) -> Result<Plan, CowError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| at("name a folder in", &self.base.host)(io::Error::other(error)))?;
        // Deepest first, so that directories are empty when they are taken.
        let taken = pending
            .iter()
            .rev()
            .filter(|entry| entry.before.is_some())
            .map(|entry| Step::Take {
                path: entry.path.clone(),
            });
        let put = pending
            .iter()
            .filter(|entry| entry.after.is_some())
            .map(|entry| Step::Put {
                path: entry.path.clone(),
            });
        Ok(Plan {
            version: VERSION,
            root: Identity::of(&self.root).map_err(at("read", &self.base.host))?,
            stage: format!("{STAGE}-{:016x}", u64::from_be_bytes(random)),
            made: None,
            progress: Progress::Moving,
            steps: taken.chain(put).collect(),
        })
    }

    /// Writes the plan, makes the stage and brings everything new into it.
    fn prepare(&self, plan: &mut Plan, pending: &[&PathDelta]) -> Result<File, CowError> {
        self.write(plan)?;
        let shown = self.base.host.join(&plan.stage);
        let failed = || at("prepare", &shown);
        // Private: what is replaced may not be for everybody, nor what replaces it.
        let private = Mode::from_raw_mode(0o700);
        rustix::fs::mkdirat(&self.root, &plan.stage, private)
            .map_err(|errno| failed()(errno.into()))?;
        let found = sys::find_plain(&self.root, plan.stage.as_str()).map_err(failed())?;
        let stage = found
            .reopen(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(failed())?;
        plan.made = Some(Identity::of(&stage).map_err(failed())?);
        self.write(plan)?;
        let inside = by_handle(&stage);
        for name in ["old", "new"] {
            fs::create_dir(inside.join(name)).map_err(failed())?;
        }
        let mut staging = Staging::new(self.base, self.kept, &self.root, self.copy)?;
        let new: Vec<_> = pending
            .iter()
            .filter_map(|entry| Some((&entry.path, entry.after.as_ref()?)))
            .collect();
        let first = plan.steps.len().saturating_sub(new.len());
        for (n, (path, item)) in (first..).zip(new) {
            let to = inside.join("new").join(n.to_string());
            match item {
                Item::Dir => fs::create_dir(&to).map_err(failed())?,
                Item::Symlink { target } => symlink(target, &to).map_err(failed())?,
                Item::File { .. } => {
                    let made = staging.file(path, item, &to)?;
                    let from = self.copy.join(path);
                    let staged = sys::find_plain(&stage, format!("new/{n}").as_str())
                        .and_then(|found| delta::item(&found));
                    // What was reviewed is what is applied.
                    if staged.map_err(at("prepare", &from))?.as_ref() != Some(item) {
                        let reason = "it was changed after it was compared".to_owned();
                        return Err(CowError::Damaged { path: from, reason });
                    }
                    if made == Made::Copied {
                        staging.permit(path, item, &to)?;
                    }
                }
            }
        }
        stage.sync_all().map_err(failed())?;
        Ok(stage)
    }

    /// Undoes what is left of an attempt that was cut off.
    fn recover(&self) -> Result<(), CowError> {
        let Some(plan) = self.read()? else {
            return Ok(());
        };
        if Identity::of(&self.root).ok() != Some(plan.root) && !down(Wall::ApplyPlan) {
            return Err(CowError::Elsewhere {
                host: self.base.host.clone(),
                plan: self.workspace.join(PLAN),
            });
        }
        if plan.progress == Progress::Moving
            && let Some(stage) = self.stage(&plan)?
        {
            self.undo(&stage, &plan)?;
        }
        self.clear(&plan)
    }

    /// The stage of a plan, if it is there. Refuses a folder in its place that this host has not made.
    fn stage(&self, plan: &Plan) -> Result<Option<File>, CowError> {
        let path = self.base.host.join(&plan.stage);
        let found = match sys::find_plain(&self.root, plan.stage.as_str()) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", &path)(error)),
        };
        let foreign = || CowError::Foreign { path: path.clone() };
        if found.kind() != Kind::Dir {
            return Err(foreign());
        }
        let stage = found
            .reopen(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(at("read", &path))?;
        let now = Identity::of(&stage).map_err(at("read", &path))?;
        match plan.made {
            _ if down(Wall::ApplyPlan) => Ok(Some(stage)),
            Some(made) if made == now => Ok(Some(stage)),
            // The host stopped between making it and writing down what it made: nothing is in it.
            None if is_empty(&stage).map_err(at("read", &path))? => Ok(None),
            _ => Err(foreign()),
        }
    }

    /// Undoes, last one first, the moves that took place.
    fn undo(&self, stage: &File, plan: &Plan) -> Result<(), CowError> {
        for step in &plan.steps {
            self.guard.check_path(step.path())?;
        }
        let root = &self.root;
        let moved_back = || -> io::Result<()> {
            let (old, new) = folders(stage)?;
            for (n, step) in plan.steps.iter().enumerate().rev() {
                let n = n.to_string();
                match step {
                    Step::Put { path } if !exists(&new, &n) => {
                        let (dir, name) = parent(root, path)?;
                        rename(dir.handle(), &name, &new, &n)?;
                    }
                    Step::Take { path } if exists(&old, &n) => {
                        let (dir, name) = parent(root, path)?;
                        rename(&old, &n, dir.handle(), &name)?;
                    }
                    Step::Put { .. } | Step::Take { .. } => {}
                }
            }
            Ok(())
        };
        // The host stopped before it had made both: nothing was moved.
        if is_prepared(stage) {
            moved_back().map_err(|source| CowError::HalfApplied {
                host: self.base.host.clone(),
                stage: self.base.host.join(&plan.stage),
                source,
            })?;
        }
        Ok(())
    }

    /// Deletes the stage of a plan, and then the plan.
    fn clear(&self, plan: &Plan) -> Result<(), CowError> {
        let shown = self.base.host.join(&plan.stage);
        match self.stage(plan)? {
            Some(stage) => {
                drop(stage);
                fs::remove_dir_all(by_handle(&self.root).join(&plan.stage))
                    .map_err(at("delete", &shown))?;
            }
            None => match rustix::fs::unlinkat(&self.root, &plan.stage, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(at("delete", &shown)(errno.into())),
            },
        }
        let path = self.plan_path();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(at("delete", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn plan_path(&self) -> PathBuf {
        if down(Wall::ApplyPlan) {
            return self.base.host.join(STAGE).join("plan.json");
        }
        self.workspace.join(PLAN)
    }

    fn read(&self) -> Result<Option<Plan>, CowError> {
        let path = self.plan_path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", &path)(error)),
        };
        let plan: Plan = serde_json::from_slice(&text).map_err(|error| damaged(&path, &error))?;
        if plan.version != VERSION {
            let reason = format!("version {} is not understood", plan.version);
            return Err(CowError::Damaged { path, reason });
        }
        Ok(Some(plan))
    }

    /// Writes the plan, whole or not at all, so that it is on disk before anything of it is done.
    fn write(&self, plan: &Plan) -> Result<(), CowError> {
        let path = self.workspace.join(PLAN);
        let text = serde_json::to_vec(plan).map_err(|error| damaged(&path, &error))?;
        let written = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(self.workspace)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(self.workspace)?.sync_all()
        };
        written().map_err(at("write", &path))
    }

    /// Does what [`Attempt::apply`] does up to the `moves`th move, as if the machine stopped there.
    #[cfg(test)]
    pub(super) fn cut_off_after(&self, moves: usize, delta: &Delta) -> usize {
        let pending = self.check(delta).unwrap();
        let mut plan = self.plan(&pending).unwrap();
        let stage = self.prepare(&mut plan, &pending).unwrap();
        plan.steps.truncate(moves);
        run(&self.root, &stage, &plan).unwrap();
        plan.steps.len()
    }
}

fn run(root: &File, stage: &File, plan: &Plan) -> io::Result<()> {
    let (old, new) = folders(stage)?;
    for (n, step) in plan.steps.iter().enumerate() {
        let n = n.to_string();
        match step {
            Step::Take { path } => {
                let (dir, name) = parent(root, path)?;
                rename(dir.handle(), &name, &old, &n)?;
            }
            Step::Put { path } => {
                let (dir, name) = parent(root, path)?;
                rename(&new, &n, dir.handle(), &name)?;
            }
        }
    }
    Ok(())
}

/// The folders of a stage for what was there and for what is new.
fn folders(stage: &File) -> io::Result<(File, File)> {
    let open = |name| {
        let found = sys::find_plain(stage, name)?;
        found.reopen(OFlags::RDONLY | OFlags::DIRECTORY)
    };
    Ok((open("old")?, open("new")?))
}

fn is_prepared(stage: &File) -> bool {
    exists(stage, "old") && exists(stage, "new")
}

fn is_empty(dir: &File) -> io::Result<bool> {
    Ok(fs::read_dir(by_handle(dir))?.next().is_none())
}

/// A path that leads to the open directory, whatever its name has become.
fn by_handle(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// A path's directory and name, links on the way refused.
fn parent(root: &File, path: &str) -> io::Result<(Found, String)> {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((sys::find_plain(root, dir)?, name.to_owned()))
}

fn rename(from: &File, name: &str, to: &File, new: &str) -> io::Result<()> {
    match rustix::fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        // Not every file system has it; what is in the way was looked for before.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if exists(to, new) {
                return Err(Errno::EXIST.into());
            }
            Ok(rustix::fs::renameat(from, name, to, new)?)
        }
        result => Ok(result?),
    }
}

fn exists(dir: &File, name: &str) -> bool {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
