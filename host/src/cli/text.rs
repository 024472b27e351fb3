//! Numbers and guests' texts as a person reads them.

use std::time::Duration;

pub(super) use wasm_agent::unseen::path;
use wasm_agent::unseen::{is_hidden_in_prose, number};

/// Longest text of a guest that is shown on one line, in characters.
const MAX_TEXT: usize = 400;

/// Text of a guest on one line: what a terminal obeys instead of showing is taken out, what nobody would see is
/// written by its number. Paths and other names are shown by [`path`].
pub(super) fn printable(text: &str) -> String {
    clipped(text, MAX_TEXT)
}

/// The same, with at most `max` characters of `text`.
pub(super) fn clipped(text: &str, max: usize) -> String {
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown = shown.skip_while(|c| c.is_whitespace());
    let mut line: String = shown.by_ref().take(max).collect();
    if shown.any(|c| !c.is_whitespace()) {
        line.pop();
        line.push('…');
    }
    line.truncate(line.trim_end().len());
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        if is_hidden_in_prose(c) {
            number(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// Text of a guest on its own lines, for a terminal.
pub(super) fn for_terminal(text: &str) -> String {
    text.chars()
        .map(|c| {
            if is_hidden_in_prose(c) && !matches!(c, '\n' | '\t') {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// `1 turn`, `2 turns`.
pub(super) fn plural(count: u64, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

/// `412 µs`, `3.2 ms`, `1.24 s`, `2m 05s`, `3h 07m`.
pub(super) fn duration(time: Duration) -> String {
    let micros = time.as_micros();
    let seconds = time.as_secs();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..100_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => {
            format!(
                "{}.{:02} s",
                micros / 1_000_000,
                micros % 1_000_000 / 10_000
            )
        }
        60_000_000..3_600_000_000 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `now`, `42s ago`, `5m ago`, `3h ago`, `12d ago`.
pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// `512 B`, `48.7 KiB`, `1.0 GiB`.
pub(super) fn size(bytes: u64) -> String {
    let mut unit = 1;
    let mut names = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut name = names.next().unwrap_or_default();
    for larger in names {
        if bytes / unit < 1024 {
            break;
        }
        unit *= 1024;
        name = larger;
    }
    if unit == 1 {
        return format!("{bytes} {name}");
    }
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// `$0.0042`, `$12.30`; nothing when it cost nothing.
pub(super) fn money(dollars: f64) -> Option<String> {
    if dollars <= 0.0 {
        None
    } else if dollars < 0.995 {
        Some(format!("${dollars:.4}"))
    } else {
        Some(format!("${dollars:.2}"))
    }
}

/// `text` in lines of at most `width` characters, broken at spaces.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_guest_writes_commands_a_terminal() {
        let text = "\u{1b}[2Jred\r\n\u{202e}back\u{7}";
        assert_eq!(printable(text), "[2Jred  \\u{202e}back");
        assert_eq!(
            printable("a\u{61c}\u{200b}\u{e0041}"),
            "a\\u{61c}\\u{200b}\\u{e0041}"
        );
        assert_eq!(
            printable("👩\u{200d}💻 ❤\u{fe0f}"),
            "👩\u{200d}💻 ❤\u{fe0f}"
        );
        assert_eq!(
            for_terminal(text),
            "\u{fffd}[2Jred\u{fffd}\n\u{fffd}back\u{fffd}"
        );
        assert_eq!(clipped("äöüß", 4), "äöüß");
        assert_eq!(clipped("äöüßx", 4), "äöü…");
        assert_eq!(clipped("", 0), "");
    }

    #[test]
    fn times_have_the_unit_a_person_would_choose() {
        let shown = |micros| duration(Duration::from_micros(micros));
        assert_eq!(shown(0), "0 µs");
        assert_eq!(shown(999), "999 µs");
        assert_eq!(shown(3_290), "3.2 ms");
        assert_eq!(shown(412_999), "412 ms");
        assert_eq!(shown(1_239_999), "1.23 s");
        assert_eq!(shown(125_000_000), "2m 05s");
        assert_eq!(shown(3_600_000_000 * 3 + 420_000_000), "3h 07m");
    }

    #[test]
    fn sizes_and_money() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(49_845), "48.6 KiB");
        assert_eq!(size(1 << 30), "1.0 GiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
        assert_eq!(money(0.0), None);
        assert_eq!(money(0.000_42).as_deref(), Some("$0.0004"));
        assert_eq!(money(12.3).as_deref(), Some("$12.30"));
    }

    #[test]
    fn words_are_not_broken() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("extraordinary", 3), ["extraordinary"]);
    }
}
