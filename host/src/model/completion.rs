//! One reply: asked for, retried, recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::arrival::Arrival;
use super::error::{AskError, Failed, ModelError, ProviderFailure, one_line};
use super::exchange::Arrived;
use super::provider::Target;
use super::refused;
use super::retry::{self, Next};
use super::service::{Run, Source};
use super::taped::{Step, Timed};
use super::wire::Class;
use super::{Delta, Reply, Request};
use crate::capabilities::meters::{LimitHit, micros, millis};
use crate::recording::tape::Pace;
use crate::trajectory::content::{Block, Runner};
use crate::trajectory::event::{CostSource, Origin};
use crate::trajectory::fact::{ToolResult, Turn, Usage};
use crate::trajectory::ledger::LedgerError;
use crate::trajectory::{Audit, Receipt, Rejected};

/// Characters of a provider's message that are kept.
const MESSAGE: usize = 1024;

/// A retry wait is cut into parts, so that whoever watches sees that the host is at it.
const WAIT_PART: Duration = Duration::from_secs(1);

/// A piece of a reply, as the guest gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More of it.
    Delta(Delta),
    /// It is asked for again: what came before is void. The text says why.
    Retry(String),
}

/// A reply that is complete and on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What the model said. Ids of calls are unique within the run.
    pub reply: Reply,
    /// The model that answered.
    pub model: String,
    /// US dollars; none if nobody knows.
    pub cost_usd: Option<f64>,
    /// The step of the turn.
    pub step: u32,
    /// Calls the host has answered with an error already.
    pub refused_calls: Vec<String>,
}

/// What an answer used, as far as it is known.
pub(super) struct Spending<'a> {
    pub(super) target: &'a Target,
    pub(super) source: &'a Source,
    pub(super) model: Option<&'a str>,
    pub(super) usage: Option<&'a Usage>,
    pub(super) reported: Option<f64>,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) usd: f64,
    pub(super) source: CostSource,
}

impl Cost {
    pub(super) fn reported(usd: f64) -> Cost {
        Cost {
            usd,
            source: CostSource::Reported,
        }
    }

    pub(super) fn computed(usd: f64) -> Cost {
        Cost {
            usd,
            source: CostSource::Computed,
        }
    }
}

/// A reply that is arriving. Dropping it before its end cancels it; what has arrived goes on record.
#[derive(Debug)]
pub struct Completion {
    run: Arc<Run>,
    target: Target,
    request: Request,
    frame: Option<String>,
    attempt: u32,
    /// How many of the attempts were made again without something that was refused.
    shortened: u32,
    arrival: Option<Arrival>,
    /// An answer is on its way, here or on the tape.
    open: bool,
    /// When the request of this attempt was sent.
    sent: Instant,
    /// How long after that the last piece came.
    elapsed: Duration,
    first: Option<Duration>,
    /// When the next attempt is due.
    wait_until: Option<tokio::time::Instant>,
    /// Bytes of this attempt's answer.
    bytes: u64,
    /// Ids of this attempt's calls, in order: the provider's and ours.
    ids: Vec<(String, String)>,
    ended: Option<Result<Answered, ModelError>>,
}

impl Completion {
    pub(super) fn new(
        run: Arc<Run>,
        target: Target,
        mut request: Request,
        frame: Option<String>,
    ) -> Completion {
        request.model.clone_from(&target.model);
        Completion {
            run,
            target,
            request,
            frame,
            attempt: 0,
            shortened: 0,
            arrival: None,
            open: false,
            sent: Instant::now(),
            elapsed: Duration::ZERO,
            first: None,
            wait_until: None,
            bytes: 0,
            ids: Vec::new(),
            ended: None,
        }
    }

