//! What a run has used is known afterwards, and allows the same run again.
//!
//! The task is a JSON list of calls, each `[TOOL, ARGUMENT, TEXT?]`; every call is one of a tool of the
//! agent's own, and the answer says what came of each.

use std::fs;
use std::io;

use serde_json::{Value, json};
use wasm_agent_sdk::trajectory::{self, ToolCall, ToolResult, Turn};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Tool, agent, session};

const TOOLS: [&str; 8] = [
    "read", "write", "list", "look", "make", "remove", "variable", "submit",
];

struct Told;

impl Agent for Told {
    fn describe() -> Descriptor {
        TOOLS
            .iter()
            .fold(Descriptor::new("told", "1.0.0"), |descriptor, tool| {
                descriptor.tool(Tool::new(*tool))
            })
    }

    fn run(commission: Commission) -> Result<Output> {
        let calls: Vec<Vec<String>> =
            serde_json::from_str(commission.prompt()).expect("the task is a list of calls");
        let mut answers = Vec::new();
        for (number, call) in calls.iter().enumerate() {
            let (tool, argument) = (&call[0], &call[1]);
            let text = call.get(2).map_or("", String::as_str);
            let id = format!("c{number}");
            let input = json!({ "argument": argument, "text": text });
            let turn = Turn::new().tool_use(ToolCall::new(&id, tool, input.to_string()));
            trajectory::assistant(turn)?;
            let answer =
                done(tool, argument, text).unwrap_or_else(|error| format!("{:?}", error.kind()));
            trajectory::tool_result(ToolResult::text(&id, &answer))?;
            answers.push(Value::String(answer));
        }
        Output::json(&Value::Array(answers))
    }
}

fn done(tool: &str, argument: &str, text: &str) -> io::Result<String> {
    let done = |()| "done".to_owned();
    match tool {
        "read" => fs::read_to_string(argument),
        "write" => fs::write(argument, text).map(done),
        "list" => {
            let names =
                fs::read_dir(argument)?.map(|entry| Ok(entry?.file_name().into_string().unwrap()));
            let mut names = names.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names.join(" "))
        }
        "look" => Ok(format!("{} bytes", fs::metadata(argument)?.len())),
        "make" => fs::create_dir(argument).map(done),
        "remove" => fs::remove_file(argument).map(done),
        "variable" => Ok(std::env::var(argument).unwrap_or_else(|_| "unset".to_owned())),
        "submit" => {
            session::submit_artifact(argument, "text/plain", text.as_bytes()).expect("it is taken");
            Ok("done".to_owned())
        }
        other => panic!("{other} is no tool"),
    }
}

agent!(Told);
