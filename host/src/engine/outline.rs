//! The outermost level of a component, read without looking at what is nested in it.

use serde::Serialize;
use wasmparser::{
    Chunk, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    ComponentTypeRef, ComponentTypeSectionReader, CustomSectionReader, Encoding,
    InstanceTypeDeclaration, Parser, Payload, TypeBounds,
};

use super::artifact::ArtifactProblem;
use crate::grants::ask::{Ask, AskError, SECTION};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Imports and exports a component may have on its outermost level. Those of the largest worlds are below 100.
pub(super) const MAX_ITEMS: usize = 4096;

/// Components a component may be nested in. Composing tools make two or three levels.
pub(super) const MAX_COMPONENT_NESTING: usize = 32;

/// Types a type may be nested in. Far more than wasmparser's own limit of 100, because they are not counted
/// exactly, and what is counted by chance must never be too much.
pub(super) const MAX_TYPE_NESTING: usize = 5_000;

/// Types may be nested this much where they are read on the caller's stack, whatever that is.
const READ_NESTING: usize = 100;

/// Types on the outermost level; the compiler has the same limit.
const MAX_TYPES: usize = 1_000_000;

/// Longest name that is kept of an import, export or producer, in bytes.
pub(super) const MAX_NAME: usize = 512;

/// Producers that are kept; they are for display only.
const MAX_PRODUCERS: usize = 32;

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
    /// An instance of an interface that has only types: as an import it needs nothing of the host.
    Types,
    /// A type; as an import, one that is known from another import and needs nothing of the host.
    Type,
    /// A type of its own, whose values only its maker can look into.
    Resource,
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

/// What the outermost level of a component says.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline {
    pub(super) imports: Vec<Item>,
    pub(super) exports: Vec<Item>,
    pub(super) ask: Option<Ask>,
    pub(super) producers: Vec<Producer>,
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

impl Outline {
    /// Reads the outline of a component.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ArtifactProblem> {
        if let Some(problem) = foreign(bytes) {
            return Err(problem);
        }
        check_nesting(bytes)?;
        let mut outline = Outline::default();
        let mut types = Types::default();
        for section in TopLevel::new(bytes) {
            let section = section?;
            let bytes = bytes.get(section.range).unwrap_or_default();
            match section.payload {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } => return Err(ArtifactProblem::CoreModule),
                Payload::ComponentTypeSection(section) => types.define(section, nesting(bytes))?,
                Payload::ComponentAliasSection(aliases) => {
                    for alias in aliases {
                        if is_alias_of_type(&alias?) {
                            types.push(TypeShape::Other)?;
                        }
                    }
                }
                Payload::ComponentImportSection(imports) => {
                    for import in imports {
                        let import = import?;
                        let kind = types.import_kind(import.ty);
                        if matches!(kind, ItemKind::Type | ItemKind::Resource) {
                            types.push(TypeShape::Other)?;
                        }
                        push(&mut outline.imports, import.name.name, kind)?;
                    }
                }
                Payload::ComponentExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        let kind = export_kind(export.kind);
                        if kind == ItemKind::Type {
                            types.push(TypeShape::Other)?;
                        }
                        push(&mut outline.exports, export.name.name, kind)?;
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
}

/// Refuses a component whose types or components are nested so deeply that reading it would overflow the
/// stack, which ends the process. wasmparser limits the depth of a type only after having read it.
fn check_nesting(bytes: &[u8]) -> Result<(), ArtifactProblem> {
    // An own stack of what is still to be looked at, because this must not recurse itself.
    let mut open = vec![(0, bytes)];
    if down(Wall::Nesting) {
        return Ok(());
    }
    while let Some((depth, component)) = open.pop() {
        if depth > MAX_COMPONENT_NESTING {
            return Err(ArtifactProblem::TooDeep);
        }
        for section in TopLevel::new(component) {
            let section = section?;
            let bytes = component.get(section.range).unwrap_or_default();
            match section.payload {
                Payload::ComponentTypeSection(_) if nesting(bytes) > MAX_TYPE_NESTING => {
                    return Err(ArtifactProblem::TooDeep);
                }
                Payload::ComponentSection {
                    unchecked_range, ..
                } => {
                    let header = bytes.len().saturating_sub(unchecked_range.len());
                    open.push((depth + 1, bytes.get(header..).unwrap_or_default()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// No less than the depth of the types in a type section. A type within a type is a declaration of the kind
/// 1 that starts with the byte of a component or instance type; counting these pairs wherever they are
/// counts more than there is, and never less.
fn nesting(section: &[u8]) -> usize {
    let pairs = section.windows(2);
    pairs
        .filter(|pair| matches!(pair, [1, 0x41 | 0x42]))
        .count()
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

/// What matters here of a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TypeShape {
    /// An interface of nothing but types. The linker wants nothing for it.
    OnlyTypes,
    Other,
}

/// The types of the outermost level, by their index.
#[derive(Default)]
struct Types(Vec<TypeShape>);

impl Types {
    fn push(&mut self, shape: TypeShape) -> Result<(), ArtifactProblem> {
        if self.0.len() == MAX_TYPES {
            return Err(ArtifactProblem::TooManyItems { max: MAX_TYPES });
        }
        self.0.push(shape);
        Ok(())
    }

    /// Adds the types of a section. Where they may be `nesting` deep beyond what any stack can take, they
    /// are counted and not read.
    fn define(
        &mut self,
        section: ComponentTypeSectionReader<'_>,
        nesting: usize,
    ) -> Result<(), ArtifactProblem> {
        if nesting > READ_NESTING {
            return (0..section.count()).try_for_each(|_| self.push(TypeShape::Other));
        }
        for ty in section {
            let shape = match ty? {
                ComponentType::Instance(declarations)
                    if !declarations.iter().any(needs_definition) =>
                {
                    TypeShape::OnlyTypes
                }
                _ => TypeShape::Other,
            };
            self.push(shape)?;
        }
        Ok(())
    }

    fn import_kind(&self, ty: ComponentTypeRef) -> ItemKind {
        match ty {
            ComponentTypeRef::Module(_) => ItemKind::Module,
            ComponentTypeRef::Func(_) => ItemKind::Function,
            ComponentTypeRef::Value(_) => ItemKind::Value,
            ComponentTypeRef::Type(TypeBounds::Eq(_)) => ItemKind::Type,
            ComponentTypeRef::Type(TypeBounds::SubResource) => ItemKind::Resource,
            ComponentTypeRef::Instance(index) => {
                let shape = usize::try_from(index)
                    .ok()
                    .and_then(|index| self.0.get(index));
                match shape {
                    Some(TypeShape::OnlyTypes) => ItemKind::Types,
                    _ => ItemKind::Interface,
                }
            }
            ComponentTypeRef::Component(_) => ItemKind::Component,
        }
    }
}

/// Whether a declaration of an interface is something a host has to provide: not a type, unless it is a
/// resource.
fn needs_definition(declaration: &InstanceTypeDeclaration<'_>) -> bool {
    match declaration {
        InstanceTypeDeclaration::Export { ty, .. } => {
            !matches!(ty, ComponentTypeRef::Type(TypeBounds::Eq(_)))
        }
        _ => false,
    }
}

fn is_alias_of_type(alias: &ComponentAlias<'_>) -> bool {
    matches!(
        alias,
        ComponentAlias::InstanceExport {
            kind: ComponentExternalKind::Type,
            ..
        } | ComponentAlias::Outer {
            kind: ComponentOuterAliasKind::Type,
            ..
        }
    )
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
