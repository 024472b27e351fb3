//! An answer of Chat Completions, streamed or whole.

use serde_json::{Map, Value, json};

use super::REASONING_CONTENT;
use super::request::seal_details;
use crate::model::assembly::{
    self, Assembly, BrokenCalls, Handle, MAX_ARGUMENTS, MAX_BLOCKS, MAX_BYTES, Prose, count,
    dollars, garbled, seal, text,
};
use crate::model::provider_error::Report;
use crate::model::wire::{Class, Decoder, Failure, ServerEvent, Stage};
use crate::model::{Delta, Reply, StopCause};
use crate::trajectory::content::Block;
use crate::trajectory::fact::Usage;

/// Puts an answer together.
#[derive(Debug)]
pub(super) struct Answer {
    assembly: Assembly,
    calls: Vec<Call>,
    /// Bytes of arguments that wait for the name of their tool.
    waiting: usize,
    /// What `OpenRouter` wants back for the reasoning.
    details: Vec<Value>,
    details_bytes: usize,
    model: Option<String>,
    finish: Option<String>,
    /// The stop sequence that came, where the server tells (vLLM).
    stopped_by: bool,
    usage: Option<Usage>,
    cost_usd: Option<f64>,
    /// The message comes in deltas: a whole one says again what they have said.
    by_delta: bool,
    done: bool,
}

/// A call that arrives in pieces.
#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    name: Option<String>,
    /// Arguments that came before the name.
    waiting: String,
    /// Its name came again when its arguments were whole: what follows may be another call.
    named_again: bool,
    handle: Option<Handle>,
}

impl Call {
    /// True when arguments have come, and nobody has said of which tool.
    fn lacks_a_name(&self) -> bool {
        self.handle.is_none() && !self.waiting.trim().is_empty()
    }
}

impl Decoder for Answer {
    fn event(&mut self, event: &ServerEvent) -> Result<Vec<Delta>, Failure> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
        }
        if self.done || data.is_empty() {
            return Ok(Vec::new());
        }
        let value = assembly::parse(data)?;
        let mut deltas = Vec::new();
        if event.event == "error" {
            return Err(stream_failure(&value));
        }
        self.document(&value, "delta", &mut deltas)?;
        Ok(deltas)
    }

    fn whole(&mut self, answer: &Value) -> Result<(), Failure> {
        self.document(answer, "message", &mut Vec::new())?;
        self.done = true;
        Ok(())
    }

    fn stage(&self) -> Stage {
        match (self.done, &self.finish) {
            (true, _) => Stage::Complete,
            (false, Some(_)) => Stage::Stopped,
            (false, None) => Stage::Open,
        }
    }

    fn bill(&self) -> Reply {
        assembly::bill(self.model.as_ref(), self.usage, self.cost_usd)
    }

    fn reply(&self) -> Result<Reply, Failure> {
        let stop = self.stop();
        let is_cut = matches!(stop, StopCause::MaxTokens | StopCause::Refusal);
        let broken = if self.stage() != Stage::Open && !is_cut {
            if self.assembly.is_empty() && self.finish.is_none() {
                return Err(garbled("it is empty"));
            }
            if self.calls.iter().any(Call::lacks_a_name) {
                return Err(garbled("a call without the name of a tool"));
            }
            BrokenCalls::Mark
        } else {
            BrokenCalls::LeaveOut
        };
        let mut content = self.assembly.content(broken)?;
        if !self.details.is_empty() {
            self.attach_details(&mut content)?;
        }
        let is_refusal = stop == StopCause::Refusal;
        let category = self.finish.as_deref().filter(|f| *f == "content_filter");
        if is_refusal && content.is_empty() {
            let words = json!({"type": "refusal", "refusal": "the provider withheld the answer: content_filter"});
            content.extend(Block::parse(words).ok());
        }
        Ok(Reply {
            content,
            stop,
            finish_reasons: self.finish.iter().cloned().collect(),
            refusal_category: category.filter(|_| is_refusal).map(str::to_owned),
            ..self.bill()
        })
    }
}

