//! The file tools over a directory.

use super::AgentLoop;
use crate::session::Access;
use crate::tools::{
    EditFile, GrepFiles, ListDir, ReadFile, ToolError, Workspace, WriteFile, edit_file, grep_files,
    list_dir, read_file, write_file,
};
use crate::{Result, Tool};

impl AgentLoop {
    /// Adds the tools `read_file`, `list_dir` and `grep_files` over a directory, and for
    /// [`Access::ReadWrite`] `write_file` and `edit_file` too. What the operator grants decides: where it
    /// is less, the tools answer with an error.
    #[must_use]
    pub fn files(self, directory: &str, access: Access) -> Self {
        let reading = self
            .file_tool(directory, ReadFile::tool(), read_file)
            .file_tool(directory, ListDir::tool(), list_dir)
            .file_tool(directory, GrepFiles::tool(), grep_files);
        match access {
            Access::ReadOnly => reading,
            Access::ReadWrite => reading
                .file_tool(directory, WriteFile::tool(), write_file)
                .file_tool(directory, EditFile::tool(), edit_file),
        }
    }

    fn file_tool<A: serde::de::DeserializeOwned + 'static>(
        self,
        directory: &str,
        tool: Tool,
        function: fn(&Workspace, &A) -> Result<String, ToolError>,
    ) -> Self {
        let directory = directory.to_owned();
        self.tool(tool, move |arguments: A| -> Result<String> {
            // At every call: a descriptor is made where nothing is granted.
            let workspace = Workspace::open(&directory)?;
            Ok(function(&workspace, &arguments)?)
        })
    }
}
