//! The new content of a directory, brought beside it.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::super::sys::{self, Found, Kind};
use super::delta::{self, Item};
use super::moves;
use super::permissions::{self, Bits};
use super::tree::{self, Base, Node, Owner, Stamp};
use super::{CowError, at, copy};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// What goes when the content of a stage comes.
pub(super) struct Freed<'a> {
    pub(super) path: &'a str,
    pub(super) bytes: u64,
}

/// Brings files from the copy into the stage.
pub(super) struct Staging<'a> {
    base: &'a Base,
    /// Permissions of the copied files, where the base does not know them.
    kept: Option<&'a Base>,
    root: &'a File,
    copy: PathBuf,
    tree: File,
    /// Files of the copy that are in the stage, by inode.
    staged: HashMap<u64, (PathBuf, Item)>,
    /// What was copied, by the inode of the copy.
    originals: HashMap<u64, (&'a str, &'a Node)>,
    /// Bytes that are deleted, by path.
    freed: HashMap<&'a str, u64>,
    /// Bytes by which the directory may grow still.
    left: u64,
}

/// Whose permissions something new shall have.
enum Like {
    /// Those of what is there: it is replaced, or was renamed.
    There(Found),
    /// Those of what was there.
    Gone(Owner),
    /// Those of anything new.
    New,
}

