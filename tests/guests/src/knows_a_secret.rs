//! A secret the guest has read in a file, and a placeholder it was given, and what comes of passing them on.
//!
//! The secret is in `/in/key`, the placeholder in the variable `KEY`; `/work` can be written to, and there is a tool
//! `s__echo`. With the task `answer` the secret is part of the answer.

use serde_json::{Value, json};
use wasm_agent_sdk::bindings::wasm_agent::agent::tools;
use wasm_agent_sdk::bindings::wasm_agent::agent::types;
use wasm_agent_sdk::trajectory::{self, ToolCall, Turn};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    let secret = std::fs::read_to_string("/in/key").expect("there is a secret");
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let stand_in = std::env::var("KEY").unwrap_or_default();
    let mut told = vec![json!(stand_in.len())];
    for (at, form) in ["harmless", &secret, &hex, &stand_in]
        .into_iter()
        .enumerate()
    {
        let path = format!("/work/f{at}");
        println!("out {form}");
        let file = std::fs::write(&path, form).is_ok();
        told.push(json!({
            "form": at,
            "turn": trajectory::assistant(Turn::new().text(form)).is_ok(),
            "progress": trajectory::progress(form, None).is_ok(),
            "artifact": session::submit_artifact(format!("a{at}"), "text/plain", form.as_bytes()).is_ok(),
            "checkpoint": session::save(form.as_bytes()).is_ok(),
            "file": file,
            "kept": std::fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).len()).ok(),
            "told": ask(&format!("c{at}"), form),
        }));
    }
    told.push(json!(session::complete(&secret).is_ok()));
    if commission.prompt() == "answer" {
        return Ok(json!({ "secret": secret }));
    }
    Ok(Value::Array(told))
}

/// Has the tool say it.
fn ask(id: &str, text: &str) -> Value {
    let input = json!({ "text": text }).to_string();
    let call = ToolCall::new(id, "s__echo", input.clone());
    if trajectory::assistant(Turn::new().tool_use(call)).is_err() {
        return json!("the turn is refused");
    }
    let call = types::ToolCall {
        id: id.to_owned(),
        name: "s__echo".to_owned(),
        input,
    };
    match tools::call(&call) {
        Ok(result) => json!(format!("{:?}", result.content).len()),
        Err(error) => json!(format!("{error:?}")),
    }
}
