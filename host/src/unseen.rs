//! Characters that a person who reads a text does not see, or sees somewhere else: what shows foreign text asks this
//! table, so that no two of them disagree.
//!
//! It is Unicode's own, by general category and `Default_Ignorable_Code_Point`, in the version that `icu_properties`
//! brings, and the few characters that are blank although Unicode counts them as seen. Letters that look alike in
//! many fonts (`a` and Cyrillic `а`) are seen, and not its business.

use std::fmt::Write as _;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

use crate::digest::Digest;

/// Longest name that is shown whole, in characters. File systems have none that is longer.
const PATH_MAX: usize = 4096;

/// How much of each end of a longer one is shown.
const ENDS: usize = 256;

/// What joins emoji and letters, and chooses between a coloured and a plain form of an emoji.
const JOINERS: [char; 4] = ['\u{200c}', '\u{200d}', '\u{fe0e}', '\u{fe0f}'];

/// Blank in every font, though Unicode counts them as symbols and marks: the empty Braille pattern, the filler of
/// Khitan script, and what stands for an object that is not in the text.
const BLANK: [char; 3] = ['\u{2800}', '\u{16fe4}', '\u{fffc}'];

/// Whether a reader would not see that it is there, or where: control characters, what changes the direction of
/// text, what has no width, spaces other than the keyboard's, and what no font has a picture for.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    is_ignorable(c)
        || BLANK.contains(&c)
        || matches!(
            category(c),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse
                | GeneralCategory::SpaceSeparator
                | GeneralCategory::Surrogate
                | GeneralCategory::Unassigned
        )
}

/// The same for prose, where spaces of every kind are seen as spaces, and joiners belong to emoji and to the
/// scripts of Persia and India. Nothing that names something is shown by this rule: names differ in such characters.
#[must_use]
pub fn is_hidden_in_prose(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    !JOINERS.contains(&c)
        && (is_ignorable(c)
            || matches!(
                category(c),
                GeneralCategory::Control
                    | GeneralCategory::Format
                    | GeneralCategory::LineSeparator
                    | GeneralCategory::ParagraphSeparator
            ))
}

fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// A path or another name on one line, so that two that differ look different as far as hidden characters and spaces
/// go. One that has such characters stands in quotes, with the number of each in its place; so does one that could be
/// mistaken for one in quotes. Of a name longer than any file's, the ends are shown, and the digest of the whole.
#[must_use]
pub fn path(name: &str) -> String {
    let quoted = name.is_empty()
        || name.starts_with([' ', '"'])
        || name.ends_with(' ')
        || name.contains("  ")
        || name.chars().any(|c| c == '\\' || is_hidden(c));
    let length = name.chars().count();
    if length > PATH_MAX {
        let ends = |text: String| if quoted { inside(&text) } else { text };
        let head = ends(name.chars().take(ENDS).collect());
        let tail = ends(name.chars().skip(length - ENDS).collect());
        let digest = Digest::of(name.as_bytes());
        return format!("\"{head}\" … \"{tail}\" ({length} characters, {digest})");
    }
    if quoted {
        format!("\"{}\"", inside(name))
    } else {
        name.to_owned()
    }
}

/// A sentence on one line, with what is hidden in it written by its number.
#[must_use]
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut out, c);
    }
    out
}

/// What stands between the quotes.
fn inside(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c => push(&mut out, c),
        }
    }
    out
}

/// Adds a character as it may be shown.
pub(crate) fn push(out: &mut String, c: char) {
    if is_hidden(c) {
        number(out, c);
    } else {
        out.push(c);
    }
}

