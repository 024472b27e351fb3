//! The grant flags, shared by every command that runs an agent.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use wasm_agent::digest::Digest;
use wasm_agent::grants::models::ProviderSpec;
use wasm_agent::grants::secrets::{Leaks, SecretSpec};
use wasm_agent::grants::tools::{CommandLine, ServerSpec};
use wasm_agent::grants::{DirSpec, FileSpec, GrantError, Grants, GrantsFile, Limits, Outside};
use wasm_agent::run::Places;

use super::failure::Failure;

/// What the agent may touch. Everything else does not exist for it.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Grants")]
pub(super) struct GrantFlags {
    /// Read grants from a TOML file; flags add to it and win over it
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,

    /// Run no component but the one with this digest, as `inspect` prints it
    #[arg(long, value_name = "DIGEST")]
    component: Option<Digest>,

    /// Grant a directory: at /work unless `::GUEST` says where, read-only unless `:rw` says otherwise
    #[arg(long = "dir", value_name = "HOST[::GUEST][:ro|:rw|:cow]")]
    dirs: Vec<String>,

    /// Grant a single file, read-only or to be changed in place; GUEST is its path for the agent
    #[arg(long = "file", value_name = "HOST[::GUEST][:ro|:rw]")]
    files: Vec<String>,

    /// Keep matching paths in writable directories as they are, such as secrets or *.pem, at any depth
    #[arg(long, value_name = "PATTERN")]
    protect: Vec<String>,

    /// Let the agent change everything in writable directories, git hooks and shell configuration included
    #[arg(long, conflicts_with = "protect")]
    no_protect: bool,

    /// Let the agent make requests that match, such as api.example.com or `GET https://example.com/v1/*`
    #[arg(
        long = "allow-host",
        value_name = "[METHOD ][SCHEME://]HOST[:PORT][/PATH]"
    )]
    hosts: Vec<String>,

    /// Trust the certificate authorities in a PEM file besides the platform's
    #[arg(long = "ca-file", value_name = "FILE")]
    ca_files: Vec<PathBuf>,

    /// Send every request through a proxy; nothing is taken from the environment
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// Let the agent ask models that match, such as anthropic/*; `--model` allows the one it names
    #[arg(long = "allow-model", value_name = "PROVIDER/MODEL")]
    models: Vec<String>,

    /// Where a provider is, such as ollama=http://localhost:11434/v1
    #[arg(long = "provider", value_name = "ID=URL")]
    providers: Vec<String>,

    /// Use a price table in CSV instead of the built-in one
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,

    /// Put a secret into the `authorization` header of requests that match; `wasm-agent secret` stores them
    #[arg(long = "secret", value_name = "NAME@HOST")]
    secrets: Vec<String>,

    /// What happens when a secret is found where it does not belong
    #[arg(long, value_name = "block|redact|warn")]
    leaks: Option<String>,

    /// Give the agent the tools of an MCP server: a URL, or a command that runs outside the sandbox
    #[arg(long = "mcp", value_name = "ID=URL|COMMAND")]
    mcp_servers: Vec<String>,

    /// Start the command of an MCP server in this directory instead of an empty one
    #[arg(long = "mcp-cwd", value_name = "ID=DIR")]
    mcp_cwd: Vec<String>,

    /// The same for a directory the agent may write to: the server may run what the agent puts there
    #[arg(long = "mcp-writable-cwd", value_name = "ID=DIR")]
    mcp_writable_cwd: Vec<String>,

    /// Let a commission start an MCP server with exactly this command line, outside the sandbox
    #[arg(long = "allow-command", value_name = "COMMAND")]
    commands: Vec<String>,

    /// Give the agent the tools of a component
    #[arg(long = "tool", value_name = "COMPONENT")]
    tools: Vec<PathBuf>,

    /// Set an environment variable; nothing is inherited
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Pass an argument to the agent
    #[arg(long = "arg", value_name = "VALUE", allow_hyphen_values = true)]
    args: Vec<String>,

    /// Set a limit, such as memory=256MiB, cpu=30s or events=5000; `wasm-agent limits` lists them all
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,

    /// What the run has to show to count as done; without it, it ends as incomplete
    #[arg(long, value_name = "complete|artifact=NAME[:SCHEMA]|output-schema")]
    require: Vec<String>,

    /// The longest the run may take, such as 90s or 10m: the same as `--limit wall=TIME`
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
}

impl GrantFlags {
    /// Whether anything is said about grants at all.
    pub(super) fn any(&self) -> bool {
        self.grants.is_some()
            || self.component.is_some()
            || self.timeout.is_some()
            || self.no_protect
            || self.proxy.is_some()
            || self.prices.is_some()
            || self.leaks.is_some()
            || !self.ca_files.is_empty()
            || !self.tools.is_empty()
            || [
                &self.dirs,
                &self.files,
                &self.protect,
                &self.env,
                &self.args,
                &self.limits,
                &self.require,
                &self.hosts,
                &self.models,
                &self.providers,
                &self.secrets,
                &self.mcp_servers,
                &self.mcp_cwd,
                &self.mcp_writable_cwd,
                &self.commands,
            ]
            .iter()
            .any(|flag| !flag.is_empty())
    }

    /// Grants as resolved from the file and the flags, and the model the operator names: saying which
    /// model to use allows it.
    pub(super) fn resolve_with_model(&self, model: Option<&str>) -> Result<Grants, Failure> {
        let mut grants = self.resolve()?;
        grants.models.allow.extend(model.map(str::to_owned));
        Ok(grants)
    }

