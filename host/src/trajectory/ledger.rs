//! Everything that is known of a run: the one way to add to it.
//!
//! A [`Ledger`] is shared between the guest's store, which dies with the guest, and the host, which has
//! to close the account whatever happened. Each method does its work under one lock and without
//! waiting, so that a guest that is dropped in the middle of a host call leaves nothing half done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::audit::{Audit, LeakAction};
use super::clock::{EventClock, WallTime};
use super::deeds::{Deed, Deeds};
use super::event::{AgentStarted, Body, Event, Origin};
use super::fact::{SubagentCall, SubagentResult, ToolResult, Turn, Usage};
use super::fold::Totals;
use super::folded::Folded;
use super::journal::{Entry, Journal, JournalError, Link, Record};
use super::recorder::{Receipt, Recorder, Rejected};
use super::search::{Found, Search};
use super::used::{Collector, Touch, Use};
use super::vocabulary::{ErrorCode, StopReason};
use crate::digest::Digest;
use crate::egress::secrets::{Guard, Needle, Redacted};
use crate::grants::secrets::Leaks;
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;

/// Bytes of records a listener may be behind before the guest is held back: what it takes some milliseconds to
/// read, and nothing beside the memory of a guest.
const BEHIND: usize = 4 << 20;

/// Limits on what a guest may report.
#[derive(Clone, Copy, Debug)]
pub struct FactLimits {
    /// Facts in a run.
    pub facts: u64,
    /// Bytes of one fact.
    pub fact_bytes: u64,
    /// Bytes of all facts of a run.
    pub total_bytes: u64,
}

/// Why a fact did not get into the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The fact is impossible; nothing has changed and the run goes on.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The account cannot be kept any more; the run has to end.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The shared account of a run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Mutex<Inner>>,
    listener: Option<mpsc::Sender<Arc<Record>>>,
    search: Search,
    /// What the run uses of its grants. Locked by itself: a file that is opened is no record.
    used: Arc<Mutex<Collector>>,
}

#[derive(Debug)]
struct Inner {
    recorder: Recorder,
    journal: Journal,
    clock: Arc<dyn EventClock>,
    /// Of the lines of the trajectory, where somebody wants to compare them.
    trajectory: Option<Sha256>,
    totals: Totals,
    limits: FactLimits,
    facts: u64,
    /// Bytes of all facts, and of the longest.
    bytes: u64,
    longest: u64,
    used: Arc<Mutex<Collector>>,
    limit_noted: bool,
    completed: Option<String>,
    deeds: Deeds,
    /// Events the journal has not taken. There are some only after it failed.
    unwritten: VecDeque<Event>,
    /// Records the listener has not got yet; nothing when there is no listener.
    undelivered: Option<VecDeque<Arc<Record>>>,
    /// Bytes of their lines.
    behind: usize,
    /// Refusals that are counted.
    folded: Folded,
    /// Bytes of the records that `audit-bytes` counts, and how many there may be.
    audit_bytes: u64,
    audit_max: u64,
    /// Secrets that were kept out of a record, each told of once.
    kept_out: Vec<Needle>,
}

impl Ledger {
    /// A ledger that starts now. Records also go to `listener`, in order; one that does not keep up
    /// slows the guest down instead of losing records.
    #[must_use]
    pub fn new(
        recorder: Recorder,
        journal: Journal,
        limits: FactLimits,
        listener: Option<mpsc::Sender<Arc<Record>>>,
    ) -> Ledger {
        Ledger::with_clock(
            recorder,
            journal,
            limits,
            listener,
            Arc::new(WallTime::now()),
        )
    }

    /// A ledger whose times come from `clock`.
    #[must_use]
    pub fn with_clock(
        recorder: Recorder,
        journal: Journal,
        limits: FactLimits,
        listener: Option<mpsc::Sender<Arc<Record>>>,
        clock: Arc<dyn EventClock>,
    ) -> Ledger {
        let search = journal.search().clone();
        let used = Arc::default();
        let inner = Inner {
            recorder,
            journal,
            clock,
            trajectory: None,
            totals: Totals::default(),
            limits,
            facts: 0,
            bytes: 0,
            longest: 0,
            used: Arc::clone(&used),
            limit_noted: false,
            completed: None,
            deeds: Deeds::default(),
            unwritten: VecDeque::new(),
            undelivered: listener.is_some().then(VecDeque::new),
            behind: 0,
            folded: Folded::default(),
            audit_bytes: 0,
            audit_max: u64::MAX,
            kept_out: Vec::new(),
        };
        Ledger {
            inner: Arc::new(Mutex::new(inner)),
            listener,
            search,
            used,
        }
    }

