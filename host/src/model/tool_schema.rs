//! Input schemas of tools as providers take them.
//!
//! `OpenAI` refuses a request with a schema that has no `type` or no `properties`, or that has `anyOf`,
//! `oneOf`, `allOf`, `enum` or `not` on its top level; Anthropic and Gemini refuse some of these too. One
//! such tool would end every request of a run. A schema that cannot go out as it is becomes the schema of
//! one argument, and what the model writes there is the arguments: what is on record, and what the tool
//! gets, is its own shape.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{Delta, Message, Reply, Request};
use crate::trajectory::content::Block;

/// The one argument of a tool whose schema is wrapped.
const ARGUMENT: &str = "arguments";

/// Keywords that no schema may have on its top level, whoever reads it.
const COMPOSED: [&str; 8] = [
    "anyOf", "oneOf", "allOf", "not", "enum", "const", "if", "$ref",
];

/// Levels of a schema that are rewritten; deeper ones are left alone.
const MAX_DEPTH: usize = 64;

/// What a provider is shown of a request, and which of its tools are wrapped.
pub(super) fn fitted(request: &Request) -> (Cow<'_, Request>, Wrapped) {
    let mut shown = Cow::Borrowed(request);
    let mut names = HashSet::new();
    for (at, tool) in request.tools.iter().enumerate() {
        let Some(schema) = &tool.input_schema else {
            continue;
        };
        let changed = if needs_wrapping(schema) {
            names.insert(tool.name.clone());
            Some(wrapped(schema))
        } else {
            completed(schema)
        };
        if changed.is_some()
            && let Some(tool) = shown.to_mut().tools.get_mut(at)
        {
            tool.input_schema = changed;
        }
    }
    if !names.is_empty() {
        // What the model called before is shown in the shape it is asked for now.
        for message in &mut shown.to_mut().messages {
            if let Message::Assistant(blocks) = message {
                for block in blocks {
                    rewrap(block, &names);
                }
            }
        }
    }
    (
        shown,
        Wrapped {
            names,
            ..Wrapped::default()
        },
    )
}

fn needs_wrapping(schema: &Value) -> bool {
    let is_composed = COMPOSED.iter().any(|key| schema.get(*key).is_some());
    is_composed || !may_be_object(schema)
}

/// Whether the type of a schema allows an object.
fn may_be_object(schema: &Value) -> bool {
    match schema.get("type") {
        None | Some(Value::Null) => true,
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(_) => false,
    }
}

/// The schema with the members that providers insist on; none where it has them.
fn completed(schema: &Value) -> Option<Value> {
    let is_complete = schema.get("type").is_some_and(|kind| kind == "object")
        && schema.get("properties").is_some_and(Value::is_object)
        && schema.get("required").is_none_or(Value::is_array);
    if is_complete {
        return None;
    }
    let mut map = schema.as_object().cloned().unwrap_or_default();
    map.insert("type".to_owned(), "object".into());
    if !map.get("properties").is_some_and(Value::is_object) {
        map.insert("properties".to_owned(), json!({}));
    }
    if !map.get("required").is_none_or(Value::is_array) {
        map.remove("required");
    }
    Some(Value::Object(map))
}

fn wrapped(schema: &Value) -> Value {
    let mut inner = schema.clone();
    // The name of the dialect stays on the top level, where it belongs.
    let dialect = inner.as_object_mut().and_then(|map| map.remove("$schema"));
    refer(&mut inner, 0);
    let mut outer = Map::new();
    outer.extend(dialect.map(|dialect| ("$schema".to_owned(), dialect)));
    outer.insert("type".to_owned(), "object".into());
    outer.insert("properties".to_owned(), json!({ARGUMENT: inner}));
    outer.insert("required".to_owned(), json!([ARGUMENT]));
    Value::Object(outer)
}

