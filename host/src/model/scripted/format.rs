//! A script, as written: TOML, or JSON where the file's name ends in `.json`. See docs/scripted.md.

use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Hint;
use crate::foreign;
use crate::trajectory::content::Block;

/// The version this host reads.
pub const VERSION: u32 = 1;

/// A script is written by hand; a larger one is a mistake.
const MAX_BYTES: u64 = 4 << 20;

/// The longest a script may wait at a time, in milliseconds.
const MAX_DELAY: u64 = 3_600_000;

/// A script: rules that turn a conversation into the next reply. The first rule that applies is followed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(title = "wasm-agent script of a model")]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Script {
    /// Version of this format.
    #[schemars(extend("const" = VERSION))]
    pub version: u32,
    /// The model that answers, as it names itself; `scripted` if left out.
    #[serde(default)]
    pub model: Option<String>,
    /// The model whose price the tokens have, as `provider/model`. Without it nobody knows what they cost.
    #[serde(default)]
    pub priced_as: Option<String>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// When it applies. Everything that is said has to be so; nothing said is always so.
    #[serde(default)]
    pub when: When,
    /// How often it applies in one run; always if left out.
    #[serde(default)]
    pub times: Option<u64>,
    /// What the model does.
    pub reply: Reply,
}

/// Conditions on a request.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct When {
    /// The turn of the conversation, from 1: one more than the replies it holds.
    #[serde(default)]
    pub turn: Option<u64>,
    /// Text in the system prompt.
    #[serde(default)]
    pub system_contains: Option<String>,
    /// Text in the user's words, wherever in the conversation.
    #[serde(default)]
    pub user_contains: Option<String>,
    /// Text in the user's last words.
    #[serde(default)]
    pub last_user_contains: Option<String>,
    /// The tool whose result is the last in the conversation's last message.
    #[serde(default)]
    pub tool_result_of: Option<String>,
    /// Text in the last result of the conversation's last message.
    #[serde(default)]
    pub last_tool_result_contains: Option<String>,
    /// Whether that result is an error.
    #[serde(default)]
    pub last_tool_failed: Option<bool>,
    /// A tool the model is offered.
    #[serde(default)]
    pub offered_tool: Option<String>,
    /// Whether the reply has to match a schema.
    #[serde(default)]
    pub wants_schema: Option<bool>,
}

/// What the model does. Texts, and texts in the arguments of calls, may hold `{task}`, `{last_user}`,
/// `{last_tool_result}` and `{turn}`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reply {
    /// What it thinks first.
    #[serde(default)]
    pub thinking: Option<String>,
    /// The signature of that.
    #[serde(default)]
    pub signature: Option<String>,
    /// What it says.
    #[serde(default)]
    pub text: Option<String>,
    /// Content blocks as AVP has them, after the text.
    #[serde(default)]
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub blocks: Vec<Value>,
    /// The tools it calls, at once.
    #[serde(default)]
    pub calls: Vec<Call>,
    /// It declines, with these words.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Why it stops; follows from the rest if left out.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// What it used; a quarter of the characters if left out.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// What it cost in US dollars, as the provider says.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// Milliseconds until it begins.
    #[serde(default)]
    pub delay_ms: u64,
    /// Characters of a piece of the stream; each text is one piece if left out.
    #[serde(default)]
    pub chunk: Option<usize>,
    /// Milliseconds before each piece.
    #[serde(default)]
    pub chunk_delay_ms: u64,
    /// The connection is lost when everything but the end has been said.
    #[serde(default)]
    pub cut_off: bool,
    /// The provider fails instead; after what else the reply says, as a stream does.
    #[serde(default)]
    pub error: Option<Error>,
}

/// A tool call.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Call {
    /// The tool.
    pub tool: String,
    /// The arguments.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// The call's id; a new one if left out.
    #[serde(default)]
    pub id: Option<String>,
}

/// Why the model stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stop {
    EndTurn,
    ToolUse,
    MaxTokens,
    StopSequence,
    Refusal,
    Other,
}

/// Tokens.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Usage {
    /// All of the input, what came from a cache included.
    pub input: u64,
    /// All of the output.
    pub output: u64,
    /// Input that came from a cache.
    #[serde(default)]
    pub cache_read: Option<u64>,
    /// Input that was written to a cache.
    #[serde(default)]
    pub cache_write: Option<u64>,
    /// Output spent on reasoning.
    #[serde(default)]
    pub reasoning: Option<u64>,
}

