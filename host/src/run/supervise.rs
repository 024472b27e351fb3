//! Ending a guest: budgets, idleness, repetition and interruption.
//!
//! Ending a run means dropping the future that runs it, and with it the store. The engine's epoch makes
//! a computing guest yield every tick, so dropping is possible within one tick whatever the guest does.
//!
//! # What is dropped with a host call
//!
//! A guest may be dropped while it waits in any host call. This is why nothing is half done then:
//!
//! - `trajectory.*`, `session.save`, `complete`, `submit-artifact`: the work is done, under one lock,
//!   before the call first waits; all it waits for is the listener ([`Ledger::deliver`]), and a record
//!   leaves the queue only when there is room for it. The supervisor delivers what is left, and does not let the
//!   guest go on while the listener is far behind, whatever it calls.
//! - `session.info`, `budget`, `load`, clocks, randomness, environment, exit: never wait.
//! - `wasi:io/poll`: waits for timers and streams and has no effect of its own.
//! - `wasi:io/streams`: output streams of ours write at once and wait only for the listener. Streams of
//!   files work on a thread of their own: what a write has handed over there is written whole or not at
//!   all, as for a process that is killed after `write(2)`.
//! - `wasi:filesystem`: each call is one operation of the operating system on such a thread; it is not
//!   begun, or runs to its end after the guest is gone. That is why only regular files and directories may
//!   be opened: everything else could hold the thread for ever.
//! - `tools.*`: what the host has to say is in the account before or after the call to the server, never
//!   half; a call to a server that is dropped is cancelled, and one of a component is dropped with its store.
//! - `wasi:sockets`: refused before anything waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::breaker::Breaker;
use super::outcome::Ended;
use super::watchdog::{Evidence, Notice, Pace, Policy, PolicyError, Snapshot, Verdict, Watchdog};
use crate::capabilities::activity::{Activity, Pressure};
use crate::capabilities::meters::{LimitHit, Meters, thread_time};
use crate::grants::Limits;
use crate::recording::Tape;
use crate::trajectory::{Audit, JournalError, Ledger};

