//! How deep a tree a guest may make.
//!
//! A directory can be made and moved where no path is long enough to name it. What lies there can be reached by
//! handles alone: it could be neither compared, nor applied, nor removed by most programs of the operator's.

use std::os::unix::ffi::OsStrExt as _;

use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::cow::tree::{self, Entry};
use super::disk::Disk;
use super::place::Place;
use super::refusal::Refusal;
use super::sys::{Found, Kind};
use crate::host_places::HostPlaces;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Names beneath a granted directory, one in the other.
const DEPTH_MAX: usize = 256;

/// Bytes of a path beneath a granted directory. Linux takes paths of 4096; the rest is for where the directory lies
/// itself, and where its copy does.
const PATH_MAX: usize = 3072;

/// Entries that are looked at before a directory is moved deeper; one with more of them is not.
const TREE_MAX: usize = 100_000;

/// How far down a place is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Depth {
    names: usize,
    bytes: usize,
}

impl Depth {
    fn of(place: &Place) -> Depth {
        Depth {
            names: place.depth(),
            bytes: place.rel.as_os_str().as_bytes().len(),
        }
    }

    fn of_entry(path: &str) -> Depth {
        Depth {
            names: path.split('/').count(),
            // With the separator before it.
            bytes: path.len() + 1,
        }
    }

    fn plus(self, below: Depth) -> Depth {
        Depth {
            names: self.names.saturating_add(below.names),
            bytes: self.bytes.saturating_add(below.bytes),
        }
    }

    fn is_too_much(self) -> bool {
        self.names > DEPTH_MAX || self.bytes > PATH_MAX
    }

    fn is_within(self, other: Depth) -> bool {
        self.names <= other.names && self.bytes <= other.bytes
    }
}

impl Disk {
    /// Refuses a name that is to appear too deep.
    pub(super) fn shallow(&self, place: &Place) -> Result<(), Refusal> {
        if Depth::of(place).is_too_much() && !down(Wall::Depth) {
            return Err(self.too_deep(place, format!(
                "nothing is made more than {DEPTH_MAX} directories or {PATH_MAX} bytes beneath a granted directory"
            )));
        }
        Ok(())
    }

    /// Refuses to move something from `old` to `new` where that, or what is in it, would be too deep.
    pub(super) fn shallow_move(
        &self,
        old: &Place,
        new: &Place,
        found: &Found,
    ) -> Result<(), Refusal> {
        self.shallow(new)?;
        let depth = Depth::of(new);
        // What is moved up or to the side gets no deeper than it was.
        if found.kind() != Kind::Dir || depth.is_within(Depth::of(old)) || down(Wall::Depth) {
            return Ok(());
        }
        let mut left = TREE_MAX;
        let each = |Entry { path, .. }: Entry| {
            left = left.checked_sub(1).ok_or_else(|| {
                let rule = format!("more than {TREE_MAX} entries to check for their depth");
                self.too_deep(new, rule)
            })?;
            if depth.plus(Depth::of_entry(&path)).is_too_much() {
                let rule = format!("`{path}` in it would be too deep to be reached by a path");
                return Err(self.too_deep(new, rule));
            }
            Ok(())
        };
        tree::walk(found.handle(), &HostPlaces::default(), each, |_, _| {})
    }

    fn too_deep(&self, place: &Place, rule: String) -> Refusal {
        Refusal::Rule {
            code: ErrorCode::NameTooLong,
            path: self.guest_path(place),
            rule,
        }
    }
}
