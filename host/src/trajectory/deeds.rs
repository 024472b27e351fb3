//! What an account says about repetition: who tries the same again, who fails in the same way.
//!
//! Deeds are read off the records, so that every kind of agent and every capability counts, whatever
//! interface the fact came through. Turns of a model are none: between two equal calls there always is one.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use serde_json::Value;

use super::audit::Audit;
use super::event::{Body, Event};
use super::vocabulary::ErrorCode;

/// Deeds and open calls that are kept. Records come faster than they are looked at for at most one epoch
/// of the engine; what is lost of a flood is more of the same.
const KEPT: usize = 256;

/// Tells equal deeds from others. Collisions can be made on purpose; whoever does so ends their own run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

/// One step of an agent, as far as repetition is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Something was tried and failed; the fingerprint is of what was tried, with what, and the error.
    Failed(Fingerprint),
    /// A tool answered; the fingerprint is of its name, its input and its answer.
    Called(Fingerprint),
    /// Something is different now: a file, an artifact, a checkpoint, a sub-agent's result.
    Progressed,
}

/// Reads deeds off records. Bounded, however many there are.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// Calls without a result: the id's fingerprint, and that of name and input.
    open: VecDeque<(Fingerprint, Fingerprint)>,
    unseen: VecDeque<Deed>,
}

impl Fingerprint {
    /// Of anything that can be hashed.
    #[must_use]
    pub fn of<T: Hash + ?Sized>(what: &T) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Fingerprint(hasher.finish())
    }

    /// Of a JSON document; the order of keys does not matter.
    fn of_json(value: &Value) -> Fingerprint {
        match value {
            Value::Null => Fingerprint::of(&()),
            Value::Bool(value) => Fingerprint::of(value),
            Value::Number(number) => Fingerprint::of(number),
            Value::String(text) => Fingerprint::of(text),
            Value::Array(items) => {
                Fingerprint::of(&items.iter().map(Fingerprint::of_json).collect::<Vec<_>>())
            }
            Value::Object(map) => {
                let mut entries: Vec<_> = map
                    .iter()
                    .map(|(key, value)| (key, Fingerprint::of_json(value).0))
                    .collect();
                entries.sort_unstable();
                Fingerprint::of(&entries)
            }
        }
    }
}

impl Deeds {
    /// Takes an event.
    pub(super) fn note_event(&mut self, event: &Event) {
        let deed = match &event.body {
            Body::ToolInvoked(call) => {
                let what = Fingerprint::of(&(&call.name, Fingerprint::of_json(&call.input)));
                push(&mut self.open, (Fingerprint::of(&call.call_id), what));
                return;
            }
            Body::ToolReturned(returned) => {
                let Some(what) = self.close(&returned.call_id) else {
                    return;
                };
                let result = &returned.result;
                let structured = result.structured_content.as_ref().map(Fingerprint::of_json);
                let answer = (Fingerprint::of_json(&result.content), structured);
                let deed = Fingerprint::of(&(what, answer));
                if result.is_error {
                    Deed::Failed(deed)
                } else {
                    Deed::Called(deed)
                }
            }
            // Waiting for a rate limit to pass is what an agent should do.
            Body::ErrorOccurred(error) if error.code == ErrorCode::RateLimit => return,
            Body::ErrorOccurred(error) => Deed::Failed(Fingerprint::of(&error.message)),
            Body::SubagentReturned(_) => Deed::Progressed,
            _ => return,
        };
        push(&mut self.unseen, deed);
    }

    /// Takes what the host tells, whether or not it has a record of its own.
    pub(super) fn note_audit(&mut self, audit: &Audit) {
        let deed = match audit {
            Audit::Rejected { fact, reason } => Deed::Failed(Fingerprint::of(&(fact, reason))),
            Audit::Denied {
                capability,
                subject,
                rule,
            } => Deed::Failed(Fingerprint::of(&(capability, subject, rule))),
            Audit::Artifact { .. }
            | Audit::Checkpoint { .. }
            | Audit::Completed { .. }
            | Audit::FileChanged { .. } => Deed::Progressed,
            _ => return,
        };
        push(&mut self.unseen, deed);
    }

    /// The deeds since the last time.
    pub(super) fn take(&mut self) -> VecDeque<Deed> {
        std::mem::take(&mut self.unseen)
    }