/// Has references within a schema lead to where it is now.
fn refer(value: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(to) if key == "$ref" => {
                        if let Some(place) = to.strip_prefix('#')
                            && (place.is_empty() || place.starts_with('/'))
                        {
                            *to = format!("#/properties/{ARGUMENT}{place}");
                        }
                    }
                    other => refer(other, depth + 1),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, depth + 1)),
        _ => {}
    }
}

fn rewrap(block: &mut Block, names: &HashSet<String>) {
    let is_wrapped = block.call().is_some_and(|call| names.contains(call.name));
    if is_wrapped && let Some(input) = block.as_map().get("input") {
        let input = json!({ARGUMENT: input});
        *block = block.clone().with("input", input);
    }
}

/// The tools of a request that are wrapped, and the call of one that is arriving.
#[derive(Debug, Default)]
pub(super) struct Wrapped {
    names: HashSet<String>,
    /// The arguments, as far as they have arrived.
    arriving: Option<String>,
}

impl Wrapped {
    /// The pieces of a reply as its tools know them: the arguments of a wrapped one come in one piece, at
    /// its end.
    pub(super) fn pieces(&mut self, deltas: Vec<Delta>) -> Vec<Delta> {
        if self.names.is_empty() {
            return deltas;
        }
        let mut pieces = Vec::with_capacity(deltas.len());
        for delta in deltas {
            match (&delta, &mut self.arriving) {
                (Delta::ToolInput(piece), Some(arriving)) => {
                    arriving.push_str(piece);
                    continue;
                }
                (Delta::ToolUse { name, .. }, _) if self.names.contains(name) => {
                    pieces.extend(self.end());
                    self.arriving = Some(String::new());
                }
                _ => pieces.extend(self.end()),
            }
            pieces.push(delta);
        }
        pieces
    }

    /// What is left at the end of the reply, or of a call.
    pub(super) fn end(&mut self) -> Option<Delta> {
        let text = self.arriving.take().filter(|text| !text.is_empty())?;
        let inner = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|input| own(&input).cloned());
        Some(Delta::ToolInput(
            inner.map_or(text, |inner| inner.to_string()),
        ))
    }

    /// The reply as its tools know it.
    pub(super) fn reply(&self, mut reply: Reply) -> Reply {
        if self.names.is_empty() {
            return reply;
        }
        for block in &mut reply.content {
            let is_wrapped = block
                .call()
                .is_some_and(|call| self.names.contains(call.name));
            if is_wrapped
                && let Some(input) = block.as_map().get("input")
                && let Some(inner) = own(input)
            {
                let inner = inner.clone();
                *block = block.clone().with("input", inner);
            }
        }
        reply
    }
}