    /// Waits for the next piece; none once the reply is complete. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The provider failed for good, or the account cannot be kept.
    pub async fn next(&mut self) -> Result<Option<Piece>, AskError> {
        loop {
            match &self.ended {
                Some(Ok(_)) => return Ok(None),
                Some(Err(error)) => return Err(error.clone().into()),
                None => {}
            }
            self.wait().await;
            let tape = self.run.tape.clone();
            let timed = if self.open {
                let next = self.arrive();
                tape.effect("model.next", || Value::Null, next).await?
            } else {
                self.attempt += 1;
                self.target = self.run.redirected(self.target.clone());
                self.request.model.clone_from(&self.target.model);
                self.run.rehearse(&self.target, &self.request);
                self.sent = Instant::now();
                self.first = None;
                self.bytes = 0;
                self.ids.clear();
                let asked = self.asked();
                tape.effect("model.send", || asked, self.send()).await?
            };
            self.run.activity.progress();
            self.elapsed = timed.elapsed();
            let failed = match timed.step {
                Step::Begun => {
                    self.open = true;
                    continue;
                }
                Step::Failed(failed) => failed,
                Step::Delta(delta) => {
                    self.first.get_or_insert(self.elapsed);
                    if let Some(hit) = self.too_long(&delta) {
                        self.end_at_limit(hit)?;
                        continue;
                    }
                    return Ok(Some(Piece::Delta(self.with_own_id(delta))));
                }
                Step::Reply(reply) => {
                    self.arrival = None;
                    self.open = false;
                    self.finish(reply)?;
                    continue;
                }
            };
            if let Some(piece) = self.failed(failed)? {
                return Ok(Some(piece));
            }
        }
    }

    /// What is asked, as the tape compares it.
    fn asked(&self) -> Value {
        if self.run.tape.is_off() {
            return Value::Null;
        }
        json!({ "model": self.target.to_string(), "request": self.request })
    }

    /// Sends the request.
    async fn send(&mut self) -> wasmtime::Result<Timed> {
        let source = match self.run.source(&self.target) {
            Ok(source) => source,
            Err(error) => {
                let failed = Failed::new(Class::Unsupported, error.to_string());
                return Ok(self.timed(Step::Failed(failed)));
            }
        };
        let sent = self.run.send(&source, &self.target, &self.request);
        let step = match tokio::time::timeout(self.idle(), sent).await {
            Ok(Ok(arrival)) => {
                self.arrival = Some(arrival);
                Step::Begun
            }
            Ok(Err(failed)) => Step::Failed(failed),
            Err(_) => self.silent(),
        };
        Ok(self.timed(step))
    }

    /// Waits for the next piece of the answer. Cancel-safe.
    async fn arrive(&mut self) -> wasmtime::Result<Timed> {
        let step = match self.await_piece().await {
            // It began in the run that is gone on from.
            None => Step::Failed(Failed::new(
                Class::Network,
                "the connection was lost when the run was ended",
            )),
            Some(Err(failed)) => Step::Failed(failed),
            Some(Ok(Some(delta))) => Step::Delta(delta),
            Some(Ok(None)) => match self.arrival.as_ref().map(Arrival::reply) {
                Some(Ok(reply)) => Step::Reply(reply),
                Some(Err(failure)) => Step::Failed(failure.into()),
                None => self.silent(),
            },
        };
        Ok(self.timed(step))
    }

    /// Waits for a piece, or for the end of the answer, within two limits: no byte may be missing for as long
    /// as `model-idle`, and bytes that are no piece may come for as long as `model-stall`. None when nothing
    /// is arriving.
    async fn await_piece(&mut self) -> Option<Result<Option<Delta>, Failed>> {
        let idle = self.idle();
        let stall = Duration::from_millis(self.run.limits().model_stall);
        let stalled_at = tokio::time::Instant::now() + stall;
        loop {
            let silent_at = tokio::time::Instant::now() + idle;
            let arrival = self.arrival.as_mut()?;
            let next = tokio::time::timeout_at(silent_at.min(stalled_at), arrival.next()).await;
            match next {
                // A timer is not looked at while bytes are there.
                Ok(Ok(Arrived::Sign)) if tokio::time::Instant::now() < stalled_at => {
                    // Who waits for a model that is alive is not idle.
                    self.run.activity.progress();
                }
                Ok(Ok(Arrived::Piece(delta))) => return Some(Ok(Some(delta))),
                Ok(Ok(Arrived::End)) => return Some(Ok(None)),
                Ok(Err(failed)) => return Some(Err(failed)),
                Ok(Ok(Arrived::Sign)) | Err(_) if arrival.is_settled() => return Some(Ok(None)),
                Err(_) if silent_at <= stalled_at => {
                    let message = silence(idle);
                    return Some(Err(Failed::new(Class::Network, message)));
                }
                Ok(Ok(Arrived::Sign)) | Err(_) => {
                    let seconds = stall.as_secs_f64();
                    let message = format!(
                        "it kept the connection alive for {seconds} s without a piece of its answer (`model-stall`)"
                    );
                    return Some(Err(Failed::new(Class::Network, message)));
                }
            }
        }
    }

