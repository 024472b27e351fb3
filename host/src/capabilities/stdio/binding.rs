//! AVP's stdio binding: NDJSON on standard output becomes the claimed trajectory of a stdio agent.
//!
//! The agent's own envelopes, ids, times and spans are not used: each line is read as the fact it
//! reports, and the recorder writes the event. A line that is not an AVP event is an audit record and an
//! error for that line, never the end of the run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::capabilities::activity::Activity;
use crate::descriptor::Descriptor;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::content::{Block, check_result_content};
use crate::trajectory::event::Origin;
use crate::trajectory::fact::{
    SubagentCall, SubagentResult, SubagentUsage, ToolResult, Turn, Usage,
};
use crate::trajectory::ledger::LedgerError;
use crate::trajectory::opening::Opening;
use crate::trajectory::{Audit, ErrorCode, JournalError, Ledger, Rejected, StopReason};

/// Bytes of a malformed line that are kept.
const EXCERPT: usize = 200;

/// Reads the lines of one stdio agent. Cheap to clone.
#[derive(Clone)]
pub struct Binding {
    ledger: Ledger,
    opening: Opening,
    minimal: Arc<Descriptor>,
    activity: Arc<Activity>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: u64,
    /// Span ids the agent uses for its sub-agents' frames.
    frames: HashMap<String, String>,
    stopped: Option<ClaimedStop>,
}

/// The `agent_stopped` event of the agent itself.
#[derive(Clone, Debug)]
pub struct ClaimedStop {
    /// How the agent says it ended.
    pub reason: StopReason,
    /// What it returns.
    pub output: Option<Value>,
}

type Data = Map<String, Value>;

