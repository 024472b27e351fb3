//! What is in a directory: paths, kinds, and what tells whether a file was written since.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::super::digest::of_file;
use super::super::protect::Protection;
use super::super::sys::{self, Found, Inode, Kind, Links};
use crate::digest::Digest;
use crate::host_places::HostPlaces;

/// What was copied.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Base {
    pub(super) version: u32,
    /// The directory changes are for.
    pub(super) host: PathBuf,
    /// What was copied, where that is not `host` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<PathBuf>,
    /// By path beneath it.
    pub(super) nodes: BTreeMap<String, Node>,
    /// What was left out.
    pub(super) skipped: Vec<String>,
    /// What a guest may not change there.
    #[serde(default)]
    pub(super) protection: Protection,
    /// Where the host keeps its own data, which no run changes.
    #[serde(default)]
    pub(super) withheld: Vec<PathBuf>,
    /// Bytes by which the run may let it grow; nothing for a copy no run works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) disk_bytes: Option<u64>,
}

impl Base {
    /// The directory that was copied.
    pub(super) fn source(&self) -> &Path {
        self.source.as_deref().unwrap_or(&self.host)
    }
}

/// One thing that was copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Node {
    File {
        executable: bool,
        /// Of the original; that of the copy is the host's own business.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
        /// The original.
        base: Stamp,
        /// The copy, right after it was made.
        copy: Stamp,
    },
    Dir {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<Owner>,
        /// Inode of the copy.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copy: Option<u64>,
    },
    Symlink {
        target: String,
    },
}

/// Who a thing belongs to, and who may do what with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    /// Whether it has an access control list besides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) listed: bool,
}

impl Node {
    /// Inode of the copy.
    pub(super) fn copied(&self) -> Option<u64> {
        match self {
            Node::File { copy, .. } => Some(copy.inode),
            Node::Dir { copy, .. } => *copy,
            Node::Symlink { .. } => None,
        }
    }

    pub(super) fn owner(&self) -> Option<&Owner> {
        match self {
            Node::File { owner, .. } | Node::Dir { owner, .. } => owner.as_ref(),
            Node::Symlink { .. } => None,
        }
    }
}

/// Changes whenever a file is written. The time of the last status change cannot be set by a program, so
/// that two equal stamps mean the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(meta: &Metadata) -> Stamp {
        Stamp {
            inode: meta.ino(),
            size: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// One thing in a directory as it is now.
pub(in crate::capabilities::filesystem) struct Entry {
    pub(in crate::capabilities::filesystem) path: String,
    pub(in crate::capabilities::filesystem) found: Found,
}

/// Why something in a directory is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capabilities::filesystem) enum Skipped {
    /// Its path is not UTF-8.
    Unnamed,
    /// The host keeps its own data there.
    Withheld,
}

/// Bytes of a path after which what is deeper is looked up from there. Linux takes paths of 4096 bytes.
const LEG: usize = 2048;

/// A directory that is still to be listed.
struct Due {
    /// A directory above it, or itself.
    from: Arc<File>,
    /// Its path beneath that one; empty for itself.
    rel: String,
    /// Its path beneath the root.
    path: String,
}

/// Calls `each` for everything in `root`, directories before what is in them, in no other order. Links are
/// not followed. What is passed over goes to `skip`, without what is in it. A tree may be deeper than any path is long: some
/// directories on the way are kept open, one for every 2 KiB of the path.
pub(in crate::capabilities::filesystem) fn walk<E: From<io::Error>>(
    root: &File,
    withheld: &HostPlaces,
    mut each: impl FnMut(Entry) -> Result<(), E>,
    mut skip: impl FnMut(String, Skipped),
) -> Result<(), E> {
    let base = match withheld.is_empty() {
        true => None,
        // What lies in a place of the host's as a whole is the host's to walk through: a copy it keeps.
        false => Some(sys::location(root)?).filter(|base| !withheld.covers(base)),
    };
    let is_withheld = |path: &str, found: &Found| {
        let Inode { device, number } = found.inode();
        let base = base.as_ref();
        withheld.has_inode(device, number)
            || base.is_some_and(|base| withheld.covers(&base.join(path)))
    };
    let mut dirs = vec![Due {
        from: Arc::new(root.try_clone()?),
        rel: String::new(),
        path: String::new(),
    }];
    while let Some(Due {
        mut from,
        mut rel,
        path: dir,
    }) = dirs.pop()
    {
        let at = if rel.is_empty() { "." } else { &rel };
        let found = sys::find_plain(&from, at)?;
        if rel.len() > LEG {
            from = Arc::new(found.handle().try_clone()?);
            rel.clear();
        }
        let open = found.reopen(OFlags::RDONLY | OFlags::DIRECTORY)?;
        for entry in rustix::fs::Dir::new(open).map_err(io::Error::from)? {
            let entry = entry.map_err(io::Error::from)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let join = |dir: &str, name: &str| match dir {
                "" => name.to_owned(),
                dir => format!("{dir}/{name}"),
            };
            let Ok(name) = name.to_str() else {
                let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                skip(join(&dir, &name.to_string_lossy()), Skipped::Unnamed);
                continue;
            };
            let path = join(&dir, name);
            let found = match sys::find(found.handle(), name, Links::Keep) {
                Ok(found) => found,
                // Gone since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            if is_withheld(&path, &found) {
                skip(path, Skipped::Withheld);
                continue;
            }
            if found.kind() == Kind::Dir {
                dirs.push(Due {
                    from: from.clone(),
                    rel: join(&rel, name),
                    path: path.clone(),
                });
            }
            each(Entry { path, found })?;
        }
    }
    Ok(())
}

/// Whether a file may be executed by its owner: all of a file's mode that is kept.
pub(in crate::capabilities::filesystem) fn is_executable(found: &Found) -> bool {
    found.meta().mode() & 0o100 != 0
}

/// What a link points to; bytes that are not UTF-8 make it unlike any other.
pub(super) fn target(found: &Found) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&found.target()?).into_owned())
}

/// Digest of a file's content.
pub(super) fn digest(found: &Found) -> io::Result<Digest> {
    let file = found.reopen(OFlags::RDONLY)?;
    of_file(&file, u64::MAX)?.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))
}
