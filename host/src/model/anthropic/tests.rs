use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::descriptor::ToolDecl;
use crate::model::testing::{any_noise, noisy, read};
use crate::model::wire::{Class, ServerEvent, Stage};
use crate::model::{Delta, Input, Message, Reply, Sampling, StopCause, ToolChoice};
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

fn block(value: Value) -> Block {
    Block::parse(value).unwrap()
}

fn user(value: Value) -> Message {
    Message::User(vec![Input::Block(block(value))])
}

fn body(request: &Request) -> Value {
    let endpoint = Endpoint {
        provider: "anthropic".to_owned(),
        base_url: "https://api.anthropic.com/".to_owned(),
    };
    let outgoing = Messages.outgoing(&endpoint, request).unwrap();
    assert_eq!(outgoing.url, "https://api.anthropic.com/v1/messages");
    assert_eq!(outgoing.headers.len(), 1);
    serde_json::from_slice(&outgoing.body).unwrap()
}

#[test]
fn a_plain_request_says_little() {
    let request = Request {
        model: "claude-x".to_owned(),
        messages: vec![user(json!({"type": "text", "text": "hi"}))],
        ..Request::default()
    };
    assert_eq!(
        body(&request),
        json!({
            "model": "claude-x",
            "stream": true,
            "max_tokens": 8192,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        })
    );
}

#[test]
fn everything_has_its_place() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let result = |id: &str, content: Value, is_error| {
        Input::ToolResult(ToolResult {
            call_id: id.to_owned(),
            content,
            structured: None,
            is_error,
        })
    };
    let request = Request {
        model: "claude-x".to_owned(),
        system: Some("Be brief.".to_owned()),
        messages: vec![
            Message::User(vec![
                Input::Block(block(json!({"type": "text", "text": ""}))),
                Input::Block(block(
                    json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}),
                )),
                Input::Block(block(
                    json!({"type": "document", "title": "t", "source": {"type": "base64", "media_type": "text/plain", "data": "aGk="}}),
                )),
            ]),
            Message::Assistant(vec![
                block(json!({"type": "thinking", "thinking": "hm", "signature": "sig"})),
                block(json!({"type": "thinking", "thinking": "hm", "signature": "openai:sealed"})),
                block(json!({"type": "thinking", "thinking": "unsigned"})),
                block(
                    json!({"type": "thinking", "thinking": "", "signature": "data", "redacted": true, REDACTED: true}),
                ),
                block(json!({"type": "text", "text": "cited", "citations": [{"type": "x"}]})),
                block(
                    json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}}),
                ),
                block(
                    json!({"type": "server_tool_result", "tool_use_id": "srvtoolu_1", "name": "web_search", "content": [{"type": "web_search_result"}]}),
                ),
                block(json!({"type": "tool_use", "id": "call.1", "name": "t", "input": {"x": 1}})),
                block(json!({"type": "tool_use", "id": "toolu_2", "name": "t", "input": {}})),
            ]),
            Message::User(vec![
                Input::Block(block(json!({"type": "text", "text": "and"}))),
                result("call.1", json!("fine"), false),
                result("toolu_2", json!([{"type": "text", "text": "bad"}]), true),
            ]),
        ],
        tools: vec![ToolDecl {
            name: "t".to_owned(),
            description: Some("d".to_owned()),
            input_schema: Some(json!({"type": "object"})),
            ..ToolDecl::default()
        }],
        tool_choice: ToolChoice::Tool("t".to_owned()),
        provider_tools: vec![json!({"type": "web_search_20250305", "name": "web_search"})],
        output_schema: Some(schema.clone()),
        sampling: Sampling {
            temperature: Some(1.5),
            top_p: Some(0.5),
            max_output_tokens: Some(4000),
            stop_sequences: vec!["END".to_owned()],
            reasoning_tokens: Some(2000),
        },
    };
    assert_eq!(
        body(&request),
        json!({
            "model": "claude-x",
            "stream": true,
            "max_tokens": 4000,
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "temperature": 1.0,
            "top_p": 0.5,
            "stop_sequences": ["END"],
            "output_config": {"format": {"type": "json_schema", "schema": schema}},
            "system": "Be brief.",
            "tools": [
                {"name": "t", "description": "d", "input_schema": {"type": "object"}},
                {"type": "web_search_20250305", "name": "web_search"},
            ],
            "tool_choice": {"type": "tool", "name": "t"},
            "messages": [
                {"role": "user", "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}, "title": "t"},
                ]},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "sig"},
                    {"type": "redacted_thinking", "data": "data"},
                    {"type": "text", "text": "cited", "citations": [{"type": "x"}]},
                    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]},
                    {"type": "tool_use", "id": "call_1", "name": "t", "input": {"x": 1}},
                    {"type": "tool_use", "id": "toolu_2", "name": "t", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "fine"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "bad"}], "is_error": true},
                    {"type": "text", "text": "and"},
                ]},
            ],
        })
    );
}

