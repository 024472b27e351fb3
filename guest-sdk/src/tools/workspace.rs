//! A directory the tools work in.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::{ToolError, Walk};
use crate::session::{self, Access};

/// A directory the tools work in: one the operator granted, or one inside of it.
///
/// Paths are relative to it, or absolute the way the agent sees them. A path that leads out by `..` is
/// refused by its text alone, before anything is touched. Symbolic links that lead out are refused by
/// the host; outside of WebAssembly this type looks for them itself.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The name the agent and its model know the directory by.
    name: String,
    /// Where it is for `std::fs`.
    root: PathBuf,
    access: Access,
}

impl Workspace {
    /// Opens a granted directory, or one inside of it.
    ///
    /// # Errors
    /// [`ToolError::NotGranted`] when no grant covers the path, [`ToolError::NotFound`] or
    /// [`ToolError::NotADirectory`] when it is not there.
    pub fn open(path: &str) -> Result<Self, ToolError> {
        let name = match path.trim_end_matches('/') {
            "" => "/",
            trimmed => trimmed,
        };
        if has_dots(Path::new(name)) {
            return Err(ToolError::Outside(path.into()));
        }
        let access = session::info()
            .directories
            .into_iter()
            .filter(|granted| Path::new(name).starts_with(&granted.path))
            .max_by_key(|granted| granted.path.len())
            .ok_or_else(|| ToolError::NotGranted(path.into()))?
            .access;
        #[cfg(target_family = "wasm")]
        let root = PathBuf::from(name);
        #[cfg(not(target_family = "wasm"))]
        let root = crate::testing::path(name).ok_or_else(|| ToolError::NotGranted(path.into()))?;
        let metadata = fs::metadata(&root).map_err(|error| ToolError::io(name, error))?;
        if !metadata.is_dir() {
            return Err(ToolError::NotADirectory(name.into()));
        }
        Ok(Self {
            name: name.into(),
            root,
            access,
        })
    }

    /// The path of the workspace as the agent sees it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// May files be written here?
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.access == Access::ReadWrite
    }

    /// The path for `std::fs` of something in the workspace, whether it exists or not.
    ///
    /// # Errors
    /// [`ToolError::Outside`] when it leads out of the workspace.
    pub fn path(&self, path: &str) -> Result<PathBuf, ToolError> {
        let relative = self.relative(path)?;
        let full = self.root.join(&relative);
        #[cfg(not(target_family = "wasm"))]
        self.check_links(&full, path)?;
        Ok(full)
    }

    /// The path for `std::fs` of something that is to be written.
    ///
    /// # Errors
    /// [`ToolError::ReadOnly`] where the operator granted reading only, others as [`path`](Self::path).
    pub fn writable(&self, path: &str) -> Result<PathBuf, ToolError> {
        let full = self.path(path)?;
        if self.is_writable() {
            Ok(full)
        } else {
            Err(ToolError::ReadOnly(path.into()))
        }
    }

    /// A file of the workspace, open for reading.
    ///
    /// # Errors
    /// [`ToolError`] when it is not there, not a file or not in the workspace.
    pub fn file(&self, path: &str) -> Result<File, ToolError> {
        let full = self.path(path)?;
        // Asked first: opening a FIFO would block.
        let metadata = fs::metadata(&full).map_err(|error| ToolError::io(path, error))?;
        if !metadata.is_file() {
            return Err(ToolError::NotAFile(path.into()));
        }
        File::open(&full).map_err(|error| ToolError::io(path, error))
    }

    /// The beginning of a file, at most `max` bytes.
    ///
    /// # Errors
    /// As [`file`](Self::file).
    pub fn read(&self, path: &str, max: u64) -> Result<Vec<u8>, ToolError> {
        let mut bytes = Vec::new();
        self.file(path)?
            .take(max)
            .read_to_end(&mut bytes)
            .map_err(|error| ToolError::io(path, error))?;
        Ok(bytes)
    }

    /// Everything in the workspace, in a stable order.
    #[must_use]
    pub fn walk(&self) -> Walk<'_> {
        Walk::new(self, String::new())
    }

    /// How the agent sees something whose path relative to the workspace is known.
    #[must_use]
    pub fn show(&self, relative: &str) -> String {
        match relative {
            "" => self.name.clone(),
            _ => format!("{}/{relative}", self.name.trim_end_matches('/')),
        }
    }

    /// The path inside the workspace, without dots, `/` between its parts; empty for the workspace.
    ///
    /// # Errors
    /// [`ToolError::Outside`] when it leads out of the workspace.
    pub fn relative(&self, path: &str) -> Result<String, ToolError> {
        let outside = || ToolError::Outside(path.into());
        if path.contains('\0') {
            return Err(outside());
        }
        let given = Path::new(path);
        let inside = if given.has_root() {
            given.strip_prefix(&self.name).map_err(|_| outside())?
        } else {
            given
        };
        let mut parts: Vec<&str> = Vec::new();
        for component in inside.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    parts.pop().ok_or_else(outside)?;
                }
                Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
                Component::RootDir | Component::Prefix(_) => return Err(outside()),
            }
        }
        Ok(parts.join("/"))
    }

    /// Refuses a path whose deepest existing part is, links followed, not in the workspace.
    #[cfg(not(target_family = "wasm"))]
    fn check_links(&self, full: &Path, path: &str) -> Result<(), ToolError> {
        let root = (self.root.canonicalize()).map_err(|error| ToolError::io(&self.name, error))?;
        for part in full.ancestors() {
            match part.canonicalize() {
                Ok(real) if real.starts_with(&root) => return Ok(()),
                Ok(_) => break,
                // A link to nothing could become a link to something outside.
                Err(_) if part.is_symlink() => break,
                Err(_) => {}
            }
        }
        Err(ToolError::Outside(path.into()))
    }
}

