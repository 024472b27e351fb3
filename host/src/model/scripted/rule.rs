//! Which rule applies: what a script can see of a request.

use serde_json::Value;

use super::super::error::one_line;
use super::super::{Input, Message, Request};
use super::format::When;
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

/// Characters of a text that are quoted in an error.
const QUOTE: usize = 200;

/// A request, as rules and templates see it.
pub(super) struct Seen<'a> {
    request: &'a Request,
    pub(super) turn: u64,
    /// The user's words, one a message that has some.
    user: Vec<String>,
    /// The last result of the last message, and the tool it is of.
    result: Option<(String, &'a ToolResult)>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(request: &'a Request) -> Seen<'a> {
        let mut turn = 1;
        let mut user = Vec::new();
        for message in &request.messages {
            match message {
                Message::Assistant(_) => turn += 1,
                Message::User(blocks) => {
                    let words: Vec<_> = blocks
                        .iter()
                        .filter_map(|block| match block {
                            Input::Block(block) => block.as_text(),
                            Input::ToolResult(_) => None,
                        })
                        .collect();
                    if !words.is_empty() {
                        user.push(words.join("\n"));
                    }
                }
            }
        }
        let last = match request.messages.last() {
            Some(Message::User(blocks)) => blocks.iter().rev().find_map(|block| match block {
                Input::ToolResult(result) => Some(result),
                Input::Block(_) => None,
            }),
            _ => None,
        };
        Seen {
            request,
            turn,
            user,
            result: last.map(|result| (tool_of(request, &result.call_id), result)),
        }
    }

    /// The first words of the user.
    fn task(&self) -> &str {
        self.user.first().map_or("", String::as_str)
    }

    fn last_user(&self) -> &str {
        self.user.last().map_or("", String::as_str)
    }

    fn last_result(&self) -> String {
        self.result
            .as_ref()
            .map(|(_, result)| text_of(&result.content))
            .unwrap_or_default()
    }

    /// Characters of the whole request, for an estimate of its tokens.
    pub(super) fn characters(&self) -> usize {
        let of_value = |value: &Value| value.to_string().chars().count();
        let of_message = |message: &Message| match message {
            Message::User(blocks) => blocks
                .iter()
                .map(|block| match block {
                    Input::Block(block) => block
                        .as_text()
                        .map_or_else(|| block_characters(block), |text| text.chars().count()),
                    Input::ToolResult(result) => of_value(&result.content),
                })
                .sum::<usize>(),
            Message::Assistant(blocks) => blocks.iter().map(block_characters).sum(),
        };
        let system = self.request.system.as_deref().unwrap_or_default();
        system.chars().count() + self.request.messages.iter().map(of_message).sum::<usize>()
    }

    /// Whether everything `when` says is so.
    pub(super) fn fits(&self, when: &When) -> bool {
        let has = |text: &str, part: &Option<String>| {
            part.as_ref()
                .is_none_or(|part| text.contains(part.as_str()))
        };
        let result = self.result.as_ref();
        when.turn.is_none_or(|turn| turn == self.turn)
            && has(
                self.request.system.as_deref().unwrap_or_default(),
                &when.system_contains,
            )
            && when
                .user_contains
                .as_ref()
                .is_none_or(|part| self.user.iter().any(|text| text.contains(part.as_str())))
            && has(self.last_user(), &when.last_user_contains)
            && when
                .tool_result_of
                .as_ref()
                .is_none_or(|name| result.is_some_and(|(tool, _)| tool == name))
            && when.last_tool_result_contains.as_ref().is_none_or(|part| {
                result.is_some_and(|(_, result)| text_of(&result.content).contains(part.as_str()))
            })
            && when
                .last_tool_failed
                .is_none_or(|failed| result.is_some_and(|(_, result)| result.is_error == failed))
            && when
                .offered_tool
                .as_ref()
                .is_none_or(|name| self.request.tools.iter().any(|tool| &tool.name == name))
            && when
                .wants_schema
                .is_none_or(|wants| wants == self.request.output_schema.is_some())
    }

    /// The conversation's end, in words.
    pub(super) fn end(&self) -> String {
        let (who, text) = match &self.result {
            Some((tool, _)) => (
                format!("the result of `{}`", one_line(tool, QUOTE)),
                self.last_result(),
            ),
            None => ("the user's words".to_owned(), self.last_user().to_owned()),
        };
        format!("{who}: {}", one_line(&text, QUOTE))
    }

    /// Fills in the templates of a text. What is filled in is not looked at again.
    pub(super) fn fill(&self, template: &str) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            let values: [(&str, &dyn Fn() -> String); 4] = [
                ("{task}", &|| self.task().to_owned()),
                ("{last_user}", &|| self.last_user().to_owned()),
                ("{last_tool_result}", &|| self.last_result()),
                ("{turn}", &|| self.turn.to_string()),
            ];
            let found = values
                .iter()
                .find_map(|(name, value)| Some((value, from.strip_prefix(name)?)));
            rest = if let Some((value, after)) = found {
                filled.push_str(&value());
                after
            } else {
                filled.push('{');
                from.strip_prefix('{').unwrap_or_default()
            };
        }
        filled.push_str(rest);
        filled
    }

    /// The same in every text of a JSON value.
    pub(super) fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), self.fill_value(value)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }
}

fn block_characters(block: &crate::trajectory::content::Block) -> usize {
    serde_json::to_string(block).map_or(0, |text| text.chars().count())
}

/// The tool a call in the conversation is of.
fn tool_of(request: &Request, call_id: &str) -> String {
    request
        .messages
        .iter()
        .rev()
        .filter_map(|message| match message {
            Message::Assistant(blocks) => Some(blocks),
            Message::User(_) => None,
        })
        .flatten()
        .filter_map(Block::call)
        .find(|call| call.id == call_id)
        .map(|call| call.name.to_owned())
        .unwrap_or_default()
}

/// The text of a result: itself, or that of its text blocks.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block.get("text")?.as_str())
            .collect::<Vec<_>>()
            .join("\n"),
        _ => String::new(),
    }
}
