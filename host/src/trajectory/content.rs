//! AVP content blocks: parsed from JSON once, valid ever after.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// Marks a call whose arguments are not a JSON object, with what is wrong with them. The host answers it.
pub(crate) const MALFORMED: &str = "wasm_agent.malformed";

/// A content block that satisfies AVP's schema for its type.
///
/// Blocks are open objects in AVP: keys this host does not know are kept as they are, so that a
/// provider's message can be rebuilt from the trajectory.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Block(Map<String, Value>);

/// A tool call inside a block.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The call's id.
    pub id: &'a str,
    /// The tool's name.
    pub name: &'a str,
    /// The arguments, an object.
    pub input: &'a Value,
    /// Who runs the tool.
    pub runner: Runner,
}

/// Who runs a tool a model asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// The agent, or the host for it.
    Agent,
    /// The model's provider; the agent only gets to see it.
    Provider,
}

/// The answer of a provider's own tool inside a block.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The call it answers.
    pub call_id: &'a str,
    /// In the provider's shape.
    pub content: &'a Value,
    /// True when the tool failed.
    pub is_error: bool,
}

impl<'de> serde::Deserialize<'de> for Block {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Block, D::Error> {
        let value = <Value as serde::Deserialize>::deserialize(deserializer)?;
        Block::parse(value).map_err(serde::de::Error::custom)
    }
}

impl Block {
    /// Plain text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Block {
        object(json!({ "type": "text", "text": text.into() }))
    }

    /// Checks a JSON value against AVP's schema for content blocks.
    ///
    /// # Errors
    ///
    /// What is wrong, as `field: reason`.
    pub fn parse(value: Value) -> Result<Block, String> {
        let Value::Object(map) = value else {
            return Err("a content block has to be a JSON object".to_owned());
        };
        let kind = string(&map, "type")?.to_owned();
        match kind.as_str() {
            "text" => drop(string(&map, "text")?),
            "thinking" => {
                string(&map, "thinking")?;
                optional_string(&map, "signature")?;
                optional_bool(&map, "redacted")?;
            }
            "image" | "audio" | "video" | "document" => {
                check_source(map.get("source"))?;
                for key in ["transcript", "title", "context"] {
                    optional_string(&map, key)?;
                }
            }
            "tool_use" | "server_tool_use" => {
                if string(&map, "id")?.is_empty() {
                    return Err("id: must not be empty".to_owned());
                }
                string(&map, "name")?;
                if !map.get("input").is_some_and(Value::is_object) {
                    return Err("input: a JSON object is required".to_owned());
                }
            }
            "tool_result" => {
                string(&map, "tool_use_id")?;
                check_result_content(map.get("content"))?;
                optional_bool(&map, "is_error")?;
            }
            "server_tool_result" => {
                string(&map, "tool_use_id")?;
                string(&map, "name")?;
                if !map.contains_key("content") {
                    return Err("content: is required".to_owned());
                }
                optional_bool(&map, "is_error")?;
            }
            "refusal" => drop(string(&map, "refusal")?),
            other => return Err(format!("type: `{other}` is not an AVP content block")),
        }
        Ok(Block(map))
    }

    /// The same block with one key changed, whose value stays of the kind it was.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, value: Value) -> Block {
        if let Some(place) = self.0.get_mut(key) {
            *place = value;
        }
        self
    }

    /// What is wrong with the arguments of a call that a wire format could not read.
    pub(crate) fn malformed(&self) -> Option<&str> {
        self.0.get(MALFORMED)?.as_str()
    }

    /// The block's keys and values.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The block's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The text of a text block.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        (self.kind() == "text").then(|| self.0.get("text").and_then(Value::as_str))?
    }

    /// True when the block says nothing: a text block without text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_text().is_some_and(str::is_empty)
    }

    /// The tool call, when the block is one.
    #[must_use]
    pub fn call(&self) -> Option<Call<'_>> {
        let runner = match self.kind() {
            "tool_use" => Runner::Agent,
            "server_tool_use" => Runner::Provider,
            _ => return None,
        };
        Some(Call {
            id: self.0.get("id")?.as_str()?,
            name: self.0.get("name")?.as_str()?,
            input: self.0.get("input")?,
            runner,
        })
    }

    /// The answer of a provider's own tool, when the block is one.
    #[must_use]
    pub fn answer(&self) -> Option<Answer<'_>> {
        if self.kind() != "server_tool_result" {
            return None;
        }
        Some(Answer {
            call_id: self.0.get("tool_use_id")?.as_str()?,
            content: self.0.get("content")?,
            is_error: self
                .0
                .get("is_error")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        })
    }
}

