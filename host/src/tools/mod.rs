//! Tools the operator granted: MCP servers, and components that are tools.
//!
//! Servers are connected to before a run starts, and its tools are those they have then. Nothing here knows
//! a guest; `capabilities/tools.rs` does.

mod catalog;
pub mod component;
mod mcp;
mod names;
pub(crate) mod plan;
pub mod result;
pub(crate) mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use rmcp::model::{Prompt, PromptMessage, Resource, ResourceContents};
use serde_json::{Map, Value};
use tokio::time::timeout;

use self::catalog::{Catalog, Entry, Refusal, RunBy};
use self::mcp::{Connection, Reach};
use self::plan::{NotTried, Wanted};
use self::watch::Watch;
use crate::commission::{Body, McpServer};
use crate::descriptor::{DialStatus, McpServerDecl, ToolDecl};
use crate::egress::Egress;
use crate::egress::secrets::Secrets;
use crate::grants::{Grants, Limits, ServerSpec};
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;
use crate::trajectory::used::ToolFrom;
use crate::trajectory::{Audit, Use};

pub(crate) use catalog::Described;
pub use component::{Component, ComponentError};
pub use result::{Output, Piece};

/// What the agent is told of a call that was under way when its run was ended, as it stands on a tape.
pub(crate) fn in_doubt(_kind: &str) -> Value {
    serde_json::json!({ "Err": { "unavailable":
        "the run was ended while this call was under way; whether it was done is not known" } })
}

/// Calls that are made at the same time, at most.
pub(crate) const MAX_PARALLEL: usize = 16;

/// Why a call has no result of its tool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    #[error("limit `{name}` is reached ({max})")]
    Limit {
        /// Its name.
        name: &'static str,
        /// The greatest value allowed.
        max: u64,
    },
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
    components: Vec<Component>,
    catalog: Catalog,
    watch: Option<Watch>,
    limits: Limits,
    calls: AtomicU64,
}

