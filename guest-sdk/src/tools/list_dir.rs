//! Listing a directory as a tree.

use std::collections::VecDeque;

use super::walk::{Entry, Kind, MAX_FOLDER, entries};
use super::{ToolError, Workspace};
use crate::Tool;

/// Characters of a name that are shown.
const MAX_NAME_CHARS: usize = 500;

/// Arguments of [`list_dir`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(deny_unknown_fields))]
pub struct ListDir {
    /// The directory: relative to the workspace, or absolute.
    pub dir_path: String,
    /// The first entry to show, from 1.
    #[cfg_attr(feature = "json", serde(default = "one"))]
    pub offset: usize,
    /// The most entries to show.
    #[cfg_attr(feature = "json", serde(default = "twenty_five"))]
    pub limit: usize,
    /// How many levels to show.
    #[cfg_attr(feature = "json", serde(default = "two"))]
    pub depth: usize,
}

impl ListDir {
    /// The first 25 entries, two levels deep.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            dir_path: path.into(),
            offset: one(),
            limit: twenty_five(),
            depth: two(),
        }
    }

    /// The first entry to show, from 1.
    #[must_use]
    pub fn offset(mut self, entry: usize) -> Self {
        self.offset = entry;
        self
    }

    /// The most entries to show.
    #[must_use]
    pub fn limit(mut self, entries: usize) -> Self {
        self.limit = entries;
        self
    }

    /// How many levels to show.
    #[must_use]
    pub fn depth(mut self, levels: usize) -> Self {
        self.depth = levels;
        self
    }

    /// The tool as a model sees it.
    #[must_use]
    pub fn tool() -> Tool {
        Tool::new("list_dir")
            .describe("Lists a directory as a tree: `/` marks directories, `@` links, `?` others.")
            .input_schema(include_str!("schemas/list_dir.json"))
    }
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn twenty_five() -> usize {
    25
}

/// Lists a directory: `Absolute path: …`, then a line an entry, sorted by path, two blanks for each
/// level, with `/` after directories, `@` after symbolic links and `?` after what is no file either.
/// `More than N entries found` at the end says that there are more than those N.
///
/// # Errors
/// [`ToolError`] for an argument out of range, a path that is no directory, and a tree of more than
/// 100,000 entries.
pub fn list_dir(workspace: &Workspace, arguments: &ListDir) -> Result<String, ToolError> {
    let ListDir {
        offset,
        limit,
        depth,
        ..
    } = *arguments;
    for (argument, value) in [("offset", offset), ("limit", limit), ("depth", depth)] {
        if value == 0 {
            return Err(ToolError::argument(argument, "has to be at least 1"));
        }
    }
    let folder = workspace.relative(&arguments.dir_path)?;
    let tree = tree(workspace, &folder, depth)?;
    if offset > tree.len().max(1) {
        return Err(ToolError::argument("offset", "is after the last entry"));
    }

    let mut text = format!("Absolute path: {}", workspace.show(&folder));
    let shown = tree.iter().skip(offset - 1).take(limit);
    let count = shown.len();
    for Listed { entry, level, .. } in shown {
        let name: String = entry.name().chars().take(MAX_NAME_CHARS).collect();
        let mark = match entry.kind {
            Kind::File => "",
            Kind::Directory => "/",
            Kind::Symlink => "@",
            Kind::Other => "?",
        };
        text.push('\n');
        text.push_str(&"  ".repeat(*level));
        text.push_str(&name);
        text.push_str(mark);
    }
    if tree.len() > offset - 1 + count {
        text.push_str(&format!("\nMore than {count} entries found"));
    }
    Ok(text)
}

struct Listed {
    /// The path from the listed directory on, cut as names are.
    key: String,
    level: usize,
    entry: Entry,
}

/// Everything down to a depth, level by level so that what is near comes first when there is too much,
/// and sorted in the end.
fn tree(workspace: &Workspace, folder: &str, depth: usize) -> Result<Vec<Listed>, ToolError> {
    let mut found: Vec<Listed> = Vec::new();
    let mut queue = VecDeque::from([(folder.to_owned(), 0)]);
    let prefix = if folder.is_empty() {
        0
    } else {
        folder.len() + 1
    };
    while let Some((folder, level)) = queue.pop_front() {
        for entry in entries(workspace, &folder)? {
            if found.len() == MAX_FOLDER {
                return Err(ToolError::TooLarge {
                    what: format!("entries below `{}`", workspace.show(&folder)),
                    max: MAX_FOLDER as u64,
                });
            }
            if entry.kind == Kind::Directory && level + 1 < depth {
                queue.push_back((entry.path.clone(), level + 1));
            }
            let key = entry.path.get(prefix..).unwrap_or_default();
            found.push(Listed {
                key: key.chars().take(MAX_NAME_CHARS).collect(),
                level,
                entry,
            });
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tools::workspace::tests::workspace;

    #[cfg(unix)]
    #[test]
    fn a_tree_is_indented_and_marked() {
        let (work, dir, _host) = workspace();
        fs::create_dir_all(dir.path().join("src/deep/deeper")).unwrap();
        for file in ["src/lib.rs", "src/deep/x.rs", "README.md"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("README.md", dir.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert_eq!(
            list_dir(&work, &ListDir::new("")).unwrap(),
            "Absolute path: /work\n\
             README.md\n\
             link@\n\
             socket?\n\
             src/\n\
             \x20 deep/\n\
             \x20 lib.rs"
        );
        assert_eq!(
            list_dir(&work, &ListDir::new("/work/src").depth(1)).unwrap(),
            "Absolute path: /work/src\ndeep/\nlib.rs"
        );
        assert_eq!(
            list_dir(&work, &ListDir::new("src").offset(2).limit(2).depth(3)).unwrap(),
            "Absolute path: /work/src\n  deeper/\n  x.rs\nMore than 2 entries found"
        );
    }

    #[test]
    fn an_empty_directory_is_only_its_path() {
        let (work, _dir, _host) = workspace();
        let text = list_dir(&work, &ListDir::new(".")).unwrap();
        assert_eq!(text, "Absolute path: /work");
    }

    #[test]
    fn names_are_cut_and_mistakes_are_errors() {
        let (work, dir, _host) = workspace();
        // 255 bytes are what a file system takes, so the cut shows only in the key; the rest is checked.
        fs::write(dir.path().join("x".repeat(255)), "").unwrap();
        let text = list_dir(&work, &ListDir::new("")).unwrap();
        assert!(text.ends_with(&"x".repeat(255)));
        let problem = |arguments: ListDir| list_dir(&work, &arguments).unwrap_err().to_string();
        assert_eq!(
            problem(ListDir::new("").offset(2)),
            "`offset` is after the last entry"
        );
        assert_eq!(
            problem(ListDir::new("").offset(0)),
            "`offset` has to be at least 1"
        );
        assert_eq!(
            problem(ListDir::new("").limit(0)),
            "`limit` has to be at least 1"
        );
        assert_eq!(
            problem(ListDir::new("").depth(0)),
            "`depth` has to be at least 1"
        );
        assert_eq!(problem(ListDir::new("no")), "`/work/no` does not exist");
        assert_eq!(
            problem(ListDir::new(&*"x".repeat(255))),
            format!("`/work/{}` is not a directory", "x".repeat(255))
        );
        assert_eq!(
            problem(ListDir::new("..")),
            "`..` leads out of the workspace"
        );
    }
}
