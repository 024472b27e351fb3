//! `wasm-agent build`: a cargo project becomes a component with its ask in it.
//!
//! Cargo decides what is out of date: it is asked every time and is quick and quiet when nothing is. What
//! it and rustc have to say to the author goes to stderr as they say it.
//!
//! Building a project runs its build scripts with the rights of the user, outside of any sandbox.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde::Deserialize;

use super::MANIFEST;
use crate::engine::artifact::{Artifact, ArtifactError, MAX_ARTIFACT};
use crate::error::Hint;
use crate::grants::ask::{Ask, AskError, EmbedError, embed};

/// What agents are compiled for.
pub const TARGET: &str = "wasm32-wasip2";

/// Folder in cargo's target folder where components are put.
const OUTPUT: &str = "wasm-agent";

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
        Some(table) => Some(Ask::from_metadata(table).map_err(|source| BuildError::Ask {
            package: candidate.package.name.clone(),
            source,
        })?),
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
        bytes = embed(&bytes, &ask).map_err(|source| BuildError::Embed {
            path: compiled.path.clone(),
            source,
        })?;
    }
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
        artifact: Artifact::open(&path, MAX_ARTIFACT).map_err(BuildError::NotAnAgent)?,
        freshness,
    })
}

/// Writes `bytes` to `path` in one step, unless they are there already.
fn write_if_changed(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<Freshness> {
    if std::fs::read(path).is_ok_and(|there| there == bytes) {
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

/// Cargo's and its companions' programs, and where they are run.
struct Tools {
    dir: PathBuf,
    cargo: OsString,
    rustc: OsString,
    rustup: OsString,
}

/// What cargo made.
struct Compiled {
    path: PathBuf,
    freshness: Freshness,
}

impl Tools {
    /// The programs the environment names, as cargo itself chooses them.
    fn of_environment(dir: &Path) -> Self {
        let program = |variable, default: &str| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .unwrap_or_else(|| default.into())
        };
        Self {
            dir: dir.to_owned(),
            cargo: program("CARGO", "cargo"),
            rustc: program("RUSTC", "rustc"),
            rustup: "rustup".into(),
        }
    }

    fn command(&self, program: &OsString, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            // The folder decides which toolchain and which cargo configuration apply.
            .current_dir(&self.dir)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .stdin(Stdio::null());
        command
    }

    fn start(&self, program: &OsString, arguments: &[&str]) -> Result<Child, BuildError> {
        let mut command = self.command(program, arguments);
        command.stdout(Stdio::piped());
        command
            .spawn()
            .map_err(|source| tool_error(program, source))
    }

    fn metadata(&self) -> Result<Metadata, BuildError> {
        let arguments = ["metadata", "--no-deps", "--format-version=1", "--quiet"];
        let child = self.start(&self.cargo, &arguments)?;
        let output = child
            .wait_with_output()
            .map_err(|source| tool_error(&self.cargo, source))?;
        if !output.status.success() {
            return Err(BuildError::Metadata {
                dir: self.dir.clone(),
                status: output.status,
            });
        }
        serde_json::from_slice(&output.stdout).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            tool_error(&self.cargo, source)
        })
    }

    fn compile(
        &self,
        candidate: &Candidate<'_>,
        on_event: &mut dyn FnMut(BuildEvent),
    ) -> Result<Compiled, BuildError> {
        let mut arguments = vec![
            "build",
            "--release",
            "--quiet",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
            "--package",
            &candidate.package.id,
        ];
        match candidate.target.shape() {
            Some(Shape::Program) => arguments.extend(["--bin", &candidate.target.name]),
            _ => arguments.push("--lib"),
        }
        let mut child = self.start(&self.cargo, &arguments)?;
        let mut path = None;
        let mut freshness = Freshness::Fresh;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line.map_err(|source| tool_error(&self.cargo, source))?;
                // Messages this program does not know are none of its business.
                let Ok(Message::CompilerArtifact(made)) = serde_json::from_str(&line) else {
                    continue;
                };
                if made.package_id == candidate.package.id
                    && made.target.name == candidate.target.name
                {
                    let is_wasm =
                        |file: &PathBuf| file.extension().is_some_and(|end| end == "wasm");
                    path = made.filenames.into_iter().find(is_wasm).or(path);
                }
                if !made.fresh {
                    freshness = Freshness::Changed;
                    on_event(BuildEvent::Compiled {
                        name: made.target.name,
                    });
                }
            }
        }
        let status = child
            .wait()
            .map_err(|source| tool_error(&self.cargo, source))?;
        let name = candidate.name().to_owned();
        if !status.success() {
            return Err(BuildError::Failed { name, status });
        }
        match path {
            Some(path) => Ok(Compiled { path, freshness }),
            None => Err(BuildError::NoOutput { name }),
        }
    }

    /// Sees to it that the toolchain can compile for the target. Says whether anything had to be done.
    fn ensure_target(&self, on_event: &mut dyn FnMut(BuildEvent)) -> Result<bool, BuildError> {
        if self.has_target()? {
            return Ok(false);
        }
        on_event(BuildEvent::AddingTarget { target: TARGET });
        let mut command = self.command(&self.rustup, &["target", "add", TARGET]);
        // Standard output is the answer of this program; rustup's words belong beside it.
        command.stdout(Stdio::null());
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(BuildError::AddTarget { status }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BuildError::NoTarget);
            }
            Err(source) => return Err(tool_error(&self.rustup, source)),
        }
        // The compiler in use may not be one of rustup's.
        match self.has_target()? {
            true => Ok(true),
            false => Err(BuildError::NoTarget),
        }
    }

    fn has_target(&self) -> Result<bool, BuildError> {
        let output = self
            .command(&self.rustc, &["--print", "sysroot"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|source| tool_error(&self.rustc, source))?;
        let sysroot = String::from_utf8_lossy(&output.stdout);
        let mut path = PathBuf::from(sysroot.trim_end_matches(['\r', '\n']));
        path.extend(["lib", "rustlib", TARGET]);
        Ok(output.status.success() && path.is_dir())
    }
}

