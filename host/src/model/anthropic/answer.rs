//! An answer of the Messages interface, streamed or whole.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::REDACTED;
use crate::model::assembly::{
    self, Assembly, BrokenCalls, Handle, MAX_ARGUMENTS, MAX_BLOCKS, Prose, count, garbled, name,
    parse, text,
};
use crate::model::provider_error::Report;
use crate::model::wire::{Class, Decoder, Failure, ServerEvent, Stage};
use crate::model::{Delta, Reply, StopCause};
use crate::trajectory::fact::Usage;

/// Citations of one text. Real ones have some dozens.
const MAX_CITATIONS: usize = 1000;

/// Puts an answer together.
#[derive(Debug)]
pub(super) struct Answer {
    assembly: Assembly,
    /// Blocks that are arriving, by their index.
    growing: BTreeMap<u64, Growing>,
    /// The block that began last: the one that is meant where no index is given.
    latest: u64,
    /// Calls that are closed, by their index.
    closed: BTreeMap<u64, Handle>,
    model: Option<String>,
    usage: Option<Usage>,
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
    /// A call that has come already, once more as it seems, and its arguments so far.
    Again {
        call: Handle,
        id: String,
        name: String,
        input: String,
    },
    /// Nothing comes after its beginning, or nothing that is of use.
    Whole,
}

