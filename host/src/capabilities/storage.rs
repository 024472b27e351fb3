//! What a guest hands over for keeping: its checkpoint and its artifacts.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// Longest name of an artifact, in bytes: what every file system takes.
const MAX_NAME: usize = 128;

/// Something could not be kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it means")]
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
#[derive(Debug)]
pub struct Storage {
    dir: Option<PathBuf>,
    used: u64,
    max: u64,
    artifacts: BTreeSet<String>,
}

impl Storage {
    /// Storage in `dir`, or none, for at most `max` bytes in a run.
    #[must_use]
    pub fn new(dir: Option<PathBuf>, max: u64) -> Storage {
        Storage { dir, used: 0, max, artifacts: BTreeSet::new() }
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
        let dir = self.dir.clone().ok_or(StorageError::NoDirectory)?;
        self.store(&dir, "checkpoint", data)
    }

    /// The last checkpoint.
    ///
    /// # Errors
    ///
    /// The file is there but cannot be read.
    pub fn load_checkpoint(&self) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(dir) = &self.dir else { return Ok(None) };
        match fs::read(dir.join("checkpoint")) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StorageError::Io { name: "checkpoint".to_owned(), source }),
        }
    }

    /// Stores an artifact under its name in `artifacts`.
    ///
    /// # Errors
    ///
    /// A name that is not one, or was used before; over the limit; the disk does not take it.
    pub fn store_artifact(&mut self, name: &str, data: &[u8]) -> Result<Digest, StorageError> {
        if !is_name(name) {
            return Err(StorageError::Name { name: name.chars().take(MAX_NAME).collect() });
        }
        let dir = self.dir.as_ref().ok_or(StorageError::NoDirectory)?.join("artifacts");
        if self.artifacts.contains(name) {
            return Err(StorageError::Exists { name: name.to_owned() });
        }
        fs::create_dir_all(&dir)
            .map_err(|source| StorageError::Io { name: name.to_owned(), source })?;
        let digest = self.store(&dir, name, data)?;
        self.artifacts.insert(name.to_owned());
        Ok(digest)
    }

    fn store(&mut self, dir: &Path, name: &str, data: &[u8]) -> Result<Digest, StorageError> {
        let bytes = data.len() as u64;
        if bytes > self.left() {
            return Err(StorageError::Limit { name: "storage-bytes", max: self.max });
        }
        write_atomically(dir, name, data)
            .map_err(|source| StorageError::Io { name: name.to_owned(), source })?;
        self.used += bytes;
        Ok(Digest::of(data))
    }
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_atomically(dir: &Path, name: &str, data: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(data)?;
    file.persist(dir.join(name)).map_err(|error| error.error)?;
    Ok(())
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::new(Some(dir.path().to_owned()), 1000);
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a\0b", "ä", &"x".repeat(129)] {
            let error = storage.store_artifact(name, b"x").unwrap_err();
            assert!(matches!(error, StorageError::Name { .. }), "{name}");
        }
        assert!(!dir.path().join("artifacts").exists());
    }

    #[test]
    fn an_artifact_is_never_replaced_and_the_limit_counts_everything() {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = Storage::new(Some(dir.path().to_owned()), 10);
        storage.store_artifact("a", b"12345").unwrap();
        assert!(matches!(storage.store_artifact("a", b"x"), Err(StorageError::Exists { .. })));
        storage.save_checkpoint(b"1234").unwrap();
        assert!(matches!(storage.save_checkpoint(b"12"), Err(StorageError::Limit { .. })));
        assert_eq!(storage.load_checkpoint().unwrap().unwrap(), b"1234");
        assert_eq!(storage.left(), 1);
    }
}
