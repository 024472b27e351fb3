//! Tools the operator granted: MCP servers, and components that are tools.
//!
//! Servers are connected to before a run starts, and its tools are those they have then. What is offered
//! (`opened.rs`) is apart from how it is reached: a replay has only the one. Nothing here knows a guest;
//! `capabilities/tools.rs` does.

mod catalog;
pub mod component;
mod mcp;
mod names;
mod opened;
pub(crate) mod plan;
pub mod result;
pub(crate) mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rmcp::model::{Prompt, PromptMessage, Resource, ResourceContents};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use self::catalog::{Catalog, Entry, Refusal, RunBy};
use self::mcp::Connection;
use self::opened::{Dialled, Link, OpenedServer, not_granted};
use self::watch::Watch;
use crate::capabilities::meters::LimitHit;
use crate::commission::{Body, McpServer};
use crate::descriptor::{DialStatus, McpServerDecl, ToolDecl};
use crate::grants::{Grants, Limits, ServerSpec};
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;
use crate::trajectory::used::ToolFrom;
use crate::trajectory::{Audit, Use};

pub(crate) use catalog::Described;
pub use component::{Component, ComponentError};
pub(crate) use opened::{Connector, Links, Opened, asked};
pub use result::{Output, Piece};

/// What the agent is told of a call that was under way when its run was ended, as it stands on a tape.
pub(crate) fn in_doubt(_kind: &str) -> Value {
    let told = "the run was ended while this call was under way; whether it was done is not known";
    let came: Result<Output, _> = Err(CallError::Unavailable(told.to_owned()));
    serde_json::to_value(came).unwrap_or_default()
}

/// Calls that are made at the same time, at most.
pub(crate) const MAX_PARALLEL: usize = 16;

/// Why a server is not reached in a run that reaches nobody.
const NOBODY: &str = "a replay reaches nobody";

/// Why a call has no result of its tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum CallError {
    /// No granted tool or server has this name.
    #[error("there is no tool or server `{0}` in this run")]
    Unknown(String),
    /// The arguments are not what the tool takes, or not what the operator allows.
    #[error("{0}")]
    InvalidArguments(String),
    /// The operator has not granted it.
    #[error("`{subject}` is not granted: {rule}")]
    Denied {
        /// What was asked for.
        subject: String,
        /// The rule that decided.
        rule: String,
    },
    /// A limit of the run is reached.
    #[error("limit `{}` is reached ({})", .0.name, .0.max)]
    Limit(LimitHit),
    /// It took too long; milliseconds.
    #[error("the tool took longer than {0} ms")]
    TimedOut(u64),
    /// The server is gone, or what it answered is no answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The tools of a run, and those who run them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Toolbox {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    servers: Vec<Server>,
    components: Vec<Loadable>,
    /// Nothing where nothing may be reached.
    connector: Option<Connector>,
    catalog: Catalog,
    watch: Option<Watch>,
    limits: Limits,
    calls: AtomicU64,
}

struct Loadable {
    name: String,
    /// Loaded when it is first called, in a run that has been told already what it offers.
    component: OnceCell<Result<Component, String>>,
}

struct Server {
    id: String,
    timeout_ms: Option<u64>,
    /// What it says of itself, or why it cannot be used, in words.
    offer: Result<Said, String>,
    /// Connected to when it is first needed, in a run that has been told already what it offers.
    link: OnceCell<Result<Link, String>>,
}

/// What a server says of itself.
#[derive(Clone, Default)]
struct Said {
    title: Option<String>,
    instructions: Option<String>,
}

/// What a toolbox is made of.
pub(crate) struct Parts<'a> {
    /// What the operator says of each server, in order.
    pub(crate) specs: Vec<ServerSpec>,
    /// What came of connecting to them.
    pub(crate) opened: Opened,
    /// The connections, where there are some already.
    pub(crate) links: Option<Links>,
    /// How they are reached otherwise; nothing in a replay.
    pub(crate) connector: Option<Connector>,
    /// Who is told of servers.
    pub(crate) watch: Watch,
    /// Limits of the run.
    pub(crate) limits: &'a Limits,
    /// Names of the agent's own tools.
    pub(crate) own: Vec<String>,
}

