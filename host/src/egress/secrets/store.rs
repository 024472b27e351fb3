//! The store: secrets of this user, in a file only this user can read.
//!
//! ```text
//! <data>/wasm-agent/secrets/secrets.toml   names, values, when they were set
//!                           key            32 random bytes: digests of secrets are keyed with them
//! ```
//!
//! Directory and files are checked on the open descriptor each time: a file that others can read is not
//! read by this host either.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::value::{Secret, SecretName, ValueError};
use crate::engine::private_dir::{Existing, NotPrivate, PrivateDir};
use crate::error::Hint;
use crate::trajectory::event::Rfc3339;

/// The version this host writes and reads.
const VERSION: u32 = 1;

const FILE: &str = "secrets.toml";
const KEY: &str = "key";

/// Far more than a person has secrets.
const MAX_FILE: u64 = 4 << 20;

/// Where the secrets of a user are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretStore(PathBuf);

/// A secret in the store, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// When it was set, as RFC 3339.
    pub set: String,
}

/// What becomes of a secret that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It stays, and setting it is an error.
    Kept,
    /// It is replaced.
    Replaced,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default)]
    secrets: BTreeMap<String, Kept>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    value: String,
    set: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum StoreError {
    #[error("cannot find the data directory of this user: {reason}")]
    NoHome { reason: String },
    #[error("cannot use the secrets in `{}`: {source}", path.display())]
    NotPrivate { path: PathBuf, source: NotPrivate },
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    // What the parser says would quote the line, and with it a secret.
    #[error("cannot read the secrets in `{}`: line {line} is not as this host writes it", path.display())]
    Syntax { path: PathBuf, line: usize },
    #[error("cannot read the secrets in `{}`: they have version {found}, this host reads {VERSION}", path.display())]
    Version { path: PathBuf, found: u32 },
    #[error("cannot set the secret `{name}`: there is one")]
    Exists { name: String },
    #[error("cannot remove the secret `{name}`: there is none in the store")]
    NoSuchSecret { name: String },
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl Hint for StoreError {
    fn hint(&self) -> Option<String> {
        match self {
            StoreError::NoHome { .. } => {
                Some("name a folder with `WASM_AGENT_SECRETS_DIR`".to_owned())
            }
            StoreError::NotPrivate {
                path,
                source: NotPrivate::Mode { .. },
            } => Some(format!(
                "others may have read it: set its secrets anew elsewhere, then `chmod go= {}`",
                path.display()
            )),
            StoreError::Exists { .. } => Some("replace it with `--force`".to_owned()),
            StoreError::NoSuchSecret { .. } => {
                Some("`wasm-agent secret list` shows what there is".to_owned())
            }
            StoreError::Value(error) => error.hint(),
            _ => None,
        }
    }
}

impl SecretStore {
    /// The platform's place for it: `$XDG_DATA_HOME/wasm-agent/secrets` and its like.
    ///
    /// # Errors
    ///
    /// The user has no home directory.
    pub fn platform() -> Result<SecretStore, StoreError> {
        let strategy = choose_base_strategy().map_err(|error| StoreError::NoHome {
            reason: error.to_string(),
        })?;
        Ok(SecretStore(
            strategy.data_dir().join("wasm-agent").join("secrets"),
        ))
    }

    /// A folder of the caller's choice.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> SecretStore {
        SecretStore(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The value of a secret, when there is one.
    ///
    /// # Errors
    ///
    /// The store is there and cannot be read, or is readable for others.
    pub fn get(&self, name: &SecretName) -> Result<Option<Secret>, StoreError> {
        let Some(mut document) = self.existing()? else {
            return Ok(None);
        };
        let kept = document.secrets.get_mut(name.as_str());
        let value = kept.map(|kept| Secret::new(name, std::mem::take(&mut kept.value)));
        Ok(value.transpose()?)
    }

    /// Names of all secrets, in order.
    ///
    /// # Errors
    ///
    /// As [`SecretStore::get`].
    pub fn list(&self) -> Result<Vec<Stored>, StoreError> {
        let document = self.existing()?.unwrap_or_default();
        let stored = |(name, kept): (&String, &Kept)| Stored {
            name: name.clone(),
            set: kept.set.clone(),
        };
        Ok(document.secrets.iter().map(stored).collect())
    }

    /// Keeps a secret.
    ///
    /// # Errors
    ///
    /// It is there already and to be kept; the store cannot be read or written.
    pub fn set(&self, name: &SecretName, value: &Secret, before: Before) -> Result<(), StoreError> {
        self.change(|document| {
            let secrets = &mut document.secrets;
            if before == Before::Kept && secrets.contains_key(name.as_str()) {
                let name = name.to_string();
                return Err(StoreError::Exists { name });
            }
            let kept = Kept {
                value: value.expose().to_owned(),
                set: Rfc3339(jiff::Timestamp::now()).to_string(),
            };
            secrets.insert(name.to_string(), kept);
            Ok(())
        })
    }

    /// Forgets a secret.
    ///
    /// # Errors
    ///
    /// There is none; the store cannot be read or written.
    pub fn remove(&self, name: &SecretName) -> Result<(), StoreError> {
        let no_such = || StoreError::NoSuchSecret {
            name: name.to_string(),
        };
        if !self.0.exists() {
            return Err(no_such());
        }
        self.change(|document| {
            let removed = document.secrets.remove(name.as_str());
            removed.map(drop).ok_or_else(no_such)
        })
    }

    /// The key of this installation: digests of secrets are made with it, so that they can be compared
    /// here and guessed nowhere.
    ///
    /// # Errors
    ///
    /// It cannot be read, or made where there is none.
    pub fn key(&self) -> Result<[u8; 32], StoreError> {
        let dir = self.open()?;
        match self.read(&dir, KEY, 32) {
            Ok(bytes) => {
                let path = self.0.join(KEY);
                let wrong = |_| StoreError::Io {
                    action: "use",
                    path,
                    source: io::Error::other("it is not 32 bytes"),
                };
                <[u8; 32]>::try_from(bytes.as_slice()).map_err(wrong)
            }
            Err(StoreError::NotPrivate {
                source: NotPrivate::Io(error),
                ..
            }) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                getrandom::fill(&mut key).map_err(|error| self.io("make", KEY, error.into()))?;
                match dir.write(KEY, &[&key], Existing::Keep) {
                    Ok(()) => Ok(key),
                    // Another process was faster.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.key(),
                    Err(error) => Err(self.io("write", KEY, error)),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn open(&self) -> Result<PrivateDir, StoreError> {
        PrivateDir::open(&self.0).map_err(|source| StoreError::NotPrivate {
            path: self.0.clone(),
            source,
        })
    }

    fn io(&self, action: &'static str, name: &str, source: io::Error) -> StoreError {
        StoreError::Io {
            action,
            path: self.0.join(name),
            source,
        }
    }

    fn read(
        &self,
        dir: &PrivateDir,
        name: &str,
        max: u64,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let path = self.0.join(name);
        let file = dir
            .read(name)
            .map_err(|source| StoreError::NotPrivate { path, source })?;
        // Room for all of it: growing would leave parts of it behind.
        let len = file.metadata().map_or(0, |meta| meta.len()).min(max);
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            usize::try_from(len).unwrap_or_default() + 1,
        ));
        file.take(max + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.io("read", name, error))?;
        if bytes.len() as u64 > max {
            return Err(self.io("read", name, io::Error::other("it is too large")));
        }
        Ok(bytes)
    }

    fn existing(&self) -> Result<Option<Document>, StoreError> {
        // Asking for a secret makes no folder.
        if !self.0.exists() {
            return Ok(None);
        }
        self.document(&self.open()?)
    }

    fn document(&self, dir: &PrivateDir) -> Result<Option<Document>, StoreError> {
        let bytes = match self.read(dir, FILE, MAX_FILE) {
            Err(StoreError::NotPrivate {
                source: NotPrivate::Io(error),
                ..
            }) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let path = || self.0.join(FILE);
        let syntax = |at: usize| StoreError::Syntax {
            path: path(),
            line: 1 + bytes.iter().take(at).filter(|byte| **byte == b'\n').count(),
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| syntax(error.valid_up_to()))?;
        let document: Document = toml::from_str(text)
            .map_err(|error| syntax(error.span().map_or(0, |span| span.start)))?;
        if document.version != VERSION {
            return Err(StoreError::Version {
                path: path(),
                found: document.version,
            });
        }
        Ok(Some(document))
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Document) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let dir = self.open()?;
        // Two changes at a time would lose one of them. The key is a file that is never replaced.
        self.key()?;
        let lock = dir.read(KEY).map_err(|source| StoreError::NotPrivate {
            path: self.0.join(KEY),
            source,
        })?;
        lock.lock().map_err(|error| self.io("lock", KEY, error))?;
        let mut document = self.document(&dir)?.unwrap_or_default();
        document.version = VERSION;
        change(&mut document)?;
        let text = toml::to_string(&document).map(Zeroizing::new);
        let text = text.map_err(|_| self.io("write", FILE, io::Error::other("it is no TOML")))?;
        dir.write(FILE, &[text.as_bytes()], Existing::Replace)
            .map_err(|error| self.io("write", FILE, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SecretName {
        text.parse().unwrap()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(&name("x"), text.to_owned()).unwrap()
    }

    fn store() -> (tempfile::TempDir, SecretStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = SecretStore::at(dir.path().join("a/secrets"));
        (dir, store)
    }

    #[test]
    fn what_is_set_is_there_until_it_is_removed() {
        let (_dir, store) = store();
        assert_eq!(store.get(&name("github")).unwrap(), None);
        assert!(!store.path().exists(), "asking makes no folder");
        store
            .set(&name("github"), &secret("hunter22"), Before::Kept)
            .unwrap();
        store
            .set(&name("b"), &secret("tab\t\"quote\" ä"), Before::Kept)
            .unwrap();
        let again = store.set(&name("b"), &secret("another"), Before::Kept);
        assert!(matches!(again, Err(StoreError::Exists { .. })));
        assert_eq!(
            store.get(&name("b")).unwrap(),
            Some(secret("tab\t\"quote\" ä"))
        );
        store
            .set(&name("b"), &secret("another"), Before::Replaced)
            .unwrap();
        assert_eq!(store.get(&name("b")).unwrap(), Some(secret("another")));
        let names = |store: &SecretStore| -> Vec<_> {
            let listed = store.list().unwrap();
            listed.into_iter().map(|stored| stored.name).collect()
        };
        assert_eq!(names(&store), ["b", "github"]);
        store.remove(&name("github")).unwrap();
        assert!(matches!(
            store.remove(&name("github")),
            Err(StoreError::NoSuchSecret { .. })
        ));
        assert_eq!(names(&store), ["b"]);
    }

    #[test]
    fn the_key_stays_the_same() {
        let (_dir, store) = store();
        let key = store.key().unwrap();
        assert_ne!(key, [0; 32]);
        assert_eq!(store.key().unwrap(), key);
    }

    #[test]
    fn changes_at_the_same_time_are_all_there() {
        let (_dir, store) = store();
        std::thread::scope(|scope| {
            for index in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    let name = name(&format!("s{index}"));
                    store.set(&name, &secret("hunter22"), Before::Kept).unwrap();
                });
            }
        });
        assert_eq!(store.list().unwrap().len(), 8);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let (_dir, store) = store();
        let file = store.path().join(FILE);
        store
            .set(&name("a"), &secret("hunter22"), Before::Kept)
            .unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(store.path()), mode(&file)), (0o700, 0o600));
        assert_eq!(mode(&store.path().join(KEY)), 0o600);
        for bits in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(bits)).unwrap();
            let error = store.get(&name("a")).unwrap_err();
            assert!(
                matches!(
                    error,
                    StoreError::NotPrivate {
                        source: NotPrivate::Mode { .. },
                        ..
                    }
                ),
                "{error}"
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn what_is_wrong_with_the_file_is_said_without_its_content() {
        let (_dir, store) = store();
        let dir = store.open().unwrap();
        for text in [
            "version = 1\n[secrets.a]\nvalue = \"hunter22\"\nsett = \"x\"\n",
            "version = 1\n[secrets.a]\nvalue = \"hunter22\n",
            "version = 2\n[secrets.a]\nvalue = \"hunter22\"\nset = \"x\"\n",
            "hunter22",
        ] {
            dir.write(FILE, &[text.as_bytes()], Existing::Replace)
                .unwrap();
            let error = store.get(&name("a")).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
        }
        let large = vec![b'#'; usize::try_from(MAX_FILE).unwrap() + 1];
        dir.write(FILE, &[&large], Existing::Replace).unwrap();
        assert!(store.list().is_err());
    }
}
