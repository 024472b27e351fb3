//! Paths that are used of one directory: a bounded number of them, the rest by the directories they are in.

use std::collections::{BTreeMap, HashMap};

use super::{DirUse, Touch};

/// Paths that are kept of one directory.
const MAX: usize = 1000;

/// Bytes of their names. A name has up to 4 KiB.
const MAX_BYTES: usize = 128 << 10;

/// Names of a path that are told apart. What lies deeper is told of by the directory that deep: looking for the
/// directories a path is in costs as much as it has names, and a guest can make it have thousands.
const DEPTH: usize = 32;

/// Paths that are left when there were too many: fewer, so that there is no reason to begin anew with the next.
const KEPT: usize = 750;

/// What was used of one directory.
#[derive(Debug, Default)]
pub(super) struct Paths {
    known: HashMap<Box<str>, u8>,
    /// Directories of which paths below are not kept, and what was done with those.
    below: HashMap<Box<str>, u8>,
    bytes: usize,
    links: bool,
}

fn bit(touch: Touch) -> u8 {
    match touch {
        Touch::Read => 1,
        Touch::Written => 1 << 1,
        Touch::Made => 1 << 2,
        Touch::Listed => 1 << 3,
        Touch::Folder => 1 << 4,
        Touch::Seen | Touch::Identity => 1 << 5,
        Touch::Missing => 1 << 6,
        Touch::Link => 0,
    }
}

impl Paths {
    /// Notes the use of a path; whether it is news. Without an allocation when it is not.
    pub(super) fn note(&mut self, path: &str, touch: Touch) -> bool {
        let bit = bit(touch);
        if touch == Touch::Link {
            return !std::mem::replace(&mut self.links, true);
        }
        let dir = upto(path, DEPTH);
        if dir.len() < path.len() {
            return self.note_below(dir, bit);
        }
        if touch == Touch::Identity {
            let listed = |bits: &u8| bits & self::bit(Touch::Listed) != 0;
            if parent(path)
                .and_then(|dir| self.known.get(dir))
                .is_some_and(listed)
            {
                return false;
            }
        }
        let known = match self.known.get_mut(path) {
            Some(bits) => Some(bits),
            None => above(path)
                .find(|dir| self.below.contains_key(*dir))
                .and_then(|dir| self.below.get_mut(dir)),
        };
        if let Some(bits) = known {
            let news = *bits & bit == 0;
            *bits |= bit;
            return news;
        }
        self.known.insert(path.into(), bit);
        self.grown_by(path);
        true
    }

    fn note_below(&mut self, dir: &str, bit: u8) -> bool {
        let known = std::iter::successors(Some(dir), |dir| parent(dir));
        let known = known.into_iter().find(|dir| self.below.contains_key(*dir));
        if let Some(bits) = known.and_then(|dir| self.below.get_mut(dir)) {
            let news = *bits & bit == 0;
            *bits |= bit;
            return news;
        }
        self.below.insert(dir.into(), bit);
        self.grown_by(dir);
        true
    }

    fn grown_by(&mut self, name: &str) {
        self.bytes += name.len();
        if self.known.len() + self.below.len() > MAX || self.bytes > MAX_BYTES {
            self.fold();
        }
    }

    /// Keeps directories instead of the paths in them, the deepest first.
    fn fold(&mut self) {
        let depths = self.known.keys().map(|path| depth(path));
        let deepest = depths.chain(self.below.keys().map(|dir| depth(dir) + 1));
        for level in (1..=deepest.max().unwrap_or(1)).rev() {
            for (path, bits) in std::mem::take(&mut self.known) {
                if depth(&path) < level {
                    self.known.insert(path, bits);
                } else {
                    *self.below.entry(upto(&path, level - 1).into()).or_default() |= bits;
                }
            }
            for (dir, bits) in std::mem::take(&mut self.below) {
                let dir = upto(&dir, level - 1).into();
                *self.below.entry(dir).or_default() |= bits;
            }
            let names = self.known.keys().chain(self.below.keys());
            self.bytes = names.map(|name| name.len()).sum();
            if self.known.len() + self.below.len() <= KEPT && self.bytes <= MAX_BYTES / 2 {
                break;
            }
        }
    }

