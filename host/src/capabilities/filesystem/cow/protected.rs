//! What a guest may not change in a granted directory, asked again when a difference is brought into it: the directory
//! is not the copy, and a plan is only a file.

use std::collections::HashSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::disk::Disk;
use super::super::observe::{Change, Denial, Observer};
use super::super::place::Place;
use super::super::protect::{Act, Rules};
use super::super::quota::Limits;
use super::super::refusal::Refusal;
use super::super::resolve::Parent;
use super::super::sys;
use super::super::{Access, Extent, Mount, open_root};
use super::delta::{Item, PathDelta};
use super::moves::{by_handle, split};
use super::tree::Base;
use super::{CowError, at};
use crate::capabilities::meters::LimitHit;
use crate::host_places::HostPlaces;

/// The guard of a guest's own writes, for what the host writes in its name.
pub(super) struct Guard(Disk);

/// Nobody listens: what is refused is an error of the command.
struct Nobody;

impl Observer for Nobody {
    fn denied(&self, _: Denial) {}
    fn changed(&self, _: Change) {}
    fn limit(&self, _: LimitHit) {}
}

impl Guard {
    /// The guard of the directory that is open as `root`.
    pub(super) fn new(base: &Base, root: &File) -> Result<Guard, CowError> {
        let host = &base.host;
        let root = open_root(&Mount {
            host: by_handle(root),
            guest: host.display().to_string(),
            access: Access::ReadWrite,
            extent: Extent::Whole,
        })
        .map_err(|error| at("guard", host)(std::io::Error::other(error)))?;
        let withheld = HostPlaces::new(base.withheld.iter().cloned());
        let disk = Disk::new(
            vec![root],
            Limits::default(),
            Rules::new(&base.protection),
            Arc::new(Nobody),
        );
        Ok(Guard(disk.withholding(withheld)))
    }

    /// Refuses a change that a guest could not have made, `new` being all paths that appear together with it.
    pub(super) fn check(&self, entry: &PathDelta, new: &HashSet<&str>) -> Result<(), CowError> {
        for item in [&entry.before, &entry.after].into_iter().flatten() {
            self.allows(&entry.path, act(item))?;
        }
        match (&entry.before, &entry.after) {
            (None, Some(item)) => self.allows_new(&entry.path, act(item), new),
            _ => Ok(()),
        }
    }

    /// Refuses to move anything to or from `path`.
    pub(super) fn check_path(&self, path: &str) -> Result<(), CowError> {
        self.allows(path, Act::Dir)
    }

    fn allows(&self, path: &str, act: Act) -> Result<(), CowError> {
        let checked = self.0.guard(&place(path), act);
        checked.map_err(|refusal| refused(path, refusal))
    }

    fn allows_new(&self, path: &str, act: Act, new: &HashSet<&str>) -> Result<(), CowError> {
        let (dir, name) = split(path);
        let root = self.0.root(0).map_err(|refusal| refused(path, refusal))?;
        // Where the directory is new itself, everything in it is, and has been checked in the copy.
        let Ok(found) = sys::find_plain(&root.dir, dir) else {
            return Ok(());
        };
        let parent = Parent {
            dir: found,
            name: name.to_owned(),
            place: place(path),
            slash: false,
        };
        let beside = |name: &str| match dir {
            "." => new.contains(name),
            dir => new.contains(format!("{dir}/{name}").as_str()),
        };
        let checked = self.0.guard_new_beside(&parent, act, &beside);
        checked.map_err(|refusal| refused(path, refusal))
    }
}

fn place(path: &str) -> Place {
    Place {
        mount: 0,
        rel: PathBuf::from(path),
    }
}

fn act(item: &Item) -> Act {
    match item {
        Item::Dir => Act::Dir,
        Item::File { .. } | Item::Symlink { .. } => Act::File,
    }
}

fn refused(path: &str, refusal: Refusal) -> CowError {
    CowError::Protected {
        path: path.to_owned(),
        rule: match refusal {
            Refusal::Rule { rule, .. } => rule,
            Refusal::Code(code) => format!("it cannot be checked ({code:?})"),
            Refusal::Limit(limit) => format!("it cannot be checked ({})", limit.name()),
        },
    }
}
