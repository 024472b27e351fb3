//! Members of a request that a server refuses and that can be left out.
//!
//! Servers that speak the same format take different members, and what they take changes with the model.
//! They name what they refuse, each in its own words.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::wire::{Class, Failure};

/// What holds the model to an output schema. Who asked for it has to know when it is left out: it is for
/// the agent to ask again without.
pub(super) const SCHEMA: &str = "response_format";

/// A member that can be left out.
struct Member {
    /// Its name in records.
    name: &'static str,
    /// What servers call it, in lower case.
    called: &'static [&'static str],
    /// Where it is: JSON pointers. A `*` stands for every item of a list.
    at: &'static [&'static str],
}

#[rustfmt::skip]
const MEMBERS: &[Member] = &[
    Member { name: SCHEMA, at: &["/response_format", "/text/format", "/output_config/format", "/generationConfig/responseJsonSchema", "/generationConfig/responseMimeType"],
             called: &["response_format", "response format", "text.format", "output_config", "output_format", "json_schema", "json schema", "json mode", "structured output", "structured outputs",
                       "responsejsonschema", "response_json_schema", "responseschema", "response_schema", "responsemimetype", "response_mime_type", "response mime type", "custom grammar"] },
    Member { name: "stream_options", at: &["/stream_options"], called: &["stream_options", "stream_options.include_usage", "include_usage"] },
    Member { name: "parallel_tool_calls", at: &["/parallel_tool_calls"], called: &["parallel_tool_calls"] },
    Member { name: "tool_choice", at: &["/tool_choice", "/toolConfig"], called: &["tool_choice", "toolconfig", "tool_config"] },
    Member { name: "strict", at: &["/tools/*/strict", "/tools/*/function/strict"], called: &["strict"] },
    Member { name: "temperature", at: &["/temperature", "/generationConfig/temperature"], called: &["temperature"] },
    Member { name: "top_p", at: &["/top_p", "/generationConfig/topP"], called: &["top_p", "topp"] },
    Member { name: "stop", at: &["/stop", "/stop_sequences", "/generationConfig/stopSequences"], called: &["stop", "stop_sequences", "stopsequences"] },
    Member { name: "max_tokens", at: &["/max_tokens"], called: &["max_tokens"] },
    Member { name: "max_completion_tokens", at: &["/max_completion_tokens"], called: &["max_completion_tokens"] },
    Member { name: "max_output_tokens", at: &["/max_output_tokens", "/generationConfig/maxOutputTokens"], called: &["max_output_tokens", "maxoutputtokens"] },
    Member { name: "reasoning_effort", at: &["/reasoning_effort"], called: &["reasoning_effort", "support thinking", "support reasoning"] },
    Member { name: "reasoning", at: &["/reasoning"], called: &["reasoning", "reasoning.effort", "reasoning.summary"] },
    Member { name: "include", at: &["/include"], called: &["include", "encrypted content", "reasoning.encrypted_content"] },
    Member { name: "store", at: &["/store"], called: &["store"] },
    Member { name: "usage", at: &["/usage"], called: &["usage"] },
    Member { name: "thinking", at: &["/thinking", "/generationConfig/thinkingConfig"],
             called: &["thinking", "thinkingconfig", "thinking_config", "thinkingbudget", "thinking_budget", "thinking budget", "includethoughts", "include_thoughts"] },
    Member { name: "reasoning_content", at: &["/messages/*/reasoning_content"], called: &["reasoning_content"] },
];

/// How servers say that they do not take something.
const REFUSING: [&str; 24] = [
    "unsupported",
    "not support",
    "n't support",
    "unrecognized",
    "unknown",
    "unexpected",
    "not permitted",
    "extra inputs",
    "extra_forbidden",
    "additional properties",
    "not allowed",
    "unavailable",
    "not available",
    "not implemented",
    "not enabled",
    "not compatible",
    "incompatible",
    "deprecated",
    "cannot both",
    "cannot use",
    "cannot be",
    "invalid schema",
    "too large",
    "no such field",
];

