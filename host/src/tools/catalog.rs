//! The tools of a run: what they are called, who runs them, and what the operator says of their arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::CallError;
use super::mcp::cut;
use super::names::exposed;
use crate::descriptor::ToolDecl;
use crate::grants::ServerSpec;
use crate::schema::{Schema, Violation};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Longest description a model gets to read, in bytes.
const MAX_DESCRIPTION: usize = 8 << 10;

/// Greatest schema of a tool, in bytes.
const MAX_SCHEMA: usize = 64 << 10;

/// Descriptions and schemas of all tools of one server, in bytes: as much as a descriptor may have.
const MAX_SERVER: usize = 1 << 20;

/// Longest own name of a tool, in bytes.
const MAX_NAME: usize = 256;

/// A tool as its server describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Described {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) input_schema: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output_schema: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only: bool,
}

/// Who runs a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunBy {
    /// The server at this place.
    Server(usize),
    /// The component at this place.
    Component(usize),
}

/// A granted tool.
pub(super) struct Entry {
    /// As the model sees it.
    pub(super) decl: ToolDecl,
    /// Its name for whoever runs it.
    pub(super) own_name: String,
    pub(super) run_by: RunBy,
    pub(super) read_only: bool,
    /// What the operator wants of its arguments.
    narrowed: Option<Schema>,
    /// Its own schema, compiled when it is first called: most of hundreds never are.
    schema: OnceCell<Option<Schema>>,
}

/// The granted tools, in the order of their servers.
#[derive(Default)]
pub(super) struct Catalog {
    entries: Vec<Arc<Entry>>,
    by_name: BTreeMap<String, usize>,
    /// What the operator has not granted, as a model would call it.
    hidden: BTreeMap<String, Hidden>,
    taken: BTreeSet<String>,
    max: usize,
}

/// A tool that is there and not granted.
#[derive(Clone, Debug)]
pub(super) struct Hidden {
    pub(super) server: String,
    pub(super) tool: String,
}

impl Catalog {
    /// An empty catalogue, for up to `max` tools beside those of the agent.
    pub(super) fn new(max: u64, own: impl Iterator<Item = String>) -> Catalog {
        Catalog {
            taken: own.collect(),
            max: usize::try_from(max).unwrap_or(usize::MAX),
            ..Catalog::default()
        }
    }

    /// Adds the tools of a server or component: all that are granted, or none. Returns what was left out,
    /// in words.
    ///
    /// # Errors
    ///
    /// Why none of them can be used.
    pub(super) fn add(
        &mut self,
        spec: &ServerSpec,
        run_by: RunBy,
        tools: Vec<Described>,
    ) -> Result<Vec<String>, String> {
        let (mut added, mut left_out) = (Vec::new(), Vec::new());
        let (mut names, mut bytes) = (BTreeSet::new(), 0_usize);
        for tool in tools {
            if tool.name.len() > MAX_NAME || !names.insert(tool.name.clone()) {
                left_out.push(format!(
                    "`{}`: its name is too long or there twice",
                    crate::json::printable(&tool.name)
                ));
                continue;
            }
            if !spec.allows(&tool.name) && !down(Wall::ToolAllow) {
                let hidden = Hidden {
                    server: spec.id.clone(),
                    tool: tool.name.clone(),
                };
                // Names of granted tools come first; these are only for telling what was asked for.
                if self.hidden.len() < self.max {
                    self.hidden
                        .insert(format!("{}__{}", spec.id, tool.name), hidden);
                }
                continue;
            }
            let schema = Value::Object(tool.input_schema.clone()).to_string().len();
            if schema > MAX_SCHEMA {
                left_out.push(format!(
                    "`{}`: its schema has {schema} bytes, {MAX_SCHEMA} are the most",
                    crate::json::printable(&tool.name)
                ));
                continue;
            }
            bytes += schema
                + tool
                    .description
                    .as_ref()
                    .map_or(0, String::len)
                    .min(MAX_DESCRIPTION);
            if bytes > MAX_SERVER {
                return Err(format!(
                    "descriptions and schemas of its tools have more than {MAX_SERVER} bytes"
                ));
            }
            added.push(tool);
            if self.entries.len() + added.len() > self.max {
                return Err(format!(
                    "it has more tools than the limit `tools` ({}) leaves room for; name those that are needed",
                    self.max
                ));
            }
        }
        for tool in added {
            let entry = self.entry(spec, run_by, tool)?;
            self.by_name
                .insert(entry.decl.name.clone(), self.entries.len());
            self.entries.push(Arc::new(entry));
        }
        Ok(left_out)
    }

