//! Does a JSON document match a JSON Schema? Enough of the question to tell a model what to repair.
//!
//! Checked: `type`, `enum`, `const`; `properties`, `required`, `additionalProperties`, `minProperties`,
//! `maxProperties`; `items`, `prefixItems`, `minItems`, `maxItems`, `uniqueItems`; `minLength`,
//! `maxLength`; `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`; `allOf`, `anyOf`, `oneOf`,
//! `not`; `$ref` to a place in the same document. Everything else is taken to be matched, `pattern` and
//! `format` among it: a full validator is ten times the size of an agent, and the host has one for the
//! operator who requires a matching answer.

use serde_json::{Map, Value};

/// Schemas this deep, references followed, are taken to be matched.
const MAX_DEPTH: usize = 64;
/// Steps of one check; what is beyond them is taken to be matched. Combinators can multiply without end.
const MAX_STEPS: usize = 200_000;

/// The first violation, as the JSON pointer of where it is and what is wrong there.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    let mut check = Check {
        root: schema,
        steps: 0,
    };
    check.value(schema, value, &mut Vec::new(), 0)
}

struct Check<'a> {
    root: &'a Value,
    steps: usize,
}

type Verdict = Result<(), String>;

impl<'a> Check<'a> {
    fn value(
        &mut self,
        schema: &'a Value,
        value: &Value,
        at: &mut Vec<String>,
        depth: usize,
    ) -> Verdict {
        self.steps += 1;
        if depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return Ok(());
        }
        let schema = match schema {
            Value::Bool(false) => return fail(at, "is not allowed"),
            Value::Object(schema) => schema,
            _ => return Ok(()),
        };
        if let Some(target) = schema.get("$ref").and_then(Value::as_str)
            && let Some(pointer) = target.strip_prefix('#')
            && let Some(target) = self.root.pointer(pointer)
        {
            self.value(target, value, at, depth + 1)?;
        }
        kind(schema, value, at)?;
        self.combined(schema, value, at, depth)?;
        match value {
            Value::Object(object) => self.object(schema, object, at, depth),
            Value::Array(items) => self.array(schema, items, at, depth),
            Value::String(text) => length(schema, text, at),
            Value::Number(number) => range(schema, number.as_f64().unwrap_or(f64::NAN), at),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn matches(
        &mut self,
        schema: &'a Value,
        value: &Value,
        at: &mut Vec<String>,
        depth: usize,
    ) -> bool {
        let depth_of_path = at.len();
        let matches = self.value(schema, value, at, depth + 1).is_ok();
        at.truncate(depth_of_path);
        matches
    }

    fn combined(
        &mut self,
        schema: &'a Map<String, Value>,
        value: &Value,
        at: &mut Vec<String>,
        depth: usize,
    ) -> Verdict {
        for part in list(schema, "allOf") {
            self.value(part, value, at, depth + 1)?;
        }
        let any = list(schema, "anyOf");
        if !any.is_empty() && !any.iter().any(|part| self.matches(part, value, at, depth)) {
            return fail(at, "matches none of the schemas of `anyOf`");
        }
        let one = list(schema, "oneOf");
        if !one.is_empty() {
            let count = (one.iter())
                .filter(|part| self.matches(part, value, at, depth))
                .count();
            if count != 1 {
                return fail(
                    at,
                    &format!("matches {count} of the schemas of `oneOf` instead of one"),
                );
            }
        }
        match schema.get("not") {
            Some(not) if self.matches(not, value, at, depth) => {
                fail(at, "matches the schema of `not`")
            }
            _ => Ok(()),
        }
    }

    fn object(
        &mut self,
        schema: &'a Map<String, Value>,
        object: &Map<String, Value>,
        at: &mut Vec<String>,
        depth: usize,
    ) -> Verdict {
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return fail(at, &format!("lacks `{name}`"));
            }
        }
        count(schema, "Properties", "properties", object.len(), at)?;
        let properties = schema.get("properties").and_then(Value::as_object);
        let patterns = schema.contains_key("patternProperties");
        let additional = schema.get("additionalProperties");
        for (name, value) in object {
            let known = properties.and_then(|properties| properties.get(name));
            let rule = match (known, additional) {
                (Some(rule), _) => rule,
                (None, Some(Value::Bool(false))) if !patterns => {
                    return fail(at, &format!("has `{name}`, which is not allowed"));
                }
                (None, Some(rule)) if !patterns => rule,
                _ => continue,
            };
            at.push(name.clone());
            self.value(rule, value, at, depth + 1)?;
            at.pop();
        }
        Ok(())
    }

    fn array(
        &mut self,
        schema: &'a Map<String, Value>,
        items: &[Value],
        at: &mut Vec<String>,
        depth: usize,
    ) -> Verdict {
        count(schema, "Items", "items", items.len(), at)?;
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        if unique
            && (items.iter().enumerate())
                .any(|(index, item)| items.iter().take(index).any(|other| same(other, item)))
        {
            return fail(at, "has an item twice");
        }
        let prefix = list(schema, "prefixItems");
        for (index, item) in items.iter().enumerate() {
            let Some(rule) = prefix.get(index).or_else(|| schema.get("items")) else {
                continue;
            };
            at.push(index.to_string());
            self.value(rule, item, at, depth + 1)?;
            at.pop();
        }
        Ok(())
    }
}