impl Answer {
    pub(super) fn new(inference: u64) -> Answer {
        Answer {
            assembly: Assembly::new(inference),
            growing: BTreeMap::new(),
            latest: 0,
            closed: BTreeMap::new(),
            model: None,
            usage: None,
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
        let at = |key: &str| count(usage.get(key));
        let (fresh, output) = (at("input_tokens"), at("output_tokens"));
        let cache_read = at("cache_read_input_tokens");
        let cache_creation = at("cache_creation_input_tokens");
        if fresh.is_none() && output.is_none() {
            return;
        }
        // AVP's input includes what went through the cache; Anthropic's does not.
        let input = [fresh, cache_read, cache_creation]
            .iter()
            .flatten()
            .fold(0_u64, |sum, part| sum.saturating_add(*part));
        let told = Usage {
            input_tokens: input,
            output_tokens: output.unwrap_or_default(),
            cache_read_input_tokens: cache_read,
            cache_creation_input_tokens: cache_creation,
            reasoning_output_tokens: None,
        };
        self.usage = Some(assembly::greater(self.usage, told));
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
    fn begin(
        &mut self,
        index: Option<u64>,
        block: &Value,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        let next = || {
            self.latest
                .saturating_add(u64::from(!self.growing.is_empty()))
        };
        let index = index.unwrap_or_else(next);
        if self.growing.len() > MAX_BLOCKS {
            return Err(garbled(format!("more than {MAX_BLOCKS} blocks")));
        }
        // Some servers give every block the same index, or forget to close one.
        self.close(index, deltas)?;
        self.latest = index;
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
                // In a stream it is empty, and the arguments follow.
                let input = block.get("input").and_then(Value::as_object);
                let input = input.filter(|input| !input.is_empty());
                let input = input.map(|input| Value::Object(input.clone()).to_string());
                self.call(block, input.as_deref(), deltas)?
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

    /// A call begins, or comes once more: its id says which it is.
    fn call(
        &mut self,
        block: &Value,
        input: Option<&str>,
        deltas: &mut Vec<Delta>,
    ) -> Result<Growing, Failure> {
        let (id, tool) = (text(block, "id"), text(block, "name").unwrap_or_default());
        let handle = match self.assembly.known(id, tool) {
            Some(call) if self.assembly.is_whole(call) => {
                return Ok(Growing::Again {
                    call,
                    id: id.unwrap_or_default().to_owned(),
                    name: tool.to_owned(),
                    input: input.unwrap_or_default().to_owned(),
                });
            }
            Some(call) => call,
            None => {
                let (handle, begun) = self.assembly.call(id, tool)?;
                deltas.push(begun);
                handle
            }
        };
        if let Some(input) = input
            && self.assembly.is_blank(handle)
        {
            deltas.extend(self.assembly.arguments(handle, input)?);
        }
        Ok(Growing::Call(handle))
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
        if !self.growing.contains_key(&index) {
            let kind = match text(delta, "type").unwrap_or_default() {
                // More of what was closed, or of what was never said to begin.
                "text_delta" | "citations_delta" => "text",
                "thinking_delta" | "signature_delta" => "thinking",
                "input_json_delta" => {
                    let piece = text(delta, "partial_json").unwrap_or_default();
                    let Some(handle) = self.closed.get(&index) else {
                        return Err(garbled(format!(
                            "more of block {index}, which has not begun"
                        )));
                    };
                    if !self.assembly.is_whole(*handle) {
                        deltas.extend(self.assembly.arguments(*handle, piece)?);
                    }
                    return Ok(());
                }
                _ => return Ok(()),
            };
            self.begin(Some(index), &json!({ "type": kind }), deltas)?;
        }
        let Some(growing) = self.growing.get_mut(&index) else {
            return Ok(());
        };
        match (text(delta, "type").unwrap_or_default(), growing) {
            ("text_delta", Growing::Text(handle, _)) => {
                if let Some(piece) = text(delta, "text") {
                    self.assembly.append(*handle, piece)?;
                    deltas.push(Delta::Text(piece.to_owned()));
                }
            }
            ("citations_delta", Growing::Text(_, citations)) if citations.len() < MAX_CITATIONS => {
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
            (
                "input_json_delta",
                Growing::ServerCall { input, .. } | Growing::Again { input, .. },
            ) => {
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
    fn close(&mut self, index: u64, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
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
            Some(Growing::Call(handle)) => {
                self.closed.insert(index, handle);
            }
            Some(Growing::Again {
                call,
                id,
                name,
                input,
            }) => {
                let is_same = input.trim().is_empty() || self.assembly.repeats(call, &input);
                if !is_same {
                    // Two calls under one id, which is no id then.
                    let (handle, begun) = self.assembly.call(Some(&id), &name)?;
                    deltas.push(begun);
                    deltas.extend(self.assembly.arguments(handle, &input)?);
                }
            }
            Some(Growing::Thinking(_) | Growing::Whole) => {}
            None => return Ok(()),
        }
        self.assembly.close();
        Ok(())
    }

    /// The answer is at its end: what was not closed is now.
    fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        while let Some(index) = self.growing.keys().next().copied() {
            self.close(index, deltas)?;
        }
        self.complete = true;
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
        let index = count(value.get("index"));
        let meant = index.unwrap_or(self.latest);
        let part = |key: &str| value.get(key).unwrap_or(&Value::Null);
        match text(&value, "type").unwrap_or(&event.event) {
            "message_start" => self.head(part("message")),
            "content_block_start" => self.begin(index, part("content_block"), &mut deltas)?,
            "content_block_delta" => self.grow(meant, part("delta"), &mut deltas)?,
            "content_block_stop" => self.close(meant, &mut deltas)?,
            "message_delta" => {
                self.end(part("delta"));
                self.usage(value.get("usage"));
            }
            "message_stop" => self.finish(&mut deltas)?,
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
            self.begin(Some(index), block, &mut Vec::new())?;
            self.close(index, &mut Vec::new())?;
        }
        self.end(answer);
        self.complete = true;
        Ok(())
    }

    fn stage(&self) -> Stage {
        match (self.complete, &self.stop) {
            (true, _) => Stage::Complete,
            (false, Some(_)) if self.growing.is_empty() => Stage::Stopped,
            (false, _) => Stage::Open,
        }
    }

    fn bill(&self) -> Reply {
        assembly::bill(self.model.as_ref(), self.usage, None)
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
        let broken = if self.stage() != Stage::Open && stop != StopCause::MaxTokens {
            BrokenCalls::Mark
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
        Ok(Reply {
            content,
            stop,
            finish_reasons: self.stop.iter().cloned().collect(),
            refusal_category: self.category.clone(),
            ..self.bill()
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
