//! What is different between what was copied and what the copy is now.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::effort::{Digests, Effort};
use super::super::sys::{self, Found, Kind};
use super::tree::{self, Base, Entry, Node, Stamp};
use super::{CowError, VERSION, at};
use crate::digest::Digest;
use crate::host_places::HostPlaces;

/// Everything a run has changed in its copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Version of this form.
    pub version: u32,
    /// By path.
    pub paths: Vec<PathDelta>,
    /// Files among them that were not read, because there was too much to read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands out references"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a run has changed at one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathDelta {
    /// Path beneath the directory.
    pub path: String,
    /// What was copied; nothing when there was nothing.
    pub before: Option<Item>,
    /// What is there now; nothing when it was deleted.
    pub after: Option<Item>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Item {
    /// A regular file.
    File {
        /// Content. Nothing for one that was changed on the host since it was copied, so that what was
        /// copied cannot be known any more, and for one that was not read.
        digest: Option<Digest>,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points.
        target: String,
    },
}

/// What is at a path now, content included; nothing for nothing or for a FIFO and the like.
pub(super) fn item(found: &Found) -> io::Result<Option<Item>> {
    Ok(match found.kind() {
        Kind::File => Some(Item::File {
            digest: Some(tree::digest(found)?),
            executable: tree::is_executable(found),
        }),
        Kind::Dir => Some(Item::Dir),
        Kind::Symlink => Some(Item::Symlink {
            target: tree::target(found)?,
        }),
        Kind::Special => None,
    })
}

/// What is at `path` beneath `root` now. A link on the way counts as nothing being there.
pub(super) fn found_at(root: &File, path: &str) -> io::Result<Option<Found>> {
    use rustix::io::Errno;
    match sys::find_plain(root, path) {
        Ok(found) => Ok(Some(found)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Reads what is not as it was copied, as far as `effort` goes.
pub(super) fn compare(base: &Base, copy: &Path, effort: &Effort) -> Result<Delta, CowError> {
    let source = base.source();
    let host = File::open(source).map_err(at("read", source))?;
    let root = File::open(copy).map_err(at("read", copy))?;
    let mut seen = HashSet::new();
    let mut paths = Vec::new();
    let mut reading = Reading {
        host,
        effort,
        digests: Digests::default(),
        unread: 0,
    };
    let each = |Entry { path, found }: Entry| -> io::Result<()> {
        let node = base.nodes.get(&path);
        if node.is_some() {
            seen.insert(path.clone());
        }
        if node.is_some_and(|node| unchanged(node, &found)) {
            return Ok(());
        }
        let before = match node {
            Some(node) => Some(reading.before(&path, node)?),
            None => None,
        };
        let after = reading.after(&found)?;
        // Of two files that were not read nobody knows that they are the same.
        let unread = matches!(after, Some(Item::File { digest: None, .. }));
        if before != after || unread {
            paths.push(PathDelta {
                path,
                before,
                after,
            });
        }
        Ok(())
    };
    tree::walk(&root, &HostPlaces::default(), each, |_, _| {}).map_err(at("compare", copy))?;
    for (path, node) in &base.nodes {
        if !seen.contains(path) {
            let before = reading.before(path, node).map_err(at("read", source))?;
            paths.push(PathDelta {
                path: path.clone(),
                before: Some(before),
                after: None,
            });
        }
    }
    paths.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Delta {
        version: VERSION,
        paths,
        unread: reading.unread,
    })
}

/// Whether a thing is what was copied, without reading it.
fn unchanged(node: &Node, found: &Found) -> bool {
    match node {
        Node::File { copy, .. } => *copy == Stamp::of(found.meta()),
        Node::Dir { .. } => found.kind() == Kind::Dir,
        Node::Symlink { target } => {
            found.kind() == Kind::Symlink && tree::target(found).ok().as_ref() == Some(target)
        }
    }
}

/// Reads both sides of a comparison.
struct Reading<'e> {
    host: File,
    effort: &'e Effort,
    digests: Digests,
    unread: u64,
}

impl Reading<'_> {
    fn digest(&mut self, found: &Found) -> io::Result<Option<Digest>> {
        let digest = self.digests.of(found, self.effort)?;
        self.unread += u64::from(digest.is_none());
        Ok(digest)
    }

    /// What is there now.
    fn after(&mut self, found: &Found) -> io::Result<Option<Item>> {
        Ok(match found.kind() {
            Kind::File => Some(Item::File {
                digest: self.digest(found)?,
                executable: tree::is_executable(found),
            }),
            _ => item(found)?,
        })
    }

    /// What was copied.
    fn before(&mut self, path: &str, node: &Node) -> io::Result<Item> {
        Ok(match node {
            Node::Dir { .. } => Item::Dir,
            Node::Symlink { target } => Item::Symlink {
                target: target.clone(),
            },
            Node::File {
                executable, base, ..
            } => {
                let original = sys::find_plain(&self.host, path)
                    .ok()
                    .filter(|found| Stamp::of(found.meta()) == *base);
                let digest = match original {
                    Some(found) => self.digest(&found)?,
                    None => None,
                };
                Item::File {
                    digest,
                    executable: *executable,
                }
            }
        })
    }
}
