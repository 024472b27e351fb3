//! The grants file, as written.
//!
//! ```toml
//! version = 1
//! component = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
//! dirs = ["./repo:rw", "./data::/data"]
//! files = ["./settings.toml::/config/settings.toml"]
//! protect = ["secrets", "*.pem"]
//! args = ["--fast"]
//! hosts = ["GET https://api.example.com/v1/*"]
//! models = ["anthropic/*"]
//! commands = ["uv run server.py"]
//!
//! [env]
//! LANG = "C.UTF-8"
//!
//! [limits]
//! memory = "256MiB"
//! wall = "10m"
//! events = 5000
//!
//! [require]
//! complete = true
//! artifacts = [{ name = "report.md" }]
//!
//! [[providers]]
//! id = "ollama"
//! base-url = "http://localhost:11434/v1"
//!
//! [[secrets]]
//! name = "github"
//! host = "https://api.github.com"
//!
//! [[mcp-servers]]
//! id = "everything"
//! command = ["npx", "-y", "@modelcontextprotocol/server-everything"]
//! tools = ["echo", "get-*"]
//! cwd = "server"
//! ```
//!
//! Host paths are relative to the file. Unknown keys are errors: a misspelt limit must not silently
//! become the default.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::GrantError;
use super::dir::DirSpec;
use super::limits::{LimitError, Limits, TABLE};
use super::models::ProviderSpec;
use super::require::Require;
use super::secrets::{Leaks, SecretSpec};
use super::single_file::FileSpec;
use super::tools::ServerSpec;
use crate::digest::Digest;
use crate::error::Hint;
use crate::foreign;

/// The version this host writes and reads.
pub const VERSION: i64 = 1;

/// A grants file is small; a larger one is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// Grants as written, in a file or as flags. Nothing in it has been checked against the host yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GrantsFile {
    /// The digest of the only component that may be run with them.
    pub component: Option<Digest>,
    /// Directories.
    pub dirs: Vec<DirSpec>,
    /// Single files.
    pub files: Vec<FileSpec>,
    /// Patterns of paths in writable directories that stay as they are, beyond those that do anyway.
    pub protect: Vec<String>,
    /// No path is protected.
    pub no_protect: bool,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Limits, by name.
    pub limits: Vec<(String, String)>,
    /// What has to be shown.
    pub require: Require,
    /// Rules of requests the agent may make.
    pub hosts: Vec<String>,
    /// Certificate authorities beside the platform's.
    pub ca_files: Vec<PathBuf>,
    /// The proxy to go through.
    pub proxy: Option<String>,
    /// Patterns of models that may be asked.
    pub models: Vec<String>,
    /// Providers.
    pub providers: Vec<ProviderSpec>,
    /// A price table.
    pub prices: Option<PathBuf>,
    /// Where secrets go.
    pub secrets: Vec<SecretSpec>,
    /// What happens to secrets found elsewhere.
    pub leaks: Option<Leaks>,
    /// MCP servers.
    pub mcp_servers: Vec<ServerSpec>,
    /// Command lines a commission's MCP servers may be started with.
    pub commands: Vec<String>,
    /// Components that are tools.
    pub tools: Vec<PathBuf>,
}

/// A grants file cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum FileError {
    #[error("cannot read the grants file `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot read the grants file `{}`: it has more than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot read the grants file `{}`: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("cannot use the grants file `{}`: {source}", path.display())]
    Limit { path: PathBuf, source: LimitError },
    #[error("cannot read the grants file `{}`: it has version {found}, this host reads {VERSION}", path.display())]
    Version { path: PathBuf, found: i64 },
}