/// Adds the number of a character, as Rust and JavaScript write it.
pub fn number(out: &mut String, c: char) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Unicode 17 as `icu_properties` 2.4 has it. A newer version may make assigned what is unassigned here.
    #[test]
    fn what_is_not_seen_is_hidden() {
        for c in [
            '\0',
            '\t',
            '\n',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{80}',
            '\u{9b}', // control characters
            '\u{61c}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}', // direction
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{2060}',
            '\u{2064}',
            '\u{206a}',
            '\u{feff}',
            '\u{ad}', // no width
            '\u{34f}',
            '\u{115f}',
            '\u{1160}',
            '\u{3164}',
            '\u{ffa0}', // joiner and fillers
            '\u{17b4}',
            '\u{17b5}',
            '\u{180b}',
            '\u{180e}',
            '\u{180f}', // Khmer, Mongolian
            '\u{fe00}',
            '\u{fe0f}',
            '\u{e0100}',
            '\u{e01ef}', // variation selectors
            '\u{e0001}',
            '\u{e0020}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0080}',
            '\u{e0fff}', // tags
            '\u{a0}',
            '\u{1680}',
            '\u{2003}',
            '\u{202f}',
            '\u{205f}',
            '\u{3000}', // spaces
            '\u{2028}',
            '\u{2029}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{1bca0}',
            '\u{13430}',
            '\u{2800}',
            '\u{16fe4}',
            '\u{fffc}', // blank
            '\u{e000}',
            '\u{f8ff}',
            '\u{10fffd}',
            '\u{378}',
            '\u{2065}',
            '\u{fff0}',
        ] {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in [
            'a',
            ' ',
            '~',
            'é',
            '\u{301}',
            'я',
            '中',
            '한',
            'ا',
            'न',
            '😀',
            '…',
            '\u{1f3fb}',
        ] {
            assert!(!is_hidden(c), "{c:?}");
            assert!(!is_hidden_in_prose(c), "{c:?}");
        }
    }

    #[test]
    fn prose_keeps_its_emoji_and_its_spaces() {
        for text in [
            "👩\u{200d}💻 ❤\u{fe0f}",
            "می\u{200c}خواهم",
            "50\u{a0}%",
            "🏳\u{fe0f}\u{200d}🌈",
        ] {
            assert!(!text.chars().any(is_hidden_in_prose), "{text}");
        }
        for c in [
            '\u{1b}',
            '\u{61c}',
            '\u{202e}',
            '\u{200b}',
            '\u{ad}',
            '\u{e0041}',
            '\u{3164}',
            '\u{2028}',
        ] {
            assert!(is_hidden_in_prose(c), "{c:?}");
        }
    }

    #[test]
    fn names_that_look_alike_are_quoted() {
        assert_eq!(path("src/main.rs"), "src/main.rs");
        assert_eq!(path("a b/ü"), "a b/ü");
        assert_eq!(path("a\u{200b}b"), r#""a\u{200b}b""#);
        assert_eq!(path(r"a\u{200b}b"), r#""a\\u{200b}b""#);
        assert_eq!(path(" a"), r#"" a""#);
        assert_eq!(path("a "), r#""a ""#);
        assert_eq!(path("a  b"), r#""a  b""#);
        assert_eq!(path("\"a\""), r#""\"a\"""#);
        assert_eq!(path(""), r#""""#);
        let (a, b) = (
            "x".repeat(5000),
            format!("{}y{}", "x".repeat(2500), "x".repeat(2499)),
        );
        assert_ne!(path(&a), path(&b), "the digest is another");
    }

    /// A name, and one that is like it but for hidden characters, spaces and what could pass for an escape.
    fn names() -> impl Strategy<Value = (String, String)> {
        let odd =
            "[ab \"\\\\\\u{ad}\\u{61c}\\u{200b}-\\u{202e}\\u{3164}\\u{fe0f}\\u{e0041}{}u0-9]{0,12}";
        (odd, odd)
    }

    proptest! {
        #[test]
        fn two_names_never_look_alike((a, b) in names()) {
            prop_assert_eq!(a == b, path(&a) == path(&b));
        }

        #[test]
        fn a_shown_name_hides_nothing(name in any::<String>()) {
            prop_assert!(!path(&name).chars().any(is_hidden));
            // It can be read back: what stands there says which name it is.
            if let Some(inner) = path(&name).strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
                let mut text = String::new();
                let mut chars = inner.chars();
                while let Some(c) = chars.next() {
                    match (c, c == '\\') {
                        (_, true) => match chars.next().unwrap() {
                            'u' => {
                                let digits: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                                text.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                            }
                            c => text.push(c),
                        },
                        (c, false) => text.push(c),
                    }
                }
                prop_assert_eq!(text, name);
            } else {
                prop_assert_eq!(path(&name), name);
            }
        }

        #[test]
        fn prose_hides_no_more_than_names(c in any::<char>()) {
            prop_assert!(is_hidden(c) || !is_hidden_in_prose(c));
        }
    }
}
