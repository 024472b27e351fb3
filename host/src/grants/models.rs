//! Models: which ones may be asked, and where their providers are.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
