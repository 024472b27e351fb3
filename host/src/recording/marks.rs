//! Requests that had secrets in them: a mark in the recording stands for what it was put in the place of.
//!
//! A replay has no secrets, and cannot take them out of what the guest asks. The guest may still have one, from a
//! granted directory, say, and ask with it as it did when it was recorded.

use serde_json::Value;

use crate::grants::pattern;

/// What marks begin with; they end with `]`, as [`crate::egress::secrets::Needle::mark`] writes them.
const MARKS: [&str; 2] = ["[secret:", "[placeholder:"];

/// How deep requests are compared.
const DEPTH_MAX: usize = 64;

/// Whether a recorded request is this one, but for what stands in the place of its marks.
pub(crate) fn covers(recorded: &Value, found: &Value) -> bool {
    covers_at(recorded, found, 0)
}

fn covers_at(recorded: &Value, found: &Value, depth: usize) -> bool {
    if recorded == found {
        return true;
    }
    if depth == DEPTH_MAX {
        return false;
    }
    let below = |(one, other): (&Value, &Value)| covers_at(one, other, depth + 1);
    match (recorded, found) {
        (Value::String(text), Value::String(other)) => covers_text(text, other),
        // A number that says a secret has become a text.
        (Value::String(text), Value::Number(other)) => covers_text(text, &other.to_string()),
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len() && ones.iter().zip(others).all(below)
        }
        // In the order in which the same program writes them.
        (Value::Object(ones), Value::Object(others)) => {
            let mut pairs = ones.iter().zip(others);
            ones.len() == others.len()
                && pairs.all(|((name, one), (other_name, other))| {
                    (name == other_name || covers_text(name, other_name)) && below((one, other))
                })
        }
        _ => false,
    }
}

/// What was found, with the marks of the recorded request where those stand for what is there: what differs is
/// something else, and is told without the secrets.
pub(crate) fn marked(recorded: &Value, found: &Value) -> Value {
    marked_at(recorded, found, 0)
}

fn marked_at(recorded: &Value, found: &Value, depth: usize) -> Value {
    match (recorded, found) {
        _ if depth == DEPTH_MAX => found.clone(),
        (Value::Array(ones), Value::Array(others)) => {
            let ones = ones.iter().map(Some).chain(std::iter::repeat(None));
            let pairs = ones.zip(others);
            pairs
                .map(|(one, other)| {
                    one.map_or_else(|| other.clone(), |one| marked_at(one, other, depth + 1))
                })
                .collect()
        }
        (Value::Object(ones), Value::Object(others)) => others
            .iter()
            .map(|(name, other)| {
                let marked = match ones.get(name) {
                    Some(one) => marked_at(one, other, depth + 1),
                    None => other.clone(),
                };
                (name.clone(), marked)
            })
            .collect(),
        _ if covers_at(recorded, found, depth) => recorded.clone(),
        _ => found.clone(),
    }
}

/// Whether a recorded text is this one, but for its marks.
pub(crate) fn covers_text(recorded: &str, found: &str) -> bool {
    let Some(pattern) = as_pattern(recorded) else {
        return recorded == found;
    };
    // A star of its own is a star for nobody.
    let plain = found.replace('*', "\0");
    pattern::covers(&pattern, &plain)
}

/// The text with a star for each mark; nothing when there is none.
fn as_pattern(text: &str) -> Option<String> {
    let mut pattern = String::new();
    let mut rest = text;
    let mut marked = false;
    while let Some((at, end)) = next_mark(rest) {
        pattern.push_str(&rest.get(..at)?.replace('*', "\0"));
        pattern.push('*');
        rest = rest.get(end..)?;
        marked = true;
    }
    pattern.push_str(&rest.replace('*', "\0"));
    marked.then_some(pattern)
}

/// Where the first mark of a text begins and ends.
fn next_mark(text: &str) -> Option<(usize, usize)> {
    let begins = MARKS.iter().filter_map(|mark| {
        let at = text.find(mark)?;
        Some((at, at + mark.len()))
    });
    let (at, name) = begins.min()?;
    let end = text.get(name..)?.find(']')?;
    Some((at, name + end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mark_stands_for_what_was_taken_out_and_for_nothing_else() {
        let recorded = json!({"url": "/a?key=[secret:github]&b=*", "n": [1, "[secret:pin]"]});
        let same = |found: Value| covers(&recorded, &found);
        assert!(same(
            json!({"url": "/a?key=hunter22&b=*", "n": [1, "1234"]})
        ));
        assert!(same(json!({"url": "/a?key=hunter22&b=*", "n": [1, 1234]})));
        assert!(!same(json!({"url": "/a?key=hunter22&b=c", "n": [1, 1234]})));
        assert!(!same(json!({"url": "/b?key=hunter22&b=*", "n": [1, 1234]})));
        assert!(!same(json!({"url": "/a?key=hunter22&b=*", "n": [2, 1234]})));
        assert!(!same(json!({"url": "/a?key=hunter22&b=*", "n": [1]})));
        assert!(covers(
            &json!({"[secret:a]": "[placeholder:b]"}),
            &json!({"hunter22": "x"})
        ));
        assert!(!covers(&json!("a*c"), &json!("abc")));
        assert!(!covers(&json!("[secret:open"), &json!("anything")));
    }

    proptest! {
        #[test]
        fn any_text_is_covered_with_anything_taken_out(text in "\\PC{0,20}", at in 0_usize..21, len in 0_usize..21) {
            prop_assert!(covers_text(&text, &text));
            let chars: Vec<char> = text.chars().collect();
            let at = at.min(chars.len());
            let end = (at + len).min(chars.len());
            let marked: String = chars[..at].iter().chain(&"[secret:x]".chars().collect::<Vec<_>>()).chain(&chars[end..]).collect();
            prop_assert!(covers_text(&marked, &text));
        }

        #[test]
        fn texts_without_marks_are_compared_as_they_are(a in "[ab*\\[]{0,4}", b in "[ab*\\[]{0,4}") {
            prop_assert_eq!(covers_text(&a, &b), a == b);
        }
    }
}
