//! Models: which ones may be asked, and where their providers are.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::Hint;
use crate::model::provider;

/// A provider as written: how to reach it. Well-known ones need none of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProviderSpec {
    /// The part of a model's name before the slash, `[a-z0-9_-]+`.
    pub id: String,
    /// The wire format it speaks; that of the well-known provider of this id if left out, and
    /// `openai-chat` for any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
    /// Base URL, for example `http://localhost:11434/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Name of the secret that is its key; the id if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    OpenaiResponses,
    /// OpenAI Chat Completions, which Ollama, llama.cpp, vLLM and many others speak.
    OpenaiChat,
    /// Google Gemini, `generateContent`.
    Gemini,
}

/// What models may be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelsGrant {
    /// Patterns of `provider/model`, in which `*` stands for any characters. None means no model.
    pub allow: Vec<String>,
    /// Providers that are not well-known, or reached elsewhere.
    pub providers: Vec<ProviderSpec>,
    /// A price table that is used instead of the built-in one.
    pub prices: Option<PathBuf>,
}

impl ModelsGrant {
    /// Paths of the scripts that are granted. Each is granted by its whole name: a pattern covers none,
    /// because a script is a file of the host's.
    pub fn scripts(&self) -> impl Iterator<Item = &str> {
        self.allow
            .iter()
            .filter_map(|allowed| allowed.strip_prefix("scripted/"))
            .filter(|path| !path.contains('*'))
    }
}

/// A grant of a model is wrong.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum ModelsError {
    #[error("cannot grant the model `{pattern}`: it is not `provider/model`")]
    Pattern { pattern: String },
    #[error("cannot set up the provider `{id}`: {reason}")]
    Provider { id: String, reason: String },
}

impl Hint for ModelsError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                ModelsError::Pattern { .. } => {
                    "write `anthropic/claude-haiku-4-5` or `anthropic/*`"
                }
                ModelsError::Provider { .. } => "write `ID=http://HOST:PORT/PATH`",
            }
            .to_owned(),
        )
    }
}

impl ModelsGrant {
    /// Checks what was written.
    ///
    /// # Errors
    ///
    /// See [`ModelsError`].
    pub(super) fn checked(self) -> Result<ModelsGrant, ModelsError> {
        if let Some(pattern) = self
            .allow
            .iter()
            .find(|pattern| pattern.as_str() != "*" && !pattern.contains('/'))
        {
            return Err(ModelsError::Pattern {
                pattern: pattern.clone(),
            });
        }
        for spec in &self.providers {
            provider::check(spec).map_err(|reason| ModelsError::Provider {
                id: spec.id.clone(),
                reason,
            })?;
        }
        Ok(self)
    }

    /// The grants as `run.json` keeps them.
    pub(super) fn to_json(&self, map: &mut Map<String, Value>) {
        if !self.allow.is_empty() {
            map.insert("models".to_owned(), json!(self.allow));
        }
        if !self.providers.is_empty() {
            map.insert("providers".to_owned(), json!(self.providers));
        }
        if let Some(prices) = &self.prices {
            map.insert("prices".to_owned(), json!(prices));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_model_or_a_provider_is_refused() {
        let allow = |pattern: &str| {
            ModelsGrant {
                allow: vec![pattern.to_owned()],
                ..ModelsGrant::default()
            }
            .checked()
        };
        for pattern in ["*", "anthropic/*", "scripted/x.toml", "*/x"] {
            assert!(allow(pattern).is_ok(), "{pattern}");
        }
        for pattern in ["", "gpt", "anthropic*"] {
            assert!(allow(pattern).is_err(), "{pattern}");
        }
        let provider = ProviderSpec {
            id: "mine".to_owned(),
            api: None,
            base_url: None,
            secret: None,
        };
        let grant = ModelsGrant {
            providers: vec![provider],
            ..ModelsGrant::default()
        };
        assert!(matches!(
            grant.checked(),
            Err(ModelsError::Provider { id, .. }) if id == "mine"
        ));
    }

    #[test]
    fn a_script_is_granted_by_its_whole_name() {
        let grant = ModelsGrant {
            allow: ["scripted/a.toml", "scripted/*", "*", "x/scripted/b"]
                .map(str::to_owned)
                .to_vec(),
            ..ModelsGrant::default()
        };
        assert_eq!(grant.scripts().collect::<Vec<_>>(), ["a.toml"]);
    }
}
