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
use wasmparser::{
    Chunk, ComponentExternalKind, ComponentTypeRef, CustomSectionReader, Encoding, Parser, Payload,
};

use crate::digest::Digest;
use crate::error::Hint;
use crate::grants::ask::{Ask, AskError, SECTION};

/// Greatest component read when the caller names no other limit, in bytes. The largest agents seen carry a
/// whole Python or JavaScript engine and have 25 MB; compiling takes about 0.3 s a megabyte.
pub const MAX_ARTIFACT: u64 = 128 << 20;

/// Imports and exports a component may have on its outermost level. Those of the largest worlds are below 100.
const MAX_ITEMS: usize = 4096;

/// Longest name that is kept of an import, export or producer, in bytes.
const MAX_NAME: usize = 512;

/// Producers that are kept; they are for display only.
const MAX_PRODUCERS: usize = 32;

/// A component that could be an agent.
#[derive(Clone, Debug)]
pub struct Artifact {
    path: Option<PathBuf>,
    bytes: Vec<u8>,
    digest: Digest,
    kind: AgentKind,
    outline: Outline,
}

/// What the outermost level of a component says.
#[derive(Clone, Debug, Default)]
struct Outline {
    imports: Vec<Item>,
    exports: Vec<Item>,
    ask: Option<Ask>,
    producers: Vec<Producer>,
}

/// How an agent is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// It exports `describe` and `run` of the world `wasm-agent:agent/agent`.
    Agent,
    /// It exports `wasi:cli/run@0.2.x`; it speaks AVP's stdio binding.
    Command,
}

/// An import or export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its name, for an interface as `namespace:package/interface@version`.
    pub name: String,
    /// What it is.
    pub kind: ItemKind,
}

/// What an import or export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// A function.
    Function,
    /// An instance of an interface.
    Interface,
    /// A type.
    Type,
    /// A value.
    Value,
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// A tool that took part in making the component, by its own account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Producer {
    /// The part it had: `language`, `processed-by` or `sdk`.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The parts of an interface's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceName<'a> {
    /// `wasi:filesystem` in `wasi:filesystem/types@0.2.6`.
    pub package: &'a str,
    /// `types` in `wasi:filesystem/types@0.2.6`.
    pub interface: &'a str,
    /// `0.2.6` in `wasi:filesystem/types@0.2.6`.
    pub version: Option<&'a str>,
}

impl Item {
    /// The parts of the name, when it names an interface of a package.
    pub fn interface(&self) -> Option<InterfaceName<'_>> {
        let (path, version) = match self.name.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (self.name.as_str(), None),
        };
        let (package, interface) = path.split_once('/')?;
        package.contains(':').then_some(InterfaceName {
            package,
            interface,
            version,
        })
    }
}

impl InterfaceName<'_> {
    /// Whether a host that has `major.minor.x` of the package satisfies this name. That is how the linker
    /// matches: any release of one compatibility track stands for any other, a pre-release only for itself.
    pub fn on_track(&self, major: u64, minor: u64) -> bool {
        let parts = self.version.unwrap_or_default().split('.');
        let numbers: Option<Vec<u64>> = parts
            .map(|part| {
                let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
                is_number.then(|| part.parse().ok()).flatten()
            })
            .collect();
        matches!(numbers.as_deref(), Some([a, b, _]) if (*a, *b) == (major, minor))
    }
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
        let outline = read_outline(&bytes).map_err(|problem| ArtifactError {
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
    if function("describe") && function("run") {
        Some(AgentKind::Agent)
    } else if command() {
        Some(AgentKind::Command)
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

/// Says what bytes are that do not start like a WebAssembly binary.
fn foreign(bytes: &[u8]) -> Option<ArtifactProblem> {
    const MAGIC: &[u8] = b"\0asm";
    if bytes.is_empty() {
        Some(ArtifactProblem::Empty)
    } else if bytes.starts_with(MAGIC) {
        None
    } else if MAGIC.starts_with(bytes) {
        Some(ArtifactProblem::Truncated { at: bytes.len() })
    } else if bytes.starts_with(b"\x7fELF") {
        Some(ArtifactProblem::Precompiled)
    } else if matches!(bytes.trim_ascii_start(), [b'(', ..] | [b';', b';', ..]) {
        Some(ArtifactProblem::Text)
    } else {
        Some(ArtifactProblem::NotWasm)
    }
}

fn read_outline(bytes: &[u8]) -> Result<Outline, ArtifactProblem> {
    if let Some(problem) = foreign(bytes) {
        return Err(problem);
    }
    let mut outline = Outline::default();
    for section in TopLevel::new(bytes) {
        match section?.payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } => return Err(ArtifactProblem::CoreModule),
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    push(
                        &mut outline.imports,
                        import.name.name,
                        import_kind(import.ty),
                    )?;
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    push(
                        &mut outline.exports,
                        export.name.name,
                        export_kind(export.kind),
                    )?;
                }
            }
            Payload::CustomSection(section) if section.name() == SECTION => {
                if outline.ask.is_some() {
                    return Err(ArtifactProblem::Ask(AskError::Repeated));
                }
                outline.ask = Some(Ask::parse(section.data())?);
            }
            Payload::CustomSection(section) if section.name() == "producers" => {
                read_producers(&section, &mut outline.producers);
            }
            _ => {}
        }
    }
    Ok(outline)
}

