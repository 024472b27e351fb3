//! Tools: MCP servers, commands that may be started for a commission, tool components.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::dir::{Access, DirGrant};
use super::limits::Unit;
use super::pattern::covers;
use crate::error::Hint;
use crate::schema::{Schema, SchemaError};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// An MCP server as written: a command the host starts, or a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServerSpec {
    /// Unique among the servers of a run, `[a-z0-9_-]+`.
    pub id: String,
    /// The program and its arguments. It runs outside the sandbox, with the operator's `PATH`, a `HOME`
    /// and a `TMPDIR` of its own, and nothing else in its environment. Words that are paths, with a `/` or a `.`
    /// in them, and lead to something from where wasm-agent was started, are made absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Directory the command is started in, relative to this file; an empty one of its own if left out. Paths in the
    /// command then begin there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Start the command in `cwd` although the agent may write there: what it finds there, it may run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable_cwd: bool,
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
    pub commands: Vec<CommandLine>,
    /// Components that are tools.
    pub components: Vec<PathBuf>,
}

/// A grant of a tool cannot be given as it was written.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum ToolsError {
    #[error("cannot grant the MCP server `{id}`: {reason}")]
    Server { id: String, reason: String },
    #[error(
        "cannot use the schema for the arguments of `{tool}` of the MCP server `{id}`: {source}"
    )]
    Arguments {
        id: String,
        tool: String,
        source: SchemaError,
    },
    #[error("cannot start the MCP server `{id}` in `{}`: the agent may write there, and the server may run what it finds", cwd.display())]
    WritableCwd { id: String, cwd: PathBuf },
    #[error("cannot grant the command `{line}`: it names no program")]
    Command { line: String },
    #[error("cannot grant the tool component `{}`: {reason}", path.display())]
    Component { path: PathBuf, reason: String },
}

impl Hint for ToolsError {
    fn hint(&self) -> Option<String> {
        match self {
            ToolsError::Server { .. } => Some(
                "write `--mcp ID=URL`, `--mcp ID=COMMAND` or a [[mcp-servers]] table with an id and \
                 either a command or a url"
                    .to_owned(),
            ),
            ToolsError::Arguments { source, .. } => source.hint(),
            ToolsError::Command { .. } => {
                Some("write the program and its arguments, as the commission has them".to_owned())
            }
            ToolsError::WritableCwd { id, cwd } => Some(format!(
                "choose another directory, or ask for it: `writable-cwd = true`, `--mcp-writable-cwd {id}={}`",
                cwd.display()
            )),
            ToolsError::Component { .. } => None,
        }
    }
}

/// A command line the host may start: variables, then the program and its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Variables the program gets.
    pub env: BTreeMap<String, String>,
    /// The program and its arguments; not empty.
    pub words: Vec<String>,
    /// Where it is started; in an empty directory of its own without.
    pub cwd: Option<PathBuf>,
}

impl CommandLine {
    /// Reads a line: words separated by spaces, the first of which may be `NAME=VALUE`. There is no shell
    /// and there are no quotes.
    #[must_use]
    pub fn split(line: &str) -> CommandLine {
        let mut words = line.split_whitespace().peekable();
        let mut env = BTreeMap::new();
        while let Some((name, value)) = words.peek().and_then(|word| assignment(word)) {
            env.insert(name.to_owned(), value.to_owned());
            words.next();
        }
        CommandLine {
            env,
            words: words.map(str::to_owned).collect(),
            cwd: None,
        }
    }

    /// The same for a process that is started elsewhere: paths of this process's directory are absolute.
    #[must_use]
    pub fn from_here(&self) -> CommandLine {
        CommandLine {
            words: match self.cwd {
                None => words_from_here(&self.words),
                Some(_) => self.words.clone(),
            },
            ..self.clone()
        }
    }
}

/// Words of a command line with absolute paths for those that lead to something from here. A plain name stays what it
/// is: it may be a word that only looks like a file.
fn words_from_here(words: &[String]) -> Vec<String> {
    let placed = |(at, word): (usize, &String)| {
        let path = match at {
            0 => word.contains('/').then_some(word.as_str()),
            _ => words_as_paths(word).last(),
        };
        let Some(path) = path.filter(|path| path.contains(['/', '.'])) else {
            return word.clone();
        };
        match std::path::absolute(path) {
            Ok(there) if Path::new(path).is_relative() && there.exists() => {
                let before = word.strip_suffix(path).unwrap_or_default();
                format!("{before}{}", there.display())
            }
            _ => word.clone(),
        }
    };
    words.iter().enumerate().map(placed).collect()
}

