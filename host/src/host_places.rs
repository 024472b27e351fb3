//! Where this host keeps its own data: secrets, runs, compiled code, signing keys.
//!
//! Whoever reads these places has the operator's secrets, and whoever writes to them has the operator's rights: compiled
//! code is native code, and a run directory says what a run that is resumed may touch. So no guest gets at them, whatever
//! it was granted. There is one list for everything that asks: granting, looking up, listing, copying and applying.
//!
//! A place is known by its path, which need not exist yet, by every other path that leads to it through a mount, and by
//! device and inode of what is there when the list is made.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Files of one place that are known by inode as well, under whatever name they are met. More are known by their path.
const FILES_MAX: usize = 4096;

/// The host's own places. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPlaces(Arc<Places>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    /// Absolute, without links as far as they exist.
    paths: Vec<PathBuf>,
    /// Device and number.
    inodes: HashSet<(u64, u64)>,
}

impl HostPlaces {
    /// The list of these places, directories or files. Those that do not exist are known by their path.
    pub fn new(places: impl IntoIterator<Item = PathBuf>) -> HostPlaces {
        if down(Wall::HostPlaces) {
            return HostPlaces::default();
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
        let mut list = Places::default();
        for place in places {
            let path = settled(&place);
            list.add_inodes(&path);
            for alias in aliases(&path, &mounts) {
                if !list.paths.contains(&alias) {
                    list.paths.push(alias);
                }
            }
            if !list.paths.contains(&path) {
                list.paths.push(path);
            }
        }
        HostPlaces(Arc::new(list))
    }

    /// Their paths, to make the list again later.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.0.paths
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.paths.is_empty()
    }

    /// Whether an absolute path without links is one of the places, or lies in one.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        self.0.paths.iter().any(|place| starts_with(path, place))
    }

    /// Whether one of the places lies below an absolute path without links.
    #[must_use]
    pub fn is_above(&self, path: &Path) -> bool {
        self.0
            .paths
            .iter()
            .any(|place| place.as_path() != path && starts_with(place, path))
    }

    /// Whether a file or directory with this device and number is one of the places, or a file in one.
    #[must_use]
    pub fn has_inode(&self, device: u64, number: u64) -> bool {
        self.0.inodes.contains(&(device, number))
    }
}

impl Places {
    fn add_inodes(&mut self, path: &Path) {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return;
        };
        self.inodes.insert((meta.dev(), meta.ino()));
        // A file of a place may have another name elsewhere.
        let Ok(entries) = fs::read_dir(path) else {
            return;
        };
        for entry in entries.take(FILES_MAX).filter_map(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_file())
                && let Ok(meta) = entry.metadata()
            {
                self.inodes.insert((meta.dev(), meta.ino()));
            }
        }
    }
}

/// Component by component, without case: on a file system that has none, a place that does not exist yet has more than
/// one spelling.
fn starts_with(path: &Path, place: &Path) -> bool {
    let mut parts = path.components();
    place.components().all(|wanted| {
        parts.next().is_some_and(|part| {
            part == wanted || {
                let (part, wanted) = (part.as_os_str(), wanted.as_os_str());
                part.to_string_lossy().to_lowercase() == wanted.to_string_lossy().to_lowercase()
            }
        })
    })
}

/// An absolute path without links, as far as it exists.
fn settled(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        if let Ok(mut found) = there.canonicalize() {
            found.extend(missing.iter().rev());
            return found;
        }
        let (Some(name), Some(above)) = (there.file_name(), there.parent()) else {
            return path;
        };
        missing.push(name);
        there = above;
    }
}

/// A line of `/proc/self/mountinfo`, see proc(5).
struct Mount {
    /// Of the file system.
    device: String,
    /// What of the file system is mounted.
    root: PathBuf,
    /// Where.
    at: PathBuf,
}

impl Mount {
    fn parse(line: &str) -> Option<Mount> {
        let mut fields = line.split(' ').skip(2);
        Some(Mount {
            device: fields.next()?.to_owned(),
            root: unescaped(fields.next()?),
            at: unescaped(fields.next()?),
        })
    }
}

/// Blanks, tabs, line breaks and backslashes stand there as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// Other paths to the same place: the part of its file system that it is in may be mounted elsewhere, too.
fn aliases(path: &Path, mounts: &[Mount]) -> Vec<PathBuf> {
    // The last of the longest ones is the one that is seen.
    let mounted = mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.at))
        .max_by_key(|mount| mount.at.components().count());
    let Some(mounted) = mounted else {
        return Vec::new();
    };
    let Ok(below) = path.strip_prefix(&mounted.at) else {
        return Vec::new();
    };
    let inside = mounted.root.join(below);
    mounts
        .iter()
        .filter(|mount| mount.device == mounted.device)
        .filter_map(|mount| Some(mount.at.join(inside.strip_prefix(&mount.root).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_place_is_covered_whether_it_exists_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::write(there.join("key"), "k").unwrap();
        std::os::unix::fs::symlink(&there, dir.path().join("link")).unwrap();
        let places = HostPlaces::new([dir.path().join("link"), dir.path().join("a/later")]);
        let root = dir.path().canonicalize().unwrap();
        for path in ["there", "there/key", "there/x/y", "a/later", "A/Later/x"] {
            assert!(places.covers(&root.join(path)), "{path}");
        }
        for path in ["", "a", "a/late", "therein", "a/x"] {
            assert!(!places.covers(&root.join(path)), "{path}");
        }
        assert!(places.is_above(&root) && places.is_above(&root.join("a")));
        assert!(!places.is_above(&root.join("a/later")) && !places.is_above(&root.join("b")));
        fs::hard_link(there.join("key"), root.join("other")).unwrap();
        let meta = fs::metadata(root.join("other")).unwrap();
        assert!(places.has_inode(meta.dev(), meta.ino()));
    }

    #[test]
    fn a_place_is_found_through_every_mount() {
        let lines = "\
            22 1 8:1 / / rw - ext4 /dev/a rw\n\
            23 22 8:2 / /home rw - ext4 /dev/b rw\n\
            24 22 8:2 /ada /mnt/a\\040b rw - ext4 /dev/b rw\n\
            25 22 8:3 / /mnt/other rw - ext4 /dev/c rw";
        let mounts: Vec<_> = lines.lines().filter_map(Mount::parse).collect();
        let mut found = aliases(Path::new("/home/ada/.cache/x"), &mounts);
        found.sort();
        assert_eq!(
            found,
            [
                Path::new("/home/ada/.cache/x"),
                Path::new("/mnt/a b/.cache/x")
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_it_panic(line in ".{0,80}") {
            let _ = Mount::parse(&line);
            let _ = unescaped(&line);
        }
    }
}
