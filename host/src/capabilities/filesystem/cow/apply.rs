//! Bringing a difference into a directory: all of it or nothing.
//!
//! Everything new is first brought beside the directory's content, into a folder of its own, so that all
//! that can fail for want of space or rights fails there. Then each path is moved, and what was there is
//! kept until the end. After a failure, or at the next attempt after a crash, the moves are undone: which of
//! them took place can be read off the folder.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::super::sys::{self, Found};
use super::delta::{self, Delta, Item, PathDelta};
use super::{CowError, VERSION, at, copy, damaged};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Name of the folder things are moved through. It begins like nothing a guest or a tool would make.
const STAGE: &str = ".wasm-agent-apply";

/// One move, of what is at `path` to `old/N`, or of `new/N` to `path`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Step {
    Take { path: String },
    Put { path: String },
}

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    version: u32,
    steps: Vec<Step>,
}

pub(super) fn apply(host: &Path, copy: &Path, delta: &Delta) -> Result<(), CowError> {
    let root = File::open(host).map_err(at("open", host))?;
    // One attempt at a time; the lock goes with the handle, also when the process dies.
    rustix::fs::flock(&root, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|errno| at("lock", host)(errno.into()))?;
    let stage = host.join(STAGE);
    recover(&root, host, &stage)?;
    let pending = check(&root, host, delta)?;
    if pending.is_empty() {
        return Ok(());
    }
    let plan = match prepare(copy, &stage, &pending) {
        Ok(plan) => plan,
        Err(error) => {
            fs::remove_dir_all(&stage).map_err(at("delete", &stage))?;
            return Err(error);
        }
    };
    // Once more: preparing takes a while.
    let result = check(&root, host, delta).and_then(|_| {
        run(&root, &stage, &plan).map_err(|source| CowError::RolledBack {
            host: host.to_owned(),
            source,
        })
    });
    if let Err(error) = result {
        undo(&root, &stage, &plan).map_err(|source| CowError::HalfApplied {
            host: host.to_owned(),
            stage: stage.clone(),
            source,
        })?;
        fs::remove_dir_all(&stage).map_err(at("delete", &stage))?;
        return Err(error);
    }
    // From here on it is applied: without its plan the folder is only rubbish.
    fs::remove_file(stage.join("plan.json")).map_err(at("finish", &stage))?;
    fs::remove_dir_all(&stage).map_err(at("delete", &stage))
}

/// Refuses when any of the paths is not what was copied; gives those that are not yet what they shall be.
fn check<'a>(root: &File, host: &Path, delta: &'a Delta) -> Result<Vec<&'a PathDelta>, CowError> {
    let mut conflicts = Vec::new();
    let mut pending = Vec::new();
    for entry in &delta.paths {
        let path = &entry.path;
        let now = delta::item_at(root, path).map_err(at("read", &host.join(path)))?;
        let unknown = matches!(entry.before, Some(Item::File { digest: None, .. }));
        let ours = Path::new(path).starts_with(STAGE);
        if !unknown && !ours && now == entry.after {
            continue;
        }
        if unknown || ours || now != entry.before {
            conflicts.push(path.clone());
        }
        pending.push(entry);
    }
    if conflicts.is_empty() || down(Wall::BaseMoved) {
        Ok(pending)
    } else {
        Err(CowError::Conflict {
            host: host.to_owned(),
            paths: conflicts,
        })
    }
}