    fn idle(&self) -> Duration {
        Duration::from_millis(self.run.limits().model_idle)
    }

    fn silent(&self) -> Step {
        Step::Failed(Failed::new(Class::Network, silence(self.idle())))
    }

    fn timed(&self, step: Step) -> Timed {
        // In virtual time an answer takes none.
        let elapsed = match self.run.tape.pace() {
            Pace::Virtual => Duration::ZERO,
            Pace::Real | Pace::Replayed => self.sent.elapsed(),
        };
        Timed {
            us: micros(elapsed),
            step,
        }
    }

    /// The part of a broken off answer that has arrived.
    fn partial(&mut self) -> Result<Option<Reply>, AskError> {
        let arrival = self.arrival.take();
        if !std::mem::take(&mut self.open) {
            return Ok(None);
        }
        let partial = || Ok(arrival.and_then(|arrival| arrival.partial()));
        Ok(self
            .run
            .tape
            .observe("model.partial", || Value::Null, partial)?)
    }

    /// Waits for the whole reply.
    ///
    /// # Errors
    ///
    /// As [`Completion::next`].
    pub async fn reply(&mut self) -> Result<&Answered, AskError> {
        while self.next().await?.is_some() {}
        match &self.ended {
            Some(Ok(answered)) => Ok(answered),
            Some(Err(error)) => Err(error.clone().into()),
            // `next` gives nothing only once it has ended.
            None => Err(ModelError::Invalid("the reply has not ended".to_owned()).into()),
        }
    }

    /// Sits out the wait before the next attempt. It is not idleness: the run's own time bounds it.
    async fn wait(&mut self) {
        while let Some(until) = self.wait_until {
            let part = tokio::time::Instant::now() + WAIT_PART;
            tokio::time::sleep_until(until.min(part)).await;
            self.run.activity.progress();
            if until <= part {
                self.wait_until = None;
            }
        }
    }

    /// The limit on one fact, when the answer has grown beyond it.
    fn too_long(&mut self, delta: &Delta) -> Option<LimitHit> {
        let bytes = match delta {
            Delta::Text(text) | Delta::Thinking(text) | Delta::ToolInput(text) => text.len(),
            Delta::ToolUse { id, name } => id.len() + name.len(),
        };
        self.bytes = self.bytes.saturating_add(bytes as u64);
        let max = self.run.limits().event_bytes;
        (self.bytes > max).then_some(LimitHit {
            name: "event-bytes",
            max,
        })
    }

    fn end_at_limit(&mut self, hit: LimitHit) -> Result<(), AskError> {
        self.break_off("the reply was longer than one event may be")?;
        self.run.ledger.audit(Audit::Limit {
            name: hit.name,
            max: hit.max,
        })?;
        self.ended = Some(Err(ModelError::Limit(hit)));
        Ok(())
    }

    /// The same piece, with an id that no other call of the run has.
    fn with_own_id(&mut self, delta: Delta) -> Delta {
        match delta {
            Delta::ToolUse { id, name } => Delta::ToolUse {
                id: self.own_id(id),
                name,
            },
            other => other,
        }
    }

    fn own_id(&mut self, id: String) -> String {
        let taken = |own: &str| {
            self.run.ledger.has_call(own) || self.ids.iter().any(|(_, used)| used == own)
        };
        let mut own = id.clone();
        let mut number = 2_u64;
        while own.is_empty() || taken(&own) {
            own = format!("{id}_{number}");
            number += 1;
        }
        self.ids.push((id, own.clone()));
        own
    }

    /// The blocks with the ids the guest has been told, which no other call of the run has.
    fn with_own_ids(&mut self, content: Vec<Block>) -> Vec<Block> {
        // Calls were announced in order, so the first of an id that is left is meant.
        let mut announced = std::mem::take(&mut self.ids);
        self.ids.clone_from(&announced);
        let mut server: Vec<(String, String)> = Vec::new();
        content
            .into_iter()
            .map(|block| {
                let renamed = if let Some(call) = block.call() {
                    let (id, runner) = (call.id.to_owned(), call.runner);
                    let at = announced.iter().position(|(theirs, _)| *theirs == id);
                    let own = match at {
                        Some(at) => announced.remove(at).1,
                        None => self.own_id(id.clone()),
                    };
                    if runner == Runner::Provider {
                        server.push((id.clone(), own.clone()));
                    }
                    (id != own).then_some(("id", own))
                } else {
                    block.answer().and_then(|answer| {
                        let own = server
                            .iter()
                            .rfind(|(theirs, _)| theirs == answer.call_id)?;
                        (own.0 != own.1).then(|| ("tool_use_id", own.1.clone()))
                    })
                };
                match renamed {
                    Some((key, own)) => block.with(key, Value::String(own)),
                    None => block,
                }
            })
            .collect()
    }

