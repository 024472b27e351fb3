//! An answer of the Messages interface, streamed or whole.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::REDACTED;
use crate::model::assembly::{
    Assembly, BrokenCalls, Handle, MAX_ARGUMENTS, Prose, count, garbled, name, parse, text,
};
use crate::model::provider_error::Report;
use crate::model::wire::{Class, Decoder, Failure, ServerEvent};
use crate::model::{Delta, Reply, StopCause};
use crate::trajectory::fact::Usage;

/// Citations of one text. Real ones have some dozens.
const MAX_CITATIONS: usize = 1000;

/// Puts an answer together.
#[derive(Debug)]
pub(super) struct Answer {
    assembly: Assembly,
    /// Blocks that are arriving, by their index.
    growing: HashMap<u64, Growing>,
    model: Option<String>,
    tokens: Tokens,
    stop: Option<String>,
    /// What is said about a refusal.
    category: Option<String>,
    explanation: Option<String>,
    complete: bool,
}

/// A block that is arriving.
#[derive(Debug)]
enum Growing {
    Text(Handle, Vec<Value>),
    Thinking(Handle),
    Call(Handle),
    /// A call of a tool of the provider's, and its arguments so far.
    ServerCall {
        id: String,
        name: String,
        input: String,
    },
    /// Nothing comes after its beginning, or nothing that is of use.
    Whole,
}

/// As they were told last: each number is a total.
#[derive(Debug, Default)]
struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
}

impl Answer {
    pub(super) fn new(inference: u64) -> Answer {
        Answer {
            assembly: Assembly::new(inference),
            growing: HashMap::new(),
            model: None,
            tokens: Tokens::default(),
            stop: None,
            category: None,
            explanation: None,
            complete: false,
        }
    }

    /// Model and tokens, at the beginning.
    fn head(&mut self, message: &Value) {
        self.model = name(message.get("model")).or(self.model.take());
        self.usage(message.get("usage"));
    }

    fn usage(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage else { return };
        let take = |place: &mut Option<u64>, key: &str| {
            *place = count(usage.get(key)).or(*place);
        };
        let tokens = &mut self.tokens;
        take(&mut tokens.input, "input_tokens");
        take(&mut tokens.output, "output_tokens");
        take(&mut tokens.cache_read, "cache_read_input_tokens");
        take(&mut tokens.cache_write, "cache_creation_input_tokens");
    }

    fn end(&mut self, delta: &Value) {
        self.stop = name(delta.get("stop_reason")).or(self.stop.take());
        let Some(details) = delta.get("stop_details") else {
            return;
        };
        self.category = name(details.get("category")).or(self.category.take());
        self.explanation = text(details, "explanation")
            .map(|text| text.chars().take(1000).collect())
            .or(self.explanation.take());
    }

    /// A block begins. In a stream the rest of it follows.
    fn begin(&mut self, index: u64, block: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let kind = text(block, "type").unwrap_or_default();
        let growing = match kind {
            "text" => {
                let handle = self.assembly.begin(Prose::Text)?;
                if let Some(piece) = text(block, "text") {
                    self.assembly.append(handle, piece)?;
                    deltas.push(Delta::Text(piece.to_owned()));
                }
                let citations = block.get("citations").and_then(Value::as_array);
                let citations: Vec<Value> = citations.cloned().unwrap_or_default();
                Growing::Text(handle, citations.into_iter().take(MAX_CITATIONS).collect())
            }
            "thinking" => {
                let handle = self.assembly.begin(Prose::Thinking)?;
                if let Some(piece) = text(block, "thinking") {
                    self.assembly.append(handle, piece)?;
                    deltas.push(Delta::Thinking(piece.to_owned()));
                }
                if let Some(signature) = text(block, "signature") {
                    self.assembly.sign(handle, signature.to_owned())?;
                }
                Growing::Thinking(handle)
            }
            "redacted_thinking" => {
                let data = text(block, "data").unwrap_or_default();
                let mut kept = json!({"type": "thinking", "thinking": "", "signature": data, "redacted": true});
                if let Some(kept) = kept.as_object_mut() {
                    kept.insert(REDACTED.to_owned(), true.into());
                }
                self.assembly.block(kept)?;
                Growing::Whole
            }
            "tool_use" => {
                let tool = text(block, "name").unwrap_or_default();
                let (handle, begun) = self.assembly.call(text(block, "id"), tool)?;
                deltas.push(begun);
                // In a stream it is empty, and the arguments follow.
                let input = block.get("input").and_then(Value::as_object);
                if let Some(input) = input.filter(|input| !input.is_empty()) {
                    let input = Value::Object(input.clone()).to_string();
                    deltas.extend(self.assembly.arguments(handle, &input)?);
                }
                Growing::Call(handle)
            }
            "server_tool_use" => {
                let input = match block.get("input") {
                    Some(Value::Object(input)) if !input.is_empty() => {
                        Value::Object(input.clone()).to_string()
                    }
                    _ => String::new(),
                };
                let id = self.assembly.id(text(block, "id"));
                let name = name(block.get("name")).unwrap_or_default();
                Growing::ServerCall { id, name, input }
            }
            kind => {
                if let Some(tool) = kind.strip_suffix("_tool_result") {
                    self.server_result(tool, block)?;
                }
                // What is not known has no place in AVP.
                Growing::Whole
            }
        };
        self.growing.insert(index, growing);
        Ok(())
    }

