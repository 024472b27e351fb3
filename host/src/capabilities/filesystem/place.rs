//! Where something is: which granted directory, and the canonical path beneath it.

use std::path::{Path, PathBuf};

/// A canonical place in a granted directory: no links, no `.` and `..`, one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// Index of the granted directory.
    pub(super) mount: usize,
    /// Path beneath it as the kernel spells it; empty for the directory itself.
    pub(super) rel: PathBuf,
}

impl Place {
    pub(super) fn child(&self, name: &str) -> Place {
        Place {
            mount: self.mount,
            rel: self.rel.join(name),
        }
    }

    /// How many directories lie between the granted directory and this one.
    pub(super) fn depth(&self) -> usize {
        self.rel.components().count()
    }

    /// This place when `from`, which it lies in or is, has become `to`.
    pub(super) fn moved(&self, from: &Place, to: &Place) -> Option<Place> {
        if self.mount != from.mount {
            return None;
        }
        let below = self.rel.strip_prefix(&from.rel).ok()?;
        // Joining an empty path would add a slash.
        let rel = if below == Path::new("") {
            to.rel.clone()
        } else {
            to.rel.join(below)
        };
        Some(Place {
            mount: to.mount,
            rel,
        })
    }

    /// The directories it lies in, innermost first.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Place> {
        self.rel.ancestors().skip(1).map(|rel| Place {
            mount: self.mount,
            rel: rel.to_owned(),
        })
    }

    /// As the guest would write it. Bytes that are not UTF-8 are replaced.
    pub(super) fn guest_path(&self, guest: &str) -> String {
        let rel = self.rel.to_string_lossy();
        if rel.is_empty() {
            guest.to_owned()
        } else {
            format!("{}/{rel}", guest.trim_end_matches('/'))
        }
    }
}
