//! How a guest ended: answers, exits and traps as the reasons of an outcome.

use serde_json::Value;
use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use super::agent::Entry;
use super::drive::{Job, Watched};
use super::outcome::{Crash, Ended};
use crate::capabilities::bindings::wasm_agent::agent::types;
use crate::capabilities::meters::LimitHit;
use crate::capabilities::stdio::Captured;
use crate::preflight::Refusal;
use crate::recording::Tape;
use crate::recording::tape::{OutOfTime, Stop, TapeError};
use crate::trajectory::{ErrorCode, JournalError, StopReason};

/// Frames of a WebAssembly backtrace that are kept.
const BACKTRACE_FRAMES: usize = 32;

/// How the guest itself ended, before the account is closed.
pub(super) struct Finish {
    pub(super) ended: Ended,
    pub(super) reason: StopReason,
    pub(super) output: Option<Value>,
    pub(super) error: Option<(ErrorCode, String)>,
}

pub(super) fn answered(answer: Result<types::Output, types::Failure>) -> Finish {
    let converged = |output| Finish {
        ended: Ended::Converged,
        reason: StopReason::Converged,
        output,
        error: None,
    };
    let stopped = |reason, message: String, error| Finish {
        ended: Ended::Stopped {
            message: Some(message),
        },
        reason,
        output: None,
        error,
    };
    match answer {
        Ok(types::Output::None) => converged(None),
        Ok(types::Output::Text(text)) => converged(Some(Value::String(text))),
        Ok(types::Output::Json(text)) => match serde_json::from_str(&text) {
            Ok(value) => converged(Some(value)),
            Err(error) => {
                let message = format!("the agent's output is not valid JSON: {error}");
                let code = ErrorCode::AgentCrash;
                stopped(StopReason::Error, message.clone(), Some((code, message)))
            }
        },
        Err(types::Failure::Error(report)) => {
            let error = Some((report.code.into(), report.message.clone()));
            stopped(StopReason::Error, report.message, error)
        }
        Err(types::Failure::Refused(message)) => stopped(StopReason::Refused, message, None),
        Err(types::Failure::Abandoned(message)) => stopped(StopReason::Abandoned, message, None),
    }
}

/// How a run ends that its tape has ended: it has left its recording, or come to where the recorded run was
/// ended from outside.
pub(super) fn by_tape(tape: &Tape, finish: Finish) -> Finish {
    tape.take_cut();
    match tape.stopped() {
        None => finish,
        Some(Stop::Failed(message)) => host_fault(message),
        Some(Stop::Cut(ended)) => match serde_json::from_value(ended) {
            Ok(Ended::Limit(hit)) => limit_reached(hit),
            Ok(Ended::Interrupted) => interrupted(),
            _ => host_fault("the recording ends in a way this host does not know".to_owned()),
        },
        Some(Stop::Diverged(divergence)) => Finish {
            error: Some((ErrorCode::Unknown, divergence.to_string())),
            ended: Ended::Diverged(divergence),
            reason: StopReason::Error,
            output: None,
        },
    }
}

pub(super) fn interrupted() -> Finish {
    Finish {
        ended: Ended::Interrupted,
        reason: StopReason::Interrupted,
        output: None,
        error: None,
    }
}

/// A stdio agent ends as its `agent_stopped` line says; without one, as its exit code says.
pub(super) fn command_ended(stdout: &Captured, answer: Result<(), ()>) -> Finish {
    // What it says of itself is a claim, its exit code a fact: success is only what both say.
    let claimed = stdout
        .claimed_stop()
        .filter(|claimed| answer.is_ok() || claimed.reason != StopReason::Converged);
    if let Some(claimed) = claimed {
        let ended = match claimed.reason {
            StopReason::Converged => Ended::Converged,
            _ => Ended::Stopped { message: None },
        };
        return Finish {
            ended,
            reason: claimed.reason,
            output: claimed.output,
            error: None,
        };
    }
    match answer {
        Ok(()) => Finish {
            ended: Ended::Converged,
            reason: StopReason::Converged,
            output: None,
            error: None,
        },
        Err(()) => crashed(Crash {
            message: "the agent exited with a failure code".to_owned(),
            backtrace: Vec::new(),
        }),
    }
}

