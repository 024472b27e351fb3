//! Removing a directory with everything in it, however deep it is.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

/// Removes `dir` and everything in it; the file `last` directly in it last of all, so that what could not be
/// removed whole is still what it was. Follows no link. Blocks.
///
/// What lies deep is moved up instead of gone down to: three directories are open at most, and no path is longer than
/// a name.
///
/// # Errors
/// Something cannot be removed.
pub fn remove_tree(dir: &Path, last: Option<&str>) -> io::Result<()> {
    let root = open(rustix::fs::CWD, dir)?;
    // Some file systems show a name in a listing only once, or not at all, when it appears meanwhile.
    while empty_out(&root, last)? {}
    if let Some(last) = last {
        match rustix::fs::unlinkat(&root, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    fs::remove_dir(dir)
}

/// Removes what is in `root`, and moves up what is in the directories there. Whether there may be more.
fn empty_out(root: &File, keep: Option<&str>) -> io::Result<bool> {
    let mut more = false;
    let mut number = 0_u64;
    for name in names(root)? {
        if keep.is_some_and(|keep| name.to_bytes() == keep.as_bytes()) {
            continue;
        }
        more = true;
        if remove(root, &name)? {
            continue;
        }
        let dir = open(root, name.as_c_str())?;
        for inner in names(&dir)? {
            if remove(&dir, &inner)? {
                continue;
            }
            loop {
                let up = format!(".removed-{number}");
                number += 1;
                let flags = RenameFlags::NOREPLACE;
                match rustix::fs::renameat_with(&dir, inner.as_c_str(), root, &up, flags) {
                    Ok(()) => break,
                    Err(Errno::EXIST) => {}
                    // Not every file system has it; a directory never replaces one that has something in it.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        match rustix::fs::renameat(&dir, inner.as_c_str(), root, &up) {
                            Ok(()) => break,
                            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                            Err(errno) => return Err(errno.into()),
                        }
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        rustix::fs::unlinkat(root, name.as_c_str(), AtFlags::REMOVEDIR)?;
    }
    Ok(more)
}

/// Removes a file, or a directory with nothing in it. Whether it is gone.
fn remove(dir: &File, name: &std::ffi::CStr) -> io::Result<bool> {
    let errno = match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(errno) => errno,
    };
    if !matches!(errno, Errno::ISDIR | Errno::PERM) {
        return Err(errno.into());
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        at,
        name,
        flags,
        Mode::empty(),
    )?))
}

fn names(dir: &File) -> io::Result<Vec<std::ffi::CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes `levels` directories, one in the other, deeper than any path is long.
    fn deep(at: &Path, levels: usize) {
        let name = "d".repeat(200);
        let mut dir = open(rustix::fs::CWD, at).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&dir, &name, Mode::from_raw_mode(0o755)).unwrap();
            dir = open(&dir, name.as_str()).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&dir, "file", flags, Mode::from_raw_mode(0o644)).unwrap();
        }
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed_and_what_links_lead_to_stays() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("dir");
        fs::create_dir_all(dir.join("sub/empty")).unwrap();
        fs::write(outer.path().join("kept"), "kept").unwrap();
        fs::write(dir.join("run.json"), "{}").unwrap();
        fs::write(dir.join(".removed-0"), "in the way").unwrap();
        symlink(outer.path(), dir.join("sub/link")).unwrap();
        symlink(outer.path(), dir.join("link")).unwrap();
        deep(&dir, 2000);
        deep(&dir.join("sub"), 100);
        remove_tree(&dir, Some("run.json")).unwrap();
        assert!(!dir.exists());
        assert_eq!(
            fs::read_to_string(outer.path().join("kept")).unwrap(),
            "kept"
        );
    }

    #[test]
    fn what_is_kept_for_last_is_there_while_anything_else_is() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("dir");
        fs::create_dir_all(dir.join("run.json")).unwrap();
        fs::write(dir.join("other"), "").unwrap();
        // Not a file, so that removing it fails.
        assert!(remove_tree(&dir, Some("run.json")).is_err());
        assert!(dir.join("run.json").exists() && !dir.join("other").exists());
    }
}
