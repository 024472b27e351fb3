//! Requests as they stand in a recording: whole in structure, long texts as digests.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::digest::Digest;

/// Texts up to this many bytes are kept as they are; of longer ones the digest and the length.
pub const TEXT_MAX: usize = 256;

/// How deep two requests are compared; what lies deeper is compared as a whole.
const DEPTH_MAX: usize = 64;

/// The request as it is kept: a conversation is sent again with every turn, and keeping all of its text each
/// time would make recordings grow with its square. Two requests that differ still differ.
#[must_use]
pub fn abridged(request: Value) -> Value {
    match request {
        Value::String(text) if text.len() > TEXT_MAX => {
            let mut map = Map::new();
            map.insert("bytes".to_owned(), text.len().into());
            map.insert(
                "digest".to_owned(),
                Digest::of(text.as_bytes()).to_string().into(),
            );
            Value::Object(map)
        }
        Value::Array(items) => items.into_iter().map(abridged).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, abridged(value)))
            .collect(),
        value => value,
    }
}

/// The first place two documents differ in, and what is there on each side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstDifference {
    /// `messages[3].content`; empty for the document itself.
    pub path: String,
    /// On the one side, as JSON; nothing when it is missing.
    pub expected: Option<String>,
    /// On the other side.
    pub found: Option<String>,
}

/// Compares two documents. Members of objects have no order.
#[must_use]
pub fn first_difference(expected: &Value, found: &Value) -> Option<FirstDifference> {
    let mut path = String::new();
    differ(&mut path, Some(expected), Some(found), 0)
}

fn differ(
    path: &mut String,
    expected: Option<&Value>,
    found: Option<&Value>,
    depth: usize,
) -> Option<FirstDifference> {
    if expected == found {
        return None;
    }
    let here = path.len();
    match (expected, found) {
        (Some(Value::Object(a)), Some(Value::Object(b))) if depth < DEPTH_MAX => {
            let names = a
                .keys()
                .chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                if here > 0 {
                    path.push('.');
                }
                path.push_str(name);
                let difference = differ(path, a.get(name), b.get(name), depth + 1);
                if difference.is_some() {
                    return difference;
                }
                path.truncate(here);
            }
            None
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if depth < DEPTH_MAX => {
            for index in 0..a.len().max(b.len()) {
                // Writing to a `String` cannot fail.
                let _ = write!(path, "[{index}]");
                let difference = differ(path, a.get(index), b.get(index), depth + 1);
                if difference.is_some() {
                    return difference;
                }
                path.truncate(here);
            }
            None
        }
        _ => Some(FirstDifference {
            path: path.clone(),
            expected: expected.map(Value::to_string),
            found: found.map(Value::to_string),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn first(a: &Value, b: &Value) -> (String, Option<String>, Option<String>) {
        let found = first_difference(a, b).unwrap();
        (found.path, found.expected, found.found)
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let a = json!({"model": "m", "messages": [{"content": "a"}, {"content": "b"}]});
        let b = json!({"messages": [{"content": "a"}, {"content": "c"}], "model": "m"});
        assert_eq!(
            first(&a, &b),
            (
                "messages[1].content".to_owned(),
                Some("\"b\"".to_owned()),
                Some("\"c\"".to_owned())
            )
        );
        assert_eq!(
            first(&json!([1]), &json!([1, 2])),
            ("[1]".to_owned(), None, Some("2".to_owned()))
        );
        assert_eq!(
            first(&json!({"a": 1}), &json!({})),
            ("a".to_owned(), Some("1".to_owned()), None)
        );
        assert_eq!(first(&json!(1), &json!(null)).0, "");
        assert_eq!(first_difference(&a, &a), None);
    }

    #[test]
    fn long_texts_are_kept_as_digests() {
        let long = "x".repeat(TEXT_MAX + 1);
        let kept = abridged(json!({"short": "x", "long": [long]}));
        assert_eq!(kept["short"], "x");
        assert_eq!(kept["long"][0]["bytes"], TEXT_MAX + 1);
        let other = abridged(json!({"short": "x", "long": [format!("{long}!")]}));
        assert_eq!(
            first_difference(&kept, &other).unwrap().path,
            "long[0].bytes"
        );
    }

    proptest! {
        #[test]
        fn texts_that_differ_still_do(a in "[ab]{250,260}", b in "[ab]{250,260}") {
            let same = abridged(json!(a.clone())) == abridged(json!(b.clone()));
            prop_assert_eq!(same, a == b);
        }
    }
}
