//! A model that is granted answers, and its turn is on record without a word of the agent's. A failure is
//! a value.

mod ask;

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    Ok(
        match ask::model::complete(&ask::says(commission.prompt())) {
            Ok(reply) => ask::texts(&reply.content),
            Err(error) => format!("{error:?}"),
        },
    )
}
