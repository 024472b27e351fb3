//! An answer of the Responses API, streamed or whole.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::REASONING;
use crate::model::assembly::{
    self, Assembly, BrokenCalls, Handle, MAX_BLOCKS, Prose, count, garbled, member, seal, text,
};
use crate::model::openai_chat::{read_cost, stream_failure};
use crate::model::wire::{Decoder, Failure, ServerEvent};
use crate::model::{Delta, Reply, StopCause};
use crate::trajectory::content::Block;
use crate::trajectory::fact::Usage;

/// What of an item a piece belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// Part of a message.
    Part(u64),
    /// Summaries of reasoning, or its text.
    Reasoning,
    /// Arguments of a call.
    Arguments,
}

/// Puts an answer together.
#[derive(Debug)]
pub(super) struct Answer {
    assembly: Assembly,
    /// Blocks that have begun, by the number of their item.
    begun: HashMap<(u64, Place), Handle>,
    /// The part of the reasoning that is arriving, by the number of the item.
    summaries: HashMap<u64, (u64, bool)>,
    /// Items that have been taken in whole.
    taken: Vec<u64>,
    model: Option<String>,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    end: Option<End>,
}

/// How the response ended.
#[derive(Debug)]
enum End {
    Completed,
    /// With the reason.
    Incomplete(String),
}

impl Decoder for Answer {
    fn event(&mut self, event: &ServerEvent) -> Result<Vec<Delta>, Failure> {
        let data = event.data.trim();
        // Some imitators end like chat completions do.
        if self.end.is_some() || data.is_empty() || data == "[DONE]" {
            return Ok(Vec::new());
        }
        let value = assembly::parse(data)?;
        let mut deltas = Vec::new();
        let kind = text(&value, "type").unwrap_or(&event.event);
        let item = count(value.get("output_index")).unwrap_or(0);
        let piece = text(&value, "delta").unwrap_or_default();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.head(member(&value, "response"));
            }
            "response.output_item.added" => {
                self.added(item, member(&value, "item"), &mut deltas)?;
            }
            "response.output_item.done" => self.take(item, member(&value, "item"), &mut deltas)?,
            "response.output_text.delta" | "response.refusal.delta" => {
                let prose = match kind {
                    "response.refusal.delta" => Prose::Refusal,
                    _ => Prose::Text,
                };
                let part = count(value.get("content_index")).unwrap_or(0);
                self.piece(item, Place::Part(part), prose, piece, &mut deltas)?;
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let is_summary = kind == "response.reasoning_summary_text.delta";
                let key = if is_summary {
                    "summary_index"
                } else {
                    "content_index"
                };
                let part = count(value.get(key)).unwrap_or(0);
                self.reasoning(item, (part, is_summary), piece, &mut deltas)?;
            }
            "response.function_call_arguments.delta" => {
                if let Some(handle) = self.begun.get(&(item, Place::Arguments)) {
                    deltas.extend(self.assembly.arguments(*handle, piece)?);
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.response(member(&value, "response"), &mut deltas)?;
            }
            "error" => return Err(stream_failure(&value)),
            _ if value.get("error").is_some_and(|error| !error.is_null()) => {
                return Err(stream_failure(&value));
            }
            // Progress of built-in tools, and what is to come.
            _ => {}
        }
        Ok(deltas)
    }

    fn whole(&mut self, answer: &Value) -> Result<(), Failure> {
        self.response(answer, &mut Vec::new())
    }

    fn complete(&self) -> bool {
        self.end.is_some()
    }

    fn reply(&self) -> Result<Reply, Failure> {
        let has_calls = self.assembly.has_calls();
        let (stop, reason) = match &self.end {
            Some(End::Incomplete(reason)) => {
                let stop = match reason.as_str() {
                    "max_output_tokens" | "max_tokens" => StopCause::MaxTokens,
                    "content_filter" => StopCause::Refusal,
                    _ => StopCause::Other,
                };
                (stop, Some(reason.as_str()))
            }
            end => {
                let stop = match end {
                    _ if has_calls => StopCause::ToolUse,
                    _ if self.assembly.has_refusal() => StopCause::Refusal,
                    Some(_) => StopCause::EndTurn,
                    None => StopCause::Other,
                };
                (stop, end.as_ref().map(|_| "completed"))
            }
        };
        let broken = match &self.end {
            Some(End::Completed) => BrokenCalls::Fail,
            _ => BrokenCalls::LeaveOut,
        };
        let mut content = self.assembly.content(broken)?;
        let category = reason.filter(|_| stop == StopCause::Refusal && reason != Some("completed"));
        if let Some(category) = category
            && content.is_empty()
        {
            let words = format!("the provider withheld the answer: {category}");
            content.extend(Block::parse(json!({"type": "refusal", "refusal": words})).ok());
        }
        Ok(Reply {
            content,
            stop,
            finish_reasons: reason.iter().map(|reason| (*reason).to_owned()).collect(),
            model: self.model.clone(),
            usage: self.usage,
            cost_usd: self.cost_usd,
            refusal_category: category.map(str::to_owned),
        })
    }
}

