//! The fields of a commission.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::CommissionError;
use crate::json::printable;

/// The fields of a commission, as AVP v0.1 names them. A list that is absent or `null` is empty.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// Always [`super::SCHEMA_VERSION`].
    pub schema_version: String,
    /// The supervisor's id of the run; the subject of every event. Not empty.
    pub run_id: String,
    /// Who asks for the run.
    #[serde(default)]
    pub supervisor: Option<Supervisor>,
    /// MCP servers the agent is to use beside its own. Ids are unique.
    #[serde(default, deserialize_with = "nullable")]
    pub mcp_servers: Vec<McpServer>,
    /// Skills handed over. Ids are unique.
    #[serde(default, deserialize_with = "nullable")]
    pub skills: Vec<Skill>,
    /// Which storefront serves the model.
    #[serde(default)]
    pub provider: Option<Provider>,
    /// By agent name: the agent's own tools that may be used. `None` allows all of them, a map without
    /// the agent's name is a collision, an empty list allows none.
    #[serde(default)]
    pub enabled_builtin_tools: Option<AllowList>,
    /// The same for sub-agents.
    #[serde(default)]
    pub enabled_builtin_subagents: Option<AllowList>,
    /// The same for skills.
    #[serde(default)]
    pub enabled_builtin_skills: Option<AllowList>,
    /// The same for MCP servers, by id.
    #[serde(default)]
    pub enabled_builtin_mcp_servers: Option<AllowList>,
    /// By agent name: the one version that may run. An agent that is not named is not pinned.
    #[serde(default, deserialize_with = "nullable")]
    pub agent_versions: BTreeMap<String, String>,
    /// JSON Schema of the wanted output, an object, as text.
    #[serde(default)]
    pub output_schema: Option<Box<RawValue>>,
    /// The task.
    #[serde(default)]
    pub prompt: Option<String>,
    /// The system prompt.
    #[serde(default)]
    pub system_prompt: Option<String>,
    /// The model asked for: `origin/model`.
    pub model: String,
    /// The conversation the run belongs to.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// Labels.
    #[serde(default, deserialize_with = "nullable")]
    pub tags: Vec<String>,
    /// The supervisor's own data, an object, as text.
    #[serde(default)]
    pub meta: Option<Box<RawValue>>,
}

/// Names that may be used, by agent name.
pub type AllowList = BTreeMap<String, Vec<String>>;

/// Who asks for a run.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervisor {
    /// Stable name of the supervisor. Not empty.
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
}

/// Name under which a secret is kept, never the secret: `[a-z0-9_-]+`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handle {
    /// The name.
    pub vault: String,
}

/// Which storefront serves the model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Protocol family, `[a-z0-9_-]+`.
    pub id: String,
    /// Another endpoint than the family's own.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The key to use.
    #[serde(default)]
    pub credential: Option<Handle>,
}

/// An MCP server the agent is to use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum McpServer {
    /// Reached over HTTP.
    Http(HttpServer),
    /// A program that speaks over its standard streams.
    Stdio(StdioServer),
}

impl McpServer {
    /// The server's id.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            McpServer::Http(server) => &server.id,
            McpServer::Stdio(server) => &server.id,
        }
    }
}

/// An MCP server reached over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpServer {
    /// Unique within the commission, `[a-z0-9_-]+`.
    pub id: String,
    /// Where it is. Not empty.
    pub url: String,
    /// Request headers that are no secrets.
    #[serde(default, deserialize_with = "nullable")]
    pub headers: BTreeMap<String, String>,
    /// The credential to use.
    #[serde(default)]
    pub auth: Option<Handle>,
}

/// An MCP server that is a program.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StdioServer {
    /// Unique within the commission, `[a-z0-9_-]+`.
    pub id: String,
    /// The program and its first arguments. Not empty.
    pub command: Vec<String>,
    /// More arguments.
    #[serde(default, deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, deserialize_with = "nullable")]
    pub env: BTreeMap<String, String>,
}

/// A skill: a folder of text files, one of them `SKILL.md` (agentskills.io).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// Unique within the commission, `[a-z0-9_-]+`.
    pub id: String,
    /// Content by relative path.
    pub files: BTreeMap<String, String>,
}

