//! `wasm-agent build`: a cargo project becomes a component with its ask in it.
//!
//! Cargo decides what is out of date: it is asked every time and is quick and quiet when nothing is. What
//! it and rustc have to say to the author goes to stderr as they say it.
//!
//! Building a project runs its build scripts with the rights of the user, outside of any sandbox.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::SystemTime;

use super::MANIFEST;
use super::cargo::Tools;
use crate::engine::artifact::{Artifact, ArtifactError, MAX_ARTIFACT};
use crate::error::Hint;
use crate::grants::ask::{Ask, AskError, EmbedError, embed};

/// What agents are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// Folder in cargo's target folder where components are put.
pub(super) const OUTPUT: &str = "wasm-agent";

/// A finished component.
#[derive(Clone, Debug)]
pub struct Built {
    /// The name of the package or program it was built from.
    pub name: String,
    /// The component, ask included; its path says where it is.
    pub artifact: Artifact,
    /// Whether it is what was there before.
    pub freshness: Freshness,
}

/// Whether a build changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything was up to date.
    Fresh,
    /// Something was compiled or written.
    Changed,
}

/// What happens during a build that takes a while. Nothing when everything is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildEvent {
    /// `rustup target add` is run, because the toolchain lacks the target.
    AddingTarget {
        /// The target.
        target: &'static str,
    },
    /// A crate was compiled.
    Compiled {
        /// The crate's name.
        name: String,
    },
}

/// Builds the project in the folder `dir`: of a workspace the package in that folder, or its only agent.
///
/// The rust flags of the environment are taken off: they are meant for this machine, and would take the
/// place of those the project chose for its target.
///
/// # Errors
///
/// [`BuildError`]. When the project does not compile, rustc's messages are on stderr by then.
pub fn build(dir: &Path, on_event: &mut dyn FnMut(BuildEvent)) -> Result<Built, BuildError> {
    if !dir.join(MANIFEST).is_file() {
        return Err(BuildError::NoProject {
            dir: dir.to_owned(),
        });
    }
    let tools = Tools::of_environment(dir);
    let metadata = tools.metadata()?;
    let candidate = metadata.choose(dir)?;
    let settings = candidate.package.settings()?;
    let ask = match &settings.ask {
        Some(table) => Some(
            Ask::from_metadata(table).map_err(|problem| BuildError::Ask {
                package: candidate.package.name.clone(),
                problem,
            })?,
        ),
        None => None,
    };

    // Asking the compiler costs as much as asking cargo. Where there is output the target was there.
    let output = metadata.target_directory.join(TARGET);
    let checked = !output.is_dir();
    if checked {
        tools.ensure_target(on_event)?;
    }
    let compiled = match tools.compile(&candidate, on_event) {
        Err(BuildError::Failed { .. }) if !checked && tools.ensure_target(on_event)? => {
            tools.compile(&candidate, on_event)?
        }
        done => done?,
    };

    let read_error = |source| BuildError::Read {
        path: compiled.path.clone(),
        source,
    };
    let mut bytes = std::fs::read(&compiled.path).map_err(read_error)?;
    if let Some(ask) = ask {
        bytes = embed(&bytes, &ask).map_err(|problem| BuildError::Embed {
            path: compiled.path.clone(),
            problem,
        })?;
    }
    let mut sources = metadata.sources(&candidate, dir);
    sources.extend(compiled.sources());
    let name = candidate.name().to_owned();
    let folder = metadata.target_directory.join(OUTPUT);
    let path = folder.join(format!("{name}.wasm"));
    // Checked before it takes the place of one that worked.
    Artifact::from_bytes(bytes.as_slice()).map_err(|mut error| {
        error.path = Some(compiled.path.clone());
        BuildError::NotAnAgent(error)
    })?;
    let written = write_if_changed(&folder, &path, &bytes).map_err(|source| BuildError::Write {
        path: path.clone(),
        source,
    })?;
    let freshness = match (compiled.freshness, written) {
        (Freshness::Fresh, Freshness::Fresh) => Freshness::Fresh,
        _ => Freshness::Changed,
    };
    Ok(Built {
        name,
        artifact: Artifact::open(&path, MAX_ARTIFACT)
            .map_err(BuildError::NotAnAgent)?
            .built_from(sources),
        freshness,
    })
}

