//! What of the grants leads outside, as a run keeps it for whoever goes on with it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::models::ProviderSpec;
use super::secrets::{Leaks, SecretSpec};
use super::tools::{CommandLine, ServerSpec};
use super::{GrantError, Grants, GrantsFile};
use crate::digest::Digest;

/// What a recording does not have, because a replay has no outside: hosts, models, tools and names of secrets,
/// in the words of a grants file. Unlike there, paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Outside {
    hosts: Vec<String>,
    ca_files: Vec<PathBuf>,
    proxy: Option<String>,
    models: Vec<String>,
    providers: Vec<ProviderSpec>,
    prices: Option<PathBuf>,
    secrets: Vec<SecretSpec>,
    leaks: Leaks,
    mcp_servers: Vec<ServerSpec>,
    commands: Vec<String>,
    tools: Vec<PathBuf>,
    /// The only component that may be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<Digest>,
    /// Whatever else the host reads, builds or runs for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<PathBuf>,
}

impl Outside {
    /// The same, of a run for which the host reads this, too.
    #[must_use]
    pub fn reading(mut self, path: &Path) -> Outside {
        self.inputs
            .push(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        self
    }
}

impl Grants {
    /// What of them leads outside.
    #[must_use]
    pub fn outside(&self) -> Outside {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let hosts = self.network.hosts.iter().map(ToString::to_string);
        let secrets = self
            .secrets
            .bindings
            .iter()
            .map(super::secrets::SecretGrant::to_spec);
        let commands = self.tools.commands.iter().map(CommandLine::to_line);
        Outside {
            hosts: hosts.collect(),
            ca_files: self.network.ca_files.iter().map(absolute).collect(),
            proxy: self.network.proxy.as_ref().map(ToString::to_string),
            models: self.models.allow.clone(),
            providers: self.models.providers.clone(),
            prices: self.models.prices.as_ref().map(absolute),
            secrets: secrets.collect(),
            leaks: self.secrets.leaks,
            mcp_servers: self
                .tools
                .servers
                .iter()
                .map(ServerSpec::anchored)
                .collect(),
            commands: commands.collect(),
            tools: self.tools.components.iter().map(absolute).collect(),
            component: self.component,
            inputs: self.inputs.paths().map(Path::to_owned).collect(),
        }
    }

    /// The same grants with another outside.
    ///
    /// # Errors
    ///
    /// It cannot be granted here: a file of it is not there.
    pub fn with_outside(self, outside: Outside) -> Result<Grants, GrantError> {
        let file = GrantsFile {
            env: self.env.clone(),
            hosts: outside.hosts,
            ca_files: outside.ca_files,
            proxy: outside.proxy,
            models: outside.models,
            providers: outside.providers,
            prices: outside.prices,
            secrets: outside.secrets,
            leaks: Some(outside.leaks),
            mcp_servers: outside.mcp_servers,
            commands: outside.commands,
            tools: outside.tools,
            component: outside.component,
            ..GrantsFile::default()
        };
        let Grants {
            network,
            models,
            secrets,
            tools,
            component,
            inputs: read,
            ..
        } = Grants::resolve(file, GrantsFile::default())?;
        tools.check_cwd(&self.dirs)?;
        let mut inputs = self.inputs;
        for path in read
            .paths()
            .chain(outside.inputs.iter().map(PathBuf::as_path))
        {
            inputs.add(path);
        }
        Ok(Grants {
            network,
            models,
            secrets,
            tools,
            component,
            inputs,
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_outside_comes_back_as_it_was() {
        let text = r#"
            version = 1
            hosts = ["GET https://api.example.com/v1/*", "example.org"]
            models = ["anthropic/*", "scripted/a.toml"]
            commands = ["HOME=/root uv run server.py"]
            leaks = "redact"
            proxy = "http://proxy.example:3128"

            [env]
            LANG = "C"

            [[providers]]
            id = "ollama"
            base-url = "http://localhost:11434/v1"

            [[secrets]]
            name = "github"
            host = "https://api.github.com"
            env = "GITHUB_TOKEN"

            [[secrets]]
            name = "maps"
            host = "https://maps.example"
            query = "key"

            [[secrets]]
            name = "other"
            host = "https://other.example"
            header = "x-key"
            prefix = "Key "

            [[mcp-servers]]
            id = "a"
            command = ["npx", "-y", "server"]
            env = { A = "1" }
            env-secrets = { B = "b" }
            tools = ["echo", "get-*"]

            [[mcp-servers]]
            id = "b"
            url = "https://mcp.example/mcp"
            secret = "mcp"
        "#;
        let file = GrantsFile::parse(text, std::path::Path::new("/grants.toml")).unwrap();
        let grants = Grants::resolve(file, GrantsFile::default()).unwrap();
        let kept = serde_json::to_string(&grants.outside()).unwrap();
        let outside: Outside = serde_json::from_str(&kept).unwrap();
        let inside = Grants {
            env: grants.env.clone(),
            ..Grants::default()
        };
        assert_eq!(inside.with_outside(outside).unwrap(), grants);
    }

    #[test]
    fn nothing_leads_nowhere() {
        let grants = Grants::default().with_outside(Outside::default()).unwrap();
        assert_eq!(grants, Grants::default());
        assert!(serde_json::from_str::<Outside>(r#"{"host":[]}"#).is_err());
    }
}
