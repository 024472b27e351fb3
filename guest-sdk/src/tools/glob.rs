//! File name patterns, compiled to expressions that match in linear time.

use regex::{Regex, RegexBuilder};

use super::ToolError;

/// Longest pattern that is taken, in bytes.
const MAX_PATTERN: usize = 1024;
/// Memory an expression may compile to, in bytes.
pub(super) const MAX_COMPILED: usize = 1 << 20;

/// A file name pattern: `*`, `?`, `[a-z]`, `[!a-z]`, `**` and `{a,b}`.
///
/// A pattern without `/` is about the last part of a path, at any depth; one with `/` is about the whole
/// path. `*` and `?` do not cross a `/`.
///
/// ```
/// use wasm_agent_sdk::tools::Glob;
/// let sources = Glob::new("*.{rs,toml}").unwrap();
/// assert!(sources.matches("src/lib.rs"));
/// assert!(!sources.matches("src/lib.rs.orig"));
/// assert!(Glob::new("src/**/mod.rs").unwrap().matches("src/mod.rs"));
/// ```
#[derive(Clone, Debug)]
pub struct Glob(Regex);

impl Glob {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`ToolError::Argument`] for one that is malformed or too long.
    pub fn new(pattern: &str) -> Result<Self, ToolError> {
        let problem = |why: String| ToolError::argument("include", why);
        if pattern.len() > MAX_PATTERN {
            return Err(problem(format!("is longer than {MAX_PATTERN} bytes")));
        }
        let anchored = pattern.contains('/');
        let body = expression(
            pattern.strip_prefix('/').unwrap_or(pattern),
            Braces::Choices,
        )
        .ok_or_else(|| problem(format!("is not a glob: `{pattern}`")))?;
        let start = if anchored { "^" } else { "(?:^|/)" };
        RegexBuilder::new(&format!("(?s){start}{body}$"))
            .size_limit(MAX_COMPILED)
            .build()
            .map(Self)
            .map_err(|error| problem(format!("is not a glob: {error}")))
    }

    /// Does it match this path, relative, with `/` between its parts?
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

/// What braces mean in a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Braces {
    /// `{a,b}` is one or the other.
    Choices,
    /// Nothing: they are characters of the name, as in ignore files.
    Plain,
}

/// The regular expression of a pattern, without anchors; none for a pattern that is malformed.
pub(super) fn expression(pattern: &str, braces: Braces) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() * 2);
    let mut rest = pattern;
    let mut depth = 0usize;
    while let Some(character) = rest.chars().next() {
        let at_start = rest.len() == pattern.len() || out.ends_with('/');
        rest = rest.get(character.len_utf8()..)?;
        match character {
            '*' if rest.starts_with('*') => {
                let after = rest.trim_start_matches('*');
                if let Some(deeper) = after.strip_prefix('/').filter(|_| at_start) {
                    out.push_str("(?:.*/)?");
                    rest = deeper;
                } else {
                    out.push_str(if at_start && after.is_empty() {
                        ".*"
                    } else {
                        "[^/]*"
                    });
                    rest = after;
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                let (class, after) = class(rest)?;
                out.push_str(&class);
                rest = after;
            }
            '{' if braces == Braces::Choices => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = rest.get(escaped.len_utf8()..)?;
                out.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4])));
            }
            other => out.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    (depth == 0).then_some(out)
}

/// The class that begins after a `[`, and what follows it.
fn class(rest: &str) -> Option<(String, &str)> {
    let negated = rest.starts_with(['!', '^']);
    let body = if negated { rest.get(1..)? } else { rest };
    // A bracket right at the start is one of the characters.
    let end = body.char_indices().skip(1).find(|(_, c)| *c == ']')?.0;
    let (members, after) = (body.get(..end)?, body.get(end + 1..)?);
    let mut out = String::from(if negated { "[^/" } else { "[" });
    for member in members.chars() {
        // All that could mean something inside a class, except the `-` of a range.
        if member != '-' && member.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(member);
    }
    out.push(']');
    Some((out, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, path, expected) in [
            ("*.rs", "a.rs", true),
            ("*.rs", "a/b/c.rs", true),
            ("*.rs", "a.rs/c", false),
            ("/*.rs", "b/a.rs", false),
            ("src/*.rs", "src/a.rs", true),
            ("src/*.rs", "src/a/b.rs", false),
            ("src/**", "src/a/b.rs", true),
            ("**/b.rs", "b.rs", true),
            ("**/b.rs", "a/ab.rs", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a**b", "axxb", true),
            ("file?.txt", "file1.txt", true),
            ("file?.txt", "file/.txt", false),
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("*.{ts,tsx}", "a.tsx", true),
            ("*.{ts,tsx}", "a.t", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("a.b", "axb", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(
                Glob::new(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        }
        for bad in ["[a", "{a", "a\\", "[z-a]", &"a".repeat(1025)] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[*?\\[\\]{}!,\\\\/a-c^-]{0,24}", path in "[a-c/]{0,8}") {
            if let Ok(glob) = Glob::new(&pattern) {
                let _ = glob.matches(&path);
            }
        }

        #[test]
        fn plain_names_match_themselves(name in "[a-z .()+|$^ü]{1,12}") {
            prop_assert!(Glob::new(&name).unwrap().matches(&name));
        }
    }
}
