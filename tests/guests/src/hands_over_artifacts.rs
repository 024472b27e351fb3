//! Artifacts have names that cannot leave their folder, are never replaced, and have a limit.

use serde_json::{Value, json};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(_: Commission) -> Result<Value> {
    let long = "x".repeat(129);
    let names = [
        "report.md",
        "report.md",
        "",
        "..",
        "../up",
        "/etc/passwd",
        ".hidden",
        "a b",
        "a\0b",
        &long,
    ];
    let mut answers = Vec::new();
    for name in names {
        let answer = session::submit_artifact(name, "text/markdown", b"# Report\n");
        answers.push(json!([name.get(..12).unwrap_or(name), show(answer)]));
    }
    answers.push(json!([
        "bad type",
        show(session::submit_artifact("b", "text/\nmarkdown", b"x"))
    ]));
    answers.push(json!([
        "too large",
        show(session::submit_artifact("c", "text/plain", [0; 2000]))
    ]));
    session::complete("wrote a report")?;
    answers.push(json!([
        "second completion",
        match session::complete("again") {
            Ok(()) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    ]));
    Ok(Value::Array(answers))
}

fn show(answer: std::result::Result<session::Stored, session::SessionError>) -> String {
    match answer {
        Ok(stored) => format!("{} bytes", stored.bytes),
        Err(error) => error.to_string(),
    }
}