/// What of a word could be a path: all of it, and what stands behind `--option=`.
pub(super) fn words_as_paths(word: &str) -> impl Iterator<Item = &str> {
    let value = word
        .strip_prefix('-')
        .and_then(|option| option.split_once('='))
        .map(|(_, value)| value);
    std::iter::once(word)
        .chain(value)
        .filter(|path| !path.is_empty())
}

/// The file a program is started from, as far as it can be found: by its path from `cwd`, or by its name in `PATH`.
pub(crate) fn find_program(program: &str, cwd: &Path) -> Option<PathBuf> {
    let found = |path: PathBuf| path.is_file().then_some(path);
    if program.contains('/') {
        return found(cwd.join(program));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl CommandLine {
    /// The line it was read from, with the values of variables.
    #[must_use]
    pub fn to_line(&self) -> String {
        let env = self
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let words: Vec<_> = env.chain(self.words.iter().cloned()).collect();
        words.join(" ")
    }
}

impl std::fmt::Display for CommandLine {
    /// Without the values of variables.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for name in self.env.keys() {
            write!(f, "{name}=… ")?;
        }
        f.write_str(&self.words.join(" "))
    }
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, _)| is_variable(name))
}

fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl ServerSpec {
    /// Whether the operator lets a tool of this name be used.
    #[must_use]
    pub fn allows(&self, tool: &str) -> bool {
        let patterns = self.tools.as_deref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| covers(pattern, tool)))
    }

    /// What may be used of it, without where it is and what it gets.
    #[must_use]
    pub(super) fn without_place(&self) -> ServerSpec {
        ServerSpec {
            id: self.id.clone(),
            tools: self.tools.clone(),
            arguments: self.arguments.clone(),
            timeout: self.timeout.clone(),
            ..ServerSpec::default()
        }
    }

    /// The same for whoever is started elsewhere: every path is absolute.
    #[must_use]
    pub(super) fn anchored(&self) -> ServerSpec {
        let cwd = self.cwd.as_ref();
        ServerSpec {
            cwd: cwd.map(|cwd| std::path::absolute(cwd).unwrap_or_else(|_| cwd.clone())),
            command: match cwd {
                None => words_from_here(&self.command),
                Some(_) => self.command.clone(),
            },
            ..self.clone()
        }
    }

    /// The longest one call may take, in milliseconds, where that is said.
    #[must_use]
    pub fn timeout_ms(&self) -> Option<u64> {
        let text = self.timeout.as_deref()?;
        Unit::Duration.parse(text).ok()
    }

    /// What it is, in words: its URL, or the command that is started. Without values of variables.
    #[must_use]
    pub fn reached(&self) -> String {
        match &self.url {
            Some(url) => url.clone(),
            None => {
                let given = self.env.keys().chain(self.env_secrets.keys());
                let line = CommandLine {
                    env: given.map(|name| (name.clone(), String::new())).collect(),
                    words: self.command.clone(),
                    cwd: None,
                };
                line.to_string()
            }
        }
    }

    /// What has to be known beyond [`ServerSpec::reached`] to write it down again; values of variables are not.
    fn rest_to_json(&self, shown: &mut Value) {
        if self
            .command
            .iter()
            .any(|word| word.contains(char::is_whitespace) || word.is_empty())
        {
            shown["words"] = json!(self.command);
        }
        if let Some(cwd) = &self.cwd {
            shown["cwd"] = json!(cwd);
        }
        if self.writable_cwd {
            shown["writable-cwd"] = json!(true);
        }
        if !self.env.is_empty() {
            shown["env"] = json!(self.env.keys().collect::<Vec<_>>());
        }
        if !self.env_secrets.is_empty() {
            shown["env-secrets"] = json!(self.env_secrets);
        }
        if let Some(secret) = &self.secret {
            shown["secret"] = json!(secret);
        }
        if let Some(timeout) = &self.timeout {
            shown["timeout"] = json!(timeout);
        }
    }

    fn check(&self) -> Result<(), ToolsError> {
        let wrong = |reason: &str| {
            Err(ToolsError::Server {
                id: self.id.clone(),
                reason: reason.to_owned(),
            })
        };
        let is_id = |text: &str| {
            !text.is_empty()
                && text.len() <= MAX_ID
                && text.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-')
                })
        };
        if !is_id(&self.id) {
            return wrong("an id has up to 64 lowercase letters, digits, `_` and `-`");
        }
        match (&self.url, self.command.as_slice()) {
            (None, []) => return wrong("it has neither a command nor a url"),
            (Some(_), [_, ..]) => return wrong("it has both a command and a url"),
            (Some(url), []) => {
                let url = match url::Url::parse(url) {
                    Ok(url) => url,
                    Err(error) => return wrong(&format!("its url is wrong: {error}")),
                };
                if !matches!(url.scheme(), "http" | "https") {
                    return wrong("its url is neither http nor https");
                }
                if !url.username().is_empty() || url.password().is_some() {
                    return wrong("its url has a user or a password in it; name a secret instead");
                }
                if !self.env.is_empty() || !self.env_secrets.is_empty() {
                    return wrong("only a command has an environment");
                }
                if self.cwd.is_some() {
                    return wrong("only a command has a directory it is started in");
                }
            }
            (None, [program, ..]) => {
                if program.is_empty() {
                    return wrong("it names no program");
                }
                if self.command.iter().any(|word| word.contains('\0')) {
                    return wrong("its command contains a zero byte");
                }
                if self.secret.is_some() {
                    return wrong("only a url has a secret; give a command `env-secrets`");
                }
            }
        }
        if let Some(name) = self
            .env
            .keys()
            .chain(self.env_secrets.keys())
            .find(|name| !is_variable(name))
        {
            return wrong(&format!("`{name}` is not the name of a variable"));
        }
        if self.env.values().any(|value| value.contains('\0')) {
            return wrong("a variable contains a zero byte");
        }
        if let Some(name) = self
            .env_secrets
            .keys()
            .find(|name| self.env.contains_key(*name))
        {
            return wrong(&format!("the variable `{name}` is given twice"));
        }
        if let Some(cwd) = &self.cwd
            && !cwd.is_dir()
        {
            return wrong(&format!("there is no directory `{}`", cwd.display()));
        }
        if self.writable_cwd && self.cwd.is_none() {
            return wrong("it has no `cwd` that could be writable");
        }
        if let Some(text) = &self.timeout
            && let Err(reason) = Unit::Duration.parse(text)
        {
            return wrong(&format!("its timeout `{text}` is wrong: {reason}"));
        }
        for (tool, schema) in &self.arguments {
            Schema::parse(schema.to_string().as_bytes()).map_err(|source| {
                ToolsError::Arguments {
                    id: self.id.clone(),
                    tool: tool.clone(),
                    source,
                }
            })?;
            if !self.allows(tool) {
                return wrong(&format!(
                    "`{tool}` has a schema for its arguments and is not allowed"
                ));
            }
        }
        Ok(())
    }
}