#[test]
fn a_schema_that_cannot_be_enforced_is_a_request_to_the_model() {
    let request = Request {
        model: "claude-x".to_owned(),
        messages: vec![user(json!({"type": "text", "text": "hi"}))],
        output_schema: Some(json!({"type": "object"})),
        ..Request::default()
    };
    let body = body(&request);
    assert_eq!(body.get("output_config"), None);
    assert!(
        body["system"]
            .as_str()
            .unwrap()
            .contains(r#"{"type":"object"}"#)
    );
}

#[test]
fn what_it_cannot_take_is_said() {
    let endpoint = Endpoint {
        provider: "anthropic".to_owned(),
        base_url: "https://x".to_owned(),
    };
    for medium in [
        json!({"type": "audio", "source": {"type": "url", "url": "https://x"}}),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/zip", "data": "AA=="}}),
    ] {
        let request = Request {
            messages: vec![user(medium)],
            ..Request::default()
        };
        assert!(Messages.outgoing(&endpoint, &request).is_err());
    }
}

/// An answer with everything in it, as the interface streams it.
fn stream() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-20260101", "content": [], "stop_reason": null, "usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me "}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "see."}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "EmwK"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"query\":"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "\"x\"}"}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "content_block_start", "index": 3, "content_block": {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": [{"type": "web_search_result", "url": "https://x", "encrypted_content": "E"}]}}),
        json!({"type": "content_block_stop", "index": 3}),
        json!({"type": "content_block_start", "index": 4, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": "It is "}}),
        json!({"type": "content_block_delta", "index": 4, "delta": {"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "https://x"}}}),
        json!({"type": "content_block_delta", "index": 4, "delta": {"type": "text_delta", "text": "so."}}),
        json!({"type": "content_block_stop", "index": 4}),
        json!({"type": "content_block_start", "index": 5, "content_block": {"type": "tool_use", "id": "toolu_01A", "name": "grep", "input": {}}}),
        json!({"type": "content_block_delta", "index": 5, "delta": {"type": "input_json_delta", "partial_json": ""}}),
        json!({"type": "content_block_delta", "index": 5, "delta": {"type": "input_json_delta", "partial_json": "{\"a\": 1"}}),
        json!({"type": "content_block_delta", "index": 5, "delta": {"type": "input_json_delta", "partial_json": "}"}}),
        json!({"type": "content_block_stop", "index": 5}),
        json!({"type": "content_block_start", "index": 6, "content_block": {"type": "tool_use", "id": "toolu_01B", "name": "now", "input": {}}}),
        json!({"type": "content_block_stop", "index": 6}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 89}}),
        json!({"type": "message_stop"}),
    ]
}

fn event(value: &Value) -> ServerEvent {
    ServerEvent {
        event: String::new(),
        data: value.to_string(),
    }
}

fn feed(events: &[Value]) -> Result<(Vec<Delta>, Box<dyn Decoder>), Failure> {
    let mut decoder = Messages.decoder(7);
    let mut deltas = Vec::new();
    for value in events {
        deltas.extend(decoder.event(&event(value))?);
    }
    Ok((deltas, decoder))
}

fn content(reply: &Reply) -> Value {
    serde_json::to_value(&reply.content).unwrap()
}

#[test]
fn a_stream_becomes_a_reply() {
    let (deltas, decoder) = feed(&stream()).unwrap();
    assert_eq!(decoder.stage(), Stage::Complete);
    let reply = decoder.reply().unwrap();
    assert_eq!(
        content(&reply),
        json!([
            {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB"},
            {"type": "thinking", "thinking": "", "signature": "EmwK", "redacted": true, REDACTED: true},
            {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "x"}},
            {"type": "server_tool_result", "tool_use_id": "srvtoolu_01", "name": "web_search", "content": [{"type": "web_search_result", "url": "https://x", "encrypted_content": "E"}], "is_error": false},
            {"type": "text", "text": "It is so.", "citations": [{"type": "web_search_result_location", "url": "https://x"}]},
            {"type": "tool_use", "id": "toolu_01A", "name": "grep", "input": {"a": 1}},
            {"type": "tool_use", "id": "toolu_01B", "name": "now", "input": {}},
        ])
    );
    assert_eq!(reply.stop, StopCause::ToolUse);
    assert_eq!(reply.finish_reasons, ["tool_use"]);
    assert_eq!(reply.model.as_deref(), Some("claude-x-20260101"));
    let usage = reply.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (60, 89));
    assert_eq!(usage.cache_read_input_tokens, Some(30));
    assert_eq!(usage.cache_creation_input_tokens, Some(20));
    assert_eq!(
        deltas,
        [
            Delta::Thinking("Let me ".to_owned()),
            Delta::Thinking("see.".to_owned()),
            Delta::Text("It is ".to_owned()),
            Delta::Text("so.".to_owned()),
            Delta::ToolUse {
                id: "toolu_01A".to_owned(),
                name: "grep".to_owned()
            },
            Delta::ToolInput("{\"a\": 1".to_owned()),
            Delta::ToolInput("}".to_owned()),
            Delta::ToolUse {
                id: "toolu_01B".to_owned(),
                name: "now".to_owned()
            },
        ]
    );
}

#[test]
fn what_was_said_goes_back_as_it_came() {
    let (_, decoder) = feed(&stream()).unwrap();
    let request = Request {
        messages: vec![
            user(json!({"type": "text", "text": "hi"})),
            Message::Assistant(decoder.reply().unwrap().content),
        ],
        ..Request::default()
    };
    let back = &body(&request)["messages"][1]["content"];
    let kinds: Vec<_> = back
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "thinking",
            "redacted_thinking",
            "server_tool_use",
            "web_search_tool_result",
            "text",
            "tool_use",
            "tool_use"
        ]
    );
}

