//! JSON Schemas that decide whether what an agent hands over is what was asked for.
//!
//! The documents are hostile, and so may be a schema that came with a commission: nothing is fetched,
//! patterns are matched in linear time, and the work of one check is bounded. A reference is the one
//! construct that can multiply work or recurse without end, so each one counts a step and looks at the
//! stack when it is followed.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Keyword, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::error::Hint;
use crate::json::{self, JsonError, printable};

/// Greatest schema, in bytes: that of a large API is about as long.
pub const MAX_SCHEMA: usize = 256 << 10;

/// Greatest document that is checked, in bytes.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// Deepest nesting of a schema or a document. Results of agents are a dozen levels deep.
pub const MAX_DEPTH: usize = 64;

/// References one check follows: some hundred milliseconds.
const MAX_STEPS: u64 = 1_000_000;

/// Greatest product of the values in the schema and the values in the document: each pair is looked at
/// once at worst, as far as no references are involved.
const MAX_PAIRS: u64 = 200_000_000;

/// Values of a document up to which the place of the first violation is looked for: that collects
/// violations in memory.
const MAX_LOCATED: u64 = 50_000;

/// References that are followed to find that place.
const MAX_LOCATING_STEPS: u64 = 20_000;

/// Stack of the thread that checks. Only what is used of it takes memory.
const STACK: usize = 32 << 20;

/// Where recursion ends. Between two references there are at most [`MAX_DEPTH`] levels of a schema,
/// which fit into the rest.
const MAX_STACK_USE: usize = 16 << 20;

/// Greatest compiled pattern, in bytes.
const MAX_PATTERN: usize = 1 << 20;

/// The keyword each reference gets beside it.
const STEP: &str = "wasm-agent:step";

/// A schema that documents can be checked against. Cheap to clone.
#[derive(Clone)]
pub struct Schema {
    validator: Arc<Validator>,
    digest: Digest,
    values: u64,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.digest).finish()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Schema) -> bool {
        self.digest == other.digest
    }
}

/// A text is not a schema that can be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum SchemaError {
    #[error("it has more than {MAX_SCHEMA} bytes")]
    TooLarge,
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("it is not valid UTF-8")]
    NotText,
    #[error("it is not JSON: {0}")]
    NotJson(String),
    #[error("`{keyword}` at `{at}` is not supported: {reason}")]
    Unsupported {
        keyword: &'static str,
        at: String,
        reason: &'static str,
    },
    #[error("it is not a JSON Schema: {0}")]
    Invalid(String),
}

impl Hint for SchemaError {
    fn hint(&self) -> Option<String> {
        match self {
            SchemaError::Unsupported { .. } => {
                Some("put everything into one document, and refer to it as `#/$defs/NAME`".into())
            }
            _ => None,
        }
    }
}

/// Why a document is not what a schema asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum Violation {
    #[error("it has more than {MAX_DOCUMENT} bytes")]
    TooLarge,
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("it is not JSON: {0}")]
    NotJson(String),
    #[error("it is empty")]
    Empty,
    #[error("{}{reason}", place(at))]
    Mismatch { at: String, reason: String },
    #[error("it does not match its schema")]
    Unlocated,
    #[error("it takes too much work to check")]
    TooCostly,
    #[error("it could not be checked")]
    Unchecked,
}

/// Where in the document; a pointer to all of it is empty, and nothing to show.
fn place(at: &str) -> String {
    if at.is_empty() {
        String::new()
    } else {
        format!("at `{at}`: ")
    }
}

