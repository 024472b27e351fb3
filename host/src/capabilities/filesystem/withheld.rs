//! What a guest does not get of the directories it was granted: the host's own data.
//!
//! It is not there: it is not found, not listed, and nothing of its name can be made. Its path is judged as it is on the
//! host, and every directory on the way by device and inode, so that neither a link nor another name leads to it. What
//! lies above it keeps its place, or it would get another path.

use std::path::Path;

use rustix::fs::AtFlags;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::{Disk, Root};
use super::place::Place;
use super::protect::Act;
use super::refusal::Refusal;
use super::resolve::Dir;
use super::sys::{Found, Inode};

const RULE: &str = "the host keeps its own data there";

impl Disk {
    /// Refuses what was found where the host keeps its own data.
    pub(super) fn reveal(&self, mount: usize, found: &Found) -> Result<(), Refusal> {
        if self.withheld.is_empty() {
            return Ok(());
        }
        let root = self.root(mount)?;
        let Inode { device, number } = found.inode();
        if self.withheld.has_inode(device, number) {
            return Err(self.hidden(mount, found));
        }
        // Most directories have nothing of the host's in them.
        if !self.withheld.is_above(&root.host) {
            return Ok(());
        }
        let place = self.place(mount, found.handle())?;
        match self.is_withheld(root, &place.rel) {
            true => Err(self.not_there(&place)),
            false => Ok(()),
        }
    }

    /// Refuses to make or change anything where the host keeps its own data, or would keep it; and to move what lies
    /// above it.
    pub(super) fn left_alone(&self, place: &Place, act: Act) -> Result<(), Refusal> {
        if self.withheld.is_empty() {
            return Ok(());
        }
        let root = self.root(place.mount)?;
        if self.is_withheld(root, &place.rel) {
            return Err(self.not_there(place));
        }
        if act != Act::Dir && self.withheld.is_above(&root.host.join(&place.rel)) {
            return Err(Refusal::Rule {
                code: ErrorCode::Access,
                path: self.guest_path(place),
                rule: "the host keeps its own data below it".to_owned(),
            });
        }
        Ok(())
    }

    /// Which names in a directory are the host's own.
    pub(super) fn withheld_in(
        &self,
        dir: &Dir,
    ) -> Result<impl Fn(&str, Inode) -> bool + use<'_>, Refusal> {
        let root = self.root(dir.mount)?;
        let place = match self.withheld.is_empty() {
            true => None,
            false => Some(self.place(dir.mount, &dir.dir)?),
        };
        Ok(move |name: &str, inode: Inode| {
            place.as_ref().is_some_and(|place| {
                self.withheld.has_inode(inode.device, inode.number)
                    || self.is_withheld(root, &place.rel.join(name))
            })
        })
    }

    fn is_withheld(&self, root: &Root, rel: &Path) -> bool {
        // What lies in a place of the host's as a whole is a copy that the host has made for this guest.
        if self.withheld.covers(&root.host) {
            return false;
        }
        self.withheld.covers(&root.host.join(rel))
            || rel
                .ancestors()
                .filter(|above| !above.as_os_str().is_empty())
                .any(|above| {
                    let stat = rustix::fs::statat(&root.dir, above, AtFlags::SYMLINK_NOFOLLOW);
                    stat.is_ok_and(|stat| self.withheld.has_inode(stat.st_dev, stat.st_ino))
                })
    }

    fn hidden(&self, mount: usize, found: &Found) -> Refusal {
        match self.place(mount, found.handle()) {
            Ok(place) => self.not_there(&place),
            Err(refusal) => refusal,
        }
    }

    fn not_there(&self, place: &Place) -> Refusal {
        Refusal::Rule {
            code: ErrorCode::NoEntry,
            path: self.guest_path(place),
            rule: RULE.to_owned(),
        }
    }
}
