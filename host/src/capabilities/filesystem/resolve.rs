//! From a path of the guest's to what it names and where that really is.

use std::fs::File;
use std::io;
use std::sync::Arc;

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::Disk;
use super::extent::Shown;
use super::place::Place;
use super::refusal::{Refusal, check, code};
use super::sys::{self, Found, Kind, Links};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// A directory of the guest's, as the start of a path.
#[derive(Clone)]
pub(super) struct Dir {
    pub(super) mount: usize,
    pub(super) dir: Arc<File>,
    /// Where it was when it was opened, beneath the granted directory; empty for that one itself.
    pub(super) at: Arc<str>,
}

/// The directory a name lies in, and the name.
pub(super) struct Parent {
    pub(super) dir: Found,
    pub(super) name: String,
    /// Canonical place of the name.
    pub(super) place: Place,
    /// The path ended in a slash: only a directory is meant.
    pub(super) slash: bool,
}

impl Parent {
    pub(super) fn handle(&self) -> &File {
        self.dir.handle()
    }

    /// What the name stands for, links not followed.
    pub(super) fn found(&self) -> io::Result<Found> {
        sys::find(self.handle(), &self.name, Links::Keep)
    }
}

impl Disk {
    /// Finds what a path of the guest's names. Everything a guest can name comes through here or
    /// through [`Disk::parent`].
    pub(super) fn find(&self, from: &Dir, path: &str, links: Links) -> Result<Found, Refusal> {
        check(path)?;
        let shown = self.extent(from.mount, path)?;
        let found = sys::find(&from.dir, path, shown.links(links))
            .map_err(|error| self.lookup(from, path, &error))?;
        if shown == Shown::File && found.kind() == Kind::Dir {
            // Somebody has put it where the granted file was.
            return Err(ErrorCode::NoEntry.into());
        }
        self.reveal(from.mount, &found)?;
        Ok(found)
    }

    /// Finds the directory a path's last component lies in.
    pub(super) fn parent(&self, from: &Dir, path: &str) -> Result<Parent, Refusal> {
        check(path)?;
        self.may_name(from.mount, path)?;
        let trimmed = path.trim_end_matches('/');
        let (dir, name) = match trimmed.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((dir, name)) => (dir, name),
            None => (".", trimmed),
        };
        let found =
            sys::find_dir(&from.dir, dir).map_err(|error| self.lookup(from, path, &error))?;
        self.reveal(from.mount, &found)?;
        if matches!(name, "" | "." | "..") {
            // It names the directory that is there already; nothing can be done to it by name.
            self.find(from, path, Links::Keep)?;
            return Err(ErrorCode::Invalid.into());
        }
        if found.links() == 0 {
            return Err(ErrorCode::NoEntry.into());
        }
        let place = self.place(from.mount, found.handle())?.child(name);
        if let Ok(there) = sys::find(found.handle(), name, Links::Keep) {
            self.reveal(from.mount, &there)?;
        }
        Ok(Parent {
            dir: found,
            name: name.to_owned(),
            place,
            slash: trimmed.len() < path.len(),
        })
    }

    fn lookup(&self, from: &Dir, path: &str, error: &io::Error) -> Refusal {
        if code(error) == ErrorCode::CrossDevice {
            self.outside(from.mount, path)
        } else {
            Refusal::Code(code(error))
        }
    }

    pub(super) fn outside(&self, mount: usize, path: &str) -> Refusal {
        let guest = self.roots.get(mount).map_or("", |root| root.guest.as_str());
        Refusal::Rule {
            code: ErrorCode::NotPermitted,
            path: path.to_owned(),
            rule: format!("leads out of the granted directory `{guest}`"),
        }
    }

    /// Where something is, as the kernel says.
    pub(super) fn place(&self, mount: usize, handle: &File) -> Result<Place, Refusal> {
        let root = self.root(mount)?;
        // Asked anew every time: the granted directory itself may be moved while a run goes on.
        let base = sys::location(&root.dir)?;
        let path = sys::location(handle)?;
        match path.strip_prefix(&base) {
            Ok(rel) => Ok(Place {
                mount,
                rel: rel.to_owned(),
            }),
            Err(_) if down(Wall::Beneath) => Ok(Place { mount, rel: path }),
            // Somebody has moved it out of the granted directory while the guest held it open.
            Err(_) => Err(self.outside(mount, &path.to_string_lossy())),
        }
    }
}
