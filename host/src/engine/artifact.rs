//! A component file as it was found: its bytes, digest and outline. Nothing is compiled here.
//!
//! Only the outermost level of the component is read: what it imports, exports and says of itself. That
//! takes microseconds whatever the size. Nested modules are stepped over; they are validated when the
//! engine compiles the component, which is before any of them runs.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::outline::{Item, ItemKind, Outline, Producer};
use crate::digest::Digest;
use crate::error::Hint;
use crate::grants::ask::{Ask, AskError};

/// Greatest component read when the caller names no other limit, in bytes. The largest agents seen carry a
/// whole Python or JavaScript engine and have 25 MB; compiling takes about 0.3 s a megabyte.
pub const MAX_ARTIFACT: u64 = 128 << 20;

/// A component that could be an agent.
#[derive(Clone, Debug)]
pub struct Artifact {
    path: Option<PathBuf>,
    sources: Vec<PathBuf>,
    bytes: Vec<u8>,
    digest: Digest,
    kind: AgentKind,
    outline: Outline,
}

/// How an agent is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// It exports `describe` and `run` of the world `wasm-agent:agent/agent`.
    Agent,
    /// It exports `wasi:cli/run@0.2.x`; it speaks AVP's stdio binding.
    Command,
    /// It exports `wasm-agent:agent/tool-provider`: no agent, but what one may be given.
    Tool,
}

impl Artifact {
    /// Reads the component at `path`, once; the file can change afterwards without effect.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`], which names the file: not there, not a regular file, larger than `max_bytes`, not
    /// an agent component.
    pub fn open(path: impl AsRef<Path>, max_bytes: u64) -> Result<Self, ArtifactError> {
        let path = path.as_ref();
        let named = |problem| ArtifactError {
            path: Some(path.to_owned()),
            problem,
        };
        let bytes = read_file(path, max_bytes).map_err(named)?;
        let mut artifact = Self::from_bytes(bytes).map_err(|error| named(error.problem))?;
        artifact.path = Some(path.to_owned());
        Ok(artifact)
    }

    /// Takes the bytes of a component; the caller has bounded their number.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`] without a path when they are not an agent component.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, ArtifactError> {
        let bytes = bytes.into();
        let outline = Outline::read(&bytes).map_err(|problem| ArtifactError {
            path: None,
            problem,
        })?;
        let kind = kind(&outline).ok_or_else(|| ArtifactError {
            path: None,
            problem: ArtifactProblem::NoEntryPoint {
                exports: outline.exports.clone(),
            },
        })?;
        Ok(Self {
            path: None,
            sources: Vec::new(),
            digest: Digest::of(&bytes),
            bytes,
            kind,
            outline,
        })
    }

    /// The file it was read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Files and folders it was built from, as far as that was done here.
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// The same component, built from these.
    #[must_use]
    pub fn built_from(mut self, sources: Vec<PathBuf>) -> Self {
        self.sources = sources;
        self
    }

    /// The component's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How it is called. A component that exports both entry points is an [`AgentKind::Agent`].
    pub fn kind(&self) -> AgentKind {
        self.kind
    }

    /// What it imports, in its own order.
    pub fn imports(&self) -> &[Item] {
        &self.outline.imports
    }

    /// What it exports, in its own order.
    pub fn exports(&self) -> &[Item] {
        &self.outline.exports
    }

    /// What it says it needs: a ceiling for what it is granted, or nothing when it says nothing.
    pub fn ask(&self) -> Option<&Ask> {
        self.outline.ask.as_ref()
    }

    /// The tools that made it, by its own account.
    pub fn producers(&self) -> &[Producer] {
        &self.outline.producers
    }
}

fn kind(outline: &Outline) -> Option<AgentKind> {
    let function = |name: &str| {
        outline
            .exports
            .iter()
            .any(|export| export.kind == ItemKind::Function && export.name == name)
    };
    let command = || {
        outline.exports.iter().any(|export| {
            export.kind == ItemKind::Interface
                && export.interface().is_some_and(|name| {
                    name.package == "wasi:cli" && name.interface == "run" && name.on_track(0, 2)
                })
        })
    };
    let tool = || {
        outline.exports.iter().any(|export| {
            export.kind == ItemKind::Interface
                && export.interface().is_some_and(|name| {
                    name.package == "wasm-agent:agent"
                        && name.interface == "tool-provider"
                        && name.on_track(0, 1)
                })
        })
    };
    if function("describe") && function("run") {
        Some(AgentKind::Agent)
    } else if command() {
        Some(AgentKind::Command)
    } else if tool() {
        Some(AgentKind::Tool)
    } else {
        None
    }
}