#[test]
fn a_whole_answer_is_the_same_reply() {
    let (_, streamed) = feed(&stream()).unwrap();
    let mut decoder = Messages.decoder(7);
    decoder
        .whole(&json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-20260101",
            "content": [
                {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB"},
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "x"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_01", "content": [{"type": "web_search_result", "url": "https://x", "encrypted_content": "E"}]},
                {"type": "text", "text": "It is so.", "citations": [{"type": "web_search_result_location", "url": "https://x"}]},
                {"type": "tool_use", "id": "toolu_01A", "name": "grep", "input": {"a": 1}},
                {"type": "tool_use", "id": "toolu_01B", "name": "now", "input": {}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 89},
        }))
        .unwrap();
    assert_eq!(decoder.stage(), Stage::Complete);
    assert_eq!(decoder.reply().unwrap(), streamed.reply().unwrap());
}

#[test]
fn a_stream_that_was_cut_gives_what_had_arrived() {
    let events = stream();
    for end in 0..events.len() {
        let (_, decoder) = feed(&events[..end]).unwrap();
        // All that is missing of the longest is the last event, which some servers leave out.
        let is_whole = end + 1 == events.len();
        assert_eq!(
            decoder.stage() == Stage::Stopped,
            is_whole,
            "after {end} events"
        );
        let reply = decoder.reply().unwrap();
        assert!(reply.content.len() <= 7, "after {end} events");
    }
}

fn text_block(index: u64, text: &str) -> [Value; 3] {
    [
        json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}

fn call_block(index: u64, id: &str, city: &str) -> [Value; 3] {
    [
        json!({"type": "content_block_start", "index": index, "content_block": {"type": "tool_use", "id": id, "name": "weather", "input": {}}}),
        json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": json!({"city": city}).to_string()}}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}

fn reason(stop: &str, usage: &Value) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage})
}

