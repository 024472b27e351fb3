//! JSON from strangers: one meaning a document, one line a document.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::foreign;

/// Longest piece of foreign text that is quoted in a message, in characters: enough to recognise it.
const QUOTE_MAX: usize = 240;

/// Why a text is not a JSON document with one meaning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Not JSON (RFC 8259), or nested deeper than 128 levels.
    #[error("{reason} at line {line} column {column}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1; 0 at the end of a line.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// An object has a key twice. Parsers disagree about which one counts, so nobody may rely on either.
    #[error("`{path}` is there twice")]
    DuplicateKey {
        /// Path of the second one.
        path: String,
    },
}

impl JsonError {
    fn new(error: &serde_json::Error) -> Self {
        // serde_json appends the position to its message; it is carried apart here.
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default();
        JsonError::Syntax {
            line: error.line(),
            column: error.column(),
            reason: printable(reason),
        }
    }
}

/// Parses one JSON document in which no object has a key twice.
pub(crate) fn parse(text: &str) -> Result<Value, JsonError> {
    foreign::check_built(text.as_bytes()).map_err(|reason| JsonError::Syntax {
        line: 1,
        column: 0,
        reason,
    })?;
    let state = RefCell::new(State::default());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Unique(&state).deserialize(&mut deserializer);
    let parsed = parsed.and_then(|value| deserializer.end().map(|()| value));
    match (parsed, state.into_inner().duplicate) {
        (_, Some(path)) => Err(JsonError::DuplicateKey { path }),
        (Ok(value), None) => Ok(value),
        (Err(error), None) => Err(JsonError::new(&error)),
    }
}

/// The same document without insignificant whitespace, so that it fits on one line. `text` has to be
/// valid JSON; strings and numbers stay byte for byte as they are.
pub(crate) fn minify(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if in_string {
            out.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else if !matches!(c, ' ' | '\t' | '\n' | '\r') {
            in_string = c == '"';
            out.push(c);
        }
    }
    out
}

/// Foreign text as it may be shown: what nobody would see escaped, length bounded.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == QUOTE_MAX {
            out.push('…');
            break;
        }
        crate::unseen::push(&mut out, c);
    }
    out
}

/// The members of a JSON object, in order, each value as its text.
#[derive(Debug)]
pub(crate) struct Members(pub(crate) Vec<(String, Box<RawValue>)>);

impl Members {
    /// Reads an object.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Replaces the member `key`, or appends it.
    pub(crate) fn set(&mut self, key: &str, value: &Value) -> Result<(), serde_json::Error> {
        let value = serde_json::value::to_raw_value(value)?;
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, slot)) => *slot = value,
            None => self.0.push((key.to_owned(), value)),
        }
        Ok(())
    }

    /// The object as text on one line, if its values are.
    pub(crate) fn text(&self) -> Result<String, serde_json::Error> {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut out);
        serde::Serializer::collect_map(&mut serializer, self.0.iter().map(|(k, v)| (k, v)))?;
        String::from_utf8(out).map_err(serde::ser::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Where the parser is, and the first key it met twice.
#[derive(Default)]
struct State {
    path: Vec<Step>,
    duplicate: Option<String>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl State {
    fn path(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if out.is_empty() => out.push_str(key),
                Step::Key(key) => {
                    out.push('.');
                    out.push_str(key);
                }
                Step::Index(index) => out.push_str(&format!("[{index}]")),
            }
        }
        printable(&out)
    }
}

/// Builds a [`Value`] and refuses repeated keys.
struct Unique<'a>(&'a RefCell<State>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::String(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::String(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.0.borrow_mut().path.push(Step::Index(items.len()));
            let item = seq.next_element_seed(Unique(self.0))?;
            self.0.borrow_mut().path.pop();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.0.borrow_mut().path.push(Step::Key(key.clone()));
            if members.contains_key(&key) {
                let mut state = self.0.borrow_mut();
                state.duplicate = Some(state.path());
                return Err(A::Error::custom("duplicate key"));
            }
            let value = map.next_value_seed(Unique(self.0))?;
            self.0.borrow_mut().path.pop();
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeated_keys_are_named_with_their_path() {
        let error = parse(r#"{"a":[{"b":1},{"c":{"d":1,"d":2}}]}"#).unwrap_err();
        assert_eq!(
            error,
            JsonError::DuplicateKey {
                path: "a[1].c.d".into()
            }
        );
        // The same key written with an escape is the same key.
        assert!(matches!(
            parse(r#"{"a":1,"\u0061":2}"#),
            Err(JsonError::DuplicateKey { .. })
        ));
    }

    #[test]
    fn trailing_text_and_deep_nesting_are_syntax_errors() {
        assert!(matches!(parse("{} {}"), Err(JsonError::Syntax { .. })));
        assert!(matches!(
            parse(&"[".repeat(100_000)),
            Err(JsonError::Syntax { .. })
        ));
        assert!(parse(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_ok());
    }

    #[test]
    fn minify_keeps_strings_and_numbers() {
        let text = "{ \"a b\" : \"x \\\" \\\\\" ,\n\t\"n\": 1.50e+10 }";
        assert_eq!(minify(text), r#"{"a b":"x \" \\","n":1.50e+10}"#);
    }

    #[test]
    fn printable_escapes_what_a_terminal_would_obey() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}"), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(printable("a\u{61c}\u{e0041}b"), "a\\u{61c}\\u{e0041}b");
        assert!(printable(&"x".repeat(10_000)).chars().count() <= QUOTE_MAX + 1);
    }

    proptest! {
        #[test]
        fn parse_agrees_with_serde_json(text in "[ \\[\\]{}\",:0-9a-c\\\\.eE+-]{0,40}") {
            match parse(&text) {
                Ok(value) => prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value),
                Err(JsonError::DuplicateKey { .. }) => {}
                Err(JsonError::Syntax { .. }) => prop_assert!(serde_json::from_str::<Value>(&text).is_err()),
            }
        }

        #[test]
        fn minify_keeps_the_meaning(value in any_value()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let small = minify(&pretty);
            prop_assert_eq!(serde_json::to_string(&value).unwrap(), small);
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }
}
