//! The copy-on-write directories of a run: made before the guest starts, compared after it ended, and
//! applied or discarded by the operator whenever they like.
//!
//! ```text
//! <run>/cow/0/             a workspace; see `capabilities::filesystem::cow`
//!       cow/0/guest        where the guest had it
//!       workspace.patch    what the run changed in all of them
//!       marks.json         which of that other programs will run
//! ```

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::kept::Kept;
use crate::capabilities::filesystem::cow::{CopyLimits, CowError, Delta, Mark, Workspace};
use crate::capabilities::filesystem::{Effort, Protection};
use crate::error::Hint;
use crate::grants::{self, Access, DirGrant, Grants};
use crate::json::printable;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::unseen;

const FOLDER: &str = "cow";
const PATCH: &str = "workspace.patch";
/// What was marked in it, for who looks at the run later.
pub(super) const MARKS: &str = "marks.json";

/// The copies of one run, in the order of its grants.
#[derive(Debug, Default)]
pub struct Workspaces {
    run: PathBuf,
    copies: Vec<(String, Workspace)>,
}

/// What a run changed in one copy, not applied yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The directory that was granted.
    pub host: PathBuf,
    /// What is different.
    pub delta: Delta,
    /// Which of it other programs of the operator's will run or obey.
    pub marks: Vec<Mark>,
}

/// The copies of a run cannot be made, compared, applied or discarded.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum WorkspacesError {
    #[error(transparent)]
    Cow(#[from] CowError),
    #[error("cannot grant `{guest}` copy-on-write: this run keeps no directory for the copy")]
    NoDirectory { guest: String },
    #[error(
        "cannot go on in `{}`: it was `{}` when the run began",
        now.display(),
        then.display()
    )]
    Moved { now: PathBuf, then: PathBuf },
    #[error("run `{}` has no copies of directories", run.display())]
    None { run: PathBuf },
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl Hint for WorkspacesError {
    fn hint(&self) -> Option<String> {
        match self {
            WorkspacesError::Cow(error) => error.hint(),
            WorkspacesError::None { .. } => {
                Some("a directory is copied when it is granted with `:cow`".to_owned())
            }
            WorkspacesError::Moved { .. } => Some(
                "a symbolic link stands in its place or above it now; with `fork`, say where it is with `--dir`"
                    .to_owned(),
            ),
            WorkspacesError::NoDirectory { .. } | WorkspacesError::Io { .. } => None,
        }
    }
}

/// What a guest may not change in the directories it may write to, in the words of the file system.
pub(super) fn protection(grants: &Grants) -> Protection {
    match &grants.protection {
        grants::Protection::Standard(_) if down(Wall::ProtectedExtra) => {
            Protection::Standard(Vec::new())
        }
        grants::Protection::Standard(patterns) => {
            let patterns = patterns.iter().map(ToString::to_string);
            Protection::Standard(patterns.chain(guarded(grants).cloned()).collect())
        }
        grants::Protection::Off => Protection::Off,
    }
}

/// Places the guest may not change because the host reads, builds or runs what is there.
fn guarded(grants: &Grants) -> impl Iterator<Item = &String> {
    let guarded = grants.guarded.iter();
    guarded.filter(|_| !down(Wall::OperatorInputs))
}

/// The same for one directory when its content is brought into it: places are called as on the host.
pub(super) fn protection_of(dir: &DirGrant, grants: &Grants) -> Protection {
    let mut protection = protection(grants);
    if let Protection::Standard(patterns) = &mut protection {
        patterns.retain(|pattern| !pattern.starts_with('/'));
        let places = guarded(grants).filter_map(|place| {
            let below = Path::new(place).strip_prefix(&dir.guest).ok()?;
            Some(dir.host.join(below).display().to_string())
        });
        patterns.extend(places);
    }
    protection
}

impl Workspaces {
    /// Copies every directory that is granted copy-on-write. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// A directory is too large or cannot be copied, or there is no run directory to copy it to.
    pub fn prepare(run: Option<&Path>, grants: &Grants) -> Result<Workspaces, WorkspacesError> {
        Workspaces::prepare_from(None, run, grants)
    }

