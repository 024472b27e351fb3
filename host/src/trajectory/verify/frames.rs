//! Sub-agents: frames that open and close.

use std::collections::{HashMap, HashSet};

use super::Rule;
use super::calls::Calls;
use super::event::Event;
use super::key::{self, Key};
use super::report::Findings;
use super::spans::{Span, Spans};

/// Frames so far.
#[derive(Default)]
pub(super) struct Frames {
    open: HashMap<Key, Frame>,
    seen: HashSet<Key>,
    abandoned: bool,
}

struct Frame {
    span: u64,
    parent: u64,
    step: Option<u64>,
    name: Key,
}

impl Frames {
    pub(super) fn invoked(
        &mut self,
        event: &Event<'_>,
        spans: &mut Spans,
        calls: &Calls,
        out: &mut Findings,
    ) {
        let id = event.str("avp.subagent.invocation_id");
        spans.expect_parent(
            event,
            "a turn, or the run's span outside of one",
            |span| matches!(span, Span::Turn { .. } | Span::Agent),
            out,
        );
        if calls.turn_of(id).is_some_and(|turn| turn != event.parent) {
            out.add(
                Rule::ParentWrong,
                "data.parent_span_id",
                "is not the turn that called the sub-agent",
            );
        }
        let step = match spans.get(event.parent) {
            Some(Span::Turn { step }) => step,
            _ => Some(calls.steps()),
        };
        if event.step() != step {
            out.add(
                Rule::StepWrong,
                "data.avp.step",
                "is not the step of the turn",
            );
        }
        spans.add(event, Span::Frame { open: true }, out);
        let key = key::of_str(id);
        if !self.seen.insert(key) {
            let message = format_args!("`{id}` is the invocation of a frame before");
            out.add(
                Rule::FrameRepeated,
                "data.avp.subagent.invocation_id",
                message,
            );
            return;
        }
        let name = key::of_str(event.str("avp.subagent.name"));
        self.open.insert(
            key,
            Frame {
                span: event.span,
                parent: event.parent,
                step: event.step(),
                name,
            },
        );
    }

    pub(super) fn returned(
        &mut self,
        event: &Event<'_>,
        spans: &mut Spans,
        calls: &Calls,
        out: &mut Findings,
    ) {
        let id = event.str("avp.subagent.invocation_id");
        let Some(frame) = self.open.remove(&key::of_str(id)) else {
            let message = format_args!("no frame `{id}` is open");
            out.add(
                Rule::FrameUnknown,
                "data.avp.subagent.invocation_id",
                message,
            );
            return;
        };
        spans.close_frame(frame.span);
        let differs = [
            ("data.span_id", frame.span != event.span),
            ("data.parent_span_id", frame.parent != event.parent),
            ("data.avp.step", frame.step != event.step()),
            (
                "data.avp.subagent.name",
                frame.name != key::of_str(event.str("avp.subagent.name")),
            ),
        ];
        for (field, _) in differs.iter().filter(|(_, differs)| *differs) {
            out.add(
                Rule::FrameDiffers,
                field,
                "is not what subagent_invoked says",
            );
        }
        if calls.has_turns(frame.span)
            && event
                .data
                .get("avp.subagent.usage")
                .is_some_and(|u| !u.is_null())
        {
            let message = "counts again what the frame's own turns say";
            out.add(Rule::FrameUsage, "data.avp.subagent.usage", message);
        }
        self.abandoned |= event.str("avp.subagent.reason") == "abandoned";
    }

    /// At `agent_stopped`.
    pub(super) fn finish(&self, stop: &Event<'_>, out: &mut Findings) {
        if !self.open.is_empty() {
            out.add(
                Rule::FrameOpen,
                "",
                format_args!("{} frames are open", self.open.len()),
            );
        }
        if self.abandoned && stop.str("avp.reason") == "converged" {
            out.add(
                Rule::AbandonedConverged,
                "data.avp.reason",
                "a sub-agent was abandoned",
            );
        }
    }
}
