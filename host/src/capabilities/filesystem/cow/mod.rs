//! Copy-on-write directories: the guest works on a copy, the operator decides what becomes of it.
//!
//! The copy is made when the run starts ([`Workspace::prepare`]), by sharing blocks where the file system
//! can, so that the granted directory is never open for writing and a run that dies half-way leaves its
//! work in the copy. Afterwards [`Workspace::delta`] says what is different, [`Workspace::patch`] shows it
//! as a patch git understands, and [`Workspace::apply`] brings it into the granted directory, all of it or
//! nothing, and only if nobody has changed the same paths meanwhile.
//!
//! On disk a workspace is a directory with `tree` (the copy), `base.json` (what was copied) and, once it
//! was asked for, `delta.json`. All three carry a version.

mod apply;
mod copy;
mod delta;
mod marks;
mod moves;
mod patch;
mod permissions;
mod plan;
mod protected;
mod staging;
pub(super) mod tree;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::Hint;
use crate::host_places::HostPlaces;
use crate::unseen;

pub use copy::CopyLimits;
pub use delta::{Delta, Item, PathDelta};
pub use marks::Mark;

use super::effort::Effort;
use super::protect::Protection;
use super::remove::remove_tree;
use apply::Attempt;
use tree::Base;

/// Version of `base.json` and `delta.json`.
const VERSION: u32 = 1;

/// A directory of the host and a copy of it.
#[derive(Debug)]
pub struct Workspace {
    dir: PathBuf,
    base: Base,
}

/// A copy-on-write directory cannot be made, compared or applied.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum CowError {
    #[error("cannot {doing} `{}`: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("cannot copy `{}`: it has more than {max} {of}", host.display())]
    TooLarge {
        host: PathBuf,
        of: &'static str,
        max: u64,
    },
    #[error("cannot copy `{}`: it keeps changing", path.display())]
    Restless { path: PathBuf },
    #[error("cannot read `{}`: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot apply to `{}`: {} changed since the run began", host.display(), list(paths))]
    Conflict { host: PathBuf, paths: Vec<String> },
    #[error("cannot change `{path}`: {rule}")]
    Protected { path: String, rule: String },
    #[error(
        "cannot apply to `{}`: it would grow by more than {max} bytes, the limit `disk-bytes` of the run",
        host.display()
    )]
    TooMuch { host: PathBuf, max: u64 },
    #[error(
        "cannot undo an attempt to apply to `{}`: it is not the directory that was changed then",
        host.display()
    )]
    Elsewhere { host: PathBuf, plan: PathBuf },
    #[error(
        "cannot undo an attempt to apply that was cut off: `{}` is not what it left there",
        path.display()
    )]
    Foreign { path: PathBuf, plan: PathBuf },
    #[error("cannot apply to `{}`: {source}; nothing was changed", host.display())]
    RolledBack { host: PathBuf, source: io::Error },
    #[error(
        "cannot undo what was applied to `{}`: {source}; what it replaced is in `{}`",
        host.display(),
        stage.display()
    )]
    HalfApplied {
        host: PathBuf,
        stage: PathBuf,
        source: io::Error,
    },
}

