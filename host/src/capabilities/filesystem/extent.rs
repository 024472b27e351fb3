//! How much of a directory a guest gets: all of it, or single files.
//!
//! With single files the directory is the host's own, and everything else in it is hidden. What is shown
//! is flat, so a path is judged by its text before the disk is asked: not even whether another name exists
//! can be told. Links are not followed: they would lead to what was not granted.

use std::collections::BTreeSet;

use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorStat, ErrorCode};

use super::disk::Disk;
use super::place::Place;
use super::protect::Act;
use super::refusal::Refusal;
use super::sys::Links;

/// How much of a directory a guest gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Everything in it.
    #[default]
    Whole,
    /// The regular files of these names. They can be read and written in place, and nothing can be created,
    /// removed, renamed or linked.
    Files(BTreeSet<String>),
}

/// What a path of the guest's stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Whatever the disk says.
    Any,
    /// The directory that shows single files.
    Dir,
    /// One of the single files.
    File,
}

impl Shown {
    /// How links are taken.
    pub(super) fn links(self, links: Links) -> Links {
        match self {
            Shown::Any => links,
            Shown::Dir | Shown::File => Links::Keep,
        }
    }

    /// Takes from what is said of a directory of single files what tells of the others in it.
    pub(super) fn stat(self, mut stat: DescriptorStat) -> DescriptorStat {
        if self == Shown::Dir {
            stat.link_count = 1;
            stat.size = 0;
            stat.data_access_timestamp = None;
            stat.data_modification_timestamp = None;
            stat.status_change_timestamp = None;
        }
        stat
    }
}

impl Extent {
    /// What `path` stands for, as far as its text tells.
    fn shown(&self, path: &str) -> Result<Shown, Hidden> {
        let Extent::Files(files) = self else {
            return Ok(Shown::Any);
        };
        if path.starts_with('/') || path.split('/').any(|name| name == "..") {
            return Err(Hidden::Outside);
        }
        let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
        let Some(first) = names.next() else {
            return Ok(Shown::Dir);
        };
        if !files.contains(first) {
            return Err(Hidden::Absent);
        }
        // `file/`, `file/.` and `file/x` take it for a directory.
        if path.ends_with(first) && names.next().is_none() {
            Ok(Shown::File)
        } else {
            Err(Hidden::NotADirectory)
        }
    }
}

/// Why a path stands for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    Outside,
    Absent,
    NotADirectory,
}

impl Disk {
    /// What a path of the guest's stands for; refuses what is hidden.
    pub(super) fn extent(&self, mount: usize, path: &str) -> Result<Shown, Refusal> {
        match self.root(mount)?.extent.shown(path) {
            Ok(shown) => Ok(shown),
            Err(Hidden::Outside) => Err(self.outside(mount, path)),
            Err(Hidden::Absent) => Err(ErrorCode::NoEntry.into()),
            Err(Hidden::NotADirectory) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// Refuses to touch a name where only single files are shown, whatever the name is.
    pub(super) fn may_name(&self, mount: usize, path: &str) -> Result<(), Refusal> {
        let root = self.root(mount)?;
        match root.extent {
            Extent::Whole => Ok(()),
            Extent::Files(_) => Err(self.fixed(mount, path.to_owned())),
        }
    }

    /// Whether a place is one of the single files of its directory, which the operator has named: no rule
    /// about names holds for it. Refuses every other change where only single files are shown.
    pub(super) fn is_single(&self, place: &Place, act: Act) -> Result<bool, Refusal> {
        match &self.root(place.mount)?.extent {
            Extent::Whole => Ok(false),
            Extent::Files(files) => {
                let name = place.rel.to_str();
                if act == Act::File && name.is_some_and(|name| files.contains(name)) {
                    Ok(true)
                } else {
                    Err(self.fixed(place.mount, self.guest_path(place)))
                }
            }
        }
    }

    fn fixed(&self, mount: usize, path: String) -> Refusal {
        let guest = self.roots.get(mount).map_or("", |root| root.guest.as_str());
        Refusal::Rule {
            code: ErrorCode::NotPermitted,
            path,
            rule: format!("of `{guest}` single files are granted, to be changed in place only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Extent {
        Extent::Files(["a".to_owned(), "b.toml".to_owned()].into())
    }

    #[test]
    fn only_the_granted_names_are_shown() {
        for (path, shown) in [
            ("a", Ok(Shown::File)),
            ("./a", Ok(Shown::File)),
            (".//b.toml", Ok(Shown::File)),
            (".", Ok(Shown::Dir)),
            ("./", Ok(Shown::Dir)),
            ("A", Err(Hidden::Absent)),
            ("c", Err(Hidden::Absent)),
            ("c/a", Err(Hidden::Absent)),
            ("a ", Err(Hidden::Absent)),
            ("a/", Err(Hidden::NotADirectory)),
            ("a/.", Err(Hidden::NotADirectory)),
            ("a/a", Err(Hidden::NotADirectory)),
            ("a/..", Err(Hidden::Outside)),
            ("../a", Err(Hidden::Outside)),
            ("/a", Err(Hidden::Outside)),
        ] {
            assert_eq!(files().shown(path), shown, "{path}");
        }
        assert_eq!(Extent::Whole.shown("../x"), Ok(Shown::Any));
    }

    proptest::proptest! {
        /// Whatever is taken for a file is one of the names, with nothing but `.` before it.
        #[test]
        fn nothing_else_is_taken_for_a_file(path in "[ab./c]{0,12}") {
            if files().shown(&path) == Ok(Shown::File) {
                let name = path.rsplit('/').next().unwrap();
                assert!(["a", "b.toml"].contains(&name), "{path}");
                let rest = path.strip_suffix(name).unwrap();
                assert!(rest.split('/').all(|part| matches!(part, "" | ".")), "{path}");
            }
        }
    }
}
