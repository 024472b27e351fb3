//! Agent projects on disk: making one, and building one into a component.

pub mod build;
mod cargo;
pub mod found;
pub mod scaffold;

use std::io;
use std::path::{Path, PathBuf};

pub use build::{BuildError, BuildEvent, Built, Freshness, build};
pub use found::{Found, FoundError, find_built};
pub use scaffold::{Lang, ScaffoldError, SdkSource, scaffold};

use crate::error::Hint;

/// Name of the file that makes a folder a project.
pub(crate) const MANIFEST: &str = "Cargo.toml";

/// What the word AGENT of a command line stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentSource {
    /// A component file.
    File(PathBuf),
    /// The folder of a project that is built into one.
    Project(PathBuf),
}

/// Tells a component file from a project: a project is a folder with a `Cargo.toml`, or that file itself.
///
/// # Errors
///
/// [`ResolveError`] when there is nothing, or a folder that is no project.
pub fn resolve_agent(path: &Path) -> Result<AgentSource, ResolveError> {
    let meta = std::fs::metadata(path).map_err(|source| ResolveError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    if meta.is_dir() {
        if path.join(MANIFEST).is_file() {
            return Ok(AgentSource::Project(path.to_owned()));
        }
        return Err(ResolveError::NotAProject {
            path: path.to_owned(),
        });
    }
    if path.file_name().is_some_and(|name| name == MANIFEST) {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        return Ok(AgentSource::Project(folder.to_owned()));
    }
    Ok(AgentSource::File(path.to_owned()))
}

/// Why AGENT stands for nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There is nothing there, or nothing that can be seen.
    #[error("looking for the agent `{}`", path.display())]
    Unreadable {
        /// What was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a folder without a project.
    #[error("looking for the agent `{}`: the folder has no `{MANIFEST}`", path.display())]
    NotAProject {
        /// The folder.
        path: PathBuf,
    },
}

impl Hint for ResolveError {
    fn hint(&self) -> Option<String> {
        let is_missing = match self {
            Self::Unreadable { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::NotAProject { .. } => true,
        };
        is_missing.then(|| {
            "AGENT is a `.wasm` component or an agent project folder; `wasm-agent new NAME` makes one".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_projects_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let error = resolve_agent(path).unwrap_err();
        assert!(matches!(error, ResolveError::NotAProject { .. }));
        assert!(error.hint().is_some());

        std::fs::write(path.join(MANIFEST), "").unwrap();
        let project = AgentSource::Project(path.to_owned());
        assert_eq!(resolve_agent(path).unwrap(), project);
        assert_eq!(resolve_agent(&path.join(MANIFEST)).unwrap(), project);

        let file = path.join("agent.wasm");
        let error = resolve_agent(&file).unwrap_err();
        assert!(matches!(error, ResolveError::Unreadable { .. }));
        assert!(error.hint().is_some());
        std::fs::write(&file, "").unwrap();
        assert_eq!(resolve_agent(&file).unwrap(), AgentSource::File(file));
    }
}