impl ToolsGrant {
    /// Refuses to start a server where an agent with these directories may write: what programs find in the directory
    /// they are started in, many of them run.
    pub(super) fn check_cwd(&self, dirs: &[DirGrant]) -> Result<(), ToolsError> {
        for server in &self.servers {
            let Some(cwd) = server.cwd.as_ref().filter(|_| !server.writable_cwd) else {
                continue;
            };
            let real = cwd.canonicalize().unwrap_or_else(|_| cwd.clone());
            let mut writable = dirs.iter().filter(|dir| dir.access != Access::ReadOnly);
            if writable.any(|dir| real.starts_with(&dir.host)) && !down(Wall::ServerDirectory) {
                return Err(ToolsError::WritableCwd {
                    id: server.id.clone(),
                    cwd: cwd.clone(),
                });
            }
        }
        Ok(())
    }

    /// What the agent may know: what there is, and no command, URL or path.
    #[must_use]
    pub fn to_guest_json(&self) -> Option<Value> {
        let servers = self.servers.iter().map(|server| {
            let mut shown = Map::from_iter([("id".to_owned(), json!(server.id))]);
            if let Some(tools) = &server.tools {
                shown.insert("tools".to_owned(), json!(tools));
            }
            if !server.arguments.is_empty() {
                shown.insert("arguments".to_owned(), json!(server.arguments));
            }
            Value::Object(shown)
        });
        let servers: Vec<_> = servers.collect();
        (!servers.is_empty()).then(|| json!(servers))
    }

