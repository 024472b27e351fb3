//! What an artifact imports and exports, and what each import needs to be of use.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::artifact::{AgentKind, Artifact};
use super::outline::{Item, ItemKind, Producer};
use crate::digest::Digest;
use crate::error::Hint;
use crate::grants::ask::Ask;

/// Name and version of the JSON form of an [`Inspection`].
pub const FORMAT: &str = "wasm-agent/inspection@1";

/// What an import needs to be of use to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// Nothing: every agent has it.
    Nothing,
    /// A directory. Without one it is there and there are no files.
    Dir,
    /// A model that may be asked. Without one the agent is not started.
    Model,
    /// An environment variable. Without one it is there and there are none.
    Env,
    /// A tool server or a tool component. Without one it is there and there are no tools.
    Tools,
    /// It is there so that programs start, every use of it is refused, and nothing can be granted.
    Denied,
    /// A host. Without one, an agent that imports it is not started: it could do nothing with it.
    Network,
    /// This host does not have it: an agent that imports it cannot start.
    Unknown,
}

impl Need {
    /// Whether an agent with such an import can be started at all.
    pub fn is_linked(self) -> bool {
        self != Self::Unknown
    }

    /// What an operator grants for it, in the words of the command line, or why nothing.
    pub fn grant(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Dir => "--dir",
            Self::Env => "--env",
            Self::Model => "--model or --allow-model",
            Self::Tools => "--mcp, --tool",
            Self::Denied => "always denied",
            Self::Network => "--allow-host",
            Self::Unknown => "this host does not have it",
        }
    }
}

/// One interface the host knows.
struct Known {
    package: &'static str,
    /// Versions of one `major.minor` are compatible; this is the one the host has.
    track: (u64, u64),
    interface: &'static str,
    need: Need,
    meaning: &'static str,
}

const fn known(
    package: &'static str,
    track: (u64, u64),
    interface: &'static str,
    need: Need,
    meaning: &'static str,
) -> Known {
    Known {
        package,
        track,
        interface,
        need,
        meaning,
    }
}

const OURS: &str = "wasm-agent:agent";
const V0_1: (u64, u64) = (0, 1);
const V0_2: (u64, u64) = (0, 2);

/// Every interface the host has, and those it knows and refuses. What the linker links has to agree; a test
/// of the linker sees to it.
#[rustfmt::skip]
const KNOWN: &[Known] = &[
    known(OURS, V0_1, "types", Need::Nothing, "types of the contract"),
    known(OURS, V0_1, "trajectory", Need::Nothing, "reports facts for the trajectory"),
    known(OURS, V0_1, "session", Need::Nothing, "asks about its run and budget, saves state, submits artifacts"),
    known(OURS, V0_1, "model", Need::Model, "asks language models"),
    known(OURS, V0_1, "tools", Need::Tools, "uses tools of servers and components"),

    known("wasi:io", V0_2, "error", Need::Nothing, "stream errors"),
    known("wasi:io", V0_2, "poll", Need::Nothing, "waits"),
    known("wasi:io", V0_2, "streams", Need::Nothing, "byte streams"),
    known("wasi:clocks", V0_2, "monotonic-clock", Need::Nothing, "measures time, sleeps"),
    known("wasi:clocks", V0_2, "wall-clock", Need::Nothing, "reads the time of day"),
    known("wasi:random", V0_2, "random", Need::Nothing, "random bytes"),
    known("wasi:random", V0_2, "insecure", Need::Nothing, "random bytes, not for secrets"),
    known("wasi:random", V0_2, "insecure-seed", Need::Nothing, "a seed for hash tables"),
    known("wasi:cli", V0_2, "environment", Need::Env, "reads its variables and arguments"),
    known("wasi:cli", V0_2, "exit", Need::Nothing, "ends itself"),
    known("wasi:cli", V0_2, "stdin", Need::Nothing, "reads its input"),
    known("wasi:cli", V0_2, "stdout", Need::Nothing, "prints; captured"),
    known("wasi:cli", V0_2, "stderr", Need::Nothing, "prints messages; captured"),
    known("wasi:cli", V0_2, "terminal-input", Need::Nothing, "asks about a terminal; there is none"),
    known("wasi:cli", V0_2, "terminal-output", Need::Nothing, "asks about a terminal; there is none"),
    known("wasi:cli", V0_2, "terminal-stdin", Need::Nothing, "asks about a terminal; there is none"),
    known("wasi:cli", V0_2, "terminal-stdout", Need::Nothing, "asks about a terminal; there is none"),
    known("wasi:cli", V0_2, "terminal-stderr", Need::Nothing, "asks about a terminal; there is none"),
    known("wasi:filesystem", V0_2, "types", Need::Dir, "reads and writes files"),
    known("wasi:filesystem", V0_2, "preopens", Need::Dir, "lists its directories"),
    known("wasi:sockets", V0_2, "network", Need::Denied, "sockets"),
    known("wasi:sockets", V0_2, "instance-network", Need::Denied, "sockets"),
    known("wasi:sockets", V0_2, "ip-name-lookup", Need::Denied, "looks up host names"),
    known("wasi:sockets", V0_2, "tcp", Need::Denied, "TCP sockets"),
    known("wasi:sockets", V0_2, "tcp-create-socket", Need::Denied, "TCP sockets"),
    known("wasi:sockets", V0_2, "udp", Need::Denied, "UDP sockets"),
    known("wasi:sockets", V0_2, "udp-create-socket", Need::Denied, "UDP sockets"),

    known("wasi:http", V0_2, "types", Need::Nothing, "puts requests together, reads responses"),
    known("wasi:http", V0_2, "outgoing-handler", Need::Network, "makes HTTP requests"),
];

