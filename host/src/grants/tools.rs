//! Tools: MCP servers, commands that may be started for a commission, tool components.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An MCP server as written: a command the host starts, or a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServerSpec {
    /// Unique among the servers of a run, `[a-z0-9_-]+`.
    pub id: String,
    /// The program and its arguments. It runs outside the sandbox, with an empty environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Where it listens (streamable HTTP), instead of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Environment variables of the command.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Environment variables of the command that are secrets: variable to name of the secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env_secrets: BTreeMap<String, String>,
    /// Name of the secret that goes with every request to the URL, as `authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Patterns of the tools that may be used, in which `*` stands for any characters; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// JSON Schemas that the arguments of a tool have to match besides its own, by the tool's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<String, serde_json::Value>,
    /// The longest one call may take, such as `30s`; the limit `tool-call` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// Tools of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolsGrant {
    /// MCP servers of the operator's.
    pub servers: Vec<ServerSpec>,
    /// Command lines a commission's MCP servers may be started with, word by word as written there.
    pub commands: Vec<Vec<String>>,
    /// Components that are tools.
    pub components: Vec<PathBuf>,
}
