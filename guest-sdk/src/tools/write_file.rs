//! Writing a file.

use std::fs;

use super::{ToolError, Workspace};
use crate::Tool;

/// Arguments of [`write_file`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Deserialize))]
#[cfg_attr(feature = "json", serde(deny_unknown_fields))]
pub struct WriteFile {
    /// The file: relative to the workspace, or absolute.
    pub file_path: String,
    /// All of its content.
    pub content: String,
}

impl WriteFile {
    /// This content at this path.
    pub fn new(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            file_path: path.into(),
            content: content.into(),
        }
    }

    /// The tool as a model sees it.
    #[must_use]
    pub fn tool() -> Tool {
        Tool::new("write_file")
            .describe("Writes a file: makes it, or replaces all of its content.")
            .input_schema(include_str!("schemas/write_file.json"))
    }
}

/// Writes a file, and the directories above it that are missing: `Created PATH (N bytes)` or
/// `Replaced PATH (N bytes)`.
///
/// # Errors
/// [`ToolError::ReadOnly`] where nothing may be written, others for a path that cannot be.
pub fn write_file(workspace: &Workspace, arguments: &WriteFile) -> Result<String, ToolError> {
    let WriteFile { file_path, content } = arguments;
    let full = workspace.writable(file_path)?;
    let verb = match fs::metadata(&full) {
        Ok(metadata) if metadata.is_file() => "Replaced",
        Ok(_) => return Err(ToolError::NotAFile(file_path.clone())),
        Err(_) => "Created",
    };
    if let Some(folder) = full.parent() {
        fs::create_dir_all(folder).map_err(|error| ToolError::io(file_path, error))?;
    }
    fs::write(&full, content).map_err(|error| ToolError::io(file_path, error))?;
    let shown = workspace.show(&workspace.relative(file_path)?);
    Ok(format!("{verb} {shown} ({} bytes)", content.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::workspace::tests::{workspace, writable};

    #[test]
    fn files_are_made_and_replaced() {
        let (work, dir, _host) = writable();
        let write = |path, content| write_file(&work, &WriteFile::new(path, content)).unwrap();
        assert_eq!(
            write("a/b/c.txt", "one"),
            "Created /work/a/b/c.txt (3 bytes)"
        );
        assert_eq!(
            write("/work/a/b/c.txt", "three"),
            "Replaced /work/a/b/c.txt (5 bytes)"
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("a/b/c.txt")).unwrap(),
            "three"
        );
        let problem = |path| {
            write_file(&work, &WriteFile::new(path, ""))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(problem("a/b"), "`a/b` is not a file");
        assert_eq!(problem("../x"), "`../x` leads out of the workspace");
        assert_eq!(problem(""), "`` is not a file");
    }

    #[test]
    fn what_is_read_only_stays_as_it_is() {
        let (work, dir, _host) = workspace();
        let refused = write_file(&work, &WriteFile::new("a.txt", "x")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`a.txt` is in a directory granted for reading only"
        );
        assert!(!dir.path().join("a.txt").exists());
    }
}
