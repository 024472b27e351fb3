//! Secrets: which ones are put where on the wire. Never a value: those are in the store, and in no grant.

use std::collections::BTreeMap;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::egress::rule::RuleError;
use crate::egress::secrets::{Bound, Place, ValueError};
use crate::egress::{Caller, is_forbidden};
use crate::error::Hint;

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

impl Leaks {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Leaks::Block => "block",
            Leaks::Redact => "redact",
            Leaks::Warn => "warn",
        }
    }
}

/// Secrets of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SecretsGrant {
    /// Where each goes.
    pub bindings: Vec<SecretGrant>,
    /// What happens when one is found elsewhere.
    pub leaks: Leaks,
}

/// Where one secret goes, in the agent's own requests.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretGrant {
    /// Which secret, which requests, which place.
    pub bound: Bound,
    /// The environment variable that has a placeholder.
    pub variable: Option<String>,
}

impl SecretGrant {
    /// `github → authorization of api.github.com`.
    #[must_use]
    pub fn words(&self) -> String {
        let Bound {
            name, rule, place, ..
        } = &self.bound;
        format!("{name} → {place} of {rule}")
    }

    /// As it is written in a grants file.
    #[must_use]
    pub fn to_spec(&self) -> SecretSpec {
        let Bound {
            name,
            rule,
            place,
            prefix,
            ..
        } = &self.bound;
        let (header, query) = match place {
            Place::Header(header) => (Some(header.to_string()), None),
            Place::Query(query) => (None, Some(query.clone())),
        };
        SecretSpec {
            name: name.to_string(),
            host: rule.to_string(),
            header,
            query,
            prefix: Some(prefix.clone()),
            env: self.variable.clone(),
        }
    }

    fn of(spec: SecretSpec) -> Result<SecretGrant, SecretsError> {
        let wrong = |reason| SecretsError::Binding {
            name: spec.name.clone(),
            reason,
        };
        let place = match (&spec.header, &spec.query) {
            (Some(_), Some(_)) => return Err(wrong("it is either in a header or in the query")),
            (None, Some(query)) if query.is_empty() => {
                return Err(wrong("the name of its parameter is empty"));
            }
            (None, Some(query)) => Place::Query(query.clone()),
            (header, None) => {
                let header = header.as_deref().unwrap_or("authorization");
                let header: HeaderName =
                    header.parse().map_err(|_| wrong("its header is not one"))?;
                if is_forbidden(&header) || header == http::header::CONTENT_LENGTH {
                    return Err(wrong("its header is about the connection"));
                }
                Place::Header(header)
            }
        };
        let prefix = match &spec.prefix {
            Some(prefix) if prefix.chars().any(char::is_control) => {
                return Err(wrong("its prefix has control characters"));
            }
            Some(prefix) => prefix.clone(),
            None => place.usual_prefix().to_owned(),
        };
        if let Some(variable) = &spec.env
            && (variable.is_empty() || variable.contains(['=', '\0']))
        {
            return Err(wrong("the name of its variable is not one"));
        }
        Ok(SecretGrant {
            bound: Bound {
                caller: Caller::Guest,
                name: spec.name.parse()?,
                rule: spec.host.parse()?,
                place,
                prefix,
            },
            variable: spec.env,
        })
    }
}

/// A grant of a secret is wrong.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum SecretsError {
    #[error(transparent)]
    Name(#[from] ValueError),
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("cannot grant the secret `{name}`: {reason}")]
    Binding { name: String, reason: &'static str },
    #[error("cannot grant the secret `{name}`: the variable `{variable}` is granted already")]
    Variable { name: String, variable: String },
}

impl Hint for SecretsError {
    fn hint(&self) -> Option<String> {
        match self {
            SecretsError::Name(error) => error.hint(),
            SecretsError::Rule(_) => {
                Some("write `NAME@HOST`, `NAME@HOST:PORT` or `NAME@https://HOST/PATH`".to_owned())
            }
            SecretsError::Binding { .. } | SecretsError::Variable { .. } => None,
        }
    }
}

pub(crate) fn resolve(
    specs: impl Iterator<Item = SecretSpec>,
    leaks: Leaks,
    env: &BTreeMap<String, String>,
) -> Result<SecretsGrant, SecretsError> {
    let mut bindings: Vec<SecretGrant> = Vec::new();
    for spec in specs {
        let granted = SecretGrant::of(spec)?;
        let taken = |variable: &String| {
            let others = bindings.iter().filter_map(|other| other.variable.as_ref());
            env.contains_key(variable) || others.into_iter().any(|other| other == variable)
        };
        if let Some(variable) = granted.variable.as_ref().filter(|name| taken(name)) {
            return Err(SecretsError::Variable {
                name: granted.bound.name.to_string(),
                variable: variable.clone(),
            });
        }
        bindings.push(granted);
    }
    Ok(SecretsGrant { bindings, leaks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(spec: &str) -> Result<SecretGrant, String> {
        let spec = toml::from_str(spec).unwrap();
        SecretGrant::of(spec).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_goes_to_authorization_unless_said_otherwise() {
        let granted = one("name = 'github'\nhost = 'api.github.com/repos'").unwrap();
        assert_eq!(granted.bound.prefix, "Bearer ");
        assert_eq!(
            granted.words(),
            "github → authorization of api.github.com/repos"
        );
        let granted = one("name = 'g'\nhost = 'x.org'\nheader = 'X-Key'\nenv = 'KEY'").unwrap();
        assert_eq!(
            (granted.words().as_str(), granted.bound.prefix.as_str()),
            ("g → x-key of x.org", "")
        );
        let granted = one("name = 'g'\nhost = 'x.org'\nquery = 'key'").unwrap();
        assert_eq!(granted.words(), "g → ?key of x.org");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for rest in [
            "header = 'a'\nquery = 'b'",
            "header = 'host'",
            "header = 'content-length'",
            "header = 'a b'",
            "query = ''",
            "prefix = \"a\\n\"",
            "env = 'A=B'",
        ] {
            let spec = format!("name = 'g'\nhost = 'x.org'\n{rest}");
            assert!(one(&spec).is_err(), "{rest}");
        }
        assert!(one("name = 'G'\nhost = 'x.org'").is_err());
        assert!(one("name = 'g'\nhost = '*'").is_err());
    }

    #[test]
    fn a_variable_has_one_value() {
        let spec = || toml::from_str("name = 'g'\nhost = 'x.org'\nenv = 'KEY'").unwrap();
        let env = [("KEY".to_owned(), String::new())].into();
        assert!(resolve([spec()].into_iter(), Leaks::Block, &env).is_err());
        assert!(resolve([spec(), spec()].into_iter(), Leaks::Block, &BTreeMap::new()).is_err());
        assert!(resolve([spec()].into_iter(), Leaks::Block, &BTreeMap::new()).is_ok());
    }
}
