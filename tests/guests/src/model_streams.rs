//! A reply can be had piece by piece; the whole of it is the same, and asking for it twice changes nothing.

mod ask;

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let completion = match ask::model::stream(&ask::says(commission.prompt())) {
        Ok(completion) => completion,
        Err(error) => return Ok(format!("{error:?}")),
    };
    let mut pieces = Vec::new();
    loop {
        match completion.next() {
            Ok(Some(delta)) => pieces.push(format!("{delta:?}")),
            Ok(None) => break,
            Err(error) => {
                pieces.push(format!("{error:?}"));
                break;
            }
        }
    }
    let (first, second) = (completion.reply(), completion.reply());
    assert_eq!(first, second);
    let whole = match first {
        Ok(reply) => format!("{} at step {}", ask::texts(&reply.content), reply.step),
        Err(error) => format!("{error:?}"),
    };
    Ok(format!("{}\n= {whole}", pieces.join("\n")))
}
