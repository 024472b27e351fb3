//! An answer of `generateContent`, streamed or whole.

use serde_json::{Value, json};

use super::{SIGNATURE, report};
use crate::model::assembly::{
    self, Assembly, BrokenCalls, MAX_BYTES, Prose, count, garbled, seal, text,
};
use crate::model::wire::{Class, Decoder, Failure, ServerEvent, Stage};
use crate::model::{Delta, Reply, StopCause};
use crate::trajectory::content::Block;
use crate::trajectory::fact::Usage;

/// Puts an answer together.
#[derive(Debug)]
pub(super) struct Answer {
    assembly: Assembly,
    /// The id of the code that ran last.
    code: Option<String>,
    /// What a search found; the last report counts.
    grounding: Option<Value>,
    /// The id of the search.
    search: Option<String>,
    model: Option<String>,
    finish: Option<String>,
    /// Why, in the provider's words.
    finish_message: Option<String>,
    usage: Option<Usage>,
    done: bool,
}

impl Decoder for Answer {
    fn event(&mut self, event: &ServerEvent) -> Result<Vec<Delta>, Failure> {
        let data = event.data.trim();
        if data == "[DONE]" {
            self.done = true;
        }
        if data.is_empty() || self.done {
            return Ok(Vec::new());
        }
        let value = assembly::parse(data)?;
        let mut deltas = Vec::new();
        self.document(&value, &mut deltas)?;
        Ok(deltas)
    }

    fn whole(&mut self, answer: &Value) -> Result<(), Failure> {
        // Without `alt=sse` a stream is a list of what would be its events.
        match answer.as_array() {
            Some(list) => list
                .iter()
                .try_for_each(|value| self.document(value, &mut Vec::new())),
            None => self.document(answer, &mut Vec::new()),
        }?;
        if self.finish.is_none() {
            return Err(garbled("a response without a finish reason"));
        }
        self.done = true;
        Ok(())
    }

    fn stage(&self) -> Stage {
        match (&self.finish, self.done) {
            (None, _) => Stage::Open,
            (Some(_), false) => Stage::Stopped,
            (Some(_), true) => Stage::Complete,
        }
    }

    fn bill(&self) -> Reply {
        assembly::bill(self.model.as_ref(), self.usage, None)
    }

    fn reply(&self) -> Result<Reply, Failure> {
        let stop = self.stop();
        let is_refusal = stop == StopCause::Refusal;
        let broken = match stop {
            _ if self.finish.is_none() => BrokenCalls::LeaveOut,
            StopCause::MaxTokens | StopCause::Refusal => BrokenCalls::LeaveOut,
            _ => BrokenCalls::Mark,
        };
        let mut content = self.assembly.content(broken)?;
        if let (Some(id), Some(grounding)) = (&self.search, &self.grounding) {
            let blocks = search_blocks(id, grounding)?;
            content.splice(0..0, blocks);
        }
        if is_refusal && content.is_empty() {
            let reason = self.finish.as_deref().unwrap_or_default();
            let words = match &self.finish_message {
                Some(message) => message.clone(),
                None => format!("the provider withheld the answer: {reason}"),
            };
            content.extend(Block::parse(json!({"type": "refusal", "refusal": words})).ok());
        }
        Ok(Reply {
            content,
            stop,
            finish_reasons: self.finish.iter().cloned().collect(),
            refusal_category: self.finish.clone().filter(|_| is_refusal),
            ..self.bill()
        })
    }
}

impl Answer {
    pub(super) fn new(inference: u64) -> Answer {
        Answer {
            assembly: Assembly::new(inference),
            code: None,
            grounding: None,
            search: None,
            model: None,
            finish: None,
            finish_message: None,
            usage: None,
            done: false,
        }
    }

