//! An agent that has shown everything required has converged; one that left out anything has not,
//! whatever an earlier run has shown.

use serde_json::{Value, json};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    let task = commission.prompt();
    if task.contains("artifact") {
        session::submit_artifact(
            "report.json",
            "application/json",
            br#"{"findings":[]}"#.as_slice(),
        )?;
    }
    if task.contains("complete") {
        session::complete("looked at everything")?;
    }
    Ok(json!({ "done": task.contains("output") }))
}