impl Answer {
    pub(super) fn new(inference: u64) -> Answer {
        Answer {
            assembly: Assembly::new(inference),
            calls: Vec::new(),
            waiting: 0,
            details: Vec::new(),
            details_bytes: 0,
            model: None,
            finish: None,
            stopped_by: false,
            usage: None,
            cost_usd: None,
            by_delta: false,
            done: false,
        }
    }

    /// A chunk of a stream or a whole answer; they differ in where the message is.
    fn document(
        &mut self,
        value: &Value,
        message: &str,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        // Groq and Moonshot once put usage elsewhere. What failed was paid for, too.
        let choice = value.pointer("/choices/0");
        let usage = [
            value.get("usage"),
            value.pointer("/x_groq/usage"),
            choice.and_then(|choice| choice.get("usage")),
        ];
        for usage in usage
            .into_iter()
            .flatten()
            .filter(|usage| usage.is_object())
        {
            self.usage = Some(assembly::greater(self.usage, read_usage(usage)));
            let cost = read_cost(usage);
            self.cost_usd = match (self.cost_usd, cost) {
                (Some(known), Some(cost)) => Some(known.max(cost)),
                (known, cost) => cost.or(known),
            };
        }
        let is_error = value.get("error").is_some_and(|error| !error.is_null())
            || text(value, "object") == Some("error");
        if is_error {
            return Err(stream_failure(value));
        }
        if !value.is_object() {
            return Err(garbled("an event is not a JSON object"));
        }
        if self.model.is_none() {
            self.model = assembly::name(value.get("model"));
        }
        let Some(choice) = choice else { return Ok(()) };
        if count(choice.get("index")).unwrap_or(0) != 0 {
            return Ok(());
        }
        if let Some(message) = choice.get(message) {
            self.message(message, deltas)?;
        }
        if message == "delta" {
            self.by_delta |= choice.get("delta").is_some() && !self.assembly.is_empty();
            match choice.get("message") {
                Some(whole) if self.by_delta => self.again(whole, deltas)?,
                Some(piece) => self.message(piece, deltas)?,
                None => {}
            }
        }
        if let Some(finish) = assembly::name(choice.get("finish_reason")) {
            match finish.as_str() {
                // OpenRouter and DeepSeek: the model failed in the middle.
                "error" | "insufficient_system_resource" => {
                    return Err(Failure::new(
                        Class::Overloaded,
                        format!("the provider broke off: {finish}"),
                    ));
                }
                _ => self.finish = Some(finish),
            }
            self.stopped_by = text(choice, "stop_reason").is_some();
        }
        Ok(())
    }

