//! The hash chain, and `events.ndjson`.
//!
//! One record a line, one `write(2)` a record, in this key order and without white space:
//!
//! ```text
//! {"seq":0,"time":"…","prev":"<64 hex>","avp":{…},"hash":"<64 hex>"}
//! {"seq":1,"time":"…","prev":"<64 hex>","audit":{"kind":"…",…},"hash":"<64 hex>"}
//! ```
//!
//! `hash` is the SHA-256 of the line's bytes up to `,"hash":`; `prev` is the hash before it, and for the
//! first record the SHA-256 of `run.json`, so that what was asked is part of the chain. Hashing bytes
//! instead of values needs no canonical form of JSON: a reader in any language cuts and hashes.
//!
//! The file is locked (`flock`, advisory) for as long as the journal lives, which is as long as the run, and
//! the operating system unlocks it with the process: whether a run that was not closed goes on or died is a
//! fact, not a guess.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::audit::Audit;
use super::event::{Event, Rfc3339};
use super::search::Search;
use crate::egress::secrets::{Guard, Needle, Redacted};
use crate::error::Hint;
use crate::recording::{Tape, TapeError};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// A link of the chain: SHA-256, lowercase hexadecimal when shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; 32]);

impl Link {
    /// The link that starts the chain of a run whose `run.json` has these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Link {
        Link(Sha256::digest(bytes).into())
    }

    fn to_hex(self) -> [u8; 64] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            if let [high, low] = pair {
                *high = DIGITS.get(usize::from(byte >> 4)).copied().unwrap_or(b'0');
                *low = DIGITS.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
            }
        }
        hex
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({self})")
    }
}

/// What a record holds.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An event of the trajectory.
    Avp(Event),
    /// What AVP has no event for.
    Audit(Audit),
}

/// One line of `events.ndjson`.
#[derive(Clone, Debug)]
pub struct Record {
    /// Position in the run, from 0.
    pub seq: u64,
    /// What it holds. It is not for showing where [`Record::redacted`] says that it has secrets in it: the
    /// line has none.
    pub entry: Entry,
    /// What is in `entry` and not in the line.
    redacted: Vec<Needle>,
    /// The whole line, without the newline.
    line: Box<str>,
    /// Where the JSON of `entry` is in `line`.
    body: std::ops::Range<usize>,
}

impl Record {
    /// The line as it stands in `events.ndjson`.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The secrets that were found in the entry. Only the line is without them.
    #[must_use]
    pub fn redacted(&self) -> &[Needle] {
        &self.redacted
    }

    /// The AVP event as one line of JSON, when the record is one: a line of the AVP view of the run.
    #[must_use]
    pub fn avp(&self) -> Option<&str> {
        match self.entry {
            Entry::Avp(_) => self.line.get(self.body.clone()),
            Entry::Audit(_) => None,
        }
    }
}

/// The account of a run could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the event log `{}`: {source}", path.display())]
pub struct JournalError {
    path: PathBuf,
    source: io::Error,
}

impl JournalError {
    /// The account goes wrong at `path`.
    pub(crate) fn new(path: PathBuf, source: io::Error) -> JournalError {
        JournalError { path, source }
    }

    /// What kept the time from being known, where that is why.
    pub(crate) fn tape(self) -> Result<TapeError, JournalError> {
        let JournalError { path, source } = self;
        source
            .downcast()
            .map_err(|source| JournalError { path, source })
    }
}

impl Hint for JournalError {
    fn hint(&self) -> Option<String> {
        (self.source.kind() == io::ErrorKind::StorageFull)
            .then(|| "free some space, or choose another place with `--runs-dir`".to_owned())
    }
}

/// A record that is not in the chain.
#[derive(Debug)]
pub struct Unwritten {
    /// What it would have held.
    pub entry: Entry,
    /// Why it was not written.
    pub error: JournalError,
}

/// Appends records to the chain and, where there is one, to the file.
#[derive(Debug)]
pub struct Journal {
    head: Link,
    seq: u64,
    file: Option<LogFile>,
    buffer: Vec<u8>,
    search: Search,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes of whole records.
    len: u64,
    /// The file ends in part of a record: what would follow it would be worthless.
    torn: bool,
    reserve: Option<Reserve>,
}

/// Disk space that is given back when the disk is full, so that a run can still be closed.
#[derive(Debug)]
struct Reserve(PathBuf);

impl Reserve {
    /// Enough for the records that close a run.
    const BYTES: u64 = 64 << 10;

    /// Takes the space; nothing when the file system does not give it away ahead of time.
    fn take(log: &Path) -> Option<Reserve> {
        let path = log.with_file_name(".reserve");
        let file = File::create_new(&path).ok()?;
        let reserve = Reserve(path);
        #[cfg(target_os = "linux")]
        rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::empty(),
            0,
            Reserve::BYTES,
        )
        .ok()?;
        #[cfg(not(target_os = "linux"))]
        file.set_len(Reserve::BYTES).ok()?;
        Some(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // What is left behind is 64 KiB of nothing in a run directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Journal {
    /// A chain that is kept by whoever consumes the records, not on disk.
    #[must_use]
    pub fn in_memory(genesis: Link) -> Journal {
        Journal {
            head: genesis,
            seq: 0,
            file: None,
            buffer: Vec::with_capacity(1024),
            search: Search::new(None, Tape::off()),
        }
    }

    /// The same, keeping what `guard` looks for out of every record.
    #[must_use]
    pub fn guarded(self, guard: Option<Arc<Guard>>) -> Journal {
        self.searched(Search::new(guard, Tape::off()))
    }

    /// The same for a run that may be recorded or repeated.
    #[must_use]
    pub fn searched(self, search: Search) -> Journal {
        Journal { search, ..self }
    }

    /// What looks for the secrets of the run.
    #[must_use]
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// What is kept out of every record.
    #[must_use]
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.search.guard()
    }

