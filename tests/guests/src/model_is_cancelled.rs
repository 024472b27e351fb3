//! Dropping a reply before its end cancels it; what has arrived is a turn nevertheless.

mod ask;

use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent};

struct Canceller;

impl Agent for Canceller {
    fn describe() -> Descriptor {
        Descriptor::new("canceller", "1.0.0").tool(Tool::new("t"))
    }

    fn run(commission: Commission) -> Result<Output> {
        let mut request = ask::says(commission.prompt());
        request.tools = vec![ask::tool("t")];
        let Ok(completion) = ask::model::stream(&request) else {
            return Ok(Output::text("refused"));
        };
        // One piece of each kind.
        for _ in 0..4 {
            completion.next().ok();
        }
        drop(completion);
        Ok(Output::text("enough"))
    }
}

agent!(Canceller);
