//! Bringing a difference into a directory: all of it or nothing.
//!
//! Everything new is first brought beside the directory's content, into a folder of its own (the stage), so that all
//! that can fail for want of space or rights fails there. Then each path is moved, and what was there is kept until the
//! end. After a failure, or at the next attempt after a crash, the moves are undone: which of them took place can be
//! read off the stage.
//!
//! The plan of the moves lies with the workspace in the run directory, never in the granted directory: an agent, or
//! whoever made a repository that was cloned, can write there, and a plan moves files. The stage has a random name that
//! stands in the plan together with its inode, and so does every single thing that is moved. What the plan does not
//! vouch for is neither undone nor deleted: the attempt is refused, and says what lies in its way.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::super::protect::STAGE;
use super::super::sys::{self, Kind};
use super::delta::{self, Delta, Item, PathDelta};
use super::moves::{self, Stage, Stuck, Undoing, by_handle, is_empty};
use super::plan::{Identity, PLAN, Plan, Progress, Step, Thing};
use super::protected::Guard;
use super::staging::{Freed, Staging};
use super::tree::Base;
use super::{CowError, at};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

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

/// A change that has not been made yet.
struct Pending<'d> {
    entry: &'d PathDelta,
    /// What is there now.
    now: Option<Thing>,
    /// Bytes that go with it.
    freed: u64,
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
        let root = moves::granted(host).map_err(at("open", host))?;
        // One attempt at a time; the lock goes with the handle, also when the process dies.
        rustix::fs::flock(&root, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| at("lock", host)(errno.into()))?;
        let guard = Guard::new(base, &root)?;
        let attempt = Attempt {
            workspace,
            base,
            copy,
            kept,
            root,
            guard,
        };
        attempt.recover()?;
        Ok(attempt)
    }

    /// The part of `delta` that a guest may change in this directory.
    pub(super) fn unprotected(&self, mut delta: Delta) -> Delta {
        let new = HashSet::new();
        delta
            .paths
            .retain(|entry| self.guard.check(entry, &new).is_ok());
        delta
    }

    /// Folders in the granted directory that look like a stage, and are none of this attempt.
    pub(super) fn leftovers(&self) -> Result<Vec<PathBuf>, CowError> {
        let host = &self.base.host;
        let failed = || at("read", host);
        let mut left = Vec::new();
        for entry in fs::read_dir(by_handle(&self.root)).map_err(failed())? {
            let name = entry.map_err(failed())?.file_name();
            if name.to_string_lossy().starts_with(STAGE) {
                left.push(host.join(name));
            }
        }
        left.sort();
        Ok(left)
    }

    /// Brings `delta` in.
    pub(super) fn apply(&self, delta: &Delta) -> Result<(), CowError> {
        let pending = self.check(delta)?;
        if pending.is_empty() {
            return Ok(());
        }
        let mut plan = self.plan()?;
        let (stage, staged) = match self.prepare(&mut plan, &pending) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.clear(&plan)?;
                return Err(error);
            }
        };
        match self.steps(delta, &pending, staged) {
            Ok(steps) => plan.steps = steps,
            Err(error) => {
                drop(stage);
                self.clear(&plan)?;
                return Err(error);
            }
        }
        self.finish(&mut plan, stage)
    }

    /// Makes the moves of a plan, or none, and deletes the stage.
    fn finish(&self, plan: &mut Plan, stage: Stage) -> Result<(), CowError> {
        if let Err(error) = self.carry_out(plan, &stage) {
            if plan.progress == Progress::Done {
                plan.progress = Progress::Moving;
                // It could not be written a moment ago; nothing depends on it unless the host stops right here.
                let _ = plan.write(self.workspace);
            }
            self.undo(&stage, plan, Undoing::Failed)?;
            drop(stage);
            self.clear(plan)?;
            return Err(error);
        }
        drop(stage);
        self.clear(plan)
    }

    /// Makes the moves of a plan, which is written down before and after them.
    fn carry_out(&self, plan: &mut Plan, stage: &Stage) -> Result<(), CowError> {
        plan.progress = Progress::Moving;
        plan.write(self.workspace)?;
        let moved = stage.run(&self.root, &plan.steps);
        moved
            .and_then(|()| stage.sync(&self.root, &plan.steps))
            .map_err(|source| CowError::RolledBack {
                host: self.base.host.clone(),
                source,
            })?;
        plan.progress = Progress::Done;
        plan.write(self.workspace)
    }

    /// Refuses when any of the paths is not what was copied, or is none that a guest may change; gives those that are
    /// not yet what they shall be.
    fn check<'d>(&self, delta: &'d Delta) -> Result<Vec<Pending<'d>>, CowError> {
        let host = &self.base.host;
        let new = delta.paths.iter().filter(|entry| entry.before.is_none());
        let new: HashSet<&str> = new.map(|entry| entry.path.as_str()).collect();
        let mut conflicts = Vec::new();
        let mut pending = Vec::new();
        for entry in &delta.paths {
            self.guard.check(entry, &new)?;
            let path = &entry.path;
            let found = delta::found_at(&self.root, path).map_err(at("read", &host.join(path)))?;
            let now = match &found {
                Some(found) => delta::item(found).map_err(at("read", &host.join(path)))?,
                None => None,
            };
            let unknown = matches!(entry.before, Some(Item::File { digest: None, .. }));
            if !unknown && now == entry.after {
                continue;
            }
            // A FIFO or the like is nothing to a guest, and in the way all the same.
            let special = found.as_ref().is_some_and(|it| it.kind() == Kind::Special);
            if unknown || special || now != entry.before {
                conflicts.push(path.clone());
            }
            let found = found.filter(|_| !special);
            pending.push(Pending {
                entry,
                now: found.as_ref().map(|found| Thing::of(found.meta())),
                freed: match &found {
                    Some(found) if found.kind() == Kind::File && found.links() == 1 => found.size(),
                    _ => 0,
                },
            });
        }
        conflicts.extend(self.unseen(&pending)?);
        if conflicts.is_empty() || down(Wall::BaseMoved) {
            Ok(pending)
        } else {
            conflicts.sort();
            conflicts.dedup();
            Err(CowError::Conflict {
                host: host.clone(),
                paths: conflicts,
            })
        }
    }

    /// What lies in directories that are about to go and does not go itself: it came after the copy was made, or was
    /// left out of it.
    fn unseen(&self, pending: &[Pending<'_>]) -> Result<Vec<String>, CowError> {
        let mut unseen = Vec::new();
        if down(Wall::ApplyUnseen) {
            return Ok(unseen);
        }
        let taken = pending.iter().filter(|change| change.now.is_some());
        let taken: HashSet<&str> = taken.map(|change| change.entry.path.as_str()).collect();
        for path in &taken {
            // Anything else has been found to be in the way already.
            let Ok(dir) = moves::folder(&self.root, path) else {
                continue;
            };
            let failed = || at("read", &self.base.host.join(path));
            for entry in fs::read_dir(by_handle(&dir)).map_err(failed())? {
                let name = entry.map_err(failed())?.file_name();
                let below = format!("{path}/{}", name.to_string_lossy());
                if name.to_str().is_none() || !taken.contains(below.as_str()) {
                    unseen.push(below);
                }
            }
        }
        Ok(unseen)
    }

    fn plan(&self) -> Result<Plan, CowError> {
        Plan::new(&self.root).map_err(at("prepare", &self.base.host))
    }

    /// The moves, with what each of them is about, after everything has been looked at once more: preparing takes a
    /// while.
    fn steps(
        &self,
        delta: &Delta,
        prepared: &[Pending<'_>],
        staged: Vec<Thing>,
    ) -> Result<Vec<Step>, CowError> {
        let pending = self.check(delta)?;
        let paths = |pending: &[Pending<'_>]| -> Vec<String> {
            let paths = pending.iter().map(|change| &change.entry.path);
            paths.cloned().collect()
        };
        let (before, now) = (paths(prepared), paths(&pending));
        if before != now {
            return Err(CowError::Conflict {
                host: self.base.host.clone(),
                paths: before.into_iter().filter(|it| !now.contains(it)).collect(),
            });
        }
        let mut steps: Vec<Step> = taken(&pending)
            .map(|(path, thing)| Step::Take {
                path: path.to_owned(),
                thing,
            })
            .collect();
        steps.extend(
            put(&pending)
                .zip(staged)
                .map(|((path, _), thing)| Step::Put {
                    path: path.to_owned(),
                    thing,
                }),
        );
        Ok(steps)
    }

    /// Writes the plan, makes the stage and brings everything new into it.
    fn prepare(
        &self,
        plan: &mut Plan,
        pending: &[Pending<'_>],
    ) -> Result<(Stage, Vec<Thing>), CowError> {
        plan.write(self.workspace)?;
        let shown = self.base.host.join(&plan.stage);
        let failed = || at("prepare", &shown);
        // Private: what is replaced may not be for everybody, nor what replaces it.
        let private = Mode::from_raw_mode(0o700);
        rustix::fs::mkdirat(&self.root, &plan.stage, private)
            .map_err(|errno| failed()(errno.into()))?;
        let dir = moves::folder(&self.root, &plan.stage).map_err(failed())?;
        plan.made = Some(Identity::of(&dir).map_err(failed())?);
        plan.write(self.workspace)?;
        let inside = by_handle(&dir);
        for name in ["old", "new"] {
            fs::create_dir(inside.join(name)).map_err(failed())?;
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let stage = Stage::open(dir).map_err(failed())?;
        let stage = stage.ok_or_else(missing).map_err(failed())?;
        let freed = pending.iter().map(|change| Freed {
            path: &change.entry.path,
            bytes: change.freed,
        });
        let freed = freed.collect();
        let mut staging = Staging::new(self.base, self.kept, &self.root, self.copy, freed)?;
        let mut staged = Vec::new();
        for (n, (path, item)) in (taken(pending).count()..).zip(put(pending)) {
            let to = inside.join("new").join(n.to_string());
            match item {
                Item::Dir => staging.dir(path, &to)?,
                Item::Symlink { target } => symlink(target, &to).map_err(failed())?,
                Item::File { .. } => staging.file(path, item, &to)?,
            }
            let found = sys::find_plain(&stage.new, n.to_string().as_str()).map_err(failed())?;
            staged.push(Thing::of(found.meta()));
        }
        for dir in [&stage.new, &stage.dir, &self.root] {
            dir.sync_all().map_err(failed())?;
        }
        Ok((stage, staged))
    }

    /// Undoes what is left of an attempt that was cut off.
    fn recover(&self) -> Result<(), CowError> {
        let Some(plan) = Plan::read(&self.plan_path())? else {
            return Ok(());
        };
        let here = Identity::of(&self.root).map_err(at("read", &self.base.host))?;
        if !here.is(&plan.root) && !down(Wall::ApplyPlan) {
            return Err(CowError::Elsewhere {
                host: self.base.host.clone(),
                plan: self.plan_path(),
            });
        }
        if plan.progress == Progress::Moving
            && let Some(stage) = self.stage(&plan)?
            // The host stopped before it had made both folders: nothing was moved.
            && let Some(stage) = Stage::open(stage).map_err(at("read", &self.base.host))?
        {
            self.undo(&stage, &plan, Undoing::CutOff)?;
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
        if found.kind() != Kind::Dir {
            return Err(self.foreign(path));
        }
        let stage = found
            .reopen(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(at("read", &path))?;
        let now = Identity::of(&stage).map_err(at("read", &path))?;
        match plan.made {
            _ if down(Wall::ApplyPlan) => Ok(Some(stage)),
            Some(made) if made.is(&now) => Ok(Some(stage)),
            // The host stopped between making it and writing down what it made: nothing is in it.
            None if is_empty(&stage).map_err(at("read", &path))? => Ok(None),
            _ => Err(self.foreign(path)),
        }
    }

    fn undo(&self, stage: &Stage, plan: &Plan, who: Undoing) -> Result<(), CowError> {
        for step in &plan.steps {
            self.guard.check_path(step.path())?;
        }
        let host = &self.base.host;
        let undone = stage.undo(&self.root, &plan.steps, who);
        undone.map_err(|stuck| match stuck {
            Stuck::Io(source) => CowError::HalfApplied {
                host: host.clone(),
                stage: host.join(&plan.stage),
                source,
            },
            Stuck::Beneath(path) => self.foreign(host.join(path)),
            Stuck::InStage(path) => self.foreign(host.join(&plan.stage).join(path)),
        })
    }

    /// Deletes the stage of a plan, and then the plan.
    fn clear(&self, plan: &Plan) -> Result<(), CowError> {
        let shown = self.base.host.join(&plan.stage);
        let deleted = match self.stage(plan)? {
            Some(stage) => moves::delete(&self.root, &plan.stage, &stage),
            None => moves::remove_dir(&self.root, &plan.stage),
        };
        deleted.map_err(|stuck| match stuck {
            Stuck::Io(error) => at("delete", &shown)(error),
            Stuck::Beneath(path) | Stuck::InStage(path) if path.is_empty() => {
                self.foreign(shown.clone())
            }
            Stuck::Beneath(path) | Stuck::InStage(path) => self.foreign(shown.join(path)),
        })?;
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

    fn foreign(&self, path: PathBuf) -> CowError {
        CowError::Foreign {
            path,
            plan: self.plan_path(),
        }
    }

    /// Does what [`Attempt::apply`] does, with somebody else doing something right before the first move.
    #[cfg(test)]
    pub(super) fn raced(&self, delta: &Delta, somebody: impl FnOnce()) -> Result<(), CowError> {
        let pending = self.check(delta)?;
        let mut plan = self.plan()?;
        let (stage, staged) = self.prepare(&mut plan, &pending)?;
        plan.steps = self.steps(delta, &pending, staged)?;
        somebody();
        self.finish(&mut plan, stage)
    }

    /// Does what [`Attempt::apply`] does up to the `moves`th move, as if the machine stopped there.
    #[cfg(test)]
    pub(super) fn cut_off_after(&self, moves: usize, delta: &Delta) -> usize {
        let pending = self.check(delta).unwrap();
        let mut plan = self.plan().unwrap();
        let (stage, staged) = self.prepare(&mut plan, &pending).unwrap();
        plan.steps = self.steps(delta, &pending, staged).unwrap();
        plan.progress = Progress::Moving;
        plan.write(self.workspace).unwrap();
        plan.steps.truncate(moves);
        stage.run(&self.root, &plan.steps).unwrap();
        plan.steps.len()
    }
}

/// What is taken away, deepest first, so that directories are empty when it is their turn.
fn taken<'p>(pending: &'p [Pending<'_>]) -> impl Iterator<Item = (&'p str, Thing)> {
    let taken = pending.iter().rev();
    taken.filter_map(|change| Some((change.entry.path.as_str(), change.now?)))
}

/// What is put there.
fn put<'p>(pending: &'p [Pending<'_>]) -> impl Iterator<Item = (&'p str, &'p Item)> {
    let put = pending.iter();
    put.filter_map(|change| Some((change.entry.path.as_str(), change.entry.after.as_ref()?)))
}
