//! Cutting text to a budget of tokens, in the middle.

/// The budget of a tool's output, in tokens.
pub const DEFAULT_MAX_TOKENS: usize = 10_000;

/// A token is taken to be four bytes, whatever the model.
const BYTES_PER_TOKEN: usize = 4;

/// How many tokens a text is taken to be: a fourth of its bytes, rounded up.
#[must_use]
pub fn token_count(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN)
}

/// Cuts a text that is over the budget in the middle, so that its beginning and its end stay.
///
/// What fits comes back as it is. Otherwise the answer is `Total output lines: L`, an empty line, as
/// many bytes of the beginning as half of the budget allows, `…K tokens truncated…`, and as many bytes
/// of the end. `K` is what the text is over the budget by, in tokens, rounded up. Characters are never
/// split, so up to six bytes of the budget can stay unused. With a budget of 0 only the mark is left.
///
/// ```
/// use wasm_agent_sdk::tools::truncate;
/// assert_eq!(truncate("abcdefghijkl", 2), "Total output lines: 1\n\nabcd…1 tokens truncated…ijkl");
/// ```
#[must_use]
pub fn truncate(text: &str, max_tokens: usize) -> String {
    let budget = max_tokens.saturating_mul(BYTES_PER_TOKEN);
    if text.len() <= budget {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(budget / 2);
    let tail = text.ceil_char_boundary(text.len() - (budget - budget / 2));
    let removed = (text.len() - budget).div_ceil(BYTES_PER_TOKEN);
    let lines = text.lines().count();
    let (prefix, suffix) = (text.get(..head), text.get(tail..));
    format!(
        "Total output lines: {lines}\n\n{}…{removed} tokens truncated…{}",
        prefix.unwrap_or_default(),
        suffix.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_four_bytes() {
        let counts = ["", "a", "abcd", "abcde", "…"].map(token_count);
        assert_eq!(counts, [0, 1, 1, 2, 1]);
    }

    #[test]
    fn the_default_budget_keeps_head_and_tail() {
        let text = format!("HEAD{}TAIL", "x".repeat(50_000));
        let cut = truncate(&text, DEFAULT_MAX_TOKENS);
        assert!(cut.starts_with("Total output lines: 1\n\nHEAD"));
        assert!(cut.ends_with("TAIL"));
        assert!(cut.contains("…2502 tokens truncated…"));
    }

    #[test]
    fn no_budget_leaves_the_mark() {
        assert_eq!(
            truncate("one\ntwo\n", 0),
            "Total output lines: 2\n\n…2 tokens truncated…"
        );
        assert_eq!(truncate("", 0), "");
    }

    #[test]
    fn characters_stay_whole() {
        // Half of the budget is two bytes, and each character is three.
        let cut = truncate("€€€€", 1);
        assert_eq!(cut, "Total output lines: 1\n\n…2 tokens truncated…");
    }

    proptest! {
        #[test]
        fn the_budget_is_kept(text in "\\PC{0,400}", max in 0usize..120) {
            let budget = max * 4;
            let cut = truncate(&text, max);
            if text.len() <= budget {
                prop_assert_eq!(cut, text);
                return Ok(());
            }
            let removed = (text.len() - budget).div_ceil(4);
            let mark = format!("…{removed} tokens truncated…");
            let body = cut.split_once("\n\n").unwrap().1;
            // The text can contain a mark of its own; one of the places has to fit.
            let fits = body.match_indices(&mark).any(|(at, _)| {
                let (prefix, suffix) = (&body[..at], &body[at + mark.len()..]);
                text.starts_with(prefix)
                    && text.ends_with(suffix)
                    && prefix.len() <= budget / 2
                    && suffix.len() <= budget - budget / 2
                    && prefix.len() + suffix.len() + 6 >= budget
            });
            prop_assert!(fits, "{}", cut);
        }
    }
}