/// A call that may be made.
pub struct Ready {
    entry: Arc<Entry>,
    arguments: Map<String, Value>,
}

/// A server, for those who want to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// Its id.
    pub id: String,
    /// Whether it answers.
    pub connected: bool,
    /// Its own name and version.
    pub title: Option<String>,
    /// How to use it, in its own words.
    pub instructions: Option<String>,
}

/// Servers that cannot be used, and why.
pub type Failures = Vec<(String, String)>;

impl Toolbox {
    /// No tools at all. The servers that are wanted are there as failed, with this reason.
    #[must_use]
    pub fn without(reason: &str, grants: &Grants, commission: &Body) -> Toolbox {
        let own = grants.tools.servers.iter().map(|spec| spec.id.as_str());
        let handed = commission.mcp_servers.iter().map(McpServer::id);
        let servers = own.chain(handed).map(|id| Server {
            id: id.to_owned(),
            timeout_ms: None,
            offer: Err(reason.to_owned()),
            link: OnceCell::new(),
        });
        Toolbox {
            inner: Arc::new(Inner {
                servers: servers.collect(),
                limits: grants.limits.clone(),
                ..Inner::default()
            }),
        }
    }

    /// The tools of a run: those that are offered, as far as they are granted.
    pub(crate) async fn new(parts: Parts<'_>) -> Toolbox {
        let Parts {
            specs,
            opened,
            links,
            connector,
            watch,
            limits,
            own,
        } = parts;
        let is_live = links.is_some();
        let links = links.unwrap_or_default();
        let mut catalog = Catalog::new(limits.tools, own.into_iter());
        let mut servers = Vec::with_capacity(specs.len());
        let mut opened_servers = opened.servers.into_iter();
        let mut links_of_servers = links.servers.into_iter();
        for spec in specs {
            let opened = opened_servers.next();
            let link = links_of_servers.next().flatten();
            let place = RunBy::Server(servers.len());
            let offer = offered(&mut catalog, &spec, place, opened, &watch);
            match (&offer, is_live) {
                (_, false) => {}
                (Ok(said), true) => {
                    watch.server(
                        &spec.id,
                        "connected",
                        said.title.clone().unwrap_or_default(),
                    );
                }
                (Err(reason), true) => watch.server(&spec.id, "failed", reason.clone()),
            }
            let link = match (link, &offer) {
                (Some(link), Ok(_)) => OnceCell::new_with(Some(Ok(link))),
                (Some(link), Err(_)) => {
                    link.connection.close().await;
                    OnceCell::new()
                }
                (None, _) => OnceCell::new(),
            };
            servers.push(Server {
                timeout_ms: spec.timeout_ms(),
                id: spec.id,
                offer,
                link,
            });
        }
        let mut components = Vec::with_capacity(opened.components.len());
        let mut loaded = links.components.into_iter();
        for component in opened.components {
            let spec = ServerSpec {
                id: component.name,
                ..ServerSpec::default()
            };
            let place = RunBy::Component(components.len());
            match catalog.add(&spec, place, component.tools) {
                Ok(left_out) => tell_left_out(&watch, &spec.id, &left_out),
                Err(reason) => watch.server(&spec.id, "failed", reason),
            }
            components.push(Loadable {
                name: spec.id,
                component: OnceCell::new_with(loaded.next().map(Ok)),
            });
        }
        Toolbox {
            inner: Arc::new(Inner {
                servers,
                components,
                connector,
                catalog,
                watch: Some(watch),
                limits: limits.clone(),
                calls: AtomicU64::new(0),
            }),
        }
    }

