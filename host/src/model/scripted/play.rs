//! A reply of a script as a stream.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::error::Failed;
use super::super::wire::{Class, Failure};
use super::super::{Delta, Reply, StopCause};
use super::format::{self, ErrorClass, Script, Stop};
use super::rule::Seen;
use crate::trajectory::content::Block;
use crate::trajectory::fact::Usage;

/// A reply that is being given.
#[derive(Debug)]
pub(in super::super) struct Playing {
    steps: VecDeque<Step>,
    /// When the wait that is going on is over.
    until: Option<Instant>,
    reply: Reply,
    /// Blocks of it that have arrived.
    given: usize,
    /// What has arrived of the one after them: thinking and text.
    partial: (String, String),
}

#[derive(Debug)]
enum Step {
    Wait(Duration),
    Piece(Delta),
    /// The next block is complete.
    Block,
    Fail(Failed),
}

impl Playing {
    pub(super) fn of(
        script: &Script,
        reply: &format::Reply,
        seen: &Seen<'_>,
        calls: &mut u64,
    ) -> Playing {
        let mut content = Vec::new();
        let mut steps = VecDeque::new();
        if reply.delay_ms > 0 {
            steps.push_back(Step::Wait(Duration::from_millis(reply.delay_ms)));
        }
        let say = |steps: &mut VecDeque<Step>, text: &str, piece: fn(String) -> Delta| {
            for part in parts(text, reply.chunk) {
                if reply.chunk_delay_ms > 0 {
                    steps.push_back(Step::Wait(Duration::from_millis(reply.chunk_delay_ms)));
                }
                steps.push_back(Step::Piece(piece(part)));
            }
        };
        if let Some(thinking) = &reply.thinking {
            let text = seen.fill(thinking);
            say(&mut steps, &text, Delta::Thinking);
            let mut block = json!({ "type": "thinking", "thinking": text });
            if let (Some(signature), Value::Object(map)) = (&reply.signature, &mut block) {
                map.insert("signature".to_owned(), signature.as_str().into());
            }
            push(&mut content, &mut steps, block);
        }
        if let Some(text) = &reply.text {
            let text = seen.fill(text);
            say(&mut steps, &text, Delta::Text);
            push(
                &mut content,
                &mut steps,
                json!({ "type": "text", "text": text }),
            );
        }
        for block in &reply.blocks {
            push(&mut content, &mut steps, seen.fill_value(block));
        }
        for call in &reply.calls {
            *calls += 1;
            let id = call.id.clone().unwrap_or_else(|| format!("call-{calls}"));
            let input = seen.fill_value(&Value::Object(call.input.clone()));
            steps.push_back(Step::Piece(Delta::ToolUse {
                id: id.clone(),
                name: call.tool.clone(),
            }));
            say(&mut steps, &input.to_string(), Delta::ToolInput);
            push(
                &mut content,
                &mut steps,
                json!({ "type": "tool_use", "id": id, "name": call.tool, "input": input }),
            );
        }
        if let Some(refusal) = &reply.refusal {
            let text = seen.fill(refusal);
            push(
                &mut content,
                &mut steps,
                json!({ "type": "refusal", "refusal": text }),
            );
        }
        if let Some(error) = &reply.error {
            steps.push_back(Step::Fail(failed(error)));
        } else if reply.cut_off {
            let message = "the connection was lost before the end of the answer";
            steps.push_back(Step::Fail(Failed::new(Class::Network, message)));
        }
        let (stop, words) = stop(reply);
        let written: usize = content
            .iter()
            .map(|block| serde_json::to_string(block).map_or(0, |text| text.chars().count()))
            .sum();
        Playing {
            steps,
            until: None,
            given: 0,
            partial: (String::new(), String::new()),
            reply: Reply {
                content,
                stop,
                finish_reasons: vec![words.to_owned()],
                model: Some(
                    script
                        .model
                        .clone()
                        .unwrap_or_else(|| "scripted".to_owned()),
                ),
                usage: Some(usage(reply.usage, seen.characters(), written)),
                cost_usd: reply.cost_usd,
                refusal_category: None,
            },
        }
    }

