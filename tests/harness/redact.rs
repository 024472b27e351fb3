//! Takes out of a text what differs from one run to the next.

use std::path::Path;

/// Replaces paths, ids, times and digests by names. Written by hand: the few patterns there are have
/// fixed shapes.
pub(crate) fn redact(text: &str, lab: &Path) -> String {
    let text = text.replace(lab.to_str().unwrap(), "[LAB]");
    let guests = Path::new(wasm_agent_test_artifacts::TRAPS)
        .parent()
        .unwrap();
    let text = text.replace(guests.to_str().unwrap(), "[GUESTS]");
    let text = text.replace(guests.parent().unwrap().to_str().unwrap(), "[GUESTS]");
    text.lines()
        .map(|text| line(text.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

fn line(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        if let Some(after) = measured_time(rest) {
            shown.push_str("[TIME]");
            rest = after;
            continue;
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        shown.push_str(&redacted(word));
        let end = after.find(is_word).unwrap_or(after.len());
        let (between, after) = after.split_at(end);
        shown.push_str(between);
        rest = after;
    }
    shown
}

/// What comes after a measured time, if one stands here. It has a space in it; `200ms` and `1m` are
/// limits somebody set.
fn measured_time(text: &str) -> Option<&str> {
    let (number, after) = text.split_once(' ')?;
    number.parse::<f64>().ok()?;
    let end = after
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(after.len());
    let (unit, after) = after.split_at(end);
    matches!(unit, "s" | "ms" | "µs" | "ns").then_some(after)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '.')
}

fn redacted(word: &str) -> String {
    let is_hex = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if word.len() == 64 && is_hex(word) {
        return "[DIGEST]".to_owned();
    }
    if let Some(id) = word.strip_prefix("run-")
        && id.len() == 16
        && is_hex(id)
    {
        return "[RUN]".to_owned();
    }
    let parts: Vec<&str> = word.split('-').collect();
    if let [day, time, random] = parts.as_slice()
        && (day.len(), time.len(), random.len()) == (8, 6, 8)
        && is_hex(&parts.concat())
    {
        return "[SESSION]".to_owned();
    }
    word.to_owned()
}

#[test]
fn what_differs_is_taken_out_and_nothing_else() {
    let lab = Path::new("/tmp/lab");
    for (text, expected) in [
        ("converged · 841 µs", "converged · [TIME]"),
        ("1.5 s (12 turns)", "[TIME] (12 turns)"),
        ("limit `cpu` reached (200ms)", "limit `cpu` reached (200ms)"),
        (
            "run: /tmp/lab/runs/20261121-053000-1f3a9c07",
            "run: [LAB]/runs/[SESSION]",
        ),
        ("run-0123456789abcdef!", "[RUN]!"),
        ("  indented ,  text.", "  indented ,  text."),
    ] {
        assert_eq!(redact(text, lab), expected);
    }
}
