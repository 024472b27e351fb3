//! The model, scripted. A request is held to what the real host holds it to.

use std::collections::VecDeque;

use super::calls::object;
use super::{Fact, STATE, State};
use crate::model::{Delta, InputBlock, Message, ModelError, Reply, Request, ToolChoice};
use crate::session::Denied;
use crate::trajectory::{ContentBlock, ToolCall};

pub(crate) fn complete(request: &Request) -> Result<Reply, ModelError> {
    let script = STATE.with_borrow_mut(|state| {
        state.check_request(request)?;
        (state.host.model.clone()).ok_or_else(|| {
            ModelError::Denied(Denied {
                capability: "model".into(),
                subject: request.model.clone().unwrap_or_default(),
                rule: "no model is granted".into(),
            })
        })
    })?;
    // Not while the state is borrowed: the script may look at what was reported.
    let result = (script.0.borrow_mut())(request);
    STATE.with_borrow_mut(|state| {
        let result = result.and_then(|reply| state.take_reply(reply));
        let fact = Fact::Asked(Box::new(request.clone()), result.clone());
        state.facts.push(fact);
        result
    })
}

/// A reply that arrives: all of it has, and is handed out in pieces.
#[derive(Debug)]
pub(crate) struct Completion {
    deltas: std::cell::RefCell<VecDeque<Delta>>,
    reply: Reply,
}

pub(crate) fn stream(request: &Request) -> Result<Completion, ModelError> {
    let reply = complete(request)?;
    let deltas = reply.content.iter().flat_map(pieces).collect();
    Ok(Completion {
        deltas: std::cell::RefCell::new(deltas),
        reply,
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the host call")]
pub(crate) fn next(completion: &Completion) -> Result<Option<Delta>, ModelError> {
    Ok(completion.deltas.borrow_mut().pop_front())
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the host call")]
pub(crate) fn reply(completion: &Completion) -> Result<Reply, ModelError> {
    Ok(completion.reply.clone())
}

/// A block in two pieces where it has that many, so that nobody takes a piece for the whole.
fn pieces(block: &ContentBlock) -> Vec<Delta> {
    let halves = |text: &str| {
        let (head, tail) = text.split_at(text.floor_char_boundary(text.len() / 2));
        [head.to_owned(), tail.to_owned()]
    };
    match block {
        ContentBlock::Text(text) => halves(text).map(Delta::Text).into(),
        ContentBlock::Thinking(thinking) => halves(&thinking.thinking).map(Delta::Thinking).into(),
        ContentBlock::ToolUse(call) => [Delta::ToolUse((call.id.clone(), call.name.clone()))]
            .into_iter()
            .chain(halves(&call.input).map(Delta::ToolInput))
            .collect(),
        _ => Vec::new(),
    }
}

impl State {
    fn check_request(&mut self, request: &Request) -> Result<(), ModelError> {
        let invalid = |what: String| Err(ModelError::Invalid(what));
        if !matches!(request.messages.first(), Some(Message::User(_))) {
            return invalid("messages: the first is not the user's".into());
        }
        let mut seen = Vec::new();
        for tool in &request.tools {
            if seen.contains(&&tool.name) {
                return invalid(format!("tools: `{}` is there twice", tool.name));
            }
            seen.push(&tool.name);
            if !self.knows_tool(&tool.name) {
                return invalid(format!("tools: `{}` is not a tool of this run", tool.name));
            }
        }
        if let ToolChoice::Tool(name) = &request.tool_choice
            && !seen.contains(&name)
        {
            return invalid(format!("tool-choice: `{name}` is not offered"));
        }
        if let Some(frame) = &request.frame {
            self.open_frame(frame)
                .map_err(|_| ModelError::Invalid(format!("frame: `{frame}` is not open")))?;
        }
        answered(&request.messages)
    }

    /// Is there a tool of this name in this run?
    pub(super) fn knows_tool(&self, name: &str) -> bool {
        (self.host.tools.as_ref()).is_none_or(|names| names.iter().any(|known| known == name))
            || (self.host.granted.iter()).any(|granted| granted.offered.tool.name == name)
    }

    /// Makes a reply a turn: its calls wait for their results from now on.
    fn take_reply(&mut self, mut reply: Reply) -> Result<Reply, ModelError> {
        self.open = None;
        self.step += 1;
        reply.step = self.step;
        let calls: Vec<ToolCall> = reply.tool_calls().cloned().collect();
        for call in calls {
            let known = self.calls.iter().any(|(id, _)| *id == call.id);
            assert!(!known, "the script used the call id `{}` before", call.id);
            let input = object("input", &call.input);
            assert!(
                input.is_ok(),
                "the script made a call without an object: {input:?}"
            );
            let refused = !self.knows_tool(&call.name);
            if refused {
                reply.refused_calls.push(call.id.clone());
            }
            self.names.insert(call.id.clone(), call.name);
            self.calls.push((call.id, refused));
        }
        Ok(reply)
    }
}

/// Every call has its result in the message after it, and no result is without a call.
fn answered(messages: &[Message]) -> Result<(), ModelError> {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        match message {
            Message::Assistant(content) if content.is_empty() => {
                return Err(ModelError::Invalid("messages: an empty message".into()));
            }
            Message::Assistant(content) => {
                open.extend(content.iter().filter_map(|block| match block {
                    ContentBlock::ToolUse(call) => Some(call.id.as_str()),
                    _ => None,
                }));
            }
            Message::User(blocks) => {
                if blocks.is_empty() {
                    return Err(ModelError::Invalid("messages: an empty message".into()));
                }
                for block in blocks {
                    let InputBlock::ToolResult(result) = block else {
                        continue;
                    };
                    let Some(at) = open.iter().position(|id| *id == result.call_id) else {
                        return Err(ModelError::Invalid(format!(
                            "messages: nobody has called `{}`",
                            result.call_id
                        )));
                    };
                    open.remove(at);
                }
                if let Some(id) = open.first() {
                    return Err(ModelError::Invalid(format!(
                        "messages: the call `{id}` has no result"
                    )));
                }
            }
        }
    }
    Ok(())
}
