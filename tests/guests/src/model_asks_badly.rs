//! A malformed request is refused with the field named, before anybody is asked.

mod ask;

use ask::{ContentBlock, InputBlock, Message, ToolCall, ToolChoice};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<String> {
    let call = |id: &str| {
        Message::Assistant(vec![ContentBlock::ToolUse(ToolCall {
            id: id.to_owned(),
            name: "t".to_owned(),
            input: "{}".to_owned(),
        })])
    };
    type Spoil = fn(&mut ask::Request);
    let bad: Vec<(&str, Spoil)> = vec![
        ("nothing", |r| r.messages.clear()),
        ("the model first", |r| {
            r.messages = vec![Message::Assistant(Vec::new())];
        }),
        ("a tool of nobody's", |r| r.tools = vec![ask::tool("rm-rf")]),
        ("a model without a provider", |r| {
            r.model = Some("gpt".to_owned());
        }),
        ("a schema that is none", |r| {
            r.output_schema = Some("[".to_owned());
        }),
        ("a provider's tool that is none", |r| {
            r.provider_tools = vec!["1".to_owned()];
        }),
        ("a frame that is not open", |r| {
            r.frame = Some("f".to_owned());
        }),
        ("heat", |r| r.sampling.temperature = Some(1e9)),
        ("a result of nothing", |r| {
            r.messages = vec![Message::User(vec![InputBlock::ToolResult(ask::result(
                "c", "x",
            ))])];
        }),
        ("a choice of nothing", |r| {
            r.tool_choice = ToolChoice::Tool("t".to_owned());
        }),
    ];
    let mut said = Vec::new();
    for (what, spoil) in bad {
        let mut request = ask::says("x");
        spoil(&mut request);
        said.push(format!("{what}: {:?}", ask::model::complete(&request)));
    }
    let mut unanswered = ask::says("x");
    unanswered.messages.push(call("c"));
    unanswered.messages.push(ask::user("never mind"));
    said.push(format!(
        "no result: {:?}",
        ask::model::complete(&unanswered)
    ));
    let mut huge = ask::says(&"x".repeat(5 << 20));
    for _ in 0..3 {
        huge.messages.push(huge.messages[0].clone());
    }
    said.push(format!("too much: {:?}", ask::model::complete(&huge)));
    Ok(said.join("\n"))
}