impl Hint for FileError {
    fn hint(&self) -> Option<String> {
        match self {
            FileError::Syntax { .. } => Some(
                "keys are version, component, dirs, files, protect, no-protect, env, args, limits, require, \
                 hosts, ca-files, proxy, models, providers, prices, secrets, leaks, mcp-servers, \
                 commands and tools"
                    .to_owned(),
            ),
            FileError::Limit { source, .. } => source.hint(),
            FileError::Version { .. } => Some(format!("write `version = {VERSION}`")),
            FileError::Unreadable { .. } | FileError::TooLarge { .. } => None,
        }
    }
}

/// What an agent may touch and use up in one run.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "wasm-agent grants file")]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Version of this format.
    #[schemars(extend("const" = VERSION))]
    version: i64,
    /// The digest of the only component that may be run with these grants, as `sha256:…`.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("pattern" = "^sha256:[0-9a-f]{64}$"))]
    component: Option<Digest>,
    /// Directories, as HOST, HOST:rw or HOST::GUEST:rw. Host paths are relative to this file.
    #[serde(default)]
    dirs: Vec<String>,
    /// Single files, as HOST, HOST:rw or HOST::GUEST:rw, where GUEST is the path of the file itself. Host
    /// paths are relative to this file.
    #[serde(default)]
    files: Vec<String>,
    /// Patterns of paths in writable directories that stay as they are, beyond those that do anyway:
    /// names separated by `/`, in which `*` stands for any characters of one name, at any depth.
    #[serde(default)]
    protect: Vec<String>,
    /// Nothing is protected, not even what git, shells and editors run by themselves.
    #[serde(default, rename = "no-protect")]
    no_protect: bool,
    /// Environment variables. Nothing is inherited.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Arguments.
    #[serde(default)]
    args: Vec<String>,
    /// Limits, by name.
    #[serde(default)]
    #[schemars(schema_with = "limits_schema")]
    limits: BTreeMap<String, toml::Value>,
    /// What the run has to show to count as done. Schemas are relative to this file.
    #[serde(default)]
    require: Require,
    /// Requests the agent may make, as `[METHOD,… ][SCHEME://]HOST[:PORT][/PATH]`.
    #[serde(default)]
    hosts: Vec<String>,
    /// PEM files of certificate authorities that are trusted besides the platform's.
    #[serde(default, rename = "ca-files")]
    ca_files: Vec<PathBuf>,
    /// URL of the proxy every request goes through.
    #[serde(default)]
    proxy: Option<String>,
    /// Patterns of `provider/model` the agent may ask, in which `*` stands for any characters.
    #[serde(default)]
    models: Vec<String>,
    /// Providers that are not well-known, or reached elsewhere.
    #[serde(default)]
    providers: Vec<ProviderSpec>,
    /// A price table in CSV that is used instead of the built-in one.
    #[serde(default)]
    prices: Option<PathBuf>,
    /// Where secrets are put on the wire.
    #[serde(default)]
    secrets: Vec<SecretSpec>,
    /// What happens when a secret is found where it does not belong: block (the default), redact or warn.
    #[serde(default)]
    leaks: Option<Leaks>,
    /// MCP servers whose tools the agent may use.
    #[serde(default, rename = "mcp-servers")]
    mcp_servers: Vec<ServerSpec>,
    /// Command lines a commission's MCP servers may be started with, word by word as written there.
    #[serde(default)]
    commands: Vec<String>,
    /// Components that are tools.
    #[serde(default)]
    tools: Vec<PathBuf>,
}

/// The JSON Schema of a grants file, for editors.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(Raw).to_value()
}

