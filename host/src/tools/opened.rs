//! What tool servers and components offer, apart from how they are reached: all that a replay has of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::catalog::Described;
use super::component::{Component, ComponentError, Loader, name_of};
use super::mcp::{self, Connection, LeftOut, Times};
use super::plan::{NotTried, Wanted};
use super::watch::Watch;
use crate::grants::{Limits, ServerSpec};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::Audit;

/// What came of connecting to the servers of a run and loading its components.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opened {
    /// In the order in which they are wanted.
    pub(super) servers: Vec<OpenedServer>,
    pub(super) components: Vec<OpenedComponent>,
}

/// What came of connecting to one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenedServer {
    pub(super) id: String,
    pub(super) came: Dialled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Dialled {
    Connected(Offer),
    /// It cannot be used, for this reason.
    Failed(String),
    /// The operator has not granted it.
    Denied {
        subject: String,
        rule: String,
    },
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    /// Its own name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    /// How to use it, in its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) instructions: Option<String>,
    /// Of those that are not granted only the names.
    pub(super) tools: Vec<Described>,
    /// What of its list cannot be used, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) left_out: Vec<String>,
}

/// The tools of a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenedComponent {
    pub(super) name: String,
    pub(super) tools: Vec<Described>,
}

/// A connection to a server, and what it offers now.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// The own names of its tools.
    pub(super) names: BTreeSet<String>,
}

/// Those who run the tools.
#[derive(Default)]
pub(crate) struct Links {
    /// Nothing for a server that cannot be used.
    pub(super) servers: Vec<Option<Link>>,
    pub(super) components: Vec<Component>,
}

/// How the servers and components of a run are reached.
pub(crate) struct Connector {
    wanted: Vec<Wanted>,
    components: Vec<PathBuf>,
    loader: Arc<dyn Loader>,
    times: Times,
    watch: Watch,
}

impl Connector {
    /// A connector. Nothing is reached before it is asked to.
    pub(crate) fn new(
        wanted: Vec<Wanted>,
        components: Vec<PathBuf>,
        loader: Arc<dyn Loader>,
        limits: &Limits,
        watch: Watch,
    ) -> Connector {
        Connector {
            wanted,
            components,
            loader,
            times: Times {
                dial: Duration::from_millis(limits.tool_dial),
                close: Duration::from_millis(limits.tool_close),
            },
            watch,
        }
    }

    /// Loads the components, and connects to all servers at once. A server that cannot be used is no error of the
    /// run.
    ///
    /// Dropping the future ends what has been started.
    ///
    /// # Errors
    ///
    /// A component cannot be used: what the operator hands over has to work.
    pub(crate) async fn open(&self) -> Result<(Opened, Links), ComponentError> {
        let mut opened = Opened::default();
        let mut links = Links::default();
        for path in &self.components {
            let component = self.loader.load(path).await?;
            let text = format!("component {}", path.display());
            self.watch.server(component.name(), "connected", text);
            opened.components.push(OpenedComponent {
                name: component.name().to_owned(),
                tools: component.tools().to_vec(),
            });
            links.components.push(component);
        }
        let dialled = join_all(self.wanted.iter().map(|wanted| self.connect(wanted))).await;
        for (wanted, dialled) in self.wanted.iter().zip(dialled) {
            let (came, link) = match dialled {
                Ok((link, offer)) => (Dialled::Connected(offer), Some(link)),
                Err(came) => (came, None),
            };
            opened.servers.push(OpenedServer {
                id: wanted.id.clone(),
                came,
            });
            links.servers.push(link);
        }
        Ok((opened, links))
    }

    /// Connects to the server at this place, in a run that has been told already what it offers.
    pub(super) async fn link(&self, place: usize) -> Result<Link, String> {
        let wanted = self.wanted.get(place).ok_or("nobody knows where it is")?;
        match self.connect(wanted).await {
            Ok((link, offer)) => {
                let title = offer.title.unwrap_or_default();
                self.watch.server(&wanted.id, "connected", title);
                Ok(link)
            }
            Err(Dialled::Failed(reason)) => Err(reason),
            Err(Dialled::Denied { subject, rule }) => {
                self.watch.denied(&subject, &rule);
                Err(not_granted(&subject, &rule))
            }
            Err(Dialled::Connected(_)) => Err("it cannot be used".to_owned()),
        }
    }

    /// Loads the component at this place, in such a run.
    pub(super) async fn component(&self, place: usize) -> Result<Component, String> {
        let path = self
            .components
            .get(place)
            .ok_or("nobody knows where it is")?;
        let loaded = self.loader.load(path).await;
        loaded.map_err(|error| error.to_string())
    }

    async fn connect(&self, wanted: &Wanted) -> Result<(Link, Offer), Dialled> {
        let reach = match &wanted.reach {
            Ok(reach) => reach.clone(),
            Err(NotTried::Unusable(reason)) => return Err(Dialled::Failed(reason.clone())),
            Err(NotTried::Denied { subject, rule }) => {
                return Err(Dialled::Denied {
                    subject: subject.clone(),
                    rule: rule.clone(),
                });
            }
        };
        let dialled = mcp::dial(&wanted.id, reach, &self.watch, self.times).await;
        let (connection, listed) = dialled.map_err(Dialled::Failed)?;
        let tools = listed.tools;
        let names = tools.iter().map(|tool| tool.name.to_string()).collect();
        let offer = Offer {
            title: connection.title.clone(),
            instructions: connection.instructions.clone(),
            tools: tools
                .into_iter()
                .map(|tool| shown(&wanted.spec, tool.into()))
                .collect(),
            left_out: told(&wanted.spec, listed.left_out),
        };
        Ok((Link { connection, names }, offer))
    }
}

/// A tool as it is told of: one that is not granted is there by its name alone.
fn shown(spec: &ServerSpec, tool: Described) -> Described {
    if spec.allows(&tool.name) || down(Wall::ToolAllow) {
        return tool;
    }
    Described {
        name: tool.name,
        ..Described::default()
    }
}

/// What cannot be used of what is granted, in words.
fn told(spec: &ServerSpec, left_out: Vec<LeftOut>) -> Vec<String> {
    let of_granted = |it: &LeftOut| it.tool.as_ref().is_none_or(|tool| spec.allows(tool));
    let left_out = left_out.into_iter().filter(of_granted);
    let words = left_out.map(|LeftOut { tool, why }| match tool {
        Some(tool) => {
            let name = mcp::cut(&tool, 100);
            format!("`{}`: {why}", crate::json::printable(&name))
        }
        None => why,
    });
    words.collect()
}

pub(super) fn not_granted(subject: &str, rule: &str) -> String {
    format!("`{subject}` is not granted: {rule}")
}

/// What is asked of the tape: whom to connect to.
pub(crate) fn asked(specs: &[ServerSpec], components: &[PathBuf]) -> Value {
    let servers: Vec<_> = specs.iter().map(|spec| spec.id.as_str()).collect();
    let components: Vec<_> = components.iter().map(|path| name_of(path)).collect();
    json!({ "servers": servers, "components": components })
}

impl Watch {
    /// A server that is not granted.
    pub(super) fn denied(&self, subject: &str, rule: &str) {
        self.note(Audit::Denied {
            capability: "tools",
            subject: subject.to_owned(),
            rule: rule.to_owned(),
        });
    }
}