/// Writes `bytes` to `path` in one step, unless they are there already.
fn write_if_changed(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<Freshness> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
        // Whoever only looks tells by this time whether something was changed after it was built.
        File::options()
            .write(true)
            .open(path)?
            .set_modified(SystemTime::now())?;
        return Ok(Freshness::Fresh);
    }
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp-");
    #[cfg(unix)]
    {
        // What cargo would give it: a component is no secret. The umask still applies.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(Freshness::Changed)
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The folder is no project.
    #[error("building `{}`: the folder has no `{MANIFEST}`", dir.display())]
    NoProject {
        /// The folder.
        dir: PathBuf,
    },
    /// A program of the toolchain cannot be run.
    #[error("running `{}`", program.display())]
    Tool {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Cargo cannot read the project; it has said why on stderr.
    #[error("reading the project in `{}`: cargo ended with {status}", dir.display())]
    Metadata {
        /// The folder.
        dir: PathBuf,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// `[package.metadata.wasm-agent]` has something that does not belong there.
    #[error("reading `[package.metadata.wasm-agent]` of package `{package}`: {reason}")]
    Settings {
        /// The package.
        package: String,
        /// What is wrong.
        reason: String,
    },
    /// The ask cannot be understood.
    #[error("reading `[package.metadata.wasm-agent.ask]` of package `{package}`: {problem}")]
    Ask {
        /// The package.
        package: String,
        /// What is wrong.
        problem: AskError,
    },
    /// No target of the project could be an agent.
    #[error("building `{}`: it has neither a `cdylib` nor a program", dir.display())]
    NothingToBuild {
        /// The folder.
        dir: PathBuf,
    },
    /// The workspace has programs, and nothing says that one of them is an agent.
    #[error(
        "building `{}`: no package of the workspace says that it is an agent; there is {}",
        dir.display(),
        list(programs)
    )]
    NoAgent {
        /// The folder.
        dir: PathBuf,
        /// The programs.
        programs: Vec<String>,
    },
    /// Several targets could be the agent.
    #[error("building `{}`: it could be {}", dir.display(), candidates.join(", or "))]
    Ambiguous {
        /// The folder.
        dir: PathBuf,
        /// What it could be.
        candidates: Vec<String>,
    },
    /// The target the package names is none.
    #[error(
        "building package `{package}`: it has no component `{wanted}`; there is {}",
        list(candidates)
    )]
    NoSuchComponent {
        /// The package.
        package: String,
        /// The name it gives.
        wanted: String,
        /// What there is.
        candidates: Vec<String>,
    },
    /// The toolchain lacks the target and rustup cannot add it.
    #[error("building for `{TARGET}`: the Rust toolchain does not have this target")]
    NoTarget,
    /// rustup failed to add the target; it has said why on stderr.
    #[error("adding the target `{TARGET}`: rustup ended with {status}")]
    AddTarget {
        /// How rustup ended.
        status: ExitStatus,
    },
    /// The project does not compile; rustc has said why on stderr.
    #[error("building `{name}`: cargo ended with {status}")]
    Failed {
        /// The agent.
        name: String,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// Cargo made nothing.
    #[error("building `{name}`: cargo reported no component")]
    NoOutput {
        /// The agent.
        name: String,
    },
    /// What cargo made cannot be read.
    #[error("reading `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ask cannot be put into what cargo made.
    #[error("embedding the ask in `{}`: {problem}", path.display())]
    Embed {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: EmbedError,
    },
    /// What cargo made is not an agent.
    #[error(transparent)]
    NotAnAgent(ArtifactError),
    /// The component cannot be written.
    #[error("writing `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn list(candidates: &[String]) -> String {
    if candidates.is_empty() {
        "none".into()
    } else {
        candidates.join(", ")
    }
}

impl Hint for BuildError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoProject { .. } => "`wasm-agent new NAME` makes a project",
            Self::Tool { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "agents in Rust are built with cargo; install Rust from https://rustup.rs"
            }
            Self::NothingToBuild { .. } => {
                "an agent is a library: `[lib] crate-type = [\"cdylib\"]`"
            }
            Self::NoAgent { .. } => {
                "name the folder of an agent; a program is one that depends on `wasm-agent-sdk` or has `[package.metadata.wasm-agent]`"
            }
            Self::Ambiguous { .. } => {
                "name a package's folder, or choose with `component = \"name\"` in `[package.metadata.wasm-agent]`"
            }
            Self::NoTarget => {
                "install it: `rustup target add wasm32-wasip2`, or the package of your system that has it"
            }
            Self::Failed { .. } => "rustc's own messages are above",
            Self::Settings { .. } => "it can have `component` and `ask`",
            Self::Ask { problem, .. } => return problem.hint(),
            Self::Embed { problem, .. } => return problem.hint(),
            Self::NotAnAgent(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}

#[cfg(test)]
mod tests;