/// Reads a regular file of at most `max` bytes.
fn read_file(path: &Path, max: u64) -> Result<Vec<u8>, ArtifactProblem> {
    let mut options = File::options();
    options.read(true);
    // Opening a FIFO would otherwise wait for somebody to write to it.
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        options.custom_flags(flags.cast_signed());
    }
    let file = options.open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(ArtifactProblem::Directory);
    }
    if !meta.is_file() {
        return Err(ArtifactProblem::NotAFile);
    }
    if meta.len() > max {
        return Err(ArtifactProblem::TooLarge { max });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    // The file may grow while it is read; one byte more than allowed is enough to see it.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(ArtifactProblem::TooLarge { max });
    }
    Ok(bytes)
}

/// Why a component cannot be used, and the file it came from.
#[derive(Debug)]
pub struct ArtifactError {
    /// The file, when it came from one.
    pub path: Option<PathBuf>,
    /// What is wrong with it.
    pub problem: ArtifactProblem,
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "reading agent `{}`: {}", path.display(), self.problem),
            None => write!(f, "reading the agent: {}", self.problem),
        }
    }
}

impl std::error::Error for ArtifactError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

impl Hint for ArtifactError {
    fn hint(&self) -> Option<String> {
        self.problem.hint()
    }
}

/// What is wrong with a component file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactProblem {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is a directory.
    #[error("it is a directory, not a component file")]
    Directory,
    /// It is a device, a FIFO or a socket.
    #[error("it is not a regular file")]
    NotAFile,
    /// It is larger than the limit.
    #[error("it is larger than the limit of {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: u64,
    },
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// It ends in the middle.
    #[error("it is incomplete: it ends in the middle, after {at} bytes")]
    Truncated {
        /// How many bytes there are.
        at: usize,
    },
    /// It is WebAssembly text.
    #[error("it is WebAssembly text, not a binary")]
    Text,
    /// It is machine code, from wasmtime or another compiler.
    #[error(
        "it is machine code, not WebAssembly; compiled code is only taken from the host's own cache"
    )]
    Precompiled,
    /// It is something else.
    #[error("it is not WebAssembly")]
    NotWasm,
    /// It is a core module.
    #[error("it is a core module, not a component")]
    CoreModule,
    /// Its structure is broken.
    #[error("it is malformed: {0}")]
    Malformed(String),
    /// It has more imports or exports than an agent could.
    #[error("it has more than {max} imports or exports")]
    TooManyItems {
        /// The limit.
        max: usize,
    },
    /// Types or components in it are nested too deeply.
    #[error("its types or components are nested too deeply")]
    TooDeep,
    /// The name of an import or export is too long or not printable ASCII.
    #[error("an import or export has a name that is not valid")]
    BadName,
    /// The ask in it cannot be understood.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It is a component without an entry point of an agent.
    #[error("it is not an agent: {}", list_exports(.exports))]
    NoEntryPoint {
        /// What it exports instead.
        exports: Vec<Item>,
    },
}

impl From<wasmparser::BinaryReaderError> for ArtifactProblem {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// How many exports a message names.
const LISTED: usize = 8;

fn list_exports(exports: &[Item]) -> String {
    if exports.is_empty() {
        return "it exports nothing".into();
    }
    let mut text = String::from("it exports ");
    for (at, export) in exports.iter().take(LISTED).enumerate() {
        text.push_str(if at == 0 { "`" } else { ", `" });
        text.push_str(&export.name);
        text.push('`');
    }
    if exports.len() > LISTED {
        text.push_str(&format!(" and {} more", exports.len() - LISTED));
    }
    text.push_str(", but neither `describe` and `run` nor `wasi:cli/run@0.2`");
    text
}

impl Hint for ArtifactProblem {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                "AGENT is a `.wasm` component or an agent project folder; `wasm-agent new NAME` makes one"
            }
            Self::Directory => "an agent project folder contains a `Cargo.toml`",
            Self::Empty | Self::Truncated { .. } => "build or download it again",
            Self::Text => "convert it first: `wasm-tools parse AGENT -o agent.wasm`",
            Self::Precompiled => "give the `.wasm` component it was compiled from",
            Self::CoreModule => {
                "build it for the target `wasm32-wasip2`, or in an agent project with `wasm-agent build`"
            }
            Self::NoEntryPoint { .. } => {
                "an agent exports the world `wasm-agent:agent/agent` or `wasi:cli/run` of WASI 0.2"
            }
            Self::Ask(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.into())
    }
}

#[cfg(test)]
mod tests;