impl Answer {
    pub(super) fn new(inference: u64) -> Answer {
        Answer {
            assembly: Assembly::new(inference),
            begun: HashMap::new(),
            summaries: HashMap::new(),
            taken: Vec::new(),
            model: None,
            usage: None,
            cost_usd: None,
            end: None,
        }
    }

    fn head(&mut self, response: &Value) {
        if let Some(model) = assembly::name(response.get("model")) {
            self.model = Some(model);
        }
    }

    /// The whole response. Items that have arrived piece by piece are known already.
    fn response(&mut self, response: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let error = response.get("error").filter(|error| !error.is_null());
        let status = text(response, "status");
        if error.is_some() || matches!(status, Some("failed" | "cancelled")) {
            return Err(stream_failure(response));
        }
        self.head(response);
        let output = response.get("output").and_then(Value::as_array);
        if output.is_none() && self.assembly.is_empty() {
            return Err(garbled("a response without output"));
        }
        for (item, value) in (0..).zip(output.into_iter().flatten()) {
            self.take(item, value, deltas)?;
        }
        if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(read_usage(usage));
            self.cost_usd = read_cost(usage);
        }
        self.end = Some(match status {
            Some("incomplete") => {
                let reason = assembly::name(response.pointer("/incomplete_details/reason"));
                End::Incomplete(reason.unwrap_or_else(|| "incomplete".to_owned()))
            }
            _ => End::Completed,
        });
        Ok(())
    }

    /// An item begins. Calls are worth knowing before their arguments are there.
    fn added(&mut self, item: u64, value: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        if text(value, "type") == Some("function_call") {
            self.call(item, value, deltas)?;
        }
        Ok(())
    }

    fn call(
        &mut self,
        item: u64,
        value: &Value,
        deltas: &mut Vec<Delta>,
    ) -> Result<Handle, Failure> {
        if let Some(handle) = self.begun.get(&(item, Place::Arguments)) {
            return Ok(*handle);
        }
        let name = text(value, "name").unwrap_or_default();
        let (handle, delta) = self.assembly.call(text(value, "call_id"), name)?;
        self.begun.insert((item, Place::Arguments), handle);
        deltas.push(delta);
        Ok(handle)
    }

    /// The block of a piece, begun where there is none yet.
    fn block(&mut self, item: u64, place: Place, prose: Prose) -> Result<Handle, Failure> {
        if let Some(handle) = self.begun.get(&(item, place)) {
            return Ok(*handle);
        }
        let handle = self.assembly.begin(prose)?;
        self.begun.insert((item, place), handle);
        Ok(handle)
    }

    fn piece(
        &mut self,
        item: u64,
        place: Place,
        prose: Prose,
        piece: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if piece.is_empty() {
            return Ok(());
        }
        let handle = self.block(item, place, prose)?;
        self.assembly.append(handle, piece)?;
        deltas.push(match prose {
            Prose::Thinking => Delta::Thinking(piece.to_owned()),
            Prose::Text | Prose::Refusal => Delta::Text(piece.to_owned()),
        });
        Ok(())
    }

    /// Reasoning has parts; a block has one text. They become paragraphs.
    fn reasoning(
        &mut self,
        item: u64,
        part: (u64, bool),
        piece: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if piece.is_empty() {
            return Ok(());
        }
        let handle = self.block(item, Place::Reasoning, Prose::Thinking)?;
        if self
            .summaries
            .insert(item, part)
            .is_some_and(|last| last != part)
        {
            self.piece(item, Place::Reasoning, Prose::Thinking, "\n\n", deltas)?;
        }
        self.assembly.append(handle, piece)?;
        deltas.push(Delta::Thinking(piece.to_owned()));
        Ok(())
    }

    /// An item is there in whole: what of it has not arrived in pieces is added.
    fn take(&mut self, item: u64, value: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        if self.taken.contains(&item) {
            return Ok(());
        }
        if self.taken.len() >= MAX_BLOCKS {
            return Err(garbled(format!("more than {MAX_BLOCKS} items")));
        }
        self.taken.push(item);
        match text(value, "type").unwrap_or_default() {
            "message" => {
                let parts = value.get("content").and_then(Value::as_array);
                for (index, part) in (0..).zip(parts.into_iter().flatten()) {
                    self.take_part(item, Place::Part(index), part, deltas)?;
                }
            }
            "reasoning" => self.take_reasoning(item, value, deltas)?,
            "function_call" => {
                let is_new = !self.begun.contains_key(&(item, Place::Arguments));
                let handle = self.call(item, value, deltas)?;
                if is_new || self.assembly.is_blank(handle) {
                    let arguments = text(value, "arguments").unwrap_or_default();
                    deltas.extend(self.assembly.arguments(handle, arguments)?);
                }
            }
            "" => return Err(garbled("an item without a type")),
            kind => self.provider_call(kind, value)?,
        }
        Ok(())
    }

    fn take_part(
        &mut self,
        item: u64,
        place: Place,
        part: &Value,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if !self.begun.contains_key(&(item, place)) {
            if let Some(piece) = text(part, "text") {
                self.piece(item, place, Prose::Text, piece, deltas)?;
            }
            if let Some(piece) = text(part, "refusal") {
                self.piece(item, place, Prose::Refusal, piece, deltas)?;
            }
        }
        // Sources the model cites.
        let annotations = part.get("annotations").and_then(Value::as_array);
        if let Some(list) = annotations.filter(|list| !list.is_empty())
            && let Some(handle) = self.begun.get(&(item, place))
        {
            let list = Value::from(list.clone());
            self.assembly
                .annotate(*handle, "openai.annotations", list)?;
        }
        Ok(())
    }

    fn take_reasoning(
        &mut self,
        item: u64,
        value: &Value,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if !self.begun.contains_key(&(item, Place::Reasoning)) {
            for (key, is_summary) in [("content", false), ("summary", true)] {
                let parts = value.get(key).and_then(Value::as_array);
                for (index, part) in (0..).zip(parts.into_iter().flatten()) {
                    let piece = text(part, "text").unwrap_or_default();
                    self.reasoning(item, (index, is_summary), piece, deltas)?;
                }
            }
        }
        if let Some(encrypted) = text(value, "encrypted_content") {
            let handle = self.block(item, Place::Reasoning, Prose::Thinking)?;
            // The id's own colons would make the content ambiguous.
            let id = text(value, "id").filter(|id| !id.contains(':'));
            let sealed = format!("{}:{encrypted}", id.unwrap_or_default());
            self.assembly.sign(handle, seal(REASONING, &sealed))?;
        }
        Ok(())
    }

    /// A tool the provider ran. The whole item is kept as the result, because it has to go back as it is.
    fn provider_call(&mut self, kind: &str, value: &Value) -> Result<(), Failure> {
        if !kind.ends_with("_call") {
            return Ok(());
        }
        let name = kind.trim_end_matches("_call");
        let id = self.assembly.id(text(value, "id"));
        let input = match value.get("action").filter(|action| action.is_object()) {
            Some(action) => action.clone(),
            None => {
                let keys = ["queries", "code", "name", "server_label", "arguments"];
                let known = keys.iter().filter_map(|key| {
                    let value = value.get(*key).filter(|value| !value.is_null())?;
                    Some(((*key).to_owned(), value.clone()))
                });
                Value::Object(known.collect())
            }
        };
        let is_error = matches!(text(value, "status"), Some("failed"))
            || value.get("error").is_some_and(|error| !error.is_null());
        self.assembly
            .block(json!({"type": "server_tool_use", "id": id, "name": name, "input": input}))?;
        self.assembly.block(json!({
            "type": "server_tool_result",
            "tool_use_id": id,
            "name": name,
            "content": value,
            "is_error": is_error,
        }))
    }
}

fn read_usage(usage: &Value) -> Usage {
    let at = |pointer: &str| count(usage.pointer(pointer));
    Usage {
        input_tokens: at("/input_tokens").unwrap_or(0),
        output_tokens: at("/output_tokens").unwrap_or(0),
        cache_read_input_tokens: at("/input_tokens_details/cached_tokens"),
        cache_creation_input_tokens: at("/input_tokens_details/cache_write_tokens"),
        reasoning_output_tokens: at("/output_tokens_details/reasoning_tokens"),
    }
}
