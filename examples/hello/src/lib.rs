//! The smallest agent: greets whom the task names.

use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let name = match commission.prompt().trim() {
        "" => "world",
        name => name,
    };
    Ok(format!("Hello, {name}!"))
}

#[cfg(test)]
mod tests {
    use wasm_agent_sdk::Output;
    use wasm_agent_sdk::testing::{TestHost, commission};

    #[test]
    fn greets_by_name() {
        let trial = TestHost::new().run(super::run, commission("Ada"));
        assert_eq!(trial.result, Ok(Output::text("Hello, Ada!")));
    }

    #[test]
    fn greets_the_world_when_nobody_is_named() {
        let trial = TestHost::new().run(super::run, commission(" "));
        assert_eq!(trial.result, Ok(Output::text("Hello, world!")));
    }
}
