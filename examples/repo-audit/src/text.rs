//! What counts as text, and how much of it is looked at.

use std::borrow::Cow;

/// Bytes of a file that are scanned.
pub const MAX_BYTES: u64 = 1 << 20;
/// Characters of a line that are quoted.
const MAX_QUOTE: usize = 120;

/// The content as text; none for a file that is not text.
pub fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let probe = bytes.get(..bytes.len().min(8 << 10)).unwrap_or_default();
    (!probe.contains(&0)).then(|| String::from_utf8_lossy(bytes))
}

/// A piece of a line, short and without what a terminal or Markdown would take for its own.
pub fn quote(text: &str) -> String {
    let mut quoted: String = (text.trim().chars())
        .map(|character| match character {
            '`' => '\'',
            control if control.is_control() => ' ',
            other => other,
        })
        .take(MAX_QUOTE)
        .collect();
    if text.trim().chars().count() > MAX_QUOTE {
        quoted.push('…');
    }
    quoted
}