fn kind(schema: &Map<String, Value>, value: &Value, at: &[String]) -> Verdict {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value
            .as_f64()
            .is_some_and(|number| number.fract() == 0.0 && number.is_finite()),
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(name)) if !is(name) => fail(at, &format!("is not of type `{name}`"))?,
        Some(names @ Value::Array(list)) if !list.iter().filter_map(Value::as_str).any(is) => {
            fail(at, &format!("is of none of the types {names}"))?;
        }
        _ => {}
    }
    if let Some(constant) = schema.get("const")
        && !same(constant, value)
    {
        fail(at, &format!("is not {constant}"))?;
    }
    match schema.get("enum") {
        Some(Value::Array(values)) if !values.iter().any(|other| same(other, value)) => {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            fail(at, &format!("is none of {}", values.join(", ")))
        }
        _ => Ok(()),
    }
}

/// Equal as JSON Schema sees it: 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && (a.iter()).all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn length(schema: &Map<String, Value>, text: &str, at: &[String]) -> Verdict {
    count(schema, "Length", "characters", text.chars().count(), at)
}

/// Checks `min{what}` and `max{what}`.
fn count(
    schema: &Map<String, Value>,
    what: &str,
    unit: &str,
    count: usize,
    at: &[String],
) -> Verdict {
    let limit = |side: &str| schema.get(&format!("{side}{what}")).and_then(Value::as_f64);
    let count = count as f64;
    match (limit("min"), limit("max")) {
        (Some(min), _) if count < min => fail(at, &format!("has fewer than {min} {unit}")),
        (_, Some(max)) if count > max => fail(at, &format!("has more than {max} {unit}")),
        _ => Ok(()),
    }
}

fn range(schema: &Map<String, Value>, number: f64, at: &[String]) -> Verdict {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    if let Some(min) = limit("minimum")
        && number < min
    {
        return fail(at, &format!("is less than {min}"));
    }
    if let Some(max) = limit("maximum")
        && number > max
    {
        return fail(at, &format!("is greater than {max}"));
    }
    if let Some(min) = limit("exclusiveMinimum")
        && number <= min
    {
        return fail(at, &format!("is not greater than {min}"));
    }
    match limit("exclusiveMaximum") {
        Some(max) if number >= max => fail(at, &format!("is not less than {max}")),
        _ => Ok(()),
    }
}

