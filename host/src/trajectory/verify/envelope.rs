//! Rules about one event by itself, and about what all events share.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Rule;
use super::key::{self, Key};
use super::report::Findings;
use super::schema::{self, EventType};
use super::shape::{self, Fault, Path};
use super::time;

/// What all events share.
#[derive(Default)]
pub(super) struct Envelope {
    ids: HashSet<Key>,
    trace: Option<Key>,
    subject: Option<String>,
    last_time: Option<Timestamp>,
}

/// Whether an event has to say where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Optional,
    Required,
}

impl Envelope {
    /// The subject all events must have, once the commission says so.
    pub(super) fn expect_subject(&mut self, run_id: &str) {
        self.subject = Some(run_id.to_owned());
    }

    /// Judges the envelope and the shape of `data`. Gives the event's type and data when there are any.
    pub(super) fn judge<'a>(
        &mut self,
        value: &'a Value,
        origin: Origin,
        out: &mut Findings,
    ) -> Option<(EventType, &'a Map<String, Value>)> {
        let Some(event) = value.as_object() else {
            out.add(Rule::NotJson, "", "expected an object");
            return None;
        };
        shape::check(
            &schema::ENVELOPE,
            value,
            &Path::root(""),
            &mut |fault, path, message| {
                let rule = match fault {
                    Fault::Missing => Rule::EnvelopeIncomplete,
                    Fault::Unknown => Rule::EnvelopeUnknownKey,
                    Fault::Invalid => Rule::EnvelopeInvalid,
                };
                out.add(rule, &path.to_string(), message);
            },
        );
        if let Some(id) = event.get("id").and_then(Value::as_str)
            && !self.ids.insert(key::of_str(id))
        {
            out.add(
                Rule::IdRepeated,
                "id",
                format_args!("`{id}` is the id of an event before"),
            );
        }
        if let Some(text) = event.get("time").and_then(Value::as_str) {
            self.judge_time(text, out);
        }
        let kind = event.get("type").and_then(Value::as_str).and_then(|text| {
            let kind = EventType::parse(text);
            if kind.is_none() {
                out.add(
                    Rule::UnknownEvent,
                    "type",
                    format_args!("`{text}` is not an event of AVP v0.1"),
                );
            }
            kind
        })?;
        let data = event.get("data")?;
        self.judge_data(kind, data, origin, out);
        let data = data.as_object()?;
        // The first event's commission is what the subject is measured by.
        if self.subject.is_none() {
            let commission = data
                .get("avp.commission")
                .filter(|_| kind == EventType::RunRequested);
            let run_id = commission
                .and_then(|c| c.get("run_id"))
                .and_then(Value::as_str);
            let own = event.get("subject").and_then(Value::as_str);
            self.subject = run_id.or(own).map(str::to_owned);
        }
        if let (Some(expected), Some(found)) =
            (&self.subject, event.get("subject").and_then(Value::as_str))
            && expected != found
        {
            out.add(
                Rule::SubjectMismatch,
                "subject",
                format_args!("`{found}` is not the run `{expected}`"),
            );
        }
        Some((kind, data))
    }

    fn judge_time(&mut self, text: &str, out: &mut Findings) {
        let Some(now) = time::parse(text) else {
            out.add(
                Rule::TimeInvalid,
                "time",
                format_args!("`{text}` is not an RFC 3339 timestamp"),
            );
            return;
        };
        if self.last_time.is_some_and(|last| now < last) {
            out.add(
                Rule::TimeBackwards,
                "time",
                format_args!("{text} is before the event before it"),
            );
        }
        self.last_time = self.last_time.max(Some(now));
    }

    fn judge_data(&mut self, kind: EventType, value: &Value, origin: Origin, out: &mut Findings) {
        let mut note = |fault, path: &Path<'_>, message: &str| {
            let path = path.to_string();
            let rule = match fault {
                _ if path.starts_with("data.avp.descriptor.") => Rule::DescriptorInvalid,
                _ if matches!(
                    path.as_str(),
                    "data.trace_id" | "data.span_id" | "data.parent_span_id"
                ) =>
                {
                    Rule::SpanInvalid
                }
                Fault::Missing => Rule::DataMissing,
                Fault::Unknown | Fault::Invalid => Rule::DataInvalid,
            };
            out.add(rule, &path, message);
        };
        let root = Path::root("data");
        shape::check(&shape::Shape::Open(schema::SPAN), value, &root, &mut note);
        shape::check(&shape::Shape::Open(kind.fields()), value, &root, &mut note);
        let Some(data) = value.as_object() else {
            return;
        };
        for key in data.keys() {
            if matches!(key.as_str(), "trace_id" | "span_id" | "parent_span_id") {
                continue;
            }
            let field = || format!("data.{key}");
            if key.split('.').filter(|part| !part.is_empty()).count() < 2 {
                out.add(Rule::KeyNotNamespaced, &field(), "has no namespace");
            } else if key.starts_with("avp.")
                && !kind
                    .fields()
                    .iter()
                    .chain(schema::SPAN)
                    .any(|known| known.name() == key)
            {
                out.add(
                    Rule::KeyReserved,
                    &field(),
                    "is not a field AVP gives this event",
                );
            }
        }
        for key in ["trace_id", "span_id"] {
            if data
                .get(key)
                .and_then(Value::as_str)
                .is_some_and(|id| id.bytes().all(|b| b == b'0'))
            {
                out.add(Rule::SpanInvalid, &format!("data.{key}"), "is zero");
            }
        }
        if let Some(trace) = data.get("trace_id").and_then(Value::as_str) {
            let trace = key::of_str(trace);
            if *self.trace.get_or_insert(trace) != trace {
                out.add(
                    Rule::TraceChanged,
                    "data.trace_id",
                    "differs from the first event's",
                );
            }
        }
        match data.get("wasm_agent.origin").map(Value::as_str) {
            None if origin == Origin::Required => {
                out.add(Rule::OriginMissing, "data.wasm_agent.origin", "is missing");
            }
            None | Some(Some("host" | "observed" | "claimed")) => {}
            Some(_) => {
                out.add(
                    Rule::OriginInvalid,
                    "data.wasm_agent.origin",
                    "expected host, observed or claimed",
                );
            }
        }
    }
}