    fn message(&mut self, message: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let details = message.get("reasoning_details").and_then(Value::as_array);
        let reasoning = text(message, "reasoning_content").or_else(|| text(message, "reasoning"));
        if let Some(piece) = reasoning {
            self.prose(Prose::Thinking, piece, deltas)?;
            if text(message, REASONING_CONTENT).is_some() {
                let handle = self.assembly.prose(Prose::Thinking, "")?;
                self.assembly.sign(handle, seal(REASONING_CONTENT, ""))?;
            }
        }
        for detail in details.into_iter().flatten() {
            let piece = text(detail, "text").or_else(|| text(detail, "summary"));
            if let Some(piece) = piece.filter(|_| reasoning.is_none()) {
                self.prose(Prose::Thinking, piece, deltas)?;
            }
            self.detail(detail)?;
        }
        match message.get("content") {
            Some(Value::String(piece)) => self.prose(Prose::Text, piece, deltas)?,
            // Mistral's reasoning models answer with parts.
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(piece) = text(part, "text") {
                        self.prose(Prose::Text, piece, deltas)?;
                    }
                    let thinking = part.get("thinking").and_then(Value::as_array);
                    for piece in thinking.into_iter().flatten() {
                        if let Some(piece) = text(piece, "text") {
                            self.prose(Prose::Thinking, piece, deltas)?;
                        }
                    }
                }
            }
            _ => {}
        }
        if let Some(piece) = text(message, "refusal") {
            self.prose(Prose::Refusal, piece, deltas)?;
        }
        let images = message.get("images").and_then(Value::as_array);
        for image in images.into_iter().flatten() {
            let url = image.pointer("/image_url/url").and_then(Value::as_str);
            if let Some(block) = url.and_then(image_block) {
                self.assembly.block(block)?;
            }
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.call(call, deltas)?;
        }
        Ok(())
    }

    /// The whole message, after its pieces: what of it has not arrived is added.
    fn again(&mut self, message: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let words = message.get("content").and_then(Value::as_str);
        if let Some(words) = words.filter(|_| !self.assembly.has_text()) {
            self.prose(Prose::Text, words, deltas)?;
        }
        let calls = message.get("tool_calls").and_then(Value::as_array);
        for piece in calls.into_iter().flatten() {
            let (name, arguments) = (name(piece), arguments(piece));
            let has_come = self.calls.iter().any(|call| {
                let handle = call.handle.filter(|_| call.name.as_deref() == name);
                handle.is_some_and(|handle| self.assembly.repeats(handle, &arguments))
            });
            if !has_come {
                self.call(piece, deltas)?;
            }
        }
        Ok(())
    }

    fn prose(&mut self, prose: Prose, piece: &str, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        if piece.is_empty() {
            return Ok(());
        }
        self.assembly.prose(prose, piece)?;
        deltas.push(match prose {
            Prose::Thinking => Delta::Thinking(piece.to_owned()),
            Prose::Text | Prose::Refusal => Delta::Text(piece.to_owned()),
        });
        Ok(())
    }

    /// A piece of a call. Servers disagree about what identifies it: `OpenAI` counts, some leave out the
    /// index, the id or both, some number every call zero.
    fn call(&mut self, piece: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let index = count(piece.get("index"));
        let id = text(piece, "id");
        let (mut name, arguments) = (name(piece).map(str::to_owned), arguments(piece));
        if id.is_none() && index.is_some() {
            let mut calls = self.calls.iter_mut().rev();
            let latest = calls.find(|call| call.index == index);
            let is_blank = arguments.trim().is_empty();
            let is_whole = |call: &Call| {
                let handle = call.handle;
                handle.is_some_and(|handle| self.assembly.is_whole(handle))
            };
            match latest {
                // Only what follows tells whether it says the name again or begins another call.
                Some(call) if is_blank && name.is_some() && name == call.name && is_whole(call) => {
                    call.named_again = true;
                    return Ok(());
                }
                Some(call) if !is_blank && name.is_none() && call.named_again => {
                    name.clone_from(&call.name);
                }
                _ => {}
            }
        }
        let name = name.as_deref();
        let place = match self.find(index, id, name, &arguments) {
            Some(place) => place,
            None if self.calls.len() >= MAX_BLOCKS => {
                return Err(garbled(format!("more than {MAX_BLOCKS} calls")));
            }
            None => {
                self.calls.push(Call {
                    index,
                    ..Call::default()
                });
                self.calls.len() - 1
            }
        };
        let Some(call) = self.calls.get_mut(place) else {
            return Ok(());
        };
        let handle = call.handle;
        if handle.is_some_and(|handle| self.assembly.repeats(handle, &arguments)) {
            return Ok(());
        }
        if call.id.is_none() {
            call.id = id.map(|id| id.chars().take(1024).collect());
        }
        if call.name.is_none() {
            call.name = name.map(str::to_owned);
        }
        let arguments = match (&call.handle, &call.name) {
            (None, None) => {
                self.waiting += arguments.len();
                if self.waiting > MAX_ARGUMENTS {
                    return Err(garbled("arguments without the name of a tool"));
                }
                call.waiting.push_str(&arguments);
                return Ok(());
            }
            (None, Some(name)) => {
                let (handle, delta) = self.assembly.call(call.id.as_deref(), name)?;
                call.handle = Some(handle);
                deltas.push(delta);
                self.waiting -= call.waiting.len();
                std::mem::take(&mut call.waiting) + &arguments
            }
            (Some(_), _) => arguments,
        };
        if let Some(handle) = call.handle {
            deltas.extend(self.assembly.arguments(handle, &arguments)?);
        }
        Ok(())
    }

    /// The call a piece belongs to; none when it begins one. An id is a call's wherever it stands; without a
    /// known one, a piece belongs to the call of its index, or to the last one where there is no index.
    fn find(
        &self,
        index: Option<u64>,
        id: Option<&str>,
        name: Option<&str>,
        arguments: &str,
    ) -> Option<usize> {
        let by_id = id.and_then(|id| {
            let is_same = |call: &Call| call.id.as_deref() == Some(id);
            self.calls.iter().rposition(is_same)
        });
        if let Some(place) = by_id {
            let call = self.calls.get(place)?;
            return (!self.is_next_under_same_id(call, name, arguments)).then_some(place);
        }
        let by_index = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        };
        let Some(place) = by_index else {
            // Neither an id nor a name: more of the last call, if that lacks something.
            let last = self.calls.len().checked_sub(1)?;
            let handle = self.calls.get(last)?.handle?;
            let continues = id.is_none() && name.is_none() && !self.assembly.is_whole(handle);
            return continues.then_some(last);
        };
        let call = self.calls.get(place)?;
        let (Some(name), Some(known), Some(handle)) = (name, &call.name, call.handle) else {
            // A piece without a name, or the name that was missing.
            let begins = name.is_some() && call.handle.is_some();
            return (!begins).then_some(place);
        };
        if known != name {
            return None;
        }
        // The same name again: some servers repeat it with every piece, and some change the id as well.
        let begins_object = matches!(arguments.trim_start().bytes().next(), None | Some(b'{'));
        let is_more = if index.is_some() {
            !begins_object
                || !self.assembly.is_whole(handle)
                || self.assembly.repeats(handle, arguments)
        } else {
            !begins_object
        };
        is_more.then_some(place)
    }

    /// True when a server gives two calls one id: arguments that are whole are followed by others.
    fn is_next_under_same_id(&self, call: &Call, name: Option<&str>, arguments: &str) -> bool {
        let (Some(name), Some(known), Some(handle)) = (name, &call.name, call.handle) else {
            return false;
        };
        let begins_object = arguments.trim_start().starts_with('{');
        name != known
            || (begins_object
                && arguments.trim_end().ends_with('}')
                && self.assembly.is_short_and_whole(handle)
                && !self.assembly.repeats(handle, arguments))
    }

    /// Details arrive in pieces like text does.
    fn detail(&mut self, detail: &Value) -> Result<(), Failure> {
        let Some(detail) = detail.as_object() else {
            return Ok(());
        };
        self.details_bytes += Value::Object(detail.clone()).to_string().len();
        if self.details_bytes > MAX_BYTES || self.details.len() > MAX_BLOCKS {
            return Err(garbled("too much reasoning"));
        }
        let same = |last: &Map<String, Value>| {
            ["type", "index"]
                .iter()
                .all(|key| last.get(*key) == detail.get(*key))
                && detail.get("type").and_then(Value::as_str) != Some("reasoning.encrypted")
        };
        match self.details.last_mut() {
            Some(Value::Object(last)) if same(last) => {
                for (key, value) in detail {
                    match (last.get_mut(key), value) {
                        (_, Value::Null) => {}
                        (Some(Value::String(text)), Value::String(piece))
                            if key == "text" || key == "summary" =>
                        {
                            text.push_str(piece);
                        }
                        _ => drop(last.insert(key.clone(), value.clone())),
                    }
                }
            }
            _ => self.details.push(Value::Object(detail.clone())),
        }
        Ok(())
    }

    /// Puts the details into the first thinking block, or into one of their own.
    fn attach_details(&self, content: &mut Vec<Block>) -> Result<(), Failure> {
        let place = content.iter().position(|block| block.kind() == "thinking");
        let mut block = match place.and_then(|place| content.get(place)) {
            Some(block) => serde_json::to_value(block).unwrap_or_default(),
            None => json!({"type": "thinking", "thinking": "", "redacted": true}),
        };
        if let Some(map) = block.as_object_mut() {
            map.insert("signature".to_owned(), seal_details(&self.details).into());
        }
        let block = Block::parse(block).map_err(garbled)?;
        match place.and_then(|place| content.get_mut(place)) {
            Some(slot) => *slot = block,
            None => content.insert(0, block),
        }
        Ok(())
    }

    fn stop(&self) -> StopCause {
        let has_calls = self.assembly.has_calls();
        match self.finish.as_deref() {
            Some("length" | "max_tokens" | "model_length") => StopCause::MaxTokens,
            Some("content_filter") => StopCause::Refusal,
            // Some servers say `stop` when they mean that they wait for results.
            _ if has_calls => StopCause::ToolUse,
            _ if self.assembly.has_refusal() => StopCause::Refusal,
            Some("stop_sequence") => StopCause::StopSequence,
            Some("stop") if self.stopped_by => StopCause::StopSequence,
            Some("stop" | "eos" | "eos_token" | "end_turn") => StopCause::EndTurn,
            _ => StopCause::Other,
        }
    }
}

