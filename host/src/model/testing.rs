//! What the tests of all wire formats share.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::sse::Parser;
use super::wire::{Decoder, Endpoint, Failure, ServerEvent, Stage, Wire};
use super::{Delta, Input, Message, Reply, Request, Sampling};
use crate::descriptor::ToolDecl;
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

/// The number of the inference in tests.
pub(super) const INFERENCE: u64 = 7;

/// The body of the request, as one reads it.
pub(super) fn sent(wire: &dyn Wire, provider: &str, request: &Request) -> String {
    let outgoing = wire.outgoing(&endpoint(provider), request).unwrap();
    let body: Value = serde_json::from_slice(&outgoing.body).unwrap();
    serde_json::to_string_pretty(&body).unwrap()
}

pub(super) fn sent_value(wire: &dyn Wire, provider: &str, request: &Request) -> Value {
    serde_json::from_str(&sent(wire, provider, request)).unwrap()
}

pub(super) fn refused(wire: &dyn Wire, provider: &str, request: &Request) -> String {
    let refusal = wire.outgoing(&endpoint(provider), request).unwrap_err();
    refusal.to_string()
}

pub(super) fn endpoint(provider: &str) -> Endpoint {
    Endpoint {
        provider: provider.to_owned(),
        base_url: "https://example.test/v1".to_owned(),
    }
}

pub(super) fn block(value: Value) -> Block {
    Block::parse(value).unwrap()
}

pub(super) fn user(blocks: Value) -> Message {
    let Value::Array(blocks) = blocks else {
        panic!("a list of blocks");
    };
    Message::User(blocks.into_iter().map(|b| Input::Block(block(b))).collect())
}

pub(super) fn assistant(blocks: Value) -> Message {
    let Value::Array(blocks) = blocks else {
        panic!("a list of blocks");
    };
    Message::Assistant(blocks.into_iter().map(block).collect())
}

pub(super) fn result(call_id: &str, content: Value, is_error: bool) -> Input {
    Input::ToolResult(ToolResult {
        call_id: call_id.to_owned(),
        content,
        structured: None,
        is_error,
    })
}

/// "Hello" with a system prompt.
pub(super) fn hello(model: &str) -> Request {
    Request {
        model: model.to_owned(),
        system: Some("Be brief.".to_owned()),
        messages: vec![user(json!([{"type": "text", "text": "Hello"}]))],
        sampling: Sampling {
            max_output_tokens: Some(1024),
            ..Sampling::default()
        },
        ..Request::default()
    }
}

/// Two calls, one that failed, and words after the results.
pub(super) fn with_tools(model: &str) -> Request {
    Request {
        messages: vec![
            user(json!([{"type": "text", "text": "Weather in Paris and Rome?"}])),
            assistant(json!([
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_paris1", "name": "weather", "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "call_rome22", "name": "weather", "input": {"city": "Rome"}},
            ])),
            Message::User(vec![
                result("call_paris1", json!("12 degrees"), false),
                result("call_rome22", json!("no such city"), true),
                Input::Block(Block::text("In Celsius, please.")),
            ]),
        ],
        tools: vec![
            ToolDecl {
                name: "weather".to_owned(),
                description: Some("The weather of a city.".to_owned()),
                input_schema: Some(
                    json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
                ),
                ..ToolDecl::default()
            },
            ToolDecl {
                name: "now".to_owned(),
                ..ToolDecl::default()
            },
        ],
        ..hello(model)
    }
}

/// A picture and a document by the user, and a picture as a result.
pub(super) fn with_media(model: &str) -> Request {
    let picture = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}});
    Request {
        messages: vec![
            user(json!([
                {"type": "text", "text": "What is this?"},
                picture,
                {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}},
                {"type": "document", "title": "notes.txt", "source": {"type": "base64", "media_type": "text/plain", "data": "aGVsbG8="}},
                {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}},
            ])),
            assistant(
                json!([{"type": "tool_use", "id": "call_shot01", "name": "screenshot", "input": {}}]),
            ),
            Message::User(vec![result(
                "call_shot01",
                json!([{"type": "text", "text": "the screen"}, picture]),
                false,
            )]),
        ],
        ..hello(model)
    }
}

/// The events of a stream as it is written in a test.
pub(super) fn events(stream: &str) -> Vec<ServerEvent> {
    let mut events = Vec::new();
    let mut event = ServerEvent::default();
    for line in stream.lines().map(str::trim).chain([""]) {
        if let Some(data) = line.strip_prefix("data:") {
            event.data.push_str(data.trim());
        } else if let Some(name) = line.strip_prefix("event:") {
            event.event = name.trim().to_owned();
        } else if line.is_empty() && !event.data.is_empty() {
            events.push(std::mem::take(&mut event));
        }
    }
    events
}

/// What became of a stream.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) deltas: Vec<Delta>,
    pub(super) stage: Stage,
    pub(super) reply: Result<Reply, Failure>,
}

/// Decodes a stream up to its end or its failure.
pub(super) fn decode(wire: &dyn Wire, stream: &str) -> Decoded {
    decode_events(wire, &events(stream))
}

