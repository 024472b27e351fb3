//! Copying a directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::protect::Protection;
use super::super::sys::{Found, Kind};
use super::tree::{self, Base, Entry, Node, Stamp};
use super::{CowError, VERSION, at, permissions};
use crate::host_places::HostPlaces;

/// How often a file is copied again that was written to meanwhile.
const ATTEMPTS: u32 = 4;

/// How large a directory may be to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of all files. Counted even where blocks are shared.
    pub bytes: u64,
}

impl Default for CopyLimits {
    /// A large working copy with its dependencies: 500 000 entries, 16 GiB.
    fn default() -> CopyLimits {
        CopyLimits {
            entries: 500_000,
            bytes: 16 << 30,
        }
    }
}

/// Copies `host` to `to`, which must not exist, without what is withheld.
pub(super) fn copy(
    host: &Path,
    to: &Path,
    limits: &CopyLimits,
    withheld: &HostPlaces,
) -> Result<Base, CowError> {
    let host = host.canonicalize().map_err(at("read", host))?;
    let root = File::open(&host).map_err(at("read", &host))?;
    fs::create_dir(to).map_err(at("make", to))?;
    let mut nodes = BTreeMap::new();
    let mut skipped = Vec::new();
    let mut unnamed = Vec::new();
    let mut bytes: u64 = 0;
    let too_large = |of, max| CowError::TooLarge {
        host: host.clone(),
        of,
        max,
    };
    let each = |entry: Entry| -> Result<(), Trouble> {
        if nodes.len() as u64 >= limits.entries {
            return Err(too_large("entries", limits.entries).into());
        }
        bytes = bytes.saturating_add(match entry.found.kind() {
            Kind::File => entry.found.size(),
            _ => 0,
        });
        if bytes > limits.bytes {
            return Err(too_large("bytes", limits.bytes).into());
        }
        match copy_one(&host, &entry, to)? {
            Some(node) => {
                nodes.insert(entry.path, node);
            }
            None => skipped.push(entry.path),
        }
        Ok(())
    };
    match tree::walk(&root, withheld, each, |path, _| unnamed.push(path)) {
        Ok(()) => {}
        Err(Trouble::Cow(error)) => return Err(error),
        Err(Trouble::Io(error)) => return Err(at("read", &host)(error)),
    }
    skipped.append(&mut unnamed);
    skipped.sort();
    Ok(Base {
        version: VERSION,
        host,
        source: None,
        nodes,
        skipped,
        protection: Protection::default(),
        withheld: withheld.paths().to_vec(),
        disk_bytes: None,
    })
}

enum Trouble {
    Cow(CowError),
    Io(io::Error),
}

impl From<CowError> for Trouble {
    fn from(error: CowError) -> Trouble {
        Trouble::Cow(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Io(error)
    }
}

fn copy_one(host: &Path, entry: &Entry, to: &Path) -> Result<Option<Node>, CowError> {
    let from = host.join(&entry.path);
    let to = to.join(&entry.path);
    let failed = || at("copy", &from);
    Ok(Some(match entry.found.kind() {
        Kind::Special => return Ok(None),
        Kind::Dir => {
            fs::create_dir(&to).map_err(failed())?;
            Node::Dir {
                owner: Some(permissions::of(&entry.found)),
                copy: Some(to.symlink_metadata().map_err(failed())?.ino()),
            }
        }
        Kind::Symlink => {
            let target = entry.found.target().map_err(failed())?;
            let Ok(target) = String::from_utf8(target) else {
                return Ok(None);
            };
            symlink(&target, &to).map_err(failed())?;
            Node::Symlink { target }
        }
        Kind::File => {
            let executable = tree::is_executable(&entry.found);
            let file = entry.found.reopen(OFlags::RDONLY).map_err(failed())?;
            for _ in 0..ATTEMPTS {
                let base = Stamp::of(&file.metadata().map_err(failed())?);
                let copy = copy_file(&file, &to, executable).map_err(failed())?;
                if base == Stamp::of(&file.metadata().map_err(failed())?) {
                    return Ok(Some(Node::File {
                        executable,
                        owner: Some(permissions::of(&entry.found)),
                        base,
                        copy,
                    }));
                }
            }
            return Err(CowError::Restless { path: from });
        }
    }))
}

/// Copies a file by sharing its blocks, or by its bytes where that cannot be done.
pub(super) fn copy_file(from: &File, to: &Path, executable: bool) -> io::Result<Stamp> {
    let mode = if executable { 0o755 } else { 0o644 };
    let mut options = OpenOptions::new();
    let copy = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(to)?;
    content(from, &copy)?;
    Ok(Stamp::of(&copy.metadata()?))
}

/// Copies what is in a file into an empty one, from the beginning: by sharing blocks, or by its bytes where that cannot
/// be done. Holes stay holes.
pub(super) fn content(from: &File, to: &File) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let from = Found::again(from)?.reopen(OFlags::RDONLY)?;
    let size = from.metadata()?.len();
    let mut at = 0;
    while let Some(data) = next_data(&from, at, size)? {
        let (mut part, mut to) = (&from, to);
        part.seek(SeekFrom::Start(data.start))?;
        to.seek(SeekFrom::Start(data.start))?;
        io::copy(&mut part.take(data.end.saturating_sub(data.start)), &mut to)?;
        at = data.end;
    }
    // A hole at the end has no bytes to be written.
    if to.metadata()?.len() < size {
        to.set_len(size)?;
    }
    Ok(())
}

/// Where the next bytes of a file are that are no hole, at or behind `at`.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<Option<Range<u64>>> {
    use rustix::fs::SeekFrom::{Data, Hole};
    if at >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, Data(at)) {
        Ok(start) => start,
        // Nothing but a hole is left.
        Err(Errno::NXIO) => return Ok(None),
        // This file system does not tell.
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some(at..size)),
        Err(errno) => return Err(errno.into()),
    };
    let end = rustix::fs::seek(file, Hole(start))?;
    Ok(Some(start..end.max(start.saturating_add(1))))
}
