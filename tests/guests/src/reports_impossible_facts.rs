//! An impossible fact is refused with a typed error and changes nothing.

use serde_json::{Value, json};
use wasm_agent_sdk::trajectory::{
    self, ContentBlock, Rejected, StopReason, SubagentCall, ToolCall, ToolResult, Turn, Usage,
};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, Subagent, Tool, agent};

struct Liar;

impl Agent for Liar {
    fn describe() -> Descriptor {
        Descriptor::new("liar", "1.0.0")
            .tool(Tool::new("t"))
            .subagent(Subagent::new("s"))
    }

    fn run(_: Commission) -> Result<Output> {
        let call = |id: &str| Turn::new().tool_use(ToolCall::new(id, "t", "{}"));
        let mut answers = Vec::new();
        let mut note = |what: &str, answer: std::result::Result<(), Rejected>| {
            answers.push(json!([what, show(answer)]));
        };
        trajectory::assistant(call("c1").text("one"))?;
        note(
            "duplicate call",
            trajectory::assistant(call("c1")).map(drop),
        );
        note(
            "duplicate call in one turn",
            trajectory::assistant(call("c2").tool_use(ToolCall::new("c2", "t", "{}"))).map(drop),
        );
        note(
            "unknown call",
            trajectory::tool_result(ToolResult::text("c9", "?")),
        );
        trajectory::tool_result(ToolResult::text("c1", "fine"))?;
        note(
            "second result",
            trajectory::tool_result(ToolResult::text("c1", "again")),
        );
        note(
            "usage without a turn",
            trajectory::report_usage(None, Usage::new(1, 1), None),
        );
        note(
            "unknown frame",
            trajectory::assistant(Turn::new().frame("s9").text("x")).map(drop),
        );
        let frame = trajectory::subagent(SubagentCall::new("s1", "s"))?;
        note(
            "duplicate frame",
            trajectory::subagent(SubagentCall::new("s1", "s")).map(forget),
        );
        frame.finish(StopReason::Converged, "ok")?;
        note(
            "closed frame",
            trajectory::assistant(Turn::new().frame("s1").text("x")).map(drop),
        );
        note(
            "cost below zero",
            trajectory::assistant(Turn::new().text("x").cost_usd(-1.0)).map(drop),
        );
        note(
            "cost not a number",
            trajectory::assistant(Turn::new().text("x").cost_usd(f64::NAN)).map(drop),
        );
        note("input not an object", {
            let call = ToolCall::new("c3", "t", "[1]");
            trajectory::assistant(Turn::new().tool_use(call)).map(drop)
        });
        note("input not JSON", {
            let call = ToolCall::new("c3", "t", "{");
            trajectory::assistant(Turn::new().tool_use(call)).map(drop)
        });
        note(
            "meta not an object",
            trajectory::assistant(Turn::new().text("x").meta("1")).map(drop),
        );
        note("unknown block", {
            let block = ContentBlock::Other(r#"{"type":"telepathy"}"#.to_owned());
            trajectory::assistant(Turn::new().block(block)).map(drop)
        });
        note(
            "progress out of range",
            trajectory::progress("x", Some(1.5)),
        );
        trajectory::assistant(Turn::new().text("two"))?;
        Ok(Value::Array(answers).into())
    }
}

fn forget(frame: trajectory::Subagent) {
    std::mem::forget(frame);
}

fn show(answer: std::result::Result<(), Rejected>) -> &'static str {
    match answer {
        Ok(()) => "accepted",
        Err(Rejected::Invalid(_)) => "invalid",
        Err(Rejected::UnknownCall(_)) => "unknown-call",
        Err(Rejected::CallReturned(_)) => "call-returned",
        Err(Rejected::DuplicateCall(_)) => "duplicate-call",
        Err(Rejected::UnknownInvocation(_)) => "unknown-invocation",
        Err(Rejected::DuplicateInvocation(_)) => "duplicate-invocation",
        Err(Rejected::NoOpenTurn) => "no-open-turn",
        Err(Rejected::Limit(_)) => "limit",
        Err(_) => "other",
    }
}

agent!(Liar);
