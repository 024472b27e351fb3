//! How much may be read once a guest is gone, to say what it has changed.
//!
//! A guest decides how much there is to compare: a file with thousands of names, files for which the shortest
//! difference takes hours. Its own limits have ended with it, so that this work has limits of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::sys::{Found, Inode};
use crate::digest::Digest;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;

/// Bytes that are read however late it is: a small change is shown in full on a machine that is busy.
const FLOOR: u64 = 256 << 10;

/// A budget of bytes and of time, which somebody may also call off.
#[derive(Debug)]
pub struct Effort {
    max: u64,
    used: AtomicU64,
    until: Option<Instant>,
    off: Arc<AtomicBool>,
}

impl Effort {
    /// As much as it takes: for work that an operator has asked for and can interrupt.
    #[must_use]
    pub fn unbounded() -> Effort {
        Effort {
            max: u64::MAX,
            used: AtomicU64::new(0),
            until: None,
            off: Arc::default(),
        }
    }

    /// At most so many bytes, and none of them once so much time has passed or `off` is true. The first 256 KiB
    /// are not a matter of time.
    #[must_use]
    pub fn new(bytes: u64, time: Duration, off: Arc<AtomicBool>) -> Effort {
        Effort {
            max: sabotage::limit(Wall::Ending, bytes),
            used: AtomicU64::new(0),
            until: Instant::now().checked_add(sabotage::time(Wall::Ending, time)),
            off,
        }
    }

    /// At most so many bytes, and none once `off` is true.
    #[must_use]
    pub fn bytes(bytes: u64, off: Arc<AtomicBool>) -> Effort {
        Effort {
            max: sabotage::limit(Wall::Ending, bytes),
            used: AtomicU64::new(0),
            until: None,
            off,
        }
    }

    /// Takes so many bytes, unless that is too much.
    #[must_use]
    pub fn take(&self, bytes: u64) -> bool {
        if self.off.load(Ordering::Relaxed) {
            return false;
        }
        let max = if self.is_late() {
            self.max.min(FLOOR)
        } else {
            self.max
        };
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= max);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.used.fetch_update(set, fetch, more).is_ok()
    }

    /// The time that is left; nothing where there is no end to it.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let until = self.until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    fn is_late(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Whether what is being read is to be left.
    fn is_over(&self) -> bool {
        self.off.load(Ordering::Relaxed)
            || (self.is_late() && self.used.load(Ordering::Relaxed) > FLOOR)
    }
}

/// A file that is read as long as there is time for it.
struct Hurried<'a> {
    file: &'a File,
    effort: &'a Effort,
}

impl Read for Hurried<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.effort.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut file = self.file;
        file.read(into)
    }
}

/// The digest of a file; nothing when reading it is more than `effort` allows.
///
/// # Errors
/// The file cannot be read.
pub(super) fn digest(found: &Found, effort: &Effort) -> io::Result<Option<Digest>> {
    // A file that grows meanwhile is read up to the size that was paid for.
    if !effort.take(found.size()) {
        return Ok(None);
    }
    let file = found.reopen(OFlags::RDONLY)?;
    let hurried = Hurried {
        file: &file,
        effort,
    };
    match Digest::of_reader(hurried.take(found.size())) {
        Ok(digest) => Ok(Some(digest)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(None),
        Err(error) => Err(error),
    }
}

/// What tells the content of a file from every other one's without reading it, as long as nobody writes.
type Content = (Inode, u64, (i64, i64));

/// Digests of files by what they are and not by what they are called: a file with many names is read once.
#[derive(Debug, Default)]
pub(super) struct Digests {
    known: HashMap<Content, Digest>,
}

impl Digests {
    /// The digest of a file; nothing when reading it is more than `effort` allows.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn of(&mut self, found: &Found, effort: &Effort) -> io::Result<Option<Digest>> {
        let meta = found.meta();
        let content = (
            found.inode(),
            found.size(),
            (meta.ctime(), meta.ctime_nsec()),
        );
        if let Some(digest) = self.known.get(&content) {
            return Ok(Some(*digest));
        }
        let digest = digest(found, effort)?;
        if let Some(digest) = digest {
            self.known.insert(content, digest);
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sys::find_plain;
    use super::*;
    use std::fs;

    fn effort(bytes: u64, time: Duration) -> (Effort, Arc<AtomicBool>) {
        let off = Arc::new(AtomicBool::new(false));
        (Effort::new(bytes, time, off.clone()), off)
    }

    const AN_HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn bytes_are_paid_once_for_all_names_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("0"), [7; 1000]).unwrap();
        fs::write(dir.path().join("other"), [8; 1000]).unwrap();
        for name in 1..50 {
            fs::hard_link(dir.path().join("0"), dir.path().join(name.to_string())).unwrap();
        }
        let root = File::open(dir.path()).unwrap();
        let (effort, _) = effort(1500, AN_HOUR);
        let mut digests = Digests::default();
        for name in 0..50 {
            let found = find_plain(&root, name.to_string().as_str()).unwrap();
            let digest = digests.of(&found, &effort).unwrap();
            assert_eq!(digest, Some(Digest::of(&[7; 1000])));
        }
        let found = find_plain(&root, "other").unwrap();
        assert_eq!(digests.of(&found, &effort).unwrap(), None, "not paid for");
    }

    #[test]
    fn late_only_little_is_read_and_nothing_once_it_is_called_off() {
        let (late, off) = effort(u64::MAX, Duration::ZERO);
        assert!(late.take(FLOOR));
        assert!(!late.take(1));
        let (soon, _) = effort(10, AN_HOUR);
        assert!(!soon.take(11) && soon.take(10) && !soon.take(1));
        off.store(true, Ordering::Relaxed);
        assert!(!late.take(0));
        assert!(Effort::unbounded().take(u64::MAX));
    }
}