    /// The tools as `agent_started` and a model see them.
    #[must_use]
    pub fn decls(&self) -> Vec<ToolDecl> {
        let entries = self.inner.catalog.entries().iter();
        entries.map(|entry| entry.decl.clone()).collect()
    }

    /// The tools, and whether each says that it changes nothing.
    pub fn offered(&self) -> impl Iterator<Item = (&ToolDecl, bool)> {
        let entries = self.inner.catalog.entries().iter();
        entries.map(|entry| (&entry.decl, entry.read_only))
    }

    /// The servers as `agent_started` lists them.
    #[must_use]
    pub fn server_decls(&self) -> Vec<McpServerDecl> {
        let servers = self.inner.servers.iter();
        let decl = |server: &Server| McpServerDecl {
            id: server.id.clone(),
            name: server.offer.as_ref().ok().and_then(|it| it.title.clone()),
            status: Some(match server.offer {
                Ok(_) => DialStatus::Connected,
                Err(_) => DialStatus::Failed,
            }),
            ..McpServerDecl::default()
        };
        servers.map(decl).collect()
    }

    /// Which of the servers answer, as far as is known.
    #[must_use]
    pub fn connected(&self) -> Vec<bool> {
        let connected = |server: &Server| match server.link.get() {
            Some(Ok(link)) => link.connection.is_open(),
            Some(Err(_)) => false,
            None => server.offer.is_ok(),
        };
        self.inner.servers.iter().map(connected).collect()
    }

    /// The servers, with which of them answer.
    #[must_use]
    pub fn servers(&self, connected: &[bool]) -> Vec<ServerState> {
        let connected = connected.iter().copied().chain(std::iter::repeat(false));
        let state = |(server, connected): (&Server, bool)| {
            let said = server.offer.as_ref().ok();
            ServerState {
                id: server.id.clone(),
                connected,
                title: said.and_then(|it| it.title.clone()),
                instructions: said.and_then(|it| it.instructions.clone()),
            }
        };
        self.inner
            .servers
            .iter()
            .zip(connected)
            .map(state)
            .collect()
    }

    /// The servers that cannot be used, and why.
    #[must_use]
    pub fn failures(&self) -> Failures {
        let failed = |server: &Server| match &server.offer {
            Ok(_) => None,
            Err(reason) => Some((server.id.clone(), reason.clone())),
        };
        self.inner.servers.iter().filter_map(failed).collect()
    }

    /// Whether calls of this tool may be made at the same time as others.
    #[must_use]
    pub fn is_parallel(&self, name: &str) -> bool {
        let entry = self.inner.catalog.find(name);
        entry.is_some_and(|entry| entry.read_only)
    }

