//! Turns and the tools they call.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};

use super::Rule;
use super::event::{Event, str_of};
use super::key::{self, Key};
use super::report::Findings;
use super::spans::{Span, Spans};

/// Turns and tool calls so far.
#[derive(Default)]
pub(super) struct Calls {
    /// Tools of `agent_started` and the MCP server that serves each, if one does.
    tools: HashMap<String, Option<String>>,
    /// Turns so far, by the span they hang on: the run's or a frame's.
    turns: HashMap<u64, Turns>,
    calls: HashMap<Key, Call>,
    open: u64,
    steps: u64,
}

#[derive(Default)]
struct Turns {
    /// Span of the last one, and its calls that are not invoked yet.
    last: u64,
    pending: VecDeque<Key>,
}

struct Call {
    turn: u64,
    /// What the turn hangs on.
    scope: u64,
    step: Option<u64>,
    name: Key,
    input: Key,
    by: By,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Agent,
    Provider,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Called,
    Invoked { span: u64, declared: bool },
    Answered,
}

impl Calls {
    pub(super) fn declare(&mut self, name: &str, server: Option<&str>) {
        self.tools
            .insert(name.to_owned(), server.map(str::to_owned));
    }

    /// Turns so far, those of sub-agents included: steps count through the whole run.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether the sub-agent with this frame has turns on record.
    pub(super) fn has_turns(&self, frame: u64) -> bool {
        self.turns.contains_key(&frame)
    }

    /// The span of the turn that made a call which has been invoked.
    pub(super) fn turn_of(&self, id: &str) -> Option<u64> {
        self.calls.get(&key::of_str(id)).map(|call| call.turn)
    }

    pub(super) fn turn(&mut self, event: &Event<'_>, spans: &mut Spans, out: &mut Findings) {
        spans.expect_parent(
            event,
            "the run's span or an open frame's",
            |span| matches!(span, Span::Agent | Span::Frame { open: true }),
            out,
        );
        spans.add(event, Span::Turn { step: event.step() }, out);
        let turns = self.turns.entry(event.parent).or_default();
        self.steps += 1;
        if event.step().is_some_and(|step| step != self.steps) {
            out.add(
                Rule::StepGap,
                "data.avp.step",
                format_args!("expected {}", self.steps),
            );
        }
        not_invoked(&turns.pending, out);
        turns.last = event.span;
        turns.pending.clear();
        for (n, block) in event.list("avp.content").enumerate() {
            let field = || format!("data.avp.content[{n}]");
            let by = match str_of(block, "type") {
                "tool_use" => By::Agent,
                "server_tool_use" => By::Provider,
                "server_tool_result" => {
                    if !self
                        .calls
                        .contains_key(&key::of_str(str_of(block, "tool_use_id")))
                    {
                        out.add(Rule::ResultMismatch, &field(), "answers no call of the run");
                    }
                    continue;
                }
                _ => continue,
            };
            let id = key::of_str(str_of(block, "id"));
            if self.calls.contains_key(&id) {
                let id = str_of(block, "id");
                out.add(
                    Rule::CallRepeated,
                    &field(),
                    format_args!("`{id}` is the id of a call before"),
                );
                continue;
            }
            turns.pending.push_back(id);
            self.open += 1;
            self.calls.insert(
                id,
                Call {
                    turn: event.span,
                    scope: event.parent,
                    step: event.step(),
                    name: key::of_str(str_of(block, "name")),
                    input: key::of_value(block.get("input").unwrap_or(&Value::Null)),
                    by,
                    state: State::Called,
                },
            );
        }
    }

    pub(super) fn invoked(&mut self, event: &Event<'_>, spans: &mut Spans, out: &mut Findings) {
        let is_turn = |span| matches!(span, Span::Turn { .. });
        spans.expect_parent(event, "the turn that made the call", is_turn, out);
        spans.add(event, Span::Leaf, out);
        let id = event.str("avp.tool.call_id");
        let key = key::of_str(id);
        let Some(call) = self.calls.get_mut(&key) else {
            out.add(
                Rule::CallInvented,
                "data.avp.tool.call_id",
                format_args!("no turn called `{id}`"),
            );
            return;
        };
        if call.state != State::Called {
            let message = format_args!("`{id}` has been invoked before");
            out.add(Rule::CallRepeated, "data.avp.tool.call_id", message);
            return;
        }
        if spans.get(event.parent).is_some_and(is_turn) && event.parent != call.turn {
            out.add(
                Rule::ParentWrong,
                "data.parent_span_id",
                "is another turn than the one that made the call",
            );
        }
        if event.step() != call.step {
            out.add(
                Rule::StepWrong,
                "data.avp.step",
                "is not the step of the turn",
            );
        }
        let name = event.str("avp.tool.name");
        if key::of_str(name) != call.name {
            out.add(
                Rule::CallDiffers,
                "data.avp.tool.name",
                "is not the tool the turn called",
            );
        }
        if key::of_value(event.data.get("avp.tool.input").unwrap_or(&Value::Null)) != call.input {
            out.add(
                Rule::CallDiffers,
                "data.avp.tool.input",
                "is not the input the turn gave",
            );
        }
        if let Some(turns) = self.turns.get_mut(&call.scope)
            && let Some(place) = turns.pending.iter().position(|pending| *pending == key)
        {
            if place != 0 {
                out.add(
                    Rule::CallOrder,
                    "data.avp.tool.call_id",
                    "comes before an earlier call of its turn",
                );
            }
            turns.pending.remove(place);
        }
        let declared = call.by == By::Provider || self.tools.contains_key(name);
        call.state = State::Invoked {
            span: event.span,
            declared,
        };
        if call.by == By::Agent
            && let Some(server) = self.tools.get(name)
        {
            dispatch(event, server.as_deref(), out);
        }
    }