/// The name of the tool in a piece of a call.
fn name(piece: &Value) -> Option<&str> {
    let name = piece.pointer("/function/name").and_then(Value::as_str);
    name.filter(|name| !name.is_empty())
}

/// The arguments in a piece of a call; some servers write them as JSON and not as a text.
fn arguments(piece: &Value) -> String {
    match piece.pointer("/function/arguments") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(arguments)) => arguments.clone(),
        Some(other) => other.to_string(),
    }
}

/// A failure that comes with status 200. Without a code it is the provider's trouble, not the request's.
pub(in crate::model) fn stream_failure(value: &Value) -> Failure {
    let mut report = Report::openai(value);
    report.status.get_or_insert(500);
    report.failure()
}

fn image_block(url: &str) -> Option<Value> {
    let source = match url.strip_prefix("data:") {
        Some(inline) => {
            let (media_type, data) = inline.split_once(";base64,")?;
            json!({"type": "base64", "media_type": media_type, "data": data})
        }
        None => json!({"type": "url", "url": url}),
    };
    Some(json!({"type": "image", "source": source}))
}

fn read_usage(usage: &Value) -> Usage {
    let at = |pointer: &str| count(usage.pointer(pointer));
    let input = at("/prompt_tokens").unwrap_or(0);
    let mut output = at("/completion_tokens").unwrap_or(0);
    let reasoning = at("/completion_tokens_details/reasoning_tokens");
    // xAI does not count reasoning as completion; its total gives it away.
    if let (Some(total), Some(reasoning)) = (at("/total_tokens"), reasoning)
        && reasoning > 0
        && total == input.saturating_add(output).saturating_add(reasoning)
    {
        output += reasoning;
    }
    let (input_tokens, output_tokens) = assembly::by_total(input, output, at("/total_tokens"));
    Usage {
        input_tokens,
        output_tokens,
        cache_read_input_tokens: at("/prompt_tokens_details/cached_tokens")
            .or_else(|| at("/prompt_cache_hit_tokens")),
        cache_creation_input_tokens: at("/prompt_tokens_details/cache_write_tokens"),
        reasoning_output_tokens: reasoning,
    }
}

/// US dollars, where a provider names them: `OpenRouter`, Perplexity, xAI.
pub(in crate::model) fn read_cost(usage: &Value) -> Option<f64> {
    let cost = dollars(usage.get("cost")).or_else(|| dollars(usage.pointer("/cost/total_cost")));
    // With a key of one's own, OpenRouter's price comes on top of the provider's.
    let upstream = match usage.get("is_byok") {
        Some(Value::Bool(true)) => dollars(usage.pointer("/cost_details/upstream_inference_cost")),
        _ => None,
    };
    const TICKS: f64 = 1e10;
    cost.map(|cost| cost + upstream.unwrap_or(0.0))
        .or_else(|| dollars(usage.get("cost_in_usd_ticks")).map(|ticks| ticks / TICKS))
}
