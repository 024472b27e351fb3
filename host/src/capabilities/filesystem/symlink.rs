//! Which symbolic links may exist.
//!
//! A guest cannot follow a link out of its directory, but a tool of the host that walks the directory
//! afterwards (an archiver, a diff, a build) could. Links are therefore only made and moved where they
//! stay inside, judged without looking at what they lead through:
//!
//! a target is relative, and has `..` only in front, at most as often as there are directories above the
//! link. Going up happens along the real parents of the link, so it ends inside; what follows goes down,
//! through links for which the same holds.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::{FileType, OFlags};

use super::sys::{self, Found, Links};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Directory entries looked at before a directory is moved up; more are refused.
const TREE_MAX: usize = 100_000;

/// Checks a target for a link with `depth` directories between it and the root.
pub(super) fn check(target: &[u8], depth: usize) -> Result<(), String> {
    if down(Wall::LinkTargets) {
        return Ok(());
    }
    match climb(target) {
        Some(climb) if climb <= depth => Ok(()),
        Some(_) => Err("a symbolic link may not lead out of the granted directory".to_owned()),
        None if target.starts_with(b"/") => {
            Err("a symbolic link may not have an absolute target".to_owned())
        }
        None => Err("a symbolic link may go up only at the beginning of its target".to_owned()),
    }
}

/// How many directories a target goes up, or nothing when that cannot be said.
fn climb(target: &[u8]) -> Option<usize> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut climb = 0;
    let mut down = false;
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if down => return None,
            b".." => climb += 1,
            _ => down = true,
        }
    }
    Some(climb)
}

/// Checks the links in a directory that is moved `rise` directories up, to where its entries have
/// `depth` directories above them.
pub(super) fn check_tree(dir: &Found, depth: usize, rise: usize) -> Result<(), String> {
    if down(Wall::LinkTargets) {
        return Ok(());
    }
    let unread = |error| format!("the links in it cannot be checked: {error}");
    let mut left = TREE_MAX;
    let mut dirs = vec![(PathBuf::from("."), depth)];
    while let Some((path, depth)) = dirs.pop() {
        let found = sys::find(dir.handle(), path.as_path(), Links::Keep).map_err(unread)?;
        let open = found
            .reopen(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(unread)?;
        for entry in rustix::fs::Dir::new(open).map_err(|error| unread(error.into()))? {
            let entry = entry.map_err(|error| unread(error.into()))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            left = left
                .checked_sub(1)
                .ok_or_else(|| format!("more than {TREE_MAX} entries to check for links"))?;
            let path = path.join(os(name));
            match entry.file_type() {
                FileType::Directory => dirs.push((path, depth + 1)),
                FileType::RegularFile => {}
                _ => check_entry(dir, path, depth, rise, &mut dirs).map_err(
                    |reason| match reason {
                        Trouble::Io(error) => unread(error),
                        Trouble::Escape(path) => format!(
                            "the symbolic link `{}` in it would lead out of the granted directory",
                            path.display()
                        ),
                    },
                )?,
            }
        }
    }
    Ok(())
}

enum Trouble {
    Io(std::io::Error),
    Escape(PathBuf),
}

/// A symbolic link, or something the directory does not tell the kind of.
fn check_entry(
    dir: &Found,
    path: PathBuf,
    depth: usize,
    rise: usize,
    dirs: &mut Vec<(PathBuf, usize)>,
) -> Result<(), Trouble> {
    let found = sys::find(dir.handle(), path.as_path(), Links::Keep).map_err(Trouble::Io)?;
    match found.kind() {
        sys::Kind::Dir => dirs.push((path, depth + 1)),
        sys::Kind::Symlink => {
            let target = found.target().map_err(Trouble::Io)?;
            // A link that led out before is the operator's own and none of our business.
            let inside = |depth| climb(&target).is_none_or(|climb| climb <= depth);
            if inside(depth + rise) && !inside(depth) {
                return Err(Trouble::Escape(path));
            }
        }
        sys::Kind::File | sys::Kind::Special => {}
    }
    Ok(())
}

fn os(name: &CStr) -> &std::ffi::OsStr {
    std::ffi::OsStr::from_bytes(name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_inside() {
        for (target, depth, fine) in [
            ("a", 0, true),
            ("./a/b", 0, true),
            ("..", 0, false),
            ("..", 1, true),
            ("../../a", 1, false),
            ("../../a", 2, true),
            (".//./../a", 1, true),
            ("a/../b", 5, false),
            ("/etc/passwd", 5, false),
            ("/", 5, false),
            ("...", 0, true),
        ] {
            let got = check(target.as_bytes(), depth).is_ok();
            assert_eq!(got, fine, "{target} at depth {depth}");
        }
    }

    proptest::proptest! {
        /// Taken literally, an accepted target never leaves a root `depth` directories up.
        #[test]
        fn accepted_targets_never_leave(
            parts in proptest::collection::vec("(\\.\\.|\\.|a|b||/)", 0..12),
            depth in 0_usize..4,
        ) {
            let target = parts.join("/");
            if check(target.as_bytes(), depth).is_ok() {
                let mut at = isize::try_from(depth).unwrap();
                for part in target.split('/') {
                    match part {
                        "" | "." => {}
                        ".." => at -= 1,
                        _ => at += 1,
                    }
                    assert!(at >= 0, "{target} at {depth}");
                }
                assert!(!target.starts_with('/'));
            }
        }
    }
}
