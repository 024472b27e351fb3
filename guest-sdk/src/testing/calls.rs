//! The host calls, answered from memory.

use super::{Fact, Open, STATE, State};
use crate::ErrorCode;
use crate::bindings::wasm_agent::agent::session::{
    Artifact, RunBudget, RunInfo, SessionError, Stored,
};
use crate::bindings::wasm_agent::agent::trajectory::{
    Receipt, Rejected, SubagentCall, SubagentResult, ToolResult, Turn, Usage,
};
use crate::bindings::wasm_agent::agent::types::{ContentBlock, Limit, ToolCall};

pub(crate) fn assistant(turn: &Turn) -> Result<Receipt, Rejected> {
    STATE.with_borrow_mut(|state| {
        if let Some(meta) = &turn.meta {
            object("meta", meta)?;
        }
        if let Some(frame) = &turn.frame {
            state.open_frame(frame)?;
        }
        let calls: Vec<&ToolCall> = turn
            .content
            .iter()
            .filter_map(|block| match block {
                ContentBlock::ToolUse(call) => Some(call),
                _ => None,
            })
            .collect();
        for (at, call) in calls.iter().enumerate() {
            if call.id.is_empty() {
                return Err(Rejected::Invalid("the id of a tool use is empty".into()));
            }
            object("input of a tool use", &call.input)?;
            let here = calls.iter().take(at).any(|other| other.id == call.id);
            if here || state.calls.iter().any(|(id, _)| *id == call.id) {
                return Err(Rejected::DuplicateCall(call.id.clone()));
            }
        }

        let joins = matches!((&state.open, &turn.key), (Some(open), Some(key)) if open.key == *key);
        if !joins {
            state.open = None;
            if !turn.content.is_empty() {
                state.step += 1;
            }
        }
        let mut refused = Vec::new();
        for call in &calls {
            let allowed = state.knows_tool(&call.name);
            if !allowed {
                refused.push(call.id.clone());
            }
            state.names.insert(call.id.clone(), call.name.clone());
            state.calls.push((call.id.clone(), !allowed));
        }
        if let Some(key) = &turn.key {
            let open = state.open.get_or_insert_with(|| Open {
                key: key.clone(),
                calls: Vec::new(),
            });
            open.calls.extend(calls.iter().map(|call| call.id.clone()));
        }
        state.facts.push(Fact::Turn(turn.clone()));
        Ok(Receipt {
            step: state.step,
            refused_calls: refused,
        })
    })
}