/// The member of `sent` that an answer refuses, if it is one that can be left out.
pub(super) fn named(failure: &Failure, answer: &[u8], sent: &Value) -> Option<&'static str> {
    if !matches!(failure.class, Class::Rejected | Class::Unsupported) {
        return None;
    }
    let document: Value = serde_json::from_slice(answer).unwrap_or_default();
    let text = |pointer: &str| {
        let text = document.pointer(pointer)?.as_str()?;
        Some(text.to_ascii_lowercase())
    };
    let present = || {
        let members = MEMBERS.iter();
        members.filter(|member| member.at.iter().any(|at| has(sent, at)))
    };
    let code = text("/error/code").or_else(|| text("/code"));
    let is_typed = code.is_some_and(|code| {
        [
            "unsupported_parameter",
            "unsupported_value",
            "unknown_parameter",
        ]
        .contains(&code.as_str())
    });
    let words = failure.message.to_ascii_lowercase();
    if !is_typed && !REFUSING.iter().any(|phrase| words.contains(phrase)) {
        return None;
    }
    // The field that is meant, where the server has one for it.
    if let Some(param) = text("/error/param").or_else(|| text("/param"))
        && let Some(member) = present().find(|member| position(member, &param).is_some())
    {
        return Some(member.name);
    }
    // Otherwise the one that is named first: what comes after is what to use instead.
    let first = present().filter_map(|member| Some((position(member, &words)?, member.name)));
    first.min_by_key(|(at, _)| *at).map(|(_, name)| name)
}

/// Where in a text a member is named, as a word of its own.
fn position(member: &Member, text: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let places = member.called.iter().filter_map(|name| {
        let found = text.match_indices(name).find(|(at, found)| {
            let before = text
                .get(..*at)
                .and_then(|before| before.chars().next_back());
            let after = text
                .get(at + found.len()..)
                .and_then(|after| after.chars().next());
            !before.is_some_and(is_part) && !after.is_some_and(is_part)
        });
        found.map(|(at, _)| at)
    });
    places.min()
}

/// A request without these members.
pub(super) fn without(body: &mut Value, names: &BTreeSet<String>) {
    let both = ["max_tokens", "max_completion_tokens"];
    let is_neither = both.iter().all(|name| names.contains(*name));
    for member in MEMBERS.iter().filter(|member| names.contains(member.name)) {
        // The same number under the other name, unless that is refused too.
        let (from, to) = match member.name {
            "max_tokens" => ("max_tokens", "max_completion_tokens"),
            "max_completion_tokens" => ("max_completion_tokens", "max_tokens"),
            _ => ("", ""),
        };
        let moved = body.get(from).cloned().filter(|_| !is_neither);
        for at in member.at {
            remove(body, at);
        }
        if let (Some(value), Some(map)) = (moved, body.as_object_mut()) {
            map.insert(to.to_owned(), value);
        }
    }
}

