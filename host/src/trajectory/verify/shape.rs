//! A small language for what a JSON value must look like, and its checker.

use std::fmt;

use serde_json::{Map, Value};

/// What a value must look like.
pub(super) enum Shape {
    Any,
    Bool,
    Str,
    /// A string that is not empty.
    Text,
    /// `^[a-z0-9_-]+$`
    Slug,
    /// `^[^/]+/.+$`
    Model,
    /// So many lowercase hexadecimal digits.
    Hex(usize),
    /// A whole number from 0.
    Count,
    /// A number from 0.
    Amount,
    /// One of these words.
    Word(&'static [&'static str]),
    Object,
    List(&'static Shape),
    /// A list that is not empty.
    Filled(&'static Shape),
    Map(&'static Shape),
    /// The files of a skill: text by path, `SKILL.md` among them.
    Files,
    /// An object with these members and no others.
    Closed(&'static [Field]),
    /// An object with these members, and any others.
    Open(&'static [Field]),
    /// An object whose `type` says which of these shapes it has.
    Tagged(&'static [(&'static str, Shape)]),
    /// A string, or a list of these.
    StrOr(&'static Shape),
}

/// A member of an object.
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    required: bool,
}

/// A member that has to be there.
pub(super) const fn req(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: true,
    }
}

/// A member that may be absent or `null`.
pub(super) const fn opt(name: &'static str, shape: Shape) -> Field {
    Field {
        name,
        shape,
        required: false,
    }
}

impl Field {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// How a value differs from its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Missing,
    Unknown,
    Invalid,
}

/// Where the checker is.
pub(super) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) fn root(name: &'a str) -> Self {
        Path {
            above: None,
            step: Step::Root(name),
        }
    }

    fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            above: Some(self),
            step: Step::Key(key),
        }
    }

    fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            above: Some(self),
            step: Step::Index(index),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            above.fmt(f)?;
        }
        match self.step {
            Step::Root(name) => f.write_str(name),
            Step::Key(key) if self.above.is_some_and(Path::is_empty) => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl Path<'_> {
    fn is_empty(&self) -> bool {
        matches!(self.step, Step::Root(""))
    }
}

/// Checks `value` and calls `found` for every difference.
pub(super) fn check(
    shape: &Shape,
    value: &Value,
    path: &Path<'_>,
    found: &mut dyn FnMut(Fault, &Path<'_>, &str),
) {
    let expected = match (shape, value) {
        (Shape::Any, _)
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Str | Shape::StrOr(_), Value::String(_))
        | (Shape::Object, Value::Object(_)) => return,
        (Shape::Text, Value::String(s)) if !s.is_empty() => return,
        (Shape::Slug, Value::String(s)) if is_slug(s) => return,
        (Shape::Model, Value::String(s)) if is_model(s) => return,
        (Shape::Hex(digits), Value::String(s)) if is_hex(s, *digits) => return,
        (Shape::Count, Value::Number(n)) if n.as_u64().is_some() || is_whole(n.as_f64()) => return,
        (Shape::Amount, Value::Number(n)) if n.as_f64().is_some_and(|n| n >= 0.0) => return,
        (Shape::Word(words), Value::String(s)) if words.contains(&s.as_str()) => return,
        (Shape::Filled(_), Value::Array(items)) if items.is_empty() => "a list that is not empty",
        (Shape::List(item) | Shape::Filled(item) | Shape::StrOr(item), Value::Array(items)) => {
            for (n, value) in items.iter().enumerate() {
                check(item, value, &path.index(n), found);
            }
            return;
        }
        (Shape::Files, Value::Object(members)) => {
            if !members.contains_key("SKILL.md") {
                found(Fault::Missing, &path.key("SKILL.md"), "is missing");
            }
            return check(&Shape::Map(&Shape::Str), value, path, found);
        }
        (Shape::Map(item), Value::Object(members)) => {
            for (key, value) in members {
                check(item, value, &path.key(key), found);
            }
            return;
        }
        (Shape::Closed(fields), Value::Object(members)) => {
            for key in members.keys() {
                if !fields.iter().any(|field| field.name == key) {
                    found(Fault::Unknown, &path.key(key), "is not known here");
                }
            }
            return check_members(fields, members, path, found);
        }
        (Shape::Open(fields), Value::Object(members)) => {
            return check_members(fields, members, path, found);
        }
        (Shape::Tagged(shapes), Value::Object(members)) => {
            let tag = members.get("type").and_then(Value::as_str);
            match shapes.iter().find(|(name, _)| Some(*name) == tag) {
                Some((_, shape)) => return check(shape, value, path, found),
                None => {
                    return found(
                        Fault::Invalid,
                        &path.key("type"),
                        "is none of the known kinds",
                    );
                }
            }
        }
        (Shape::Bool, _) => "true or false",
        (Shape::Str, _) => "a string",
        (Shape::Text, _) => "a string that is not empty",
        (Shape::Slug, _) => "lowercase letters, digits, `_` and `-`",
        (Shape::Model, _) => "origin/model",
        (Shape::Hex(_), _) => "an id in lowercase hexadecimal",
        (Shape::Count, _) => "a whole number from 0",
        (Shape::Amount, _) => "a number from 0",
        (Shape::Word(_), _) => "one of the words AVP defines",
        (Shape::List(_) | Shape::Filled(_), _) => "a list",
        (Shape::StrOr(_), _) => "a string or a list",
        (
            Shape::Object
            | Shape::Files
            | Shape::Map(_)
            | Shape::Closed(_)
            | Shape::Open(_)
            | Shape::Tagged(_),
            _,
        ) => "an object",
    };
    found(Fault::Invalid, path, &format!("expected {expected}"));
}

fn check_members(
    fields: &[Field],
    members: &Map<String, Value>,
    path: &Path<'_>,
    found: &mut dyn FnMut(Fault, &Path<'_>, &str),
) {
    for field in fields {
        match members.get(field.name) {
            Some(Value::Null) | None if !field.required => {}
            None => found(Fault::Missing, &path.key(field.name), "is missing"),
            Some(value) => check(&field.shape, value, &path.key(field.name), found),
        }
    }
}

fn is_slug(s: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    !s.is_empty() && s.bytes().all(allowed)
}

fn is_model(s: &str) -> bool {
    s.split_once('/').is_some_and(|(origin, name)| {
        !origin.is_empty() && !name.is_empty() && !name.contains('\n')
    })
}

fn is_hex(s: &str, digits: usize) -> bool {
    s.len() == digits && s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// JSON does not tell 3 and 3.0 apart.
fn is_whole(number: Option<f64>) -> bool {
    number.is_some_and(|n| n >= 0.0 && n.fract() == 0.0)
}
