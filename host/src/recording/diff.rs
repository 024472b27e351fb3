//! Two recordings side by side.

use serde_json::Value;

use super::Recording;
use super::format::{Answer, Entry};
use super::request::{FirstDifference, first_difference};

/// What differs between two recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Something the runs depended on.
    Header(FirstDifference),
    /// An entry, and in what. Times do not count.
    Entry {
        /// Number of the call in the one.
        call: u64,
        /// In what.
        difference: FirstDifference,
    },
    /// One has more entries.
    Length {
        /// Calls of the one.
        one: u64,
        /// Calls of the other.
        other: u64,
    },
    /// How the runs ended.
    End(FirstDifference),
}

/// Compares two recordings: the header, then entry by entry up to the first that differs, then the end. What
/// time it was does not count, nor what follows from it.
#[must_use]
pub fn differences(one: &Recording, other: &Recording) -> Vec<Difference> {
    let mut found = Vec::new();
    let header = |recording: &Recording| {
        let mut value: Value = serde_json::from_str(&recording.header.line()).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            for name in ["start", "session_id", "seed", "host", "parent"] {
                map.remove(name);
            }
        }
        value
    };
    found.extend(first_difference(&header(one), &header(other)).map(Difference::Header));
    let calls = |recording: &Recording| -> Vec<(u64, Value)> {
        recording.entries.iter().filter_map(said).collect()
    };
    let (ones, others) = (calls(one), calls(other));
    let differing = ones
        .iter()
        .zip(&others)
        .find_map(|((n, a), (_, b))| Some((*n, first_difference(a, b)?)));
    match differing {
        Some((call, difference)) => found.push(Difference::Entry { call, difference }),
        None if ones.len() != others.len() => found.push(Difference::Length {
            one: ones.len() as u64,
            other: others.len() as u64,
        }),
        None => {}
    }
    let end = |recording: &Recording| match &recording.end {
        Some(end) => serde_json::json!({
            "ended": end.ended, "output": end.output, "fuel": end.fuel,
        }),
        None => Value::Null,
    };
    found.extend(first_difference(&end(one), &end(other)).map(Difference::End));
    found
}

/// An entry without the time, as a document; readings are nothing but time.
fn said(entry: &Entry) -> Option<(u64, Value)> {
    match entry {
        Entry::Readings { .. } => None,
        Entry::Call {
            n,
            kind,
            request,
            answer,
        } => {
            let answer = of(answer);
            let said = serde_json::json!({ "call": kind, "request": request, "answer": answer });
            Some((*n, said))
        }
        Entry::Asked { n, kind, request } => {
            let said = serde_json::json!({ "call": kind, "request": request });
            Some((*n, said))
        }
        Entry::Answered { of: n, answer } => {
            Some((*n, serde_json::json!({ "of": n, "answer": of(answer) })))
        }
        Entry::Cut { n, ended } => Some((*n, serde_json::json!({ "cut": ended }))),
    }
}

fn of(answer: &Answer) -> Value {
    match answer {
        Answer::Result(value) => serde_json::json!({ "result": value }),
        Answer::Trap(message) => serde_json::json!({ "trap": message }),
    }
}