fn has_dots(path: &Path) -> bool {
    path.components()
        .any(|component| component == Component::ParentDir)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Installed, TestHost};

    /// A workspace called `/work` over an empty directory; dropping either of the others ends it.
    pub(crate) fn workspace() -> (Workspace, tempfile::TempDir, Installed) {
        granted(Access::ReadOnly)
    }

    /// The same, granted for writing too.
    pub(crate) fn writable() -> (Workspace, tempfile::TempDir, Installed) {
        granted(Access::ReadWrite)
    }

    fn granted(access: Access) -> (Workspace, tempfile::TempDir, Installed) {
        let dir = tempfile::tempdir().unwrap();
        let host = TestHost::new()
            .directory("/work", dir.path(), access)
            .install();
        (Workspace::open("/work").unwrap(), dir, host)
    }

    #[test]
    fn only_granted_directories_open() {
        let (work, dir, _host) = workspace();
        assert!(!work.is_writable());
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(Workspace::open("/work/sub/").unwrap().name(), "/work/sub");
        let denied = |path| matches!(Workspace::open(path), Err(ToolError::NotGranted(_)));
        assert!(denied("/etc"));
        assert!(denied("/workshop"));
        assert!(denied(""));
        assert!(matches!(
            Workspace::open("/work/../etc"),
            Err(ToolError::Outside(_))
        ));
        assert!(matches!(
            Workspace::open("/work/none"),
            Err(ToolError::NotFound(_))
        ));
        assert!(matches!(
            Workspace::open("/work/file"),
            Err(ToolError::NotADirectory(_))
        ));
    }

    #[test]
    fn paths_stay_inside() {
        let (work, _dir, _host) = workspace();
        assert_eq!(work.relative("a/./b/../c").unwrap(), "a/c");
        assert_eq!(work.relative("/work/a").unwrap(), "a");
        assert_eq!(work.relative("/work").unwrap(), "");
        for out in [
            "..",
            "a/../../b",
            "/etc",
            "/work/../etc",
            "/workshop",
            "a\0b",
        ] {
            assert!(
                matches!(work.relative(out), Err(ToolError::Outside(_))),
                "{out}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_are_refused() {
        let (work, dir, _host) = workspace();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::write(dir.path().join("plain"), "y").unwrap();
        let link = |target: &Path, name| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        };
        link(outside.path(), "out");
        link(Path::new("plain"), "in");
        link(&outside.path().join("later"), "dangling");
        for out in ["out", "out/secret", "out/new", "dangling"] {
            assert!(
                matches!(work.path(out), Err(ToolError::Outside(_))),
                "{out}"
            );
        }
        assert_eq!(work.read("in", 10).unwrap(), b"y");
    }

    #[test]
    fn reading_stops_at_the_cap() {
        let (work, dir, _host) = workspace();
        fs::write(dir.path().join("f"), "abcdef").unwrap();
        assert_eq!(work.read("f", 3).unwrap(), b"abc");
        assert!(matches!(work.read("", 3), Err(ToolError::NotAFile(_))));
    }

    proptest! {
        #[test]
        fn no_path_escapes(path in "(/work|/)?([a.]{1,3}/?|\\.\\./){0,8}") {
            let (work, _dir, _host) = workspace();
            if let Ok(relative) = work.relative(&path) {
                prop_assert!(!relative.starts_with('/'));
                prop_assert!(relative.split('/').all(|part| part != ".." && part != "."));
            }
        }
    }
}