    fn server_result(&mut self, tool: &str, block: &Value) -> Result<(), Failure> {
        let content = block.get("content").cloned().unwrap_or_default();
        let failed = text(&content, "type").is_some_and(|kind| kind.ends_with("_error"));
        let mut result = Map::new();
        result.insert("type".to_owned(), "server_tool_result".into());
        let id = text(block, "tool_use_id").unwrap_or_default();
        result.insert("tool_use_id".to_owned(), id.into());
        result.insert("name".to_owned(), tool.into());
        result.insert("content".to_owned(), content);
        result.insert("is_error".to_owned(), failed.into());
        self.assembly.block(Value::Object(result))
    }

    /// More of a block.
    fn grow(&mut self, index: u64, delta: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let Some(growing) = self.growing.get_mut(&index) else {
            return Err(garbled(format!(
                "more of block {index}, which has not begun"
            )));
        };
        match (text(delta, "type").unwrap_or_default(), growing) {
            ("text_delta", Growing::Text(handle, _)) => {
                if let Some(piece) = text(delta, "text") {
                    self.assembly.append(*handle, piece)?;
                    deltas.push(Delta::Text(piece.to_owned()));
                }
            }
            ("citations_delta", Growing::Text(_, citations))
                if citations.len() < MAX_CITATIONS =>
            {
                citations.extend(delta.get("citation").cloned());
            }
            ("thinking_delta", Growing::Thinking(handle)) => {
                if let Some(piece) = text(delta, "thinking") {
                    self.assembly.append(*handle, piece)?;
                    deltas.push(Delta::Thinking(piece.to_owned()));
                }
            }
            ("signature_delta", Growing::Thinking(handle)) => {
                if let Some(signature) = text(delta, "signature") {
                    self.assembly.sign(*handle, signature.to_owned())?;
                }
            }
            ("input_json_delta", Growing::Call(handle)) => {
                let piece = text(delta, "partial_json").unwrap_or_default();
                deltas.extend(self.assembly.arguments(*handle, piece)?);
            }
            ("input_json_delta", Growing::ServerCall { input, .. }) => {
                let piece = text(delta, "partial_json").unwrap_or_default();
                if input.len() + piece.len() > MAX_ARGUMENTS {
                    return Err(garbled(format!(
                        "arguments longer than {MAX_ARGUMENTS} bytes"
                    )));
                }
                input.push_str(piece);
            }
            // What is to come.
            _ => {}
        }
        Ok(())
    }

    /// A block is whole.
    fn close(&mut self, index: u64) -> Result<(), Failure> {
        match self.growing.remove(&index) {
            Some(Growing::Text(handle, citations)) => {
                if !citations.is_empty() {
                    self.assembly
                        .annotate(handle, "citations", Value::Array(citations))?;
                }
            }
            Some(Growing::ServerCall { id, name, input }) => {
                let input = if input.is_empty() { "{}" } else { &input };
                let input: Value = serde_json::from_str(input)
                    .ok()
                    .filter(Value::is_object)
                    .ok_or_else(|| garbled("the arguments of a call are not a JSON object"))?;
                let call =
                    json!({"type": "server_tool_use", "id": id, "name": name, "input": input});
                self.assembly.block(call)?;
            }
            Some(Growing::Thinking(_) | Growing::Call(_) | Growing::Whole) | None => {}
        }
        self.assembly.close();
        Ok(())
    }
}