impl Skill {
    /// The name its front matter gives.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.front_matter("name")
    }

    /// The description its front matter gives.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.front_matter("description")
    }

    /// A plain `key: value` line between the two `---` lines `SKILL.md` starts with. Only that much of
    /// YAML is used by the two fields AVP reads.
    fn front_matter(&self, key: &str) -> Option<&str> {
        let mut lines = self.files.get(SKILL_FILE)?.lines();
        if lines.next()?.trim_end() != "---" {
            return None;
        }
        let mut found = None;
        for line in lines {
            if line.trim_end() == "---" {
                return found;
            }
            if let Some(value) = line
                .strip_prefix(key)
                .and_then(|rest| rest.strip_prefix(':'))
            {
                found = found.or(Some(unquoted(value.trim())).filter(|value| !value.is_empty()));
            }
        }
        None
    }
}

const SKILL_FILE: &str = "SKILL.md";

/// Longest model name, in bytes: it is matched against an agent's patterns, step by step.
const MAX_MODEL: usize = 1024;

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

impl Body {
    /// What the types above do not say.
    pub(super) fn check(&self) -> Result<(), CommissionError> {
        not_empty("run_id", &self.run_id)?;
        if self.model.len() > MAX_MODEL {
            return Err(CommissionError::field(
                "model",
                format!("longer than {MAX_MODEL} bytes"),
            ));
        }
        if !is_model(&self.model) {
            return Err(CommissionError::field(
                "model",
                format!(
                    "expected origin/model, for example anthropic/claude-sonnet-4-5, found `{}`",
                    printable(&self.model)
                ),
            ));
        }
        if let Some(supervisor) = &self.supervisor {
            not_empty("supervisor.name", &supervisor.name)?;
        }
        if let Some(provider) = &self.provider {
            slug("provider.id", &provider.id)?;
            if let Some(credential) = &provider.credential {
                slug("provider.credential.vault", &credential.vault)?;
            }
        }
        let mut seen = BTreeSet::new();
        for (n, server) in self.mcp_servers.iter().enumerate() {
            slug(&format!("mcp_servers[{n}].id"), server.id())?;
            if !seen.insert(server.id()) {
                return Err(CommissionError::field(
                    format!("mcp_servers[{n}].id"),
                    "another server has this id",
                ));
            }
            match server {
                McpServer::Http(server) => {
                    not_empty(&format!("mcp_servers[{n}].url"), &server.url)?;
                    if let Some(auth) = &server.auth {
                        slug(&format!("mcp_servers[{n}].auth.vault"), &auth.vault)?;
                    }
                }
                McpServer::Stdio(server) if server.command.is_empty() => {
                    return Err(CommissionError::field(
                        format!("mcp_servers[{n}].command"),
                        "is empty",
                    ));
                }
                McpServer::Stdio(_) => {}
            }
        }
        let mut seen = BTreeSet::new();
        for (n, skill) in self.skills.iter().enumerate() {
            slug(&format!("skills[{n}].id"), &skill.id)?;
            if !seen.insert(&skill.id) {
                return Err(CommissionError::field(
                    format!("skills[{n}].id"),
                    "another skill has this id",
                ));
            }
            if !skill.files.contains_key(SKILL_FILE) {
                return Err(CommissionError::field(
                    format!("skills[{n}].files"),
                    format!("{SKILL_FILE} is missing"),
                ));
            }
            // A skill is unpacked somewhere: its paths have to stay inside.
            if let Some(path) = skill.files.keys().find(|path| !is_inner_path(path)) {
                return Err(CommissionError::field(
                    format!("skills[{n}].files"),
                    format!("`{}` is not a path inside the skill", printable(path)),
                ));
            }
        }
        object("output_schema", self.output_schema.as_deref())?;
        object("meta", self.meta.as_deref())
    }
}

/// `^[^/]+/.+$`
fn is_model(model: &str) -> bool {
    model.split_once('/').is_some_and(|(origin, name)| {
        !origin.is_empty() && !name.is_empty() && !name.contains('\n')
    })
}

fn is_inner_path(path: &str) -> bool {
    !path.contains(['\\', '\0']) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn not_empty(path: &str, value: &str) -> Result<(), CommissionError> {
    if value.is_empty() {
        Err(CommissionError::field(path, "is empty"))
    } else {
        Ok(())
    }
}

/// `^[a-z0-9_-]+$`
fn slug(path: &str, value: &str) -> Result<(), CommissionError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !value.is_empty() && value.bytes().all(allowed) {
        return Ok(());
    }
    let reason = format!(
        "expected lowercase letters, digits, `_` and `-`, found `{}`",
        printable(value)
    );
    Err(CommissionError::field(path, reason))
}

fn object(path: &str, raw: Option<&RawValue>) -> Result<(), CommissionError> {
    match raw {
        Some(raw) if !raw.get().starts_with('{') => {
            Err(CommissionError::field(path, "expected a JSON object"))
        }
        _ => Ok(()),
    }
}

/// AVP lets every optional field be `null`.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
