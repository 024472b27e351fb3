use proptest::prelude::*;

use super::*;

fn schema(schema: &Value) -> Schema {
    Schema::parse(schema.to_string().as_bytes()).unwrap()
}

fn refused(schema: &Value) -> SchemaError {
    Schema::parse(schema.to_string().as_bytes()).unwrap_err()
}

fn verdict(schema: &Schema, document: Value) -> Result<(), Violation> {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(schema.check(document))
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
}

#[test]
fn the_place_of_the_first_violation_is_named_and_the_value_is_not() {
    let schema = schema(&json!({
        "type": "object",
        "required": ["findings"],
        "properties": { "findings": { "items": { "$ref": "#/$defs/finding" } } },
        "$defs": { "finding": { "properties": { "line": { "type": "integer" } } } },
    }));
    assert_eq!(
        verdict(&schema, json!({ "findings": [{ "line": 1 }] })),
        Ok(())
    );
    let violation = verdict(&schema, json!({ "findings": [{}, { "line": "s3cr3t" }] }));
    let message = violation.unwrap_err().to_string();
    assert!(message.starts_with("at `/findings/1/line`: "), "{message}");
    assert!(
        message.contains("integer") && !message.contains("s3cr3t"),
        "{message}"
    );
    let message = verdict(&schema, json!({})).unwrap_err().to_string();
    assert!(message.contains("findings"), "{message}");
    let not = Schema::parse(br##"{"not":{"$ref":"#/$defs/a"},"$defs":{"a":{"const":1}}}"##);
    let message = verdict(&not.unwrap(), json!(1)).unwrap_err().to_string();
    assert_eq!(message, "it matches what it must not");
}

#[test]
fn references_mean_in_each_draft_what_they_meant_there() {
    let document = || json!({ "a": "long" });
    // Beside a reference nothing counted before 2019-09; from then on everything does.
    let body = json!({
        "properties": { "a": { "$ref": "#/definitions/text", "maxLength": 1 } },
        "definitions": { "text": { "type": "string" } },
    });
    let mut old = body.clone();
    old["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    assert_eq!(verdict(&schema(&old), document()), Ok(()));
    assert!(verdict(&schema(&old), json!({ "a": 1 })).is_err());
    assert!(verdict(&schema(&body), document()).is_err());
    // Generators put the root beside its definitions.
    let root = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/text",
        "definitions": { "text": { "type": "string" } },
    });
    assert_eq!(verdict(&schema(&root), json!("x")), Ok(()));
    assert!(verdict(&schema(&root), json!(1)).is_err());
    // What a reference evaluates counts as evaluated.
    let closed = json!({
        "$ref": "#/$defs/a", "unevaluatedProperties": false,
        "$defs": { "a": { "properties": { "a": true } } },
    });
    assert_eq!(verdict(&schema(&closed), document()), Ok(()));
    assert!(verdict(&schema(&closed), json!({ "b": 1 })).is_err());
}

#[test]
fn recursive_schemas_work_and_endless_ones_end() {
    let tree = schema(&json!({
        "properties": { "a": { "$ref": "#" } }, "type": ["object", "integer"],
    }));
    assert_eq!(verdict(&tree, nested(50)), Ok(()));
    assert!(matches!(
        verdict(&tree, json!({ "a": { "a": "x" } })),
        Err(Violation::Mismatch { at, .. }) if at == "/a/a"
    ));
    for endless in [
        json!({ "$ref": "#" }),
        json!({ "$schema": "http://json-schema.org/draft-07/schema#", "$ref": "#" }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "not": { "$ref": "#" } }),
        json!({ "$ref": "#/$defs/a", "$defs": {
            "a": { "$ref": "#/$defs/b" }, "b": { "allOf": [{ "$ref": "#/$defs/a" }] } } }),
    ] {
        // Either it is recognised as meaningless, or it ends for want of fuel: never in an overflow.
        if let Ok(schema) = Schema::parse(endless.to_string().as_bytes()) {
            let _ = verdict(&schema, json!({ "a": 1 }));
        }
    }
}

#[test]
fn work_that_doubles_with_each_level_is_cut_off() {
    let doubling = schema(&json!({
        "properties": { "a": { "allOf": [{ "$ref": "#" }, { "$ref": "#" }] } },
    }));
    assert_eq!(verdict(&doubling, nested(5)), Ok(()));
    // It ends: as a whole, or cut off. Taking each reference would take 2^60 steps.
    let verdict_of_deep = verdict(&doubling, nested(60));
    assert!(
        matches!(verdict_of_deep, Ok(()) | Err(Violation::TooCostly)),
        "{verdict_of_deep:?}"
    );
    let list = schema(&json!({ "items": { "$ref": "#/$defs/a" }, "$defs": { "a": true } }));
    let items = |count| Value::from(vec![1; count]);
    assert_eq!(verdict(&list, items(1000)), Ok(()));
    assert_eq!(verdict(&list, items(1_000_001)), Err(Violation::TooCostly));
    let many: Vec<_> = (0..2000).map(|n| json!({ "const": n })).collect();
    let wide = schema(&json!({ "items": { "anyOf": many } }));
    let items = vec![json!("x"); 200_000];
    assert_eq!(verdict(&wide, items.into()), Err(Violation::TooCostly));
}