pub(crate) fn report_usage(
    key: Option<&str>,
    usage: Usage,
    cost_usd: Option<f64>,
) -> Result<(), Rejected> {
    if cost_usd.is_some_and(|cost| !cost.is_finite() || cost < 0.0) {
        return Err(Rejected::Invalid("cost-usd is not a price".into()));
    }
    STATE.with_borrow_mut(|state| {
        let open = state.open.as_ref().ok_or(Rejected::NoOpenTurn)?;
        if key.is_some_and(|key| key != open.key) {
            return Err(Rejected::NoOpenTurn);
        }
        state.facts.push(Fact::Usage {
            key: key.map(Into::into),
            usage,
            cost_usd,
        });
        Ok(())
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the host call")]
pub(crate) fn close_turn() -> Result<(), Rejected> {
    STATE.with_borrow_mut(|state| state.open = None);
    Ok(())
}

pub(crate) fn report_tool_result(result: &ToolResult) -> Result<(), Rejected> {
    if let Some(structured) = &result.structured {
        object("structured", structured)?;
    }
    STATE.with_borrow_mut(|state| {
        let id = &result.call_id;
        match state.calls.iter_mut().find(|(known, _)| known == id) {
            None => return Err(Rejected::UnknownCall(id.clone())),
            Some((_, true)) => return Err(Rejected::CallReturned(id.clone())),
            Some((_, returned)) => *returned = true,
        }
        // What a model says after a tool has answered is another inference.
        if (state.open.as_ref()).is_some_and(|open| open.calls.contains(id)) {
            state.open = None;
        }
        state.facts.push(Fact::ToolResult(result.clone()));
        Ok(())
    })
}

pub(crate) fn start_subagent(call: &SubagentCall) -> Result<(), Rejected> {
    if let Some(input) = &call.input {
        object("input", input)?;
    }
    STATE.with_borrow_mut(|state| {
        let id = &call.invocation_id;
        if state.frames.iter().any(|(known, _)| known == id) {
            return Err(Rejected::DuplicateInvocation(id.clone()));
        }
        state.frames.push((id.clone(), false));
        state.facts.push(Fact::SubagentStarted(call.clone()));
        Ok(())
    })
}

pub(crate) fn finish_subagent(result: &SubagentResult) -> Result<(), Rejected> {
    STATE.with_borrow_mut(|state| {
        *state.open_frame(&result.invocation_id)? = true;
        state.facts.push(Fact::SubagentFinished(result.clone()));
        Ok(())
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the host call")]
pub(crate) fn report_error(code: ErrorCode, message: &str) -> Result<(), Rejected> {
    record(Fact::Error {
        code,
        message: message.into(),
    });
    Ok(())
}

pub(crate) fn progress(message: &str, fraction: Option<f64>) -> Result<(), Rejected> {
    if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
        return Err(Rejected::Invalid(
            "fraction is not between 0 and 1".to_owned(),
        ));
    }
    record(Fact::Progress {
        message: message.into(),
        fraction,
    });
    Ok(())
}

pub(crate) fn info() -> RunInfo {
    STATE.with_borrow(|state| state.host.info.clone())
}

pub(crate) fn budget() -> RunBudget {
    STATE.with_borrow(|state| RunBudget {
        storage_bytes: state.room(),
        ..state.host.budget
    })
}

pub(crate) fn save(checkpoint: &[u8]) -> Result<Stored, SessionError> {
    STATE.with_borrow_mut(|state| {
        let stored = state.store(checkpoint)?;
        state.host.checkpoint = Some(checkpoint.to_vec());
        state.facts.push(Fact::Checkpoint(checkpoint.to_vec()));
        Ok(stored)
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of the host call")]
pub(crate) fn load() -> Result<Option<Vec<u8>>, SessionError> {
    Ok(STATE.with_borrow(|state| state.host.checkpoint.clone()))
}

pub(crate) fn complete(summary: &str) -> Result<(), SessionError> {
    STATE.with_borrow_mut(|state| {
        if state.completed {
            return Err(SessionError::Exists("a declaration of completion".into()));
        }
        state.completed = true;
        state.facts.push(Fact::Complete(summary.into()));
        Ok(())
    })
}

pub(crate) fn submit_artifact(artifact: &Artifact) -> Result<Stored, SessionError> {
    let name = &artifact.name;
    let legal = (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && (name.bytes()).all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !legal {
        return Err(SessionError::Invalid(format!("name: `{name}`")));
    }
    STATE.with_borrow_mut(|state| {
        let taken = (state.facts.iter())
            .any(|fact| matches!(fact, Fact::Artifact(other) if other.name == *name));
        if taken {
            return Err(SessionError::Exists(name.clone()));
        }
        let stored = state.store(&artifact.data)?;
        state.facts.push(Fact::Artifact(artifact.clone()));
        Ok(stored)
    })
}

impl State {
    /// The flag of the frame with this id, which says whether it is closed; it is open now.
    pub(super) fn open_frame(&mut self, id: &str) -> Result<&mut bool, Rejected> {
        (self.frames.iter_mut())
            .find(|(known, closed)| known == id && !closed)
            .map(|(_, closed)| closed)
            .ok_or_else(|| Rejected::UnknownInvocation(id.into()))
    }

    fn room(&self) -> u64 {
        self.host.budget.storage_bytes.saturating_sub(self.stored)
    }

    fn store(&mut self, data: &[u8]) -> Result<Stored, SessionError> {
        let bytes = data.len() as u64;
        if bytes > self.room() {
            return Err(SessionError::Limit(Limit {
                name: "storage-bytes".into(),
                max: self.host.budget.storage_bytes,
            }));
        }
        self.stored += bytes;
        Ok(Stored {
            // The real digest would cost a dependency; what counts here is its form.
            digest: format!("sha256:{:064x}", self.stored),
            bytes,
        })
    }
}

fn record(fact: Fact) {
    STATE.with_borrow_mut(|state| state.facts.push(fact));
}

#[cfg(feature = "json")]
pub(super) fn object(field: &str, text: &str) -> Result<(), Rejected> {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        Ok(_) => Err(Rejected::Invalid(format!("{field} is not a JSON object"))),
        Err(error) => Err(Rejected::Invalid(format!("{field} is not JSON: {error}"))),
    }
}

#[cfg(not(feature = "json"))]
pub(super) fn object(field: &str, text: &str) -> Result<(), Rejected> {
    if text.trim_start().starts_with('{') {
        Ok(())
    } else {
        Err(Rejected::Invalid(format!("{field} is not a JSON object")))
    }
}

#[cfg(test)]
mod tests {
    use crate::session;
    use crate::testing::{Fact, TestHost, facts};
    use crate::trajectory::{
        self, Rejected, StopReason, SubagentCall, ToolCall, ToolResult, Turn, Usage,
    };

    fn call(id: &str) -> Turn {
        Turn::new().tool_use(ToolCall::new(id, "count", "{}"))
    }

    #[test]
    fn calls_are_paired() {
        let _host = TestHost::new().install();
        let unknown = trajectory::tool_result(ToolResult::text("c1", ""));
        assert_eq!(unknown, Err(Rejected::UnknownCall("c1".into())));
        assert_eq!(trajectory::assistant(call("c1")).unwrap().step, 1);
        let again = trajectory::assistant(call("c1"));
        assert_eq!(again, Err(Rejected::DuplicateCall("c1".into())));
        trajectory::tool_result(ToolResult::text("c1", "ok")).unwrap();
        let twice = trajectory::tool_result(ToolResult::error("c1", "no"));
        assert_eq!(twice, Err(Rejected::CallReturned("c1".into())));
        assert_eq!(facts().len(), 2, "what was refused leaves no trace");
    }

    #[test]
    fn a_key_joins_until_a_tool_returns() {
        let _host = TestHost::new().install();
        let chunk = |turn: Turn| trajectory::assistant(turn.key("a")).unwrap().step;
        assert_eq!(chunk(Turn::new().text("one")), 1);
        assert_eq!(chunk(call("c1")), 1);
        trajectory::report_usage(Some("a"), Usage::new(3, 4), None).unwrap();
        trajectory::tool_result(ToolResult::text("c1", "")).unwrap();
        assert_eq!(chunk(Turn::new().text("two")), 2);
        trajectory::close_turn().unwrap();
        let late = trajectory::report_usage(None, Usage::new(3, 4), None);
        assert_eq!(late, Err(Rejected::NoOpenTurn));
    }

    #[test]
    fn tools_outside_the_list_are_refused() {
        let _host = TestHost::new().tools(["read"]).install();
        let receipt = trajectory::assistant(call("c1")).unwrap();
        assert!(!receipt.allows("c1"));
        let answered = trajectory::tool_result(ToolResult::text("c1", ""));
        assert_eq!(answered, Err(Rejected::CallReturned("c1".into())));
    }

    #[test]
    fn a_dropped_frame_is_abandoned() {
        let _host = TestHost::new().install();
        let frame = trajectory::subagent(SubagentCall::new("s1", "explorer")).unwrap();
        drop(frame);
        let Some(Fact::SubagentFinished(result)) = facts().pop() else {
            panic!("the frame is still open");
        };
        assert_eq!(result.reason, StopReason::Abandoned);
        let again = trajectory::subagent(SubagentCall::new("s1", "explorer")).unwrap_err();
        assert_eq!(again, Rejected::DuplicateInvocation("s1".into()));
    }

    #[test]
    fn a_finished_frame_is_finished_once() {
        let _host = TestHost::new().install();
        let frame = trajectory::subagent(SubagentCall::new("s1", "explorer")).unwrap();
        assert_eq!(frame.id(), "s1");
        frame.finish(StopReason::Converged, "found it").unwrap();
        assert_eq!(facts().len(), 2);
    }

    #[test]
    fn artifacts_have_plain_names_and_only_one_owner() {
        let _host = TestHost::new().install();
        for bad in ["", ".hidden", "a/b", "ü", &"x".repeat(129)] {
            let refused = session::submit_artifact(bad, "text/plain", *b"x");
            assert!(
                matches!(refused, Err(session::SessionError::Invalid(_))),
                "{bad}"
            );
        }
        session::submit_artifact("a.md", "text/plain", *b"x").unwrap();
        let again = session::submit_artifact("a.md", "text/plain", *b"y").unwrap_err();
        assert_eq!(again, session::SessionError::Exists("a.md".into()));
    }

    #[test]
    fn checkpoints_come_back() {
        let _host = TestHost::new().checkpoint(*b"old").install();
        assert_eq!(session::load().unwrap().as_deref(), Some(&b"old"[..]));
        session::save(b"new").unwrap();
        assert_eq!(session::load().unwrap().as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_host_goes_with_its_guard() {
        let outer = TestHost::new().install();
        trajectory::progress("outer", None).unwrap();
        drop(TestHost::new().install());
        assert_eq!(facts().len(), 1);
        drop(outer);
        assert!(facts().is_empty());
    }

    #[test]
    fn arguments_are_objects() {
        let _host = TestHost::new().install();
        let turn = Turn::new().tool_use(ToolCall::new("c1", "count", "[]"));
        assert!(matches!(
            trajectory::assistant(turn),
            Err(Rejected::Invalid(_))
        ));
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(trajectory::progress("", Some(fraction)).is_err());
        }
    }
}