    /// A chain that is appended to a new file.
    ///
    /// # Errors
    ///
    /// The file exists already, cannot be created, or somebody else keeps it locked.
    pub fn create(genesis: Link, path: &Path) -> Result<Journal, JournalError> {
        let failed = |source| JournalError {
            path: path.to_owned(),
            source,
        };
        let file = File::options()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(failed)?;
        lock(&file).map_err(failed)?;
        let reserve = Reserve::take(path);
        let log = LogFile {
            path: path.to_owned(),
            file,
            len: 0,
            torn: false,
            reserve,
        };
        Ok(Journal {
            file: Some(log),
            ..Journal::in_memory(genesis)
        })
    }

    /// Hash of the last record.
    #[must_use]
    pub fn head(&self) -> Link {
        self.head
    }

    /// Records written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.seq
    }

    /// True before the first record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seq == 0
    }

    /// Appends one record. When this returns, the record has been handed to the operating system.
    ///
    /// # Errors
    ///
    /// The file cannot take it. Whatever part of the line was written is cut off again, the chain stays
    /// as it was, and the reserve of disk space is given back: the next record may fit.
    pub fn append(&mut self, time: Timestamp, entry: Entry) -> Result<Arc<Record>, Box<Unwritten>> {
        let (name, json) = match &entry {
            Entry::Avp(event) => ("avp", serde_json::to_string(event)),
            Entry::Audit(audit) => ("audit", serde_json::to_string(audit)),
        };
        let json = match json {
            Ok(json) => json,
            Err(error) => {
                let error = self.failure(io::Error::other(error));
                return Err(Box::new(Unwritten { entry, error }));
            }
        };
        let redacted = match (&entry, self.guard()) {
            _ if down(Wall::SecretRecord) => Ok(None),
            // Audit records are no part of what is repeated.
            (Entry::Audit(_), guard) => Ok(guard.and_then(|guard| guard.redact_json(&json))),
            (Entry::Avp(event), _) => self.search.event(event.body.type_name(), &json),
        };
        let redacted = match redacted {
            Ok(redacted) => redacted,
            Err(error) => return Err(Box::new(Unwritten { entry, error })),
        };
        let (json, redacted) = match redacted {
            None => (json, Vec::new()),
            Some(Redacted { rest, found }) => (rest, found),
        };
        let buffer = &mut self.buffer;
        buffer.clear();
        let _ = write!(
            buffer,
            r#"{{"seq":{},"time":"{}","prev":"{}","{name}":"#,
            self.seq,
            Rfc3339(time),
            self.head
        );
        let start = buffer.len();
        buffer.extend_from_slice(json.as_bytes());
        let body = start..buffer.len();
        let hash = Link::of(buffer);
        let _ = write!(buffer, r#","hash":"{hash}"}}"#);
        let line: Box<str> = String::from_utf8_lossy(buffer).into();
        buffer.push(b'\n');
        if let Some(log) = &mut self.file
            && let Err(error) = log.append(&self.buffer)
        {
            return Err(Box::new(Unwritten { entry, error }));
        }
        let record = Record {
            seq: self.seq,
            entry,
            redacted,
            line,
            body,
        };
        self.head = hash;
        self.seq += 1;
        Ok(Arc::new(record))
    }

    fn failure(&self, source: io::Error) -> JournalError {
        let path = self
            .file
            .as_ref()
            .map(|log| log.path.clone())
            .unwrap_or_default();
        JournalError { path, source }
    }
}

/// Locks a log that was just created. Whoever looks whether the run goes on locks it for a moment, too.
fn lock(file: &File) -> io::Result<()> {
    const ATTEMPTS: u32 = 100;
    for _ in 0..ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            Err(TryLockError::Error(error)) => {
                // Not every file system has locks. The run does not need it; who wants to remove it would.
                tracing::debug!("the event log cannot be locked: {error}");
                return Ok(());
            }
        }
    }
    Err(io::Error::other("somebody else keeps it locked"))
}

impl LogFile {
    fn append(&mut self, line: &[u8]) -> Result<(), JournalError> {
        let written = if self.torn {
            Err(io::Error::other("an earlier record was written in part"))
        } else {
            self.file.write_all(line)
        };
        match written {
            Ok(()) => {
                self.len += line.len() as u64;
                Ok(())
            }
            Err(source) => {
                self.torn = self.torn || self.file.set_len(self.len).is_err();
                self.reserve = None;
                Err(JournalError {
                    path: self.path.clone(),
                    source,
                })
            }
        }
    }
}