fn list<'a>(schema: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    match schema.get(name) {
        Some(Value::Array(values)) => values,
        _ => &[],
    }
}

fn fail(at: &[String], what: &str) -> Verdict {
    if at.is_empty() {
        return Err(format!("the document {what}"));
    }
    let pointer: String = (at.iter())
        .map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")))
        .collect();
    Err(format!("`{pointer}` {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn violations_say_where() {
        let schema = json!({
            "type": "object",
            "required": ["findings"],
            "additionalProperties": false,
            "properties": {
                "findings": {"type": "array", "items": {"$ref": "#/$defs/finding"}, "minItems": 1},
                "score": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10},
            },
            "$defs": {"finding": {
                "type": "object",
                "required": ["kind"],
                "properties": {"kind": {"enum": ["bug", "smell"]}, "note": {"maxLength": 3}},
            }},
        });
        let problem = |value: Value| check(&schema, &value).unwrap_err();
        assert_eq!(
            check(
                &schema,
                &json!({"findings": [{"kind": "bug"}], "score": 3.0})
            ),
            Ok(())
        );
        assert_eq!(problem(json!([])), "the document is not of type `object`");
        assert_eq!(problem(json!({})), "the document lacks `findings`");
        assert_eq!(
            problem(json!({"findings": []})),
            "`/findings` has fewer than 1 items"
        );
        assert_eq!(
            problem(json!({"findings": [{"kind": "joke"}]})),
            r#"`/findings/0/kind` is none of "bug", "smell""#
        );
        assert_eq!(
            problem(json!({"findings": [{"kind": "bug", "note": "long"}]})),
            "`/findings/0/note` has more than 3 characters"
        );
        assert_eq!(
            problem(json!({"findings": [{"kind": "bug"}], "score": 10})),
            "`/score` is not less than 10"
        );
        assert_eq!(
            problem(json!({"findings": [{"kind": "bug"}], "a/b": 1})),
            "the document has `a/b`, which is not allowed"
        );
    }

    #[test]
    fn a_schema_that_bites_its_tail_ends() {
        let schema = json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]});
        assert_eq!(check(&schema, &json!(1)), Ok(()));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..4).prop_map(Value::from),
            Just(json!(0.5)),
            "[ab]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn schema() -> impl Strategy<Value = Value> {
        let name = prop::sample::select(vec![
            "null", "boolean", "object", "array", "string", "number", "integer",
        ]);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            name.prop_map(|name| json!({"type": name})),
            value().prop_map(|value| json!({"const": value})),
            prop::collection::vec(value(), 1..3).prop_map(|values| json!({"enum": values})),
            (-2i64..3).prop_map(|n| json!({"minimum": n})),
            (-2i64..3).prop_map(|n| json!({"exclusiveMaximum": n})),
            (0u64..3).prop_map(|n| json!({"minLength": n, "maxItems": n, "minProperties": n})),
            Just(json!({"uniqueItems": true})),
            Just(json!({"required": ["a"]})),
            Just(json!({"additionalProperties": false, "properties": {"a": true}})),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({"allOf": all})),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({"anyOf": any})),
                prop::collection::vec(inner.clone(), 1..3).prop_map(|one| json!({"oneOf": one})),
                inner.clone().prop_map(|not| json!({"not": not})),
                inner
                    .clone()
                    .prop_map(|item| json!({"items": item, "type": "array"})),
                (inner.clone(), inner.clone())
                    .prop_map(|(a, rest)| json!({"prefixItems": [a], "items": rest})),
                (inner.clone(), inner).prop_map(
                    |(a, rest)| json!({"properties": {"a": a}, "additionalProperties": rest})
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_full_validator(schema in schema(), value in value()) {
            let full = jsonschema::draft202012::new(&schema).unwrap();
            prop_assert_eq!(
                check(&schema, &value).is_ok(),
                full.is_valid(&value),
                "{} {}", schema, value
            );
        }
    }
}
