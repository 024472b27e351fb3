//! Going through a workspace.

use std::fs;

use super::ignore::{Ignore, Verdict};
use super::{ToolError, Workspace};

/// Folders deeper than this are not entered.
const MAX_DEPTH: usize = 64;
/// Entries a single folder may have.
pub(super) const MAX_FOLDER: usize = 100_000;
/// Bytes of an ignore file that are read.
const MAX_IGNORE_FILE: u64 = 256 << 10;

/// Goes through everything below a folder: folders before what is in them, sorted by name. Symbolic
/// links are named and never followed. Holds one listing a level in memory, not the tree.
#[derive(Debug)]
pub struct Walk<'a> {
    workspace: &'a Workspace,
    /// Skips names that begin with a dot.
    skip_hidden: bool,
    ignore_files: bool,
    skipped_names: Vec<String>,
    /// The folder to begin with, until it has been.
    start: Option<String>,
    levels: Vec<Level>,
}

/// A folder that is being gone through.
#[derive(Debug)]
struct Level {
    folder: String,
    ignore: Option<Ignore>,
    /// What is left of it, last one first.
    rest: Vec<Entry>,
}

/// Something in a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the workspace, with `/` between its parts.
    pub path: String,
    /// What it is.
    pub kind: Kind,
}

/// What something in a workspace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link, whatever it leads to.
    Symlink,
    /// A device, a pipe, a socket.
    Other,
}

impl Entry {
    /// The last part of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(workspace: &'a Workspace, start: String) -> Self {
        Self {
            workspace,
            skip_hidden: false,
            ignore_files: false,
            skipped_names: Vec::new(),
            start: Some(start),
            levels: Vec::new(),
        }
    }

    /// Leaves out what `.gitignore` and `.ignore` files say, those in the folders gone through.
    #[must_use]
    pub fn respect_ignore_files(mut self) -> Self {
        self.ignore_files = true;
        self
    }

    /// Leaves out files and folders whose name begins with a dot.
    #[must_use]
    pub fn skip_hidden(mut self) -> Self {
        self.skip_hidden = true;
        self
    }

    /// Leaves out files and folders of these names, at any depth.
    #[must_use]
    pub fn skip<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.skipped_names.extend(names.into_iter().map(Into::into));
        self
    }

    fn enter(&mut self, folder: String) -> Result<(), ToolError> {
        let mut rest = entries(self.workspace, &folder)?;
        let ignore = self.ignore_files.then(|| self.rules(&rest)).flatten();
        rest.retain(|entry| !self.is_skipped(entry));
        rest.reverse();
        self.levels.push(Level {
            folder,
            ignore,
            rest,
        });
        Ok(())
    }

    fn rules(&self, entries: &[Entry]) -> Option<Ignore> {
        let mut text = String::new();
        // In this order, so that `.ignore` has the last word.
        for name in [".gitignore", ".ignore"] {
            let file = entries
                .iter()
                .find(|entry| entry.kind == Kind::File && entry.name() == name);
            let bytes = file.and_then(|file| self.workspace.read(&file.path, MAX_IGNORE_FILE).ok());
            if let Some(bytes) = bytes {
                text.push_str(&String::from_utf8_lossy(&bytes));
                text.push('\n');
            }
        }
        (!text.is_empty()).then(|| Ignore::parse(&text))
    }

    fn is_skipped(&self, entry: &Entry) -> bool {
        (self.skip_hidden && entry.name().starts_with('.'))
            || self.skipped_names.iter().any(|name| name == entry.name())
    }

    /// The file nearest to the entry that says something about it decides.
    fn is_ignored(&self, entry: &Entry) -> bool {
        let verdict = self.levels.iter().rev().find_map(|level| {
            let path = match level.folder.as_str() {
                "" => Some(entry.path.as_str()),
                folder => (entry.path.strip_prefix(folder)).and_then(|rest| rest.strip_prefix('/')),
            };
            let ignore = level.ignore.as_ref()?;
            ignore.verdict(path?, entry.kind == Kind::Directory)
        });
        verdict == Some(Verdict::Ignored)
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Entry, ToolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(start) = self.start.take()
            && let Err(error) = self.enter(start)
        {
            return Some(Err(error));
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(entry) = level.rest.pop() else {
                self.levels.pop();
                continue;
            };
            if self.is_ignored(&entry) {
                continue;
            }
            if entry.kind == Kind::Directory
                && self.levels.len() < MAX_DEPTH
                && let Err(error) = self.enter(entry.path.clone())
            {
                // The folder stays what it is, one that cannot be read.
                return Some(Err(error));
            }
            return Some(Ok(entry));
        }
    }
}

/// What is in a folder, sorted by name.
pub(super) fn entries(workspace: &Workspace, folder: &str) -> Result<Vec<Entry>, ToolError> {
    let shown = || workspace.show(folder);
    let full = workspace.path(folder)?;
    let listing = fs::read_dir(&full).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotADirectory => ToolError::NotADirectory(shown()),
        _ => ToolError::io(shown(), error),
    })?;
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.map_err(|error| ToolError::io(shown(), error))?;
        if entries.len() == MAX_FOLDER {
            return Err(ToolError::TooLarge {
                what: format!("entries of `{}`", shown()),
                max: MAX_FOLDER as u64,
            });
        }
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => Kind::Symlink,
            Ok(kind) if kind.is_dir() => Kind::Directory,
            Ok(kind) if kind.is_file() => Kind::File,
            _ => Kind::Other,
        };
        let name = entry.file_name();
        let name = name.to_string_lossy();
        entries.push(Entry {
            path: match folder {
                "" => name.into_owned(),
                _ => format!("{folder}/{name}"),
            },
            kind,
        });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tools::workspace::tests::workspace;

    fn paths<'a>(walk: Walk<'a>) -> Vec<String> {
        walk.map(|entry| entry.unwrap().path).collect()
    }

    #[test]
    fn folders_come_before_their_content_and_names_in_order() {
        let (work, dir, _host) = workspace();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        for file in ["b/c/z", "b/a", "a", "c"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(paths(work.walk()), ["a", "b", "b/a", "b/c", "b/c/z", "c"]);
    }

    #[test]
    fn ignore_files_apply_below_their_folder() {
        let (work, dir, _host) = workspace();
        fs::create_dir_all(dir.path().join("sub/target")).unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        for (file, text) in [
            (".gitignore", "*.log\n/out\n"),
            ("sub/.gitignore", "!b.log\ntarget/\n"),
            (".git/config", ""),
            ("a.log", ""),
            ("out", ""),
            ("sub/a.log", ""),
            ("sub/b.log", ""),
            ("sub/out", ""),
            ("sub/target/x", ""),
        ] {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let found = paths(work.walk().respect_ignore_files().skip([".git"]));
        assert_eq!(
            found,
            [
                ".gitignore",
                "sub",
                "sub/.gitignore",
                "sub/b.log",
                "sub/out"
            ]
        );
        let visible = paths(work.walk().respect_ignore_files().skip_hidden());
        assert_eq!(visible, ["sub", "sub/b.log", "sub/out"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_named_and_not_followed() {
        let (work, dir, _host) = workspace();
        fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        let kinds: Vec<Kind> = work.walk().map(|entry| entry.unwrap().kind).collect();
        assert_eq!(kinds, [Kind::Directory, Kind::Symlink]);
    }
}
