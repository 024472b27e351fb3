//! Foreign strings and values as keys of fixed size, so that what the judge remembers is bounded by the
//! number of events and not by what stands in them.

use serde_json::Value;

/// A collision-resistant stand-in for a string or a value.
pub(super) type Key = [u8; 16];

/// The key of a string.
pub(super) fn of_str(text: &str) -> Key {
    finish(&blake3::hash(text.as_bytes()))
}

/// The key of a value; objects with the same members in another order have the same key.
pub(super) fn of_value(value: &Value) -> Key {
    let mut hasher = blake3::Hasher::new();
    feed(&mut hasher, value);
    finish(&hasher.finalize())
}

fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    // Each value starts with its kind and, where it has parts, their number: no two values feed alike.
    match value {
        Value::Null => drop(hasher.update(b"n")),
        Value::Bool(true) => drop(hasher.update(b"t")),
        Value::Bool(false) => drop(hasher.update(b"f")),
        Value::Number(number) => feed_str(hasher, b"#", &number.to_string()),
        Value::String(text) => feed_str(hasher, b"s", text),
        Value::Array(items) => {
            hasher.update(b"[").update(&items.len().to_le_bytes());
            for item in items {
                feed(hasher, item);
            }
        }
        Value::Object(members) => {
            hasher.update(b"{").update(&members.len().to_le_bytes());
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in members {
                feed_str(hasher, b"k", key);
                feed(hasher, value);
            }
        }
    }
}

fn feed_str(hasher: &mut blake3::Hasher, kind: &[u8], text: &str) {
    hasher
        .update(kind)
        .update(&text.len().to_le_bytes())
        .update(text.as_bytes());
}

fn finish(hash: &blake3::Hash) -> Key {
    let mut key = Key::default();
    key.iter_mut()
        .zip(hash.as_bytes())
        .for_each(|(to, from)| *to = *from);
    key
}
