//! Why a tool did not do what it was asked.

use std::{fmt, io};

/// Why a tool did not do what it was asked. Its text can be given to a model as it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum ToolError {
    /// An argument makes no sense.
    Argument {
        /// Its name, as a model gives it.
        argument: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The operator granted no directory that contains this path.
    NotGranted(String),
    /// The path leads out of the workspace.
    Outside(String),
    /// The path is in a directory that is granted for reading only.
    ReadOnly(String),
    /// There is nothing at this path.
    NotFound(String),
    /// A directory, or something else, where a file is needed.
    NotAFile(String),
    /// A file, or something else, where a directory is needed.
    NotADirectory(String),
    /// More than the tool can hold.
    TooLarge {
        /// What there is too much of, and where.
        what: String,
        /// The most that is taken.
        max: u64,
    },
    /// The work was not done in time.
    TimedOut {
        /// The time there was, in seconds.
        seconds: u64,
    },
    /// The file system said no.
    Io {
        /// The path in question.
        path: String,
        /// What it said.
        source: io::Error,
    },
}

impl ToolError {
    pub(super) fn argument(argument: &'static str, problem: impl Into<String>) -> Self {
        Self::Argument {
            argument,
            problem: problem.into(),
        }
    }

    pub(super) fn io(path: impl Into<String>, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NotFound(path),
            _ => Self::Io { path, source },
        }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { argument, problem } => write!(f, "`{argument}` {problem}"),
            Self::NotGranted(path) => write!(f, "`{path}` is in no directory granted to this run"),
            Self::Outside(path) => write!(f, "`{path}` leads out of the workspace"),
            Self::ReadOnly(path) => {
                write!(f, "`{path}` is in a directory granted for reading only")
            }
            Self::NotFound(path) => write!(f, "`{path}` does not exist"),
            Self::NotAFile(path) => write!(f, "`{path}` is not a file"),
            Self::NotADirectory(path) => write!(f, "`{path}` is not a directory"),
            Self::TooLarge { what, max } => write!(f, "{what}: more than {max}"),
            Self::TimedOut { seconds } => write!(f, "not done within {seconds} seconds"),
            Self::Io { path, source } => write!(f, "cannot access `{path}`: {source}"),
        }
    }
}

impl std::error::Error for ToolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
