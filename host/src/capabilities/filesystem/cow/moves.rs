//! The moves of a plan, done and undone.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, RenameFlags};
use rustix::io::Errno;

use super::super::sys::{self, Found, Kind};
use super::plan::{Step, Thing};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// The folder beside a directory's content that things are moved through.
pub(super) struct Stage {
    /// Itself.
    pub(super) dir: File,
    /// What was there.
    old: File,
    /// What shall be there.
    pub(super) new: File,
}

/// Why moves cannot be undone.
pub(super) enum Stuck {
    Io(io::Error),
    /// Something else lies where a move left something; the path is relative to the directory or to the stage.
    Beneath(String),
    InStage(String),
}

impl From<io::Error> for Stuck {
    fn from(error: io::Error) -> Stuck {
        Stuck::Io(error)
    }
}

/// Who asks for moves to be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undoing {
    /// The attempt that has made them.
    Failed,
    /// A later one: whatever lies in the stage may have been put there meanwhile.
    CutOff,
}

impl Stage {
    /// The two folders of a stage; nothing when they were not made yet.
    pub(super) fn open(dir: File) -> io::Result<Option<Stage>> {
        if !exists(&dir, "old") || !exists(&dir, "new") {
            return Ok(None);
        }
        let (old, new) = (folder(&dir, "old")?, folder(&dir, "new")?);
        Ok(Some(Stage { dir, old, new }))
    }

    /// Does all moves. Each thing that is taken is looked at once more where nobody else reaches it.
    pub(super) fn run(&self, root: &File, steps: &[Step]) -> io::Result<()> {
        for (n, step) in steps.iter().enumerate() {
            let n = n.to_string();
            let (dir, name) = parent(root, step.path())?;
            match step {
                Step::Take { path, thing } => {
                    rename(dir.handle(), &name, &self.old, &n)?;
                    let taken = sys::find_plain(&self.old, n.as_str())?;
                    if Thing::of(taken.meta()) != *thing && !down(Wall::BaseMoved) {
                        let reason = format!("`{path}` was changed right now");
                        return Err(io::Error::other(reason));
                    }
                    if taken.kind() == Kind::Dir
                        && !is_empty(&taken.reopen(OFlags::RDONLY | OFlags::DIRECTORY)?)?
                        && !down(Wall::ApplyUnseen)
                    {
                        let reason =
                            format!("`{path}` has something in it that the run did not see");
                        return Err(io::Error::other(reason));
                    }
                }
                Step::Put { .. } => rename(&self.new, &n, dir.handle(), &name)?,
            }
        }
        Ok(())
    }

    /// Waits until all that was moved is on disk.
    pub(super) fn sync(&self, root: &File, steps: &[Step]) -> io::Result<()> {
        let dirs: BTreeSet<&str> = steps.iter().map(|step| split(step.path()).0).collect();
        for dir in dirs {
            // It may be gone itself: then its own directory is among them.
            if let Ok(dir) = folder(root, dir) {
                dir.sync_all()?;
            }
        }
        for dir in [&self.old, &self.new, &self.dir] {
            dir.sync_all()?;
        }
        Ok(())
    }

    /// Undoes, last one first, the moves that took place. Looks first whether all of them can be.
    pub(super) fn undo(&self, root: &File, steps: &[Step], who: Undoing) -> Result<(), Stuck> {
        self.can_undo(root, steps, who)?;
        for (n, step) in steps.iter().enumerate().rev() {
            let n = n.to_string();
            match step {
                Step::Put { path, .. } if !exists(&self.new, &n) => {
                    let Ok((dir, name)) = parent(root, path) else {
                        continue;
                    };
                    if !exists(dir.handle(), &name) {
                        continue;
                    }
                    rename(dir.handle(), &name, &self.new, &n)?;
                    if let Ok(put) = folder(&self.new, &n)
                        && !is_empty(&put)?
                    {
                        rename(&self.new, &n, dir.handle(), &name)?;
                        return Err(Stuck::Beneath(path.clone()));
                    }
                }
                Step::Take { path, .. } if exists(&self.old, &n) => {
                    let (dir, name) = parent(root, path)?;
                    rename(&self.old, &n, dir.handle(), &name)?;
                }
                Step::Put { .. } | Step::Take { .. } => {}
            }
        }
        self.sync(root, steps)?;
        Ok(())
    }