    fn entry(
        &mut self,
        spec: &ServerSpec,
        run_by: RunBy,
        tool: Described,
    ) -> Result<Entry, String> {
        let narrowed = spec
            .arguments
            .get(&tool.name)
            .map(|schema| Schema::parse(schema.to_string().as_bytes()))
            .transpose()
            .map_err(|error| error.to_string())?;
        let output_schema = tool
            .output_schema
            .map(Value::Object)
            .filter(|schema| schema.to_string().len() <= MAX_SCHEMA);
        Ok(Entry {
            decl: ToolDecl {
                name: exposed(&spec.id, &tool.name, &mut self.taken),
                description: tool.description.map(|text| cut(&text, MAX_DESCRIPTION)),
                input_schema: Some(Value::Object(tool.input_schema)),
                output_schema,
                mcp_server_id: match run_by {
                    RunBy::Server(_) => Some(spec.id.clone()),
                    RunBy::Component(_) => None,
                },
                extra: Map::new(),
            },
            own_name: tool.name,
            run_by,
            read_only: tool.read_only,
            narrowed,
            schema: OnceCell::new(),
        })
    }

    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub(super) fn find(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(*self.by_name.get(name)?)
    }

    pub(super) fn hidden(&self, name: &str) -> Option<&Hidden> {
        self.hidden.get(name)
    }
}

/// Why arguments are refused.
pub(super) enum Refusal {
    /// They are not what the tool takes.
    Invalid(CallError),
    /// They are not what the operator allows.
    Narrowed(CallError),
}

impl Entry {
    /// Checks arguments against the tool's own schema and the operator's.
    pub(super) async fn check(&self, arguments: &Map<String, Value>) -> Result<(), Refusal> {
        let document = Value::Object(arguments.clone());
        let schema = self.schema.get_or_init(|| async {
            let text = self.decl.input_schema.as_ref()?.to_string();
            // One this host cannot use, with references elsewhere, say, is left to the server.
            let schema = Schema::parse(text.as_bytes());
            schema
                .inspect_err(|error| {
                    tracing::debug!(tool = self.decl.name, %error, "cannot use a tool's schema");
                })
                .ok()
        });
        if let Some(schema) = schema.await {
            let checked = schema.check(document.clone()).await;
            checked
                .map_err(|violation| Refusal::Invalid(invalid("the tool's schema", &violation)))?;
        }
        if let Some(schema) = &self.narrowed
            && !down(Wall::ToolArguments)
        {
            let checked = schema.check(document).await;
            checked.map_err(|violation| {
                Refusal::Narrowed(invalid("what the operator allows", &violation))
            })?;
        }
        Ok(())
    }
}

fn invalid(what: &str, violation: &Violation) -> CallError {
    CallError::InvalidArguments(format!("the arguments do not match {what}: {violation}"))
}

