//! The new content of a directory, brought beside it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags};

use super::super::sys::{self, Found, Kind};
use super::delta::{self, Item};
use super::tree::{Base, Node, Stamp};
use super::{CowError, at, copy, permissions};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// How a file came to be in the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// It is a file of its own, for its owner alone until [`Staging::permit`].
    Copied,
    /// It is another name of a file that was there.
    Linked,
}

/// Brings files from the copy into the stage.
pub(super) struct Staging<'a> {
    base: &'a Base,
    /// Modes of the copied files, where the base does not know them.
    kept: Option<&'a Base>,
    root: &'a File,
    copy: PathBuf,
    tree: File,
    /// Files of the copy that are in the stage, by inode.
    staged: HashMap<u64, PathBuf>,
    /// What was copied, by the inode of the copy.
    originals: HashMap<u64, (&'a str, &'a Node)>,
    /// Bytes by which the directory may grow still.
    left: u64,
}

impl<'a> Staging<'a> {
    pub(super) fn new(
        base: &'a Base,
        kept: Option<&'a Base>,
        root: &'a File,
        copy: &Path,
    ) -> Result<Staging<'a>, CowError> {
        let originals = base.nodes.iter().filter_map(|(path, node)| match node {
            Node::File { copy, .. } => Some((copy.inode(), (path.as_str(), node))),
            Node::Dir | Node::Symlink { .. } => None,
        });
        Ok(Staging {
            base,
            kept,
            root,
            copy: copy.to_owned(),
            tree: File::open(copy).map_err(at("prepare", copy))?,
            staged: HashMap::new(),
            originals: originals.collect(),
            left: match base.disk_bytes {
                Some(bytes) if !down(Wall::ApplyBytes) => bytes,
                _ => u64::MAX,
            },
        })
    }

    /// Brings the file at `path` of the copy to `to`.
    pub(super) fn file(&mut self, path: &str, item: &Item, to: &Path) -> Result<Made, CowError> {
        let from = self.copy.join(path);
        let failed = || at("prepare", &from);
        let found = sys::find_plain(&self.tree, path).map_err(failed())?;
        let inode = found.inode().number;
        if let Some(first) = self.staged.get(&inode) {
            fs::hard_link(first, to).map_err(failed())?;
            return Ok(Made::Linked);
        }
        // A file that was renamed, or got another name, stays the file it is.
        if let Some(original) = self.original(inode, item)
            && link(&original, to).is_ok()
        {
            self.staged.insert(inode, to.to_owned());
            return Ok(Made::Linked);
        }
        let before = self.replaced(path).map_or(0, |found| found.size());
        let grows = found.size().saturating_sub(before);
        self.left = self
            .left
            .checked_sub(grows)
            .ok_or_else(|| CowError::TooMuch {
                host: self.base.host.clone(),
                max: self.base.disk_bytes.unwrap_or_default(),
            })?;
        let executable = matches!(
            item,
            Item::File {
                executable: true,
                ..
            }
        );
        let file = found.reopen(OFlags::RDONLY).map_err(failed())?;
        let copied = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o777 } else { 0o666 })
            .open(to)
            .map_err(failed())?;
        copy::content(&file, &copied).map_err(failed())?;
        copied.sync_all().map_err(failed())?;
        self.staged.insert(inode, to.to_owned());
        Ok(Made::Copied)
    }

    /// Gives a file in the stage the permissions it shall have at `path`: those of what is there, of what it was
    /// renamed from, or those of any new file.
    pub(super) fn permit(&self, path: &str, item: &Item, staged: &Path) -> Result<(), CowError> {
        if down(Wall::ApplyModes) {
            return Ok(());
        }
        let executable = matches!(
            item,
            Item::File {
                executable: true,
                ..
            }
        );
        let set = || -> io::Result<()> {
            let file = File::open(staged)?;
            if let Some(found) = self.replaced(path) {
                return permissions::take_over(&found, &file, executable);
            }
            match self.mode_before(path)? {
                Some(mode) => permissions::restrict(&file, mode, executable),
                None => Ok(()),
            }
        };
        set().map_err(at("keep the permissions of", &self.copy.join(path)))
    }

    /// The file that is about to be replaced.
    fn replaced(&self, path: &str) -> Option<Found> {
        let found = sys::find_plain(self.root, path).ok()?;
        (found.kind() == Kind::File).then_some(found)
    }

    /// The mode of a file that is not at `path` now: it was moved there, or is put back.
    fn mode_before(&self, path: &str) -> io::Result<Option<u32>> {
        let mode = |node: &Node| match node {
            Node::File { mode, .. } => *mode,
            Node::Dir | Node::Symlink { .. } => None,
        };
        if let Some(node) = self.kept.and_then(|kept| kept.nodes.get(path)) {
            return Ok(mode(node));
        }
        let inode = sys::find_plain(&self.tree, path)?.inode().number;
        let original = self.originals.get(&inode);
        Ok(original.and_then(|(_, node)| mode(node)))
    }

    /// The file in the granted directory that this inode of the copy is a copy of, if both are still the same.
    fn original(&self, inode: u64, item: &Item) -> Option<Found> {
        let (path, node) = self.originals.get(&inode)?;
        let Node::File { base, .. } = node else {
            return None;
        };
        let found = sys::find_plain(self.root, *path).ok()?;
        let same = Stamp::of(found.meta()) == *base
            && delta::item(&found).ok().flatten().as_ref() == Some(item);
        same.then_some(found)
    }
}

fn link(from: &Found, to: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let from = format!("/proc/self/fd/{}", from.handle().as_raw_fd());
    Ok(rustix::fs::linkat(
        CWD,
        from,
        CWD,
        to,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}
