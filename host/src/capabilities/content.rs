//! Content blocks between the contract and AVP.
//!
//! Blocks are open objects in AVP; the cases of the contract carry what a guest works with. What a provider
//! wants to have back beside it (keys with a dot, such as `openai.id`) is remembered here: a guest that
//! hands a block back unchanged hands back all of it. A block with any other key of its own is `other`.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::bindings::wasm_agent::agent::types;
use super::trajectory::convert_block;
use crate::digest::Digest;
use crate::trajectory::content::Block;

/// Blocks that are remembered at most; of more, the first are.
const MAX_REMEMBERED: usize = 100_000;

/// Bytes of what is remembered at most.
const MAX_BYTES: usize = 64 << 20;

/// What the cases of the contract do not carry, by the block without it.
#[derive(Debug, Default)]
pub struct Remembered {
    extras: HashMap<Digest, Map<String, Value>>,
    bytes: usize,
}

impl Remembered {
    /// A block as the guest gets it.
    pub(super) fn for_guest(&mut self, block: &Block) -> types::ContentBlock {
        let (plain, extras) = split(block);
        let Some(converted) = for_guest(&plain) else {
            return types::ContentBlock::Other(text_of(&Value::Object(block.as_map().clone())));
        };
        if !extras.is_empty() {
            self.keep(&plain, extras);
        }
        converted
    }

    /// A block as the guest hands it back, with what was kept of it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as `field: reason`.
    pub(super) fn given_back(&self, block: types::ContentBlock) -> Result<Block, String> {
        let block = convert_block(block)?;
        if self.extras.is_empty() {
            return Ok(block);
        }
        match self.extras.get(&key(block.as_map())) {
            Some(extras) => {
                let mut whole = block.as_map().clone();
                whole.extend(extras.clone());
                Block::parse(Value::Object(whole))
            }
            None => Ok(block),
        }
    }

    fn keep(&mut self, plain: &Map<String, Value>, extras: Map<String, Value>) {
        let bytes = text_of(&Value::Object(extras.clone())).len();
        if self.extras.len() < MAX_REMEMBERED && self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            self.extras.insert(key(plain), extras);
        }
    }
}

/// The block without the keys that are a provider's own, and those.
fn split(block: &Block) -> (Map<String, Value>, Map<String, Value>) {
    block
        .as_map()
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .partition(|(key, _)| !key.contains('.'))
}

/// The same for the same keys and values, whatever their order.
fn key(plain: &Map<String, Value>) -> Digest {
    let mut entries: Vec<_> = plain
        .iter()
        // What is left out and what is null, or false, is the same in the contract.
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)))
        .collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let text = entries
        .iter()
        .map(|(key, value)| format!("{key:?}:{}", sorted(value)))
        .collect::<Vec<_>>()
        .join(",");
    Digest::of(text.as_bytes())
}

/// A value's text with the keys of objects in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let entries = entries
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", sorted(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!(
                "[{}]",
                items.iter().map(sorted).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

