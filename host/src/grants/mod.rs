//! What the operator allows one run to touch.
//!
//! Grants come from flags and from a grants file, which say the same things with the same words. What
//! is not in them does not exist for the guest: an empty list, a missing file section, a missing file
//! mean "nothing". An unknown key is an error.

pub mod ask;
pub mod authority;
pub mod dir;
pub mod file;
pub mod inputs;
pub mod limits;
pub mod models;
pub mod network;
pub mod outside;
pub mod pattern;
pub mod protect;
pub mod recorded;
pub mod require;
pub mod secrets;
pub mod single_file;
pub mod tools;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

pub use ask::Ask;
pub use authority::Authority;
pub use dir::{Access, DirGrant, DirSpec};
pub use file::GrantsFile;
pub use inputs::{InReach, Inputs, Reach};
pub use limits::Limits;
pub use models::ModelsGrant;
pub use network::NetworkGrant;
pub use outside::Outside;
pub use protect::Protection;
pub use require::{Evidence, Require};
pub use secrets::{SecretGrant, SecretsGrant};
pub use single_file::{FileGrant, FileSpec};
pub use tools::{CommandLine, ServerSpec, ToolsGrant};

use crate::digest::Digest;
use crate::error::Hint;
use crate::host_places::HostPlaces;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Resolved grants: every path exists, nothing overlaps, every limit has a value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants {
    /// Directories, sorted by guest path.
    pub dirs: Vec<DirGrant>,
    /// Single files, sorted by guest path.
    pub files: Vec<FileGrant>,
    /// What stays as it is in writable directories.
    pub protection: Protection,
    /// Environment variables. Nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// Arguments after the agent's own name.
    pub args: Vec<String>,
    /// What the run may use up.
    pub limits: Limits,
    /// What the run has to show to count as done.
    pub require: Evidence,
    /// What may be reached over the network.
    pub network: NetworkGrant,
    /// What models may be asked.
    pub models: ModelsGrant,
    /// Which secrets are put where.
    pub secrets: SecretsGrant,
    /// Tools beyond the agent's own.
    pub tools: ToolsGrant,
    /// The checkpoint of an earlier run, which the agent finds when it loads one.
    pub checkpoint: Option<Arc<[u8]>>,
    /// What none of these grants covers: where the host keeps its own data. Set where a run starts.
    pub withheld: HostPlaces,
    /// The digest of the only component that may be run with them.
    pub component: Option<Digest>,
    /// What the host reads, builds or runs for them.
    pub inputs: Inputs,
    /// Where the agent finds what of the inputs it may not change; see [`Grants::guard_inputs`].
    pub guarded: BTreeSet<String>,
}

