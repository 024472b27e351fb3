//! Writing TOML that a person reads: values on one line, comments above.

use std::fmt::Write as _;

use serde_json::Value;

use crate::unseen::is_hidden;

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
            // Writing to a `String` cannot fail.
            c if is_hidden(c) => {
                let _ = match u32::from(c) {
                    code @ ..=0xffff => write!(out, "\\u{code:04X}"),
                    code => write!(out, "\\U{code:08X}"),
                };
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
    let mut shown: String = text
        .chars()
        .map(|c| if is_hidden(c) { ' ' } else { c })
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

    #[test]
    fn what_nobody_sees_is_written_by_its_number() {
        let text =
            "a\u{202e}b\u{200b}\u{feff}\u{a0}\u{2028}\u{2066}\u{e0001}\u{3164}é \u{4e2d}\u{1f600}";
        let expected = r#""a\u202Eb\u200B\uFEFF\u00A0\u2028\u2066\U000E0001\u3164é 中😀""#;
        assert_eq!(quoted(text), expected);
        let read: ::toml::Table = ::toml::from_str(&format!("a = {}", quoted(text))).unwrap();
        assert_eq!(read["a"].as_str(), Some(text));
        assert_eq!(quoted("e\u{301}"), "\"e\u{301}\"", "an accent is seen");
        assert_eq!(said("a\u{200b}\u{202e}b"), "a  b");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{0,20}[\\u{200b}-\\u{202e}\\u{e0000}-\\u{e01ef}\\x00-\\x1f\"\\\\\\x7f\\u{80}-\\u{9f}]{0,4}", name in "\\PC{1,8}") {
            let value = json!({ name.clone(): [text.clone(), { "a": true }] });
            let written = format!("{} = {}\n# {}\n", key(&name), inline(&value[&name]), said(&text));
            let read: ::toml::Table = ::toml::from_str(&written).unwrap();
            prop_assert_eq!(serde_json::to_value(&read).unwrap(), value);
        }
    }
}