    fn document(&mut self, value: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        if let Some(usage) = value.get("usageMetadata").filter(|usage| usage.is_object()) {
            self.usage = Some(assembly::greater(self.usage, read_usage(usage)));
        }
        if value.get("error").is_some_and(|error| !error.is_null()) {
            let mut report = report(value);
            report.status.get_or_insert(500);
            return Err(report.failure());
        }
        if !value.is_object() {
            return Err(garbled("an event is not a JSON object"));
        }
        if let Some(model) = assembly::name(value.get("modelVersion")) {
            self.model = Some(model);
        }
        if let Some(feedback) = value.get("promptFeedback")
            && let Some(reason) = assembly::name(feedback.get("blockReason"))
        {
            self.finish = Some(reason);
            self.finish_message = text(feedback, "blockReasonMessage").map(bounded);
        }
        let Some(candidate) = value.pointer("/candidates/0") else {
            return Ok(());
        };
        let parts = candidate
            .pointer("/content/parts")
            .and_then(Value::as_array);
        for part in parts.into_iter().flatten() {
            self.part(part, deltas)?;
        }
        self.ground(candidate)?;
        if let Some(finish) = assembly::name(candidate.get("finishReason")) {
            let message = text(candidate, "finishMessage").map(bounded);
            if is_broken_call(&finish) && !self.assembly.has_calls() {
                // There is no part for it: its text is in the message, if anywhere.
                let words = message.as_deref().unwrap_or(&finish);
                let (handle, delta) = self.assembly.call(None, tool_named(words))?;
                deltas.push(delta);
                deltas.extend(self.assembly.arguments(handle, words)?);
            } else if let Some(class) = failure_class(&finish) {
                let why = message.map(|message| format!(": {message}"));
                return Err(Failure::new(
                    class,
                    format!("the model broke off: {finish}{}", why.unwrap_or_default()),
                ));
            }
            self.finish = Some(finish);
            self.finish_message = message;
        }
        Ok(())
    }

    fn part(&mut self, part: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let signature = text(part, "thoughtSignature").map(|value| seal(SIGNATURE, value));
        let is_thought = part.get("thought") == Some(&Value::Bool(true));
        let words = part.get("text").and_then(Value::as_str);
        if let Some(piece) = words {
            if is_thought {
                self.thought(piece, signature, deltas)?;
            } else {
                self.words(piece, signature, deltas)?;
            }
            return Ok(());
        }
        if let Some(signature) = signature {
            self.carry(signature)?;
        }
        if let Some(call) = part.get("functionCall") {
            self.call(call, deltas)?;
        } else if let Some(data) = part.get("inlineData") {
            self.media(data)?;
        } else if let Some(code) = part.get("executableCode") {
            let id = self.assembly.id(text(code, "id"));
            self.code = Some(id.clone());
            self.assembly.block(json!({
                "type": "server_tool_use", "id": id, "name": "code_execution", "input": code,
            }))?;
        } else if let Some(result) = part.get("codeExecutionResult")
            // A result without code has nothing it could be the result of.
            && let Some(id) = self.code.take()
        {
            let is_error = text(result, "outcome") != Some("OUTCOME_OK");
            self.assembly.block(json!({
                "type": "server_tool_result", "tool_use_id": id, "name": "code_execution",
                "content": result, "is_error": is_error,
            }))?;
        }
        Ok(())
    }

    /// A call, which comes whole. Only its id says that it is one that has come already.
    fn call(&mut self, call: &Value, deltas: &mut Vec<Delta>) -> Result<(), Failure> {
        let (id, name) = (text(call, "id"), text(call, "name").unwrap_or_default());
        let arguments = call.get("args").filter(|args| !args.is_null());
        let arguments = arguments.map(Value::to_string).unwrap_or_default();
        let handle = match self.assembly.known(id, name) {
            Some(handle) if self.assembly.is_blank(handle) => handle,
            Some(handle) if arguments.is_empty() || self.assembly.repeats(handle, &arguments) => {
                return Ok(());
            }
            // Two calls under one id, which is no id then.
            Some(_) | None => {
                let (handle, delta) = self.assembly.call(id, name)?;
                deltas.push(delta);
                handle
            }
        };
        if !arguments.is_empty() {
            deltas.extend(self.assembly.arguments(handle, &arguments)?);
        }
        Ok(())
    }

    fn thought(
        &mut self,
        piece: &str,
        signature: Option<String>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        if let Some(signature) = signature {
            // A signed part has to go back as it came.
            let handle = self.assembly.begin(Prose::Thinking)?;
            self.assembly.append(handle, piece)?;
            self.assembly.sign(handle, signature)?;
            self.assembly.close();
        } else if !piece.is_empty() {
            self.assembly.prose(Prose::Thinking, piece)?;
        }
        if !piece.is_empty() {
            deltas.push(Delta::Thinking(piece.to_owned()));
        }
        Ok(())
    }