    /// Sets the limit `audit-bytes`. Nothing is refused for it: what has happened is on record. Whoever looks
    /// after the run asks [`Ledger::audit_overrun`], and ends it.
    pub fn bound_audit(&self, max: u64) {
        self.lock().audit_max = sabotage::limit(Wall::AuditBytes, max);
    }

    /// The limit `audit-bytes`, once it is passed, `times` over.
    #[must_use]
    pub fn audit_overrun(&self, times: u64) -> Option<u64> {
        let inner = self.lock();
        let max = inner.audit_max;
        (inner.audit_bytes > max.saturating_mul(times)).then_some(max)
    }

    /// Keeps a digest of the trajectory from here on; before the first event, of all of it.
    pub fn digest_trajectory(&self) {
        self.lock().trajectory = Some(Sha256::new());
    }

    /// SHA-256 over the lines of the trajectory so far, each with a newline, if it is kept.
    #[must_use]
    pub fn trajectory_digest(&self) -> Option<Digest> {
        let hasher = self.lock().trajectory.clone()?;
        Some(Digest::from(<[u8; 32]>::from(hasher.finalize())))
    }

    /// What looks for the secrets of the run; nothing when it has none.
    #[must_use]
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.search.guard()
    }

    /// What looks for them in a run that may be recorded or repeated.
    #[must_use]
    pub fn search(&self) -> &Search {
        &self.search
    }

    /// Lets something leave the guest: as it is, or without the secrets in it. What was found is told of.
    ///
    /// # Errors
    ///
    /// [`Rejected::Invalid`]: a secret is in it, and the policy is to block; or the journal cannot be written.
    pub fn leaving(&self, place: &str, bytes: Vec<u8>) -> Result<Vec<u8>, LedgerError> {
        let found = self.search.bytes(place, &bytes)?;
        let rest = self.judged(place, found)?;
        Ok(rest.map_or(bytes, |rest| rest.0))
    }

    /// As [`Ledger::leaving`], for a JSON document.
    ///
    /// # Errors
    ///
    /// As [`Ledger::leaving`].
    pub fn leaving_json(&self, place: &str, value: Value) -> Result<Value, LedgerError> {
        let found = self.search.document(place, &value)?;
        let rest = self.judged(place, found)?;
        Ok(rest.unwrap_or(value))
    }

    /// Lets text of somebody else's reach the guest, such as what a tool says that knows a secret. It is there
    /// already, so that nothing is left to do but to cut the secret out. What comes of it is part of an answer on
    /// the tape, where there is one.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn arriving(&self, place: &str, text: String) -> Result<String, JournalError> {
        let redacted = self
            .guard()
            .and_then(|guard| Some((guard.policy(), guard.redact_text(&text)?)));
        let Some((policy, Redacted { rest, found })) = redacted else {
            return Ok(text);
        };
        let (text, action) = match policy {
            Leaks::Warn => (text, LeakAction::Passed),
            Leaks::Block | Leaks::Redact => (rest, LeakAction::Redacted),
        };
        for needle in &found {
            self.leak(needle, place, action)?;
        }
        Ok(text)
    }

    /// As [`Ledger::arriving`], for a JSON document.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn arriving_json(&self, place: &str, value: Value) -> Result<Value, JournalError> {
        let redacted = self
            .guard()
            .and_then(|guard| Some((guard.policy(), guard.redact_value(&value)?)));
        let Some((policy, Redacted { rest, found })) = redacted else {
            return Ok(value);
        };
        let (value, action) = match policy {
            Leaks::Warn => (value, LeakAction::Passed),
            Leaks::Block | Leaks::Redact => (rest, LeakAction::Redacted),
        };
        for needle in &found {
            self.leak(needle, place, action)?;
        }
        Ok(value)
    }

    /// As [`Ledger::leaving`], for what ends in the account only, which never has a secret in it: there is
    /// nothing to do but to refuse it.
    ///
    /// # Errors
    ///
    /// As [`Ledger::leaving`].
    pub fn claimable<T: Serialize>(&self, place: &str, report: &T) -> Result<(), LedgerError> {
        let found = self.search.report(place, report)?;
        self.judged(place, found).map(drop)
    }

    /// Tells of what a check found; what may pass instead.
    fn judged<T>(&self, place: &str, found: Option<Found<T>>) -> Result<Option<T>, LedgerError> {
        let Some(found) = found else {
            return Ok(None);
        };
        for needle in &found.secrets {
            self.leak(needle, place, found.action)?;
        }
        match found.refusal() {
            Some(refusal) => Err(Rejected::Invalid(refusal).into()),
            None => Ok(found.rest),
        }
    }

    /// Records that something was found where it does not belong.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn leak(
        &self,
        needle: &Needle,
        place: &str,
        action: LeakAction,
    ) -> Result<(), JournalError> {
        self.audit(Audit::Leak {
            name: needle.name.to_string(),
            place: place.to_owned(),
            action,
        })
    }

    /// Hands records to the listener, waiting while it is behind. Cancel-safe: a record leaves the
    /// queue only once there is room for it.
    pub async fn deliver(&self) {
        let Some(listener) = &self.listener else {
            return;
        };
        while self
            .lock()
            .undelivered
            .as_ref()
            .is_some_and(|queue| !queue.is_empty())
        {
            let Ok(permit) = listener.reserve().await else {
                let mut inner = self.lock();
                inner.undelivered = None;
                inner.behind = 0;
                return;
            };
            if let Some(record) = self.lock().next_undelivered() {
                permit.send(record);
            }
        }
    }

    /// True while any record waits to be handed to the listener.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        self.listener.is_some()
            && self
                .lock()
                .undelivered
                .as_ref()
                .is_some_and(|queue| !queue.is_empty())
    }

    /// True while so much waits for the listener that the guest may not add to it.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.listener.is_some() && self.lock().behind > BEHIND && !down(Wall::BackPressure)
    }

    /// True while records wait for a listener that does not keep up.
    #[must_use]
    pub fn waits_for_listener(&self) -> bool {
        self.listener
            .as_ref()
            .is_some_and(|listener| listener.capacity() == 0)
            && self
                .lock()
                .undelivered
                .as_ref()
                .is_some_and(|queue| !queue.is_empty())
    }

    /// What the agent has done since the last time, as far as repetition is concerned.
    #[must_use]
    pub fn take_deeds(&self) -> VecDeque<Deed> {
        self.lock().deeds.take()
    }

    /// Position of the last record.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.lock().journal.len().checked_sub(1)
    }

    /// Counts a fact of `bytes` against the limits, before it is looked at.
    ///
    /// # Errors
    ///
    /// [`Rejected::Limit`]; the first refusal of a run is also an audit record.
    pub fn admit(&self, bytes: usize) -> Result<(), LedgerError> {
        let bytes = bytes as u64;
        let mut inner = self.lock();
        let limits = inner.limits;
        let exceeded = if bytes > sabotage::limit(Wall::EventBytes, limits.fact_bytes) {
            ("event-bytes", limits.fact_bytes)
        } else if inner.facts >= sabotage::limit(Wall::EventCount, limits.facts) {
            ("events", limits.facts)
        } else if inner.bytes.saturating_add(bytes)
            > sabotage::limit(Wall::EventTotal, limits.total_bytes)
        {
            ("trajectory-bytes", limits.total_bytes)
        } else {
            inner.facts += 1;
            inner.bytes = inner.bytes.saturating_add(bytes);
            inner.longest = inner.longest.max(bytes);
            return Ok(());
        };
        let (name, max) = exceeded;
        if !std::mem::replace(&mut inner.limit_noted, true) {
            inner.audit(Audit::Limit { name, max })?;
        }
        Err(Rejected::Limit { name, max }.into())
    }

    /// Facts a guest may still report.
    #[must_use]
    pub fn facts_left(&self) -> u64 {
        let inner = self.lock();
        inner.limits.facts.saturating_sub(inner.facts)
    }

    /// Writes an event of the prelude.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn prelude(&self, body: Body) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let now = inner.now()?;
        inner.recorder.prelude(now, body);
        inner.write(now)
    }

    /// Writes `agent_started`.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn start(&self, started: AgentStarted) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let now = inner.now()?;
        inner.recorder.start(now, started);
        inner.write(now)
    }

    /// Records a turn; see [`Recorder::assistant`].
    ///
    /// # Errors
    ///
    /// The fact is impossible, or the journal cannot be written. So for all facts below.
    pub fn assistant(&self, origin: Origin, turn: Turn) -> Result<Receipt, LedgerError> {
        self.check_claim("assistant", origin, &turn)?;
        let held = turn.key.is_some().then(|| to_value(&turn));
        self.fact("assistant", held, |recorder, now| {
            recorder.assistant(now, origin, turn)
        })
    }

    /// Records tokens and cost of the open turn.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn usage(
        &self,
        key: Option<&str>,
        usage: Usage,
        cost_usd: Option<f64>,
    ) -> Result<(), LedgerError> {
        let held = serde_json::json!({ "key": key, "usage": usage, "cost_usd": cost_usd });
        self.fact("report-usage", Some(held), |recorder, _| {
            recorder.usage(key, usage, cost_usd)
        })
    }

    /// Closes the open turn.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn close_turn(&self) -> Result<(), LedgerError> {
        self.fact("close-turn", None, |recorder, _| {
            recorder.close_turn();
            Ok(())
        })
    }

    /// Records the result of a tool call.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn tool_result(&self, origin: Origin, result: ToolResult) -> Result<(), LedgerError> {
        self.check_claim("report-tool-result", origin, &result)?;
        let held = self.holds_back().then(|| to_value(&result));
        self.fact("report-tool-result", held, |recorder, now| {
            recorder.tool_result(now, origin, result)
        })
    }

    /// Records the result of a tool call that is still open; does nothing when it is not.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn answer_open(&self, origin: Origin, result: ToolResult) -> Result<(), LedgerError> {
        if self.lock().recorder.is_open(&result.call_id) {
            self.tool_result(origin, result)
        } else {
            Ok(())
        }
    }

    /// Opens the frame of a sub-agent.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn subagent_start(&self, origin: Origin, call: SubagentCall) -> Result<(), LedgerError> {
        self.check_claim("start-subagent", origin, &call)?;
        let held = self.holds_back().then(|| to_value(&call));
        self.fact("start-subagent", held, |recorder, now| {
            recorder.subagent_start(now, origin, call)
        })
    }

    /// Closes the frame of a sub-agent.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn subagent_result(
        &self,
        origin: Origin,
        result: SubagentResult,
    ) -> Result<(), LedgerError> {
        self.check_claim("finish-subagent", origin, &result)?;
        let held = self.holds_back().then(|| to_value(&result));
        self.fact("finish-subagent", held, |recorder, now| {
            recorder.subagent_result(now, origin, result)
        })
    }

    /// Records an error that does not end the run.
    #[expect(clippy::missing_errors_doc, reason = "as `assistant`")]
    pub fn error(
        &self,
        origin: Origin,
        code: ErrorCode,
        message: String,
        cause: Option<Value>,
    ) -> Result<(), LedgerError> {
        self.check_claim("report-error", origin, &message)?;
        let held = self
            .holds_back()
            .then(|| serde_json::json!({ "code": code, "message": message }));
        self.fact("report-error", held, |recorder, now| {
            recorder.error(now, origin, code, message, cause)
        })
    }

    /// Closes what is open and writes `agent_stopped`; see [`Recorder::stop`].
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn stop(
        &self,
        reason: StopReason,
        output: Option<Value>,
    ) -> Result<StopReason, JournalError> {
        let mut inner = self.lock();
        let now = inner.now()?;
        let reason = inner.recorder.stop(now, reason, output);
        inner.write(now)?;
        Ok(reason)
    }

    /// Writes an audit record.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn audit(&self, audit: Audit) -> Result<(), JournalError> {
        self.lock().audit(audit)
    }

    /// Notes that something of the grants is used.
    pub fn used(&self, what: Use<'_>) {
        collector(&self.used).used(what);
    }

    /// Notes what is done with a path beneath the granted directory `guest`. Whether it is done for the first
    /// time; if not, nothing is allocated.
    #[must_use]
    pub fn touched(&self, guest: &str, path: &str, touch: Touch) -> bool {
        collector(&self.used).touch(guest, path, touch)
    }

    /// Writes what the run has used of its grants. `measured` is the most it has used of limits that are
    /// measured elsewhere, by name.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn grants_used(
        &self,
        measured: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Result<(), JournalError> {
        let mut inner = self.lock();
        for repeated in inner.folded.rest() {
            inner.record(repeated)?;
        }
        let used = {
            let mut collector = collector(&self.used);
            let own = [
                ("events", inner.facts),
                ("event-bytes", inner.longest),
                ("trajectory-bytes", inner.bytes),
            ];
            for (name, value) in measured.into_iter().chain(own) {
                collector.most(name, value);
            }
            collector.finish()
        };
        inner.audit(Audit::GrantsUsed(Box::new(used)))
    }

    /// Records that the agent declares its work done. False when it has done so before.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn complete(&self, summary: String) -> Result<bool, JournalError> {
        let mut inner = self.lock();
        if inner.completed.is_some() {
            return Ok(false);
        }
        inner.audit(Audit::Completed {
            summary: summary.clone(),
        })?;
        inner.completed = Some(summary);
        Ok(true)
    }

    /// What the agent declared done.
    #[must_use]
    pub fn completed(&self) -> Option<String> {
        self.lock().completed.clone()
    }

    /// True while a call with this id, of this tool and with this input, waits for its result.
    #[must_use]
    pub fn awaits(&self, id: &str, name: &str, input: &Value) -> bool {
        self.lock().recorder.awaits(id, name, input)
    }

    /// True once `agent_started` is written.
    #[must_use]
    pub fn started(&self) -> bool {
        self.lock().recorder.started()
    }

    /// Counts bytes the host has observed against the limits of the run. They are in the account
    /// already: only what comes after can be refused for them.
    pub fn observed(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.bytes = inner.bytes.saturating_add(bytes as u64);
    }

    /// True when a call has this id already.
    #[must_use]
    pub fn has_call(&self, id: &str) -> bool {
        self.lock().recorder.has_call(id)
    }

    /// True while the frame of this invocation is open.
    #[must_use]
    pub fn has_frame(&self, invocation_id: &str) -> bool {
        self.lock().recorder.has_frame(invocation_id)
    }

    /// Those of `names` that are no tools of this run.
    #[must_use]
    pub fn unknown_tools<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let inner = self.lock();
        names
            .filter(|name| !inner.recorder.has_tool(name))
            .collect()
    }

    /// How the run ended, once it has.
    #[must_use]
    pub fn stopped(&self) -> Option<StopReason> {
        self.lock().recorder.stopped()
    }

    /// Sums of what has been written.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().totals.clone()
    }

    /// Hash of the last record.
    #[must_use]
    pub fn head(&self) -> Link {
        self.lock().journal.head()
    }

    /// What the host saw is kept without its secrets; what a guest claims is refused.
    fn check_claim<T: Serialize>(
        &self,
        fact: &'static str,
        origin: Origin,
        report: &T,
    ) -> Result<(), LedgerError> {
        match origin {
            Origin::Claimed => self.claimable(fact, report),
            Origin::Host | Origin::Observed => Ok(()),
        }
    }

    fn holds_back(&self) -> bool {
        self.lock().recorder.holds_back()
    }

    fn fact<T>(
        &self,
        name: &'static str,
        held: Option<Value>,
        report: impl FnOnce(&mut Recorder, Timestamp) -> Result<T, Rejected>,
    ) -> Result<T, LedgerError> {
        let mut inner = self.lock();
        let now = inner.now()?;
        match report(&mut inner.recorder, now) {
            Ok(done) => {
                inner.write(now)?;
                if let Some(report) = held
                    && inner.recorder.holds_back()
                {
                    inner.audit(Audit::Held { fact: name, report })?;
                }
                Ok(done)
            }
            Err(rejected) => {
                inner.audit(Audit::Rejected {
                    fact: name,
                    reason: rejected.to_string(),
                })?;
                Err(rejected.into())
            }
        }
    }

    /// A panic while the lock was held has left the state between two reports at worst: every mutation
    /// of the recorder is complete before the next begins.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn now(&self) -> Result<Timestamp, JournalError> {
        let failed = |source| JournalError::new(std::path::PathBuf::from("recording"), source);
        self.clock.event().map_err(failed)
    }

    fn write(&mut self, now: Timestamp) -> Result<(), JournalError> {
        self.unwritten.extend(self.recorder.take());
        while let Some(event) = self.unwritten.pop_front() {
            match self.journal.append(now, Entry::Avp(event)) {
                Ok(record) => self.written(now, record)?,
                Err(failed) => {
                    // Kept, so that a run whose disk was full can still be closed without a hole.
                    if let Entry::Avp(event) = failed.entry {
                        self.unwritten.push_front(event);
                    }
                    return Err(failed.error);
                }
            }
        }
        Ok(())
    }

    /// Every audit record comes through here: what is told of it, and what it counts.
    fn audit(&mut self, audit: Audit) -> Result<(), JournalError> {
        // Before it is folded or cut short: a guest that goes round in circles does so in whole words.
        self.deeds.note_audit(&audit);
        match self.folded.take(audit) {
            Some(audit) => self.record(audit),
            None => Ok(()),
        }
    }

    fn record(&mut self, mut audit: Audit) -> Result<(), JournalError> {
        let cut_out = self.shorten(&mut audit);
        let is_counted = audit.is_counted();
        let now = self.clock.audit();
        if !self.unwritten.is_empty() {
            // A small record may fit where a large event did not: it must not stand before it, least of
            // all the one that says the account is closed.
            self.write(now)?;
        }
        let record = self
            .journal
            .append(now, Entry::Audit(audit))
            .map_err(|failed| failed.error)?;
        if is_counted {
            let bytes = record.line().len() as u64 + 1;
            self.audit_bytes = self.audit_bytes.saturating_add(bytes);
        }
        self.written(now, record)?;
        self.tell_kept_out(now, "a record of the host", cut_out)
    }

    /// Cuts texts of the guest's short. Secrets go first: half of one would not be recognised.
    fn shorten(&self, audit: &mut Audit) -> Vec<Needle> {
        let mut cut_out = Vec::new();
        for (text, max) in audit.wordy() {
            if text.len() <= max {
                continue;
            }
            if let Some(guard) = self.journal.guard()
                && let Some(Redacted { rest, found }) = guard.redact_text(text)
            {
                *text = rest;
                cut_out.extend(found);
            }
            let end = (0..=max).rev().find(|end| text.is_char_boundary(*end));
            if let Some(end) = end.filter(|end| *end < text.len()) {
                text.truncate(end);
                text.push('…');
            }
        }
        cut_out
    }

    fn next_undelivered(&mut self) -> Option<Arc<Record>> {
        let record = self.undelivered.as_mut()?.pop_front()?;
        self.behind = self.behind.saturating_sub(record.line().len());
        Some(record)
    }

    fn written(&mut self, now: Timestamp, record: Arc<Record>) -> Result<(), JournalError> {
        if let Entry::Avp(event) = &record.entry {
            self.totals.add(event);
        }
        if let (Some(hasher), Some(line)) = (&mut self.trajectory, record.avp()) {
            hasher.update(line);
            hasher.update("\n");
        }
        if let Entry::Avp(event) = &record.entry {
            self.deeds.note_event(event);
        }
        collector(&self.used).note(&record.entry);
        let redacted = record.redacted().to_vec();
        let place = match &record.entry {
            Entry::Avp(event) => event.body.type_name(),
            Entry::Audit(_) => "a record of the host",
        };
        if let Some(queue) = &mut self.undelivered {
            self.behind = self.behind.saturating_add(record.line().len());
            queue.push_back(record);
        }
        self.tell_kept_out(now, place, redacted)
    }

    /// Tells of secrets that were kept out of a record, each once a run.
    fn tell_kept_out(
        &mut self,
        now: Timestamp,
        place: &str,
        found: Vec<Needle>,
    ) -> Result<(), JournalError> {
        for needle in found {
            if self.kept_out.contains(&needle) {
                continue;
            }
            // Before it is told of: what tells of it is a record, too.
            self.kept_out.push(needle.clone());
            let leak = Audit::Leak {
                name: needle.name.to_string(),
                place: place.to_owned(),
                action: LeakAction::Redacted,
            };
            let appended = self.journal.append(now, Entry::Audit(leak));
            let record = appended.map_err(|failed| failed.error)?;
            self.written(now, record)?;
        }
        Ok(())
    }
}

/// A panic has left less noted at worst.
fn collector(used: &Mutex<Collector>) -> MutexGuard<'_, Collector> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

fn to_value<T: Serialize>(report: &T) -> Value {
    serde_json::to_value(report).unwrap_or(Value::Null)
}
