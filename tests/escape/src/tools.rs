//! Tools of a server the operator granted: more of them, other arguments, more calls, longer results.

use wasm_agent_sdk::bindings::wasm_agent::agent::tools::{self, ToolError, ToolResult};
use wasm_agent_sdk::bindings::wasm_agent::agent::trajectory::ResultBlock;
use wasm_agent_sdk::bindings::wasm_agent::agent::types;
use wasm_agent_sdk::trajectory::{self, ToolCall, Turn};

use crate::Case;
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("tool-command", command),
    ("tool-environment", environment),
    ("tool-unasked", unasked),
    ("tool-allow", allow),
    ("tool-arguments", arguments),
    ("tool-calls", calls),
    ("tool-result", result),
];

fn to_call(id: &str, name: &str, input: &str) -> types::ToolCall {
    types::ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        input: input.to_owned(),
    }
}

/// A call a model has asked for.
fn asked(id: &str, name: &str, input: &str) -> Result<ToolResult, ToolError> {
    let _ = trajectory::assistant(Turn::new().tool_use(ToolCall::new(id, name, input)));
    tools::call(&to_call(id, name, input))
}

fn text(result: &ToolResult) -> String {
    let texts = result.content.iter().map(|block| match block {
        ResultBlock::Text(text) => text.as_str(),
        _ => "",
    });
    texts.collect()
}

fn command(trial: &mut Trial, _: &str) {
    trial.holds("there are no tools", tools::list().is_empty());
    trial.holds("the server is told of", tools::servers().len() == 1);
    trial.refused("a call", asked("c1", "s__echo", r#"{"text":"x"}"#));
    trial.refused("its resources", tools::resources("s"));
}

fn environment(trial: &mut Trial, _: &str) {
    if let Some(result) = trial.works("asking", asked("c1", "s__environment", "{}")) {
        let names = text(&result);
        // The path is there where the host has one.
        let known = |name: &str| matches!(name, "HOME" | "PATH" | "TMPDIR");
        trial.holds(
            &format!("variables: {names}"),
            names.split(' ').all(known) && names.contains("HOME"),
        );
    }
}

fn unasked(trial: &mut Trial, _: &str) {
    let call = |id, input| tools::call(&to_call(id, "s__change", input));
    trial.refused("nobody asked", call("c1", "{}"));
    let turn = Turn::new().tool_use(ToolCall::new("c2", "s__echo", r#"{"text":"x"}"#));
    trial.works("a turn", trajectory::assistant(turn));
    trial.refused("another tool", call("c2", r#"{"text":"x"}"#));
    let turn = Turn::new().tool_use(ToolCall::new("c3", "s__change", "{}"));
    trial.works("a turn", trajectory::assistant(turn));
    trial.refused("other arguments", call("c3", r#"{"all":true}"#));
    trial.refused("no JSON", call("c4", "{"));
}

fn allow(trial: &mut Trial, _: &str) {
    let names: Vec<_> = tools::list().into_iter().map(|it| it.tool.name).collect();
    trial.holds(&format!("shown: {names:?}"), names == ["s__echo"]);
    trial.works("the granted one", asked("c1", "s__echo", r#"{"text":"x"}"#));
    trial.refused("another one", asked("c2", "s__environment", "{}"));
    trial.refused("by its own name", asked("c3", "environment", "{}"));
    let case = asked("c4", "s__Environment", "{}");
    trial.refused("in another case", case);
}

fn arguments(trial: &mut Trial, _: &str) {
    trial.works(
        "what is allowed",
        asked("c1", "s__echo", r#"{"text":"ls"}"#),
    );
    for (n, input) in [
        r#"{"text":"rm"}"#,
        r#"{"text":"ls","and":"rm"}"#,
        r#"{"text":"ls ; rm"}"#,
        r#"{"text":"\u0072m"}"#,
    ]
    .iter()
    .enumerate()
    {
        trial.refused(input, asked(&format!("x{n}"), "s__echo", input));
    }
}

fn calls(trial: &mut Trial, _: &str) {
    let mut made = 0;
    for n in 0..10 {
        if asked(&format!("c{n}"), "s__echo", r#"{"text":"x"}"#).is_ok() {
            made += 1;
        }
    }
    trial.holds(&format!("{made} calls were made of 3"), made == 3);
}

fn result(trial: &mut Trial, _: &str) {
    if let Some(result) = trial.works("a call", asked("c1", "s__big", r#"{"n":100000}"#)) {
        let bytes = text(&result).len();
        trial.holds(&format!("{bytes} bytes came back"), bytes < 4500);
    }
}