/// A grant cannot be given as it was written.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// A grant of a directory or file is wrong.
    #[error(transparent)]
    Dir(#[from] dir::DirError),
    /// The grants file is wrong.
    #[error(transparent)]
    File(#[from] file::FileError),
    /// What is to be protected is wrong.
    #[error(transparent)]
    Protect(#[from] protect::ProtectError),
    /// A limit is wrong.
    #[error(transparent)]
    Limit(#[from] limits::LimitError),
    /// What is required cannot be.
    #[error(transparent)]
    Require(#[from] require::RequireError),
    /// A grant of a host is wrong.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// A grant of a model is wrong.
    #[error(transparent)]
    Models(#[from] models::ModelsError),
    /// A grant of a secret is wrong.
    #[error(transparent)]
    Secrets(#[from] secrets::SecretsError),
    /// A grant of a tool is wrong.
    #[error(transparent)]
    Tools(#[from] tools::ToolsError),
    /// They are for another component.
    #[error("cannot run this component: it is {found}, and the grants are for {pinned}")]
    Component {
        /// The digest of the one they are for.
        pinned: Digest,
        /// The digest of the one that is to be run.
        found: Digest,
    },
    /// An environment variable is wrong.
    #[error("cannot grant the environment variable `{name}`: {reason}")]
    Env {
        /// Its name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Hint for GrantError {
    fn hint(&self) -> Option<String> {
        match self {
            GrantError::Dir(error) => error.hint(),
            GrantError::File(error) => error.hint(),
            GrantError::Protect(error) => error.hint(),
            GrantError::Limit(error) => error.hint(),
            GrantError::Require(error) => error.hint(),
            GrantError::Network(error) => error.hint(),
            GrantError::Models(error) => error.hint(),
            GrantError::Secrets(error) => error.hint(),
            GrantError::Tools(error) => error.hint(),
            GrantError::Component { .. } => Some(
                "look at it with `wasm-agent inspect`, and write its digest as `component` if it is the one that is meant"
                    .to_owned(),
            ),
            GrantError::Env { .. } => Some("write `NAME=VALUE`".to_owned()),
        }
    }
}

impl Grants {
    /// Resolves what was written: a file, then flags, which win where both name the same variable or
    /// limit.
    ///
    /// # Errors
    ///
    /// A directory that is missing, unreadable, not a directory or overlaps another one; a malformed
    /// variable or pattern; a limit out of range; a schema that cannot be used.
    pub fn resolve(file: GrantsFile, flags: GrantsFile) -> Result<Grants, GrantError> {
        let mut env = file.env;
        env.extend(flags.env);
        for (name, value) in &env {
            let reason = if name.is_empty() {
                "the name is empty"
            } else if name.contains(['=', '\0']) {
                "the name contains `=` or a zero byte"
            } else if value.contains('\0') {
                "the value contains a zero byte"
            } else {
                continue;
            };
            return Err(GrantError::Env {
                name: name.clone(),
                reason,
            });
        }
        let mut limits = Limits::default();
        for (name, value) in file.limits.into_iter().chain(flags.limits) {
            limits.set(&name, &value)?;
        }
        limits.check()?;
        let dirs = dir::resolve(file.dirs.into_iter().chain(flags.dirs))?;
        let files = single_file::resolve(file.files.into_iter().chain(flags.files), &dirs)?;
        let patterns = file.protect.into_iter().chain(flags.protect).collect();
        let protection = protect::resolve(patterns, file.no_protect || flags.no_protect)?;
        let args = if flags.args.is_empty() {
            file.args
        } else {
            flags.args
        };
        let require = Evidence::resolve(file.require, flags.require)?;
        let network = network::resolve(
            file.hosts.into_iter().chain(flags.hosts),
            file.ca_files.into_iter().chain(flags.ca_files).collect(),
            flags.proxy.or(file.proxy),
        )?;
        let models = ModelsGrant {
            allow: file.models.into_iter().chain(flags.models).collect(),
            providers: file.providers.into_iter().chain(flags.providers).collect(),
            prices: flags.prices.or(file.prices),
        }
        .checked()?;
        let secrets = secrets::resolve(
            file.secrets.into_iter().chain(flags.secrets),
            flags.leaks.or(file.leaks).unwrap_or_default(),
            &env,
        )?;
        let commands: Vec<_> = file.commands.into_iter().chain(flags.commands).collect();
        let servers = file.mcp_servers.into_iter().chain(flags.mcp_servers);
        let tools = tools::resolve(
            servers.collect(),
            &commands,
            file.tools.into_iter().chain(flags.tools).collect(),
        )?;
        tools.check_cwd(&dirs)?;
        let mut grants = Grants {
            withheld: HostPlaces::default(),
            dirs,
            files,
            protection,
            env,
            args,
            limits,
            require,
            network,
            models,
            secrets,
            tools,
            checkpoint: None,
            component: flags.component.or(file.component),
            inputs: Inputs::default(),
            guarded: BTreeSet::new(),
        };
        grants.add_inputs();
        Ok(grants)
    }

    /// Tells the inputs of the files that the grants themselves name.
    fn add_inputs(&mut self) {
        let inputs = &mut self.inputs;
        self.network.ca_files.iter().for_each(|it| inputs.add(it));
        self.models.prices.iter().for_each(|it| inputs.add(it));
        self.models.scripts().for_each(|it| inputs.add(it));
        self.tools.components.iter().for_each(|it| inputs.add(it));
        let schemas = self.require.artifacts.iter();
        schemas
            .filter_map(|artifact| artifact.schema.as_ref())
            .for_each(|(path, _)| inputs.add(path));
        for server in &self.tools.servers {
            let cwd = server.cwd.as_deref().unwrap_or(Path::new(""));
            inputs.add_command(&server.command, cwd);
        }
        for line in &self.tools.commands {
            inputs.add_command(&line.words, Path::new(""));
        }
    }

    /// Refuses another component than the one these grants are for.
    ///
    /// # Errors
    ///
    /// [`GrantError::Component`]
    pub fn check_component(&self, found: Digest) -> Result<(), GrantError> {
        match self.component {
            Some(pinned) if pinned != found && !down(Wall::Pin) => {
                Err(GrantError::Component { pinned, found })
            }
            _ => Ok(()),
        }
    }

    /// Intersects the grants with what the component asks for. A component without an ask gets what
    /// was granted. Returns what was left out, in words.
    pub fn narrow(&mut self, ask: &Ask) -> Vec<String> {
        let mut left_out = Vec::new();
        self.dirs.retain_mut(|dir| match ask.access_at(&dir.guest) {
            None => {
                left_out.push(format!("dir {} ({})", dir.guest, dir.access));
                false
            }
            Some(ask::Access::ReadOnly) if dir.access != Access::ReadOnly => {
                left_out.push(format!("writing to dir {}", dir.guest));
                dir.access = Access::ReadOnly;
                true
            }
            Some(_) => true,
        });
        self.files.retain_mut(|file| {
            let path = file.guest_path();
            match ask.access_at(&path) {
                None => {
                    left_out.push(format!("file {path} ({})", file.access));
                    false
                }
                Some(ask::Access::ReadOnly) if file.access != Access::ReadOnly => {
                    left_out.push(format!("writing to file {path}"));
                    file.access = Access::ReadOnly;
                    true
                }
                Some(_) => true,
            }
        });
        self.env.retain(|name, _| {
            let asked = ask.wants_env(name);
            if !asked {
                left_out.push(format!("env {name}"));
            }
            asked
        });
        for secret in &mut self.secrets.bindings {
            if let Some(name) = secret.variable.take_if(|name| !ask.wants_env(name)) {
                left_out.push(format!("env {name}"));
            }
        }
        left_out
    }

    /// The grants as the guest may see them: no path of the host, no value of a variable.
    #[must_use]
    pub fn to_guest_json(&self) -> Value {
        let mut json = json!({
            "dirs": self.dirs.iter().map(|dir| format!("{}:{}", dir.guest, dir.access)).collect::<Vec<_>>(),
            "env": self.env.keys().collect::<Vec<_>>(),
            "args": self.args,
            "limits": self.limits.to_json(),
        });
        if let Some(map) = json.as_object_mut() {
            if !self.files.is_empty() {
                let shown = |file: &FileGrant| format!("{}:{}", file.guest_path(), file.access);
                let files: Vec<_> = self.files.iter().map(shown).collect();
                map.insert("files".to_owned(), json!(files));
            }
            match &self.protection {
                Protection::Off => map.insert("no-protect".to_owned(), json!(true)),
                Protection::Standard(patterns) if patterns.is_empty() => None,
                Protection::Standard(patterns) => {
                    let patterns = patterns.iter().map(protect::Pattern::as_str);
                    map.insert("protect".to_owned(), json!(patterns.collect::<Vec<_>>()))
                }
            };
            if !self.guarded.is_empty() {
                map.insert("guarded".to_owned(), json!(self.guarded));
            }
            if let Some(component) = &self.component {
                map.insert("component".to_owned(), json!(component.to_string()));
            }
            if let Some(checkpoint) = &self.checkpoint {
                let digest = Digest::of(checkpoint).to_string();
                map.insert("checkpoint".to_owned(), digest.into());
            }
            if let Some(servers) = self.tools.to_guest_json() {
                map.insert("mcp-servers".to_owned(), servers);
            }
            if !self.network.hosts.is_empty() {
                let hosts = self.network.hosts.iter().map(ToString::to_string);
                map.insert("hosts".to_owned(), hosts.collect());
            }
            if !self.require.is_empty() {
                map.insert("require".to_owned(), self.require.to_guest_json());
            }
            if !self.secrets.bindings.is_empty() {
                let secrets = self.secrets.bindings.iter().map(|secret| {
                    json!({
                        "name": secret.bound.name.as_str(),
                        "host": secret.bound.rule.to_string(),
                        "env": secret.variable,
                    })
                });
                map.insert("secrets".to_owned(), secrets.collect());
                map.insert("leaks".to_owned(), json!(self.secrets.leaks.as_str()));
            }
        }
        json
    }

    /// The grants as `run.json` keeps them: with the paths of the host, without values of variables.
    #[must_use]
    pub fn to_host_json(&self) -> Value {
        let mut json = self.to_guest_json();
        let dirs = self
            .dirs
            .iter()
            .map(DirGrant::to_string)
            .collect::<Vec<_>>();
        if let Some(map) = json.as_object_mut() {
            map.insert("dirs".to_owned(), json!(dirs));
            self.models.to_json(map);
            map.extend(self.tools.to_host_json());
            if !self.network.ca_files.is_empty() {
                map.insert("ca-files".to_owned(), json!(self.network.ca_files));
            }
            if let Some(proxy) = &self.network.proxy {
                map.insert("proxy".to_owned(), json!(proxy.to_string()));
            }
            if let Some(secrets) = map.get_mut("secrets") {
                let specs = self.secrets.bindings.iter().map(SecretGrant::to_spec);
                *secrets = json!(specs.collect::<Vec<_>>());
            }
            if let Some(require) = map.get_mut("require") {
                *require = self.require.to_host_json();
            }
            if let Some(files) = map.get_mut("files") {
                *files = self.files.iter().map(FileGrant::to_string).collect();
            }
        }
        json
    }
}