impl Binding {
    /// A binding that opens the trajectory with `minimal` if the agent does not describe itself.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        opening: Opening,
        minimal: Descriptor,
        activity: Arc<Activity>,
    ) -> Binding {
        Binding {
            ledger,
            opening,
            minimal: Arc::new(minimal),
            activity,
            state: Arc::default(),
        }
    }

    /// How the agent says it ended, if it has.
    #[must_use]
    pub fn stopped(&self) -> Option<ClaimedStop> {
        self.lock().stopped.clone()
    }

    /// Takes a line that is longer than an event may be.
    pub(super) fn too_long(&self, max: usize) -> Result<(), JournalError> {
        let mut state = self.lock();
        state.lines += 1;
        self.malformed(state.lines, format!("longer than {max} bytes"), "")
    }

    /// Takes one line.
    pub(super) fn line(&self, line: &[u8]) -> Result<(), JournalError> {
        let mut state = self.lock();
        state.lines += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(line);
        let taken = match self.ledger.admit(line.len()) {
            Ok(()) => self.event(&mut state, line),
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => Ok(()),
            Err(LedgerError::Journal(error)) => Err(error),
            // The ledger has noted the limit; noting every further line would be the flood itself.
            Err(LedgerError::Rejected(Rejected::Limit { .. })) => Ok(()),
            Err(LedgerError::Rejected(rejected)) => {
                self.malformed(state.lines, rejected.to_string(), &text)
            }
        }
    }

    fn malformed(&self, line: u64, reason: String, text: &str) -> Result<(), JournalError> {
        // Cut short first, a secret would not be recognised.
        let guard = self.ledger.guard();
        let redacted = guard.and_then(|guard| guard.redact_text(text));
        let text = redacted.map_or_else(|| text.to_owned(), |redacted| redacted.rest);
        let text = text.chars().take(EXCERPT).collect();
        let message = format!("line {line} of standard output is not an AVP event: {reason}");
        self.ledger
            .audit(Audit::MalformedLine { line, reason, text })?;
        self.opening.start(&self.minimal)?;
        match self
            .ledger
            .error(Origin::Host, ErrorCode::Unknown, message, None)
        {
            Err(LedgerError::Journal(error)) => Err(error),
            Ok(()) | Err(LedgerError::Rejected(_)) => Ok(()),
        }
    }

    fn event(&self, state: &mut State, line: &[u8]) -> Result<(), LedgerError> {
        let event: Value =
            serde_json::from_slice(line).map_err(|error| invalid(format!("not JSON: {error}")))?;
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("`type` is missing"))?;
        let Some(data) = event.get("data").and_then(Value::as_object) else {
            return Err(invalid("`data` is missing").into());
        };
        if state.stopped.is_some() && !down(Wall::Stdio) {
            return Err(Rejected::Stopped.into());
        }
        match kind {
            // The host's own events stand; the agent's are read for what only the agent knows.
            "avp.run_requested" => return Ok(()),
            "avp.agent_described" => {
                let descriptor = data.get("avp.descriptor").cloned().unwrap_or(Value::Null);
                let descriptor: Descriptor = serde_json::from_value(descriptor)
                    .map_err(|error| invalid(format!("avp.descriptor: {error}")))?;
                descriptor
                    .validate()
                    .map_err(|error| invalid(format!("avp.descriptor: {error}")))?;
                return Ok(self.opening.describe(&descriptor)?);
            }
            _ => self.opening.start(&self.minimal)?,
        }
        match kind {
            "avp.agent_started" => Ok(()),
            "avp.assistant_message" => {
                let turn = turn(data, &state.frames)?;
                self.ledger.assistant(Origin::Claimed, turn).map(drop)
            }
            // Follows from the `tool_use` block of the turn, which is on record already.
            "avp.tool_invoked" => Ok(()),
            "avp.tool_returned" => {
                self.ledger
                    .tool_result(Origin::Claimed, tool_result(data)?)?;
                self.activity.tool_returned();
                Ok(())
            }
            "avp.subagent_invoked" => {
                let call = SubagentCall {
                    invocation_id: string(data, "avp.subagent.invocation_id")?,
                    name: string(data, "avp.subagent.name")?,
                    description: optional_string(data, "avp.subagent.description"),
                    input: data
                        .get("avp.subagent.input")
                        .filter(|input| input.is_object())
                        .cloned(),
                };
                if let Some(span) = optional_string(data, "span_id") {
                    state.frames.insert(span, call.invocation_id.clone());
                }
                self.ledger.subagent_start(Origin::Claimed, call)
            }
            "avp.subagent_returned" => {
                let result = SubagentResult {
                    invocation_id: string(data, "avp.subagent.invocation_id")?,
                    text: string(data, "avp.subagent.result.text")?,
                    structured: data.get("avp.subagent.result.structured").cloned(),
                    reason: typed(data, "avp.subagent.reason")?,
                    usage: optional::<SubagentUsage>(data, "avp.subagent.usage")?,
                };
                self.ledger.subagent_result(Origin::Claimed, result)
            }
            "avp.error_occurred" => {
                let (code, message) = (
                    typed(data, "avp.error.code")?,
                    string(data, "avp.error.message")?,
                );
                self.ledger.error(Origin::Claimed, code, message, None)
            }
            "avp.agent_stopped" => {
                let reason = typed(data, "avp.reason")?;
                state.stopped = Some(ClaimedStop {
                    reason,
                    output: data.get("avp.output").cloned(),
                });
                Ok(())
            }
            // Consumers pass unknown types through (AVP README §4). They are no part of the AVP view,
            // whose schema is closed, so they stand in the event log only.
            _ => Ok(self.ledger.audit(Audit::ForeignEvent { event })?),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn turn(data: &Data, frames: &HashMap<String, String>) -> Result<Turn, Rejected> {
    let Some(Value::Array(blocks)) = data.get("avp.content") else {
        return Err(invalid("avp.content: a list is required"));
    };
    let content = blocks
        .iter()
        .enumerate()
        .map(|(index, block)| {
            Block::parse(block.clone())
                .map_err(|reason| invalid(format!("avp.content[{index}].{reason}")))
        })
        .collect::<Result<_, _>>()?;
    let reported = data.get("avp.cost.source").and_then(Value::as_str) != Some("unknown");
    let cost_usd = data
        .get("avp.cost_usd")
        .and_then(Value::as_f64)
        .filter(|_| reported);
    let parent = data.get("parent_span_id").and_then(Value::as_str);
    Ok(Turn {
        key: None,
        frame: parent.and_then(|span| frames.get(span).cloned()),
        content,
        usage: Some(typed::<Usage>(data, "avp.usage")?),
        model: optional_string(data, "avp.response.model"),
        request_model: optional_string(data, "avp.request.model"),
        provider: None,
        finish_reasons: optional(data, "avp.response.finish_reasons")?.unwrap_or_default(),
        cost_usd,
        cost_source: None,
        duration_ms: data.get("avp.duration_ms").and_then(Value::as_u64),
        time_to_first_chunk: data
            .get("avp.response.time_to_first_chunk")
            .and_then(Value::as_f64),
        refusal_category: optional_string(data, "avp.refusal.category"),
        meta: optional(data, "avp.meta")?,
    })
}

fn tool_result(data: &Data) -> Result<ToolResult, Rejected> {
    let call_id = string(data, "avp.tool.call_id")?;
    let Some(result) = data.get("avp.tool_result") else {
        return Err(invalid("avp.tool_result: is required"));
    };
    check_result_content(result.get("content"))
        .map_err(|reason| invalid(format!("avp.tool_result.{reason}")))?;
    Ok(ToolResult {
        call_id,
        content: result.get("content").cloned().unwrap_or_default(),
        structured: result
            .get("structured_content")
            .filter(|value| value.is_object())
            .cloned(),
        is_error: result
            .get("is_error")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

fn invalid(reason: impl Into<String>) -> Rejected {
    Rejected::Invalid(reason.into())
}

fn string(data: &Data, key: &str) -> Result<String, Rejected> {
    optional_string(data, key).ok_or_else(|| invalid(format!("{key}: a string is required")))
}

fn optional_string(data: &Data, key: &str) -> Option<String> {
    data.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn typed<T: serde::de::DeserializeOwned>(data: &Data, key: &str) -> Result<T, Rejected> {
    optional(data, key)?.ok_or_else(|| invalid(format!("{key}: is required")))
}

fn optional<T: serde::de::DeserializeOwned>(data: &Data, key: &str) -> Result<Option<T>, Rejected> {
    data.get(key)
        .filter(|value| !value.is_null())
        .map(|value| T::deserialize(value))
        .transpose()
        .map_err(|error| invalid(format!("{key}: {error}")))
}
