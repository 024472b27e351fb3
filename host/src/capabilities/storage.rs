//! What a guest hands over for keeping: its checkpoint and its artifacts.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::grants::require::{MAX_NAME, is_artifact_name};
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;

/// Name of the last checkpoint in a run directory.
pub const CHECKPOINT: &str = "checkpoint";
const ARTIFACTS: &str = "artifacts";

/// A document the agent has handed over in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitted {
    /// File name in the run directory's `artifacts`.
    pub name: String,
    /// For example `text/markdown`.
    pub media_type: String,
    /// `sha256:…`.
    pub digest: String,
    /// Length.
    pub bytes: u64,
}

/// What the agent has handed over so far, in order. Shared with the host, which counts it after the
/// guest's store is gone. A run begins with none, whatever earlier runs have left on the disk.
#[derive(Clone, Debug, Default)]
pub struct Submissions(Arc<Mutex<Vec<Submitted>>>);

impl Submissions {
    /// All of them.
    #[must_use]
    pub fn list(&self) -> Vec<Submitted> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn contains(&self, name: &str) -> bool {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().any(|submitted| submitted.name == name)
    }

    fn push(&self, submitted: Submitted) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(submitted);
    }
}

/// Something could not be kept.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum StorageError {
    #[error("name: `{name}` is not 1 to {MAX_NAME} of A-Z a-z 0-9 . _ - without a leading dot")]
    Name { name: String },
    #[error("an artifact `{name}` was submitted before")]
    Exists { name: String },
    #[error("limit `{name}` is reached ({max} bytes)")]
    Limit { name: &'static str, max: u64 },
    #[error("this run keeps no directory")]
    NoDirectory,
    #[error("cannot write `{name}`: {source}")]
    Io { name: String, source: io::Error },
}

/// The storage of one run, in its run directory.
///
/// The directory is held as a capability: whatever a name turned out to be, it could not lead out of it.
#[derive(Debug)]
pub struct Storage {
    dir: Option<Dir>,
    used: u64,
    max: u64,
    submissions: Submissions,
    /// The checkpoint the run was started from.
    earlier: Option<Arc<[u8]>>,
}

impl Storage {
    /// Storage in the directory at `path`, for at most `max` bytes in a run.
    ///
    /// # Errors
    ///
    /// The directory cannot be opened.
    pub fn open(path: &Path, max: u64) -> io::Result<Storage> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        Ok(Storage {
            dir: Some(dir),
            ..Storage::none(max)
        })
    }

    /// No storage: for a run that keeps no directory.
    #[must_use]
    pub fn none(max: u64) -> Storage {
        Storage {
            dir: None,
            used: 0,
            max,
            submissions: Submissions::default(),
            earlier: None,
        }
    }

    /// The same, with the checkpoint of an earlier run to begin with.
    #[must_use]
    pub fn starting_from(self, earlier: Option<Arc<[u8]>>) -> Storage {
        Storage { earlier, ..self }
    }

    /// The same, telling `submissions` what is handed over.
    #[must_use]
    pub fn listed_in(self, submissions: Submissions) -> Storage {
        Storage {
            submissions,
            ..self
        }
    }

    /// Bytes that may still be stored.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }

    /// Replaces the checkpoint.
    ///
    /// # Errors
    ///
    /// Over the limit, or the disk does not take it; the checkpoint before it is then still there.
    pub fn save_checkpoint(&mut self, data: &[u8]) -> Result<Digest, StorageError> {
        self.store(CHECKPOINT, CHECKPOINT, data)
    }

    /// The last checkpoint: of this run, or the one it was started from.
    ///
    /// # Errors
    ///
    /// The file is there but cannot be read.
    pub fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let earlier = || self.earlier.as_ref().map(|earlier| earlier.to_vec());
        let Some(dir) = &self.dir else {
            return Ok(earlier());
        };
        match dir.read(CHECKPOINT) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(earlier()),
            Err(source) => Err(StorageError::Io {
                name: CHECKPOINT.to_owned(),
                source,
            }),
        }
    }

    /// Stores an artifact under its name in `artifacts`.
    ///
    /// # Errors
    ///
    /// A name that is not one, or was used before; over the limit; the disk does not take it.
    pub fn store_artifact(
        &mut self,
        name: &str,
        media_type: &str,
        data: &[u8],
    ) -> Result<Digest, StorageError> {
        if !is_artifact_name(name) && !down(Wall::ArtifactNames) {
            return Err(StorageError::Name {
                name: name.chars().take(MAX_NAME).collect(),
            });
        }
        let dir = self.dir.as_ref().ok_or(StorageError::NoDirectory)?;
        if self.submissions.contains(name) {
            return Err(StorageError::Exists {
                name: name.to_owned(),
            });
        }
        dir.create_dir_all(ARTIFACTS)
            .map_err(|source| StorageError::Io {
                name: name.to_owned(),
                source,
            })?;
        let digest = self.store(name, &format!("{ARTIFACTS}/{name}"), data)?;
        self.submissions.push(Submitted {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            bytes: data.len() as u64,
        });
        Ok(digest)
    }

    fn store(&mut self, name: &str, path: &str, data: &[u8]) -> Result<Digest, StorageError> {
        let dir = self.dir.as_ref().ok_or(StorageError::NoDirectory)?;
        let bytes = data.len() as u64;
        if bytes > sabotage::limit(Wall::StorageBytes, self.left()) {
            return Err(StorageError::Limit {
                name: "storage-bytes",
                max: self.max,
            });
        }
        // Whole or not at all: written beside, then renamed. The run is the only writer here, and no
        // artifact's name starts with a dot.
        let beside = ".part";
        dir.write(beside, data)
            .and_then(|()| dir.rename(beside, dir, path))
            .map_err(|source| {
                let _ = dir.remove_file(beside);
                StorageError::Io {
                    name: name.to_owned(),
                    source,
                }
            })?;
        self.used += bytes;
        Ok(Digest::of(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::open(dir.path(), 1000).unwrap();
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            ".hidden",
            "a\0b",
            "ä",
            &"x".repeat(129),
        ] {
            let error = storage.store_artifact(name, "", b"x").unwrap_err();
            assert!(matches!(error, StorageError::Name { .. }), "{name}");
        }
        assert!(!dir.path().join("artifacts").exists());
    }

    #[test]
    fn an_artifact_is_never_replaced_and_the_limit_counts_everything() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::open(dir.path(), 10).unwrap();
        storage.store_artifact("a", "text/plain", b"12345").unwrap();
        assert!(matches!(
            storage.store_artifact("a", "", b"x"),
            Err(StorageError::Exists { .. })
        ));
        storage.save_checkpoint(b"1234").unwrap();
        assert!(matches!(
            storage.save_checkpoint(b"12"),
            Err(StorageError::Limit { .. })
        ));
        assert_eq!(storage.load_checkpoint().unwrap().unwrap(), b"1234");
        assert_eq!(storage.left(), 1);
        let listed = storage.submissions.list();
        assert_eq!(listed.len(), 1, "what was refused is not listed");
        assert_eq!((&*listed[0].name, listed[0].bytes), ("a", 5));
        assert_eq!(listed[0].digest, Digest::of(b"12345").to_string());
    }
}
