//! Is this a request that can be sent? Decided before anything is paid for.

use std::collections::HashSet;

use super::{Input, Message, Request, ToolChoice};
use crate::trajectory::content::Runner;

/// Bytes of one request, all of it together.
pub const MAX_BYTES: usize = 16 << 20;

/// Messages of a conversation.
const MAX_MESSAGES: usize = 10_000;

/// Tools of a request.
const MAX_TOOLS: usize = 1_000;

/// Texts that end a reply.
const MAX_STOPS: usize = 4;

/// Checks a request by itself: shapes, ranges, and that every call has its result.
///
/// # Errors
///
/// What is wrong, with the field named.
pub fn check(request: &Request) -> Result<(), String> {
    if request.messages.is_empty() {
        return Err("messages: must not be empty".to_owned());
    }
    if request.messages.len() > MAX_MESSAGES {
        return Err(format!("messages: at most {MAX_MESSAGES}"));
    }
    if !matches!(request.messages.first(), Some(Message::User(_))) {
        return Err("messages[0]: the conversation begins with `user`".to_owned());
    }
    conversation(&request.messages)?;
    tools(request)?;
    sampling(request)
}

/// Each call of an assistant message is answered in the user message that follows, and nothing else is.
fn conversation(messages: &[Message]) -> Result<(), String> {
    let mut open: HashSet<&str> = HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::User(blocks) => {
                if blocks.is_empty() {
                    return Err(format!("messages[{at}]: must not be empty"));
                }
                for (index, block) in blocks.iter().enumerate() {
                    if let Input::ToolResult(result) = block
                        && !open.remove(result.call_id.as_str())
                    {
                        return Err(format!(
                            "messages[{at}][{index}].tool-result: `{}` is no open call of the message before",
                            clip(&result.call_id)
                        ));
                    }
                }
                unanswered(at, &open)?;
            }
            Message::Assistant(blocks) => {
                unanswered(at, &open)?;
                for block in blocks {
                    if let Some(call) = block.call().filter(|call| call.runner == Runner::Agent)
                        && !open.insert(call.id)
                    {
                        return Err(format!(
                            "messages[{at}]: call `{}` is there twice",
                            clip(call.id)
                        ));
                    }
                }
            }
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        unanswered(messages.len(), &open)
    }
}

fn unanswered(at: usize, open: &HashSet<&str>) -> Result<(), String> {
    // The smallest, so that the text is the same every time.
    match open.iter().min() {
        None => Ok(()),
        Some(id) => Err(format!(
            "messages[{at}]: call `{}` of the message before has no result",
            clip(id)
        )),
    }
}

fn tools(request: &Request) -> Result<(), String> {
    if request.tools.len() > MAX_TOOLS {
        return Err(format!("tools: at most {MAX_TOOLS}"));
    }
    if request.provider_tools.len() > MAX_TOOLS {
        return Err(format!("provider-tools: at most {MAX_TOOLS}"));
    }
    let mut names = HashSet::new();
    for (at, tool) in request.tools.iter().enumerate() {
        if tool.name.is_empty() {
            return Err(format!("tools[{at}].name: must not be empty"));
        }
        if !names.insert(tool.name.as_str()) {
            return Err(format!(
                "tools[{at}].name: `{}` is there twice",
                clip(&tool.name)
            ));
        }
        if tool
            .input_schema
            .as_ref()
            .is_some_and(|schema| !schema.is_object())
        {
            return Err(format!("tools[{at}].input-schema: has to be a JSON object"));
        }
    }
    if let Some(at) = request
        .provider_tools
        .iter()
        .position(|tool| !tool.is_object())
    {
        return Err(format!("provider-tools[{at}]: has to be a JSON object"));
    }
    match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::None => Ok(()),
        ToolChoice::Any if names.is_empty() => {
            Err("tool-choice: there are no tools to choose from".to_owned())
        }
        ToolChoice::Any => Ok(()),
        ToolChoice::Tool(name) if names.contains(name.as_str()) => Ok(()),
        ToolChoice::Tool(name) => Err(format!(
            "tool-choice: `{}` is not among the tools",
            clip(name)
        )),
    }
}

fn sampling(request: &Request) -> Result<(), String> {
    let sampling = &request.sampling;
    let within = |name: &str, value: Option<f64>, max: f64| match value {
        Some(value) if !(0.0..=max).contains(&value) => {
            Err(format!("sampling.{name}: has to be between 0 and {max}"))
        }
        _ => Ok(()),
    };
    within("temperature", sampling.temperature, 2.0)?;
    within("top-p", sampling.top_p, 1.0)?;
    if sampling.max_output_tokens == Some(0) {
        return Err("sampling.max-output-tokens: has to be more than zero".to_owned());
    }
    if sampling.stop_sequences.len() > MAX_STOPS
        || sampling.stop_sequences.iter().any(String::is_empty)
    {
        return Err(format!(
            "sampling.stop-sequences: at most {MAX_STOPS}, none of them empty"
        ));
    }
    if let (Some(reasoning), Some(max)) = (sampling.reasoning_tokens, sampling.max_output_tokens)
        && reasoning >= max
    {
        return Err(
            "sampling.reasoning-tokens: has to be less than `max-output-tokens`".to_owned(),
        );
    }
    if request
        .output_schema
        .as_ref()
        .is_some_and(|schema| !schema.is_object())
    {
        return Err("output-schema: has to be a JSON object".to_owned());
    }
    Ok(())
}