    /// Checks whether a call may be made: that the tool is granted, its arguments, and how many calls there
    /// have been. A refusal is on record when this returns.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub async fn prepare(&self, name: &str, arguments: Value) -> Result<Ready, CallError> {
        let Some(entry) = self.inner.catalog.find(name) else {
            let refused = self.refused(name);
            return Err(refused.unwrap_or_else(|| CallError::Unknown(name.to_owned())));
        };
        let Value::Object(arguments) = arguments else {
            let text = "the arguments are not a JSON object";
            return Err(CallError::InvalidArguments(text.to_owned()));
        };
        match entry.check(&arguments).await {
            Ok(()) => {}
            Err(Refusal::Invalid(error)) => return Err(error),
            Err(Refusal::Narrowed(error)) => {
                let subject = format!("arguments of {name}");
                let _ = self.denied(subject, error.to_string());
                return Err(error);
            }
        }
        let max = sabotage::limit(Wall::ToolCalls, self.inner.limits.tool_calls);
        if self.inner.calls.fetch_add(1, Ordering::Relaxed) >= max {
            let name = "tool-calls";
            self.note(Audit::Limit { name, max });
            return Err(CallError::Limit(LimitHit { name, max }));
        }
        self.used(entry);
        Ok(Ready {
            entry: entry.clone(),
            arguments,
        })
    }

    /// The refusal of a tool that is there and not granted, on record when this returns.
    #[must_use]
    pub fn refused(&self, name: &str) -> Option<CallError> {
        let hidden = self.inner.catalog.hidden(name)?;
        let subject = format!("tool {} of {}", hidden.tool, hidden.server);
        let rule = "it is not among the granted `tools` of its server";
        Some(self.denied(subject, rule.to_owned()))
    }

    /// Makes a call. What it gives is within the limit `tool-result-bytes`.
    ///
    /// # Errors
    ///
    /// The time is over, or there is no answer.
    pub async fn call(&self, ready: &Ready) -> Result<Output, CallError> {
        let Ready { entry, arguments } = ready;
        let arguments = arguments.clone();
        let output = match entry.run_by {
            RunBy::Server(place) => {
                let (link, time) = self.link(place, &entry.decl.name).await?;
                if !link.names.contains(&entry.own_name) {
                    let gone = format!("the server has no tool `{}` any more", entry.own_name);
                    return Err(CallError::Unavailable(gone));
                }
                let connection = &link.connection;
                connection
                    .call(&entry.own_name, arguments, time)
                    .await?
                    .into()
            }
            RunBy::Component(place) => {
                let component = self.component(place, &entry.decl.name).await?;
                let time = Duration::from_millis(self.inner.limits.tool_call);
                component.call(&entry.own_name, arguments, time).await?
            }
        };
        let limits = &self.inner.limits;
        let max = limits.tool_result_bytes.min(limits.event_bytes);
        Ok(output.within(sabotage::limit(Wall::ToolResult, max)))
    }

    /// Resources of a server.
    ///
    /// # Errors
    ///
    /// There is no such server, or it does not answer.
    pub async fn resources(&self, server: &str) -> Result<Vec<Resource>, CallError> {
        let (connection, time) = self.server(server).await?;
        in_all(time, connection.resources(time)).await
    }

    /// Reads a resource.
    ///
    /// # Errors
    ///
    /// As [`Toolbox::resources`].
    pub async fn read(&self, server: &str, uri: &str) -> Result<Vec<ResourceContents>, CallError> {
        let (connection, time) = self.server(server).await?;
        Ok(connection.read(uri, time).await?.contents)
    }

    /// Prompts of a server.
    ///
    /// # Errors
    ///
    /// As [`Toolbox::resources`].
    pub async fn prompts(&self, server: &str) -> Result<Vec<Prompt>, CallError> {
        let (connection, time) = self.server(server).await?;
        in_all(time, connection.prompts(time)).await
    }

    /// Fills in a prompt.
    ///
    /// # Errors
    ///
    /// As [`Toolbox::resources`].
    pub async fn prompt(
        &self,
        server: &str,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<Vec<PromptMessage>, CallError> {
        let (connection, time) = self.server(server).await?;
        Ok(connection.prompt(name, arguments, time).await?.messages)
    }

    /// Closes every connection, all at once, and ends the servers the host has started. Bounded.
    pub async fn close(&self) {
        let open = self.inner.servers.iter();
        let open = open.filter_map(|server| server.link.get()?.as_ref().ok());
        join_all(open.map(|link| link.connection.close())).await;
    }

    async fn server(&self, id: &str) -> Result<(&Connection, Duration), CallError> {
        let place = self.inner.servers.iter().position(|it| it.id == id);
        let place = place.ok_or_else(|| CallError::Unknown(id.to_owned()))?;
        let (link, time) = self.link(place, id).await?;
        if let Some(watch) = &self.inner.watch {
            watch.used(Use::Server(id));
        }
        Ok((&link.connection, time))
    }

    /// The connection to a server, which is made now unless there is one.
    async fn link(&self, place: usize, name: &str) -> Result<(&Link, Duration), CallError> {
        let unknown = || CallError::Unknown(name.to_owned());
        let server = self.inner.servers.get(place).ok_or_else(unknown)?;
        if let Err(reason) = &server.offer {
            return Err(CallError::Unavailable(reason.clone()));
        }
        let link = server.link.get_or_init(|| async {
            match &self.inner.connector {
                Some(connector) => connector.link(place).await,
                None => Err(NOBODY.to_owned()),
            }
        });
        match link.await {
            Ok(link) => Ok((link, self.time(server))),
            Err(reason) => Err(CallError::Unavailable(reason.clone())),
        }
    }

    /// A component, which is loaded now unless it is already.
    async fn component(&self, place: usize, name: &str) -> Result<&Component, CallError> {
        let unknown = || CallError::Unknown(name.to_owned());
        let component = self.inner.components.get(place).ok_or_else(unknown)?;
        let component = component.component.get_or_init(|| async {
            match &self.inner.connector {
                Some(connector) => connector.component(place).await,
                None => Err(NOBODY.to_owned()),
            }
        });
        match component.await {
            Ok(component) => Ok(component),
            Err(reason) => Err(CallError::Unavailable(reason.clone())),
        }
    }

    fn time(&self, server: &Server) -> Duration {
        let millis = server.timeout_ms.unwrap_or(self.inner.limits.tool_call);
        Duration::from_millis(millis)
    }

    fn denied(&self, subject: String, rule: String) -> CallError {
        self.note(Audit::Denied {
            capability: "tools",
            subject: subject.clone(),
            rule: rule.clone(),
        });
        CallError::Denied { subject, rule }
    }

    /// Notes that a granted tool is called.
    fn used(&self, entry: &Entry) {
        let from = match entry.run_by {
            RunBy::Server(place) => {
                let server = self.inner.servers.get(place);
                server.map(|server| ToolFrom::Server(&server.id))
            }
            RunBy::Component(place) => {
                let component = self.inner.components.get(place);
                component.map(|component| ToolFrom::Component(&component.name))
            }
        };
        if let (Some(watch), Some(from)) = (&self.inner.watch, from) {
            watch.used(Use::Tool(from, &entry.own_name));
        }
    }

    fn note(&self, audit: Audit) {
        if let Some(watch) = &self.inner.watch {
            watch.note(audit);
        }
    }
}