    /// Grants as resolved from the file and the flags.
    pub(super) fn resolve(&self) -> Result<Grants, Failure> {
        let mut file = match &self.grants {
            Some(path) => GrantsFile::read(path)?,
            None => GrantsFile::default(),
        };
        let mut flags = GrantsFile {
            component: self.component,
            protect: self.protect.clone(),
            no_protect: self.no_protect,
            args: self.args.clone(),
            hosts: self.hosts.clone(),
            ca_files: self.ca_files.clone(),
            proxy: self.proxy.clone(),
            models: self.models.clone(),
            prices: self.prices.clone(),
            commands: self.commands.clone(),
            tools: self.tools.clone(),
            ..GrantsFile::default()
        };
        for dir in &self.dirs {
            flags
                .dirs
                .push(dir.parse::<DirSpec>()?.relative_to(Path::new("")));
        }
        for file in &self.files {
            let file = file.parse::<FileSpec>()?.relative_to(Path::new(""));
            flags.files.push(file);
        }
        for pair in &self.env {
            let (name, value) = split(pair, "--env")?;
            flags.env.insert(name, value);
        }
        for pair in &self.limits {
            flags.limits.push(split(pair, "--limit")?);
        }
        for text in &self.require {
            flags.require.add(text).map_err(GrantError::from)?;
        }
        for pair in &self.providers {
            let (id, url) = split(pair, "--provider")?;
            flags.providers.push(ProviderSpec {
                id,
                api: None,
                base_url: Some(url),
                secret: None,
            });
        }
        for text in &self.secrets {
            let Some((name, host)) = text.split_once('@') else {
                return Err(Failure::with_hint(
                    anyhow!("cannot read `--secret {text}`: there is no `@` in it"),
                    "write `--secret NAME@HOST`; the value is never on the command line",
                ));
            };
            flags.secrets.push(SecretSpec {
                name: name.to_owned(),
                host: host.to_owned(),
                header: None,
                query: None,
                prefix: None,
                env: None,
            });
        }
        for pair in &self.mcp_servers {
            let (id, reached) = split(pair, "--mcp")?;
            let mut server = ServerSpec {
                id,
                ..ServerSpec::default()
            };
            if reached.starts_with("http://") || reached.starts_with("https://") {
                server.url = Some(reached);
            } else {
                let line = CommandLine::split(&reached);
                (server.env, server.command) = (line.env, line.words);
            }
            flags.mcp_servers.push(server);
        }
        for (flag, dirs, writable) in [
            ("--mcp-cwd", &self.mcp_cwd, false),
            ("--mcp-writable-cwd", &self.mcp_writable_cwd, true),
        ] {
            for pair in dirs {
                let (id, dir) = split(pair, flag)?;
                let mut servers = file.mcp_servers.iter_mut().chain(&mut flags.mcp_servers);
                let Some(server) = servers.find(|server| server.id == id) else {
                    return Err(Failure::with_hint(
                        anyhow!("cannot use `{flag} {pair}`: there is no MCP server `{id}`"),
                        format!("grant it: `--mcp {id}=COMMAND`"),
                    ));
                };
                server.cwd = Some(PathBuf::from(dir));
                server.writable_cwd = writable;
            }
        }
        flags.leaks = match self.leaks.as_deref() {
            None => None,
            Some("block") => Some(Leaks::Block),
            Some("redact") => Some(Leaks::Redact),
            Some("warn") => Some(Leaks::Warn),
            Some(other) => {
                return Err(Failure::with_hint(
                    anyhow!("cannot read `--leaks {other}`"),
                    "write `block`, `redact` or `warn`",
                ));
            }
        };
        if let Some(timeout) = &self.timeout {
            flags.limits.push(("wall".to_owned(), timeout.clone()));
        }
        let mut grants = Grants::resolve(file, flags)?;
        if let Some(path) = &self.grants {
            grants.inputs.add(path);
        }
        Ok(grants)
    }
}

impl GrantFlags {
    /// What of the grants leads outside: a recording has the rest.
    pub(super) fn resolve_outside(&self) -> Result<Outside, Failure> {
        let here = GrantFlags {
            dirs: Vec::new(),
            files: Vec::new(),
            ..self.clone()
        };
        Ok(here.resolve()?.outside())
    }

    /// Where on this host is what a recorded run had.
    pub(super) fn places(&self) -> Result<Places, Failure> {
        let timeout = self.timeout.iter().map(|time| format!("wall={time}"));
        let limits: Vec<_> = self.limits.iter().cloned().chain(timeout).collect();
        places(&self.dirs, &self.files, &limits)
    }
}

/// Where directories and files of a recorded run are, and what it may use at most, as flags say it.
pub(super) fn places(
    dirs: &[String],
    files: &[String],
    limits: &[String],
) -> Result<Places, Failure> {
    let dirs = dirs
        .iter()
        .map(|spec| spec.parse().map_err(GrantError::from));
    let files = files
        .iter()
        .map(|spec| spec.parse().map_err(GrantError::from));
    let mut ceiling = Limits::default();
    for pair in limits {
        let (name, value) = split(pair, "--limit")?;
        ceiling.set(&name, &value).map_err(GrantError::from)?;
    }
    ceiling.check().map_err(GrantError::from)?;
    Ok(Places {
        dirs: dirs.collect::<Result<_, _>>()?,
        files: files.collect::<Result<_, _>>()?,
        limits: ceiling,
    })
}

fn split(pair: &str, flag: &str) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::with_hint(
            anyhow!("cannot read `{flag} {pair}`: there is no `=` in it"),
            format!("write `{flag} NAME=VALUE`"),
        )),
    }
}