#[test]
fn what_comes_after_a_reason_counts_and_so_does_the_last_reason() {
    let mut events = Vec::new();
    events.extend(text_block(0, "alpha "));
    events.push(reason("end_turn", &json!({"output_tokens": 2})));
    events.extend(text_block(1, "beta"));
    events.extend(call_block(2, "toolu_01A", "Paris"));
    events.push(reason("tool_use", &json!({"output_tokens": 9})));
    let (_, decoder) = feed(&events).unwrap();
    assert_eq!(decoder.stage(), Stage::Stopped);
    let reply = decoder.reply().unwrap();
    assert_eq!(reply.stop, StopCause::ToolUse);
    assert_eq!(reply.finish_reasons, ["tool_use"]);
    assert_eq!(reply.usage.unwrap().output_tokens, 9);
    assert_eq!(reply.content.len(), 3);
    // A block that is open is more to come.
    let (_, decoder) = feed(&events[..5]).unwrap();
    assert_eq!(decoder.stage(), Stage::Open);
}

#[test]
fn blocks_are_told_apart_without_an_index_and_with_one_that_never_changes() {
    let mut events = Vec::new();
    events.extend(text_block(0, "Both."));
    events.extend(call_block(1, "toolu_01A", "Paris"));
    events.extend(call_block(2, "toolu_01B", "Rome"));
    let end = [
        reason("tool_use", &json!({})),
        json!({"type": "message_stop"}),
    ];
    let expected = json!([
        {"type": "text", "text": "Both."},
        {"type": "tool_use", "id": "toolu_01A", "name": "weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "toolu_01B", "name": "weather", "input": {"city": "Rome"}},
    ]);
    for index in [None, Some(0)] {
        let changed = events.iter().cloned().map(|mut event| {
            let event_map = event.as_object_mut().unwrap();
            match index {
                Some(index) => event_map.insert("index".to_owned(), Value::from(index)),
                None => event_map.remove("index"),
            };
            event
        });
        let changed: Vec<Value> = changed.chain(end.clone()).collect();
        let (_, decoder) = feed(&changed).unwrap();
        assert_eq!(content(&decoder.reply().unwrap()), expected, "{index:?}");
    }
}

#[test]
fn a_call_that_comes_twice_is_one_and_an_id_given_twice_is_none() {
    let twice = |second: &str| {
        let mut events = Vec::new();
        events.extend(call_block(0, "toolu_01A", "Paris"));
        events.extend(call_block(1, "toolu_01A", second));
        events.push(reason("tool_use", &json!({})));
        feed(&events).unwrap().1.reply().unwrap()
    };
    assert_eq!(twice("Paris").content.len(), 1);
    let two = content(&twice("Rome"));
    assert_eq!(two[1]["input"], json!({"city": "Rome"}));
    assert_ne!(two[1]["id"], two[0]["id"]);
}

#[test]
fn the_greater_of_two_totals_counts() {
    let usage = |start: Value, end: Value| {
        let mut events = vec![json!({"type": "message_start", "message": {"usage": start}})];
        events.extend(text_block(0, "x"));
        events.push(reason("end_turn", &end));
        let usage = feed(&events).unwrap().1.reply().unwrap().usage.unwrap();
        let cached = usage.cache_read_input_tokens;
        (usage.input_tokens, usage.output_tokens, cached)
    };
    let start = json!({"input_tokens": 900, "output_tokens": 1});
    for (end, expected) in [
        (
            json!({"input_tokens": 0, "output_tokens": 5}),
            (900, 5, None),
        ),
        (json!({"output_tokens": 5}), (900, 5, None)),
        (
            json!({"input_tokens": 0, "output_tokens": 0}),
            (900, 1, None),
        ),
        (
            json!({"input_tokens": 1000, "output_tokens": 5}),
            (1000, 5, None),
        ),
        // The same total, told in its parts.
        (
            json!({"input_tokens": 100, "cache_read_input_tokens": 800, "output_tokens": 5}),
            (900, 5, Some(800)),
        ),
    ] {
        assert_eq!(usage(start.clone(), end.clone()), expected, "{end}");
    }
}

#[test]
fn refusals_and_limits_are_told_apart() {
    let end = |delta: Value| {
        let events = [
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "toolu_01A", "name": "t", "input": {}}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"a"}}),
            json!({"type": "message_delta", "delta": delta}),
            json!({"type": "message_stop"}),
        ];
        feed(&events).unwrap().1.reply()
    };
    let cut = end(json!({"stop_reason": "max_tokens"})).unwrap();
    assert_eq!((cut.stop, cut.content.len()), (StopCause::MaxTokens, 0));
    let broken = end(json!({"stop_reason": "tool_use"})).unwrap();
    assert!(broken.content[0].malformed().is_some(), "{broken:?}");
    assert_eq!(content(&broken)[0]["input"]["unparsed_arguments"], "{\"a");

    let refused = feed(&[
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber", "explanation": "I will not."}}}),
        json!({"type": "message_stop"}),
    ]);
    let reply = refused.unwrap().1.reply().unwrap();
    assert_eq!(reply.stop, StopCause::Refusal);
    assert_eq!(reply.refusal_category.as_deref(), Some("cyber"));
    assert_eq!(
        content(&reply),
        json!([{"type": "refusal", "refusal": "I will not."}])
    );
}

