//! The span tree.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::Rule;
use super::event::Event;
use super::report::Findings;

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// The run.
    Agent,
    /// A turn and its step.
    Turn { step: Option<u64> },
    /// A sub-agent's frame.
    Frame { open: bool },
    /// Nothing hangs here but results.
    Leaf,
}

/// All spans so far.
#[derive(Default)]
pub(super) struct Spans {
    spans: HashMap<u64, Span>,
    agent: u64,
}

impl Spans {
    /// The run's span; zero before `agent_started`.
    pub(super) fn agent(&self) -> u64 {
        self.agent
    }

    pub(super) fn get(&self, span: u64) -> Option<Span> {
        self.spans.get(&span).copied()
    }

    /// Adds the span of an event and judges that it is new.
    pub(super) fn add(&mut self, event: &Event<'_>, span: Span, out: &mut Findings) {
        if event.span == 0 {
            return; // reported by the shape already
        }
        if span == Span::Agent {
            self.agent = event.span;
        }
        match self.spans.entry(event.span) {
            Entry::Vacant(slot) => {
                slot.insert(span);
            }
            Entry::Occupied(_) => {
                out.add(
                    Rule::SpanRepeated,
                    "data.span_id",
                    "is the span of an event before",
                );
            }
        }
    }

    pub(super) fn close_frame(&mut self, span: u64) {
        if let Some(Span::Frame { open }) = self.spans.get_mut(&span) {
            *open = false;
        }
    }

    /// Judges that an event hangs at the root.
    pub(super) fn expect_root(&self, event: &Event<'_>, out: &mut Findings) {
        if event.parent != 0 {
            out.add(
                Rule::ParentWrong,
                "data.parent_span_id",
                "expected zeros: the event is a root",
            );
        }
    }

    /// Judges an event's parent: it has to be there, and to be what `fits` accepts.
    pub(super) fn expect_parent(
        &self,
        event: &Event<'_>,
        expected: &str,
        fits: impl FnOnce(Span) -> bool,
        out: &mut Findings,
    ) {
        match self.get(event.parent) {
            Some(span) if fits(span) => {}
            None if event.parent != 0 => {
                out.add(
                    Rule::ParentUnknown,
                    "data.parent_span_id",
                    "is not the span of an event before",
                );
            }
            _ => out.add(
                Rule::ParentWrong,
                "data.parent_span_id",
                format_args!("expected {expected}"),
            ),
        }
    }
}