impl From<rmcp::model::Tool> for Described {
    fn from(tool: rmcp::model::Tool) -> Described {
        Described {
            name: tool.name.into_owned(),
            description: tool.description.map(std::borrow::Cow::into_owned),
            input_schema: Arc::unwrap_or_clone(tool.input_schema),
            output_schema: tool.output_schema.map(Arc::unwrap_or_clone),
            read_only: tool
                .annotations
                .and_then(|annotations| annotations.read_only_hint)
                .unwrap_or(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(name: &str, schema: Value) -> Described {
        let Value::Object(input_schema) = schema else {
            panic!()
        };
        Described {
            name: name.to_owned(),
            input_schema,
            ..Described::default()
        }
    }

    fn spec(tools: Option<&[&str]>) -> ServerSpec {
        ServerSpec {
            id: "s".to_owned(),
            tools: tools.map(|tools| tools.iter().map(ToString::to_string).collect()),
            ..ServerSpec::default()
        }
    }

    #[test]
    fn what_is_not_allowed_is_not_there_and_known_to_be_hidden() {
        let mut catalog = Catalog::new(10, ["s__own".to_owned()].into_iter());
        let tools = vec![
            tool("get-a", json!({})),
            tool("own", json!({})),
            tool("set-a", json!({})),
            tool("get-a", json!({})),
        ];
        let allowed = spec(Some(&["get-*", "own"]));
        let left_out = catalog.add(&allowed, RunBy::Server(0), tools).unwrap();
        assert_eq!(left_out.len(), 1, "{left_out:?}");
        let names: Vec<_> = catalog.entries().iter().map(|it| &it.decl.name).collect();
        assert_eq!(names.len(), 2);
        assert_eq!(names[0], "s__get-a");
        assert!(names[1].starts_with("s__own_"), "the agent has s__own");
        assert!(catalog.find("s__set-a").is_none());
        assert_eq!(catalog.hidden("s__set-a").unwrap().tool, "set-a");
        // An empty list is none.
        let mut none = Catalog::new(10, std::iter::empty());
        none.add(
            &spec(Some(&[])),
            RunBy::Server(0),
            vec![tool("a", json!({}))],
        )
        .unwrap();
        assert!(none.entries().is_empty());
    }

    #[test]
    fn a_server_with_too_many_or_too_large_tools_is_not_used() {
        let mut catalog = Catalog::new(3, std::iter::empty());
        let many: Vec<_> = (0..10_000)
            .map(|n| tool(&format!("t{n}"), json!({})))
            .collect();
        let error = catalog
            .add(&spec(None), RunBy::Server(0), many.clone())
            .unwrap_err();
        assert!(error.contains("`tools` (3)"), "{error}");
        assert!(catalog.entries().is_empty());
        catalog
            .add(&spec(Some(&["t1", "t22", "t333"])), RunBy::Server(0), many)
            .unwrap();
        assert_eq!(catalog.entries().len(), 3);

        let mut catalog = Catalog::new(100, std::iter::empty());
        let long = "x".repeat(MAX_SCHEMA);
        let left_out = catalog
            .add(
                &spec(None),
                RunBy::Server(0),
                vec![tool("long", json!({"title": long}))],
            )
            .unwrap();
        assert!(left_out[0].contains("long"), "{left_out:?}");
        let wide: Vec<_> = (0..30)
            .map(|n| tool(&format!("t{n}"), json!({"title": "x".repeat(40_000)})))
            .collect();
        assert!(catalog.add(&spec(None), RunBy::Server(0), wide).is_err());
    }

    #[tokio::test]
    async fn arguments_have_to_match_both_schemas() {
        let mut catalog = Catalog::new(10, std::iter::empty());
        let mut allowed = spec(None);
        allowed.arguments.insert(
            "t".to_owned(),
            json!({"properties": {"path": {"pattern": "^/work/"}}, "required": ["path"]}),
        );
        let own = json!({"type": "object", "properties": {"path": {"type": "string"}}});
        // A schema nobody can follow is the server's business.
        let odd = json!({"$ref": "https://example.com/schema"});
        catalog
            .add(
                &allowed,
                RunBy::Server(0),
                vec![tool("t", own), tool("odd", odd)],
            )
            .unwrap();
        let entry = catalog.find("s__t").unwrap().clone();
        let check = async |value: Value| match entry.check(value.as_object().unwrap()).await {
            Ok(()) => "ok",
            Err(Refusal::Invalid(_)) => "invalid",
            Err(Refusal::Narrowed(_)) => "narrowed",
        };
        assert_eq!(check(json!({"path": "/work/a"})).await, "ok");
        assert_eq!(check(json!({"path": 7})).await, "invalid");
        assert_eq!(check(json!({"path": "/etc/passwd"})).await, "narrowed");
        assert_eq!(check(json!({})).await, "narrowed");
        let odd = catalog.find("s__odd").unwrap();
        assert!(odd.check(&Map::new()).await.is_ok());
    }
}