/// Checks the content of a tool result: a string, or text, image and document blocks.
///
/// # Errors
///
/// What is wrong, as `field: reason`.
pub fn check_result_content(content: Option<&Value>) -> Result<(), String> {
    match content {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => blocks.iter().enumerate().try_for_each(|(index, block)| {
            let kind = block
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if !matches!(kind, "text" | "image" | "document") {
                return Err(format!(
                    "content[{index}]: a tool result holds text, image and document blocks"
                ));
            }
            Block::parse(block.clone())
                .map(drop)
                .map_err(|reason| format!("content[{index}].{reason}"))
        }),
        _ => Err("content: a string or a list of blocks is required".to_owned()),
    }
}

fn object(value: Value) -> Block {
    match value {
        Value::Object(map) => Block(map),
        _ => Block(Map::new()),
    }
}

fn string<'a>(map: &'a Map<String, Value>, key: &str) -> Result<&'a str, String> {
    map.get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{key}: a string is required"))
}

fn optional_string(map: &Map<String, Value>, key: &str) -> Result<(), String> {
    match map.get(key) {
        None | Some(Value::Null | Value::String(_)) => Ok(()),
        Some(_) => Err(format!("{key}: has to be a string")),
    }
}

fn optional_bool(map: &Map<String, Value>, key: &str) -> Result<(), String> {
    match map.get(key) {
        None | Some(Value::Null | Value::Bool(_)) => Ok(()),
        Some(_) => Err(format!("{key}: has to be true or false")),
    }
}

fn check_source(source: Option<&Value>) -> Result<(), String> {
    let Some(Value::Object(source)) = source else {
        return Err("source: an object is required".to_owned());
    };
    let keys: &[&str] = match string(source, "type").map_err(|reason| format!("source.{reason}"))? {
        "base64" => &["media_type", "data"],
        "url" => &["url"],
        "file" => &["file_id"],
        other => return Err(format!("source.type: `{other}` is not base64, url or file")),
    };
    keys.iter().try_for_each(|key| {
        string(source, key)
            .map(drop)
            .map_err(|reason| format!("source.{reason}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_of_a_block_are_kept() {
        let value = json!({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}});
        let block = Block::parse(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&block).unwrap(), value);
    }

    #[test]
    fn malformed_blocks_are_refused_with_the_field_named() {
        for (value, field) in [
            (json!("text"), "object"),
            (json!({"text": "hi"}), "type"),
            (json!({"type": "poem", "text": "hi"}), "poem"),
            (json!({"type": "text"}), "text"),
            (
                json!({"type": "tool_use", "id": "", "name": "t", "input": {}}),
                "id",
            ),
            (
                json!({"type": "tool_use", "id": "1", "name": "t", "input": []}),
                "input",
            ),
            (
                json!({"type": "image", "source": {"type": "base64", "data": ""}}),
                "media_type",
            ),
            (
                json!({"type": "server_tool_result", "tool_use_id": "1", "name": "s"}),
                "content",
            ),
            (
                json!({"type": "tool_result", "tool_use_id": "1", "content": [{"type": "audio"}]}),
                "content[0]",
            ),
        ] {
            let reason = Block::parse(value.clone()).unwrap_err();
            assert!(reason.contains(field), "{value}: {reason}");
        }
    }
}