    fn close(&mut self, call_id: &str) -> Option<Fingerprint> {
        let id = Fingerprint::of(call_id);
        let index = self.open.iter().position(|(open, _)| *open == id)?;
        self.open.remove(index).map(|(_, what)| what)
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trajectory::content::Block;
    use crate::trajectory::event::{AgentStarted, Origin};
    use crate::trajectory::fact::{ToolResult, Turn};
    use crate::trajectory::journal::{Journal, Link};
    use crate::trajectory::ledger::{FactLimits, Ledger};
    use crate::trajectory::recorder::{Ids, Recorder};

    fn ledger() -> Ledger {
        let limits = FactLimits {
            facts: 10_000,
            fact_bytes: 1 << 20,
            total_bytes: 1 << 30,
        };
        let recorder = Recorder::new(Ids::seeded([0; 16]), "run", None);
        let ledger = Ledger::new(recorder, Journal::in_memory(Link::of(b"")), limits, None);
        let tools = vec![serde_json::from_value(json!({ "name": "build" })).unwrap()];
        ledger
            .start(AgentStarted {
                tools,
                ..AgentStarted::default()
            })
            .unwrap();
        ledger
    }

    /// A turn that calls a tool, and the tool's result.
    fn call(ledger: &Ledger, id: &str, input: &Value, answer: &str, is_error: bool) {
        let block = json!({ "type": "tool_use", "id": id, "name": "build", "input": input });
        let turn = Turn {
            content: vec![Block::parse(block).unwrap()],
            ..Turn::default()
        };
        ledger.assistant(Origin::Claimed, turn).unwrap();
        let result = ToolResult {
            call_id: id.to_owned(),
            content: Value::String(answer.to_owned()),
            structured: None,
            is_error,
        };
        ledger.tool_result(Origin::Claimed, result).unwrap();
    }

    fn records(entries: impl IntoIterator<Item = Audit>) -> VecDeque<Deed> {
        let mut deeds = Deeds::default();
        for audit in entries {
            deeds.note_audit(&audit);
        }
        deeds.take()
    }

    #[test]
    fn the_order_of_keys_and_the_id_of_a_call_make_no_difference() {
        let ledger = ledger();
        call(&ledger, "1", &json!({ "a": 1, "b": [1, 2] }), "x", false);
        call(&ledger, "2", &json!({ "b": [1, 2], "a": 1 }), "x", false);
        call(&ledger, "3", &json!({ "b": [2, 1], "a": 1 }), "x", false);
        let deeds = ledger.take_deeds();
        assert_eq!(deeds.len(), 3, "{deeds:?}");
        assert_eq!(deeds[0], deeds[1]);
        assert_ne!(deeds[0], deeds[2]);
        call(&ledger, "4", &json!({ "a": 1, "b": [1, 2] }), "x", true);
        call(&ledger, "5", &json!({ "a": 1, "b": [1, 2] }), "y", false);
        let others = ledger.take_deeds();
        assert!(matches!(others[0], Deed::Failed(_)));
        assert!(matches!(others[1], Deed::Called(_)) && others[1] != deeds[0]);
        assert!(ledger.take_deeds().is_empty());
    }

    #[test]
    fn refusals_and_denials_fail_changes_are_progress_and_output_is_neither() {
        let denied = || Audit::Denied {
            capability: "wasi:filesystem",
            subject: "/work/.git/config".to_owned(),
            rule: "protected".to_owned(),
        };
        let output = || Audit::Progress {
            message: "x".to_owned(),
            fraction: None,
        };
        let deeds = records([denied(), output(), denied()]);
        assert!(matches!(deeds[0], Deed::Failed(_)));
        assert_eq!((deeds.len(), deeds[0]), (2, deeds[1]));
        let changed = Audit::Checkpoint {
            digest: String::new(),
            bytes: 0,
        };
        assert_eq!(records([changed]), [Deed::Progressed]);
    }

    #[test]
    fn a_flood_is_forgotten_from_its_beginning() {
        let rejected = |n: usize| Audit::Rejected {
            fact: "x",
            reason: n.to_string(),
        };
        let deeds = records((0..10_000).map(rejected));
        assert_eq!(deeds.len(), KEPT);
        assert_eq!(
            deeds[KEPT - 1],
            Deed::Failed(Fingerprint::of(&("x", "9999")))
        );
    }
}
