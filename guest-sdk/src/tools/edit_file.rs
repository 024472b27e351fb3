//! Replacing a piece of a file.

use std::fs;

use super::{ToolError, Workspace};
use crate::Tool;

/// Largest file that is edited: it is held in memory, twice.
const MAX_FILE: u64 = 16 << 20;

/// Arguments of [`edit_file`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(deny_unknown_fields))]
pub struct EditFile {
    /// The file: relative to the workspace, or absolute.
    pub file_path: String,
    /// What to replace, exactly as it is there.
    pub old_text: String,
    /// What to put there instead.
    pub new_text: String,
    /// Whether to replace it everywhere.
    #[cfg_attr(feature = "json", serde(default))]
    pub replace_all: bool,
}

impl EditFile {
    /// Replaces a text that is there once.
    pub fn new(
        path: impl Into<String>,
        old_text: impl Into<String>,
        new_text: impl Into<String>,
    ) -> Self {
        Self {
            file_path: path.into(),
            old_text: old_text.into(),
            new_text: new_text.into(),
            replace_all: false,
        }
    }

    /// Replaces it everywhere.
    #[must_use]
    pub fn everywhere(mut self) -> Self {
        self.replace_all = true;
        self
    }

    /// The tool as a model sees it.
    #[must_use]
    pub fn tool() -> Tool {
        Tool::new("edit_file")
            .describe("Replaces a piece of text in a file. Read the file first.")
            .input_schema(include_str!("schemas/edit_file.json"))
    }
}

/// Replaces a piece of text in a file: `Replaced N occurrences in PATH`.
///
/// # Errors
/// [`ToolError::Argument`] for a text that is not there, or there more than once without `replace_all`;
/// [`ToolError::ReadOnly`] where nothing may be written; [`ToolError::TooLarge`] for a file over 16 MiB.
pub fn edit_file(workspace: &Workspace, arguments: &EditFile) -> Result<String, ToolError> {
    let EditFile {
        file_path: path,
        old_text,
        new_text,
        ..
    } = arguments;
    let full = workspace.writable(path)?;
    if old_text.is_empty() {
        return Err(ToolError::argument("old_text", "is empty"));
    }
    if old_text == new_text {
        return Err(ToolError::argument("new_text", "is the same as `old_text`"));
    }
    let bytes = workspace.read(path, MAX_FILE + 1)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ToolError::TooLarge {
            what: format!("bytes in `{path}`"),
            max: MAX_FILE,
        });
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| ToolError::argument("file_path", "is not a text file"))?;
    let count = text.matches(old_text.as_str()).count();
    let text = match count {
        0 => return Err(ToolError::argument("old_text", "is not in the file")),
        1 => text.replacen(old_text.as_str(), new_text, 1),
        _ if arguments.replace_all => text.replace(old_text.as_str(), new_text),
        _ => {
            return Err(ToolError::argument(
                "old_text",
                format!(
                    "is in the file {count} times: give more of what is around it, or `replace_all`"
                ),
            ));
        }
    };
    fs::write(&full, text).map_err(|error| ToolError::io(path, error))?;
    let shown = workspace.show(&workspace.relative(path)?);
    let occurrences = if count == 1 {
        "occurrence"
    } else {
        "occurrences"
    };
    Ok(format!("Replaced {count} {occurrences} in {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::workspace::tests::{workspace, writable};

    #[test]
    fn a_text_that_is_there_once_is_replaced() {
        let (work, dir, _host) = writable();
        let file = dir.path().join("a.txt");
        fs::write(&file, "one\r\ntwo\r\none\r\n").unwrap();
        let edit =
            |arguments: EditFile| edit_file(&work, &arguments).map_err(|error| error.to_string());
        assert_eq!(
            edit(EditFile::new("a.txt", "two", "2")).unwrap(),
            "Replaced 1 occurrence in /work/a.txt"
        );
        assert_eq!(
            edit(EditFile::new("a.txt", "one", "1")).unwrap_err(),
            "`old_text` is in the file 2 times: give more of what is around it, or `replace_all`"
        );
        assert_eq!(
            edit(EditFile::new("a.txt", "one", "$1").everywhere()).unwrap(),
            "Replaced 2 occurrences in /work/a.txt"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "$1\r\n2\r\n$1\r\n");
        for (old, new, problem) in [
            ("three", "3", "`old_text` is not in the file"),
            ("", "3", "`old_text` is empty"),
            ("2", "2", "`new_text` is the same as `old_text`"),
        ] {
            assert_eq!(edit(EditFile::new("a.txt", old, new)).unwrap_err(), problem);
        }
        assert_eq!(
            edit(EditFile::new("no", "a", "b")).unwrap_err(),
            "`no` does not exist"
        );
        fs::write(&file, [0xff, b'a']).unwrap();
        assert_eq!(
            edit(EditFile::new("a.txt", "a", "b")).unwrap_err(),
            "`file_path` is not a text file"
        );
    }

    #[test]
    fn what_is_read_only_stays_as_it_is() {
        let (work, dir, _host) = workspace();
        fs::write(dir.path().join("a.txt"), "one").unwrap();
        let refused = edit_file(&work, &EditFile::new("a.txt", "one", "two"));
        assert!(matches!(refused, Err(ToolError::ReadOnly(_))));
        assert_eq!(work.read("a.txt", 9).unwrap(), b"one");
    }
}
