//! An answer of the Responses API, streamed or whole.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::REASONING;
use crate::model::assembly::{
    self, Assembly, BrokenCalls, Handle, MAX_BLOCKS, Prose, count, garbled, member, seal, text,
};
use crate::model::openai_chat::{read_cost, stream_failure};
use crate::model::wire::{Decoder, Failure, ServerEvent, Stage};
use crate::model::{Delta, Reply, StopCause};
use crate::trajectory::content::Block;
use crate::trajectory::fact::Usage;

/// Kinds of items that grow.
const MESSAGE: &str = "message";
const REASONING_ITEM: &str = "reasoning";
const CALL: &str = "function_call";

/// Characters of an id by which an item is known again.
const MAX_ID: usize = 256;

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
    items: Items,
    /// Blocks that have begun, by the number of their item.
    begun: HashMap<(usize, Place), Handle>,
    /// The part of the reasoning that is arriving, by the number of the item.
    summaries: HashMap<usize, (u64, bool)>,
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
        if data == "[DONE]" && self.end.is_none() && self.items.are_whole() {
            self.end = Some(End::Completed);
        }
        if self.end.is_some() || data.is_empty() || data == "[DONE]" {
            return Ok(Vec::new());
        }
        let value = assembly::parse(data)?;
        let mut deltas = Vec::new();
        let kind = text(&value, "type").unwrap_or(&event.event);
        let piece = text(&value, "delta").unwrap_or_default();
        let names = Names {
            id: text(&value, "item_id"),
            call_id: None,
            index: count(value.get("output_index")),
        };
        let part = |key: &str| count(value.get(key)).unwrap_or(0);
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.head(member(&value, "response"));
            }
            "response.output_item.added" => {
                let item = member(&value, "item");
                // Calls are worth knowing before their arguments are there.
                if text(item, "type") == Some(CALL) {
                    let place = self.items.place(CALL, names.of(item), Event::Begin)?;
                    self.call(place, item, &mut deltas)?;
                }
            }
            "response.output_item.done" => {
                let item = member(&value, "item");
                let kind = text(item, "type").unwrap_or_default();
                let place = self.items.place(kind, names.of(item), Event::Whole)?;
                self.take(place, item, &mut deltas)?;
            }
            "response.output_text.delta" | "response.refusal.delta" => {
                let prose = match kind {
                    "response.refusal.delta" => Prose::Refusal,
                    _ => Prose::Text,
                };
                if let Some(item) = self.items.piece(MESSAGE, names)? {
                    let place = Place::Part(part("content_index"));
                    self.piece(item, place, prose, piece, &mut deltas)?;
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let is_summary = kind == "response.reasoning_summary_text.delta";
                let key = if is_summary {
                    "summary_index"
                } else {
                    "content_index"
                };
                if let Some(item) = self.items.piece(REASONING_ITEM, names)? {
                    self.reasoning(item, (part(key), is_summary), piece, &mut deltas)?;
                }
            }
            "response.function_call_arguments.delta" => {
                if let Some(handle) = self.arguments_of(names) {
                    deltas.extend(self.assembly.arguments(handle, piece)?);
                }
            }
            "response.function_call_arguments.done" => {
                let whole = text(&value, "arguments").unwrap_or_default();
                if let Some(handle) = self.arguments_of(names) {
                    let piece = self.assembly.missing(handle, whole);
                    deltas.extend(self.assembly.arguments(handle, piece)?);
                }
            }
            // The last is what some imitators write.
            "response.completed" | "response.incomplete" | "response.failed" | "response.done" => {
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

    fn stage(&self) -> Stage {
        match self.end {
            Some(_) => Stage::Complete,
            None => Stage::Open,
        }
    }

    fn bill(&self) -> Reply {
        assembly::bill(self.model.as_ref(), self.usage, self.cost_usd)
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
            Some(End::Completed) => BrokenCalls::Mark,
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
            refusal_category: category.map(str::to_owned),
            ..self.bill()
        })
    }
}

impl Answer {
    pub(super) fn new(inference: u64) -> Answer {
        Answer {
            assembly: Assembly::new(inference),
            items: Items::default(),
            begun: HashMap::new(),
            summaries: HashMap::new(),
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
        if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
            self.usage = Some(assembly::greater(self.usage, read_usage(usage)));
            self.cost_usd = read_cost(usage).or(self.cost_usd);
        }
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
        self.list(output.into_iter().flatten(), deltas)?;
        self.end = Some(match status {
            Some("incomplete") => {
                let reason = assembly::name(response.pointer("/incomplete_details/reason"));
                End::Incomplete(reason.unwrap_or_else(|| "incomplete".to_owned()))
            }
            _ => End::Completed,
        });
        Ok(())
    }

