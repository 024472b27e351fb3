//! What a guest may not change in a granted directory, asked again when a difference is brought into it: the directory
//! is not the copy, and a plan is only a file.

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
    pub(super) fn new(base: &Base) -> Result<Guard, CowError> {
        let host = &base.host;
        let root = open_root(&Mount {
            host: host.clone(),
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

    /// Refuses a change that a guest could not have made.
    pub(super) fn check(&self, entry: &PathDelta) -> Result<(), CowError> {
        for item in [&entry.before, &entry.after].into_iter().flatten() {
            self.allows(&entry.path, act(item))?;
        }
        match (&entry.before, &entry.after) {
            (None, Some(item)) => self.allows_new(&entry.path, act(item)),
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

    fn allows_new(&self, path: &str, act: Act) -> Result<(), CowError> {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        let root = self.0.root(0).map_err(|refusal| refused(path, refusal))?;
        // Where the directory is new itself, everything in it is, and has been checked in the copy.
        let Ok(dir) = sys::find_plain(&root.dir, dir) else {
            return Ok(());
        };
        let parent = Parent {
            dir,
            name: name.to_owned(),
            place: place(path),
            slash: false,
        };
        let checked = self.0.guard_new(&parent, act);
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
