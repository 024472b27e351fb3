//! Grants as a recording keeps them, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::require::{ArtifactEvidence, Require, RequireError};
use super::{
    DirSpec, Evidence, FileGrant, FileSpec, GrantError, Grants, GrantsFile, Limits, ServerSpec,
    ToolsGrant, limits,
};
use crate::grants::dir::{DEFAULT_GUEST, DirError};
use crate::recording::bytes::Octets;
use crate::schema::Schema;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Grants as they stand in a recording: what a replay needs of them. What leads outside (hosts, models, where
/// tool servers are, secrets) is not: a replay has no outside.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[derive(Default)]
struct Recorded {
    dirs: Vec<String>,
    files: Vec<String>,
    protect: Vec<String>,
    no_protect: bool,
    guarded: BTreeSet<String>,
    env: BTreeMap<String, String>,
    args: Vec<String>,
    limits: Map<String, Value>,
    require: Require,
    /// The schemas themselves, by the name of the artifact they are for.
    schemas: BTreeMap<String, String>,
    /// The checkpoint itself.
    checkpoint: Option<Octets>,
    /// Without where they are: what may be used of them.
    mcp_servers: Vec<ServerSpec>,
    /// Components that are tools.
    tools: Vec<PathBuf>,
}

/// Grants of a recording cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// They are not grants, or of another version.
    #[error("cannot read the grants of the recording: {0}")]
    Malformed(String),
    /// They have something to be read that nobody has asked for.
    #[error("cannot replay: the recording has `{}` read for `{guest}`, which is outside of the working directory", host.display())]
    Outside {
        /// Where it is.
        host: PathBuf,
        /// Where the guest would find it.
        guest: String,
        /// The flag that asks for it.
        flag: &'static str,
    },
    /// They cannot be given here.
    #[error(transparent)]
    Grant(#[from] GrantError),
}

impl crate::error::Hint for RecordedError {
    fn hint(&self) -> Option<String> {
        match self {
            RecordedError::Malformed(_) => Some(
                "replay it with the version of wasm-agent that wrote it, or record it again"
                    .to_owned(),
            ),
            RecordedError::Outside { host, guest, flag } => {
                Some(format!("`{flag} {}::{guest}` has it read", host.display()))
            }
            RecordedError::Grant(GrantError::Dir(DirError::Unreadable { .. })) => Some(
                "put it there, or say where it is with `--dir HOST::GUEST` (`replay`, `fork`)"
                    .to_owned(),
            ),
            RecordedError::Grant(error) => error.hint(),
        }
    }
}

/// The value of a limit as a flag has it.
fn written(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl Grants {
    /// The grants as a recording keeps them. Paths in `base` are relative to it; values of variables are
    /// there, as the guest sees them.
    ///
    /// # Errors
    ///
    /// A schema that has been read cannot be read again.
    pub fn to_recorded_json(&self, base: &Path) -> Result<Value, GrantError> {
        let relative = |host: &Path| match host.strip_prefix(base) {
            Ok(inside) => Path::new(".").join(inside),
            Err(_) => host.to_owned(),
        };
        let dirs = self.dirs.iter().map(|dir| {
            format!(
                "{}::{}:{}",
                relative(&dir.host).display(),
                dir.guest,
                dir.access
            )
        });
        let files = self.files.iter().map(|file: &FileGrant| {
            let host = relative(&file.host).join(&file.name);
            format!("{}::{}:{}", host.display(), file.guest_path(), file.access)
        });
        let mut schemas = Map::new();
        for artifact in &self.require.artifacts {
            if let Some((path, _)) = &artifact.schema {
                let text =
                    std::fs::read_to_string(path).map_err(|source| RequireError::Unreadable {
                        path: path.clone(),
                        source,
                    })?;
                schemas.insert(artifact.name.clone(), text.into());
            }
        }
        let mut json = json!({
            "dirs": dirs.collect::<Vec<_>>(),
            "files": files.collect::<Vec<_>>(),
            "env": self.env,
            "args": self.args,
            "limits": self.limits.to_json(),
            "require": {
                "complete": self.require.complete,
                "artifacts": self.require.artifacts.iter()
                    .map(|artifact| json!({ "name": artifact.name })).collect::<Vec<_>>(),
                "output-schema": self.require.output_schema,
            },
            "schemas": schemas,
        });
        let servers = self.tools.servers.iter().map(ServerSpec::without_place);
        let servers: Vec<_> = servers.collect();
        let tools: Vec<_> = self
            .tools
            .components
            .iter()
            .map(|it| relative(it))
            .collect();
        if let Some(map) = json.as_object_mut() {
            // Most runs have none.
            if !servers.is_empty() {
                map.insert("mcp-servers".to_owned(), json!(servers));
            }
            if !tools.is_empty() {
                map.insert("tools".to_owned(), json!(tools));
            }
        }
        let guest = self.to_guest_json();
        if let (Some(checkpoint), Some(map)) = (&self.checkpoint, json.as_object_mut()) {
            map.insert("checkpoint".to_owned(), json!(Octets(checkpoint.to_vec())));
        }
        if let Some(map) = json.as_object_mut() {
            for name in ["protect", "no-protect", "guarded"] {
                if let Some(value) = guest.get(name) {
                    map.insert(name.to_owned(), value.clone());
                }
            }
        }
        Ok(json)
    }

    /// The same, of a recording that anybody may have written. No limit is above that of `limits`, and nothing outside
    /// of the working directory is read unless `dirs` and `files` name it.
    ///
    /// # Errors
    ///
    /// Something else would be read.
    pub fn from_elsewhere(
        mut self,
        dirs: &[DirSpec],
        files: &[FileSpec],
        limits: &Limits,
    ) -> Result<Grants, RecordedError> {
        if down(Wall::Recorded) {
            return Ok(self);
        }
        for limit in limits::TABLE {
            let smaller = limit.of(&self.limits).min(limit.of(limits));
            limit.put(&mut self.limits, smaller);
        }
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        let outside = |host: &Path| !here.as_ref().is_ok_and(|here| host.starts_with(here));
        for dir in &self.dirs {
            let named = dirs
                .iter()
                .any(|spec| spec.guest.as_deref().unwrap_or(DEFAULT_GUEST) == dir.guest);
            if outside(&dir.host) && !named {
                return Err(RecordedError::Outside {
                    host: dir.host.clone(),
                    guest: dir.guest.clone(),
                    flag: "--dir",
                });
            }
        }
        for file in &self.files {
            let guest = file.guest_path();
            let named = files
                .iter()
                .any(|spec| spec.guest.as_deref() == Some(guest.as_str()));
            if outside(&file.host) && !named {
                return Err(RecordedError::Outside {
                    host: file.host_path(),
                    guest,
                    flag: "--file",
                });
            }
        }
        Ok(self)
    }

    /// The limits that stand in the grants of a recording.
    ///
    /// # Errors
    ///
    /// They are not grants.
    pub fn recorded_limits(recorded: &Value) -> Result<Limits, RecordedError> {
        let recorded: Recorded = serde_json::from_value(recorded.clone())
            .map_err(|error| RecordedError::Malformed(error.to_string()))?;
        let mut limits = Limits::default();
        for (name, value) in &recorded.limits {
            limits
                .set(name, &written(value))
                .map_err(GrantError::from)?;
        }
        Ok(limits)
    }

    /// Grants of a recording. Relative paths begin at `base`. `dirs` and `files` say where on this host those are that the guest sees at the
    /// same place; access is as it was recorded.
    ///
    /// # Errors
    ///
    /// They are not grants, or a directory or file is not there.
    pub fn from_recorded(
        recorded: &Value,
        base: &Path,
        dirs: &[DirSpec],
        files: &[FileSpec],
    ) -> Result<Grants, RecordedError> {
        let recorded: Recorded = serde_json::from_value(recorded.clone())
            .map_err(|error| RecordedError::Malformed(error.to_string()))?;
        let mut file = GrantsFile {
            protect: recorded.protect,
            no_protect: recorded.no_protect,
            env: recorded.env,
            args: recorded.args,
            ..GrantsFile::default()
        };
        for text in recorded.dirs {
            let spec: DirSpec = text.parse().map_err(GrantError::from)?;
            let mut spec = spec.relative_to(base);
            let at = |spec: &DirSpec| {
                spec.guest
                    .clone()
                    .unwrap_or_else(|| DEFAULT_GUEST.to_owned())
            };
            if let Some(here) = dirs.iter().find(|here| at(here) == at(&spec)) {
                spec.host.clone_from(&here.host);
            }
            file.dirs.push(spec);
        }
        for text in recorded.files {
            let spec: FileSpec = text.parse().map_err(GrantError::from)?;
            let mut spec = spec.relative_to(base);
            if let Some(here) = files
                .iter()
                .find(|here| here.guest.is_some() && here.guest == spec.guest)
            {
                spec.host.clone_from(&here.host);
            }
            file.files.push(spec);
        }
        for (name, value) in recorded.limits {
            file.limits.push((name, written(&value)));
        }
        let mut grants = Grants::resolve(file, GrantsFile::default())?;
        grants.guarded = recorded.guarded;
        for component in &recorded.tools {
            grants.inputs.add(component);
        }
        grants.checkpoint = recorded.checkpoint.map(|Octets(bytes)| bytes.into());
        grants.tools = ToolsGrant {
            servers: recorded
                .mcp_servers
                .iter()
                .map(ServerSpec::without_place)
                .collect(),
            commands: Vec::new(),
            components: recorded.tools,
        };
        let mut artifacts = Vec::new();
        for artifact in recorded.require.artifacts {
            let schema = match recorded.schemas.get(&artifact.name) {
                None => None,
                Some(text) => {
                    let path = Path::new(&artifact.name).to_owned();
                    let schema = Schema::parse(text.as_bytes()).map_err(|source| {
                        GrantError::from(RequireError::Schema {
                            path: path.clone(),
                            source,
                        })
                    })?;
                    Some((path, schema))
                }
            };
            artifacts.push(ArtifactEvidence {
                name: artifact.name,
                schema,
            });
        }
        grants.require = Evidence {
            complete: recorded.require.complete,
            artifacts,
            output_schema: recorded.require.output_schema,
        };
        Ok(grants)
    }
}
