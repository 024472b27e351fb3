//! How a trajectory opens: `run_requested`, `agent_described`, the checks, `agent_started`.
//!
//! For a component with the agent world all of it happens before the first instruction of `run`. Between
//! the checks and `agent_started` the host connects to tool servers, which takes its time. A stdio agent
//! describes itself, if at all, with its first lines; for it the opening waits until then.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::commission::Commission;
use crate::descriptor::{Descriptor, McpServerDecl, ToolDecl};
use crate::preflight::{Effective, Refusal, preflight};
use crate::trajectory::event::{AgentDescribed, AgentStarted, Body, Origin, RunRequested};
use crate::trajectory::ledger::LedgerError;
use crate::trajectory::{ErrorCode, JournalError, Ledger, StopReason};

/// The opening of one run.
#[derive(Clone)]
pub struct Opening {
    inner: Arc<Inner>,
}

/// What the host has beside the agent's own tools and servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reached {
    /// Its servers, those that could not be reached included.
    pub servers: Vec<McpServerDecl>,
    /// The tools of the others.
    pub tools: Vec<ToolDecl>,
    /// Servers that could not be reached, and why. Each is an `error_occurred` before `agent_started`.
    pub failures: Vec<(String, String)>,
}

struct Inner {
    commission: Commission,
    grants: Value,
    /// Ids of the operator's MCP servers.
    granted_servers: Vec<String>,
    session_id: String,
    ledger: Ledger,
    state: Mutex<State>,
    /// What the host itself has against the run.
    objection: Mutex<Option<Refusal>>,
    reached: Mutex<Reached>,
}

enum State {
    Requested,
    Described(Arc<Effective>),
    Open(Arc<Effective>),
    Refused(Refusal),
}

impl Opening {
    /// Writes `run_requested`.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn begin(
        commission: Commission,
        grants: Value,
        granted_servers: Vec<String>,
        session_id: String,
        ledger: Ledger,
    ) -> Result<Opening, JournalError> {
        let supervisor = commission.body().supervisor.as_ref();
        ledger.prelude(Body::RunRequested(Box::new(RunRequested {
            supervisor_name: supervisor.map(|s| s.name.clone()),
            supervisor_version: supervisor.and_then(|s| s.version.clone()),
            commission: Some(commission.raw().to_owned()),
        })))?;
        let state = Mutex::new(State::Requested);
        Ok(Opening {
            inner: Arc::new(Inner {
                commission,
                grants,
                granted_servers,
                session_id,
                ledger,
                state,
                objection: Mutex::new(None),
                reached: Mutex::default(),
            }),
        })
    }

    /// Writes the short form of a run whose commission cannot be read: the commission itself is left
    /// out, because no event of this version of AVP could carry it and still be valid.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn refuse(
        ledger: &Ledger,
        descriptor: &Descriptor,
        message: String,
    ) -> Result<Refusal, JournalError> {
        ledger.prelude(Body::RunRequested(Box::new(RunRequested {
            supervisor_name: None,
            supervisor_version: None,
            commission: None,
        })))?;
        ledger.prelude(Body::AgentDescribed(Box::new(AgentDescribed {
            descriptor: descriptor.clone(),
        })))?;
        error_before_start(ledger, ErrorCode::Unknown, message.clone())?;
        ledger.stop(StopReason::Error, None)?;
        Ok(Refusal {
            code: ErrorCode::Unknown,
            message,
            remedy: None,
        })
    }

    /// Says what the host itself has against the run: it is refused, once the agent is described, unless
    /// the commission does not fit in the first place.
    pub fn object(&self, refusal: Refusal) {
        *self
            .inner
            .objection
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(refusal);
    }

    /// Writes `agent_described` and checks the commission against it. When the commission does not
    /// fit, the trajectory is closed with the short form: the error, then `agent_stopped`.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn describe(&self, descriptor: &Descriptor) -> Result<(), JournalError> {
        let ledger = &self.inner.ledger;
        let mut state = self.lock();
        if !matches!(*state, State::Requested) {
            return Ok(());
        }
        ledger.prelude(Body::AgentDescribed(Box::new(AgentDescribed {
            descriptor: descriptor.clone(),
        })))?;
        let objection = self
            .inner
            .objection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let fits = preflight(
            &self.inner.commission,
            descriptor,
            &self.inner.granted_servers,
        );
        *state = match fits.and_then(|fits| objection.map_or(Ok(fits), Err)) {
            Ok(effective) => State::Described(Arc::new(effective)),
            Err(refusal) => {
                error_before_start(ledger, refusal.code, refusal.message.clone())?;
                ledger.stop(StopReason::Error, None)?;
                State::Refused(refusal)
            }
        };
        Ok(())
    }

    /// Says what the host has reached; before [`Opening::start`].
    pub fn reached(&self, reached: Reached) {
        *self
            .inner
            .reached
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = reached;
    }

    /// Writes `agent_started`, describing the agent minimally first if it has not described itself.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn start(&self, minimal: &Descriptor) -> Result<(), JournalError> {
        self.describe(minimal)?;
        let mut state = self.lock();
        let State::Described(effective) = &*state else {
            return Ok(());
        };
        let effective = effective.clone();
        let inner = &self.inner;
        // AVP trajectory.md §4.1 (M1): a server that was asked for and cannot be reached is an error
        // before the run starts.
        let reached =
            std::mem::take(&mut *inner.reached.lock().unwrap_or_else(PoisonError::into_inner));
        for (server, reason) in reached.failures {
            let message = format!("cannot connect to the MCP server `{server}`: {reason}");
            error_before_start(&inner.ledger, ErrorCode::McpConnectFailed, message)?;
        }
        let body = inner.commission.body();
        inner.ledger.start(AgentStarted {
            provider_name: body.provider.as_ref().map(|provider| provider.id.clone()),
            operation_name: "invoke_agent",
            request_model: Some(body.model.clone()),
            prompt: effective.prompt.clone(),
            system_prompt: effective.system_prompt.clone(),
            tools: [effective.tools.clone(), reached.tools].concat(),
            mcp_servers: [effective.mcp_servers.clone(), reached.servers].concat(),
            skills: effective.skills.clone(),
            subagents: effective.subagents.clone(),
            thread_id: body.thread_id.clone(),
            session_id: Some(inner.session_id.clone()),
            tags: (!body.tags.is_empty()).then(|| body.tags.clone()),
            grants: Some(inner.grants.clone()),
        })?;
        *state = State::Open(effective);
        Ok(())
    }

    /// What the agent may use in this run, once that has been decided.
    #[must_use]
    pub fn effective(&self) -> Option<Arc<Effective>> {
        match &*self.lock() {
            State::Described(effective) | State::Open(effective) => Some(effective.clone()),
            State::Requested | State::Refused(_) => None,
        }
    }

    /// Why the agent was not started, if it was not.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match &*self.lock() {
            State::Refused(refusal) => Some(refusal.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error of the host's before there is a run span.
fn error_before_start(
    ledger: &Ledger,
    code: ErrorCode,
    message: String,
) -> Result<(), JournalError> {
    match ledger.error(Origin::Host, code, message, None) {
        Ok(()) | Err(LedgerError::Rejected(_)) => Ok(()),
        Err(LedgerError::Journal(error)) => Err(error),
    }
}
