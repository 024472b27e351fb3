//! Who vouches for what: the agent's claims beside what the host saw.
//!
//! A tool call is *observed* when its result went through the host, and *claimed* when the agent only says what
//! came of it. The judge looks for what the host saw happen while a claimed call was open. Nothing seen is no
//! violation (reading leaves no record), but whoever believes such a call believes the agent.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;

use super::key::{self, Key};
use crate::json::printable;

/// Claimed calls that are named; more are counted.
pub const MAX_CALLS: usize = 100;

/// Audit records of something that happened outside the agent. A request and a changed file are recorded when
/// the exchange is over and when the file is closed.
const EFFECTS: [&str; 5] = [
    "file_changed",
    "request",
    "artifact",
    "checkpoint",
    "model_retry",
];

/// How much of a run the host saw, and how much of it the agent says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Claims {
    /// Turns of a model.
    pub turns: Split<u64>,
    /// Tool calls that have a result, by who vouches for the result.
    pub tool_calls: Split<u64>,
    /// Tool calls the host answered itself: refused ones, and those that were open at the end.
    pub calls_closed_by_host: u64,
    /// Work delegated to sub-agents.
    pub subagents: Split<u64>,
    /// Input tokens of turns.
    pub input_tokens: Split<u64>,
    /// Output tokens of turns.
    pub output_tokens: Split<u64>,
    /// US dollars of turns.
    pub cost_usd: Split<f64>,
    /// Claimed tool calls while which the host saw nothing happen.
    pub calls_without_effect: u64,
    /// The first [`MAX_CALLS`] of them.
    pub without_effect: Vec<ClaimedCall>,
}

/// A sum by who vouches for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Split<T> {
    /// The host saw it.
    pub observed: T,
    /// The agent says so.
    pub claimed: T,
}

/// A tool call of which only the agent says what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimedCall {
    /// Line of its result in `events.ndjson`, from 1.
    pub line: u64,
    /// The step of its turn.
    pub step: Option<u64>,
    /// The tool.
    pub tool: String,
    /// Its id.
    pub call_id: String,
}

/// Adds up while the judge reads.
#[derive(Debug, Default)]
pub(super) struct Tally {
    claims: Claims,
    /// Effects so far.
    effects: u64,
    /// Effects there had been when a call that has no result yet began.
    began: HashMap<Key, u64>,
    /// Effects there had been when a call ended whose result is held back.
    ended: HashMap<Key, u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Voucher {
    Host,
    Observed,
    Claimed,
}

impl<T: std::ops::AddAssign> Split<T> {
    fn add(&mut self, voucher: Voucher, amount: T) {
        match voucher {
            Voucher::Claimed => self.claimed += amount,
            Voucher::Observed | Voucher::Host => self.observed += amount,
        }
    }
}

impl Tally {
    /// Takes an event of the trajectory, whatever it is, on this line.
    pub(super) fn event(&mut self, event: &Value, line: u64) {
        let Some(data) = event.get("data") else {
            return;
        };
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let voucher = match text("wasm_agent.origin") {
            "claimed" => Voucher::Claimed,
            "host" => Voucher::Host,
            _ => Voucher::Observed,
        };
        let call = text("avp.tool.call_id");
        let claims = &mut self.claims;
        match event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
        {
            "avp.assistant_message" => {
                let tokens = |name: &str| {
                    let usage = data.get("avp.usage");
                    let count = usage.and_then(|usage| usage.get(name)?.as_u64());
                    // A forgery may say anything; the sum of one that is believed stays far below.
                    count.unwrap_or(0).min(u64::from(u32::MAX))
                };
                claims.turns.add(voucher, 1);
                claims.input_tokens.add(voucher, tokens("input_tokens"));
                claims.output_tokens.add(voucher, tokens("output_tokens"));
                let cost = data.get("avp.cost_usd").and_then(Value::as_f64);
                claims.cost_usd.add(voucher, cost.unwrap_or(0.0));
                self.effects += u64::from(voucher == Voucher::Observed);
            }
            "avp.tool_invoked" => {
                self.began.entry(key::of_str(call)).or_insert(self.effects);
            }
            "avp.tool_returned" => {
                let began = self.began.remove(&key::of_str(call));
                let ended = self.ended.remove(&key::of_str(call));
                match voucher {
                    Voucher::Host => claims.calls_closed_by_host += 1,
                    Voucher::Observed => {
                        claims.tool_calls.observed += 1;
                        self.effects += 1;
                    }
                    Voucher::Claimed => {
                        claims.tool_calls.claimed += 1;
                        let ended = ended.unwrap_or(self.effects);
                        if began.is_some_and(|began| ended <= began) {
                            claims.calls_without_effect += 1;
                            if claims.without_effect.len() < MAX_CALLS {
                                claims.without_effect.push(ClaimedCall {
                                    line,
                                    step: data.get("avp.step").and_then(Value::as_u64),
                                    tool: printable(text("avp.tool.name")),
                                    call_id: printable(call),
                                });
                            }
                        }
                    }
                }
            }
            "avp.subagent_invoked" => {
                claims.subagents.add(voucher, 1);
                self.effects += u64::from(voucher == Voucher::Observed);
            }
            _ => {}
        }
    }