fn has(value: &Value, pointer: &str) -> bool {
    let Some((step, rest)) = step(pointer) else {
        return true;
    };
    match value {
        Value::Array(items) if step == "*" => items.iter().any(|item| has(item, rest)),
        Value::Object(map) => map.get(step).is_some_and(|value| has(value, rest)),
        _ => false,
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((step, rest)) = step(pointer) else {
        return;
    };
    match value {
        Value::Array(items) if step == "*" => {
            for item in items {
                remove(item, rest);
            }
        }
        Value::Object(map) if rest.is_empty() => {
            map.remove(step);
        }
        Value::Object(map) => {
            if let Some(inner) = map.get_mut(step) {
                remove(inner, rest);
                // What held nothing else goes with it.
                if inner.as_object().is_some_and(Map::is_empty) {
                    map.remove(step);
                }
            }
        }
        _ => {}
    }
}

fn step(pointer: &str) -> Option<(&str, &str)> {
    let pointer = pointer.strip_prefix('/')?;
    let end = pointer.find('/').unwrap_or(pointer.len());
    Some(pointer.split_at(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn chat() -> Value {
        json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "response_format": {"type": "json_schema"}, "temperature": 0.5, "top_p": 0.5,
            "max_tokens": 100, "tool_choice": "required", "stop": ["x"], "reasoning_effort": "low",
            "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "reasoning_content": "y"}],
        })
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "values are written in place by the tests"
    )]
    fn refused(message: &str, more: Value, sent: &Value) -> Option<&'static str> {
        let mut error = json!({"message": message});
        error
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let failure = Failure::new(Class::Rejected, message);
        named(
            &failure,
            json!({"error": error}).to_string().as_bytes(),
            sent,
        )
    }

    /// Sentences as servers have written them.
    #[test]
    fn the_member_a_server_names_is_found() {
        for (message, member) in [
            (
                "Unrecognized request argument supplied: stream_options",
                "stream_options",
            ),
            (
                "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]",
                "stream_options",
            ),
            ("This response_format type is unavailable now", SCHEMA),
            (
                "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
                SCHEMA,
            ),
            (
                "json mode cannot be combined with tool/function calling",
                SCHEMA,
            ),
            (
                "Invalid schema for response_format 'reply': In context=(), 'required' is required",
                SCHEMA,
            ),
            ("Cannot use custom grammar constraints with tools.", SCHEMA),
            (
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                "max_tokens",
            ),
            (
                "max_tokens is too large: 200000. This model supports at most 16384 completion tokens",
                "max_tokens",
            ),
            (
                "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.",
                "temperature",
            ),
            (
                "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
                "temperature",
            ),
            (
                "Unsupported parameter: 'stop' is not supported with this model.",
                "stop",
            ),
            (
                "deepseek-reasoner does not support this tool_choice",
                "tool_choice",
            ),
            ("\"m1\" does not support thinking", "reasoning_effort"),
            (
                "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning_content' is unsupported)]",
                "reasoning_content",
            ),
        ] {
            assert_eq!(
                refused(message, json!({}), &chat()),
                Some(member),
                "{message}"
            );
        }
        // The field counts more than the words.
        let by_field = json!({"param": "top_p", "code": "unsupported_parameter"});
        assert_eq!(
            refused("it is not for temperature", by_field, &chat()),
            Some("top_p")
        );
        let gemini = json!({"contents": [], "generationConfig": {"responseMimeType": "application/json", "thinkingConfig": {}}});
        for (message, member) in [
            (
                "Function calling with a response mime type: 'application/json' is unsupported",
                SCHEMA,
            ),
            (
                "Invalid JSON payload received. Unknown name \"thinkingConfig\" at 'generation_config': Cannot find field.",
                "thinking",
            ),
        ] {
            assert_eq!(
                refused(message, json!({}), &gemini),
                Some(member),
                "{message}"
            );
        }
    }

    #[test]
    fn what_was_not_sent_or_is_not_refused_is_not_left_out() {
        for message in [
            "The `reasoning_content` in the thinking mode must be passed back to the API.",
            "max_tokens: wrong",
            "Unsupported parameter: 'parallel_tool_calls'",
            "unknown model m; stopping",
            "unsupported: pictures",
            "",
        ] {
            assert_eq!(refused(message, json!({}), &chat()), None, "{message}");
        }
        let limited = Failure::new(Class::RateLimited, "unsupported temperature");
        assert_eq!(named(&limited, b"{}", &chat()), None);
    }

    #[test]
    fn a_member_is_left_out_and_nothing_else() {
        let left = |names: &[&str], mut body: Value| {
            without(
                &mut body,
                &names.iter().map(|name| (*name).to_owned()).collect(),
            );
            body
        };
        assert_eq!(
            left(
                &[
                    "stream_options",
                    "reasoning_content",
                    "tool_choice",
                    "stop",
                    "top_p",
                    "reasoning_effort",
                    SCHEMA
                ],
                chat()
            ),
            json!({
                "model": "m", "stream": true, "temperature": 0.5, "max_tokens": 100,
                "messages": [{"role": "user", "content": "x"}, {"role": "assistant"}],
            })
        );
        let tokens = json!({"max_tokens": 9});
        assert_eq!(
            left(&["max_tokens"], tokens.clone()),
            json!({"max_completion_tokens": 9})
        );
        assert_eq!(
            left(
                &["max_completion_tokens"],
                json!({"max_completion_tokens": 9})
            ),
            tokens
        );
        assert_eq!(
            left(&["max_tokens", "max_completion_tokens"], tokens),
            json!({})
        );
        assert_eq!(
            left(
                &["thinking"],
                json!({"generationConfig": {"thinkingConfig": {"a": 1}}})
            ),
            json!({})
        );
        assert_eq!(
            left(
                &["strict"],
                json!({"tools": [{"name": "a", "strict": false}, 1]})
            ),
            json!({"tools": [{"name": "a"}, 1]})
        );
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            message in "(unsupported |unknown )?(stop|top_p|é|thinking| )*\\PC{0,8}",
            answer in crate::model::testing::any_json(),
            mut sent in crate::model::testing::any_json(),
        ) {
            let failure = Failure::new(Class::Rejected, message);
            let _ = named(&failure, answer.to_string().as_bytes(), &sent);
            without(&mut sent, &MEMBERS.iter().map(|member| member.name.to_owned()).collect());
        }
    }
}
