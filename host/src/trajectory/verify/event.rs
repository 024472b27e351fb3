//! One event as the judge sees it.

use serde_json::{Map, Value};

use super::schema::EventType;

/// The parts of an event that the rules about order need, as far as they are there and of the right
/// type. What is not has been reported by the schema's rules already.
pub(super) struct Event<'a> {
    pub(super) kind: EventType,
    pub(super) data: &'a Map<String, Value>,
    pub(super) span: u64,
    /// Zero at the root.
    pub(super) parent: u64,
}

impl<'a> Event<'a> {
    pub(super) fn new(kind: EventType, data: &'a Map<String, Value>) -> Self {
        let id = |key| {
            let text = data.get(key).and_then(Value::as_str).unwrap_or_default();
            u64::from_str_radix(text, 16).unwrap_or_default()
        };
        Self {
            kind,
            data,
            span: id("span_id"),
            parent: id("parent_span_id"),
        }
    }

    pub(super) fn str(&self, key: &str) -> &'a str {
        self.data
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(super) fn step(&self) -> Option<u64> {
        whole(self.data.get("avp.step"))
    }

    /// The objects in a list.
    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> + use<'a> {
        objects(self.data.get(key))
    }
}

/// The objects in a list; none when it is no list.
pub(super) fn objects(value: Option<&Value>) -> impl Iterator<Item = &Map<String, Value>> {
    value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_object)
}

/// A string member, empty when it is not there.
pub(super) fn str_of<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// JSON does not tell 3 and 3.0 apart.
fn whole(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|n| n.fract() == 0.0)?;
        // Steps count events: beyond 2^53 there is nothing to compare.
        format!("{number:.0}").parse().ok()
    })
}
