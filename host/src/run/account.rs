//! The account of a run: opened before its guest exists, followed by whoever started it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::agent::Agent;
use super::directory::{self, RunDir};
use super::drive;
use super::outcome::Outcome;
use super::related::Related;
use super::start::StartError;
use super::supervise::Interrupt;
use super::taping::Taped;
use crate::egress::secrets::Guard;
use crate::engine::Profile;
use crate::grants::{Grants, Reach};
use crate::trajectory::journal::{Journal, Link};
use crate::trajectory::ledger::{FactLimits, Ledger};
use crate::trajectory::recorder::Ids;
use crate::trajectory::search::Search;
use crate::trajectory::{Record, Recorder};

/// Records a listener may be behind before the guest has to wait.
const LISTENER_BUFFER: usize = 1000;

/// The account of a run that has been opened.
pub(super) struct Account {
    pub(super) session_id: String,
    pub(super) directory: Option<PathBuf>,
    pub(super) ledger: Ledger,
    events: mpsc::Receiver<Arc<Record>>,
}

/// What an account begins with.
pub(super) struct Asked<'a> {
    pub(super) profile: Profile,
    pub(super) agent: &'a Agent,
    pub(super) commission: &'a RawValue,
    pub(super) run_id: &'a str,
    pub(super) provider: Option<String>,
    pub(super) grants: &'a Grants,
    pub(super) related: Option<Related>,
    pub(super) guard: Option<&'a Arc<Guard>>,
}

impl Account {
    /// Opens it: from here on there is a run.
    ///
    /// # Errors
    ///
    /// The run directory cannot be written.
    pub(super) fn open(
        asked: &Asked<'_>,
        directory: Option<&RunDir>,
        session_id: &str,
        taped: &Taped,
    ) -> Result<Account, StartError> {
        let mut run_json = asked.to_json(session_id);
        if let Some(guard) = asked.guard
            && let Some(redacted) = guard.redact_value(&run_json)
        {
            // The commission itself has a secret in it.
            run_json = redacted.rest;
        }
        let journal = match directory {
            Some(dir) => {
                let bytes = dir.write_request(&run_json)?;
                Journal::create(Link::of(&bytes), &dir.events())?
            }
            None => Journal::in_memory(Link::of(run_json.to_string().as_bytes())),
        };
        let search = Search::new(asked.guard.cloned(), taped.tape.clone());
        let journal = journal.searched(search);
        let Asked {
            run_id,
            provider,
            grants,
            ..
        } = asked;
        let ids = Ids::seeded(taped.seed.bytes("trajectory ids"));
        let recorder = Recorder::new(ids, run_id, provider.clone());
        let limits = FactLimits {
            facts: grants.limits.events,
            fact_bytes: grants.limits.event_bytes,
            total_bytes: grants.limits.trajectory_bytes,
        };
        let (sender, events) = mpsc::channel(LISTENER_BUFFER);
        let ledger = if taped.tape.is_off() {
            Ledger::new(recorder, journal, limits, Some(sender))
        } else {
            let clock = Arc::new(taped.tape.clone());
            let ledger = Ledger::with_clock(recorder, journal, limits, Some(sender), clock);
            ledger.digest_trajectory();
            ledger
        };
        ledger.bound_audit(grants.limits.audit_bytes);
        Ok(Account {
            session_id: session_id.to_owned(),
            directory: directory.map(|dir| dir.path().to_owned()),
            ledger,
            events,
        })
    }

    /// What whoever started the run follows it by.
    pub(super) fn handle(
        self,
        interrupt: Interrupt,
        task: tokio::task::JoinHandle<Outcome>,
    ) -> RunHandle {
        let Account {
            session_id,
            directory,
            events,
            ..
        } = self;
        RunHandle {
            session_id,
            directory,
            in_reach: Reach::default(),
            events,
            interrupt,
            task,
        }
    }
}

impl Asked<'_> {
    /// What stands in `run.json`.
    fn to_json(&self, session_id: &str) -> Value {
        let Asked {
            agent,
            commission,
            grants,
            related,
            ..
        } = self;
        let mut json = json!({
            "format": directory::FORMAT,
            "session_id": session_id,
            "started": crate::trajectory::event::Rfc3339(jiff::Timestamp::now()).to_string(),
            "commission": commission,
            "agent": {
                "name": agent.descriptor.agent_name,
                "version": agent.descriptor.agent_version,
                "component": agent.artifact.path(),
                "digest": agent.artifact.digest().to_string(),
                "bytes": agent.artifact.bytes().len(),
            },
            "grants": grants.to_host_json(),
            "host": {
                "version": env!("CARGO_PKG_VERSION"),
                "profile": format!("{:?}", self.profile).to_lowercase(),
            },
        });
        if let (Some(related), Some(map)) = (related, json.as_object_mut()) {
            map.insert("taping".to_owned(), json!(related));
        }
        json
    }
}

/// A run that has been started.
///
/// Dropping the handle interrupts nothing: the run goes on and its account is kept.
pub struct RunHandle {
    /// The host's own id of the run.
    pub session_id: String,
    /// The run directory.
    pub directory: Option<PathBuf>,
    /// What the host reads, builds or runs for the run that lies where its agent may write.
    pub in_reach: Reach,
    events: mpsc::Receiver<Arc<Record>>,
    interrupt: Interrupt,
    task: tokio::task::JoinHandle<Outcome>,
}

impl RunHandle {
    /// The next record of the run, in order; nothing once the run has ended. A caller that stops
    /// reading slows the guest down after a thousand records.
    pub async fn next(&mut self) -> Option<Arc<Record>> {
        self.events.recv().await
    }

    /// A handle to interrupt the run with, from anywhere.
    #[must_use]
    pub fn interrupter(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// Waits for the end of the run. Records that have not been read are not waited for.
    pub async fn outcome(self) -> Outcome {
        drop(self.events);
        match self.task.await {
            Ok(outcome) => outcome,
            Err(error) => drive::lost(&self.session_id, self.directory, &error),
        }
    }
}