/// Brings everything new into the folder and writes down what is to be moved.
fn prepare(copy: &Path, stage: &Path, pending: &[&PathDelta]) -> Result<Plan, CowError> {
    let failed = |path: &Path| at("prepare", path);
    for dir in [stage.to_owned(), stage.join("old"), stage.join("new")] {
        fs::create_dir(&dir).map_err(failed(&dir))?;
    }
    let root = File::open(copy).map_err(failed(copy))?;
    let mut steps = Vec::new();
    // Deepest first, so that directories are empty when they are taken.
    for entry in pending.iter().rev() {
        if entry.before.is_some() {
            steps.push(Step::Take {
                path: entry.path.clone(),
            });
        }
    }
    for PathDelta { path, after, .. } in pending {
        let to = stage.join("new").join(steps.len().to_string());
        match after {
            None => continue,
            Some(Item::Dir) => fs::create_dir(&to).map_err(failed(&to))?,
            Some(Item::Symlink { target }) => symlink(target, &to).map_err(failed(&to))?,
            Some(item @ Item::File { executable, .. }) => {
                let from = copy.join(path);
                let found = sys::find_plain(&root, path).map_err(failed(&from))?;
                let file = found.reopen(OFlags::RDONLY).map_err(failed(&from))?;
                copy::copy_file(&file, &to, *executable).map_err(failed(&from))?;
                let written = File::open(&to).map_err(failed(&to))?;
                written.sync_all().map_err(failed(&to))?;
                let written = Found::again(&written).map_err(failed(&to))?;
                // What was reviewed is what is applied.
                if delta::item(&written).map_err(failed(&to))?.as_ref() != Some(item) {
                    let reason = "it was changed after it was compared".to_owned();
                    return Err(CowError::Damaged { path: from, reason });
                }
            }
        }
        steps.push(Step::Put { path: path.clone() });
    }
    let plan = Plan {
        version: VERSION,
        steps,
    };
    let path = stage.join("plan.json");
    let text = serde_json::to_vec(&plan).map_err(|error| damaged(&path, &error))?;
    fs::write(&path, text).map_err(failed(&path))?;
    let file = File::open(&path).map_err(failed(&path))?;
    file.sync_all().map_err(failed(&path))?;
    Ok(plan)
}

/// A path's directory and name, links on the way refused.
fn parent(root: &File, path: &str) -> io::Result<(Found, String)> {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    Ok((sys::find_plain(root, dir)?, name.to_owned()))
}

fn run(root: &File, stage: &Path, plan: &Plan) -> io::Result<()> {
    let (old, new) = (
        File::open(stage.join("old"))?,
        File::open(stage.join("new"))?,
    );
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

/// Undoes, last one first, the moves that took place.
fn undo(root: &File, stage: &Path, plan: &Plan) -> io::Result<()> {
    let (old, new) = (
        File::open(stage.join("old"))?,
        File::open(stage.join("new"))?,
    );
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
}

/// Undoes what is left of an attempt that was cut off.
fn recover(root: &File, host: &Path, stage: &Path) -> Result<(), CowError> {
    if sys::find_plain(root, STAGE).is_err() {
        return Ok(());
    }
    let path: PathBuf = stage.join("plan.json");
    match fs::read(&path) {
        Ok(text) => {
            // Cut off while it was written: nothing was moved yet.
            if let Ok(plan) = serde_json::from_slice::<Plan>(&text) {
                undo(root, stage, &plan).map_err(|source| CowError::HalfApplied {
                    host: host.to_owned(),
                    stage: stage.to_owned(),
                    source,
                })?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at("read", &path)(error)),
    }
    fs::remove_dir_all(stage).map_err(at("delete", stage))
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

/// Does what [`apply`] does up to the `moves`th move, as if the machine stopped there.
#[cfg(test)]
pub(super) fn cut_off_after(moves: usize, host: &Path, copy: &Path, delta: &Delta) -> usize {
    let root = File::open(host).unwrap();
    let pending = check(&root, host, delta).unwrap();
    let stage = host.join(STAGE);
    let mut plan = prepare(copy, &stage, &pending).unwrap();
    plan.steps.truncate(moves);
    run(&root, &stage, &plan).unwrap();
    plan.steps.len()
}

/// What [`apply`] does first.
#[cfg(test)]
pub(super) fn recover_only(host: &Path) -> Result<(), CowError> {
    let root = File::open(host).unwrap();
    recover(&root, host, &host.join(STAGE))
}