impl<'a> Staging<'a> {
    pub(super) fn new(
        base: &'a Base,
        kept: Option<&'a Base>,
        root: &'a File,
        copy: &Path,
        freed: Vec<Freed<'a>>,
    ) -> Result<Staging<'a>, CowError> {
        let originals = base.nodes.iter().filter_map(|(path, node)| {
            let inode = node.copied()?;
            Some((inode, (path.as_str(), node)))
        });
        let freed: HashMap<_, _> = freed.into_iter().map(|it| (it.path, it.bytes)).collect();
        Ok(Staging {
            base,
            kept,
            root,
            copy: copy.to_owned(),
            tree: File::open(copy).map_err(at("prepare", copy))?,
            staged: HashMap::new(),
            originals: originals.collect(),
            left: match base.disk_bytes {
                Some(bytes) if !down(Wall::ApplyBytes) => freed
                    .values()
                    .fold(bytes, |sum, freed| sum.saturating_add(*freed)),
                _ => u64::MAX,
            },
            freed,
        })
    }

    /// Brings the file at `path` of the copy to `to`.
    pub(super) fn file(&mut self, path: &str, item: &Item, to: &Path) -> Result<(), CowError> {
        let from = self.copy.join(path);
        let failed = || at("prepare", &from);
        let changed = || CowError::Damaged {
            path: from.clone(),
            reason: "it was changed after it was compared".to_owned(),
        };
        let found = sys::find_plain(&self.tree, path).map_err(failed())?;
        let inode = found.inode().number;
        if let Some((first, same)) = self.staged.get(&inode) {
            if same != item {
                return Err(changed());
            }
            return fs::hard_link(first, to).map_err(failed());
        }
        // A file that was renamed, or got another name, stays the file it is.
        if let Some((original, path)) = self.original(inode, item)
            && link(original.handle(), to).is_ok()
        {
            let freed = self.freed.remove(path).unwrap_or_default();
            self.take(freed)?;
            self.staged.insert(inode, (to.to_owned(), item.clone()));
            return Ok(());
        }
        self.take(found.size())?;
        let executable = tree::is_executable(&found);
        let like = self.like(path, inode, Kind::File);
        let file = found.reopen(OFlags::RDONLY).map_err(failed())?;
        let copied = match like {
            Like::New => self.fresh(path, executable, to),
            Like::There(_) | Like::Gone(_) => private(to),
        };
        let copied = copied.map_err(failed())?;
        copy::content(&file, &copied).map_err(failed())?;
        // What was reviewed is what is applied.
        let digest = Found::again(&copied).and_then(|copied| tree::digest(&copied));
        let staged = Item::File {
            digest: Some(digest.map_err(failed())?),
            executable,
        };
        if staged != *item {
            return Err(changed());
        }
        permit(&like, &copied, Bits::File { executable })
            .map_err(at("keep the permissions of", &from))?;
        copied.sync_all().map_err(failed())?;
        self.staged.insert(inode, (to.to_owned(), staged));
        Ok(())
    }

    /// Makes the directory at `path` of the copy at `to`, without what is in it.
    pub(super) fn dir(&self, path: &str, to: &Path) -> Result<(), CowError> {
        let from = self.copy.join(path);
        fs::create_dir(to).map_err(at("prepare", &from))?;
        let keep = || -> io::Result<()> {
            let inode = sys::find_plain(&self.tree, path)?.inode().number;
            permit(
                &self.like(path, inode, Kind::Dir),
                &File::open(to)?,
                Bits::Dir,
            )
        };
        keep().map_err(at("keep the permissions of", &from))
    }

    /// Counts bytes by which the directory grows.
    fn take(&mut self, bytes: u64) -> Result<(), CowError> {
        let too_much = || CowError::TooMuch {
            host: self.base.host.clone(),
            max: self.base.disk_bytes.unwrap_or_default(),
        };
        self.left = self.left.checked_sub(bytes).ok_or_else(too_much)?;
        Ok(())
    }

    /// Whose permissions the thing at `path` of the copy, with this inode, shall have.
    fn like(&self, path: &str, inode: u64, kind: Kind) -> Like {
        if down(Wall::ApplyModes) {
            return Like::New;
        }
        let there = |path: &str| {
            let found = sys::find_plain(self.root, path).ok()?;
            (found.kind() == kind).then_some(Like::There(found))
        };
        let gone = |node: &Node| node.owner().map(|owner| Like::Gone(owner.clone()));
        if let Some(like) = there(path) {
            return like;
        }
        if let Some(node) = self.kept.and_then(|kept| kept.nodes.get(path)) {
            return gone(node).unwrap_or(Like::New);
        }
        let Some((original, node)) = self.originals.get(&inode) else {
            return Like::New;
        };
        there(original).or_else(|| gone(node)).unwrap_or(Like::New)
    }

    /// The file in the granted directory that this inode of the copy is a copy of, and its path, if both are still the
    /// same.
    fn original(&self, inode: u64, item: &Item) -> Option<(Found, &'a str)> {
        let (path, node) = self.originals.get(&inode)?;
        let Node::File { base, .. } = node else {
            return None;
        };
        let found = sys::find_plain(self.root, *path).ok()?;
        let same = Stamp::of(found.meta()) == *base
            && delta::item(&found).ok().flatten().as_ref() == Some(item);
        same.then_some((found, *path))
    }

    /// Makes an empty file with the permissions that any new file gets where `path` leads to.
    fn fresh(&self, path: &str, executable: bool, to: &Path) -> io::Result<File> {
        let mode = if executable { 0o777 } else { 0o666 };
        // What a directory hands on (its group, its access control list) is handed on by making a file in it.
        let (dir, _) = moves::split(path);
        if let Ok(dir) = sys::find_plain(self.root, dir) {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let made = rustix::fs::openat(
                CWD,
                format!("/proc/self/fd/{}", dir.handle().as_raw_fd()),
                flags,
                Mode::from_raw_mode(mode),
            );
            if let Ok(made) = made.map(File::from)
                && link(&made, to).is_ok()
            {
                return Ok(made);
            }
        }
        create(to, mode)
    }
}

fn permit(like: &Like, to: &File, bits: Bits) -> io::Result<()> {
    match like {
        Like::There(found) => permissions::take_over(found, to, bits),
        Like::Gone(owner) => permissions::restore(owner, to, bits),
        Like::New => Ok(()),
    }
}

/// Makes an empty file that nobody else can open.
fn private(to: &Path) -> io::Result<File> {
    create(to, 0o600)
}

fn create(to: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    options.mode(mode).open(to)
}

fn link(from: &File, to: &Path) -> io::Result<()> {
    let from = format!("/proc/self/fd/{}", from.as_raw_fd());
    Ok(rustix::fs::linkat(
        CWD,
        from,
        CWD,
        to,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}