pub(super) fn decode_events(wire: &dyn Wire, events: &[ServerEvent]) -> Decoded {
    let mut decoder = wire.decoder(INFERENCE);
    let mut deltas = Vec::new();
    let mut failure = None;
    for event in events {
        match decoder.event(event) {
            Ok(more) => deltas.extend(more),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let reply = match failure {
        Some(failure) => Err(failure),
        None => decoder.reply(),
    };
    let decoded = Decoded {
        deltas,
        stage: decoder.stage(),
        reply,
    };
    decoded.check();
    decoded
}

impl Decoded {
    /// The reply, whose pieces have to add up to it.
    pub(super) fn reply(self) -> Reply {
        assert_ne!(self.stage, Stage::Open, "{self:?}");
        self.reply.unwrap()
    }

    pub(super) fn failure(self) -> Failure {
        self.reply.unwrap_err()
    }

    /// Pieces of prose and calls are what the reply holds, in its order.
    fn check(&self) {
        let Ok(reply) = &self.reply else { return };
        let mut words = String::new();
        let mut thoughts = String::new();
        let mut calls = Vec::new();
        for delta in &self.deltas {
            match delta {
                Delta::Text(piece) => words.push_str(piece),
                Delta::Thinking(piece) => thoughts.push_str(piece),
                Delta::ToolUse { id, .. } => calls.push(id.clone()),
                Delta::ToolInput(_) => {}
            }
        }
        let content = json(reply);
        let of = |kind: &str, key: &str| {
            let blocks = content.as_array().unwrap().iter();
            let blocks = blocks.filter(|block| block["type"] == kind);
            blocks
                .map(|block| block[key].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        if !words.is_empty() && of("refusal", "refusal").is_empty() {
            assert_eq!(words, of("text", "text").concat());
        }
        assert_eq!(thoughts, of("thinking", "thinking").concat());
        let kept = of("tool_use", "id");
        assert!(kept.iter().all(|id| calls.contains(id)), "{self:?}");
    }
}

/// What servers send to keep a connection alive: between which lines of a stream, and what.
pub(super) fn any_noise() -> impl Strategy<Value = Vec<(usize, &'static str)>> {
    let sign = prop_oneof![
        Just(": PROCESSING\n\n"),
        Just(":\n"),
        Just("event: ping\ndata: {\"type\": \"ping\"}\n\n"),
        Just("data:\n\n"),
        Just("\n\n"),
        Just("retry: 3000\n"),
    ];
    prop::collection::vec((0..64_usize, sign), 0..8)
}

/// A stream with signs of life between its events.
pub(super) fn noisy(stream: &str, noise: &[(usize, &str)]) -> String {
    let mut events: Vec<String> = stream
        .trim()
        .split("\n\n")
        .map(|event| format!("{}\n\n", event.trim()))
        .collect();
    for (at, sign) in noise {
        let at = at % events.len();
        events.insert(at, (*sign).to_owned());
    }
    events.concat()
}

/// Decodes a body that arrives in pieces of `size` bytes.
pub(super) fn read(wire: &dyn Wire, body: &str, size: usize) -> Decoded {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for piece in body.as_bytes().chunks(size) {
        events.extend(parser.feed(piece).unwrap());
    }
    events.extend(parser.finish());
    decode_events(wire, &events)
}

/// The content of a reply as JSON.
pub(super) fn json(reply: &Reply) -> Value {
    serde_json::to_value(&reply.content).unwrap()
}

/// The content of the reply to a document that came in one piece.
pub(super) fn whole(wire: &dyn Wire, answer: &Value) -> Result<Reply, Failure> {
    let mut decoder: Box<dyn Decoder> = wire.decoder(INFERENCE);
    decoder.whole(answer)?;
    assert_eq!(decoder.stage(), Stage::Complete);
    decoder.reply()
}

/// Any JSON value of moderate size, with the words wire formats use.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just(String::new()),
        "[a-z{}\":\\[\\]]{1,8}",
        Just("\u{202e}\u{0}ä".to_owned()),
        Just("text".to_owned()),
        Just("data:image/png;base64,AA".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(Value::from(u64::MAX)),
        word.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,6}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A change to a stream of a real shape: which event, where in it, and what is there instead.
pub(super) fn any_damage() -> impl Strategy<Value = Vec<(usize, Vec<usize>, Option<Value>)>> {
    let place = prop::collection::vec(0..6_usize, 0..6);
    let damage = (0..64_usize, place, prop::option::of(any_json()));
    prop::collection::vec(damage, 0..4)
}

/// Applies changes; what cannot be found is left alone.
pub(super) fn damaged(
    stream: &str,
    damages: &[(usize, Vec<usize>, Option<Value>)],
) -> Vec<ServerEvent> {
    let mut events = events(stream);
    for (event, place, value) in damages {
        let count = events.len();
        let Some(event) = events.get_mut(event % count) else {
            continue;
        };
        let Ok(mut document) = serde_json::from_str::<Value>(&event.data) else {
            continue;
        };
        damage(&mut document, place, value.as_ref());
        event.data = document.to_string();
    }
    events
}

fn damage(value: &mut Value, place: &[usize], with: Option<&Value>) {
    let Some((first, rest)) = place.split_first() else {
        *value = with.cloned().unwrap_or_default();
        return;
    };
    match value {
        Value::Array(list) if !list.is_empty() => {
            let index = first % list.len();
            if rest.is_empty() && with.is_none() {
                list.remove(index);
            } else {
                damage(&mut list[index], rest, with);
            }
        }
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(first % map.len()).unwrap().clone();
            if rest.is_empty() && with.is_none() {
                map.remove(&key);
            } else {
                damage(&mut map[&key], rest, with);
            }
        }
        other => *other = with.cloned().unwrap_or_default(),
    }
}

/// A text cut into pieces, by the lengths of the pieces in characters.
pub(super) fn pieces(text: &str, cuts: &[usize]) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for cut in cuts {
        let at = rest
            .char_indices()
            .nth(*cut)
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(at);
        pieces.push(piece.to_owned());
        rest = after;
    }
    pieces.push(rest.to_owned());
    pieces
}