impl Hint for CowError {
    fn hint(&self) -> Option<String> {
        match self {
            CowError::TooLarge { .. } => {
                Some("grant a smaller directory, or grant this one `rw`".to_owned())
            }
            CowError::Conflict { .. } => {
                Some("apply the patch by hand, or discard it and run again".to_owned())
            }
            CowError::HalfApplied { .. } => {
                Some("applying again first undoes what is left of this attempt".to_owned())
            }
            CowError::Protected { .. } => Some(
                "what a run may not change is not applied in its name either; apply the patch by hand".to_owned(),
            ),
            CowError::TooMuch { .. } => Some(
                "review `workspace.patch` and apply it by hand, or run again with a greater `--limit disk-bytes`"
                    .to_owned(),
            ),
            CowError::Elsewhere { plan, .. } => Some(format!(
                "bring the directory back that was there; or delete `{}`, which says what was moved, to leave all as it is",
                plan.display()
            )),
            CowError::Foreign { plan, .. } => Some(format!(
                "look at it and move it away; or delete `{}`, which says what was moved, to leave all as it is",
                plan.display()
            )),
            CowError::Io { source, .. } if is_link(source) => Some(
                "a symbolic link stands in its place or above it now; apply the patch by hand if that is right"
                    .to_owned(),
            ),
            CowError::Io { .. }
            | CowError::Restless { .. }
            | CowError::Damaged { .. }
            | CowError::RolledBack { .. } => None,
        }
    }
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

fn list(paths: &[String]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .take(5)
        .map(|path| format!("`{}`", unseen::path(path)))
        .collect();
    let more = paths.len().saturating_sub(shown.len());
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Workspace {
    /// Copies `host` into `dir`, which must not exist yet. Regular files, directories and symbolic links
    /// are copied; FIFOs, sockets, devices, names that are not UTF-8 and what is withheld are left out. Blocks.
    ///
    /// # Errors
    /// Something cannot be read or written, or `host` is larger than `limits`.
    pub fn prepare(
        host: &Path,
        dir: &Path,
        limits: &CopyLimits,
        withheld: &HostPlaces,
    ) -> Result<Workspace, CowError> {
        Workspace::prepare_from(host, host, dir, limits, withheld)
    }

    /// Says what of it a guest may not change, and by how many bytes a run may let it grow; both are asked about when
    /// the difference is applied. A workspace that was not told keeps the standard protection.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn bounded(
        mut self,
        protection: &Protection,
        disk_bytes: Option<u64>,
    ) -> Result<Workspace, CowError> {
        self.base.protection = protection.clone();
        self.base.disk_bytes = disk_bytes;
        self.write()?;
        Ok(self)
    }

    fn write(&self) -> Result<(), CowError> {
        let text = serde_json::to_vec(&self.base).map_err(|error| damaged(&self.dir, &error))?;
        let path = self.dir.join("base.json");
        fs::write(&path, text).map_err(at("make the workspace", &path))
    }

    /// The same with a copy of `source`, which is what `host` was like at some time: what is changed is
    /// applied to `host`, if it is still like that.
    ///
    /// # Errors
    /// As [`Workspace::prepare`].
    pub fn prepare_from(
        source: &Path,
        host: &Path,
        dir: &Path,
        limits: &CopyLimits,
        withheld: &HostPlaces,
    ) -> Result<Workspace, CowError> {
        let doing = "make the workspace";
        // Private to the user: a copy of what others may not be able to read.
        let made = fs::DirBuilder::new().mode(0o700).create(dir);
        made.map_err(at(doing, dir))?;
        let mut base = copy::copy(source, &dir.join("tree"), limits, withheld)?;
        if source != host {
            base.source = Some(std::mem::replace(&mut base.host, host.to_owned()));
        }
        let workspace = Workspace {
            dir: dir.to_owned(),
            base,
        };
        workspace.write()?;
        Ok(workspace)
    }

    /// Opens a workspace that was prepared before.
    ///
    /// # Errors
    /// It cannot be read, or was written by a version that is not understood.
    pub fn open(dir: &Path) -> Result<Workspace, CowError> {
        let path = dir.join("base.json");
        let text = fs::read(&path).map_err(at("read", &path))?;
        let base: Base = serde_json::from_slice(&text).map_err(|error| damaged(&path, &error))?;
        if base.version != VERSION {
            let reason = format!("version {} is not understood", base.version);
            return Err(CowError::Damaged { path, reason });
        }
        Ok(Workspace {
            dir: dir.to_owned(),
            base,
        })
    }

    /// The directory the guest gets.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// The directory that was copied.
    #[must_use]
    pub fn host(&self) -> &Path {
        &self.base.host
    }

    /// What was left out of the copy.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        &self.base.skipped
    }

    /// What is different from what was copied, by path; kept in `delta.json`. Blocks.
    ///
    /// # Errors
    /// Something cannot be read.
    pub fn delta(&self) -> Result<Delta, CowError> {
        self.delta_within(&Effort::unbounded())
    }