    /// Whether what lies there is what the moves have left there.
    fn can_undo(&self, root: &File, steps: &[Step], who: Undoing) -> Result<(), Stuck> {
        let mut put = HashSet::new();
        for (n, step) in steps.iter().enumerate().rev() {
            let number = n.to_string();
            let here = sys::find_plain(root, step.path()).ok();
            match step {
                Step::Put { path, thing } if !exists(&self.new, &number) => {
                    // Who has deleted it meanwhile has done half of the work.
                    if here.is_some_and(|here| Thing::of(here.meta()) != *thing) {
                        return Err(Stuck::Beneath(path.clone()));
                    }
                    put.insert(path);
                }
                Step::Take { path, thing } if exists(&self.old, &number) => {
                    if here.is_some() && !put.contains(path) {
                        return Err(Stuck::Beneath(path.clone()));
                    }
                    let old = sys::find_plain(&self.old, number.as_str())?;
                    let ours = who == Undoing::Failed || old.inode().number == thing.inode;
                    if !ours && !down(Wall::ApplyPlan) {
                        return Err(Stuck::InStage(format!("old/{number}")));
                    }
                }
                Step::Put { .. } | Step::Take { .. } => {}
            }
        }
        Ok(())
    }
}

/// Deletes a stage and what was moved into it, but no directory with something in it: that came from elsewhere.
pub(super) fn delete(root: &File, name: &str, stage: &File) -> Result<(), Stuck> {
    for part in ["old", "new"] {
        let Ok(dir) = folder(stage, part) else {
            continue;
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir).map_err(io::Error::from)? {
            let entry = entry.map_err(io::Error::from)?;
            if ![c".", c".."].contains(&entry.file_name()) {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in names {
            let deleted = match rustix::fs::unlinkat(&dir, &name, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    rustix::fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR)
                }
                result => result,
            };
            let shown = format!("{part}/{}", name.to_string_lossy());
            empty_or(deleted, shown)?;
        }
        empty_or(
            rustix::fs::unlinkat(stage, part, AtFlags::REMOVEDIR),
            part.to_owned(),
        )?;
    }
    remove_dir(root, name)
}

/// Deletes an empty folder, if it is there.
pub(super) fn remove_dir(root: &File, name: &str) -> Result<(), Stuck> {
    empty_or(
        rustix::fs::unlinkat(root, name, AtFlags::REMOVEDIR),
        String::new(),
    )
}

fn empty_or(deleted: Result<(), Errno>, shown: String) -> Result<(), Stuck> {
    match deleted {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Err(Stuck::InStage(shown)),
        Err(errno) => Err(Stuck::Io(errno.into())),
    }
}

pub(super) fn folder(dir: &File, name: &str) -> io::Result<File> {
    let found = sys::find_plain(dir, name)?;
    found.reopen(OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a directory by its absolute path without links. A link that stands there now leads to one that nobody granted.
pub(super) fn granted(host: &Path) -> io::Result<File> {
    let beneath = host.strip_prefix("/").map_err(io::Error::other)?;
    let beneath = match beneath.as_os_str().is_empty() {
        true => Path::new("."),
        false => beneath,
    };
    if down(Wall::ApplyPlace) {
        return File::open(host);
    }
    let found = sys::find_plain(&File::open("/")?, beneath)?;
    if found.kind() == Kind::Symlink {
        return Err(Errno::LOOP.into());
    }
    found.reopen(OFlags::RDONLY | OFlags::DIRECTORY)
}

pub(super) fn is_empty(dir: &File) -> io::Result<bool> {
    Ok(std::fs::read_dir(by_handle(dir))?.next().is_none())
}

/// A path that leads to the open directory, whatever its name has become.
pub(super) fn by_handle(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// Directory and name of a path.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

/// A path's directory and name, links on the way refused.
fn parent(root: &File, path: &str) -> io::Result<(Found, String)> {
    let (dir, name) = split(path);
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