/// The case of the contract that carries all of the block, if there is one.
fn for_guest(block: &Map<String, Value>) -> Option<types::ContentBlock> {
    use types::ContentBlock as B;
    let text = |key: &str| block.get(key).and_then(Value::as_str).map(str::to_owned);
    let only = |keys: &[&str]| {
        block
            .iter()
            .all(|(key, value)| key == "type" || value.is_null() || keys.contains(&key.as_str()))
    };
    let call = || {
        only(&["id", "name", "input"]).then_some(())?;
        Some(types::ToolCall {
            id: text("id")?,
            name: text("name")?,
            input: text_of(block.get("input")?),
        })
    };
    let media = || {
        only(&["source"]).then_some(())?;
        source(block.get("source")?)
    };
    Some(match block.get("type")?.as_str()? {
        "text" if only(&["text"]) => B::Text(text("text")?),
        "thinking" if only(&["thinking", "signature", "redacted"]) => {
            B::Thinking(types::Thinking {
                thinking: text("thinking")?,
                signature: text("signature"),
                redacted: block
                    .get("redacted")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            })
        }
        "image" => B::Image(media()?),
        "audio" => B::Audio(media()?),
        "video" => B::Video(media()?),
        "document" if only(&["source", "title"]) => B::Document(types::Document {
            source: source(block.get("source")?)?,
            title: text("title"),
        }),
        "tool_use" => B::ToolUse(call()?),
        "server_tool_use" => B::ServerToolUse(call()?),
        "server_tool_result" if only(&["tool_use_id", "name", "content", "is_error"]) => {
            B::ServerToolResult(types::ServerToolResult {
                call_id: text("tool_use_id")?,
                name: text("name")?,
                content: text_of(block.get("content")?),
                is_error: block
                    .get("is_error")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            })
        }
        "refusal" if only(&["refusal"]) => B::Refusal(text("refusal")?),
        _ => return None,
    })
}

fn source(source: &Value) -> Option<types::Source> {
    let map = source.as_object()?;
    let text = |key: &str| map.get(key).and_then(Value::as_str);
    Some(match text("type")? {
        "base64" if map.len() == 3 => types::Source::Bytes(types::InlineMedia {
            media_type: text("media_type")?.to_owned(),
            data: STANDARD.decode(text("data")?).ok()?,
        }),
        "url" if map.len() == 2 => types::Source::Url(text("url")?.to_owned()),
        "file" if map.len() == 2 => types::Source::File(text("file_id")?.to_owned()),
        _ => return None,
    })
}

fn text_of(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_guest_hands_back_unchanged_is_the_block_it_was_given() {
        let mut remembered = Remembered::default();
        for value in [
            json!({"type": "text", "text": "hi"}),
            json!({"type": "text", "text": "hi", "google.signature": "abc"}),
            json!({"type": "text", "text": "cited", "citations": [{"url": "x"}]}),
            json!({"type": "thinking", "thinking": "hm", "signature": "s", "openai.id": "rs_1"}),
            json!({"type": "thinking", "thinking": "", "redacted": true, "signature": "s"}),
            json!({"type": "tool_use", "id": "1", "name": "t", "input": {"b": 1, "a": {"d": 2, "c": 3}}, "google.signature": "x"}),
            json!({"type": "server_tool_use", "id": "2", "name": "web_search", "input": {}}),
            json!({"type": "server_tool_result", "tool_use_id": "2", "name": "web_search", "content": [1], "is_error": true}),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAEC"}}),
            json!({"type": "image", "source": {"type": "url", "url": "https://x"}, "detail": "low"}),
            json!({"type": "document", "source": {"type": "file", "file_id": "f"}, "title": "t"}),
            json!({"type": "refusal", "refusal": "no"}),
        ] {
            let block = Block::parse(value.clone()).unwrap();
            let given = remembered.for_guest(&block);
            let back = remembered.given_back(given).unwrap();
            assert_eq!(serde_json::to_value(&back).unwrap(), value);
        }
    }

    #[test]
    fn a_call_is_a_call_for_the_guest_whatever_its_provider_keeps_in_it() {
        let value = json!({"type": "tool_use", "id": "1", "name": "t", "input": {}, "x.y": "z"});
        let block = Remembered::default().for_guest(&Block::parse(value).unwrap());
        assert!(matches!(block, types::ContentBlock::ToolUse(_)));
    }

    #[test]
    fn what_was_changed_gets_nothing_back() {
        let mut remembered = Remembered::default();
        let value = json!({"type": "text", "text": "hi", "x.y": "z"});
        remembered.for_guest(&Block::parse(value).unwrap());
        let back = remembered
            .given_back(types::ContentBlock::Text("ho".to_owned()))
            .unwrap();
        assert_eq!(back, Block::text("ho"));
    }
}