/// Looks an import up: what it needs, and what it means in a few words.
fn look_up(item: &Item) -> (Need, Option<&'static str>) {
    if matches!(item.kind, ItemKind::Types | ItemKind::Type) {
        return (Need::Nothing, Some("types"));
    }
    let Some(name) = item.interface() else {
        return (Need::Unknown, None);
    };
    let found = KNOWN.iter().find(|known| {
        known.package == name.package
            && known.interface == name.interface
            && name.on_track(known.track.0, known.track.1)
    });
    match found {
        Some(known) => (known.need, Some(known.meaning)),
        None => (Need::Unknown, None),
    }
}

/// What an artifact is, as data. Its JSON form carries [`FORMAT`].
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Always [`FORMAT`].
    pub format: &'static str,
    /// The file, when it came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its size, in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// How it is called.
    pub kind: AgentKind,
    /// What it imports, and what each needs.
    pub imports: Vec<Import>,
    /// What it exports.
    pub exports: Vec<Item>,
    /// What it says it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<Ask>,
    /// The tools that made it, by its own account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub producers: Vec<Producer>,
}

/// An import and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// What is imported.
    #[serde(flatten)]
    pub item: Item,
    /// The interface without its version: `wasi:cli/environment`. Nothing for an import that is no interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The version asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it needs to be of use.
    pub need: Need,
    /// What the agent can do with it, when the host knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<&'static str>,
}

/// One line of the table a person reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The import's name.
    pub import: String,
    /// What the agent can do with it; empty when unknown.
    pub meaning: &'static str,
    /// What has to be granted for it, or why nothing can be.
    pub grant: &'static str,
}

impl Import {
    fn new(item: &Item) -> Self {
        let (need, meaning) = look_up(item);
        let name = item.interface();
        Self {
            item: item.clone(),
            interface: name.map(|name| format!("{}/{}", name.package, name.interface)),
            version: name.and_then(|name| name.version.map(str::to_owned)),
            need,
            meaning,
        }
    }
}

impl Inspection {
    /// Looks at `artifact`; nothing is compiled or run.
    pub fn of(artifact: &Artifact) -> Self {
        Self {
            format: FORMAT,
            path: artifact.path().map(Into::into),
            size: artifact.bytes().len() as u64,
            digest: artifact.digest(),
            kind: artifact.kind(),
            imports: artifact.imports().iter().map(Import::new).collect(),
            exports: artifact.exports().to_vec(),
            ask: artifact.ask().cloned(),
            producers: artifact.producers().to_vec(),
        }
    }

    /// The imports as a table, in the component's order. Single types are left out: a world that uses types
    /// of an interface imports each of them beside it.
    pub fn rows(&self) -> Vec<Row> {
        self.imports
            .iter()
            .filter(|import| import.item.kind != ItemKind::Type)
            .map(|import| Row {
                import: import.item.name.clone(),
                meaning: import.meaning.unwrap_or_default(),
                grant: import.need.grant(),
            })
            .collect()
    }
}

