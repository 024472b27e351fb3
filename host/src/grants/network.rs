//! Hosts: which requests may leave, and how the way out is set up.

use std::path::PathBuf;

use crate::egress::HostRule;
use crate::egress::rule::RuleError;
use crate::error::Hint;

/// What may be reached over the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkGrant {
    /// What the agent's own requests may reach.
    pub hosts: Vec<HostRule>,
    /// Certificate authorities in PEM files that are trusted besides the platform's.
    pub ca_files: Vec<PathBuf>,
    /// The proxy every request goes through, as a URL. Nothing is taken from the environment.
    pub proxy: Option<String>,
}

/// A grant of a host is wrong.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum NetworkError {
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl Hint for NetworkError {
    fn hint(&self) -> Option<String> {
        match self {
            NetworkError::Rule(_) => {
                Some("write `HOST`, `HOST:PORT` or `METHOD https://HOST/PATH/*`".to_owned())
            }
        }
    }
}

pub(super) fn resolve(
    hosts: impl Iterator<Item = String>,
    ca_files: Vec<PathBuf>,
    proxy: Option<String>,
) -> Result<NetworkGrant, NetworkError> {
    Ok(NetworkGrant {
        hosts: hosts.map(|rule| rule.parse()).collect::<Result<_, _>>()?,
        ca_files,
        proxy,
    })
}
