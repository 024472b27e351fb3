//! The AVP v0.1 descriptor: what an agent says of itself.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::Hint;
use crate::json::{self, printable};

/// The version of the descriptor format.
pub const SPEC_VERSION: &str = "0.1";

/// Greatest size of a descriptor as JSON, in bytes. It is written into an event, and every tool in it
/// costs a model's input on every turn: larger ones are mistakes.
pub const MAX_BYTES: usize = 1 << 20;

/// Most entries one list may have.
pub const MAX_ENTRIES: usize = 1024;

/// Most patterns in `supported_models`, and the longest of them in bytes. Matching a model against all
/// of them stays below a few milliseconds.
pub const MAX_PATTERNS: usize = 256;

/// Longest name, version or id, in bytes: they are shown in lines and used as keys.
pub const MAX_NAME: usize = 256;

/// What an agent says of itself. On the wire, a list without entries is an explicit `null` (D§2.2).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// Stable name; pins and allow-lists of a commission are keyed by it.
    pub agent_name: String,
    /// Version of this build.
    pub agent_version: String,
    /// Always [`SPEC_VERSION`].
    pub spec_version: String,
    /// Model used when nobody names one, as `origin/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_model: Option<String>,
    /// Glob patterns of models the agent can work with; `None` means any.
    #[serde(default)]
    pub supported_models: Option<Vec<String>>,
    /// System prompt the agent ships with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Task the agent has without being given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// MCP servers the agent brings along. Ids are unique.
    #[serde(
        default,
        serialize_with = "null_if_empty",
        deserialize_with = "nullable"
    )]
    pub mcp_servers: Vec<McpServerDecl>,
    /// Tools, those of its MCP servers included. Names are unique.
    #[serde(
        default,
        serialize_with = "null_if_empty",
        deserialize_with = "nullable"
    )]
    pub tools: Vec<ToolDecl>,
    /// Sub-agents. Names are unique.
    #[serde(
        default,
        serialize_with = "null_if_empty",
        deserialize_with = "nullable"
    )]
    pub subagents: Vec<SubagentDecl>,
    /// Skills. Names are unique.
    #[serde(
        default,
        serialize_with = "null_if_empty",
        deserialize_with = "nullable"
    )]
    pub skills: Vec<SkillDecl>,
    /// Free capability flags.
    #[serde(
        default,
        serialize_with = "null_if_empty",
        deserialize_with = "nullable"
    )]
    pub capabilities: Vec<String>,
}

/// A tool as a model sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolDecl {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its input, an object.
    #[serde(
        default,
        rename = "inputSchema",
        skip_serializing_if = "Option::is_none"
    )]
    pub input_schema: Option<Value>,
    /// JSON Schema of its structured output, an object.
    #[serde(
        default,
        rename = "outputSchema",
        skip_serializing_if = "Option::is_none"
    )]
    pub output_schema: Option<Value>,
    /// The MCP server that serves it; `None` for the agent's own code.
    #[serde(
        default,
        rename = "avp.mcp_server_id",
        skip_serializing_if = "Option::is_none"
    )]
    pub mcp_server_id: Option<String>,
    /// Members AVP does not know; the declaration is an open object.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A sub-agent the agent can delegate to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SubagentDecl {
    /// Its name.
    pub name: String,
    /// When to delegate to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema of its input, an object.
    #[serde(
        default,
        rename = "inputSchema",
        skip_serializing_if = "Option::is_none"
    )]
    pub input_schema: Option<Value>,
    /// Free kind, for example `explorer`.
    #[serde(
        default,
        rename = "avp.agent_type",
        skip_serializing_if = "Option::is_none"
    )]
    pub agent_type: Option<String>,
    /// Members AVP does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A skill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SkillDecl {
    /// Its name.
    pub name: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its own version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Path or URI of its `SKILL.md`.
    #[serde(
        default,
        rename = "avp.source",
        skip_serializing_if = "Option::is_none"
    )]
    pub source: Option<String>,
    /// Members AVP does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An MCP server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct McpServerDecl {
    /// Its id, not empty.
    pub id: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What became of the connection, once there was an attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DialStatus>,
    /// Members AVP does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What became of the connection to an MCP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DialStatus {
    /// It answers.
    Connected,
    /// It could not be reached.
    Failed,
    /// It wants a login.
    NeedsAuth,
    /// The attempt is not over.
    Pending,
    /// Nobody tried.
    Disabled,
}

/// Why a descriptor cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// Not a JSON document with one meaning.
    #[error("descriptor is not json: {0}")]
    NotJson(String),
    /// A field is missing, unknown or malformed.
    #[error("descriptor field `{path}`: {reason}")]
    Field {
        /// For example `tools[2].inputSchema`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is too large.
    #[error("descriptor has {bytes} bytes; at most {max} are taken")]
    TooLarge {
        /// Its size as JSON, in bytes.
        bytes: usize,
        /// [`MAX_BYTES`].
        max: usize,
    },
}

impl Hint for DescriptorError {
    fn hint(&self) -> Option<String> {
        match self {
            DescriptorError::Field { .. } | DescriptorError::NotJson(_) => {
                Some("correct what the agent returns from `describe`".to_owned())
            }
            DescriptorError::TooLarge { .. } => Some(
                "shorten the descriptions and schemas the agent returns from `describe`".to_owned(),
            ),
        }
    }
}