    /// Takes an audit record.
    pub(super) fn audit(&mut self, audit: &Value) {
        let text = |name: &str| audit.get(name).and_then(Value::as_str).unwrap_or_default();
        match (text("kind"), text("fact")) {
            (kind, _) if EFFECTS.contains(&kind) => self.effects += 1,
            // Its events are written when the turn closes; what counts is when it was reported.
            ("held", "assistant") => {
                let blocks = audit.pointer("/report/content").and_then(Value::as_array);
                for block in blocks.into_iter().flatten() {
                    let kind = block.get("type").and_then(Value::as_str);
                    let id = block.get("id").and_then(Value::as_str);
                    if let (Some("tool_use" | "server_tool_use"), Some(id)) = (kind, id) {
                        self.began.entry(key::of_str(id)).or_insert(self.effects);
                    }
                }
            }
            ("held", "report-tool-result") => {
                let id = audit.pointer("/report/call_id").and_then(Value::as_str);
                let id = key::of_str(id.unwrap_or_default());
                self.ended.entry(id).or_insert(self.effects);
            }
            _ => {}
        }
    }

    pub(super) fn finish(self) -> Claims {
        self.claims
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, origin: &str, call: &str) -> Value {
        json!({"type": format!("avp.{kind}"), "data": {
            "wasm_agent.origin": origin, "avp.tool.call_id": call, "avp.tool.name": "t", "avp.step": 1,
        }})
    }

    fn tally(records: &[Value]) -> Claims {
        let mut tally = Tally::default();
        for (line, record) in (1..).zip(records) {
            if record.get("kind").is_some() {
                tally.audit(record);
            } else {
                tally.event(record, line);
            }
        }
        tally.finish()
    }

    fn calls(claims: &Claims) -> Vec<&str> {
        claims
            .without_effect
            .iter()
            .map(|call| call.call_id.as_str())
            .collect()
    }

    #[test]
    fn an_effect_counts_for_the_calls_that_are_open() {
        let changed = json!({"kind": "file_changed"});
        let claims = tally(&[
            changed.clone(),
            event("tool_invoked", "observed", "before"),
            event("tool_returned", "claimed", "before"),
            event("tool_invoked", "claimed", "a"),
            event("tool_invoked", "claimed", "b"),
            changed,
            event("tool_returned", "claimed", "a"),
            event("tool_returned", "claimed", "b"),
            event("tool_invoked", "claimed", "after"),
            json!({"kind": "progress"}),
            event("tool_returned", "claimed", "after"),
            event("tool_invoked", "observed", "seen"),
            event("tool_returned", "observed", "seen"),
            event("tool_invoked", "observed", "refused"),
            event("tool_returned", "host", "refused"),
        ]);
        assert_eq!(calls(&claims), ["before", "after"]);
        assert_eq!(claims.without_effect[1].line, 11);
        assert_eq!(
            (claims.tool_calls.observed, claims.tool_calls.claimed),
            (1, 4)
        );
        assert_eq!(claims.calls_closed_by_host, 1);
    }

    #[test]
    fn what_is_held_back_counts_from_when_it_was_reported() {
        let held =
            |fact: &str, report: Value| json!({"kind": "held", "fact": fact, "report": report});
        let turn = |id: &str| {
            held(
                "assistant",
                json!({"content": [{"type": "tool_use", "id": id}]}),
            )
        };
        let result = |id: &str| held("report-tool-result", json!({"call_id": id}));
        let claims = tally(&[
            turn("a"),
            json!({"kind": "request"}),
            result("a"),
            turn("b"),
            result("b"),
            json!({"kind": "request"}),
            event("tool_invoked", "claimed", "a"),
            event("tool_returned", "claimed", "a"),
            event("tool_invoked", "claimed", "b"),
            event("tool_returned", "claimed", "b"),
        ]);
        assert_eq!(calls(&claims), ["b"]);
    }

    #[test]
    fn many_calls_are_counted_and_few_are_named() {
        let mut records = Vec::new();
        for n in 0..MAX_CALLS + 5 {
            records.push(event("tool_invoked", "claimed", &n.to_string()));
            records.push(event("tool_returned", "claimed", &n.to_string()));
        }
        let claims = tally(&records);
        assert_eq!(claims.without_effect.len(), MAX_CALLS);
        assert_eq!(claims.calls_without_effect, MAX_CALLS as u64 + 5);
    }
}