    fn words(
        &mut self,
        piece: &str,
        signature: Option<String>,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Failure> {
        let is_signed = signature.is_some();
        if let Some(signature) = signature {
            self.carry(signature)?;
        }
        if !piece.is_empty() {
            self.assembly.prose(Prose::Text, piece)?;
            if is_signed {
                self.assembly.close();
            }
            deltas.push(Delta::Text(piece.to_owned()));
        }
        Ok(())
    }

    /// Keeps the signature of a part that is no thought, in a block before it.
    fn carry(&mut self, signature: String) -> Result<(), Failure> {
        let handle = self.assembly.begin(Prose::Thinking)?;
        self.assembly.sign(handle, signature)?;
        self.assembly.close();
        Ok(())
    }

    fn media(&mut self, data: &Value) -> Result<(), Failure> {
        let media_type = text(data, "mimeType").unwrap_or_default();
        let family = media_type.split('/').next().unwrap_or_default();
        let kind = match family {
            "image" | "audio" | "video" => family,
            _ => "document",
        };
        let bytes = text(data, "data").unwrap_or_default();
        let source = json!({"type": "base64", "media_type": media_type, "data": bytes});
        self.assembly.block(json!({"type": kind, "source": source}))
    }

    /// A search of the provider's own; it is reported beside the text, and more than once.
    fn ground(&mut self, candidate: &Value) -> Result<(), Failure> {
        let Some(grounding) = candidate.get("groundingMetadata") else {
            return Ok(());
        };
        if grounding.get("webSearchQueries").is_none() {
            return Ok(());
        }
        if grounding.to_string().len() > MAX_BYTES {
            return Err(garbled(format!("more than {MAX_BYTES} bytes")));
        }
        if self.search.is_none() {
            self.search = Some(self.assembly.id(None));
        }
        self.grounding = Some(grounding.clone());
        Ok(())
    }

    fn stop(&self) -> StopCause {
        match self.finish.as_deref() {
            Some("STOP" | "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL") | None
                if self.assembly.has_calls() =>
            {
                StopCause::ToolUse
            }
            Some("STOP") => StopCause::EndTurn,
            Some("MAX_TOKENS") => StopCause::MaxTokens,
            None | Some("OTHER" | "LANGUAGE" | "NO_IMAGE" | "FINISH_REASON_UNSPECIFIED") => {
                StopCause::Other
            }
            // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, IMAGE_SAFETY and their like.
            Some(_) => StopCause::Refusal,
        }
    }
}

/// Finish reasons that mean that the model wrote a call that does not parse, or of no tool it was offered.
fn is_broken_call(finish: &str) -> bool {
    matches!(finish, "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL")
}

/// The tool a broken call was meant for: the model writes them as `print(default_api.NAME(…))`.
fn tool_named(words: &str) -> &str {
    let name = words.split("default_api.").nth(1).unwrap_or_default();
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    match name.get(..end.unwrap_or(name.len())) {
        Some(name) if (1..=64).contains(&name.len()) => name,
        _ => "malformed_function_call",
    }
}

/// Finish reasons that mean that there is no answer.
fn failure_class(finish: &str) -> Option<Class> {
    match finish {
        // Another sample may be whole.
        "MALFORMED_RESPONSE" | "TOO_MANY_TOOL_CALLS" => Some(Class::Garbled),
        "MISSING_THOUGHT_SIGNATURE" => Some(Class::Rejected),
        _ => None,
    }
}

fn search_blocks(id: &str, grounding: &Value) -> Result<Vec<Block>, Failure> {
    let queries = grounding.get("webSearchQueries");
    [
        json!({
            "type": "server_tool_use", "id": id, "name": "google_search",
            "input": {"queries": queries},
        }),
        json!({
            "type": "server_tool_result", "tool_use_id": id, "name": "google_search",
            "content": grounding, "is_error": false,
        }),
    ]
    .into_iter()
    .map(|block| Block::parse(block).map_err(garbled))
    .collect()
}

fn bounded(message: &str) -> String {
    const MAX_CHARS: usize = 256;
    let line = message.chars().filter(|c| !c.is_control());
    line.take(MAX_CHARS).collect()
}

fn read_usage(usage: &Value) -> Usage {
    let at = |key: &str| count(usage.get(key));
    let thoughts = at("thoughtsTokenCount");
    let sum = |a: Option<u64>, b: Option<u64>| a.unwrap_or(0).saturating_add(b.unwrap_or(0));
    // What the provider's own tools gave to the model is read like the prompt.
    let input = sum(at("promptTokenCount"), at("toolUsePromptTokenCount"));
    let output = sum(at("candidatesTokenCount"), thoughts);
    let (input_tokens, output_tokens) = assembly::by_total(input, output, at("totalTokenCount"));
    Usage {
        input_tokens,
        output_tokens,
        cache_read_input_tokens: at("cachedContentTokenCount"),
        cache_creation_input_tokens: None,
        reasoning_output_tokens: thoughts,
    }
}