    /// The same, as far as `effort` goes: what is more to read than that is listed without having been read.
    ///
    /// # Errors
    /// As [`Workspace::delta`].
    pub fn delta_within(&self, effort: &Effort) -> Result<Delta, CowError> {
        let delta = delta::compare(&self.base, &self.tree(), effort)?;
        let path = self.dir.join("delta.json");
        let text = serde_json::to_vec(&delta).map_err(|error| damaged(&path, &error))?;
        fs::write(&path, text).map_err(at("write", &path))?;
        Ok(delta)
    }

    /// Which of these changes other programs of the operator's will run or obey, by path.
    #[must_use]
    pub fn marks(&self, delta: &Delta) -> Vec<Mark> {
        marks::marks(&self.base, delta)
    }

    /// Writes the difference as a patch in git's format, binary files included. Blocks.
    ///
    /// A file that was changed on the host since the copy was made cannot be shown line by line any more;
    /// it is named instead, and so is what is more to show than `effort` allows.
    ///
    /// # Errors
    /// Something cannot be read or written.
    pub fn patch(
        &self,
        delta: &Delta,
        effort: &Effort,
        out: &mut dyn io::Write,
    ) -> Result<(), CowError> {
        patch::write(self.base.source(), &self.tree(), delta, effort, out)
    }

    /// Brings the difference into the granted directory: all of it, or nothing when any of the paths has
    /// been changed there since. What is beside them may have changed. Blocks.
    ///
    /// An attempt that was cut off (the machine lost power) is undone by the next one. What replaces a file takes over
    /// its owner, its permissions and its extended attributes; a file with several names gets one of its own.
    ///
    /// # Errors
    /// [`CowError::Conflict`] names the paths in the way. After any error but
    /// [`CowError::HalfApplied`] the directory is as it was.
    pub fn apply(&self, delta: &Delta) -> Result<(), CowError> {
        if delta.unread > 0 {
            // What nobody has read cannot be what was reviewed.
            let path = self.dir.join("delta.json");
            let reason = format!("{} of the files in it were not read", delta.unread);
            return Err(CowError::Damaged { path, reason });
        }
        let tree = self.tree();
        Attempt::begin(&self.dir, &self.base, &tree, None)?.apply(delta)
    }

    /// Makes the granted directory what the copy `then` is: all of it, or nothing when it was changed since it was
    /// copied. What a guest may not change is left as it is now: whoever changed it was not the guest. Blocks. Returns
    /// what was different.
    ///
    /// # Errors
    /// As [`Workspace::apply`].
    pub fn turn_into(&self, then: &Workspace) -> Result<Delta, CowError> {
        let tree = then.tree();
        let attempt = Attempt::begin(&self.dir, &self.base, &tree, Some(&then.base))?;
        let delta = attempt.unprotected(delta::compare(&self.base, &tree, &Effort::unbounded())?);
        attempt.apply(&delta)?;
        Ok(delta)
    }

    /// Undoes what is left of an attempt to apply that was cut off. Blocks. Returns folders in the granted directory
    /// that look as if they were left of one, and are none of this workspace: nothing is done to them.
    ///
    /// # Errors
    /// It cannot be undone, or the granted directory cannot be read.
    pub fn recover(&self) -> Result<Vec<PathBuf>, CowError> {
        let tree = self.tree();
        Attempt::begin(&self.dir, &self.base, &tree, None)?.leftovers()
    }

    /// Whether an attempt to apply was cut off, and has not been undone.
    #[must_use]
    pub fn is_cut_off(dir: &Path) -> bool {
        dir.join(plan::PLAN).exists()
    }

    /// Deletes the copy and everything kept with it. What is left of an attempt to apply is undone first. Blocks.
    ///
    /// # Errors
    /// Something cannot be undone or deleted.
    pub fn discard(self) -> Result<(), CowError> {
        if Workspace::is_cut_off(&self.dir) {
            match self.recover() {
                // Nothing is left that could be put right.
                Err(CowError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                result => drop(result?),
            }
        }
        remove_tree(&self.dir, None).map_err(at("delete", &self.dir))
    }
}

/// Adds to an I/O error what was being done.
fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CowError + use<> {
    let path = path.to_owned();
    move |source| CowError::Io {
        doing,
        path,
        source,
    }
}

fn damaged(path: &Path, error: &serde_json::Error) -> CowError {
    CowError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