    /// What was used, as it is told.
    pub(super) fn told(&self, guest: &str) -> DirUse {
        let mut all: BTreeMap<String, u8> = BTreeMap::new();
        for (path, bits) in &self.known {
            let path = if path.is_empty() { "." } else { path };
            all.insert(path.to_owned(), *bits);
        }
        for (dir, bits) in &self.below {
            let dir = if dir.is_empty() { "." } else { dir };
            all.insert(format!("{dir}/"), *bits);
        }
        let of = |touch| -> Vec<String> {
            let with = all.iter().filter(|(_, bits)| **bits & bit(touch) != 0);
            with.map(|(path, _)| path.clone()).collect()
        };
        DirUse {
            guest: guest.to_owned(),
            read: of(Touch::Read),
            written: of(Touch::Written),
            made: of(Touch::Made),
            listed: of(Touch::Listed),
            folders: of(Touch::Folder),
            seen: of(Touch::Seen),
            missing: of(Touch::Missing),
            links: self.links,
        }
    }
}

/// The directories a path is in, innermost first; the last is the empty path.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(path), |path| parent(path))
}

fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some((dir, _)) => Some(dir),
        None => (!path.is_empty()).then_some(""),
    }
}

/// How many names a path has.
fn depth(path: &str) -> usize {
    if path.is_empty() {
        0
    } else {
        path.matches('/').count() + 1
    }
}

/// The first `names` names of a path.
fn upto(path: &str, names: usize) -> &str {
    if names == 0 {
        return "";
    }
    match path.match_indices('/').nth(names - 1) {
        Some((end, _)) => path.get(..end).unwrap_or(path),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_directory_stands_for_what_is_too_much() {
        let mut paths = Paths::default();
        for dir in ["few", "many"] {
            paths.note(&format!("{dir}/one"), Touch::Read);
        }
        for n in 0..5000 {
            paths.note(&format!("many/deep/{n}"), Touch::Seen);
        }
        paths.note("many/deep/x", Touch::Written);
        let told = paths.told("/work");
        assert_eq!(told.read, ["few/one", "many/one"]);
        assert_eq!(told.seen, ["many/deep/"]);
        assert_eq!(told.written, ["many/deep/"]);
        assert!(!paths.note("many/deep/new", Touch::Seen), "it is no news");
    }

    #[test]
    fn what_lies_very_deep_is_told_of_by_a_directory() {
        let mut paths = Paths::default();
        let deep = vec!["d"; 1000].join("/");
        assert!(paths.note(&deep, Touch::Read));
        assert!(
            !paths.note(&format!("{deep}/d"), Touch::Read),
            "it is no news"
        );
        assert!(paths.note(&deep, Touch::Written));
        let dir = format!("{}/", vec!["d"; DEPTH].join("/"));
        let told = paths.told("/work");
        assert_eq!((told.read, told.written), (vec![dir.clone()], vec![dir]));
    }

    #[test]
    fn a_flat_directory_becomes_itself() {
        let mut paths = Paths::default();
        for n in 0..=MAX {
            paths.note(&n.to_string(), Touch::Read);
        }
        paths.note("", Touch::Listed);
        let told = paths.told("/work");
        assert_eq!(
            (told.read, told.listed),
            (vec!["./".to_owned()], vec![".".to_owned()])
        );
    }

    #[test]
    fn identities_are_part_of_a_list() {
        let mut paths = Paths::default();
        assert!(paths.note("a", Touch::Identity));
        paths.note("", Touch::Listed);
        assert!(!paths.note("b", Touch::Identity));
        assert!(paths.note("sub/c", Touch::Identity), "another list");
        assert_eq!(paths.told("/work").seen, ["a", "sub/c"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_unbounded(
            names in prop::collection::vec(("([a-c]{1,2}/){0,4}[a-z]{1,400}", 0u8..3), 1..60),
            times in 1usize..60,
        ) {
            let mut paths = Paths::default();
            for n in 0..times {
                for (name, kind) in &names {
                    let touch = [Touch::Read, Touch::Made, Touch::Missing][usize::from(*kind)];
                    paths.note(&format!("{name}{n}"), touch);
                }
            }
            prop_assert!(paths.known.len() + paths.below.len() <= MAX);
            prop_assert!(paths.bytes <= MAX_BYTES);
            let told = paths.told("/work");
            for n in 0..times {
                for (name, kind) in &names {
                    let path = format!("{name}{n}");
                    let list = [&told.read, &told.made, &told.missing][usize::from(*kind)];
                    let covered = list.iter().any(|told| match told.strip_suffix('/') {
                        Some(".") => true,
                        Some(dir) => path.starts_with(&format!("{dir}/")),
                        None => *told == path,
                    });
                    prop_assert!(covered, "{path} is not told");
                }
            }
        }
    }
}
