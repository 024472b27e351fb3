//! What a guest hands over for keeping: its checkpoint and its artifacts.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::digest::Digest;
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;

/// Longest name of an artifact, in bytes: what every file system takes.
const MAX_NAME: usize = 128;

const CHECKPOINT: &str = "checkpoint";
const ARTIFACTS: &str = "artifacts";

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
    artifacts: BTreeSet<String>,
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
            artifacts: BTreeSet::new(),
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

    /// The last checkpoint.
    ///
    /// # Errors
    ///
    /// The file is there but cannot be read.
    pub fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        match dir.read(CHECKPOINT) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
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
    pub fn store_artifact(&mut self, name: &str, data: &[u8]) -> Result<Digest, StorageError> {
        if !is_name(name) && !down(Wall::ArtifactNames) {
            return Err(StorageError::Name {
                name: name.chars().take(MAX_NAME).collect(),
            });
        }
        let dir = self.dir.as_ref().ok_or(StorageError::NoDirectory)?;
        if self.artifacts.contains(name) {
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
        self.artifacts.insert(name.to_owned());
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

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
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
            let error = storage.store_artifact(name, b"x").unwrap_err();
            assert!(matches!(error, StorageError::Name { .. }), "{name}");
        }
        assert!(!dir.path().join("artifacts").exists());
    }

    #[test]
    fn an_artifact_is_never_replaced_and_the_limit_counts_everything() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::open(dir.path(), 10).unwrap();
        storage.store_artifact("a", b"12345").unwrap();
        assert!(matches!(
            storage.store_artifact("a", b"x"),
            Err(StorageError::Exists { .. })
        ));
        storage.save_checkpoint(b"1234").unwrap();
        assert!(matches!(
            storage.save_checkpoint(b"12"),
            Err(StorageError::Limit { .. })
        ));
        assert_eq!(storage.load_checkpoint().unwrap().unwrap(), b"1234");
        assert_eq!(storage.left(), 1);
    }
}