impl Schema {
    /// Reads a schema. Any draft from 4 to 2020-12; `$schema` says which.
    ///
    /// # Errors
    ///
    /// See [`SchemaError`].
    pub fn parse(text: &[u8]) -> Result<Schema, SchemaError> {
        if text.len() > MAX_SCHEMA {
            return Err(SchemaError::TooLarge);
        }
        let digest = Digest::of(text);
        let text = std::str::from_utf8(text).map_err(|_| SchemaError::NotText)?;
        let mut schema =
            json::parse(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        let size = Size::of(&schema).ok_or(SchemaError::TooDeep)?;
        let ignores_siblings = schema
            .get("$schema")
            .and_then(Value::as_str)
            .is_some_and(|uri| uri.contains("draft-0"));
        let mut metering = Metering { ignores_siblings };
        metering.schema(&mut schema, &mut String::new())?;
        let validator = with_stack(move || compile(&schema))
            .and_then(|thread| thread.join().ok())
            .unwrap_or_else(|| Err("it could not be compiled".to_owned()))
            .map_err(SchemaError::Invalid)?;
        Ok(Schema {
            validator: Arc::new(validator),
            digest,
            values: size.values,
        })
    }

    /// Digest of its text.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Checks a document.
    ///
    /// # Errors
    ///
    /// The first violation, or why it was not looked for. The check goes on for a moment when the
    /// future is dropped; it is bounded.
    pub async fn check(&self, document: Value) -> Result<(), Violation> {
        let size = Size::of(&document).ok_or(Violation::TooDeep)?;
        if size.bytes > MAX_DOCUMENT as u64 {
            return Err(Violation::TooLarge);
        }
        // A long string is looked at byte by byte where there is a pattern.
        let work = size.values + size.bytes / 16;
        if work.saturating_mul(self.values) > MAX_PAIRS {
            return Err(Violation::TooCostly);
        }
        let validator = self.validator.clone();
        let (sender, answer) = tokio::sync::oneshot::channel();
        with_stack(move || {
            // Nobody waits for it any more when the run has been ended meanwhile.
            let _ = sender.send(check(&validator, &document, size.values));
        })
        .ok_or(Violation::Unchecked)?;
        answer.await.unwrap_or(Err(Violation::Unchecked))
    }
}

/// Reads a JSON document within the bounds of a check, whatever its schema.
///
/// # Errors
///
/// Too large, too deep, not JSON, or a key twice.
pub fn document(bytes: &[u8]) -> Result<Value, Violation> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(Violation::TooLarge);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Violation::NotJson("it is not valid UTF-8".to_owned()))?;
    let value = json::parse(text).map_err(|error: JsonError| {
        let message = error.to_string();
        if message.starts_with("recursion limit") {
            Violation::TooDeep
        } else {
            Violation::NotJson(message)
        }
    })?;
    Size::of(&value).ok_or(Violation::TooDeep)?;
    Ok(value)
}

/// Reads a JSON document that has something in it: for where no schema says what is enough.
///
/// # Errors
///
/// As [`document`], and for `null`, `""`, `[]` and `{}`.
pub fn document_with_content(bytes: &[u8]) -> Result<Value, Violation> {
    let value = document(bytes)?;
    let is_empty = match &value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if is_empty {
        return Err(Violation::Empty);
    }
    Ok(value)
}

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(
            PatternOptions::regex()
                .size_limit(MAX_PATTERN)
                .dfa_size_limit(MAX_PATTERN),
        )
        .with_keyword(STEP, |_, _, _| Ok(Box::new(Step)))
        .build(schema)
        .map_err(|error| printable(&error.to_string()))
}

fn check(validator: &Validator, document: &Value, values: u64) -> Result<(), Violation> {
    let base = 0_u8;
    Fuel::fill(MAX_STEPS, address(&base));
    let matches = validator.is_valid(document);
    if Fuel::is_used_up() {
        return Err(Violation::TooCostly);
    }
    if matches {
        return Ok(());
    }
    if values > MAX_LOCATED {
        return Err(Violation::Unlocated);
    }
    Fuel::fill(MAX_LOCATING_STEPS, address(&base));
    let found = validator.validate(document);
    match found {
        Err(error) if !Fuel::is_used_up() => Err(Violation::Mismatch {
            at: printable(&error.instance_path().to_string()),
            reason: match error.kind() {
                // The message would quote the schema, with our keyword in it.
                ValidationErrorKind::Not { .. } => "it matches what it must not".to_owned(),
                // Without the value, which can be megabytes.
                _ => printable(&error.masked().to_string()),
            },
        }),
        _ => Err(Violation::Unlocated),
    }
}

/// A thread with room for the recursion of the validator; nothing when the system has none.
fn with_stack<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<std::thread::JoinHandle<T>> {
    std::thread::Builder::new()
        .name("schema".to_owned())
        .stack_size(STACK)
        .spawn(work)
        .ok()
}

fn address(on_stack: &u8) -> usize {
    std::ptr::from_ref(on_stack).addr()
}

/// What is left to one check. Each has a thread of its own.
#[derive(Clone, Copy)]
struct Fuel {
    steps: u64,
    base: usize,
    used_up: bool,
}

thread_local! {
    static FUEL: Cell<Fuel> = const { Cell::new(Fuel { steps: 0, base: 0, used_up: false }) };
}

impl Fuel {
    fn fill(steps: u64, base: usize) {
        FUEL.set(Fuel {
            steps,
            base,
            used_up: false,
        });
    }

    fn is_used_up() -> bool {
        FUEL.get().used_up
    }

    /// Takes a step; false when there is none left, or no stack.
    fn step() -> bool {
        let here = 0_u8;
        let mut fuel = FUEL.get();
        let deep = fuel.base.abs_diff(address(&here)) > MAX_STACK_USE;
        fuel.used_up |= deep || fuel.steps == 0;
        fuel.steps = fuel.steps.saturating_sub(1);
        FUEL.set(fuel);
        !fuel.used_up
    }
}

