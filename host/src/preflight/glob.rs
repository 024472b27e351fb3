//! Shell patterns over model names: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`.
//!
//! The semantics AVP refers to: a pattern covers the whole name, `*` also covers `/`, an unclosed `[`
//! and a backslash stand for themselves.

/// True when `pattern` covers the whole of `name`.
///
/// Takes at most `pattern * name` steps: after a mismatch only the last `*` is tried one further, since
/// an earlier `*` could not do better.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let tokens = tokens(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut t, mut n) = (0, 0);
    let mut last_star = None;
    loop {
        match (tokens.get(t), name.get(n)) {
            (None, None) => return true,
            (Some(Token::Any), _) => {
                last_star = Some((t, n));
                t += 1;
                continue;
            }
            (Some(token), Some(c)) if token.covers(*c) => {
                t += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        match last_star {
            Some((star, from)) if from < name.len() => {
                last_star = Some((star, from + 1));
                t = star + 1;
                n = from + 1;
            }
            _ => return false,
        }
    }
}

enum Token {
    Any,
    One,
    Exactly(char),
    Of {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Token {
    fn covers(&self, c: char) -> bool {
        match self {
            Token::Any | Token::One => true,
            Token::Exactly(wanted) => *wanted == c,
            Token::Of { ranges, negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        out.push(match c {
            // Neighbouring stars are one: otherwise they would multiply the steps.
            '*' if matches!(out.last(), Some(Token::Any)) => continue,
            '*' => Token::Any,
            '?' => Token::One,
            '[' => match set(rest) {
                Some((token, after)) => {
                    rest = after;
                    token
                }
                None => Token::Exactly('['),
            },
            c => Token::Exactly(c),
        });
    }
    out
}

/// What follows a `[`: the set, and what comes after its `]`. A `]` in first place belongs to the set.
fn set(text: &str) -> Option<(Token, &str)> {
    let (negated, inner) = match text.strip_prefix('!') {
        Some(inner) => (true, inner),
        None => (false, text),
    };
    let first = inner.chars().next()?.len_utf8();
    let end = first + inner.get(first..)?.find(']')?;
    let members: Vec<char> = inner.get(..end)?.chars().collect();
    let mut ranges = Vec::new();
    let mut members = members.as_slice();
    loop {
        match members {
            [] => break,
            [from, '-', to, after @ ..] => {
                ranges.push((*from, *to));
                members = after;
            }
            [one, after @ ..] => {
                ranges.push((*one, *one));
                members = after;
            }
        }
    }
    Some((Token::Of { ranges, negated }, inner.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    #[test]
    fn patterns_cover_whole_names() {
        for (pattern, name, expected) in [
            ("anthropic/*", "anthropic/claude-opus", true),
            ("claude-*", "anthropic/claude-opus", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*/gpt-[45]*", "openai/gpt-4o", true),
            ("*/gpt-[!45]*", "openai/gpt-4o", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[a-c-e]", "-", true),
            ("[a-c-e]", "d", false),
            ("[]a]", "]", true),
            ("[!]]", "]", false),
            ("[abc", "[abc", true),
            ("[]", "[]", true),
            ("[!]", "[!]", true),
            ("[z-a]", "m", false),
            ("a\\*", "a\\xyz", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxcxxb", false),
            ("é?", "éß", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let pattern = "*a".repeat(128);
        assert!(!matches(
            &pattern,
            &"a".repeat(127).repeat(8).replace("aaaaaaaa", "aaaaaaab")[..100]
        ));
        assert!(!matches(
            &format!("{}b", "a*".repeat(127)),
            &"a".repeat(1024)
        ));
    }

    /// The definition, word for word; exponential, for short inputs only.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], _) => (0..=name.len()).any(|skip| naive(rest, &name[skip..])),
            (['?', rest @ ..], [_, tail @ ..]) => naive(rest, tail),
            ([c, rest @ ..], [d, tail @ ..]) => c == d && naive(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_mean_what_the_definition_says(pattern in "[ab*?]{0,7}", name in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), naive(&chars(&pattern), &chars(&name)));
        }

        #[test]
        fn arbitrary_patterns_never_panic(pattern in any::<String>(), name in any::<String>()) {
            let _ = matches(&pattern, &name);
        }
    }
}