    /// The next piece. Cancel-safe: a wait that is dropped goes on when it is asked again.
    pub(in super::super) async fn next(&mut self) -> Result<Option<Delta>, Failed> {
        loop {
            match self.steps.front() {
                None => return Ok(None),
                Some(Step::Wait(time)) => {
                    let until = *self.until.get_or_insert(Instant::now() + *time);
                    tokio::time::sleep_until(until).await;
                    self.until = None;
                    self.steps.pop_front();
                }
                Some(_) => match self.steps.pop_front() {
                    Some(Step::Piece(piece)) => {
                        match &piece {
                            Delta::Thinking(text) => self.partial.0.push_str(text),
                            Delta::Text(text) => self.partial.1.push_str(text),
                            Delta::ToolUse { .. } | Delta::ToolInput(_) => {}
                        }
                        return Ok(Some(piece));
                    }
                    Some(Step::Block) => {
                        self.given += 1;
                        self.partial = (String::new(), String::new());
                    }
                    Some(Step::Fail(failed)) => return Err(failed),
                    Some(Step::Wait(_)) | None => {}
                },
            }
        }
    }

    /// The reply, or the part of it that has arrived.
    pub(in super::super) fn reply(&self) -> Result<Reply, Failure> {
        let mut reply = self.reply.clone();
        reply.content.truncate(self.given);
        let (thinking, text) = &self.partial;
        if !thinking.is_empty() {
            let block = json!({ "type": "thinking", "thinking": thinking });
            reply.content.extend(Block::parse(block));
        }
        if !text.is_empty() {
            reply.content.push(Block::text(text));
        }
        Ok(reply)
    }
}

fn push(content: &mut Vec<Block>, steps: &mut VecDeque<Step>, block: Value) {
    // What a script says has been checked; a filled-in text stays a text.
    if let Ok(block) = Block::parse(block) {
        content.push(block);
        steps.push_back(Step::Block);
    }
}

/// The text in pieces of `chunk` characters, at least one.
fn parts(text: &str, chunk: Option<usize>) -> Vec<String> {
    let Some(chunk) = chunk.filter(|chunk| *chunk > 0) else {
        return vec![text.to_owned()];
    };
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(chunk)
        .map(|part| part.iter().collect())
        .collect()
}

fn usage(said: Option<format::Usage>, read: usize, written: usize) -> Usage {
    match said {
        Some(usage) => Usage {
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_input_tokens: usage.cache_read,
            cache_creation_input_tokens: usage.cache_write,
            reasoning_output_tokens: usage.reasoning,
        },
        // Four characters a token, as a rule of thumb.
        None => Usage {
            input_tokens: read.div_ceil(4) as u64,
            output_tokens: written.div_ceil(4) as u64,
            ..Usage::default()
        },
    }
}

fn stop(reply: &format::Reply) -> (StopCause, &'static str) {
    let stop = reply.stop.unwrap_or(if reply.refusal.is_some() {
        Stop::Refusal
    } else if reply.calls.is_empty() {
        Stop::EndTurn
    } else {
        Stop::ToolUse
    });
    match stop {
        Stop::EndTurn => (StopCause::EndTurn, "end_turn"),
        Stop::ToolUse => (StopCause::ToolUse, "tool_use"),
        Stop::MaxTokens => (StopCause::MaxTokens, "max_tokens"),
        Stop::StopSequence => (StopCause::StopSequence, "stop_sequence"),
        Stop::Refusal => (StopCause::Refusal, "refusal"),
        Stop::Other => (StopCause::Other, "other"),
    }
}

fn failed(error: &format::Error) -> Failed {
    let (class, message) = match error.class {
        ErrorClass::ContextLimit => (Class::ContextLimit, "the conversation is too long"),
        ErrorClass::RateLimited => (Class::RateLimited, "too many requests"),
        ErrorClass::Overloaded => (Class::Overloaded, "overloaded"),
        ErrorClass::UsageLimit => (Class::UsageLimit, "nothing left to spend"),
        ErrorClass::Auth => (Class::Auth, "the key is wrong"),
        ErrorClass::Network => (Class::Network, "the connection was lost"),
        ErrorClass::Garbled => (Class::Garbled, "this is not an answer"),
        ErrorClass::Rejected => (Class::Rejected, "the request was refused"),
        ErrorClass::Unsupported => (Class::Unsupported, "there is no such model"),
    };
    let message = error.message.clone().unwrap_or_else(|| message.to_owned());
    Failed {
        status: error.status,
        retry_after: error.retry_after_ms.map(Duration::from_millis),
        ..Failed::new(class, message)
    }
}