/// A failure of the provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Error {
    /// What kind.
    pub class: ErrorClass,
    /// What the provider says.
    #[serde(default)]
    pub message: Option<String>,
    /// The HTTP status it says it with.
    #[serde(default)]
    pub status: Option<u16>,
    /// Milliseconds after which it wants to be asked again.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "as `wire::Class`")]
pub enum ErrorClass {
    ContextLimit,
    RateLimited,
    Overloaded,
    UsageLimit,
    Auth,
    Network,
    Garbled,
    Rejected,
    Unsupported,
}

/// A script cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum ScriptError {
    #[error("cannot read the script `{}`: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot read the script `{}`: it has more than {MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("cannot read the script `{}`: {reason}", path.display())]
    Syntax { path: PathBuf, reason: String },
    #[error("cannot read the script `{}`: it has version {found}, this host reads {VERSION}", path.display())]
    Version { path: PathBuf, found: u32 },
    #[error("cannot follow the script `{}`: rules[{rule}].{reason}", path.display())]
    Rule {
        path: PathBuf,
        rule: usize,
        reason: String,
    },
}

impl Hint for ScriptError {
    fn hint(&self) -> Option<String> {
        match self {
            ScriptError::Syntax { .. } | ScriptError::Rule { .. } => {
                Some("`wasm-agent schema script` prints the format".to_owned())
            }
            ScriptError::Version { .. } => Some(format!("write `version = {VERSION}`")),
            ScriptError::Unreadable { .. } => {
                Some("write `--model scripted/FILE`, relative to the working directory".to_owned())
            }
            ScriptError::TooLarge { .. } => None,
        }
    }
}

/// The JSON Schema of a script, for editors.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(Script).to_value()
}

impl Script {
    pub(super) fn read(path: &Path) -> Result<Script, ScriptError> {
        let unreadable = |source| ScriptError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if metadata.len() > MAX_BYTES {
            return Err(ScriptError::TooLarge {
                path: path.to_owned(),
            });
        }
        if !metadata.is_file() {
            return Err(unreadable(io::Error::other("it is not a file")));
        }
        let text = foreign::read_text(path, MAX_BYTES).map_err(unreadable)?;
        Script::parse(&text, path)
    }

    /// Parses the text of the script at `path`.
    ///
    /// # Errors
    ///
    /// See [`ScriptError`].
    pub fn parse(text: &str, path: &Path) -> Result<Script, ScriptError> {
        let is_json = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let parsed = if is_json {
            serde_json::from_str(text).map_err(|error| error.to_string())
        } else {
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
        };
        let script: Script = parsed.map_err(|reason| ScriptError::Syntax {
            path: path.to_owned(),
            reason,
        })?;
        if script.version != VERSION {
            return Err(ScriptError::Version {
                path: path.to_owned(),
                found: script.version,
            });
        }
        for (at, rule) in script.rules.iter().enumerate() {
            rule.reply.check().map_err(|reason| ScriptError::Rule {
                path: path.to_owned(),
                rule: at,
                reason: format!("reply.{reason}"),
            })?;
        }
        Ok(script)
    }
}

impl Reply {
    fn check(&self) -> Result<(), String> {
        if self.delay_ms > MAX_DELAY || self.chunk_delay_ms > MAX_DELAY {
            return Err(format!("delay-ms: at most {MAX_DELAY}"));
        }
        if self.chunk == Some(0) {
            return Err("chunk: at least 1".to_owned());
        }
        if self
            .cost_usd
            .is_some_and(|cost| !cost.is_finite() || cost < 0.0)
        {
            return Err("cost-usd: zero or more".to_owned());
        }
        for (at, block) in self.blocks.iter().enumerate() {
            Block::parse(block.clone()).map_err(|reason| format!("blocks[{at}].{reason}"))?;
        }
        for (at, call) in self.calls.iter().enumerate() {
            if call.tool.is_empty() || call.id.as_ref().is_some_and(String::is_empty) {
                return Err(format!("calls[{at}]: `tool` and `id` must not be empty"));
            }
        }
        Ok(())
    }
}
