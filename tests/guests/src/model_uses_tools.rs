//! Calls in a reply are `tool_invoked`; the agent runs its own tool, reports the result, and goes on until
//! the model is done.

mod ask;

use wasm_agent_sdk::trajectory;
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Caller;

impl Agent for Caller {
    fn describe() -> Descriptor {
        Descriptor::new("caller", "1.0.0").tool(Tool::new("shout"))
    }

    fn run(commission: Commission) -> Result<Output> {
        let mut request = ask::says(commission.prompt());
        request.tools = vec![ask::tool("shout")];
        loop {
            let reply = match ask::model::complete(&request) {
                Ok(reply) => reply,
                Err(error) => return Ok(Output::text(format!("{error:?}"))),
            };
            let calls = ask::calls(&reply.content);
            request
                .messages
                .push(ask::Message::Assistant(reply.content.clone()));
            if calls.is_empty() {
                return Ok(Output::text(ask::texts(&reply.content)));
            }
            let mut results = Vec::new();
            for call in calls {
                if reply.refused_calls.contains(&call.id) {
                    results.push(ask::InputBlock::ToolResult(ask::result(
                        &call.id, "refused",
                    )));
                    continue;
                }
                let input: serde_json::Value = serde_json::from_str(&call.input)?;
                let shouted = input["text"].as_str().unwrap_or_default().to_uppercase();
                trajectory::tool_result(trajectory::ToolResult::text(&call.id, &shouted))?;
                results.push(ask::InputBlock::ToolResult(ask::result(&call.id, &shouted)));
            }
            request.messages.push(ask::Message::User(results));
        }
    }
}

agent!(Caller);