    /// The same with copies of what the directories were like, where that was kept.
    ///
    /// # Errors
    ///
    /// As [`Workspaces::prepare`].
    pub fn prepare_from(
        sources: Option<&Kept>,
        run: Option<&Path>,
        grants: &Grants,
    ) -> Result<Workspaces, WorkspacesError> {
        let dirs = grants.dirs.iter();
        let cow = dirs.filter(|dir| dir.access == Access::CopyOnWrite);
        let mut copies = Vec::new();
        for (index, dir) in cow.enumerate() {
            let guest = || dir.guest.clone();
            let run = run.ok_or_else(|| WorkspacesError::NoDirectory { guest: guest() })?;
            let folder = run.join(FOLDER);
            fs::create_dir_all(&folder).map_err(at("make", &folder))?;
            let folder = folder.join(index.to_string());
            let source = sources
                .and_then(|kept| kept.dir(&dir.guest))
                .unwrap_or_else(|| dir.host.clone());
            let limits = CopyLimits::default();
            let copy =
                Workspace::prepare_from(&source, &dir.host, &folder, &limits, &grants.withheld)?
                    .bounded(&protection_of(dir, grants), Some(grants.limits.disk_bytes))?;
            let name = folder.join("guest");
            fs::write(&name, &dir.guest).map_err(at("write", &name))?;
            copies.push((guest(), copy));
        }
        Ok(Workspaces {
            run: run.unwrap_or(Path::new("")).to_owned(),
            copies,
        })
    }

    /// Opens the copies of a run that has ended.
    ///
    /// # Errors
    ///
    /// It has none, or they cannot be read.
    pub fn open(run: &Path) -> Result<Workspaces, WorkspacesError> {
        let mut copies = Vec::new();
        loop {
            let folder = run.join(FOLDER).join(copies.len().to_string());
            if !folder.is_dir() {
                break;
            }
            let name = folder.join("guest");
            let guest = fs::read_to_string(&name).map_err(at("read", &name))?;
            copies.push((guest, Workspace::open(&folder)?));
        }
        if copies.is_empty() {
            return Err(WorkspacesError::None {
                run: run.to_owned(),
            });
        }
        Ok(Workspaces {
            run: run.to_owned(),
            copies,
        })
    }

    /// The copy that stands for the guest's directory, if that is granted copy-on-write.
    #[must_use]
    pub fn tree(&self, guest: &str) -> Option<PathBuf> {
        let (_, copy) = self.copies.iter().find(|(name, _)| name == guest)?;
        Some(copy.tree())
    }

    /// Compares the copies with what was copied, as far as `reading` goes, and writes `workspace.patch`, as far as
    /// `showing` does. Returns how many paths are different. Blocks.
    ///
    /// # Errors
    ///
    /// A copy cannot be read, or the patch not written. The patch says so where it can be written.
    pub fn settle(&self, reading: &Effort, showing: &Effort) -> Result<usize, WorkspacesError> {
        if self.copies.is_empty() {
            return Ok(0);
        }
        let path = self.run.join(PATCH);
        let file = File::create(&path).map_err(at("write", &path))?;
        let mut out = BufWriter::new(file);
        let mut changed = 0;
        let mut marks = Vec::new();
        for (guest, copy) in &self.copies {
            // Text before the first `diff` line is a remark to git and patch alike.
            writeln!(out, "# {guest} ({})", copy.host().display()).map_err(at("write", &path))?;
            let delta = copy.delta_within(reading);
            let shown = delta.and_then(|delta| {
                changed += delta.paths.len();
                for Mark { path: name, reason } in copy.marks(&delta) {
                    let (shown, why) = (unseen::path(&name), unseen::line(&reason));
                    writeln!(out, "# ! {shown}  {why}").map_err(|source| CowError::Io {
                        doing: "write",
                        path: path.clone(),
                        source,
                    })?;
                    marks.push(Mark {
                        path: format!("{}/{name}", guest.trim_end_matches('/')),
                        reason,
                    });
                }
                copy.patch(&delta, showing, &mut out)
            });
            if let Err(error) = shown {
                // An empty patch would say that nothing is different.
                let text = printable(&error.to_string());
                writeln!(out, "# it is not known what is different: {text}")
                    .and_then(|()| out.flush())
                    .map_err(at("write", &path))?;
                return Err(error.into());
            }
        }
        out.flush().map_err(at("write", &path))?;
        let path = self.run.join(MARKS);
        let text = serde_json::to_vec(&marks).map_err(|error| at("write", &path)(error.into()))?;
        fs::write(&path, text).map_err(at("write", &path))?;
        Ok(changed)
    }

