//! Cargo as `build` sees it: its programs, what it says of a project, what it made.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use super::MANIFEST;
use super::build::{BuildError, BuildEvent, Freshness, TARGET};

/// Cargo's and its companions' programs, and where they are run.
pub(super) struct Tools {
    dir: PathBuf,
    cargo: OsString,
    rustc: OsString,
    rustup: OsString,
}

/// What cargo made.
pub(super) struct Compiled {
    pub(super) path: PathBuf,
    pub(super) freshness: Freshness,
}

impl Compiled {
    /// The files of this machine's packages that it was compiled from, as cargo notes them beside it.
    pub(super) fn sources(&self) -> Vec<PathBuf> {
        let noted = std::fs::read_to_string(self.path.with_extension("d"));
        dependencies(&noted.unwrap_or_default())
    }
}

/// What stands behind the colon of a line of a makefile. Blanks in names follow a backslash.
fn dependencies(text: &str) -> Vec<PathBuf> {
    let lists = text.lines().filter_map(|line| line.split_once(": "));
    let names = lists.flat_map(|(_, list)| {
        let list = list.replace("\\ ", "\0");
        let names = list.split(' ').filter(|name| !name.is_empty());
        names
            .map(|name| PathBuf::from(name.replace('\0', " ")))
            .collect::<Vec<_>>()
    });
    names.collect()
}

impl Tools {
    /// The programs the environment names, as cargo itself chooses them.
    pub(super) fn of_environment(dir: &Path) -> Self {
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

    pub(super) fn metadata(&self) -> Result<Metadata, BuildError> {
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

    pub(super) fn compile(
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
    pub(super) fn ensure_target(
        &self,
        on_event: &mut dyn FnMut(BuildEvent),
    ) -> Result<bool, BuildError> {
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
pub(super) struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    /// Not there before cargo 1.71.
    workspace_default_members: Option<BTreeSet<String>>,
    pub(super) target_directory: PathBuf,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
    #[serde(default)]
    metadata: serde_json::Value,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Where it is, when it is a folder of this machine.
    path: Option<PathBuf>,
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
pub(super) struct Settings {
    component: Option<String>,
    pub(super) ask: Option<serde_json::Value>,
}

/// The package agents in Rust are written with.
const SDK: &str = "wasm-agent-sdk";

impl Package {
    /// Whether anything says that it is an agent. A program alone does not: most programs are none.
    fn says_agent(&self) -> bool {
        let is_library = |target: &Target| target.shape() == Some(Shape::Library);
        self.targets.iter().any(is_library)
            || self.dependencies.iter().any(|other| other.name == SDK)
            || self.metadata.get("wasm-agent").is_some()
    }

    pub(super) fn settings(&self) -> Result<Settings, BuildError> {
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
pub(super) struct Candidate<'a> {
    pub(super) package: &'a Package,
    target: &'a Target,
}

impl Candidate<'_> {
    /// What the component is called: a program by its own name, a library by its package's.
    pub(super) fn name(&self) -> &str {
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

/// Files of a workspace that say how it is built.
const OF_WORKSPACE: [&str; 4] = [
    MANIFEST,
    "Cargo.lock",
    "rust-toolchain.toml",
    "rust-toolchain",
];

impl Metadata {
    /// What decides what the candidate is built into: its folder, those of the packages it is built with as far as they
    /// are known here, and what the workspace says of all of them.
    pub(super) fn sources(&self, candidate: &Candidate<'_>, dir: &Path) -> Vec<PathBuf> {
        let mut found = vec![dir.to_owned(), self.target_directory.clone()];
        found.extend(OF_WORKSPACE.map(|name| self.workspace_root.join(name)));
        let mut packages = vec![candidate.package];
        while let Some(package) = packages.pop() {
            found.extend(package.manifest_path.parent().map(Path::to_owned));
            for path in package
                .dependencies
                .iter()
                .filter_map(|it| it.path.as_ref())
            {
                if found.contains(path) {
                    continue;
                }
                found.push(path.clone());
                let here = |other: &&Package| other.manifest_path.parent() == Some(path);
                packages.extend(self.packages.iter().find(here));
            }
        }
        found
    }

    /// The agent of the project in `dir`.
    pub(super) fn choose(&self, dir: &Path) -> Result<Candidate<'_>, BuildError> {
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
                // Nobody has named a package: what is no agent must not be taken for one.
                let mut others = Vec::new();
                for package in &self.packages {
                    if members.contains(&package.id) {
                        let some = package.candidates()?;
                        match package.says_agent() {
                            true => candidates.extend(some),
                            false => others.extend(some),
                        }
                    }
                }
                if candidates.is_empty() && !others.is_empty() {
                    return Err(BuildError::NoAgent {
                        dir: dir.to_owned(),
                        programs: others.iter().map(ToString::to_string).collect(),
                    });
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

#[cfg(test)]
mod tests;