    pub(super) fn returned(&mut self, event: &Event<'_>, spans: &mut Spans, out: &mut Findings) {
        spans.expect_parent(
            event,
            "the span of the invocation",
            |span| span == Span::Leaf,
            out,
        );
        spans.add(event, Span::Leaf, out);
        let empty = Map::new();
        let result = event
            .data
            .get("avp.tool_result")
            .and_then(Value::as_object)
            .unwrap_or(&empty);
        let id = event.str("avp.tool.call_id");
        if str_of(result, "tool_use_id") != id {
            let field = "data.avp.tool_result.tool_use_id";
            out.add(
                Rule::ResultMismatch,
                field,
                "is another call than avp.tool.call_id",
            );
        }
        let call = self.calls.get_mut(&key::of_str(id));
        let (call, span, declared) = match call.map(|call| (call.state, call)) {
            Some((State::Invoked { span, declared }, call)) => (call, span, declared),
            Some((State::Answered, _)) => {
                let message = format_args!("`{id}` has its result already");
                out.add(Rule::CallAnsweredTwice, "data.avp.tool.call_id", message);
                return;
            }
            _ => {
                let message = format_args!("no call `{id}` has been invoked");
                out.add(Rule::CallUnknown, "data.avp.tool.call_id", message);
                return;
            }
        };
        call.state = State::Answered;
        self.open = self.open.saturating_sub(1);
        if spans.get(event.parent) == Some(Span::Leaf) && event.parent != span {
            out.add(
                Rule::ParentWrong,
                "data.parent_span_id",
                "is not the span of the invocation",
            );
        }
        if event.step() != call.step {
            out.add(
                Rule::StepWrong,
                "data.avp.step",
                "is not the step of the turn",
            );
        }
        let name = event.str("avp.tool.name");
        if key::of_str(name) != call.name {
            out.add(
                Rule::CallDiffers,
                "data.avp.tool.name",
                "is not the tool the turn called",
            );
        }
        if !declared && result.get("is_error") != Some(&Value::Bool(true)) {
            let message =
                format_args!("`{name}` is not a tool of agent_started, and was not refused");
            out.add(Rule::ToolUndeclared, "data.avp.tool.name", message);
        }
    }

    /// At the end of a run that stopped.
    pub(super) fn finish(&self, out: &mut Findings) {
        for turns in self.turns.values() {
            not_invoked(&turns.pending, out);
        }
        let pending: usize = self.turns.values().map(|turns| turns.pending.len()).sum();
        if self.open > pending as u64 {
            out.add(
                Rule::CallOpen,
                "",
                format_args!("{} calls have no result", self.open),
            );
        }
    }
}

fn not_invoked(pending: &VecDeque<Key>, out: &mut Findings) {
    if !pending.is_empty() {
        let message = format_args!(
            "{} calls of the turn before were not invoked",
            pending.len()
        );
        out.add(Rule::CallNotInvoked, "", message);
    }
}

fn dispatch(event: &Event<'_>, server: Option<&str>, out: &mut Findings) {
    let target = event
        .data
        .get("avp.tool.dispatch_target")
        .and_then(Value::as_str);
    let named = event.data.get("avp.mcp_server_id").and_then(Value::as_str);
    match server {
        Some(server) => {
            if target != Some("mcp_server") {
                out.add(
                    Rule::McpDispatch,
                    "data.avp.tool.dispatch_target",
                    "expected mcp_server",
                );
            }
            if named != Some(server) {
                let message = format_args!("expected `{server}`, which serves the tool");
                out.add(Rule::McpDispatch, "data.avp.mcp_server_id", message);
            }
        }
        None => {
            if target == Some("mcp_server") || named.is_some() {
                let message = "names an MCP server for a tool no server serves";
                out.add(Rule::McpDispatch, "data.avp.tool.dispatch_target", message);
            }
        }
    }
}
