//! Opening files and directories.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::OFlags;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::Disk;
use super::lease::{Lease, Leased};
use super::protect::Act;
use super::refusal::Refusal;
use super::resolve::Dir;
use super::sys::{self, Found, Kind, Links};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::Touch;

/// How often opening is tried again when a file appears and vanishes meanwhile.
const ATTEMPTS: u32 = 8;

/// What a guest wants of what it opens.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of the WIT function"
)]
pub(super) struct How {
    pub(super) links: Links,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) directory: bool,
    pub(super) read: bool,
    pub(super) write: bool,
}

impl How {
    /// Whether anything can change by it: creating implies writing.
    pub(super) fn writes(self) -> bool {
        self.write || self.create || self.truncate
    }

    fn access(self) -> OFlags {
        match (self.read || !self.writes(), self.writes()) {
            (true, true) => OFlags::RDWR,
            (false, true) => OFlags::WRONLY,
            _ => OFlags::RDONLY,
        }
    }
}

/// What was opened.
pub(super) enum Opened {
    /// A directory, and where it is beneath the granted one.
    Dir(File, Arc<str>),
    File(File, Lease),
}

impl Disk {
    /// Opens a file or directory; never anything else, and never blocks on what it finds.
    ///
    /// What a path names is held by a handle without access first, looked at, and only then opened
    /// through that handle: whatever happens to the path meanwhile, what is opened is what was checked.
    pub(super) fn open(
        self: &Arc<Self>,
        from: &Dir,
        path: &str,
        how: How,
    ) -> Result<Opened, Refusal> {
        if how.directory && (how.create || how.exclusive || how.truncate) {
            return Err(ErrorCode::Invalid.into());
        }
        if how.writes() {
            self.writable(from, path, Touch::Written)?;
        }
        for _ in 0..ATTEMPTS {
            match self.find(from, path, how.links) {
                Ok(_) if how.create && how.exclusive => return Err(ErrorCode::Exist.into()),
                Ok(found) => return self.open_found(from, path, &found, how),
                Err(Refusal::Code(ErrorCode::NoEntry)) if how.create => {
                    if let Some(opened) = self.open_new(from, path, how)? {
                        return Ok(opened);
                    }
                }
                Err(refusal) => {
                    if let Refusal::Code(ErrorCode::NoEntry) = refusal {
                        self.touched(from, path, Touch::Missing);
                    }
                    return Err(refusal);
                }
            }
        }
        Err(ErrorCode::Busy.into())
    }

    fn open_found(
        self: &Arc<Self>,
        from: &Dir,
        path: &str,
        found: &Found,
        how: How,
    ) -> Result<Opened, Refusal> {
        let place = self.place(from.mount, found.handle())?;
        let rule = |rule: &str| Refusal::Rule {
            code: ErrorCode::NotPermitted,
            path: self.guest_path(&place),
            rule: rule.to_owned(),
        };
        if found.inode().device != self.root(from.mount)?.device && sys::is_pseudo(found.handle())?
        {
            return Err(rule("shows the host itself, not files"));
        }
        match found.kind() {
            Kind::Symlink => Err(ErrorCode::Loop.into()),
            Kind::Special if !down(Wall::Regular) => {
                Err(rule("only regular files and directories can be opened"))
            }
            Kind::Dir if how.writes() => Err(ErrorCode::IsDirectory.into()),
            Kind::Dir => {
                let dir = found.reopen(OFlags::RDONLY | OFlags::DIRECTORY)?;
                self.touched_at(from, path, &place, Touch::Folder);
                Ok(Opened::Dir(dir, place.rel.to_string_lossy().into()))
            }
            Kind::File if how.directory || path.ends_with('/') => {
                Err(ErrorCode::NotDirectory.into())
            }
            Kind::File | Kind::Special => {
                if how.writes() {
                    self.guard(&place, Act::File)?;
                    self.sole(&place, found)?;
                    self.touch(&place);
                    self.base(found.inode(), found.size());
                }
                let file = found.reopen(how.access())?;
                if how.read || !how.writes() {
                    self.touched_at(from, path, &place, Touch::Read);
                }
                if how.writes() {
                    self.touched_at(from, path, &place, Touch::Written);
                }
                let lease = self.lease(Leased {
                    inode: found.inode(),
                    place,
                    writes: how.writes(),
                    created: false,
                });
                if how.truncate && found.size() > 0 {
                    file.set_len(0)?;
                    self.settle(lease.inode(), 0);
                    self.wrote(lease.inode(), 0);
                }
                Ok(Opened::File(file, lease))
            }
        }
    }

    /// Creates a file; nothing when there is something of that name by now.
    fn open_new(
        self: &Arc<Self>,
        from: &Dir,
        path: &str,
        how: How,
    ) -> Result<Option<Opened>, Refusal> {
        let parent = self.parent(from, path)?;
        if parent.slash {
            return Err(ErrorCode::IsDirectory.into());
        }
        if let Ok(found) = parent.found() {
            // A link to nothing: what would be created is not what was named, and may be elsewhere.
            return match found.kind() {
                Kind::Symlink => Err(ErrorCode::NoEntry.into()),
                _ => Ok(None),
            };
        }
        self.guard_new(&parent, Act::File)?;
        self.shallow(&parent.place)?;
        self.may_create()?;
        self.touch(&parent.place);
        let file = match sys::create(parent.handle(), &parent.name, how.access()) {
            Ok(file) => file,
            Err(error) => {
                self.untouch(&parent.place);
                return match Refusal::from(error) {
                    Refusal::Code(ErrorCode::Exist) => Ok(None),
                    refusal => Err(refusal),
                };
            }
        };
        let inode = sys::inode(&file.metadata()?);
        self.created(inode);
        self.touched_at(from, path, &parent.place, Touch::Made);
        let lease = self.lease(Leased {
            inode,
            place: parent.place,
            writes: true,
            created: true,
        });
        Ok(Some(Opened::File(file, lease)))
    }

    /// Refuses what changes anything in a directory that is granted for reading. What is not refused has needed
    /// the grant, whatever comes of it.
    pub(super) fn writable(&self, from: &Dir, path: &str, touch: Touch) -> Result<(), Refusal> {
        let root = self.root(from.mount)?;
        if root.writable || down(Wall::ReadOnly) {
            self.may_touch()?;
            if touch == Touch::Made {
                self.touched(from, path, touch);
            }
            return Ok(());
        }
        Err(Refusal::Rule {
            code: ErrorCode::ReadOnly,
            path: self.shown(from, path),
            rule: format!("the directory `{}` is granted read-only", root.guest),
        })
    }

    /// A path of the guest's as it is shown when it is not resolved.
    pub(super) fn shown(&self, from: &Dir, path: &str) -> String {
        let at = self
            .place(from.mount, &from.dir)
            .map(|at| self.guest_path(&at));
        match at {
            Ok(at) => format!("{}/{path}", at.trim_end_matches('/')),
            Err(_) => path.to_owned(),
        }
    }
}
