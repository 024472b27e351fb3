//! The order of events: one judge a trajectory.

use serde_json::Value;

use super::Rule;
use super::calls::Calls;
use super::envelope::{Envelope, Origin};
use super::event::{Event, str_of};
use super::frames::Frames;
use super::prelude::{Commissioned, Prelude};
use super::report::Findings;
use super::schema::EventType;
use super::spans::{Span, Spans};

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Nothing,
    Requested,
    Described,
    Started,
    Stopped,
}

/// Judges events one after the other.
pub(super) struct Judge {
    origin: Origin,
    commissioned: Commissioned,
    envelope: Envelope,
    phase: Phase,
    prelude: Prelude,
    spans: Spans,
    calls: Calls,
    frames: Frames,
    pub(super) events: u64,
}

impl Judge {
    pub(super) fn new(origin: Origin, commissioned: Commissioned) -> Self {
        let mut envelope = Envelope::default();
        if let Commissioned::As(commission) = &commissioned
            && let Some(run_id) = commission.get("run_id").and_then(Value::as_str)
        {
            envelope.expect_subject(run_id);
        }
        Self {
            origin,
            commissioned,
            envelope,
            phase: Phase::Nothing,
            prelude: Prelude::default(),
            spans: Spans::default(),
            calls: Calls::default(),
            frames: Frames::default(),
            events: 0,
        }
    }

    /// True once `agent_stopped` was there.
    pub(super) fn stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    pub(super) fn event(&mut self, value: &Value, out: &mut Findings) {
        self.events += 1;
        if self.stopped() {
            out.add(Rule::AfterStop, "", "nothing may follow agent_stopped");
        }
        let Some((kind, data)) = self.envelope.judge(value, self.origin, out) else {
            return;
        };
        let event = Event::new(kind, data);
        self.advance(&event, out);
        match kind {
            EventType::RunRequested => {
                self.spans.expect_root(&event, out);
                self.spans.add(&event, Span::Leaf, out);
                self.prelude.requested(&event, &self.commissioned, out);
            }
            EventType::AgentDescribed => {
                self.spans.expect_root(&event, out);
                self.spans.add(&event, Span::Leaf, out);
                self.prelude.described(&event, out);
            }
            EventType::AgentStarted => self.started(&event, out),
            EventType::AssistantMessage => self.calls.turn(&event, &mut self.spans, out),
            EventType::ToolInvoked => self.calls.invoked(&event, &mut self.spans, out),
            EventType::ToolReturned => self.calls.returned(&event, &mut self.spans, out),
            EventType::SubagentInvoked => {
                self.frames
                    .invoked(&event, &mut self.spans, &self.calls, out);
            }
            EventType::SubagentReturned => {
                self.frames
                    .returned(&event, &mut self.spans, &self.calls, out);
            }
            EventType::ErrorOccurred => self.error(&event, out),
            EventType::AgentStopped => self.stop(&event, out),
        }
    }

    /// The events of the opening come once each and in order; everything else comes after it.
    fn advance(&mut self, event: &Event<'_>, out: &mut Findings) {
        let (before, after) = match event.kind {
            EventType::RunRequested => (Phase::Nothing..=Phase::Nothing, Phase::Requested),
            EventType::AgentDescribed => (Phase::Requested..=Phase::Requested, Phase::Described),
            EventType::AgentStarted => (Phase::Described..=Phase::Described, Phase::Started),
            EventType::ErrorOccurred => (Phase::Described..=Phase::Stopped, self.phase),
            EventType::AgentStopped => (Phase::Described..=Phase::Stopped, Phase::Stopped),
            _ => (Phase::Started..=Phase::Stopped, self.phase),
        };
        if !before.contains(&self.phase) {
            out.add(
                Rule::PreludeOrder,
                "type",
                "is not the event a run has here",
            );
        }
        if event.kind == EventType::AgentStopped && self.phase < Phase::Started {
            self.prelude.judge_short_form(event, out);
        }
        self.phase = self.phase.max(after);
    }

    fn started(&mut self, event: &Event<'_>, out: &mut Findings) {
        self.spans.expect_root(event, out);
        self.spans.add(event, Span::Agent, out);
        self.prelude.started(event, out);
        // A sub-agent is a tool to the model that delegates to it.
        for subagent in event.list("avp.subagents") {
            self.calls.declare(str_of(subagent, "name"), None);
        }
        for tool in event.list("avp.tools") {
            let server = tool.get("avp.mcp_server_id").and_then(Value::as_str);
            self.calls.declare(str_of(tool, "name"), server);
        }
    }

    fn error(&mut self, event: &Event<'_>, out: &mut Findings) {
        if self.phase < Phase::Started {
            self.spans.expect_root(event, out);
            self.prelude.error(event);
        } else {
            self.spans
                .expect_parent(event, "a span of the run", |_| true, out);
        }
        self.spans.add(event, Span::Leaf, out);
    }

    fn stop(&mut self, event: &Event<'_>, out: &mut Findings) {
        if self.spans.agent() == 0 {
            self.spans.expect_root(event, out);
        } else {
            self.spans
                .expect_parent(event, "the run's span", |span| span == Span::Agent, out);
        }
        self.spans.add(event, Span::Leaf, out);
        self.calls.finish(out);
        self.frames.finish(event, out);
        for key in event.data.keys() {
            let is_total = |word| {
                matches!(
                    word,
                    "usage" | "cost" | "tokens" | "total" | "totals" | "turns"
                )
            };
            if !matches!(key.as_str(), "avp.output" | "avp.meta")
                && key.split(['.', '_']).any(is_total)
            {
                out.add(
                    Rule::StopTotals,
                    &format!("data.{key}"),
                    "totals are the reader's to compute",
                );
            }
        }
    }
}
