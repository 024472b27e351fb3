//! Writing TOML that a person reads: values on one line, comments above.

use std::fmt::Write as _;

use serde_json::Value;

/// Longest comment about one thing, in characters.
const MAX: usize = 200;

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A JSON value on one line. TOML has no null: members that are null are left out.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items = items.iter().filter(|item| !item.is_null());
            format!("[{}]", items.map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let members = members.map(|(name, value)| format!("{} = {}", key(name), inline(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The name of a member.
pub(super) fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// Text of others in a comment: on its line, in sight and not too long.
pub(super) fn said(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = text
        .chars()
        .map(|c| if hidden(c) { ' ' } else { c })
        .take(MAX)
        .collect();
    if text.chars().nth(MAX).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// `1 run`, `2 runs`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{0,20}[\\x00-\\x1f\"\\\\\\x7f\\u{80}-\\u{9f}]{0,4}", name in "\\PC{1,8}") {
            let value = json!({ name.clone(): [text.clone(), { "a": true }] });
            let written = format!("{} = {}\n# {}\n", key(&name), inline(&value[&name]), said(&text));
            let read: ::toml::Table = ::toml::from_str(&written).unwrap();
            prop_assert_eq!(serde_json::to_value(&read).unwrap(), value);
        }
    }
}
