//! Operations on names: creating, removing, renaming and linking what a directory holds.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, Timestamps};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::Disk;
use super::observe::ChangeKind;
use super::place::Place;
use super::protect::Act;
use super::refusal::Refusal;
use super::resolve::{Dir, Parent};
use super::symlink;
use super::sys::{Found, Kind, Links};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::Touch;

impl Disk {
    pub(super) fn create_directory(&self, from: &Dir, path: &str) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        let parent = match self.parent(from, path) {
            // `.`, `..` and the like are directories that are there already.
            Err(Refusal::Code(ErrorCode::Invalid)) => return Err(ErrorCode::Exist.into()),
            parent => parent?,
        };
        if parent.found().is_ok() {
            return Err(ErrorCode::Exist.into());
        }
        self.guard_new(&parent, Act::Dir)?;
        self.shallow(&parent.place)?;
        self.may_create()?;
        self.touch(&parent.place);
        let mode = Mode::from_raw_mode(0o777);
        if let Err(error) = rustix::fs::mkdirat(parent.handle(), &parent.name, mode) {
            self.untouch(&parent.place);
            return Err(error.into());
        }
        self.count_created(&parent);
        self.tell(&parent.place, ChangeKind::DirCreated, None);
        Ok(())
    }

    pub(super) fn remove_directory(&self, from: &Dir, path: &str) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        let parent = self.parent(from, path)?;
        let found = parent.found()?;
        if found.kind() != Kind::Dir {
            return Err(ErrorCode::NotDirectory.into());
        }
        self.guard(&parent.place, Act::Dir)?;
        self.touch(&parent.place);
        rustix::fs::unlinkat(parent.handle(), &parent.name, AtFlags::REMOVEDIR)?;
        self.removed(found.inode(), true);
        self.deleted(&parent.place);
        self.tell(&parent.place, ChangeKind::DirRemoved, None);
        Ok(())
    }

    pub(super) fn unlink(&self, from: &Dir, path: &str) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        let parent = self.parent(from, path)?;
        let found = parent.found()?;
        match found.kind() {
            Kind::Dir => return Err(ErrorCode::IsDirectory.into()),
            _ if parent.slash => return Err(ErrorCode::NotDirectory.into()),
            _ => {}
        }
        self.guard(&parent.place, Act::File)?;
        self.touch(&parent.place);
        let before = self.before(&parent.place);
        rustix::fs::unlinkat(parent.handle(), &parent.name, AtFlags::empty())?;
        self.removed(found.inode(), found.links() <= 1);
        self.deleted(&parent.place);
        self.tell(&parent.place, ChangeKind::Deleted, before);
        Ok(())
    }

    pub(super) fn rename(
        &self,
        from: &Dir,
        path: &str,
        to: &Dir,
        new_path: &str,
    ) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        self.writable(to, new_path, Touch::Made)?;
        if from.mount != to.mount && !down(Wall::Separate) {
            // Granted directories are separate devices: tools then copy and delete.
            return Err(ErrorCode::CrossDevice.into());
        }
        let old = self.parent(from, path)?;
        let new = self.parent(to, new_path)?;
        let found = old.found()?;
        if (old.slash || new.slash) && found.kind() != Kind::Dir {
            return Err(ErrorCode::NotDirectory.into());
        }
        self.guard(&old.place, Act::Whole)?;
        self.guard_new(&new, Act::Whole)?;
        self.check_links(&old, &new, &found)?;
        self.shallow_move(&old.place, &new.place, &found)?;
        let replaced = new.found().ok();
        if replaced
            .as_ref()
            .is_some_and(|it| it.inode() == found.inode())
            && old.place != new.place
        {
            // Two names of one file: POSIX leaves both alone.
            if found.kind() == Kind::File && found.links() > 1 {
                return Ok(());
            }
        }
        self.touch(&old.place);
        self.touch(&new.place);
        let before = self.before(&old.place);
        if let Err(error) = rustix::fs::renameat(old.handle(), &old.name, new.handle(), &new.name) {
            self.untouch(&new.place);
            return Err(error.into());
        }
        self.repositories.forget();
        if old.place == new.place {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            let last = replaced.kind() == Kind::Dir || replaced.links() <= 1;
            self.removed(replaced.inode(), last);
        }
        self.renamed(&old.place, &new.place);
        let from = self.guest_path(&old.place);
        self.tell(&new.place, ChangeKind::Renamed { from }, before);
        Ok(())
    }

    /// Refuses a rename after which a symbolic link would lead out of the granted directory.
    fn check_links(&self, old: &Parent, new: &Parent, found: &Found) -> Result<(), Refusal> {
        let rule = |rule: String| Refusal::Rule {
            code: ErrorCode::NotPermitted,
            path: self.guest_path(&new.place),
            rule,
        };
        let depth = |place: &Place| place.depth().saturating_sub(1);
        match found.kind() {
            Kind::Symlink => symlink::check(&found.target()?, depth(&new.place)).map_err(rule),
            Kind::Dir if depth(&new.place) < depth(&old.place) => {
                let rise = depth(&old.place) - depth(&new.place);
                symlink::check_tree(found, new.place.depth(), rise).map_err(rule)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn symlink(&self, from: &Dir, target: &str, path: &str) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        let parent = self.parent(from, path)?;
        if parent.slash {
            return Err(ErrorCode::NoEntry.into());
        }
        if target.is_empty() {
            return Err(ErrorCode::NoEntry.into());
        }
        if target.contains('\0') {
            return Err(ErrorCode::Invalid.into());
        }
        self.guard_new(&parent, Act::Whole)?;
        self.shallow(&parent.place)?;
        let depth = parent.place.depth().saturating_sub(1);
        symlink::check(target.as_bytes(), depth).map_err(|rule| Refusal::Rule {
            code: ErrorCode::NotPermitted,
            path: self.guest_path(&parent.place),
            rule,
        })?;
        if parent.found().is_ok() {
            return Err(ErrorCode::Exist.into());
        }
        self.may_create()?;
        self.touch(&parent.place);
        if let Err(error) = rustix::fs::symlinkat(target, parent.handle(), &parent.name) {
            self.untouch(&parent.place);
            return Err(error.into());
        }
        self.count_created(&parent);
        self.tell(&parent.place, ChangeKind::SymlinkCreated, None);
        Ok(())
    }

    pub(super) fn link(
        &self,
        from: &Dir,
        path: &str,
        to: &Dir,
        new_path: &str,
    ) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        self.writable(to, new_path, Touch::Made)?;
        if from.mount != to.mount && !down(Wall::Separate) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let found = self.find(from, path, Links::Keep)?;
        let source = self.place(from.mount, found.handle())?;
        let new = self.parent(to, new_path)?;
        if new.slash {
            return Err(ErrorCode::NoEntry.into());
        }
        if found.kind() != Kind::File {
            return Err(Refusal::Rule {
                code: ErrorCode::NotPermitted,
                path: self.guest_path(&source),
                rule: "only regular files can be given another name".to_owned(),
            });
        }
        self.guard(&source, Act::Whole)?;
        self.guard_new(&new, Act::Whole)?;
        self.shallow(&new.place)?;
        self.sole(&source, &found)?;
        if new.found().is_ok() {
            return Err(ErrorCode::Exist.into());
        }
        self.may_create()?;
        self.touch(&new.place);
        if let Err(error) = found.link(new.handle(), &new.name) {
            self.untouch(&new.place);
            return Err(error.into());
        }
        self.linked(found.inode(), &new.place);
        self.tell(&new.place, ChangeKind::LinkCreated, None);
        Ok(())
    }

    pub(super) fn set_times_at(
        &self,
        from: &Dir,
        path: &str,
        links: Links,
        times: &Timestamps,
    ) -> Result<(), Refusal> {
        self.writable(from, path, Touch::Made)?;
        let found = self.find(from, path, links)?;
        let place = self.place(from.mount, found.handle())?;
        match found.kind() {
            Kind::File => {
                self.guard(&place, Act::File)?;
                self.sole(&place, &found)?;
            }
            Kind::Dir => self.guard(&place, Act::Dir)?,
            Kind::Symlink => return self.set_link_times(from, path, &place, times),
            Kind::Special if !down(Wall::Regular) => {
                return Err(Refusal::Rule {
                    code: ErrorCode::NotPermitted,
                    path: self.guest_path(&place),
                    rule: "only regular files and directories can be changed".to_owned(),
                });
            }
            Kind::Special => {}
        }
        self.touch(&place);
        found.set_times(times)?;
        self.told_times(&place);
        Ok(())
    }

    fn set_link_times(
        &self,
        from: &Dir,
        path: &str,
        place: &Place,
        times: &Timestamps,
    ) -> Result<(), Refusal> {
        let parent = self.parent(from, path)?;
        self.guard(&parent.place, Act::File)?;
        self.touch(place);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(parent.handle(), &parent.name, times, flags)?;
        self.told_times(place);
        Ok(())
    }

    /// Sets times of something that is already open, for reading perhaps.
    pub(super) fn set_times(
        &self,
        mount: usize,
        handle: Arc<File>,
        times: &Timestamps,
    ) -> Result<(), Refusal> {
        let from = Dir {
            mount,
            dir: handle,
            at: "".into(),
        };
        self.writable(&from, "", Touch::Written)?;
        let place = self.place(mount, &from.dir)?;
        let found = Found::again(&from.dir)?;
        if found.kind() == Kind::Dir {
            self.guard(&place, Act::Dir)?;
        } else {
            self.guard(&place, Act::File)?;
            self.sole(&place, &found)?;
        }
        self.touch(&place);
        found.set_times(times)?;
        self.told_times(&place);
        Ok(())
    }

    fn told_times(&self, place: &Place) {
        self.times(place);
        self.tell(place, ChangeKind::Times, self.before(place));
    }

    fn count_created(&self, parent: &Parent) {
        if let Ok(found) = parent.found() {
            self.created(found.inode());
        }
    }
}