#[test]
fn errors_have_their_class() {
    let error = |kind: &str, message: &str| json!({"type": "error", "error": {"type": kind, "message": message}});
    for (status, kind, message, class) in [
        (
            401,
            "authentication_error",
            "invalid x-api-key",
            Class::Auth,
        ),
        (403, "permission_error", "no", Class::Auth),
        (
            404,
            "not_found_error",
            "model: claude-y",
            Class::Unsupported,
        ),
        (413, "request_too_large", "too large", Class::ContextLimit),
        (429, "rate_limit_error", "slow down", Class::RateLimited),
        (500, "api_error", "oops", Class::Overloaded),
        (529, "overloaded_error", "Overloaded", Class::Overloaded),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 1 > 0",
            Class::ContextLimit,
        ),
        (
            400,
            "invalid_request_error",
            "messages: at least one",
            Class::Rejected,
        ),
    ] {
        let body = error(kind, message).to_string();
        let status = StatusCode::from_u16(status).unwrap();
        let failure = Messages.failure(status, body.as_bytes());
        assert_eq!(failure.class, class, "{kind}");
        assert_eq!(failure.message, message);
    }
    for (kind, class) in [
        ("overloaded_error", Class::Overloaded),
        ("api_error", Class::Overloaded),
    ] {
        let Err(failure) = feed(&[error(kind, "busy")]) else {
            panic!("it is a failure");
        };
        assert_eq!(failure.class, class);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z{}\"]{0,8}".prop_map(Value::from),
        prop_oneof![
            Just("text"),
            Just("tool_use"),
            Just("thinking"),
            Just("text_delta"),
            Just("input_json_delta"),
            Just("server_tool_use"),
            Just("web_search_tool_result"),
            Just("content_block_start"),
            Just("content_block_delta"),
            Just("content_block_stop"),
            Just("message_delta"),
            Just("message_stop"),
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let key = prop_oneof![
            Just("type"),
            Just("index"),
            Just("delta"),
            Just("content_block"),
            Just("text"),
            Just("input"),
            Just("partial_json"),
            Just("id"),
            Just("name"),
            Just("usage"),
            Just("message"),
            Just("content"),
            Just("tool_use_id"),
            Just("stop_reason"),
            Just("output_tokens"),
            Just("citations"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..6).prop_map(|entries| {
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_events_make_it_panic(events in proptest::collection::vec(any_json(), 0..12)) {
        let mut decoder = Messages.decoder(1);
        for value in &events {
            let _ = decoder.event(&event(value));
            let _ = decoder.reply();
        }
        let mut decoder = Messages.decoder(1);
        for value in &events {
            let _ = decoder.whole(value);
            let _ = decoder.reply();
        }
    }

    #[test]
    fn neither_cuts_of_the_body_nor_signs_of_life_matter(noise in any_noise(), size in 1..60_usize) {
        let text: String = stream()
            .iter()
            .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
            .collect();
        let noisy = read(&Messages, &noisy(&text, &noise), size);
        prop_assert_eq!(noisy.reply(), feed(&stream()).unwrap().1.reply().unwrap());
    }

    #[test]
    fn leaving_out_events_never_makes_it_panic(keep in proptest::collection::vec(any::<bool>(), 29)) {
        let mut decoder = Messages.decoder(1);
        for (value, keep) in stream().iter().zip(keep) {
            if keep {
                let _ = decoder.event(&event(value));
            }
        }
        let _ = decoder.reply();
    }
}
