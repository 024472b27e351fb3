//! Rules: which requests the operator allows.

use std::str::FromStr;

/// One rule, as `[METHOD[,METHOD] ][SCHEME://]HOST[:PORT][/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRule {
    text: String,
}

/// A rule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the host rule `{rule}`: {reason}")]
pub struct RuleError {
    /// As it was written.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for HostRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<HostRule, RuleError> {
        Ok(HostRule {
            text: text.to_owned(),
        })
    }
}

impl std::fmt::Display for HostRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
