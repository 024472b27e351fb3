//! Limits on models refuse further requests with their name; the run goes on.

mod ask;

use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let mut answers = 0;
    loop {
        match ask::model::complete(&ask::says(commission.prompt())) {
            Ok(_) => answers += 1,
            Err(error) => {
                let left = session::budget().model_calls;
                return Ok(format!("{answers} answers, then {error:?}, {left} calls left"));
            }
        }
    }
}