    /// What the run changed and is not applied yet, by directory. Blocks.
    ///
    /// # Errors
    ///
    /// A copy cannot be read.
    pub fn pending(&self) -> Result<Vec<Pending>, WorkspacesError> {
        let copies = self.copies.iter().map(|(_, copy)| {
            let delta = copy.delta()?;
            Ok(Pending {
                host: copy.host().to_owned(),
                marks: copy.marks(&delta),
                delta,
            })
        });
        copies.collect()
    }

    /// Brings what the run changed into the directories that were granted. Each of them gets all of it or
    /// nothing. Blocks. Returns what was changed, by directory.
    ///
    /// # Errors
    ///
    /// Somebody else has changed one of the paths since the run began; directories before it in the
    /// order of the grants are done by then.
    pub fn apply(&self) -> Result<Vec<Pending>, WorkspacesError> {
        let pending = self.pending()?;
        self.apply_these(&pending)?;
        Ok(pending)
    }

    /// The same with changes that were looked at: what has become another change since is refused.
    ///
    /// # Errors
    ///
    /// As [`Workspaces::apply`].
    pub fn apply_these(&self, pending: &[Pending]) -> Result<(), WorkspacesError> {
        for ((_, copy), pending) in self.copies.iter().zip(pending) {
            copy.apply(&pending.delta)?;
        }
        Ok(())
    }

    /// Undoes what is left of an attempt to apply that was cut off. Blocks. Returns folders in the directories that
    /// look as if they were left of one, and are none of this run: nothing is done to them.
    ///
    /// # Errors
    ///
    /// It cannot be undone.
    pub fn recover(&self) -> Result<Vec<PathBuf>, WorkspacesError> {
        let mut left = Vec::new();
        for (_, copy) in &self.copies {
            left.extend(copy.recover()?);
        }
        Ok(left)
    }

    /// Deletes the copies; the patch stays. Blocks.
    ///
    /// # Errors
    ///
    /// Something cannot be deleted.
    pub fn discard(self) -> Result<(), WorkspacesError> {
        for (_, copy) in self.copies {
            copy.discard()?;
        }
        let folder = self.run.join(FOLDER);
        fs::remove_dir(&folder).map_err(at("delete", &folder))
    }
}

pub(super) fn at(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> WorkspacesError + use<> {
    let path = path.to_owned();
    move |source| WorkspacesError::Io {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::GrantsFile;

    #[test]
    fn a_comparison_that_fails_leaves_no_empty_patch() {
        let (host, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(host.path().join("file"), "x").unwrap();
        let spec = format!("{}::/work:cow", host.path().display());
        let file = GrantsFile {
            dirs: vec![spec.parse().unwrap()],
            ..GrantsFile::default()
        };
        let grants = Grants::resolve(file, GrantsFile::default()).unwrap();
        let copies = Workspaces::prepare(Some(run.path()), &grants).unwrap();
        let settle = || copies.settle(&Effort::unbounded(), &Effort::unbounded());
        assert_eq!(settle().unwrap(), 0);
        fs::remove_dir_all(copies.tree("/work").unwrap()).unwrap();
        assert!(settle().is_err());
        let patch = fs::read_to_string(run.path().join(PATCH)).unwrap();
        assert!(
            patch.contains("it is not known what is different"),
            "{patch}"
        );
    }
}
