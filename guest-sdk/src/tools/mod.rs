//! The file tools agents need, over a directory the operator granted.
//!
//! Each tool is a struct of arguments, deserializable from what a model sends, and a function over a
//! [`Workspace`]. The texts they give are made for models: numbered lines, short listings, a mark where
//! something was left out. Mistakes in arguments are errors, of type [`ToolError`], and never text that
//! looks like output.
//!
//! ```
//! use wasm_agent_sdk::session::Access;
//! use wasm_agent_sdk::testing::TestHost;
//! use wasm_agent_sdk::tools::{ReadFile, Workspace, read_file, truncate};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # std::fs::write(dir.path().join("notes.txt"), "first\nsecond\nthird\n")?;
//! let _host = TestHost::new()
//!     .directory("/work", dir.path(), Access::ReadOnly)
//!     .install();
//!
//! let work = Workspace::open("/work")?;
//! let text = read_file(&work, &ReadFile::new("notes.txt").offset(2))?;
//! assert_eq!(text, "L2: second\nL3: third");
//! assert!(read_file(&work, &ReadFile::new("../etc/passwd")).is_err());
//! assert_eq!(truncate(&text, 10_000), text);
//! # Ok(())
//! # }
//! ```

mod edit_file;
mod error;
mod glob;
mod grep_files;
mod ignore;
mod list_dir;
mod read_file;
mod truncate;
mod walk;
mod workspace;
mod write_file;

pub use edit_file::{EditFile, edit_file};
pub use error::ToolError;
pub use glob::Glob;
pub use grep_files::{GrepFiles, grep_files};
pub use list_dir::{ListDir, list_dir};
pub use read_file::{Indentation, Mode, ReadFile, read_file};
pub use truncate::{DEFAULT_MAX_TOKENS, token_count, truncate};
pub use walk::{Entry, Kind, Walk};
pub use workspace::Workspace;
pub use write_file::{WriteFile, write_file};
