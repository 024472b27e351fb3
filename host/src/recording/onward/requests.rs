//! Requests of the guest that were under way when a run was ended.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Doubt;
use crate::recording::divergence::shown;
use crate::recording::format::Answer;

/// Methods that do nothing but ask (RFC 9110 §9.2.1).
const SAFE: &[&str] = &["GET", "HEAD", "OPTIONS", "TRACE"];

/// Whether a request has been sent that may do something.
pub(super) fn does_something(request: &Value, answer: &Answer) -> bool {
    was_sent(answer) && !is_safe(request)
}

fn is_safe(request: &Value) -> bool {
    let method = request.get("method").and_then(Value::as_str);
    method.is_some_and(|method| SAFE.contains(&method))
}

fn was_sent(answer: &Answer) -> bool {
    matches!(answer, Answer::Result(result) if result.get("refused").is_none())
}

/// Requests whose answer has not arrived, by the number the guest's requests have.
#[derive(Default)]
pub(super) struct Requests {
    under_way: BTreeMap<u64, Sent>,
}

struct Sent {
    call: u64,
    is_safe: bool,
    /// The head of its response is there.
    is_answered: bool,
    what: String,
}

impl Requests {
    /// Notes what a call says of a request.
    pub(super) fn see(&mut self, call: u64, kind: &str, request: &Value, answer: &Answer) {
        let Some(number) = request.get("request").and_then(Value::as_u64) else {
            return;
        };
        let Answer::Result(result) = answer else {
            return;
        };
        let is = |name: &str| result == name || result.get(name).is_some();
        match kind {
            "http.send" if was_sent(answer) => {
                // Who has a response and asks for something else has mostly read enough of it: that it is dropped
                // is not on the tape.
                self.under_way.retain(|_, sent| !sent.is_answered);
                let sent = Sent {
                    call,
                    is_safe: is_safe(request),
                    is_answered: false,
                    what: format!("`{kind}` {}", shown(&request.to_string())),
                };
                self.under_way.insert(number, sent);
            }
            // That there is an answer says that it was done; what it says is asked for whole or not at all.
            "http.response" if is("head") => {
                if let Some(sent) = self.under_way.get_mut(&number) {
                    sent.is_answered = true;
                }
            }
            "http.response" | "http.read" | "http.blocking-read" | "http.skip"
            | "http.blocking-skip"
                if is("failed") || is("closed") =>
            {
                self.under_way.remove(&number);
            }
            _ => {}
        }
    }

    /// The first call after `floor` whose answer can be asked for again, and had not arrived whole.
    pub(super) fn again(&self, floor: u64) -> Option<u64> {
        let safe = self.under_way.values().filter(|sent| sent.is_safe);
        safe.map(|sent| sent.call)
            .filter(|call| *call > floor)
            .min()
    }

    /// Requests of which nobody knows whether they were answered, and so whether they did what they do.
    pub(super) fn in_doubt(self) -> impl Iterator<Item = Doubt> {
        let sent = self.under_way.into_values();
        let unknown = sent.filter(|sent| !sent.is_safe && !sent.is_answered);
        unknown.map(|sent| Doubt {
            call: sent.call,
            what: sent.what,
        })
    }
}