fn limits_schema(_: &mut SchemaGenerator) -> Schema {
    let limits = TABLE.iter().map(|limit| {
        let schema = json!({
            "description": limit.doc,
            "type": ["string", "integer"],
            "default": limit.default,
        });
        (limit.name.to_owned(), schema)
    });
    json_schema!({
        "description": "Limits, by name.",
        "type": "object",
        "properties": limits.collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

impl GrantsFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// See [`FileError`]; a malformed directory grant is a [`super::dir::DirError`].
    pub fn read(path: &Path) -> Result<GrantsFile, GrantError> {
        let unreadable = |source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
            return Err(FileError::TooLarge {
                path: path.to_owned(),
            }
            .into());
        }
        let text = foreign::read_text(path, MAX_BYTES).map_err(unreadable)?;
        Self::parse(&text, path)
    }

    /// Parses the text of the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`GrantsFile::read`].
    pub fn parse(text: &str, path: &Path) -> Result<GrantsFile, GrantError> {
        let syntax = |reason: String| FileError::Syntax {
            path: path.to_owned(),
            reason,
        };
        let raw: Raw = toml::from_str(text)
            .map_err(|error| syntax(error.to_string().trim_end().to_owned()))?;
        if raw.version != VERSION {
            return Err(FileError::Version {
                path: path.to_owned(),
                found: raw.version,
            }
            .into());
        }
        let base = path.parent().unwrap_or(Path::new("."));
        let dirs = raw
            .dirs
            .iter()
            .map(|spec| Ok(spec.parse::<DirSpec>()?.relative_to(base)))
            .collect::<Result<_, GrantError>>()?;
        let files = raw
            .files
            .iter()
            .map(|spec| Ok(spec.parse::<FileSpec>()?.relative_to(base)))
            .collect::<Result<_, GrantError>>()?;
        let limits = raw
            .limits
            .into_iter()
            .map(|(name, value)| match value {
                toml::Value::String(text) => Ok((name, text)),
                toml::Value::Integer(number) => Ok((name, number.to_string())),
                _ => Err(syntax(format!(
                    "limit `{name}` has to be a string or a number"
                ))),
            })
            .collect::<Result<Vec<_>, FileError>>()?;
        // Here, where it is known which file says so.
        for (name, value) in &limits {
            Limits::default()
                .set(name, value)
                .map_err(|source| FileError::Limit {
                    path: path.to_owned(),
                    source,
                })?;
        }
        let mut mcp_servers = raw.mcp_servers;
        for server in &mut mcp_servers {
            server.cwd = server.cwd.take().map(|cwd| base.join(cwd));
        }
        Ok(GrantsFile {
            component: raw.component,
            dirs,
            files,
            protect: raw.protect,
            no_protect: raw.no_protect,
            env: raw.env,
            args: raw.args,
            limits,
            require: raw.require.relative_to(base),
            hosts: raw.hosts,
            ca_files: raw.ca_files.iter().map(|path| base.join(path)).collect(),
            proxy: raw.proxy,
            models: raw.models,
            providers: raw.providers,
            prices: raw.prices.map(|path| base.join(path)),
            secrets: raw.secrets,
            leaks: raw.leaks,
            mcp_servers,
            commands: raw.commands,
            tools: raw.tools.iter().map(|path| base.join(path)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grants, Protection};
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<GrantsFile, String> {
        GrantsFile::parse(text, Path::new("/etc/grants.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_grants_nothing() {
        assert_eq!(parse("version = 1").unwrap(), GrantsFile::default());
    }

    #[test]
    fn the_schema_agrees_with_the_parser() {
        let schema = jsonschema::validator_for(&schema()).unwrap();
        let documented: String = include_str!("file.rs")
            .lines()
            .skip_while(|line| *line != "//! ```toml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n")
            .collect();
        for (text, good) in [
            (documented.as_str(), true),
            ("version = 1", true),
            ("", false),
            ("version = 2", false),
            ("version = 1\nhosts = ['example.org']", true),
            ("version = 1\ncomponent = 'sha256:00'", false),
            ("version = 1\nhosts = 'example.org'", false),
            ("version = 1\nleaks = 'allow'", false),
            ("version = 1\n[[providers]]\nid = 'x'\nurl = 'y'", false),
            ("version = 1\n[[secrets]]\nname = 'x'", false),
            (
                "version = 1\n[[mcp-servers]]\nid = 'x'\ncommand = 'y'",
                false,
            ),
            ("version = 1\ndirs = 'repo'", false),
            ("version = 1\n[env]\nA = 1", false),
            ("version = 1\nno-protect = true", true),
            ("version = 1\nno-protect = 'yes'", false),
            ("version = 1\nno_protect = true", false),
            ("version = 1\nprotect = '*.pem'", false),
            ("version = 1\n[limits]\nmemory = 1.5", false),
            ("version = 1\n[require]\noutput-schema = true", true),
            ("version = 1\n[require]\noutput_schema = true", false),
            ("version = 1\n[require]\ncomplete = 'yes'", false),
            (
                "version = 1\n[[require.artifacts]]\nname = 'a'\nschema = 's'",
                true,
            ),
            ("version = 1\n[[require.artifacts]]\nschema = 's'", false),
            (
                "version = 1\n[[require.artifacts]]\nname = 'a'\nsha = 's'",
                false,
            ),
        ] {
            let value: Value = toml::from_str(text).unwrap();
            assert_eq!(schema.is_valid(&value), good, "{text}");
            assert_eq!(parse(text).is_ok(), good, "{text}");
        }
        let misspelt: Value = toml::from_str("version = 1\n[limits]\nmemroy = 5").unwrap();
        assert!(!schema.is_valid(&misspelt));
    }

    #[test]
    fn a_limit_that_is_wrong_names_the_file() {
        for text in ["memroy = 5", "memory = 'a lot'", "wall = 0"] {
            let error = parse(&format!("version = 1\n[limits]\n{text}")).unwrap_err();
            assert!(error.contains("`/etc/grants.toml`"), "{error}");
        }
        let error = GrantsFile::parse("version = 1\n[limits]\nwall = 'x'", Path::new("g"));
        let hint = error.unwrap_err().hint().unwrap();
        assert!(hint.starts_with("write it like"), "{hint}");
    }

    #[test]
    fn host_paths_are_relative_to_the_file() {
        let grants = parse("version = 1\ndirs = ['repo:rw']\nfiles = ['a.toml']").unwrap();
        assert_eq!(grants.files[0].host, PathBuf::from("/etc/a.toml"));
        assert_eq!(grants.dirs[0].host, PathBuf::from("/etc/repo"));
    }

    #[test]
    fn what_is_protected_adds_up_and_is_part_of_the_grants() {
        let file = |text: &str| parse(&format!("version = 1\n{text}")).unwrap();
        let grants =
            Grants::resolve(file("protect = ['b', 'a']"), file("protect = ['c', 'a']")).unwrap();
        assert_eq!(grants.to_host_json()["protect"], json!(["a", "b", "c"]));
        assert_eq!(grants.to_guest_json()["protect"], json!(["a", "b", "c"]));

        let off = Grants::resolve(file(""), file("no-protect = true")).unwrap();
        assert_eq!(off.protection, Protection::Off);
        assert_eq!(off.to_host_json()["no-protect"], json!(true));

        let standard = Grants::resolve(file(""), file("no-protect = false")).unwrap();
        assert_eq!(standard, Grants::default());
        let json = standard.to_host_json();
        assert!(json.get("protect").is_none() && json.get("no-protect").is_none());

        for (a, b) in [
            ("protect = ['a']", "no-protect = true"),
            ("no-protect = true", "protect = ['a']"),
            ("protect = ['..']", ""),
        ] {
            assert!(Grants::resolve(file(a), file(b)).is_err(), "{a} {b}");
        }
    }

    #[test]
    fn unknown_keys_versions_and_types_are_refused() {
        for text in [
            "",
            "version = 2",
            "version = '1'",
            "version = 1\nhost = ['example.org']",
            "version = 1\ndirs = 'repo'",
            "version = 1\n[limits]\nmemory = 1.5",
            "version = 1\n[env]\nA = 1",
            "version = 1\ndirs = ['::x']",
            "not toml",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("version = 1\n{text}"));
        }
    }
}