/// All pages of a list together take no longer than a call.
async fn in_all<T>(
    time: Duration,
    pages: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let all = timeout(time, pages).await;
    all.unwrap_or(Err(CallError::TimedOut(millis)))
}

/// Puts what a server offers into the catalogue, as far as it is granted.
fn offered(
    catalog: &mut Catalog,
    spec: &ServerSpec,
    place: RunBy,
    opened: Option<OpenedServer>,
    watch: &Watch,
) -> Result<Said, String> {
    match opened.map(|opened| opened.came) {
        None => Err("nothing is known of it".to_owned()),
        Some(Dialled::Failed(reason)) => Err(reason),
        Some(Dialled::Denied { subject, rule }) => {
            watch.denied(&subject, &rule);
            Err(not_granted(&subject, &rule))
        }
        Some(Dialled::Connected(offer)) => {
            let mut left_out = offer.left_out;
            left_out.extend(catalog.add(spec, place, offer.tools)?);
            tell_left_out(watch, &spec.id, &left_out);
            Ok(Said {
                title: offer.title,
                instructions: offer.instructions,
            })
        }
    }
}

impl Ready {
    /// What is asked, as it stands on the tape.
    pub(crate) fn asked(&self) -> Value {
        json!({ "tool": self.entry.decl.name, "arguments": self.arguments })
    }
}

fn tell_left_out(watch: &Watch, server: &str, left_out: &[String]) {
    /// Tools that are named.
    const NAMED: usize = 10;
    if let Some(more) = left_out.len().checked_sub(1) {
        let mut named = left_out.iter().take(NAMED).cloned().collect::<Vec<_>>();
        if more >= NAMED {
            named.push(format!("and {} more", left_out.len() - NAMED));
        }
        watch.server(server, "tools_left_out", named.join("; "));
    }
}