    /// The same, with commands, URLs and paths, and without values of variables.
    #[must_use]
    pub fn to_host_json(&self) -> Map<String, Value> {
        let mut map = Map::new();
        if let Some(Value::Array(mut servers)) = self.to_guest_json() {
            for (shown, server) in servers.iter_mut().zip(&self.servers) {
                let key = if server.url.is_some() {
                    "url"
                } else {
                    "command"
                };
                shown[key] = json!(server.reached());
                server.rest_to_json(shown);
            }
            map.insert("mcp-servers".to_owned(), servers.into());
        }
        if !self.commands.is_empty() {
            let commands = self.commands.iter().map(ToString::to_string);
            map.insert("commands".to_owned(), commands.collect());
        }
        if !self.components.is_empty() {
            map.insert("tools".to_owned(), json!(self.components));
        }
        map
    }
}

/// Longest id of a server: it is part of the names of its tools.
const MAX_ID: usize = 64;

/// Checks what was written.
///
/// # Errors
///
/// See [`ToolsError`].
pub(super) fn resolve(
    servers: Vec<ServerSpec>,
    commands: &[String],
    components: Vec<PathBuf>,
) -> Result<ToolsGrant, ToolsError> {
    let mut ids = std::collections::BTreeSet::new();
    for server in &servers {
        server.check()?;
        if !ids.insert(server.id.as_str()) {
            return Err(ToolsError::Server {
                id: server.id.clone(),
                reason: "another server has this id".to_owned(),
            });
        }
    }
    let commands = commands.iter().map(|line| {
        let command = CommandLine::split(line);
        if command.words.is_empty() || line.contains('\0') {
            return Err(ToolsError::Command { line: line.clone() });
        }
        Ok(command)
    });
    let commands = commands.collect::<Result<_, _>>()?;
    for path in &components {
        if !path.is_file() {
            return Err(ToolsError::Component {
                path: path.clone(),
                reason: "there is no such file".to_owned(),
            });
        }
    }
    Ok(ToolsGrant {
        servers,
        commands,
        components,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(edit: impl FnOnce(&mut ServerSpec)) -> Result<ToolsGrant, String> {
        let mut spec = ServerSpec {
            id: "time".to_owned(),
            command: vec!["server".to_owned()],
            ..ServerSpec::default()
        };
        edit(&mut spec);
        resolve(vec![spec], &[], Vec::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_with_a_server_is_said() {
        assert!(server(|_| ()).is_ok());
        type Change = fn(&mut ServerSpec);
        let wrong: [(Change, &str); 9] = [
            (|it| it.id = "Time".to_owned(), "lowercase"),
            (|it| it.command.clear(), "neither"),
            (|it| it.url = Some("https://x.org".to_owned()), "both"),
            (
                |it| (it.command, it.url) = (vec![], Some("ftp://x.org".to_owned())),
                "neither http",
            ),
            (
                |it| (it.command, it.url) = (vec![], Some("https://me:pw@x.org".to_owned())),
                "user or a password",
            ),
            (|it| it.timeout = Some("soon".to_owned()), "timeout"),
            (|it| it.secret = Some("x".to_owned()), "only a url"),
            (
                |it| drop(it.env.insert("A B".to_owned(), String::new())),
                "not the name of a variable",
            ),
            (
                |it| {
                    drop(
                        it.arguments
                            .insert("t".to_owned(), serde_json::json!({"type": 7})),
                    );
                },
                "schema for the arguments",
            ),
        ];
        for (edit, reason) in wrong {
            let error = server(edit).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let twice = vec![
            ServerSpec {
                id: "a".into(),
                command: vec!["b".into()],
                ..ServerSpec::default()
            };
            2
        ];
        let error = resolve(twice, &[], Vec::new()).unwrap_err().to_string();
        assert!(error.contains("another server"), "{error}");
    }

    #[test]
    fn a_command_line_is_words_after_variables() {
        let line = CommandLine::split("HOME=/x A= uv run a=b.py");
        assert_eq!(line.words, ["uv", "run", "a=b.py"]);
        assert_eq!(line.env.len(), 2);
        assert_eq!(line.to_string(), "A=… HOME=… uv run a=b.py");
        assert!(resolve(vec![], &["A=b".to_owned()], Vec::new()).is_err());
    }
}