struct Step;

impl<'i> Keyword<'i> for Step {
    fn validate(&self, _: &'i Value) -> Result<(), ValidationError<'i>> {
        if Fuel::step() {
            Ok(())
        } else {
            Err(ValidationError::custom("takes too much work to check"))
        }
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        Fuel::step()
    }
}

/// Puts a [`Step`] before each reference.
struct Metering {
    /// In drafts before 2019-09 what stands beside a `$ref` does not count.
    ignores_siblings: bool,
}

impl Metering {
    /// Anything that can be a schema: keywords nobody knows included, as a reference may lead there.
    fn schema(&mut self, value: &mut Value, at: &mut String) -> Result<(), SchemaError> {
        match value {
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    within(at, &n.to_string(), |at| self.schema(item, at))?;
                }
                Ok(())
            }
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    within(at, name, |at| self.keyword(name, member, at))?;
                }
                self.reference(members);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn keyword(
        &mut self,
        name: &str,
        value: &mut Value,
        at: &mut String,
    ) -> Result<(), SchemaError> {
        let refused = |keyword, at: &str, reason| {
            Err(SchemaError::Unsupported {
                keyword,
                at: printable(at),
                reason,
            })
        };
        match (name, &mut *value) {
            ("$ref", Value::String(target)) if target != "#" && !target.starts_with("#/") => {
                refused("$ref", at, "it leads out of the document or to a name")
            }
            ("$dynamicRef", Value::String(_)) => refused("$dynamicRef", at, "use `$ref`"),
            ("$recursiveRef", Value::String(_)) => refused("$recursiveRef", at, "use `$ref`"),
            ("$schema", Value::String(_)) if at != "/$schema" => {
                refused("$schema", at, "it can only stand at the top")
            }
            // The names in these are not keywords.
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
                | "dependencies",
                Value::Object(schemas),
            ) => {
                for (name, schema) in schemas.iter_mut() {
                    within(at, name, |at| self.schema(schema, at))?;
                }
                Ok(())
            }
            // Data. It must stay as it is, and nothing in it may be followed unmetered.
            ("const" | "enum" | "default" | "examples" | "example", data) => {
                if has_reference(data) {
                    return refused("$ref", at, "it stands in data");
                }
                Ok(())
            }
            (_, other) => self.schema(other, at),
        }
    }

    /// `{"$ref": R}` becomes `{"allOf": [{"allOf": [STEP, {"$ref": R}]}]}`. At the end of `allOf`, so
    /// that other references still find what they lead to.
    fn reference(&self, members: &mut Map<String, Value>) {
        if !members.get("$ref").is_some_and(Value::is_string) {
            return;
        }
        let Some(target) = members.remove("$ref") else {
            return;
        };
        if self.ignores_siblings {
            let kept = ["$schema", "$id", "id", "definitions", "$defs"];
            members.retain(|name, _| kept.contains(&name.as_str()));
        }
        let metered = json!({ "allOf": [{ STEP: true }, { "$ref": target }] });
        match members.get_mut("allOf") {
            Some(Value::Array(all)) => all.push(metered),
            // Anything else is refused by the compiler, as it should be.
            Some(_) => {}
            None => {
                members.insert("allOf".to_owned(), json!([metered]));
            }
        }
    }
}

fn has_reference(data: &Value) -> bool {
    match data {
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(members) => members.iter().any(|(name, member)| {
            (matches!(name.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef")
                && member.is_string())
                || has_reference(member)
        }),
        _ => false,
    }
}

fn within<T>(at: &mut String, name: &str, work: impl FnOnce(&mut String) -> T) -> T {
    let length = at.len();
    at.push('/');
    at.push_str(name);
    let done = work(at);
    at.truncate(length);
    done
}

/// How much there is in a document.
#[derive(Clone, Copy, Default)]
struct Size {
    values: u64,
    bytes: u64,
}

impl Size {
    /// Nothing when it is nested too deeply.
    fn of(value: &Value) -> Option<Size> {
        let mut size = Size::default();
        size.add(value, 1).then_some(size)
    }

    fn add(&mut self, value: &Value, depth: usize) -> bool {
        self.values += 1;
        self.bytes += 1;
        if depth > MAX_DEPTH {
            return false;
        }
        match value {
            Value::String(text) => {
                self.bytes += text.len() as u64;
                true
            }
            Value::Array(items) => items.iter().all(|item| self.add(item, depth + 1)),
            Value::Object(members) => members.iter().all(|(name, member)| {
                self.bytes += name.len() as u64;
                self.add(member, depth + 1)
            }),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
