//! Strings that look like secrets. What is found is named by kind and length, never quoted.

use std::sync::LazyLock;

use regex::Regex;

use crate::report::{Found, Secret};

/// A shape of secrets.
struct Shape {
    kind: &'static str,
    expression: Regex,
    /// The group of the expression that is the secret.
    group: usize,
    trust: Trust,
}

/// How much the shape alone says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Nothing else looks like this.
    Certain,
    /// What is found also has to look random.
    Guess,
}

/// Longest line that is looked at, in bytes: what is longer was made by a machine.
const MAX_LINE: usize = 16 << 10;
/// Bits a character that a guess must have; words have fewer, keys more.
const MIN_ENTROPY: f64 = 3.2;
/// Words in what stands for a secret in documentation.
const PLACEHOLDERS: [&str; 8] = [
    "example",
    "changeme",
    "placeholder",
    "your",
    "dummy",
    "xxxx",
    "****",
    "secret",
];

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    use Trust::{Certain, Guess};
    [
        ("private key", r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----", 0, Certain),
        ("AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", 0, Certain),
        ("GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})", 0, Certain),
        ("GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}", 0, Certain),
        ("Anthropic key", r"\bsk-ant-[A-Za-z0-9_-]{20,}", 0, Certain),
        ("OpenAI key", r"\bsk-(?:proj-)?[A-Za-z0-9_-]{32,}", 0, Guess),
        ("Slack token", r"\bxox[abprs]-[A-Za-z0-9-]{20,}", 0, Certain),
        ("Google key", r"\bAIza[0-9A-Za-z_-]{35}", 0, Certain),
        ("JSON web token", r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}", 0, Certain),
        ("password in a URL", r"\b[a-z][a-z0-9+.-]{1,20}://[^/\s:@]{1,64}:([^/\s:@]{6,128})@", 1, Guess),
        (
            "assigned secret",
            r#"(?i)(?:passw(?:or)?d|secret|token|api[_-]?key)["']?\s*[:=]\s*["']([^"'\s]{12,256})["']"#,
            1,
            Guess,
        ),
    ]
    .into_iter()
    .filter_map(|(kind, expression, group, trust)| {
        let expression = Regex::new(expression).ok()?;
        Some(Shape { kind, expression, group, trust })
    })
    .collect()
});

pub fn scan(path: &str, content: &str, found: &mut Found<Secret>) {
    for (index, line) in content.lines().enumerate() {
        if let Some((kind, range)) = first(line) {
            found.push(|| Secret {
                path: path.to_owned(),
                line: index + 1,
                kind: kind.to_owned(),
                characters: line.get(range).unwrap_or_default().chars().count(),
            });
        }
    }
}

/// The text with a mark in the place of everything that looks like a secret.
pub fn mask(text: &str) -> String {
    let mut masked = text.to_owned();
    // Each round takes out at least six characters, so this ends.
    while let Some((kind, range)) = first(&masked) {
        masked.replace_range(range, &format!("[{kind}]"));
    }
    masked
}

/// The first secret of a line: its kind and where it is.
fn first(line: &str) -> Option<(&'static str, std::ops::Range<usize>)> {
    if line.len() > MAX_LINE {
        return None;
    }
    SHAPES.iter().find_map(|shape| {
        let captures = shape.expression.captures(line)?;
        let secret = captures.get(shape.group)?;
        let counts = shape.trust == Trust::Certain || looks_random(secret.as_str());
        counts.then(|| (shape.kind, secret.range()))
    })
}

fn looks_random(text: &str) -> bool {
    let lower = text.to_lowercase();
    let stands_for_one = PLACEHOLDERS.iter().any(|word| lower.contains(word))
        || text.contains(['{', '<', '$', '('])
        || !text.contains(|c: char| c.is_ascii_digit());
    !stands_for_one && entropy(text) >= MIN_ENTROPY
}

/// Bits a character, from how often each occurs.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = text.len() as f64;
    (counts.iter().filter(|count| **count > 0))
        .map(|count| f64::from(*count) / length)
        .map(|share| -share * share.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Put together here, so that this file has no string of the kind it looks for.
    fn key() -> String {
        format!("AKIA{}", "IOSFODNN7EXAMPLQ")
    }

    #[test]
    fn known_shapes_are_found() {
        for (line, kind) in [
            (format!("id = {}", key()), "AWS access key"),
            (format!("ghp_{}", "a1B2".repeat(9)), "GitHub token"),
            (
                format!("-----BEGIN RSA {} KEY-----", "PRIVATE"),
                "private key",
            ),
            (
                format!("postgres://bob:{}@db/x", "hunter2xQz9"),
                "password in a URL",
            ),
            (
                format!("api_key = \"{}\"", "9fQ2xLm47vTz81Kd"),
                "assigned secret",
            ),
        ] {
            assert_eq!(first(&line).map(|(kind, _)| kind), Some(kind), "{line}");
        }
    }

    #[test]
    fn what_stands_for_a_secret_is_none() {
        for line in [
            "password = \"your-password-1\"",
            "token: \"${GITHUB_TOKEN_1234}\"",
            "api_key = \"aaaaaaaaaaaaaaaa1\"",
            "secret: 'correct-horse-battery'",
            "https://user:password@example.com",
            "the AKIA prefix marks keys",
        ] {
            assert_eq!(first(line), None, "{line}");
        }
    }

    #[test]
    fn masks_leave_nothing() {
        let text = format!("rotate {} and {}", key(), key());
        assert_eq!(mask(&text), "rotate [AWS access key] and [AWS access key]");
    }
}