/// Asks a run to end. Cheap to clone; asking twice is asking once.
#[derive(Clone, Debug)]
pub struct Interrupt {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Interrupt {
    fn default() -> Interrupt {
        Interrupt {
            sender: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Interrupt {
    /// Interrupts the run: the guest is dropped, and its trajectory closed as `interrupted`.
    pub fn interrupt(&self) {
        self.sender.send_replace(true);
    }

    pub(super) fn is_requested(&self) -> bool {
        *self.sender.borrow()
    }

    pub(super) async fn requested(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}

/// Why a supervised future did not run to its end.
#[derive(Debug)]
pub enum Cut {
    /// Someone asked for it.
    Interrupted,
    /// A limit is reached.
    Limit(LimitHit),
    /// What the supervisor noticed could not be recorded.
    Journal(JournalError),
    /// The limits cannot be supervised.
    Policy(PolicyError),
    /// The recorded run was ended here from outside.
    Recorded,
}

impl Cut {
    /// How the run ended, where that is for its recording to say: it would not happen again by itself.
    pub(super) fn ended(&self) -> Option<Ended> {
        match self {
            Cut::Interrupted => Some(Ended::Interrupted),
            Cut::Limit(hit) => Some(Ended::Limit(*hit)),
            Cut::Journal(_) | Cut::Policy(_) | Cut::Recorded => None,
        }
    }

    /// Puts it on the tape, before anything is dropped: what is broken off by that stands behind it.
    pub(super) fn taped(self, tape: &Tape) -> Cut {
        if let Some(ended) = self.ended().and_then(|it| serde_json::to_value(it).ok()) {
            tape.cut(ended);
        }
        self
    }
}

/// What a guest is supervised by.
#[derive(Clone, Copy, Debug)]
pub struct Supervision<'a> {
    /// What it has used.
    pub meters: &'a Meters,
    /// What it is doing.
    pub activity: &'a Activity,
    /// Its account.
    pub ledger: &'a Ledger,
    /// What it may use.
    pub limits: &'a Limits,
    /// When it counts as stuck.
    pub policy: Policy,
    /// Ends it from outside.
    pub interrupt: &'a Interrupt,
    /// A replay is ended by what it replays: it does not wait, and is not slow or fast.
    pub tape: &'a Tape,
}

/// How often a replay yields where the recorded run was ended while it computed, until it is ended, too: some
/// tenths of a second of computing.
const YIELDS_AT_CUT: u32 = 300;

/// How often a replay looks at a guest that waits there.
const AT_CUT: Duration = Duration::from_millis(1);

/// Runs a guest under supervision.
///
/// # Errors
///
/// Why it was cut short. The future, and the store in it, are dropped by then.
pub async fn supervise<F: Future>(guest: F, by: Supervision<'_>) -> Result<F::Output, Cut> {
    let mut watchdog = Watchdog::new(by.policy).map_err(Cut::Policy)?;
    let clock = Clock {
        origin: Instant::now(),
        before: by.meters.wall(),
    };
    let mut guest = std::pin::pin!(Metered {
        guest: std::pin::pin!(guest),
        clock,
        by,
        breaker: Breaker::new(by.limits),
        delivery: None,
        held: None,
        at_cut: 0,
    });
    loop {
        let now = clock.now();
        let seen = by.snapshot();
        let judgement = watchdog.evaluate(now, &seen);
        for notice in judgement.notices {
            let limit = match judgement.verdict {
                Verdict::Fire(reason) if notice == Notice::HardStop => Some(reason.limit()),
                _ => None,
            };
            by.record(notice, limit, now).map_err(Cut::Journal)?;
        }
        if let Verdict::Fire(reason) = judgement.verdict {
            return Err(Cut::Limit(reason.limit()).taped(by.tape));
        }
        let mut next = clock.at(now.saturating_add(watchdog.due(now, &seen)));
        if by.tape.at_cut() {
            // The guest may wait for something that is not on the tape, and that nobody does any more.
            next = next.min(clock.at(now.saturating_add(AT_CUT)));
        }
        tokio::select! {
            // A guest that is done counts as done, even when its time ran out at the same moment.
            biased;
            done = &mut guest => match done {
                Ok(done) => return Ok(done),
                Err(Over::Recorded) => {
                    by.tape.take_cut();
                    return Err(Cut::Recorded);
                }
                Err(Over::Limit(hit)) => {
                    by.record(Notice::HardStop, Some(hit), clock.now()).map_err(Cut::Journal)?;
                    return Err(Cut::Limit(hit).taped(by.tape));
                }
            },
            () = by.interrupt.requested() => return Err(Cut::Interrupted.taped(by.tape)),
            () = sleep_until(next) => {}
        }
    }
}

impl Supervision<'_> {
    fn snapshot(&self) -> Snapshot {
        let seen = self.activity.seen();
        // A guest that is held back for calling too often is not excused: what it did counts already.
        let pace = if self.ledger.waits_for_listener() {
            Pace::Host
        } else {
            Pace::Guest
        };
        Snapshot {
            doing: seen.doing,
            last_activity: seen.last_activity,
            begun: seen.begun,
            result_at: seen.result_at,
            cpu: self.meters.cpu(),
            pace,
            child: Evidence::Progress,
        }
    }

    fn record(
        &self,
        notice: Notice,
        limit: Option<LimitHit>,
        now: Duration,
    ) -> Result<(), JournalError> {
        let diagnosis = self.activity.diagnosis(now, self.ledger.last_seq());
        self.ledger.audit(Audit::Supervision {
            notice: notice.name(),
            limit: limit.map(|hit| hit.name),
            diagnosis: serde_json::to_value(diagnosis).unwrap_or_default(),
        })
    }
}

/// Time since the start of the run, by the clock that tests can stop.
#[derive(Clone, Copy)]
struct Clock {
    origin: Instant,
    /// What had passed by then.
    before: Duration,
}

impl Clock {
    fn now(&self) -> Duration {
        self.before.saturating_add(self.origin.elapsed())
    }

    fn at(&self, time: Duration) -> Instant {
        // A limit is a week at most.
        self.origin
            .checked_add(time.saturating_sub(self.before))
            .unwrap_or(self.origin)
    }
}

/// Adds up the CPU time of every poll, hands what is on record to the listener, holds a guest back that calls the
/// host too often or tells more than the listener takes, and gives up once a budget is used or the guest goes round
/// in circles.
///
/// A guest does nothing without being polled, and is polled here alone. That is why no capability has to wait for
/// the listener, and none can forget to: between two polls a guest makes the calls of one epoch of the engine at
/// most, and one that waits is not polled again before the listener has caught up.
struct Metered<'a, F> {
    guest: Pin<&'a mut F>,
    clock: Clock,
    by: Supervision<'a>,
    breaker: Breaker,
    /// Records on their way to the listener.
    delivery: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    held: Option<Pin<Box<Sleep>>>,
    at_cut: u32,
}

/// Why a guest is not polled any more.
enum Over {
    Limit(LimitHit),
    Recorded,
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Result<F::Output, Over>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let is_behind = this.is_behind(context);
        if let Some(held) = &mut this.held {
            if held.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.held = None;
        }
        if is_behind {
            return Poll::Pending;
        }
        let now = this.clock.now();
        this.by.activity.tick(now);
        let before = thread_time();
        let polled = this.guest.as_mut().poll(context);
        let spent = this.by.meters.spend(thread_time().saturating_sub(before));
        if let Poll::Ready(done) = polled {
            return Poll::Ready(Ok(done));
        }
        let over = this.over(now, spent);
        if over.is_none() {
            // So that the listener hears of it while the guest waits.
            this.is_behind(context);
        }
        match over {
            Some(over) => Poll::Ready(Err(over)),
            None if this.by.tape.replays() => Poll::Pending,
            None => {
                if let Pressure::HoldUntil(until) = this.by.activity.pressure() {
                    let mut held = Box::pin(sleep_until(this.clock.at(until)));
                    // It wakes the task; what the guest itself has woken it for is seen then.
                    if held.as_mut().poll(context).is_pending() {
                        this.held = Some(held);
                    } else {
                        context.waker().wake_by_ref();
                    }
                }
                Poll::Pending
            }
        }
    }
}

impl<F> Metered<'_, F> {
    /// Hands over what the listener takes; whether it is so far behind that the guest has to wait. It wakes the task
    /// when it goes on.
    fn is_behind(&mut self, context: &mut Context<'_>) -> bool {
        if self.delivery.is_none() && self.by.ledger.is_undelivered() {
            let ledger = self.by.ledger.clone();
            self.delivery = Some(Box::pin(async move { ledger.deliver().await }));
        }
        if let Some(delivery) = &mut self.delivery
            && delivery.as_mut().poll(context).is_ready()
        {
            self.delivery = None;
        }
        self.by.ledger.is_behind()
    }

    fn over(&mut self, now: Duration, spent: Duration) -> Option<Over> {
        if spent > self.by.policy.cpu {
            return Some(Over::Limit(LimitHit {
                name: "cpu",
                max: self.by.limits.cpu,
            }));
        }
        let deeds = self.by.ledger.take_deeds();
        // A replay ends where its recording does. One that goes on without end does not repeat it.
        let times = if self.by.tape.replays() { 2 } else { 1 };
        if let Some(max) = self.by.ledger.audit_overrun(times) {
            return Some(Over::Limit(LimitHit {
                name: "audit-bytes",
                max,
            }));
        }
        if self.by.tape.replays() {
            if self.by.tape.at_cut() {
                self.at_cut += 1;
            }
            return (self.at_cut > YIELDS_AT_CUT).then_some(Over::Recorded);
        }
        if let Pressure::Over(hit) = self.by.activity.pressure() {
            return Some(Over::Limit(hit));
        }
        deeds
            .into_iter()
            .find_map(|deed| self.breaker.note(now, deed))
            .map(Over::Limit)
    }
}

#[cfg(test)]
mod tests;
