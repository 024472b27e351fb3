//! One line a record: what happened in a run, for a person. `run` writes it when nobody watches a
//! terminal, `runs show` afterwards.

use std::time::Duration;

use clap::builder::styling::Style;
use serde_json::Value;
use wasm_agent::run::PastEvent;
use wasm_agent::run::history::PastBody;

use super::out::{CYAN, DIM, GREEN, RED, YELLOW};
use super::text::{clipped, duration, money, path, plural, printable, size};

/// Longest quotation of what an agent or a tool said, in characters.
const QUOTE: usize = 100;

/// A record in a few words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// What kind of thing happened.
    pub(super) label: &'static str,
    /// What exactly.
    pub(super) text: String,
    /// The colour of the label.
    pub(super) style: Style,
}

/// What a record tells a person; nothing when it only completes the account.
pub(super) fn moment(record: &PastEvent) -> Option<Moment> {
    let (label, text, style) = match &record.body {
        PastBody::Avp(event) => avp(&serde_json::from_str(event.get()).ok()?),
        PastBody::Audit(audit) => self::audit(&serde_json::from_str(audit.get()).ok()?),
    }?;
    (!text.is_empty()).then_some(Moment { label, text, style })
}

type Parts = Option<(&'static str, String, Style)>;

fn avp(event: &Value) -> Parts {
    let data = Fields(event.get("data")?);
    let plain = Style::new();
    Some(match event.get("type")?.as_str()? {
        "avp.run_requested" => {
            let prompt = data
                .0
                .pointer("/avp.commission/prompt")
                .and_then(Value::as_str);
            (
                "asked",
                clipped(prompt.unwrap_or("(no task)"), QUOTE),
                plain,
            )
        }
        "avp.agent_started" => {
            let tools = data
                .0
                .get("avp.tools")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let mut parts = Vec::new();
            // What a commission says when no model is wanted.
            parts.extend(
                Some(data.text("avp.request.model"))
                    .filter(|model| !matches!(model.as_str(), "" | "none/none")),
            );
            if tools > 0 {
                parts.push(plural(tools as u64, "tool"));
            }
            ("started", parts.join(", "), plain)
        }
        "avp.assistant_message" => ("turn", turn(&data), CYAN),
        "avp.tool_invoked" => {
            let name = data.text("avp.tool.name");
            match data.0.get("avp.tool.input") {
                Some(Value::Object(input)) if input.is_empty() => ("tool", name, plain),
                Some(input) => (
                    "tool",
                    format!("{name} {}", clipped(&input.to_string(), QUOTE)),
                    plain,
                ),
                None => ("tool", name, plain),
            }
        }
        "avp.tool_returned" => {
            let result = Fields(data.0.get("avp.tool_result")?);
            let failed = result.0.get("is_error").and_then(Value::as_bool) == Some(true);
            let name = data.text("avp.tool.name");
            // AVP counts in milliseconds: anything finer would be made up.
            let took = match data.number("avp.duration_ms") {
                ms @ ..1000 => format!("{ms} ms"),
                ms => duration(Duration::from_millis(ms)),
            };
            let content = match result.0.get("content") {
                Some(Value::String(text)) => text.clone(),
                Some(content) => content.to_string(),
                None => String::new(),
            };
            let content = clipped(&content, QUOTE);
            match failed {
                true => ("failed", format!("{name} after {took}: {content}"), RED),
                false => ("result", format!("{name} after {took}: {content}"), plain),
            }
        }
        "avp.subagent_invoked" => ("delegated", data.text("avp.subagent.name"), CYAN),
        "avp.subagent_returned" => {
            let text = clipped(&data.text("avp.subagent.result.text"), QUOTE);
            let (name, reason) = (
                data.text("avp.subagent.name"),
                data.text("avp.subagent.reason"),
            );
            ("returned", format!("{name} {reason}: {text}"), CYAN)
        }
        "avp.error_occurred" => {
            let (code, message) = (data.text("avp.error.code"), data.text("avp.error.message"));
            ("error", format!("{message} ({code})"), RED)
        }
        "avp.agent_stopped" => {
            let reason = data.text("avp.reason");
            let style = if reason == "converged" { GREEN } else { RED };
            ("stopped", reason, style)
        }
        _ => return None,
    })
}

fn turn(data: &Fields<'_>) -> String {
    let content = data.0.get("avp.content").and_then(Value::as_array);
    let blocks = content.into_iter().flatten();
    let said = blocks
        .filter_map(|block| block.get("text")?.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let usage = data.0.get("avp.usage").map(Fields);
    let tokens = |name| usage.as_ref().map_or(0, |usage| usage.number(name));
    let (read, written) = (tokens("input_tokens"), tokens("output_tokens"));
    let mut parts = vec![data.number("avp.step").to_string()];
    if read + written > 0 {
        parts.push(format!("{read} → {written} tokens"));
    }
    parts.extend(
        data.0
            .get("avp.cost_usd")
            .and_then(Value::as_f64)
            .and_then(money),
    );
    if !said.trim().is_empty() {
        parts.push(clipped(&said, QUOTE));
    }
    parts.join(" · ")
}

fn audit(audit: &Value) -> Parts {
    let data = Fields(audit);
    Some(match audit.get("kind")?.as_str()? {
        "denied" => {
            let (capability, subject) = (data.text("capability"), data.name("subject"));
            (
                "denied",
                format!("{capability} {subject} ({})", data.text("rule")),
                YELLOW,
            )
        }
        "repeated" => {
            let (of, what) = (data.text("of"), data.text("what"));
            let why = match data.text("rule") {
                rule if rule.is_empty() => String::new(),
                rule => format!(" ({rule})"),
            };
            let (count, total) = (data.number("count"), data.number("total"));
            (
                "repeated",
                format!("{count} more {of}, {total} in all: {what}{why}"),
                YELLOW,
            )
        }
        "leak" => {
            let (name, place, action) =
                (data.text("name"), data.text("place"), data.text("action"));
            ("leak", format!("secret {name} in {place}, {action}"), RED)
        }
        "secret_used" => {
            let (name, place, host) = (data.text("name"), data.text("place"), data.text("host"));
            ("secret", format!("{name} → {place} of {host}"), DIM)
        }
        "request" => request(&data, audit),
        "supervision" => {
            let seen = Fields(audit.get("diagnosis")?);
            let quiet = duration(Duration::from_millis(seen.number("quiet_ms")));
            let doing = match seen.text("call") {
                call if call.is_empty() => seen.text("doing").replace('_', " "),
                call => format!("in {call}"),
            };
            let notice = data.text("notice").replace('_', " ");
            (
                "watch",
                format!("{notice}: {doing}, quiet for {quiet}"),
                YELLOW,
            )
        }
        "limit" => {
            let name = data.text("name");
            let max = wasm_agent::grants::limits::show(&name, data.number("max"));
            ("limit", format!("{name} ({max})"), RED)
        }
        "model_retry" => {
            let wait = duration(Duration::from_millis(data.number("wait_ms")));
            let class = data.text("class").replace('_', " ");
            let message = clipped(&data.text("message"), QUOTE);
            let again = match data.text("without") {
                member if member.is_empty() => format!("again in {wait}"),
                member => format!("again without `{member}`"),
            };
            (
                "retry",
                format!("{} {class}: {message}; {again}", data.text("model")),
                YELLOW,
            )
        }
        "rejected" => (
            "rejected",
            format!("{}: {}", data.text("fact"), data.text("reason")),
            YELLOW,
        ),
        "output" => {
            let label = if data.text("stream") == "stderr" {
                "stderr"
            } else {
                "stdout"
            };
            (label, data.text("text"), DIM)
        }
        "malformed_line" => {
            let (line, reason) = (data.number("line"), data.text("reason"));
            (
                "malformed",
                format!("line {line} of standard output: {reason}"),
                YELLOW,
            )
        }
        "foreign_event" => {
            let kind = Fields(audit.get("event")?).text("type");
            ("foreign", format!("an event of type {kind}"), DIM)
        }
        "progress" => (
            "progress",
            progress(&data.text("message"), audit.get("fraction")),
            CYAN,
        ),
        "checkpoint" => ("checkpoint", size(data.number("bytes")), Style::new()),
        "completed" => ("completed", data.text("summary"), GREEN),
        "artifact" => {
            let (name, kind) = (data.name("name"), data.text("media_type"));
            (
                "artifact",
                format!("{name} ({kind}, {})", size(data.number("bytes"))),
                GREEN,
            )
        }
        "file_changed" => {
            let (change, path) = (data.text("change"), data.name("path"));
            match audit.get("from") {
                Some(_) => (
                    "file",
                    format!("{change} {} → {path}", data.name("from")),
                    GREEN,
                ),
                None => ("file", format!("{change} {path}"), GREEN),
            }
        }
        "narrowed" => (
            "narrowed",
            format!("{}: the agent does not ask for it", data.text("subject")),
            DIM,
        ),
        _ => return None,
    })
}

/// `GET https://example.com/ → 200, 12 KiB in 34 ms`.
fn request(data: &Fields<'_>, audit: &Value) -> (&'static str, String, Style) {
    let took = duration(Duration::from_millis(data.number("milliseconds")));
    let what = format!(
        "{} {}",
        data.text("method"),
        clipped(&data.text("url"), QUOTE)
    );
    let status = audit.get("status").and_then(Value::as_u64);
    match (status, audit.get("error")) {
        (None, _) => ("request", format!("{what}: {}", data.text("error")), YELLOW),
        (Some(status), Some(_)) => (
            "request",
            format!("{what} → {status}: {}", data.text("error")),
            YELLOW,
        ),
        (Some(status), None) => {
            let bytes = size(data.number("bytes_in"));
            (
                "request",
                format!("{what} → {status}, {bytes} in {took}"),
                Style::new(),
            )
        }
    }
}

/// `message (42 %)`.
pub(super) fn progress(message: &str, fraction: Option<&Value>) -> String {
    match fraction.and_then(Value::as_f64) {
        Some(fraction) => format!("{} ({:.0} %)", printable(message), fraction * 100.0),
        None => printable(message),
    }
}

/// An object whose values a guest has written.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    /// A text, printable; empty when there is none.
    fn text(&self, name: &str) -> String {
        printable(self.0.get(name).and_then(Value::as_str).unwrap_or_default())
    }

    /// A path or another name; empty when there is none.
    fn name(&self, name: &str) -> String {
        match self.0.get(name).and_then(Value::as_str) {
            None | Some("") => String::new(),
            Some(text) => path(text),
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(body: &str) -> Option<String> {
        let line = format!(r#"{{"seq":0,"time":"2026-01-01T00:00:00Z",{body}}}"#);
        let moment = moment(&PastEvent::parse(line.as_bytes()).unwrap())?;
        Some(format!("{}: {}", moment.label, moment.text))
    }

    fn event(kind: &str, data: &str) -> Option<String> {
        show(&format!(
            r#""avp":{{"type":"avp.{kind}","data":{{{data}}}}}"#
        ))
    }

    #[test]
    fn events_are_told_in_a_line_each() {
        let turn = r#""avp.step":2,"avp.cost_usd":0.0123,"avp.usage":{"input_tokens":9,"output_tokens":4},
            "avp.content":[{"type":"text","text":"I will\nlook"},{"type":"tool_use","name":"grep"}]"#;
        assert_eq!(
            event("assistant_message", turn).unwrap(),
            "turn: 2 · 9 → 4 tokens · $0.0123 · I will look"
        );
        let failed = r#""avp.tool.name":"grep","avp.duration_ms":3,
            "avp.tool_result":{"content":"no\u001b[31m such file","is_error":true}"#;
        assert_eq!(
            event("tool_returned", failed).unwrap(),
            "failed: grep after 3 ms: no [31m such file"
        );
        assert_eq!(event("agent_described", ""), None);
    }

    #[test]
    fn audit_records_are_told_or_left_out() {
        let limit = r#""audit":{"kind":"limit","name":"memory","max":1048576}"#;
        assert_eq!(show(limit).unwrap(), "limit: memory (1MiB)");
        let progress = r#""audit":{"kind":"progress","message":"reading","fraction":0.42}"#;
        assert_eq!(show(progress).unwrap(), "progress: reading (42 %)");
        let retry = r#""audit":{"kind":"model_retry","model":"a/b","attempt":1,"class":"rate_limited","status":429,
            "message":"slow\ndown","wait_ms":1500}"#;
        assert_eq!(
            show(retry).unwrap(),
            "retry: a/b rate limited: slow down; again in 1.50 s"
        );
        let without = r#""audit":{"kind":"model_retry","model":"a/b","attempt":1,"class":"rejected","status":400,
            "message":"no","wait_ms":0,"without":"stream_options"}"#;
        assert_eq!(
            show(without).unwrap(),
            "retry: a/b rejected: no; again without `stream_options`"
        );
        let request = r#""audit":{"kind":"request","caller":"guest","method":"GET","url":"https://a.example/",
            "status":200,"bytes_out":0,"bytes_in":2048,"milliseconds":34}"#;
        assert_eq!(
            show(request).unwrap(),
            "request: GET https://a.example/ → 200, 2.0 KiB in 34.0 ms"
        );
        let denied = r#""audit":{"kind":"request","method":"GET","url":"https://a.example/","error":"no rule"}"#;
        assert_eq!(
            show(denied).unwrap(),
            "request: GET https://a.example/: no rule"
        );
        assert_eq!(show(r#""audit":{"kind":"run_ended","outcome":{}}"#), None);
        let file = r#""audit":{"kind":"file_changed","change":"created","path":"/w/a\u200bb"}"#;
        assert_eq!(show(file).unwrap(), r#"file: created "/w/a\u{200b}b""#);
        assert_eq!(show(r#""audit":{"kind":"of a later version"}"#), None);
    }
}
