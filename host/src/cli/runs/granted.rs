//! What a run was granted, in the words of the flags.

use serde_json::Value;
use wasm_agent::grants::{Limits, limits};

use super::super::text::printable;

/// Keys of `run.json` whose values a flag says as they are.
const LISTS: [(&str, &str); 10] = [
    ("dirs", "--dir"),
    ("files", "--file"),
    ("protect", "--protect"),
    ("hosts", "--allow-host"),
    ("ca-files", "--ca-file"),
    ("models", "--allow-model"),
    ("commands", "--allow-command"),
    ("tools", "--tool"),
    ("env", "--env"),
    ("args", "--arg"),
];

/// What was granted, in the words of the flags. Limits that are the default are left out; what no flag can say,
/// such as the tools of a server that are allowed, is in the JSON report.
pub(super) fn granted(grants: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: &str| parts.push(format!("{name} {}", word(value)));
    for (key, name) in LISTS {
        for value in list(grants, key).filter_map(Value::as_str) {
            flag(name, value);
        }
    }
    let text = |key: &str| grants.get(key).and_then(Value::as_str);
    if let Some(component) = text("component") {
        flag("--component", component);
    }
    if let Some(proxy) = text("proxy") {
        flag("--proxy", proxy);
    }
    if let Some(prices) = text("prices") {
        flag("--prices", prices);
    }
    for provider in list(grants, "providers") {
        match member(provider, "base-url") {
            Some(url) => flag("--provider", &format!("{}={url}", id(provider))),
            None => flag("--provider", id(provider)),
        }
    }
    for secret in list(grants, "secrets") {
        let name = member(secret, "name").unwrap_or_default();
        let host = member(secret, "host").unwrap_or_default();
        flag("--secret", &format!("{name}@{host}"));
    }
    if let Some(leaks) = text("leaks").filter(|leaks| *leaks != "block") {
        flag("--leaks", leaks);
    }
    for server in list(grants, "mcp-servers") {
        let reached = member(server, "url").or(member(server, "command"));
        let reached = reached.unwrap_or_default();
        flag("--mcp", &format!("{}={reached}", id(server)));
        if let Some(cwd) = member(server, "cwd") {
            let writable = server.get("writable-cwd").and_then(Value::as_bool) == Some(true);
            let name = if writable {
                "--mcp-writable-cwd"
            } else {
                "--mcp-cwd"
            };
            flag(name, &format!("{}={cwd}", id(server)));
        }
    }
    for evidence in required(grants) {
        flag("--require", &evidence);
    }
    for limit in changed_limits(grants) {
        flag("--limit", &limit);
    }
    if grants.get("no-protect").and_then(Value::as_bool) == Some(true) {
        parts.push("--no-protect".to_owned());
    }
    if parts.is_empty() {
        "none".to_owned()
    } else {
        parts.join(" ")
    }
}

/// One value, in quotes where it would not be told from the next flag.
fn word(value: &str) -> String {
    let shown = printable(value);
    if shown.is_empty() || shown.contains([' ', '\'']) {
        format!("'{}'", shown.replace('\'', "'\\''"))
    } else {
        shown
    }
}

fn list<'a>(grants: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    let list = grants.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn id(value: &Value) -> &str {
    member(value, "id").unwrap_or_default()
}

/// What was required, in the words of the flag.
fn required(grants: &Value) -> impl Iterator<Item = String> {
    let is_required = |name| grants.pointer(name).and_then(Value::as_bool) == Some(true);
    let complete = is_required("/require/complete").then(|| "complete".to_owned());
    let output = is_required("/require/output-schema").then(|| "output-schema".to_owned());
    let artifacts = grants
        .pointer("/require/artifacts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|artifact| {
            let name = artifact.get("name")?.as_str()?;
            let schema = artifact.pointer("/schema/path").and_then(Value::as_str);
            Some(schema.map_or_else(
                || format!("artifact={name}"),
                |schema| format!("artifact={name}:{schema}"),
            ))
        });
    complete.into_iter().chain(artifacts).chain(output)
}

/// Limits that are not the default.
fn changed_limits(grants: &Value) -> Vec<String> {
    let default = Limits::default().to_json();
    let of_run = grants.get("limits").and_then(Value::as_object);
    let changed = of_run
        .into_iter()
        .flatten()
        .filter(|(name, value)| default.get(name) != Some(value));
    changed
        .map(|(name, value)| {
            let shown = match value {
                Value::Number(number) => limits::show(name, number.as_u64().unwrap_or(0)),
                other => other.as_str().unwrap_or_default().to_owned(),
            };
            format!("{name}={shown}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_was_granted_is_shown() {
        let grants = json!({
            "component": "sha256:00",
            "dirs": ["/repo::/work:rw"],
            "hosts": ["GET api.example.com"],
            "ca-files": ["/ca.pem"],
            "proxy": "http://proxy:3128",
            "models": ["anthropic/*"],
            "providers": [{ "id": "ollama", "base-url": "http://localhost:11434/v1" }],
            "prices": "/prices.csv",
            "secrets": [{ "name": "key", "host": "api.example.com", "header": "x-key" }],
            "leaks": "warn",
            "mcp-servers": [
                { "id": "files", "command": "npx files", "cwd": "/srv" },
                { "id": "web", "url": "https://x.org/mcp", "tools": ["*"] },
            ],
            "commands": ["npx other"],
            "tools": ["/search.wasm"],
            "args": ["it's\u{1b}[2J", ""],
        });
        let shown = granted(&grants).replace(" --", "\n--");
        let expected = [
            "--dir /repo::/work:rw",
            "--allow-host 'GET api.example.com'",
            "--ca-file /ca.pem",
            "--allow-model anthropic/*",
            "--allow-command 'npx other'",
            "--tool /search.wasm",
            r"--arg 'it'\''s [2J'",
            "--arg ''",
            "--component sha256:00",
            "--proxy http://proxy:3128",
            "--prices /prices.csv",
            "--provider ollama=http://localhost:11434/v1",
            "--secret key@api.example.com",
            "--leaks warn",
            "--mcp 'files=npx files'",
            "--mcp-cwd files=/srv",
            "--mcp web=https://x.org/mcp",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
        assert_eq!(granted(&json!({ "secrets": [], "leaks": "block" })), "none");
    }
}
