//! From the paths a run has used to the directories and files that have to be granted for them.
//!
//! What a person can read beats what is smallest by a byte: a handful of directories at most, single files only
//! where a few were used by their names. The agent finds everything where it was.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Looked, parent};
use crate::trajectory::used::DirUse;

/// Directories that are granted instead of one, at most.
const PLACES: usize = 4;

/// Files of one directory that are granted instead of it, at most.
const FILES: usize = 3;

/// What has to be granted at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Whether anything is written.
    pub(super) writes: bool,
    /// The files it is about, nothing for all of it.
    pub(super) files: Option<BTreeSet<String>>,
    /// Why it is the directory and not files of it, where that is not plain.
    pub(super) links: bool,
}

/// Whether single files of the directory can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// In place.
    Direct,
    /// To a copy, which there is only of directories.
    Copied,
}

/// The places that have to be granted of a directory for all of `uses`, by their paths in it; that of the
/// directory itself is empty. No place is inside of another. `looked` says what is at a path today, and `fits`
/// whether a path can be written in a grants file.
pub(super) fn narrow<'a>(
    uses: impl Iterator<Item = &'a DirUse>,
    writing: Writing,
    looked: &dyn Fn(&str) -> Looked,
    fits: &dyn Fn(&str) -> bool,
) -> BTreeMap<String, Place> {
    let mut needs = Needs {
        places: BTreeMap::new(),
        looked,
        fits,
    };
    for used in uses {
        needs.add(used);
    }
    needs.reduce();
    while needs.places.len() > PLACES {
        needs.merge();
    }
    for (dir, place) in &mut needs.places {
        let few = |files: &BTreeSet<String>| {
            let path = |file: &String| {
                if dir.is_empty() {
                    file.clone()
                } else {
                    format!("{dir}/{file}")
                }
            };
            files.len() <= FILES
                && !(place.writes && writing == Writing::Copied)
                && files.iter().all(|file| {
                    fits(&path(file))
                        && looked(&path(file)) != Looked::Otherwise
                        && looked(&path(file)) != Looked::Dir
                })
        };
        if !place.files.as_ref().is_some_and(few) {
            place.files = None;
        }
    }
    needs.places
}

struct Needs<'a> {
    places: BTreeMap<String, Place>,
    looked: &'a dyn Fn(&str) -> Looked,
    fits: &'a dyn Fn(&str) -> bool,
}

impl Needs<'_> {
    fn add(&mut self, used: &DirUse) {
        for (paths, writes) in [
            (&used.read, false),
            (&used.seen, false),
            (&used.written, true),
        ] {
            for path in paths {
                match path.strip_suffix('/') {
                    Some(dir) => self.whole(dir, writes),
                    None => self.file(path, writes),
                }
            }
        }
        for (paths, writes) in [(&used.made, true), (&used.missing, false)] {
            for path in paths {
                self.whole(
                    path.strip_suffix('/').unwrap_or_else(|| parent(path)),
                    writes,
                );
            }
        }
        for path in used.listed.iter().chain(&used.folders) {
            self.whole(path.trim_end_matches('/'), false);
        }
        if used.links {
            self.whole("", false);
            self.places.entry(String::new()).or_default().links = true;
        }
    }

    /// The directory itself has to be there.
    fn whole(&mut self, dir: &str, writes: bool) {
        let place = self.place(dir);
        place.writes |= writes;
        place.files = None;
    }

    /// The file has to be there.
    fn file(&mut self, path: &str, writes: bool) {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        if path == "." {
            return self.whole("", writes);
        }
        let place = self.place(dir);
        place.writes |= writes;
        if let Some(files) = &mut place.files {
            files.insert(name.to_owned());
        }
    }

    /// The place of a directory, or of the next above that is one today and can be written down.
    fn place(&mut self, dir: &str) -> &mut Place {
        let mut at = if dir == "." { "" } else { dir };
        let mut climbed = false;
        while !at.is_empty()
            && (!(self.fits)(at) || matches!((self.looked)(at), Looked::File | Looked::Otherwise))
        {
            at = parent(at);
            climbed = true;
        }
        let place = self.places.entry(at.to_owned()).or_insert_with(|| Place {
            files: Some(BTreeSet::new()),
            ..Place::default()
        });
        if climbed {
            place.files = None;
        }
        place
    }

    /// Takes places that are inside of others into those.
    fn reduce(&mut self) {
        let mut kept: BTreeMap<String, Place> = BTreeMap::new();
        for (dir, place) in std::mem::take(&mut self.places) {
            // Those above have been seen: they are shorter, and the beginning of it.
            let mut above = dir.as_str();
            let outer = loop {
                if above.is_empty() {
                    break None;
                }
                above = parent(above);
                if kept.contains_key(above) {
                    break Some(above.to_owned());
                }
            };
            match outer.and_then(|outer| kept.get_mut(&outer)) {
                Some(outer) => {
                    outer.writes |= place.writes;
                    outer.files = None;
                }
                None => {
                    kept.insert(dir, place);
                }
            }
        }
        self.places = kept;
    }

    /// Replaces the deepest place by the directory it is in.
    fn merge(&mut self) {
        let depth = |dir: &String| dir.matches('/').count();
        let Some(deepest) = self.places.keys().max_by_key(|dir| depth(dir)).cloned() else {
            return;
        };
        if let Some(place) = self.places.remove(&deepest) {
            self.whole(parent(&deepest), place.writes);
        }
        self.reduce();
    }
}