    /// Puts a complete reply on record.
    fn finish(&mut self, mut reply: Reply) -> Result<(), AskError> {
        reply.content = self.with_own_ids(std::mem::take(&mut reply.content));
        let cost = self.spend(&reply);
        match self.record(&reply, cost, reply.finish_reasons.clone()) {
            Ok(receipt) => {
                let model = reply.model.clone();
                self.ended = Some(Ok(Answered {
                    model: model.unwrap_or_else(|| self.target.model.clone()),
                    cost_usd: cost.map(|cost| cost.usd),
                    step: receipt.step,
                    refused_calls: receipt.refused_calls,
                    reply,
                }));
                Ok(())
            }
            Err(LedgerError::Journal(error)) => Err(error.into()),
            Err(LedgerError::Rejected(rejected)) => {
                let message = format!("its answer contradicts itself: {rejected}");
                self.give_up(Failed::new(Class::Garbled, message))
            }
        }
    }

    fn spend(&self, reply: &Reply) -> Option<Cost> {
        let source = self.run.source(&self.target);
        self.run.spend(&Spending {
            target: &self.target,
            source: &source.unwrap_or(Source::Recorded),
            model: reply.model.as_deref(),
            usage: reply.usage.as_ref(),
            reported: reply.cost_usd,
        })
    }

