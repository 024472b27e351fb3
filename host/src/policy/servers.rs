//! Tool servers as they have to be granted again.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::grants::CommandLine;

/// A server of which something was used.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) id: String,
    /// The `[[mcp-servers]]` table.
    pub(super) table: Map<String, Value>,
    /// Variables whose values a run does not keep.
    pub(super) unknown: Vec<String>,
}

/// The server `granted`, as `run.json` has it, with these tools and no others.
pub(super) fn server(granted: &Value, tools: &BTreeSet<&str>) -> Option<Server> {
    let id = granted.get("id")?.as_str()?.to_owned();
    let mut table = Map::new();
    table.insert("id".to_owned(), json!(id));
    if let Some(url) = granted.get("url") {
        table.insert("url".to_owned(), url.clone());
    } else if let Some(words) = granted.get("words") {
        table.insert("command".to_owned(), words.clone());
    } else {
        let line = CommandLine::split(granted.get("command")?.as_str()?);
        table.insert("command".to_owned(), json!(line.words));
    }
    for name in ["cwd", "writable-cwd", "env-secrets", "secret", "timeout"] {
        if let Some(value) = granted.get(name) {
            table.insert(name.to_owned(), value.clone());
        }
    }
    table.insert("tools".to_owned(), json!(tools));
    let arguments = granted.get("arguments").and_then(Value::as_object);
    let arguments: Map<String, Value> = arguments
        .into_iter()
        .flatten()
        .filter(|(tool, _)| tools.contains(tool.as_str()))
        .map(|(tool, schema)| (tool.clone(), schema.clone()))
        .collect();
    if !arguments.is_empty() {
        table.insert("arguments".to_owned(), Value::Object(arguments));
    }
    let unknown = granted.get("env").and_then(Value::as_array);
    let unknown = unknown.into_iter().flatten().filter_map(Value::as_str);
    Some(Server {
        id,
        table,
        unknown: unknown.map(str::to_owned).collect(),
    })
}