struct Server {
    id: String,
    timeout_ms: Option<u64>,
    /// Why it cannot be used, in words, where it cannot.
    connection: Result<Connection, String>,
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
            connection: Err(reason.to_owned()),
        });
        Toolbox {
            inner: Arc::new(Inner {
                servers: servers.collect(),
                components: Vec::new(),
                catalog: Catalog::default(),
                watch: None,
                limits: grants.limits.clone(),
                calls: AtomicU64::new(0),
            }),
        }
    }

    /// Connects to all servers at once. A server that cannot be used is there as failed; that is no error
    /// of the run. `own` are the names of the agent's own tools.
    ///
    /// Dropping the future ends what has been started.
    pub(crate) async fn open(
        grants: &Grants,
        commission: &Body,
        own: impl Iterator<Item = String>,
        components: Vec<Component>,
        egress: &Egress,
        secrets: &Secrets,
        watch: Watch,
    ) -> Toolbox {
        let wanted = plan::plan(grants, commission, egress, secrets);
        let time = Duration::from_millis(grants.limits.tool_dial);
        let dialled = join_all(wanted.iter().map(|wanted| dial(wanted, time, &watch))).await;
        let mut catalog = Catalog::new(grants.limits.tools, own);
        let mut servers = Vec::with_capacity(wanted.len());
        for (wanted, dialled) in wanted.into_iter().zip(dialled) {
            let (id, place) = (wanted.id, RunBy::Server(servers.len()));
            let connection = match dialled {
                Ok((connection, tools)) => {
                    let tools = tools.into_iter().map(Into::into).collect();
                    match catalog.add(&wanted.spec, place, tools) {
                        Ok(left_out) => {
                            tell_left_out(&watch, &id, &left_out);
                            Ok(connection)
                        }
                        Err(reason) => {
                            connection.close().await;
                            Err(reason)
                        }
                    }
                }
                Err(reason) => Err(reason),
            };
            match &connection {
                Ok(connection) => {
                    let title = connection.title.clone().unwrap_or_default();
                    watch.server(&id, "connected", title);
                }
                Err(reason) => watch.server(&id, "failed", reason.clone()),
            }
            servers.push(Server {
                id,
                timeout_ms: wanted.spec.timeout_ms(),
                connection,
            });
        }
        for (place, component) in components.iter().enumerate() {
            let spec = ServerSpec {
                id: component.name().to_owned(),
                ..ServerSpec::default()
            };
            let tools = component.tools().to_vec();
            match catalog.add(&spec, RunBy::Component(place), tools) {
                Ok(left_out) => tell_left_out(&watch, component.name(), &left_out),
                Err(reason) => watch.server(component.name(), "failed", reason),
            }
        }
        Toolbox {
            inner: Arc::new(Inner {
                servers,
                components,
                catalog,
                watch: Some(watch),
                limits: grants.limits.clone(),
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
            name: server
                .connection
                .as_ref()
                .ok()
                .and_then(|connection| connection.title.clone()),
            status: Some(match server.connection {
                Ok(_) => DialStatus::Connected,
                Err(_) => DialStatus::Failed,
            }),
            ..McpServerDecl::default()
        };
        servers.map(decl).collect()
    }

    /// The servers as they are now.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerState> {
        let state = |server: &Server| {
            let connection = server.connection.as_ref().ok();
            ServerState {
                id: server.id.clone(),
                connected: connection.is_some_and(Connection::is_open),
                title: connection.and_then(|it| it.title.clone()),
                instructions: connection.and_then(|it| it.instructions.clone()),
            }
        };
        self.inner.servers.iter().map(state).collect()
    }

    /// The servers that cannot be used, and why.
    #[must_use]
    pub fn failures(&self) -> Failures {
        let failed = |server: &Server| match &server.connection {
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
            return Err(CallError::Limit { name, max });
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
    pub async fn call(&self, ready: Ready) -> Result<Output, CallError> {
        let Ready { entry, arguments } = ready;
        let output = match entry.run_by {
            RunBy::Server(place) => {
                let server = self.inner.servers.get(place);
                let (server, connection) = server
                    .and_then(|it| Some((it, it.connection.as_ref().ok()?)))
                    .ok_or_else(|| CallError::Unknown(entry.decl.name.clone()))?;
                let time = self.time(server);
                connection
                    .call(&entry.own_name, arguments, time)
                    .await?
                    .into()
            }
            RunBy::Component(place) => {
                let component = self.inner.components.get(place);
                let component =
                    component.ok_or_else(|| CallError::Unknown(entry.decl.name.clone()))?;
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
        let (connection, time) = self.server(server)?;
        in_all(time, connection.resources(time)).await
    }

    /// Reads a resource.
    ///
    /// # Errors
    ///
    /// As [`Toolbox::resources`].
    pub async fn read(&self, server: &str, uri: &str) -> Result<Vec<ResourceContents>, CallError> {
        let (connection, time) = self.server(server)?;
        Ok(connection.read(uri, time).await?.contents)
    }

    /// Prompts of a server.
    ///
    /// # Errors
    ///
    /// As [`Toolbox::resources`].
    pub async fn prompts(&self, server: &str) -> Result<Vec<Prompt>, CallError> {
        let (connection, time) = self.server(server)?;
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
        let (connection, time) = self.server(server)?;
        Ok(connection.prompt(name, arguments, time).await?.messages)
    }

    /// Closes every connection, all at once, and ends the servers the host has started. Bounded.
    pub async fn close(&self) {
        let open = self.inner.servers.iter();
        let open = open.filter_map(|server| server.connection.as_ref().ok());
        join_all(open.map(Connection::close)).await;
    }

    fn server(&self, id: &str) -> Result<(&Connection, Duration), CallError> {
        let server = self.inner.servers.iter().find(|server| server.id == id);
        let server = server.ok_or_else(|| CallError::Unknown(id.to_owned()))?;
        match &server.connection {
            Ok(connection) => {
                if let Some(watch) = &self.inner.watch {
                    watch.used(Use::Server(id));
                }
                Ok((connection, self.time(server)))
            }
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
                component.map(|component| ToolFrom::Component(component.name()))
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

async fn dial(
    wanted: &Wanted,
    time: Duration,
    watch: &Watch,
) -> Result<(Connection, Vec<rmcp::model::Tool>), String> {
    let reach: Reach = match &wanted.reach {
        Ok(reach) => reach.clone(),
        Err(NotTried::Unusable(reason)) => return Err(reason.clone()),
        Err(NotTried::Denied { subject, rule }) => {
            watch.note(Audit::Denied {
                capability: "tools",
                subject: subject.clone(),
                rule: rule.clone(),
            });
            return Err(format!("`{subject}` is not granted: {rule}"));
        }
    };
    let dialled = timeout(time, mcp::dial(&wanted.id, reach, watch)).await;
    dialled.unwrap_or_else(|_| {
        Err(format!(
            "it is not ready after {} ms (limit `tool-dial`)",
            time.as_millis()
        ))
    })
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