pub(super) fn failed(job: &Job, watched: &Watched, error: &wasmtime::Error) -> Finish {
    if let Some(error) = error.downcast_ref::<JournalError>() {
        return host_fault(error.to_string());
    }
    if let (Entry::Command(_), Some(exit)) = (&job.agent.entry, error.downcast_ref::<I32Exit>()) {
        return command_ended(&watched.stdout, if exit.0 == 0 { Ok(()) } else { Err(()) });
    }
    if let Some(Trap::OutOfFuel) = error.downcast_ref() {
        let max = job.grants.limits.cpu;
        return limit_reached(LimitHit { name: "cpu", max });
    }
    if let Some(OutOfTime(hit)) = error.downcast_ref() {
        return limit_reached(*hit);
    }
    if let Some(error) = error.downcast_ref::<TapeError>() {
        return host_fault(error.to_string());
    }
    let crash = crash(error);
    let exhausted = [
        (
            "too much data is being copied",
            "hostcall-bytes",
            job.grants.limits.hostcall_bytes,
        ),
        (
            "resource table has no free keys",
            "handles",
            job.grants.limits.handles,
        ),
    ];
    for (text, name, max) in exhausted {
        if crash.message.contains(text) {
            return limit_reached(LimitHit { name, max });
        }
    }
    // A guest that was refused memory mostly aborts; the limit is the cause, the trap its symptom. One that
    // went on and did something has coped, and crashed for another reason.
    match watched.meters.wanting(watched.activity.deeds()) {
        Some(hit) => limit_reached(hit),
        None => crashed(crash),
    }
}

pub(super) fn crash(error: &wasmtime::Error) -> Crash {
    let message = if let Some(exit) = error.downcast_ref::<I32Exit>() {
        format!("the agent called exit({})", exit.0)
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        format!("the agent trapped: {trap}")
    } else {
        format!("the agent trapped: {}", error.root_cause())
    };
    let backtrace = error
        .downcast_ref::<wasmtime::WasmBacktrace>()
        .map(|backtrace| {
            backtrace
                .frames()
                .iter()
                .take(BACKTRACE_FRAMES)
                .map(frame)
                .collect()
        })
        .unwrap_or_default();
    Crash { message, backtrace }
}

pub(super) fn frame(frame: &wasmtime::FrameInfo) -> String {
    let symbol = frame.symbols().first();
    let name = symbol
        .and_then(|symbol| symbol.name())
        .map(str::to_owned)
        .or_else(|| frame.func_name().map(str::to_owned))
        .map_or_else(
            || format!("function {}", frame.func_index()),
            // Without the hash at its end, which says nothing to a person.
            |name| format!("{:#}", rustc_demangle::demangle(&name)),
        );
    match symbol.and_then(|symbol| Some((symbol.file()?, symbol.line()?))) {
        Some((file, line)) => format!("{name} ({file}:{line})"),
        None => name,
    }
}

pub(super) fn crashed(crash: Crash) -> Finish {
    Finish {
        reason: StopReason::Error,
        output: None,
        error: Some((ErrorCode::AgentCrash, crash.message.clone())),
        ended: Ended::Crashed(crash),
    }
}

pub(super) fn limit_reached(hit: LimitHit) -> Finish {
    Finish {
        ended: Ended::Limit(hit),
        reason: StopReason::Interrupted,
        output: None,
        error: Some((
            ErrorCode::Unknown,
            format!(
                "limit `{}` is reached ({})",
                hit.name,
                crate::grants::limits::show(hit.name, hit.max)
            ),
        )),
    }
}

pub(super) fn refused(refusal: Refusal) -> Finish {
    Finish {
        ended: Ended::Refused {
            message: refusal.message,
            remedy: refusal.remedy,
        },
        reason: StopReason::Error,
        output: None,
        error: None,
    }
}

pub(super) fn host_fault(message: String) -> Finish {
    Finish {
        error: Some((ErrorCode::Unknown, message.clone())),
        ended: Ended::HostFault { message },
        reason: StopReason::Error,
        output: None,
    }
}
