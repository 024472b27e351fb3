//! A required document that is not what it has to be is refused with the place of the first violation,
//! stored nowhere, and can be handed over again under the same name.

use serde_json::{Value, json};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let long = format!("\"{}\"", "x".repeat(5 << 20));
    let documents = [
        "",
        "Task complete.",
        r#"{"findings":[]"#,
        r#"{"findings":[],"findings":[1]}"#,
        "{}",
        r#"{"findings":[{"line":1},{"line":"s3cr3t"}]}"#,
        &deep,
        &long,
    ];
    let mut answers = Vec::new();
    for document in documents {
        answers.push(submit(document));
    }
    if commission.prompt() == "mend" {
        answers.push(submit(r#"{"findings":[{"line":1}]}"#));
        answers.push(submit(r#"{"findings":[]}"#));
    }
    Ok(json!(answers))
}

fn submit(document: &str) -> String {
    match session::submit_artifact("report.json", "application/json", document) {
        Ok(stored) => format!("{} bytes", stored.bytes),
        Err(error) => error.to_string(),
    }
}