impl Descriptor {
    /// The descriptor of an agent that cannot describe itself.
    #[must_use]
    pub fn minimal(name: &str, version: &str) -> Self {
        Self {
            agent_name: name.to_owned(),
            agent_version: version.to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            default_model: None,
            supported_models: None,
            system_prompt: None,
            prompt: None,
            mcp_servers: Vec::new(),
            tools: Vec::new(),
            subagents: Vec::new(),
            skills: Vec::new(),
            capabilities: Vec::new(),
        }
    }

    /// Reads a descriptor and validates it.
    ///
    /// # Errors
    /// Names what is wrong and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptorError> {
        if bytes.len() > MAX_BYTES {
            return Err(DescriptorError::TooLarge {
                bytes: bytes.len(),
                max: MAX_BYTES,
            });
        }
        let text =
            std::str::from_utf8(bytes).map_err(|e| DescriptorError::NotJson(e.to_string()))?;
        json::parse(text).map_err(|e| DescriptorError::NotJson(e.to_string()))?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let descriptor: Self =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                field(
                    printable(&error.path().to_string()),
                    printable(&error.inner().to_string()),
                )
            })?;
        descriptor.validate()?;
        Ok(descriptor)
    }

    /// Checks what the types do not say (D§5.4, D§5.5): names, references, schemas, sizes.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), DescriptorError> {
        name("agent_name", &self.agent_name)?;
        name("agent_version", &self.agent_version)?;
        if self.spec_version != SPEC_VERSION {
            return Err(field(
                "spec_version",
                format!(
                    "expected `{SPEC_VERSION}`, found `{}`",
                    printable(&self.spec_version)
                ),
            ));
        }
        if let Some(patterns) = &self.supported_models {
            if patterns.len() > MAX_PATTERNS {
                return Err(field(
                    "supported_models",
                    format!("more than {MAX_PATTERNS} patterns"),
                ));
            }
            if let Some(n) = patterns
                .iter()
                .position(|pattern| pattern.len() > MAX_PATTERNS)
            {
                return Err(field(
                    format!("supported_models[{n}]"),
                    format!("longer than {MAX_PATTERNS} bytes"),
                ));
            }
        }
        unique(
            "mcp_servers",
            "id",
            self.mcp_servers.iter().map(|server| server.id.as_str()),
        )?;
        unique(
            "tools",
            "name",
            self.tools.iter().map(|tool| tool.name.as_str()),
        )?;
        unique(
            "subagents",
            "name",
            self.subagents.iter().map(|subagent| subagent.name.as_str()),
        )?;
        unique(
            "skills",
            "name",
            self.skills.iter().map(|skill| skill.name.as_str()),
        )?;
        if self.capabilities.len() > MAX_ENTRIES {
            return Err(field(
                "capabilities",
                format!("more than {MAX_ENTRIES} entries"),
            ));
        }
        let servers: BTreeSet<&str> = self
            .mcp_servers
            .iter()
            .map(|server| server.id.as_str())
            .collect();
        for (n, tool) in self.tools.iter().enumerate() {
            schema(
                &format!("tools[{n}].inputSchema"),
                tool.input_schema.as_ref(),
            )?;
            schema(
                &format!("tools[{n}].outputSchema"),
                tool.output_schema.as_ref(),
            )?;
            if let Some(id) = &tool.mcp_server_id
                && !servers.contains(id.as_str())
            {
                let reason = format!("no entry of mcp_servers has the id `{}`", printable(id));
                return Err(field(format!("tools[{n}].avp.mcp_server_id"), reason));
            }
        }
        for (n, subagent) in self.subagents.iter().enumerate() {
            schema(
                &format!("subagents[{n}].inputSchema"),
                subagent.input_schema.as_ref(),
            )?;
        }
        let bytes = serde_json::to_vec(self)
            .map_err(|e| DescriptorError::NotJson(e.to_string()))?
            .len();
        if bytes > MAX_BYTES {
            return Err(DescriptorError::TooLarge {
                bytes,
                max: MAX_BYTES,
            });
        }
        Ok(())
    }
}

fn field(path: impl Into<String>, reason: impl Into<String>) -> DescriptorError {
    DescriptorError::Field {
        path: path.into(),
        reason: reason.into(),
    }
}

fn name(path: &str, value: &str) -> Result<(), DescriptorError> {
    if value.is_empty() {
        return Err(field(path, "is empty"));
    }
    if value.len() > MAX_NAME {
        return Err(field(path, format!("longer than {MAX_NAME} bytes")));
    }
    Ok(())
}

fn unique<'a>(
    list: &str,
    key: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), DescriptorError> {
    let mut seen = BTreeSet::new();
    for (n, value) in names.enumerate() {
        if n == MAX_ENTRIES {
            return Err(field(list, format!("more than {MAX_ENTRIES} entries")));
        }
        let path = format!("{list}[{n}].{key}");
        name(&path, value)?;
        if !seen.insert(value) {
            return Err(field(
                path,
                format!("`{}` is there twice", printable(value)),
            ));
        }
    }
    Ok(())
}

fn schema(path: &str, schema: Option<&Value>) -> Result<(), DescriptorError> {
    match schema {
        Some(schema) if !schema.is_object() => Err(field(path, "expected a JSON object")),
        _ => Ok(()),
    }
}

fn null_if_empty<T: Serialize, S: Serializer>(
    list: &[T],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if list.is_empty() {
        serializer.serialize_none()
    } else {
        list.serialize(serializer)
    }
}

fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
