//! What an attempt to bring a difference into a directory is about to move, written down before anything is moved.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::super::protect::STAGE;
use super::{CowError, VERSION, at, damaged};

/// Name of the plan in the folder of a workspace.
pub(super) const PLAN: &str = "apply.json";

/// What tells a directory from every other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// When it was made, in seconds and nanoseconds, where the file system knows. No program can set it.
    born: Option<(u64, u32)>,
}

impl Identity {
    pub(super) fn of(dir: &File) -> io::Result<Identity> {
        let meta = dir.metadata()?;
        let born = meta.created().ok();
        let born = born.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Identity {
            device: meta.dev(),
            inode: meta.ino(),
            born: born.map(|time| (time.as_secs(), time.subsec_nanos())),
        })
    }

    /// Whether both are the same directory. Some file systems have another device number after the machine was started
    /// again.
    pub(super) fn is(&self, other: &Identity) -> bool {
        let placed = self.device == other.device || self.born.is_some();
        placed && (self.inode, self.born) == (other.inode, other.born)
    }
}

/// What tells whether a thing is still the one that was looked at, and as it was then. Of a directory only which one
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Thing {
    pub(super) inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Thing {
    pub(super) fn of(meta: &Metadata) -> Thing {
        let (size, modified) = match meta.is_dir() {
            true => (0, (0, 0)),
            false => (meta.len(), (meta.mtime(), meta.mtime_nsec())),
        };
        Thing {
            inode: meta.ino(),
            size,
            modified,
        }
    }
}

/// One move, of what is at `path` to `old/N`, or of `new/N` to `path`, where `N` is its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    Take { path: String, thing: Thing },
    Put { path: String, thing: Thing },
}

impl Step {
    pub(super) fn path(&self) -> &str {
        match self {
            Step::Take { path, .. } | Step::Put { path, .. } => path,
        }
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    /// Nothing was moved yet.
    Preparing,
    /// Paths may have been moved.
    Moving,
    /// All of them have been: what is left of the stage is only rubbish.
    Done,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    version: u32,
    /// The directory the plan is for.
    pub(super) root: Identity,
    /// Name of the stage in it.
    pub(super) stage: String,
    /// The stage itself; nothing before it was made.
    pub(super) made: Option<Identity>,
    pub(super) progress: Progress,
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// A plan for `root` that says only how the stage will be called.
    pub(super) fn new(root: &File) -> io::Result<Plan> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(Plan {
            version: VERSION,
            root: Identity::of(root)?,
            stage: format!("{STAGE}-{:016x}", u64::from_be_bytes(random)),
            made: None,
            progress: Progress::Preparing,
            steps: Vec::new(),
        })
    }

    /// The plan at `path`, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Plan>, CowError> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at("read", path)(error)),
        };
        let plan: Plan = serde_json::from_slice(&text).map_err(|error| damaged(path, &error))?;
        if plan.version != VERSION {
            let reason = format!("version {} is not understood", plan.version);
            let path = path.to_owned();
            return Err(CowError::Damaged { path, reason });
        }
        Ok(Some(plan))
    }

    /// Writes it to a folder, whole or not at all, so that it is on disk before anything of it is done.
    pub(super) fn write(&self, folder: &Path) -> Result<(), CowError> {
        let path = folder.join(PLAN);
        let text = serde_json::to_vec(self).map_err(|error| damaged(&path, &error))?;
        let written = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&text)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(folder)?.sync_all()
        };
        written().map_err(at("write", &path))
    }
}
