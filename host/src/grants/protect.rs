//! Paths in writable directories that stay as they are, in the words of the grants: `protect`, a list of
//! patterns that adds to what is protected anyway, and `no-protect`, which takes all of it away.

use std::fmt;

use crate::error::Hint;

/// Patterns of one run. Those with a `*` in their first name are compared with every path.
const MAX_PATTERNS: usize = 1000;

/// Bytes of one pattern: no path of a guest is longer.
const MAX_BYTES: usize = 4096;

/// Which paths in writable directories an agent cannot change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// What is protected anyway, and what these patterns match, at any depth.
    Standard(Vec<Pattern>),
    /// None, because the operator says so.
    Off,
}

impl Default for Protection {
    fn default() -> Protection {
        Protection::Standard(Vec::new())
    }
}

impl Protection {
    /// Patterns that were added; none when protection is off.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        match self {
            Protection::Standard(patterns) => patterns,
            Protection::Off => &[],
        }
    }
}

/// Names separated by `/`, in which `*` stands for any characters of one name. Protects what it matches at
/// any depth, and everything below.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Protected paths cannot be granted as they were written.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum ProtectError {
    #[error("cannot protect `{pattern}`: {reason}")]
    Pattern {
        pattern: String,
        reason: &'static str,
    },
    #[error("cannot protect {count} patterns: {MAX_PATTERNS} are the most")]
    TooMany { count: usize },
    #[error("cannot protect `{pattern}` and protect nothing at the same time")]
    Contradiction { pattern: String },
}

impl Hint for ProtectError {
    fn hint(&self) -> Option<String> {
        match self {
            ProtectError::Pattern { .. } => {
                Some("write names such as `secrets`, `*.pem` or `deploy/prod`".to_owned())
            }
            ProtectError::TooMany { .. } => {
                Some("protect the directories they have in common".to_owned())
            }
            ProtectError::Contradiction { .. } => {
                Some("give either `protect` or `no-protect`".to_owned())
            }
        }
    }
}

/// Protection from patterns as written, each told once.
///
/// # Errors
///
/// See [`ProtectError`]. Nothing is guessed: a pattern that would protect less than it seems to is refused.
pub fn resolve(patterns: Vec<String>, off: bool) -> Result<Protection, ProtectError> {
    if off {
        return match patterns.into_iter().next() {
            None => Ok(Protection::Off),
            Some(pattern) => Err(ProtectError::Contradiction { pattern }),
        };
    }
    if patterns.len() > MAX_PATTERNS {
        return Err(ProtectError::TooMany {
            count: patterns.len(),
        });
    }
    let mut patterns = patterns
        .into_iter()
        .map(parse)
        .collect::<Result<Vec<_>, _>>()?;
    patterns.sort();
    patterns.dedup();
    Ok(Protection::Standard(patterns))
}

fn parse(text: String) -> Result<Pattern, ProtectError> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_BYTES {
        "it is longer than any path"
    } else if text.starts_with('/') {
        "a pattern holds at any depth of every directory and does not start at a root"
    } else if text.chars().any(char::is_control) {
        "it contains a control character"
    } else if text.contains("**") {
        "`**` has no meaning: a pattern holds at any depth, and for everything below what it matches"
    } else if text.starts_with('!') || text.contains(['?', '[', ']', '{', '}', '\\']) {
        "`*` is the only special character, and `/` the only separator"
    } else if text.trim_end_matches('/').split('/').any(is_nothing) {
        "one of its names has no letter, digit or sign in it"
    } else {
        return Ok(Pattern(text));
    };
    let pattern = text.chars().take(MAX_BYTES).collect();
    Err(ProtectError::Pattern { pattern, reason })
}

/// Whether nothing is left of a name once file systems have ignored what they ignore: what follows a
/// colon, dots and spaces at the end.
fn is_nothing(name: &str) -> bool {
    let name = name.split(':').next().unwrap_or_default();
    // Also characters without width, and with them all that are not plainly part of a name.
    !name
        .chars()
        .any(|c| c == '*' || c.is_alphanumeric() || c.is_ascii_punctuation() && c != '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn standard(patterns: &[&str]) -> Result<Vec<String>, String> {
        let patterns = patterns.iter().map(|text| (*text).to_owned()).collect();
        match resolve(patterns, false) {
            Ok(protection) => Ok(protection
                .patterns()
                .iter()
                .map(Pattern::to_string)
                .collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn patterns_are_told_once_and_in_order() {
        assert_eq!(
            standard(&["secrets", "*.pem", "deploy/prod/", "secrets"]).unwrap(),
            ["*.pem", "deploy/prod/", "secrets"]
        );
        assert_eq!(resolve(Vec::new(), false).unwrap(), Protection::default());
        assert_eq!(resolve(Vec::new(), true).unwrap(), Protection::Off);
    }

    #[test]
    fn what_would_protect_less_than_it_seems_is_refused() {
        for text in [
            "",
            "/",
            "/etc",
            "..",
            "a/../b",
            ".",
            "a//b",
            "./a",
            "**/a",
            "a/**",
            "*.{pem,key}",
            "a?",
            "[ab]",
            "!a",
            "a\\b",
            "a\nb",
            "...",
            " ",
            ":a",
            "\u{200c}",
        ] {
            assert!(standard(&[text]).is_err(), "{text:?}");
        }
        assert!(standard(&["a"; MAX_PATTERNS + 1]).is_err());
        assert!(standard(&[&"a".repeat(MAX_BYTES + 1)]).is_err());
    }

    #[test]
    fn protecting_something_and_nothing_contradicts() {
        let error = resolve(vec!["a".to_owned()], true).unwrap_err();
        assert!(
            matches!(error, ProtectError::Contradiction { .. }),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(text in ".{0,40}") {
            let _ = standard(&[&text]);
        }
    }
}