    /// Writes the turn.
    fn record(
        &self,
        reply: &Reply,
        cost: Option<Cost>,
        finish_reasons: Vec<String>,
    ) -> Result<Receipt, LedgerError> {
        let ledger = &self.run.ledger;
        let turn = Turn {
            frame: self.frame.clone(),
            content: reply.content.clone(),
            usage: reply.usage,
            model: Some(
                reply
                    .model
                    .clone()
                    .unwrap_or_else(|| self.target.model.clone()),
            ),
            request_model: Some(self.target.model.clone()),
            provider: Some(self.target.provider.clone()),
            finish_reasons,
            cost_usd: cost.map(|cost| cost.usd),
            cost_source: cost.map(|cost| cost.source),
            duration_ms: Some(millis(self.elapsed)),
            time_to_first_chunk: self.first.map(|first| first.as_secs_f64()),
            refusal_category: reply.refusal_category.clone(),
            ..Turn::default()
        };
        ledger.observed(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        match ledger.assistant(Origin::Observed, turn.clone()) {
            // The guest has closed the frame meanwhile. The turn was paid for: it is the agent's own.
            Err(LedgerError::Rejected(Rejected::UnknownInvocation(_))) => ledger.assistant(
                Origin::Observed,
                Turn {
                    frame: None,
                    ..turn
                },
            ),
            done => done,
        }
    }

    /// Decides what becomes of a failed attempt: a piece that says so, when it is asked again.
    fn failed(&mut self, mut failed: Failed) -> Result<Option<Piece>, AskError> {
        failed.failure.message = clipped(&failed.failure.message);
        // What the void part has used was paid for all the same.
        let void = self.partial()?;
        let usage = void.as_ref().and_then(|reply| reply.usage);
        if let Some(reply) = void.filter(|reply| reply.usage.is_some()) {
            self.spend(&reply);
        }
        if let Some(member) = failed.leave_out.take() {
            let is_new = self.run.leave_out(&self.target, &member);
            if member == refused::SCHEMA {
                // The agent has to know, and asks again without.
                failed.failure.class = Class::Unsupported;
            } else if is_new {
                return self.shorten(failed, member).map(Some);
            }
        }
        let max = self.run.limits().model_attempts;
        let jitter = self.run.jitter(self.attempt);
        let decided = self.run.tape.observe(
            "model.retry",
            || Value::Null,
            || {
                let left = self.run.time_left();
                Ok(
                    match retry::next(&failed, self.attempt - self.shortened, max, jitter, left) {
                        Next::Again(wait) => Some(wait),
                        Next::GiveUp => None,
                    },
                )
            },
        )?;
        let Some(wait) = decided else {
            if let Some(beyond) = retry::beyond(&failed) {
                let message = &mut failed.failure.message;
                *message = format!("{message} ({beyond})");
            }
            self.give_up(failed)?;
            return Ok(None);
        };
        self.run.ledger.audit(Audit::ModelRetry {
            model: self.target.to_string(),
            attempt: self.attempt,
            class: failed.failure.class.as_str(),
            status: failed.status,
            message: failed.failure.message.clone(),
            wait_ms: millis(wait),
            tokens: usage.map(|usage| usage.input_tokens.saturating_add(usage.output_tokens)),
            without: None,
        })?;
        let tape = &self.run.tape;
        tape.advance(tape.peek().saturating_add(micros(wait)));
        let waits = tape.pace() == Pace::Real;
        self.wait_until = waits.then(|| tokio::time::Instant::now() + wait);
        Ok(Some(Piece::Retry(failed.failure.message)))
    }

    /// Asks again at once, without the member of the request that was refused.
    fn shorten(&mut self, failed: Failed, member: String) -> Result<Piece, AskError> {
        self.shortened += 1;
        self.run.ledger.audit(Audit::ModelRetry {
            model: self.target.to_string(),
            attempt: self.attempt,
            class: failed.failure.class.as_str(),
            status: failed.status,
            message: failed.failure.message.clone(),
            wait_ms: 0,
            tokens: None,
            without: Some(member),
        })?;
        Ok(Piece::Retry(failed.failure.message))
    }

    fn give_up(&mut self, failed: Failed) -> Result<(), AskError> {
        self.arrival = None;
        self.open = false;
        let Failed {
            failure, status, ..
        } = failed;
        let message = clipped(&failure.message);
        let cause = json!({
            "model": self.target.to_string(),
            "class": failure.class.as_str(),
            "status": status,
            "attempts": self.attempt,
        });
        let text = format!("no answer of model `{}`: {message}", self.target);
        let told = self
            .run
            .ledger
            .error(Origin::Observed, failure.class.code(), text, Some(cause));
        if let Err(LedgerError::Journal(error)) = told {
            return Err(error.into());
        }
        self.ended = Some(Err(match failure.class {
            Class::Unsupported => ModelError::Unsupported(message),
            class => ModelError::Provider {
                class,
                failure: ProviderFailure {
                    message,
                    status,
                    attempts: self.attempt,
                },
            },
        }));
        Ok(())
    }

    /// Ends a reply in the middle: what has arrived is a turn, and what it calls is answered.
    fn break_off(&mut self, why: &str) -> Result<(), AskError> {
        let Some(mut reply) = self.partial()? else {
            return Ok(());
        };
        if reply.content.is_empty() && reply.usage.is_none() {
            return Ok(());
        }
        reply.content = self.with_own_ids(std::mem::take(&mut reply.content));
        let cost = self.spend(&reply);
        match self.record(&reply, cost, vec!["cancelled".to_owned()]) {
            Err(LedgerError::Journal(error)) => return Err(error.into()),
            Err(LedgerError::Rejected(rejected)) => {
                tracing::debug!(%rejected, "could not record a cancelled reply");
                return Ok(());
            }
            Ok(_) => {}
        }
        for call in reply.content.iter().filter_map(Block::call) {
            let result = ToolResult {
                call_id: call.id.to_owned(),
                content: Value::String(why.to_owned()),
                structured: None,
                is_error: true,
            };
            // Those the host has answered already, and those that the provider has, are refused here.
            if let Err(LedgerError::Journal(error)) =
                self.run.ledger.answer_open(Origin::Host, result)
            {
                return Err(error.into());
            }
        }
        Ok(())
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.ended.is_none()
            && let Err(error) = self.break_off("the reply was cancelled")
        {
            // A journal that fails stays failed: closing the account reports it.
            tracing::debug!(%error, "could not record a cancelled reply");
        }
    }
}

/// What is said of a model that says nothing.
fn silence(idle: Duration) -> String {
    format!("it was silent for {} s", idle.as_secs_f64())
}

/// The beginning of what a provider said.
fn clipped(text: &str) -> String {
    one_line(text, MESSAGE)
}
