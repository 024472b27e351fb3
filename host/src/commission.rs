//! The AVP v0.1 commission: what one run is asked to do.
//!
//! Parsing is strict: an unknown key, a repeated key or a value outside its pattern is an error that
//! names the field. What was given is kept as text beside the typed fields, so that the trajectory can
//! carry it exactly as commissioned, numbers included.

mod body;

use serde_json::Value;
use serde_json::value::RawValue;

pub use body::{
    AllowList, Body, Handle, HttpServer, McpServer, Provider, Skill, StdioServer, Supervisor,
};

use crate::error::Hint;
use crate::json::{self, JsonError, Members};

/// The version of the commission format this host speaks.
pub const SCHEMA_VERSION: &str = "0.1";

/// Greatest size of a commission, in bytes. It is kept in memory, handed to the guest and written into
/// the first event; skills are text, and a megabyte of text is more than a model reads.
pub const MAX_BYTES: usize = 4 << 20;

/// Where a task goes in the prompt of a commission that is a template.
const TASK_SLOT: &str = "{input}";

/// A valid commission.
#[derive(Clone, Debug)]
pub struct Commission {
    raw: Box<RawValue>,
    body: Body,
}

/// Why a text is not a commission this host can act on.
#[derive(Debug, thiserror::Error)]
pub enum CommissionError {
    /// The bytes are not UTF-8.
    #[error("commission is not utf-8: byte {offset} is invalid")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        offset: usize,
    },
    /// The text is not JSON.
    #[error("commission is not json: {reason} at line {line} column {column}")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It is a commission of another version of AVP. AVP asks for a short trajectory in this case, so
    /// the parts that one needs are kept.
    #[error("commission has schema_version `{found}`; this host speaks {SCHEMA_VERSION}")]
    UnsupportedVersion {
        /// The version it has, shortened and free of control characters.
        found: String,
        /// Its `run_id`, where there is one.
        run_id: Option<String>,
        /// The whole text on one line.
        raw: Box<RawValue>,
    },
    /// A field is missing, unknown or malformed.
    #[error("commission field `{path}`: {reason}")]
    Field {
        /// For example `skills[0].files`; `.` is the commission itself.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A task was given, and the commission has a prompt without a place for one.
    #[error("both the task and the commission say what to do")]
    TwoPrompts,
    /// The text is too long.
    #[error("commission has more than {max} bytes")]
    TooLarge {
        /// [`MAX_BYTES`].
        max: usize,
    },
}

impl Hint for CommissionError {
    fn hint(&self) -> Option<String> {
        match self {
            CommissionError::TwoPrompts => Some(format!(
                "leave the task out, or write {TASK_SLOT} into the prompt where it should go"
            )),
            CommissionError::UnsupportedVersion { .. } => {
                Some(format!("write the commission for AVP {SCHEMA_VERSION}"))
            }
            CommissionError::TooLarge { .. } => {
                Some("put large inputs into a directory and grant it with --dir".to_owned())
            }
            _ => None,
        }
    }
}

