//! Another model than the commission's is asked only if it is granted, too.

mod ask;

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let asked = commission.prompt().split_whitespace().map(|model| {
        let mut request = ask::says("hello");
        request.model = Some(model.to_owned());
        match ask::model::complete(&request) {
            Ok(reply) => format!("{model}: {}", ask::texts(&reply.content)),
            Err(error) => format!("{model}: {error:?}"),
        }
    });
    Ok(asked.collect::<Vec<_>>().join("\n"))
}