impl Decoder for Answer {
    fn event(&mut self, event: &ServerEvent) -> Result<Vec<Delta>, Failure> {
        let data = event.data.trim();
        if self.complete || data.is_empty() {
            return Ok(Vec::new());
        }
        let value = parse(data)?;
        let mut deltas = Vec::new();
        let index = count(value.get("index")).unwrap_or_default();
        let part = |key: &str| value.get(key).unwrap_or(&Value::Null);
        match text(&value, "type").unwrap_or(&event.event) {
            "message_start" => self.head(part("message")),
            "content_block_start" => self.begin(index, part("content_block"), &mut deltas)?,
            "content_block_delta" => self.grow(index, part("delta"), &mut deltas)?,
            "content_block_stop" => self.close(index)?,
            "message_delta" => {
                self.end(part("delta"));
                self.usage(value.get("usage"));
            }
            "message_stop" => self.complete = true,
            "error" => return Err(failure(&value)),
            // Pings, and what is to come.
            _ => {}
        }
        Ok(deltas)
    }

    fn whole(&mut self, answer: &Value) -> Result<(), Failure> {
        if text(answer, "type") == Some("error") {
            return Err(failure(answer));
        }
        let Some(blocks) = answer.get("content").and_then(Value::as_array) else {
            return Err(garbled("it has no content"));
        };
        self.head(answer);
        for (index, block) in (0..).zip(blocks) {
            self.begin(index, block, &mut Vec::new())?;
            self.close(index)?;
        }
        self.end(answer);
        self.complete = true;
        Ok(())
    }

    fn complete(&self) -> bool {
        self.complete
    }

    fn reply(&self) -> Result<Reply, Failure> {
        let reason = self.stop.as_deref();
        let stop = match reason {
            Some("end_turn") => StopCause::EndTurn,
            Some("tool_use") => StopCause::ToolUse,
            Some("max_tokens" | "model_context_window_exceeded") => StopCause::MaxTokens,
            Some("stop_sequence") => StopCause::StopSequence,
            Some("refusal") => StopCause::Refusal,
            _ => StopCause::Other,
        };
        // A call may be cut off where the reply may not be longer.
        let broken = if self.complete && stop != StopCause::MaxTokens {
            BrokenCalls::Fail
        } else {
            BrokenCalls::LeaveOut
        };
        let mut content = self.assembly.content(broken)?;
        if stop == StopCause::Refusal {
            let words = self.explanation.as_deref().unwrap_or_default();
            if !words.is_empty() || content.is_empty() {
                let block = json!({"type": "refusal", "refusal": words});
                content.extend(crate::trajectory::content::Block::parse(block));
            }
        }
        let tokens = &self.tokens;
        let usage = (tokens.input.is_some() || tokens.output.is_some()).then(|| {
            let cached = [tokens.cache_read, tokens.cache_write];
            // AVP's input includes what went through the cache; Anthropic's does not.
            let input = cached
                .iter()
                .flatten()
                .fold(tokens.input.unwrap_or_default(), |sum, part| {
                    sum.saturating_add(*part)
                });
            Usage {
                input_tokens: input,
                output_tokens: tokens.output.unwrap_or_default(),
                cache_read_input_tokens: tokens.cache_read,
                cache_creation_input_tokens: tokens.cache_write,
                reasoning_output_tokens: None,
            }
        });
        Ok(Reply {
            content,
            stop,
            finish_reasons: self.stop.iter().cloned().collect(),
            model: self.model.clone(),
            usage,
            cost_usd: None,
            refusal_category: self.category.clone(),
        })
    }
}

/// An error in a stream that began well has no status of its own.
fn failure(value: &Value) -> Failure {
    let failure = Report::openai(value).failure();
    match failure.class {
        Class::Rejected if text(&value["error"], "type") == Some("api_error") => Failure {
            class: Class::Overloaded,
            ..failure
        },
        _ => failure,
    }
}