impl CommissionError {
    fn field(path: impl Into<String>, reason: impl Into<String>) -> Self {
        CommissionError::Field {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

impl Commission {
    /// Reads a commission (AVP v0.1, C§2 to C§4).
    ///
    /// # Errors
    /// Names what is wrong and where; nothing is repaired or ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommissionError> {
        if bytes.len() > MAX_BYTES {
            return Err(CommissionError::TooLarge { max: MAX_BYTES });
        }
        let text = std::str::from_utf8(bytes).map_err(|error| CommissionError::NotUtf8 {
            offset: error.valid_up_to(),
        })?;
        let value = json::parse(text).map_err(|error| match error {
            JsonError::Syntax {
                line,
                column,
                reason,
            } => CommissionError::NotJson {
                line,
                column,
                reason,
            },
            JsonError::DuplicateKey { path } => CommissionError::field(path, "is there twice"),
        })?;
        if !value.is_object() {
            return Err(CommissionError::field(".", "expected a JSON object"));
        }
        let raw = RawValue::from_string(json::minify(text)).map_err(|e| syntax(&e))?;
        // Another version may have other fields: this comes before everything the schema says.
        if let Some(found) = value.get("schema_version").and_then(Value::as_str)
            && found != SCHEMA_VERSION
        {
            return Err(CommissionError::UnsupportedVersion {
                found: json::printable(found),
                run_id: value
                    .get("run_id")
                    .and_then(Value::as_str)
                    .filter(|id| !id.is_empty())
                    .map(str::to_owned),
                raw,
            });
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let body: Body = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = json::printable(&error.path().to_string());
            CommissionError::field(path, json::printable(&error.inner().to_string()))
        })?;
        body.check()?;
        Ok(Self { raw, body })
    }

    /// The commission of a task that was given without one: this host is then the supervisor.
    ///
    /// # Errors
    /// An empty `run_id`, a `model` that is not `origin/model`, or a prompt that is too large.
    pub fn for_task(
        run_id: &str,
        model: &str,
        prompt: Option<&str>,
    ) -> Result<Self, CommissionError> {
        let mut value = serde_json::json!({
            "schema_version": SCHEMA_VERSION,
            "run_id": run_id,
            "model": model,
            "supervisor": { "name": "wasm-agent", "version": env!("CARGO_PKG_VERSION") },
        });
        if let (Some(prompt), Some(members)) = (prompt, value.as_object_mut()) {
            members.insert("prompt".to_owned(), Value::from(prompt));
        }
        Self::parse(value.to_string().as_bytes())
    }

    /// The same commission with a task: it takes the place of every `{input}` in the prompt, or becomes
    /// the prompt when there is none.
    ///
    /// # Errors
    /// [`CommissionError::TwoPrompts`] when there is a prompt without `{input}`.
    pub fn with_task(&self, task: &str) -> Result<Self, CommissionError> {
        let prompt = match &self.body.prompt {
            None => task.to_owned(),
            Some(prompt) if prompt.contains(TASK_SLOT) => {
                let slots = prompt.matches(TASK_SLOT).count();
                let bytes = prompt
                    .len()
                    .saturating_add(slots.saturating_mul(task.len()));
                if bytes > MAX_BYTES {
                    return Err(CommissionError::TooLarge { max: MAX_BYTES });
                }
                prompt.replace(TASK_SLOT, task)
            }
            Some(_) => return Err(CommissionError::TwoPrompts),
        };
        self.with(&[("prompt", prompt)])
    }

    /// The same commission for another model.
    ///
    /// # Errors
    /// A `model` that is not `origin/model`.
    pub fn with_model(&self, model: &str) -> Result<Self, CommissionError> {
        self.with(&[("model", model.to_owned())])
    }

    /// The same commission with `prompt` and `system_prompt` taken from a JSON object where it has none
    /// (the `--built-in` file of AVP's conformance harness).
    ///
    /// # Errors
    /// The built-in text is not an object with the keys AVP's harness writes; the path starts with
    /// `built-in`.
    pub fn with_built_in(&self, built_in_json: &[u8]) -> Result<Self, CommissionError> {
        /// What the harness may write. Only the two prompts can be pretended by a host.
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct BuiltIn {
            system_prompt: Option<String>,
            prompt: Option<String>,
            #[serde(default, rename = "tools")]
            _tools: serde::de::IgnoredAny,
            #[serde(default, rename = "skills")]
            _skills: serde::de::IgnoredAny,
            #[serde(default, rename = "mcp_servers")]
            _mcp_servers: serde::de::IgnoredAny,
            #[serde(default, rename = "subagents")]
            _subagents: serde::de::IgnoredAny,
        }
        if built_in_json.len() > MAX_BYTES {
            return Err(CommissionError::TooLarge { max: MAX_BYTES });
        }
        let built_in: BuiltIn = serde_json::from_slice(built_in_json).map_err(|error| {
            CommissionError::field("built-in", json::printable(&error.to_string()))
        })?;
        let mut set = Vec::new();
        if let (None, Some(prompt)) = (&self.body.prompt, built_in.prompt) {
            set.push(("prompt", prompt));
        }
        if let (None, Some(system_prompt)) = (&self.body.system_prompt, built_in.system_prompt) {
            set.push(("system_prompt", system_prompt));
        }
        self.with(&set)
    }

    /// The commission as it was given, on one line: only insignificant whitespace has been removed.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The fields, typed.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Edits the text, not the typed fields, so that everything else stays as it was given.
    fn with(&self, fields: &[(&str, String)]) -> Result<Self, CommissionError> {
        let mut members = Members::parse(self.raw.get()).map_err(|e| syntax(&e))?;
        for (key, value) in fields {
            members
                .set(key, &Value::from(value.as_str()))
                .map_err(|e| syntax(&e))?;
        }
        Self::parse(members.text().map_err(|e| syntax(&e))?.as_bytes())
    }
}

fn syntax(error: &serde_json::Error) -> CommissionError {
    let reason = json::printable(&error.to_string());
    CommissionError::NotJson {
        line: error.line(),
        column: error.column(),
        reason,
    }
}

#[cfg(test)]
mod tests;
