//! Compiled components on disk, so that a component is compiled once and then mapped.
//!
//! Compiled code is machine code: whoever can make this process load some, runs as this user. So an entry
//! is **checked before it is trusted**, every time:
//!
//! - The cache is a directory of this user's that nobody else can write to, and so is each file in it
//!   (`private_dir`).
//! - An entry is one file: the code as wasmtime wrote it, then a trailer with a MAC (BLAKE3, keyed) of
//!   the code, its length and the entry's key. The MAC's key are 32 random bytes in the file `key`, made by
//!   the first process that needs them. Code that another program or another user's cache left behind, a
//!   flipped bit, a file cut short, an entry renamed to another component or profile: none has a MAC that fits.
//! - The entry's key is a digest of the component, of wasmtime's own compatibility hash of the engine and of
//!   this program's version, so that code for one profile is never even looked at by another.
//! - The file is opened once, without following links. Its MAC is computed over that open file and on Linux
//!   the mapping is made of that very file through `/proc/self/fd`, whatever the name in the directory
//!   refers to by then. Elsewhere the bytes are read, checked and loaded from memory. Files are only ever
//!   replaced whole, by renaming. That leaves one who writes into the open file in place: only this user and
//!   root can, and both could as well write into this process.
//!
//! What is not trusted is compiled again and replaced. A cache that cannot be used never stops a run.
//!
//! A trailer and not a second file: code and MAC cannot get out of step when two processes write at once.
//! The format of compiled code is ELF, whose content is found through its header; what follows is not looked at.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use wasmtime::component::Component;

use super::Engine;
use super::private_dir::{Existing, NotPrivate, PrivateDir};
use crate::digest::{Digest, hex};
use crate::error::Hint;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// What the cache may grow to, in bytes; the entries used longest ago go first. A Rust agent takes 0.1 to
/// 8 MB, one with a Python or JavaScript engine up to 35 MB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Name of the file with the MAC's key.
const KEY_FILE: &str = "key";

/// What the names of entries end with.
const SUFFIX: &str = ".cwasm";

/// How precisely it is kept when an entry was used last. A write for each start would be too much.
const USED_PRECISION: Duration = Duration::from_secs(3600);

/// How old a file has to be that is still being written before it is taken for the leftover of a crash.
const STALE: Duration = Duration::from_secs(3600);

/// Compiled components on disk. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cache(Option<Arc<Store>>);

#[derive(Debug)]
struct Store {
    path: PathBuf,
    dir: PrivateDir,
    secret: Secret,
}

/// The MAC's key.
struct Secret([u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What one entry is for: a component, compiled for an engine, by this version of the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u8; 32]);

impl Key {
    pub(super) fn new(component: Digest, compatibility: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("wasm-agent 2026 compiled component entry");
        hasher.update(component.as_bytes());
        hasher.update(compatibility);
        hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    fn file_name(&self) -> String {
        hex(&self.0) + SUFFIX
    }
}

/// The end of an entry's file.
struct Trailer {
    key: Key,
    code_len: u64,
    mac: blake3::Hash,
}

impl Trailer {
    /// Names the format and its version.
    const MAGIC: [u8; 16] = *b"wasm-agent/aot@1";
    const LEN: usize = 16 + 32 + 8 + 32;

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.extend_from_slice(&Self::MAGIC);
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.code_len.to_le_bytes());
        bytes.extend_from_slice(self.mac.as_bytes());
        bytes
    }

    fn read(mut reader: impl Read) -> Result<Self, Rejected> {
        fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
            let mut bytes = [0; N];
            reader.read_exact(&mut bytes).map(|()| bytes)
        }
        if take(&mut reader)? != Self::MAGIC {
            return Err(Rejected::Malformed);
        }
        Ok(Self {
            key: Key(take(&mut reader)?),
            code_len: u64::from_le_bytes(take(&mut reader)?),
            mac: blake3::Hash::from_bytes(take(&mut reader)?),
        })
    }
}

/// Why an entry is not used.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("there is none")]
    Missing,
    #[error(transparent)]
    NotPrivate(NotPrivate),
    #[error("it was not written as an entry, or is incomplete")]
    Malformed,
    #[error("it is for another component or engine")]
    Foreign,
    #[error("its content was not written by this cache")]
    Forged,
    #[error("wasmtime does not take it: {0}")]
    Refused(String),
}