    /// The items of the response, listed at its end. Those that are known by an id are, wherever they stand;
    /// the others are matched in their order with those of their kind that nobody else is.
    fn list<'a>(
        &mut self,
        values: impl Iterator<Item = &'a Value>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        let nowhere = Names::default();
        let values: Vec<&Value> = values.collect();
        let mut matched: Vec<Option<usize>> = Vec::with_capacity(values.len());
        for value in &values {
            let kind = text(value, "type").unwrap_or_default();
            matched.push(self.items.known(kind, nowhere.of(value)));
        }
        let before = self.items.len();
        for (at, value) in values.into_iter().enumerate() {
            let known = matched.get(at).copied().flatten();
            let item = match known.or_else(|| self.unlisted(before, &matched, value)) {
                Some(item) => item,
                None => {
                    let kind = text(value, "type").unwrap_or_default();
                    self.items.add(kind, nowhere.of(value))?
                }
            };
            if let Some(place) = matched.get_mut(at) {
                *place = Some(item);
            }
            self.take(item, value, deltas)?;
        }
        Ok(())
    }

    /// The item of the stream that a listed one without a known id is.
    fn unlisted(&self, before: usize, matched: &[Option<usize>], value: &Value) -> Option<usize> {
        let kind = text(value, "type").unwrap_or_default();
        let mut free = (0..before)
            .filter(|item| !matched.contains(&Some(*item)) && self.items.is_of(*item, kind));
        if kind != CALL {
            return free.next();
        }
        // The list holds all that was streamed: a call that no id is known of is one of those.
        let arguments = text(value, "arguments").unwrap_or_default();
        let tool = text(value, "name").unwrap_or_default();
        free.find(|item| {
            let handle = self.begun.get(&(*item, Place::Arguments));
            handle.is_some_and(|handle| {
                let is_same = self.assembly.repeats(*handle, arguments);
                self.assembly.is_called(*handle, tool)
                    && (is_same || self.assembly.is_blank(*handle))
            })
        })
    }

    /// The arguments of a call that has begun and is not whole.
    fn arguments_of(&self, names: Names<'_>) -> Option<Handle> {
        let item = self.items.find(CALL, names, Event::Piece)?;
        let is_open = !self.items.is_taken(item);
        let handle = self.begun.get(&(item, Place::Arguments));
        handle.copied().filter(|_| is_open)
    }

    fn call(
        &mut self,
        item: usize,
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
    fn block(&mut self, item: usize, place: Place, prose: Prose) -> Result<Handle, Failure> {
        if let Some(handle) = self.begun.get(&(item, place)) {
            return Ok(*handle);
        }
        let handle = self.assembly.begin(prose)?;
        self.begun.insert((item, place), handle);
        Ok(handle)
    }

    fn piece(
        &mut self,
        item: usize,
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
        item: usize,
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
    fn take(&mut self, item: usize, value: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        if self.items.take(item) {
            return Ok(());
        }
        match text(value, "type").unwrap_or_default() {
            "message" => {
                let parts = value.get("content").and_then(Value::as_array);
                for (index, part) in (0..).zip(parts.into_iter().flatten()) {
                    self.take_part(item, Place::Part(index), part, deltas)?;
                }
            }
            "reasoning" => self.take_reasoning(item, value, deltas)?,
            "function_call" => {
                let handle = self.call(item, value, deltas)?;
                let whole = text(value, "arguments").unwrap_or_default();
                if !self.assembly.is_whole(handle) {
                    let piece = self.assembly.missing(handle, whole);
                    deltas.extend(self.assembly.arguments(handle, piece)?);
                }
            }
            "" => return Err(garbled("an item without a type")),
            kind => self.provider_call(kind, value)?,
        }
        Ok(())
    }

    fn take_part(
        &mut self,
        item: usize,
        place: Place,
        part: &Value,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        for (key, prose) in [("text", Prose::Text), ("refusal", Prose::Refusal)] {
            let Some(whole) = text(part, key) else {
                continue;
            };
            let missing = match self.begun.get(&(item, place)) {
                Some(handle) => self.assembly.missing(*handle, whole),
                None => whole,
            };
            self.piece(item, place, prose, missing, deltas)?;
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
        item: usize,
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

/// What an event says about the item it belongs to.
#[derive(Clone, Copy, Debug, Default)]
struct Names<'a> {
    id: Option<&'a str>,
    call_id: Option<&'a str>,
    /// Its place among the items, which some servers leave out and others never change.
    index: Option<u64>,
}

impl<'a> Names<'a> {
    /// With what the item says itself.
    fn of(self, item: &'a Value) -> Names<'a> {
        Names {
            id: text(item, "id").or(self.id),
            call_id: text(item, "call_id"),
            index: self.index,
        }
    }
}

/// What an event brings of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Begin,
    Piece,
    Whole,
}

/// Items of the response, known by their ids wherever they stand.
#[derive(Debug, Default)]
struct Items(Vec<Item>);

#[derive(Debug)]
struct Item {
    kind: String,
    id: Option<String>,
    call_id: Option<String>,
    index: Option<u64>,
    /// It has been taken in whole.
    taken: bool,
}

impl Item {
    /// None where the ids do not say.
    fn is(&self, names: Names<'_>) -> Option<bool> {
        let same = |known: &Option<String>, told: Option<&str>| Some(known.as_deref()? == told?);
        // Pieces may name a call by either of its ids.
        match (
            same(&self.call_id, names.call_id),
            same(&self.id, names.id),
            same(&self.call_id, names.id),
        ) {
            (Some(is_same), _, _) => Some(is_same),
            (None, Some(true), _) | (None, _, Some(true)) => Some(true),
            (None, Some(false), _) => Some(false),
            (None, None, _) => None,
        }
    }
}

impl Items {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are items, and each of them has been taken in whole.
    fn are_whole(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|item| item.taken)
    }

    fn is_of(&self, item: usize, kind: &str) -> bool {
        self.0.get(item).is_some_and(|item| item.kind == kind)
    }

    fn is_taken(&self, item: usize) -> bool {
        self.0.get(item).is_some_and(|item| item.taken)
    }

    /// The item that has one of these ids.
    fn known(&self, kind: &str, names: Names<'_>) -> Option<usize> {
        self.0.iter().rposition(|item| {
            // A server that gives all items one id tells them apart by their places.
            let elsewhere = item.taken
                && item.kind != CALL
                && matches!((item.index, names.index), (Some(a), Some(b)) if a != b);
            item.kind == kind && item.is(names) == Some(true) && !elsewhere
        })
    }

    /// The item an event is about.
    fn find(&self, kind: &str, names: Names<'_>, event: Event) -> Option<usize> {
        if let Some(known) = self.known(kind, names) {
            return Some(known);
        }
        let is_there = |item: &Item| match names.index {
            Some(_) => item.index == names.index,
            None => true,
        };
        let place = (self.0.iter()).rposition(|item| item.kind == kind && is_there(item))?;
        let item = self.0.get(place)?;
        let fits = match item.is(names) {
            // Another id is another item, but where it names what is just now arriving at that place.
            Some(_) => !item.taken && kind != CALL && event == Event::Whole,
            // Where neither has an id, the place says it; without one, it is what is arriving.
            None if names.index.is_some() => !(item.taken && event == Event::Begin),
            None => !item.taken,
        };
        fits.then_some(place)
    }

    fn add(&mut self, kind: &str, names: Names<'_>) -> Result<usize, Failure> {
        if self.0.len() >= MAX_BLOCKS {
            return Err(garbled(format!("more than {MAX_BLOCKS} items")));
        }
        let owned = |text: Option<&str>| text.map(|text| text.chars().take(MAX_ID).collect());
        self.0.push(Item {
            kind: kind.chars().take(MAX_ID).collect(),
            id: owned(names.id),
            call_id: owned(names.call_id),
            index: names.index,
            taken: false,
        });
        Ok(self.0.len() - 1)
    }

    /// The item an event is about, added where it is new.
    fn place(&mut self, kind: &str, names: Names<'_>, event: Event) -> Result<usize, Failure> {
        let Some(place) = self.find(kind, names, event) else {
            return self.add(kind, names);
        };
        if let Some(item) = self.0.get_mut(place) {
            let learn = |known: &mut Option<String>, told: Option<&str>| {
                if known.is_none() {
                    *known = told.map(|told| told.chars().take(MAX_ID).collect());
                }
            };
            learn(&mut item.id, names.id);
            learn(&mut item.call_id, names.call_id);
        }
        Ok(place)
    }

    /// The item that a piece of prose belongs to; none when it has been taken in whole already.
    fn piece(&mut self, kind: &str, names: Names<'_>) -> Result<Option<usize>, Failure> {
        let place = self.place(kind, names, Event::Piece)?;
        Ok((!self.is_taken(place)).then_some(place))
    }

    /// Takes an item; true when that has been done before.
    fn take(&mut self, item: usize) -> bool {
        let item = self.0.get_mut(item);
        item.is_none_or(|item| std::mem::replace(&mut item.taken, true))
    }
}

fn read_usage(usage: &Value) -> Usage {
    let at = |pointer: &str| count(usage.pointer(pointer));
    let (input, output) = (at("/input_tokens"), at("/output_tokens"));
    let (input_tokens, output_tokens) =
        assembly::by_total(input.unwrap_or(0), output.unwrap_or(0), at("/total_tokens"));
    Usage {
        input_tokens,
        output_tokens,
        cache_read_input_tokens: at("/input_tokens_details/cached_tokens"),
        cache_creation_input_tokens: at("/input_tokens_details/cache_write_tokens"),
        reasoning_output_tokens: at("/output_tokens_details/reasoning_tokens"),
    }
}
