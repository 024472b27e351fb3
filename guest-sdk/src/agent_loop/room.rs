//! How long a conversation is, and how it is made shorter.

use crate::model::{InputBlock, Message};
use crate::trajectory::{ContentBlock, ResultBlock, ToolResult};

/// A token is taken to be four bytes, whatever the model.
const BYTES_PER_TOKEN: usize = 4;
/// What a picture, a sound or a document is taken to cost: providers count them by size, which is theirs
/// to know.
const MEDIUM_TOKENS: usize = 1_500;
/// Characters that are left of a result that is shortened.
const KEPT_CHARS: usize = 200;

/// About how many tokens the messages are.
pub(super) fn tokens(messages: &[Message]) -> usize {
    messages.iter().map(message).sum()
}

fn message(message: &Message) -> usize {
    match message {
        Message::User(blocks) => blocks.iter().map(input).sum(),
        Message::Assistant(blocks) => blocks.iter().map(content).sum(),
    }
}

fn input(block: &InputBlock) -> usize {
    match block {
        InputBlock::Text(text) => text_tokens(text),
        InputBlock::ToolResult(result) => result_tokens(result),
        InputBlock::Image(_) | InputBlock::Audio(_) | InputBlock::Document(_) => MEDIUM_TOKENS,
    }
}

fn content(block: &ContentBlock) -> usize {
    match block {
        ContentBlock::Text(text) | ContentBlock::Refusal(text) | ContentBlock::Other(text) => {
            text_tokens(text)
        }
        ContentBlock::Thinking(thinking) => {
            text_tokens(&thinking.thinking)
                + text_tokens(thinking.signature.as_deref().unwrap_or_default())
        }
        ContentBlock::ToolUse(call) | ContentBlock::ServerToolUse(call) => {
            text_tokens(&call.name) + text_tokens(&call.input)
        }
        ContentBlock::ServerToolResult(result) => text_tokens(&result.content),
        ContentBlock::Image(_)
        | ContentBlock::Audio(_)
        | ContentBlock::Video(_)
        | ContentBlock::Document(_) => MEDIUM_TOKENS,
    }
}

fn result_tokens(result: &ToolResult) -> usize {
    (result.content.iter())
        .map(|block| match block {
            ResultBlock::Text(text) => text_tokens(text),
            ResultBlock::Image(_) | ResultBlock::Document(_) => MEDIUM_TOKENS,
        })
        .sum()
}

fn text_tokens(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN)
}

/// Shortens the results of tools, the oldest first, until about `enough` tokens are saved; those of the
/// last message only when the others do not suffice. Answers with what was saved.
pub(super) fn shorten(messages: &mut [Message], enough: usize) -> usize {
    let mut saved = 0;
    for message in messages {
        let Message::User(blocks) = message else {
            continue;
        };
        for block in blocks {
            if saved >= enough {
                return saved;
            }
            if let InputBlock::ToolResult(result) = block {
                saved += shorten_result(result);
            }
        }
    }
    saved
}

/// Leaves the beginning of the first text, and a note. Answers with the tokens that are saved.
fn shorten_result(result: &mut ToolResult) -> usize {
    let before = result_tokens(result);
    let text = result.content.iter().find_map(|block| match block {
        ResultBlock::Text(text) => Some(text.as_str()),
        _ => None,
    });
    let text = text.unwrap_or_default();
    let end = (text.char_indices().nth(KEPT_CHARS)).map_or(text.len(), |(at, _)| at);
    let kept = text.get(..end).unwrap_or_default();
    let short =
        format!("{kept}\n[left out to make room; call the tool again if you need all of it]");
    let after = text_tokens(&short);
    if after >= before {
        return 0;
    }
    result.content = vec![ResultBlock::Text(short)];
    result.structured = None;
    before - after
}

/// Keeps the beginning and the end of the texts of a result that is longer than `max` tokens.
pub(super) fn cut(result: &mut ToolResult, max: usize) {
    let mut left = max.saturating_mul(BYTES_PER_TOKEN);
    for block in &mut result.content {
        let ResultBlock::Text(text) = block else {
            continue;
        };
        if text.len() > left {
            let head = text.floor_char_boundary(left / 2);
            let tail = text.ceil_char_boundary(text.len() - (left - left / 2));
            let gone = (tail - head).div_ceil(BYTES_PER_TOKEN);
            *text = format!(
                "{}…{gone} tokens truncated…{}",
                text.get(..head).unwrap_or_default(),
                text.get(tail..).unwrap_or_default()
            );
            left = 0;
        } else {
            left -= text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result(id: &str, text: &str) -> Message {
        Message::results([ToolResult::text(id, text)])
    }

    #[test]
    fn the_oldest_results_go_first() {
        let long = "x".repeat(4000);
        let mut messages = vec![
            Message::user(long.clone()),
            result("a", &long),
            result("b", "short"),
            result("c", &long),
            result("d", &long),
        ];
        let before = tokens(&messages);
        let saved = shorten(&mut messages, 1000);
        assert_eq!(tokens(&messages), before - saved);
        assert!((1800..2000).contains(&saved), "{saved}");
        assert_eq!(
            messages[0],
            Message::user(long.clone()),
            "words are nobody's to cut"
        );
        assert_eq!(messages[2], result("b", "short"));
        assert_eq!(messages[4], result("d", &long));
        let rest = shorten(&mut messages, usize::MAX);
        assert!((900..1000).contains(&rest), "{rest}");
        assert_eq!(shorten(&mut messages, usize::MAX), 0, "nothing is left");
    }

    proptest! {
        #[test]
        fn a_cut_result_keeps_its_ends(texts in prop::collection::vec("\\PC{0,60}", 0..4), max in 0usize..30) {
            let mut cut_result = ToolResult {
                content: texts.iter().cloned().map(ResultBlock::Text).collect(),
                ..ToolResult::text("a", "")
            };
            let whole: usize = texts.iter().map(String::len).sum();
            let before = cut_result.clone();
            cut(&mut cut_result, max);
            if whole <= max * 4 {
                prop_assert_eq!(cut_result, before);
            } else {
                let length: usize = cut_result.content.iter().map(|block| match block {
                    ResultBlock::Text(text) => text.replace(|c: char| c.is_ascii_digit(), "").len(),
                    _ => 0,
                }).sum();
                let marks = texts.len() * "… tokens truncated…".len();
                prop_assert!(length <= max * 4 + marks);
            }
        }
    }
}