impl From<NotPrivate> for Rejected {
    fn from(error: NotPrivate) -> Self {
        match error {
            NotPrivate::Io(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            error => Self::NotPrivate(error),
        }
    }
}

impl From<io::Error> for Rejected {
    fn from(error: io::Error) -> Self {
        Self::NotPrivate(NotPrivate::Io(error))
    }
}

impl Cache {
    /// Opens the cache in the directory `path`, making it when it is not there.
    ///
    /// # Errors
    ///
    /// [`CacheError`] when the directory or the key in it cannot be used or cannot be trusted.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CacheError> {
        let path = path.as_ref();
        let dir = PrivateDir::open(path).map_err(|problem| CacheError::Dir {
            path: path.to_owned(),
            problem,
        })?;
        let secret = read_or_make_secret(&dir).map_err(|problem| CacheError::Key {
            path: path.join(KEY_FILE),
            problem,
        })?;
        Ok(Self(Some(Arc::new(Store {
            path: path.to_owned(),
            dir,
            secret,
        }))))
    }

    /// Opens the cache in the directory `path`, or warns and goes without one.
    pub fn open_or_disabled(path: impl AsRef<Path>) -> Self {
        Self::open(path).unwrap_or_else(|error| {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(
                reason,
                hint = error.hint(),
                "{error}; components are compiled at every start"
            );
            Self::disabled()
        })
    }

    /// No cache: every component is compiled.
    pub fn disabled() -> Self {
        Self(None)
    }

    /// Whether there is a cache.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// The directory it is in.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|store| store.path.as_path())
    }

    /// The entry for `key`, when there is one that can be trusted.
    pub(super) fn get(&self, key: &Key, engine: &Engine) -> Option<Component> {
        let store = self.0.as_ref()?;
        match store.get(key, engine) {
            Ok(component) => Some(component),
            Err(Rejected::Missing) => None,
            Err(why) => {
                let path = store.path.join(key.file_name());
                tracing::warn!(path = %path.display(), "not using a compiled component: {why}");
                None
            }
        }
    }

    /// Keeps `code` as the entry for `key`, in place of any other. Failing is a warning.
    pub(super) fn put(&self, key: &Key, code: &[u8]) {
        let Some(store) = &self.0 else {
            return;
        };
        let kept = store
            .put(key, code)
            .and_then(|()| store.clean_up(MAX_BYTES));
        if let Err(error) = kept {
            tracing::warn!(path = %store.path.display(), "keeping a compiled component: {error}");
        }
    }
}

impl Store {
    fn get(&self, key: &Key, engine: &Engine) -> Result<Component, Rejected> {
        let mut file = self.dir.read(&key.file_name())?;
        let meta = file.metadata()?;
        let code_len = meta.len().checked_sub(Trailer::LEN as u64);
        let code_len = code_len.ok_or(Rejected::Malformed)?;
        file.seek(SeekFrom::Start(code_len))?;
        let trailer = Trailer::read(&file)?;
        if trailer.code_len != code_len {
            return Err(Rejected::Malformed);
        }
        if trailer.key != *key && !down(Wall::CacheMac) {
            return Err(Rejected::Foreign);
        }
        file.seek(SeekFrom::Start(0))?;
        let code = (&file).take(code_len);

        let component = match path_of_open(&file) {
            Some(path) => {
                // Comparing hashes of BLAKE3 takes the same time wherever they differ.
                if self.mac(key, code_len, code)? != trailer.mac && !down(Wall::CacheMac) {
                    return Err(Rejected::Forged);
                }
                // SAFETY: the MAC says that these bytes are what wasmtime serialized for this key in a
                // process of this user, `path` is the open file they were checked in, only this user can
                // write to it, and this program replaces such files and never writes into them.
                unsafe { Component::deserialize_file(engine.wasmtime(), path) }
            }
            None => {
                let mut bytes = Vec::new();
                let mut code = code;
                code.read_to_end(&mut bytes)?;
                if self.mac(key, code_len, &*bytes)? != trailer.mac && !down(Wall::CacheMac) {
                    return Err(Rejected::Forged);
                }
                // SAFETY: the MAC says that these bytes are what wasmtime serialized for this key in a
                // process of this user; they are in memory of this process since before it was checked.
                unsafe { Component::deserialize(engine.wasmtime(), bytes) }
            }
        };
        let component = component.map_err(|error| Rejected::Refused(format!("{error:#}")))?;

        let now = SystemTime::now();
        let unused = now.duration_since(meta.modified()?).unwrap_or_default();
        if unused > USED_PRECISION {
            // Only decides what is removed first.
            let _ = file.set_modified(now);
        }
        Ok(component)
    }