fn tool_error(program: &OsString, source: io::Error) -> BuildError {
    BuildError::Tool {
        program: PathBuf::from(program),
        source,
    }
}

/// A message of `cargo build`.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Made),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Made {
    package_id: String,
    target: Target,
    filenames: Vec<PathBuf>,
    fresh: bool,
}

/// What `cargo metadata` says.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    /// Not there before cargo 1.71.
    workspace_default_members: Option<BTreeSet<String>>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    #[serde(default)]
    metadata: serde_json::Value,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
    kind: Vec<String>,
}

/// What a cargo target becomes when it is compiled to WebAssembly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A component with the exports of a library.
    Library,
    /// A component with `wasi:cli/run`.
    Program,
}

impl Target {
    fn shape(&self) -> Option<Shape> {
        let has = |list: &[String], what: &str| list.iter().any(|entry| entry == what);
        if has(&self.kind, "bin") {
            Some(Shape::Program)
        } else if has(&self.kind, "cdylib") && has(&self.crate_types, "cdylib") {
            Some(Shape::Library)
        } else {
            None
        }
    }
}

/// `[package.metadata.wasm-agent]`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    component: Option<String>,
    ask: Option<serde_json::Value>,
}

impl Package {
    fn settings(&self) -> Result<Settings, BuildError> {
        match self.metadata.get("wasm-agent") {
            None => Ok(Settings::default()),
            Some(table) => Settings::deserialize(table).map_err(|error| BuildError::Settings {
                package: self.name.clone(),
                reason: error.to_string(),
            }),
        }
    }

    /// The targets that could be the agent, after what the package says about that.
    fn candidates(&self) -> Result<Vec<Candidate<'_>>, BuildError> {
        let all = self
            .targets
            .iter()
            .filter(|target| target.shape().is_some())
            .map(|target| Candidate {
                package: self,
                target,
            });
        let Some(wanted) = self.settings()?.component else {
            return Ok(all.collect());
        };
        // A library's target has the package's name with `_` for `-`; people write either.
        let same = |name: &str| name.replace('-', "_") == wanted.replace('-', "_");
        let chosen: Vec<_> = all
            .clone()
            .filter(|candidate| same(&candidate.target.name))
            .collect();
        if chosen.is_empty() {
            return Err(BuildError::NoSuchComponent {
                package: self.name.clone(),
                wanted,
                candidates: all.map(|candidate| candidate.to_string()).collect(),
            });
        }
        Ok(chosen)
    }
}

/// A target that could be the agent.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    package: &'a Package,
    target: &'a Target,
}

impl Candidate<'_> {
    /// What the component is called: a program by its own name, a library by its package's.
    fn name(&self) -> &str {
        match self.target.shape() {
            Some(Shape::Program) => &self.target.name,
            _ => &self.package.name,
        }
    }
}

impl std::fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = match self.target.shape() {
            Some(Shape::Program) => "program",
            _ => "library",
        };
        write!(
            f,
            "{shape} `{}` of package `{}`",
            self.target.name, self.package.name
        )
    }
}

impl Metadata {
    /// The agent of the project in `dir`.
    fn choose(&self, dir: &Path) -> Result<Candidate<'_>, BuildError> {
        let manifest = dir.join(MANIFEST);
        let manifest = manifest.canonicalize().unwrap_or(manifest);
        let is_here = |package: &&Package| {
            let there = package.manifest_path.canonicalize();
            there.is_ok_and(|there| there == manifest)
        };
        let mut candidates = Vec::new();
        match self.packages.iter().find(is_here) {
            Some(package) => candidates = package.candidates()?,
            None => {
                let members = self
                    .workspace_default_members
                    .as_ref()
                    .unwrap_or(&self.workspace_members);
                for package in &self.packages {
                    if members.contains(&package.id) {
                        candidates.extend(package.candidates()?);
                    }
                }
            }
        }
        match candidates.as_slice() {
            [candidate] => Ok(*candidate),
            [] => Err(BuildError::NothingToBuild {
                dir: dir.to_owned(),
            }),
            several => Err(BuildError::Ambiguous {
                dir: dir.to_owned(),
                candidates: several.iter().map(ToString::to_string).collect(),
            }),
        }
    }
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
    #[error("reading `[package.metadata.wasm-agent.ask]` of package `{package}`: {source}")]
    Ask {
        /// The package.
        package: String,
        /// What is wrong.
        source: AskError,
    },
    /// No target of the project could be an agent.
    #[error("building `{}`: it has neither a `cdylib` nor a program", dir.display())]
    NothingToBuild {
        /// The folder.
        dir: PathBuf,
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
    #[error("embedding the ask in `{}`: {source}", path.display())]
    Embed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EmbedError,
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
            Self::Ambiguous { .. } => {
                "name a package's folder, or choose with `component = \"name\"` in `[package.metadata.wasm-agent]`"
            }
            Self::NoTarget => {
                "install it: `rustup target add wasm32-wasip2`, or the package of your system that has it"
            }
            Self::Failed { .. } => "rustc's own messages are above",
            Self::Settings { .. } => "it can have `component` and `ask`",
            Self::Ask { source, .. } => return source.hint(),
            Self::Embed { source, .. } => return source.hint(),
            Self::NotAnAgent(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}

#[cfg(test)]
mod tests;