/// The import through which `artifact` makes HTTP requests, if it does.
pub fn makes_requests(artifact: &Artifact) -> Option<String> {
    let mut imports = artifact.imports().iter();
    imports
        .find(|item| look_up(item).0 == Need::Network)
        .map(|item| item.name.clone())
}

/// The imports of `artifact` that this host does not link. An agent that has any cannot be started.
pub fn unmet(artifact: &Artifact) -> Vec<Import> {
    let mut imports: Vec<_> = artifact.imports().iter().map(Import::new).collect();
    imports.retain(|import| !import.need.is_linked());
    imports
}

/// Whether the agent asks models: then it needs one that it may ask.
pub fn asks_models(artifact: &Artifact) -> bool {
    artifact
        .imports()
        .iter()
        .any(|import| look_up(import).0 == Need::Model)
}

/// An agent that cannot be started because of what it imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The imports, at least one.
    pub imports: Vec<Import>,
}

impl Unmet {
    /// Fails when `artifact` imports something this host does not link.
    ///
    /// # Errors
    ///
    /// The error that names each such import.
    pub fn check(artifact: &Artifact) -> Result<(), Self> {
        match unmet(artifact) {
            imports if imports.is_empty() => Ok(()),
            imports => Err(Self { imports }),
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("starting the agent: it imports ")?;
        for (at, import) in self.imports.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            let (name, why) = (&import.item.name, import.need.grant());
            write!(f, "{separator}`{name}` ({why})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unmet {}

impl Hint for Unmet {
    fn hint(&self) -> Option<String> {
        let wrong_version = self.imports.iter().find_map(|import| {
            let (package, interface) = import.interface.as_deref()?.split_once('/')?;
            KNOWN
                .iter()
                .find(|known| {
                    known.package == package
                        && known.interface == interface
                        && import.need == Need::Unknown
                })
                .map(|known| (known, package))
        });
        let text = match wrong_version {
            Some((known, package)) => format!(
                "this host has `{package}` in version {}.{}; build the agent against that",
                known.track.0, known.track.1
            ),
            None => "`wasm-agent inspect AGENT` lists its imports and what each needs".into(),
        };
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample;

    fn artifact(imports: &[&str]) -> Artifact {
        Artifact::from_bytes(sample::component(imports, &["describe", "run"])).unwrap()
    }

    #[test]
    fn each_import_says_what_it_needs() {
        let artifact = artifact(&[
            "wasm-agent:agent/trajectory@0.1.0",
            "wasi:filesystem/types@0.2.6",
            "wasi:cli/environment@0.2.12",
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.6",
            "wasi:http/types@0.3.0",
            "wasi:cli/stdout@0.3.0",
            "wasi:keyvalue/store@0.2.0",
            "wasm-agent:agent/model@0.1.0",
            "wasm-agent:agent/human@0.1.0",
            "plain",
        ]);
        let inspection = Inspection::of(&artifact);
        let needs: Vec<_> = inspection
            .imports
            .iter()
            .map(|import| import.need)
            .collect();
        use Need::{Denied, Dir, Env, Model, Network, Nothing, Unknown};
        assert_eq!(
            needs,
            [
                Nothing, Dir, Env, Denied, Network, Unknown, Unknown, Unknown, Model, Unknown,
                Unknown
            ]
        );
        assert_eq!(inspection.rows()[1].grant, "--dir");
        assert_eq!(inspection.imports[1].version.as_deref(), Some("0.2.6"));

        let error = Unmet::check(&artifact).unwrap_err();
        assert_eq!(error.imports.len(), 5);
        let text = error.to_string();
        for import in &error.imports {
            assert!(text.contains(&import.item.name), "{text}");
        }
        assert!(error.hint().unwrap().contains("`wasi:http` in version 0.2"));
    }

    /// What the table calls linked is what WASI's linker has, and nothing else is.
    #[test]
    fn the_table_agrees_with_the_linker() {
        struct State(wasmtime_wasi::WasiCtx, wasmtime::component::ResourceTable);
        impl wasmtime_wasi::WasiView for State {
            fn ctx(&mut self) -> wasmtime_wasi::WasiCtxView<'_> {
                wasmtime_wasi::WasiCtxView {
                    ctx: &mut self.0,
                    table: &mut self.1,
                }
            }
        }
        impl wasmtime_wasi_http::WasiHttpView for State {
            fn http(&mut self) -> wasmtime_wasi_http::WasiHttpCtxView<'_> {
                unreachable!("nothing is called")
            }
        }
        /// One thing of each interface that is not simply called after it.
        const ITEMS: &[(&str, &str)] = &[
            ("error", "[method]error.to-debug-string"),
            ("streams", "[method]input-stream.read"),
            ("monotonic-clock", "now"),
            ("wall-clock", "now"),
            ("random", "get-random-bytes"),
            ("insecure", "get-insecure-random-bytes"),
            ("environment", "get-environment"),
            ("stdin", "get-stdin"),
            ("stdout", "get-stdout"),
            ("stderr", "get-stderr"),
            ("terminal-stdin", "get-terminal-stdin"),
            ("terminal-stdout", "get-terminal-stdout"),
            ("terminal-stderr", "get-terminal-stderr"),
            ("wasi:http/types", "http-error-code"),
            ("types", "filesystem-error-code"),
            ("outgoing-handler", "handle"),
            ("preopens", "get-directories"),
            ("ip-name-lookup", "resolve-addresses"),
            ("tcp", "tcp-socket"),
            ("tcp-create-socket", "create-tcp-socket"),
            ("udp", "udp-socket"),
            ("udp-create-socket", "create-udp-socket"),
        ];

        let engine = wasmtime::Engine::new(&wasmtime::Config::new()).unwrap();
        let mut linker = wasmtime::component::Linker::<State>::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
        for known in KNOWN.iter().filter(|known| known.package != OURS) {
            let path = format!("{}/{}", known.package, known.interface);
            let named = ITEMS.iter().find(|item| item.0 == path);
            let named = named.or_else(|| ITEMS.iter().find(|item| item.0 == known.interface));
            let item = named.map_or(known.interface, |item| item.1);
            let instance = format!("{}/{}@0.2.12", known.package, known.interface);
            // Nothing can be defined twice: what cannot be defined is there.
            let mut instance = linker.instance(&instance).unwrap();
            let is_there = instance.func_wrap(item, |_, (): ()| Ok(())).is_err();
            assert_eq!(is_there, known.need.is_linked(), "{}", known.interface);
        }
    }

    #[test]
    fn an_agent_that_imports_what_there_is_can_start() {
        let artifact = artifact(&["wasm-agent:agent/session@0.1.9", "wasi:io/poll@0.2.99"]);
        assert_eq!(Unmet::check(&artifact), Ok(()));
    }

    #[test]
    fn an_interface_of_types_needs_no_host() {
        use crate::engine::{Allocation, Cache, Engine, Profile};
        let artifact = Artifact::from_bytes(sample::importing_types("my:own/types@1.0.0")).unwrap();
        assert_eq!(Unmet::check(&artifact), Ok(()));
        let kinds: Vec<_> = artifact.imports().iter().map(|item| item.kind).collect();
        assert_eq!(kinds, [ItemKind::Types, ItemKind::Type]);
        assert_eq!(Inspection::of(&artifact).rows().len(), 1);
        // The linker says so too.
        let engine = Engine::new(Profile::Live, Allocation::OnDemand).unwrap();
        let component = engine.load(&artifact, &Cache::disabled()).unwrap();
        let linker = wasmtime::component::Linker::<()>::new(engine.wasmtime());
        assert!(linker.instantiate_pre(&component).is_ok());
    }

    #[test]
    fn the_json_form_carries_its_format() {
        let json =
            serde_json::to_value(Inspection::of(&artifact(&["wasi:io/poll@0.2.0"]))).unwrap();
        assert_eq!(json["format"], FORMAT);
        assert_eq!(json["kind"], "agent");
        assert_eq!(
            json["imports"][0],
            serde_json::json!({
                "name": "wasi:io/poll@0.2.0", "kind": "interface", "interface": "wasi:io/poll",
                "version": "0.2.0", "need": "nothing", "meaning": "waits",
            })
        );
    }
}
