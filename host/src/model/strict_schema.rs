//! The part of JSON Schema that `OpenAI` enforces token by token.

use serde_json::{Map, Value};

/// Levels of nesting `OpenAI` takes in a strict schema.
const MAX_DEPTH: usize = 10;

const KEYWORDS: [&str; 26] = [
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "nullable",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "$schema",
];

/// True when a schema can be enforced as it is: only known keywords, an object at the top, and no object
/// with optional or unnamed members. Others are a request to the model, which may fail it.
pub(super) fn is_strict(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object") && holds(schema, 0)
}

fn holds(schema: &Value, depth: usize) -> bool {
    let Some(map) = schema.as_object() else {
        return false;
    };
    if depth > MAX_DEPTH || !map.keys().all(|key| KEYWORDS.contains(&key.as_str())) {
        return false;
    }
    let nested = ["$defs", "definitions", "properties"]
        .iter()
        .filter_map(|key| map.get(*key))
        .all(|children| {
            children
                .as_object()
                .is_some_and(|map| map.values().all(|child| holds(child, depth + 1)))
        });
    let items = map.get("items").is_none_or(|items| holds(items, depth + 1));
    let any_of = map.get("anyOf").is_none_or(|any| {
        any.as_array()
            .is_some_and(|any| any.iter().all(|one| holds(one, depth + 1)))
    });
    nested && items && any_of && is_closed(map)
}

/// An object has to name all its members and need each of them.
fn is_closed(map: &Map<String, Value>) -> bool {
    let is_object = match map.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => map.contains_key("properties"),
    };
    if !is_object {
        return true;
    }
    let Some(properties) = map.get("properties").and_then(Value::as_object) else {
        return false;
    };
    let required = map.get("required").and_then(Value::as_array);
    map.get("additionalProperties") == Some(&Value::Bool(false))
        && properties.keys().all(|name| {
            required.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name)))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_closed_objects_with_known_keywords_are_strict() {
        let closed = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": ["array", "null"], "items": {"type": "integer"}}}, "required": ["a", "b"], "additionalProperties": false});
        assert!(is_strict(&closed));
        for (key, value) in [
            ("required", json!(["a"])),
            ("additionalProperties", json!(true)),
            ("type", json!("array")),
            ("oneOf", json!([])),
            ("properties", json!({"a": {"type": "object"}})),
        ] {
            let mut open = closed.clone();
            open[key] = value;
            assert!(!is_strict(&open), "{open}");
        }
        assert!(!is_strict(&json!(true)));
    }
}