fn push(items: &mut Vec<Item>, name: &str, kind: ItemKind) -> Result<(), ArtifactProblem> {
    if items.len() == MAX_ITEMS {
        return Err(ArtifactProblem::TooManyItems { max: MAX_ITEMS });
    }
    // A valid name is printable ASCII. What is not reaches a terminal before the compiler can refuse it.
    if name.len() > MAX_NAME || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ArtifactProblem::BadName);
    }
    items.push(Item {
        name: name.to_owned(),
        kind,
    });
    Ok(())
}

fn import_kind(ty: ComponentTypeRef) -> ItemKind {
    match ty {
        ComponentTypeRef::Module(_) => ItemKind::Module,
        ComponentTypeRef::Func(_) => ItemKind::Function,
        ComponentTypeRef::Value(_) => ItemKind::Value,
        ComponentTypeRef::Type(_) => ItemKind::Type,
        ComponentTypeRef::Instance(_) => ItemKind::Interface,
        ComponentTypeRef::Component(_) => ItemKind::Component,
    }
}

fn export_kind(kind: ComponentExternalKind) -> ItemKind {
    match kind {
        ComponentExternalKind::Module => ItemKind::Module,
        ComponentExternalKind::Func => ItemKind::Function,
        ComponentExternalKind::Value => ItemKind::Value,
        ComponentExternalKind::Type => ItemKind::Type,
        ComponentExternalKind::Instance => ItemKind::Interface,
        ComponentExternalKind::Component => ItemKind::Component,
    }
}

/// Keeps what can be read of a `producers` section. It is a courtesy: nothing depends on it, so that a
/// malformed one is passed over.
fn read_producers(section: &CustomSectionReader<'_>, producers: &mut Vec<Producer>) {
    let wasmparser::KnownCustom::Producers(fields) = section.as_known() else {
        return;
    };
    let display = |text: &str| {
        let mut kept = String::new();
        for char in text.chars().filter(|char| !char.is_control()) {
            if kept.len() + char.len_utf8() > MAX_NAME {
                break;
            }
            kept.push(char);
        }
        kept
    };
    for field in fields.into_iter().map_while(Result::ok) {
        for value in field.values.into_iter().map_while(Result::ok) {
            if producers.len() == MAX_PRODUCERS {
                return;
            }
            producers.push(Producer {
                role: display(field.name),
                name: display(value.name),
                version: display(value.version),
            });
        }
    }
}

/// One section of the outermost level.
pub(crate) struct Section<'a> {
    /// Its place in the bytes, header included; for a nested module or component, all of it.
    pub(crate) range: std::ops::Range<usize>,
    pub(crate) payload: Payload<'a>,
}

/// The sections of the outermost level, in order. Ends after an error.
pub(crate) struct TopLevel<'a> {
    bytes: &'a [u8],
    at: usize,
    parser: Option<Parser>,
}

impl<'a> TopLevel<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            parser: Some(Parser::new(0)),
        }
    }

    fn step(&mut self, mut parser: Parser) -> Result<Option<Section<'a>>, ArtifactProblem> {
        let truncated = ArtifactProblem::Truncated {
            at: self.bytes.len(),
        };
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        // Between two sections is the only place to end. Anywhere else the parser asks for more, which is
        // how a download that broke off is told from nonsense.
        let (consumed, payload) = match parser.parse(rest, rest.is_empty())? {
            Chunk::Parsed { consumed, payload } => (consumed, payload),
            Chunk::NeedMoreData(_) => return Err(truncated),
        };
        let nested = match &payload {
            Payload::ModuleSection {
                unchecked_range, ..
            }
            | Payload::ComponentSection {
                unchecked_range, ..
            } => unchecked_range.len(),
            Payload::End(_) => return Ok(None),
            _ => 0,
        };
        let start = self.at;
        let end = start.saturating_add(consumed).saturating_add(nested);
        if end > self.bytes.len() {
            return Err(truncated);
        }
        self.at = end;
        self.parser = Some(parser);
        Ok(Some(Section {
            range: start..end,
            payload,
        }))
    }
}

impl<'a> Iterator for TopLevel<'a> {
    type Item = Result<Section<'a>, ArtifactProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let parser = self.parser.take()?;
        self.step(parser).transpose()
    }
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