/// The beginning of what a guest wrote, for a message.
fn clip(text: &str) -> String {
    let text: String = text.chars().take(64).collect();
    crate::json::printable(&text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::descriptor::ToolDecl;
    use crate::trajectory::content::Block;
    use crate::trajectory::fact::ToolResult;

    fn user(text: &str) -> Message {
        Message::User(vec![Input::Block(Block::text(text))])
    }

    fn calls(ids: &[&str]) -> Message {
        let call = |id: &&str| {
            Block::parse(json!({"type": "tool_use", "id": id, "name": "t", "input": {}})).unwrap()
        };
        Message::Assistant(ids.iter().map(call).collect())
    }

    fn results(ids: &[&str]) -> Message {
        let result = |id: &&str| {
            Input::ToolResult(ToolResult {
                call_id: (*id).to_owned(),
                content: json!("x"),
                structured: None,
                is_error: false,
            })
        };
        Message::User(ids.iter().map(result).collect())
    }

    fn refused(messages: Vec<Message>) -> Option<String> {
        check(&Request {
            messages,
            ..Request::default()
        })
        .err()
    }

    #[test]
    fn every_call_has_its_result_in_the_next_message() {
        assert_eq!(
            refused(vec![user("x"), calls(&["a", "b"]), results(&["b", "a"])]),
            None
        );
        assert_eq!(
            refused(vec![user("x"), Message::Assistant(vec![]), user("y")]),
            None
        );
        for (messages, field) in [
            (vec![], "messages"),
            (vec![calls(&[])], "messages[0]"),
            (vec![Message::User(vec![])], "messages[0]"),
            (vec![results(&["a"])], "messages[0][0].tool-result"),
            (vec![user("x"), calls(&["a"])], "`a`"),
            (vec![user("x"), calls(&["a"]), user("y")], "messages[2]"),
            (vec![user("x"), calls(&["a"]), calls(&["b"])], "messages[2]"),
            (vec![user("x"), calls(&["a", "a"])], "messages[1]"),
            (
                vec![user("x"), calls(&["a"]), results(&["a", "a"])],
                "messages[2][1]",
            ),
        ] {
            let reason = refused(messages).unwrap();
            assert!(reason.contains(field), "{reason}");
        }
    }

    #[test]
    fn the_rest_is_within_its_bounds() {
        let fits = |change: fn(&mut Request)| {
            let mut request = Request {
                messages: vec![user("x")],
                tools: vec![ToolDecl {
                    name: "t".to_owned(),
                    ..ToolDecl::default()
                }],
                ..Request::default()
            };
            change(&mut request);
            check(&request)
        };
        fits(|_| ()).unwrap();
        fits(|r| r.tool_choice = ToolChoice::Tool("t".to_owned())).unwrap();
        fits(|r| r.sampling.temperature = Some(2.0)).unwrap();
        let wrong: [(fn(&mut Request), &str); 11] = [
            (|r| r.sampling.temperature = Some(2.1), "temperature"),
            (|r| r.sampling.temperature = Some(f64::NAN), "temperature"),
            (|r| r.sampling.top_p = Some(-0.1), "top-p"),
            (
                |r| r.sampling.max_output_tokens = Some(0),
                "max-output-tokens",
            ),
            (
                |r| r.sampling.stop_sequences = vec![String::new()],
                "stop-sequences",
            ),
            (
                |r| {
                    r.sampling.reasoning_tokens = Some(9);
                    r.sampling.max_output_tokens = Some(9);
                },
                "reasoning-tokens",
            ),
            (
                |r| r.tool_choice = ToolChoice::Tool("u".to_owned()),
                "tool-choice",
            ),
            (|r| r.tools.push(r.tools[0].clone()), "tools[1].name"),
            (
                |r| r.tools[0].input_schema = Some(json!(1)),
                "tools[0].input-schema",
            ),
            (|r| r.provider_tools = vec![json!([])], "provider-tools[0]"),
            (|r| r.output_schema = Some(json!("x")), "output-schema"),
        ];
        for (change, field) in wrong {
            let reason = fits(change).unwrap_err();
            assert!(
                reason.starts_with(field) || reason.contains(&format!(".{field}:")),
                "{reason}"
            );
        }
    }
}