    fn put(&self, key: &Key, code: &[u8]) -> io::Result<()> {
        let code_len = code.len() as u64;
        let trailer = Trailer {
            key: *key,
            code_len,
            mac: self.mac(key, code_len, code)?,
        };
        let parts = [code, &trailer.to_bytes()];
        self.dir.write(&key.file_name(), &parts, Existing::Replace)
    }

    fn mac(&self, key: &Key, code_len: u64, code: impl Read) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret.0);
        hasher.update(&Trailer::MAGIC);
        hasher.update(&key.0);
        hasher.update(&code_len.to_le_bytes());
        hasher.update_reader(code)?;
        Ok(hasher.finalize())
    }

    /// Removes what a crash left behind, and the entries used longest ago as far as they exceed `max` bytes.
    fn clean_up(&self, max: u64) -> io::Result<()> {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for file in self.dir.list()? {
            if file.name.ends_with(SUFFIX) {
                entries.push(file);
            } else if file.is_temporary()
                && now.duration_since(file.modified).unwrap_or_default() > STALE
            {
                self.remove(&file.name)?;
            }
        }
        let mut total: u64 = entries.iter().map(|entry| entry.len).sum();
        entries.sort_by_key(|entry| entry.modified);
        for entry in &entries {
            if total <= max {
                break;
            }
            self.remove(&entry.name)?;
            total -= entry.len;
        }
        Ok(())
    }

    /// Removes a file; another process may have done so already.
    fn remove(&self, name: &str) -> io::Result<()> {
        match self.dir.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

/// A path that leads to the open `file` itself, where the system has such a thing.
#[cfg(target_os = "linux")]
fn path_of_open(file: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    // Without /proc, or with something else in its place, there is none.
    let there = std::fs::metadata(&path).ok()?;
    let here = file.metadata().ok()?;
    ((there.dev(), there.ino()) == (here.dev(), here.ino())).then_some(path)
}

/// A path that leads to the open `file` itself, where the system has such a thing.
#[cfg(not(target_os = "linux"))]
fn path_of_open(_: &File) -> Option<PathBuf> {
    None
}

fn read_or_make_secret(dir: &PrivateDir) -> Result<Secret, KeyProblem> {
    match read_secret(dir) {
        Err(KeyProblem::NotPrivate(NotPrivate::Io(error)))
            if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| NotPrivate::Io(io::Error::other(error)))?;
    match dir.write(KEY_FILE, &[&secret], Existing::Keep) {
        Ok(()) => Ok(Secret(secret)),
        // Another process was faster: its key is the key.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_secret(dir),
        Err(error) => Err(NotPrivate::Io(error).into()),
    }
}

fn read_secret(dir: &PrivateDir) -> Result<Secret, KeyProblem> {
    let mut file = dir.read(KEY_FILE)?;
    let found = file.metadata().map_err(NotPrivate::Io)?.len();
    let mut secret = [0; 32];
    if found != secret.len() as u64 {
        return Err(KeyProblem::Length { found });
    }
    file.read_exact(&mut secret).map_err(NotPrivate::Io)?;
    Ok(Secret(secret))
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Its directory cannot be used.
    #[error("opening the cache of compiled components in `{}`", path.display())]
    Dir {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: NotPrivate,
    },
    /// Its key cannot be used.
    #[error("reading the key of the cache of compiled components, `{}`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: KeyProblem,
    },
}

/// What is wrong with a cache's key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// It cannot be read or made, or somebody else could read or have written it.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// It has the wrong length.
    #[error("it has {found} bytes instead of 32")]
    Length {
        /// Its length.
        found: u64,
    },
}

impl Hint for CacheError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Dir {
                path,
                problem: NotPrivate::Mode { .. },
            } => Some(format!(
                "remove it, or if nobody else wrote there: `chmod 700 {}`",
                path.display()
            )),
            Self::Key { path, .. } => path.parent().map(|dir| {
                format!(
                    "remove `{}`; it only holds what can be made again",
                    dir.display()
                )
            }),
            Self::Dir { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