/// The arguments in the one argument. Models that see through it leave it out, and are taken at their word.
fn own(input: &Value) -> Option<&Value> {
    input.get(ARGUMENT).filter(|inner| inner.is_object())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::descriptor::ToolDecl;
    use crate::model::StopCause;
    use crate::model::testing::{any_json, assistant};

    fn request(schema: Value) -> Request {
        let tool = ToolDecl {
            name: "t".to_owned(),
            input_schema: Some(schema),
            ..ToolDecl::default()
        };
        Request {
            tools: vec![tool],
            messages: vec![assistant(json!([
                {"type": "tool_use", "id": "call_1", "name": "t", "input": {"a": 1}},
                {"type": "tool_use", "id": "call_2", "name": "u", "input": {"a": 1}},
            ]))],
            ..Request::default()
        }
    }

    fn shown(schema: Value) -> Value {
        let request = request(schema);
        let (shown, _) = fitted(&request);
        shown.tools[0].input_schema.clone().unwrap()
    }

    fn replied(input: &Value) -> Reply {
        let Message::Assistant(content) =
            assistant(json!([{"type": "tool_use", "id": "call_1", "name": "t", "input": input}]))
        else {
            unreachable!("an assistant's message");
        };
        Reply {
            content,
            stop: StopCause::ToolUse,
            finish_reasons: Vec::new(),
            model: None,
            usage: None,
            cost_usd: None,
            refusal_category: None,
        }
    }

    #[test]
    fn what_providers_insist_on_is_added_and_the_rest_left_alone() {
        let plain = json!({"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}]}}, "required": ["a"]});
        assert_eq!(shown(plain.clone()), plain);
        let request = request(plain);
        assert!(matches!(fitted(&request).0, Cow::Borrowed(_)));
        for schema in [
            json!({}),
            json!({"type": "object"}),
            json!({"type": null, "properties": null, "required": null}),
            json!({"type": ["object", "null"]}),
        ] {
            let shown = shown(schema.clone());
            assert_eq!(
                shown,
                json!({"type": "object", "properties": {}}),
                "{schema}"
            );
        }
        assert_eq!(
            shown(json!({"type": "object", "additionalProperties": true})),
            json!({"type": "object", "additionalProperties": true, "properties": {}})
        );
    }

    #[test]
    fn what_no_provider_takes_is_wrapped_and_its_references_go_along() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#"}, {"$ref": "https://example.test/#/x"}],
            "$defs": {"A": {"type": "object"}},
        });
        assert_eq!(
            shown(schema),
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": {"arguments": {
                    "anyOf": [
                        {"$ref": "#/properties/arguments/$defs/A"},
                        {"$ref": "#/properties/arguments"},
                        {"$ref": "https://example.test/#/x"},
                    ],
                    "$defs": {"A": {"type": "object"}},
                }},
                "required": ["arguments"],
            })
        );
        for key in ["oneOf", "allOf"] {
            let own =
                json!({"type": "object", "properties": {"a": {}}, key: [{"required": ["a"]}]});
            assert_eq!(shown(own.clone())["properties"]["arguments"], own);
        }
    }

    #[test]
    fn the_model_sees_its_own_shape_and_the_tool_its_own() {
        let request = request(json!({"anyOf": [{"type": "object"}]}));
        let (shown, mut wrapped) = fitted(&request);
        let Message::Assistant(blocks) = &shown.messages[0] else {
            panic!("{shown:?}");
        };
        assert_eq!(blocks[0].as_map()["input"], json!({"arguments": {"a": 1}}));
        assert_eq!(blocks[1].as_map()["input"], json!({"a": 1}), "another tool");

        for (input, own) in [
            (json!({"arguments": {"b": 2}}), json!({"b": 2})),
            (json!({"b": 2}), json!({"b": 2})),
            (json!({"arguments": 1}), json!({"arguments": 1})),
        ] {
            let reply = wrapped.reply(replied(&input));
            assert_eq!(reply.content[0].as_map()["input"], own);
        }
        let begins = |name: &str| Delta::ToolUse {
            id: "call_1".to_owned(),
            name: name.to_owned(),
        };
        let piece = |text: &str| Delta::ToolInput(text.to_owned());
        let pieces = wrapped.pieces(vec![begins("t"), piece("{\"arguments\":")]);
        assert_eq!(pieces, [begins("t")]);
        let pieces = wrapped.pieces(vec![
            piece("{\"b\": 2}}"),
            begins("u"),
            piece("{}"),
            begins("t"),
            piece("{"),
        ]);
        assert_eq!(
            pieces,
            [piece("{\"b\":2}"), begins("u"), piece("{}"), begins("t")]
        );
        assert_eq!(wrapped.end(), Some(piece("{")));
        assert_eq!(wrapped.end(), None);
    }

    proptest! {
        #[test]
        fn whatever_a_schema_is_an_object_is_what_is_shown(
            document in any_json(),
            key in prop_oneof![Just("anyOf"), Just("type"), Just("properties"), Just("$ref")],
        ) {
            let shown = shown(json!({key: document}));
            prop_assert_eq!(&shown["type"], "object");
            prop_assert!(shown["properties"].is_object());
            prop_assert!(COMPOSED.iter().all(|key| shown.get(*key).is_none()));
        }
    }
}
