//! A plain WASI command as an agent, without the SDK: it counts the words of its task and of the text
//! files in `/work`.
//!
//! This is AVP's stdio binding: the commission is one line of JSON on standard input, the events are
//! lines of JSON on standard output. Any language that compiles to WASI can do this. The host takes the
//! events for the agent's claims and writes its own; run without a host, this is a whole trajectory:
//!
//! ```text
//! echo '{"schema_version":"0.1","run_id":"r1","model":"none/none","prompt":"a b"}' | cargo run -q
//! ```

mod count;
mod trajectory;

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use count::count;
use trajectory::Trajectory;

/// The longest commission that is read, in bytes.
const MAX_COMMISSION: u64 = 16 << 20;

fn main() -> ExitCode {
    let work = Path::new("/work");
    match run(io::stdin().lock(), io::stdout().lock(), work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stdio: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One run: reads the commission, does the work, writes the events.
fn run(input: impl BufRead, output: impl Write, work: &Path) -> io::Result<()> {
    let mut line = String::new();
    input.take(MAX_COMMISSION).read_line(&mut line)?;
    let commission: Value = serde_json::from_str(&line)?;
    let Some(run_id) = commission["run_id"].as_str() else {
        return Err(io::Error::other("the commission has no run_id"));
    };
    let prompt = commission["prompt"].as_str().unwrap_or_default();

    let mut trajectory = Trajectory::new(output, run_id);
    trajectory.root("run_requested", json!({"avp.commission": commission}))?;
    trajectory.root("agent_described", json!({"avp.descriptor": descriptor()}))?;
    if commission["schema_version"] != "0.1" {
        let message = "the commission is of a version other than 0.1";
        trajectory.root(
            "error_occurred",
            json!({"avp.error.code": "unknown", "avp.error.message": message}),
        )?;
        return trajectory.root("agent_stopped", json!({"avp.reason": "error"}));
    }
    trajectory.root(
        "agent_started",
        json!({"avp.tools": descriptor()["tools"], "avp.prompt": prompt}),
    )?;
    let run = trajectory.last_span();

    let call = json!({"type": "tool_use", "id": "c1", "name": "count_words", "input": {}});
    trajectory.child(
        &run,
        "assistant_message",
        json!({
            "avp.step": 1,
            "avp.duration_ms": 0,
            "avp.content": [{"type": "text", "text": "I will count the words."}, call],
            "avp.usage": {"input_tokens": 0, "output_tokens": 0},
            "avp.cost_usd": 0.0,
        }),
    )?;
    let turn = trajectory.last_span();
    trajectory.child(
        &turn,
        "tool_invoked",
        json!({
            "avp.step": 1,
            "avp.tool.call_id": "c1",
            "avp.tool.name": "count_words",
            "avp.tool.input": {},
            "avp.tool.dispatch_target": "local",
        }),
    )?;
    let invoked = trajectory.last_span();
    let counted = count(work);
    let words = prompt.split_whitespace().count();
    let text = format!(
        "{words} words in the task, {} in {} files",
        counted.words, counted.files
    );
    trajectory.child(
        &invoked,
        "tool_returned",
        json!({
            "avp.step": 1,
            "avp.tool.call_id": "c1",
            "avp.tool.name": "count_words",
            "avp.duration_ms": 0,
            "avp.tool_result": {
                "type": "tool_result",
                "tool_use_id": "c1",
                "content": [{"type": "text", "text": text}],
            },
        }),
    )?;
    let answer = json!({"task_words": words, "files": counted.files, "file_words": counted.words});
    trajectory.child(
        &run,
        "agent_stopped",
        json!({"avp.reason": "converged", "avp.output": answer}),
    )
}

fn descriptor() -> Value {
    json!({
        "agent_name": env!("CARGO_PKG_NAME"),
        "agent_version": env!("CARGO_PKG_VERSION"),
        "spec_version": "0.1",
        "tools": [{
            "name": "count_words",
            "description": "Counts the words of the task and of the files in /work.",
            "inputSchema": {"type": "object"},
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(commission: &str, work: &Path) -> Vec<Value> {
        let mut output = Vec::new();
        run(commission.as_bytes(), &mut output, work).unwrap();
        let text = String::from_utf8(output).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    const TASK: &str =
        r#"{"schema_version":"0.1","run_id":"r1","model":"none/none","prompt":"a b"}"#;

    #[test]
    fn the_trajectory_is_whole() {
        let work = Path::new("/there/is/nothing/here");
        let events = events(TASK, work);
        let types: Vec<_> = events
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            types,
            [
                "avp.run_requested",
                "avp.agent_described",
                "avp.agent_started",
                "avp.assistant_message",
                "avp.tool_invoked",
                "avp.tool_returned",
                "avp.agent_stopped",
            ]
        );
        assert!(events.iter().all(|event| event["subject"] == "r1"));
        let stopped = &events.last().unwrap()["data"];
        assert_eq!(stopped["avp.output"]["task_words"], 2);
        assert_eq!(stopped["parent_span_id"], events[2]["data"]["span_id"]);
    }

    #[test]
    fn another_version_is_refused_in_the_short_form() {
        let events = events(&TASK.replace("\"0.1\"", "\"9\""), Path::new("/none"));
        assert_eq!(events[2]["type"], "avp.error_occurred");
        assert_eq!(events.last().unwrap()["data"]["avp.reason"], "error");
    }

    #[test]
    fn what_is_no_commission_is_an_error() {
        for bad in ["", "no json\n", "{}\n"] {
            assert!(
                run(bad.as_bytes(), Vec::new(), Path::new("/none")).is_err(),
                "{bad}"
            );
        }
    }
}