#[test]
fn a_long_chain_of_references_does_not_exhaust_the_stack() {
    for (count, descend) in [(5000, false), (3000, true)] {
        let defs: Map<_, _> = (0..count)
            .map(|n| {
                let next = json!({ "$ref": format!("#/$defs/{}", (n + 1) % count) });
                let schema = if descend {
                    json!({ "not": { "properties": { "a": next } } })
                } else {
                    json!({ "not": next })
                };
                (n.to_string(), schema)
            })
            .collect();
        let text = json!({ "$ref": "#/$defs/0", "$defs": defs }).to_string();
        let parsed = Schema::parse(text.as_bytes());
        assert_ne!(parsed.as_ref().err(), Some(&SchemaError::TooLarge));
        if let Ok(schema) = parsed {
            let _ = verdict(&schema, nested(60));
        }
    }
}

#[test]
fn schemas_that_lead_elsewhere_are_refused() {
    for (schema, keyword) in [
        (json!({ "$ref": "http://example.org/s.json" }), "$ref"),
        (json!({ "$ref": "file:///etc/passwd" }), "$ref"),
        (json!({ "items": { "$ref": "other.json#/a" } }), "$ref"),
        (json!({ "$dynamicRef": "#a" }), "$dynamicRef"),
        (json!({ "enum": [{ "$ref": "#" }] }), "$ref"),
        (
            json!({ "properties": { "a": { "$schema": "http://json-schema.org/draft-07/schema#" } } }),
            "$schema",
        ),
    ] {
        let error = refused(&schema);
        assert!(
            matches!(&error, SchemaError::Unsupported { keyword: found, .. } if *found == keyword),
            "{schema}: {error}"
        );
    }
    // A property may have any name.
    let named = json!({ "properties": { "$ref": { "type": "string" }, "enum": { "$ref": "#/$defs/a" } },
        "$defs": { "a": { "type": "integer" } } });
    let named = schema(&named);
    assert!(verdict(&named, json!({ "enum": "x" })).is_err());
    assert_eq!(verdict(&named, json!({ "enum": 1, "$ref": "x" })), Ok(()));
}

#[test]
fn what_is_no_schema_is_refused() {
    for text in [
        "",
        "{",
        "[]",
        "1",
        r#"{"type":"nonsense"}"#,
        r#"{"type":1}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"pattern":"("}"#,
        r#"{"pattern":"(?=x)"}"#,
        r##"{"$ref":"#/$defs/none"}"##,
        r#"{"$schema":"https://example.org/mine"}"#,
    ] {
        assert!(Schema::parse(text.as_bytes()).is_err(), "{text}");
    }
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(MAX_SCHEMA));
    assert_eq!(
        Schema::parse(long.as_bytes()).unwrap_err(),
        SchemaError::TooLarge
    );
    assert_eq!(
        refused(&(0..70).fold(json!({}), |s, _| json!({ "not": s }))),
        SchemaError::TooDeep
    );
    assert_eq!(
        Schema::parse(b"\"\xff\"").unwrap_err(),
        SchemaError::NotText
    );
}

#[test]
fn documents_are_bounded_and_have_one_meaning() {
    assert!(document(br#"{"a":1}"#).is_ok());
    assert!(matches!(document(br#"{"a":1"#), Err(Violation::NotJson(_))));
    assert!(matches!(
        document(br#"{"a":1,"a":2}"#),
        Err(Violation::NotJson(_))
    ));
    assert!(matches!(document(b"\xff"), Err(Violation::NotJson(_))));
    for empty in ["{}", "[]", "\"\"", "null"] {
        assert!(
            document(empty.as_bytes()).is_ok(),
            "a schema may allow {empty}"
        );
        let refused = document_with_content(empty.as_bytes());
        assert_eq!(refused, Err(Violation::Empty), "{empty}");
    }
    for levels in [65, 127, 100_000] {
        let deep = format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(
            document(deep.as_bytes()),
            Err(Violation::TooDeep),
            "{levels}"
        );
    }
    assert_eq!(
        document(&vec![b' '; MAX_DOCUMENT + 1]),
        Err(Violation::TooLarge)
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec![
        "$ref",
        "allOf",
        "anyOf",
        "not",
        "properties",
        "$defs",
        "a",
        "items",
        "const",
        "enum",
        "type",
        "$schema",
        "required",
        "pattern",
        "$id",
    ]);
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(1)),
        Just(Value::Null),
        Just(json!("#")),
        Just(json!("#/$defs/a")),
        Just(json!("#/properties/a")),
        Just(json!("string")),
        Just(json!("object")),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(name, member)| (name.to_owned(), member))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_schema_and_no_document_is_too_much(schema in any_json(), document in any_json()) {
        if let Ok(schema) = Schema::parse(schema.to_string().as_bytes()) {
            let _ = verdict(&schema, document);
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Schema::parse(&bytes);
        let _ = document(&bytes);
    }
}
