//! Secrets: which ones are put where on the wire. Never a value: those are in the store, and in no grant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where one secret goes, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SecretSpec {
    /// Its name in the store, `[a-z0-9_-]+`.
    pub name: String,
    /// The requests it goes with, as a host rule. It does not allow them.
    pub host: String,
    /// The header it is put in: `authorization` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The query parameter it is put in, instead of a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// What stands before it: `Bearer ` in `authorization` unless said otherwise, else nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The environment variable in which the agent finds a placeholder, for libraries that insist on a
    /// key. The placeholder is worth nothing anywhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// What happens when a known secret is found where it does not belong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Leaks {
    /// What contains it goes nowhere.
    #[default]
    Block,
    /// It is replaced before anything leaves.
    Redact,
    /// It passes, and is told of.
    Warn,
}

/// Secrets of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretsGrant {
    /// Where each goes.
    pub bindings: Vec<SecretSpec>,
    /// What happens when one is found elsewhere.
    pub leaks: Leaks,
}
