//! When is a guest stuck? The rules, without a clock and without a guest.
//!
//! [`Watchdog::evaluate`] is told what time it is and what the guest is doing, and says whether the run
//! goes on. The order of its questions is part of the contract:
//!
//! 1. The ceilings. They are absolute: no activity moves them, nothing defers them.
//! 2. Has it begun in time? Has it gone on in time after the result of a tool? Both end a run that is stuck
//!    where an agent never has to wait, long before it counts as idle.
//! 3. Is idling limited at all?
//! 4. Has the guest been quiet for less than the idle limit? Then it is well.
//! 5. A last moment of grace, in which whatever was about to arrive may arrive.
//! 6. Does it wait for a child or a person? That defers the end, but not for ever: the time spent waiting
//!    adds up over the whole run and never decays.
//!
//! Times are since the start of the run.

use std::time::Duration;

use crate::capabilities::activity::Doing;
use crate::capabilities::meters::{LimitHit, millis};
use crate::error::Hint;
use crate::grants::Limits;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;

/// How long a guest may be quiet, wait, and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Quiet for this long, a notice is written.
    pub idle_notice: Duration,
    /// Quiet for this long, the run is ended; never, if none.
    pub idle: Option<Duration>,
    /// Without having begun to do anything by then, the run is ended.
    pub first_call: Duration,
    /// Without having done anything for this long after the result of a tool, the run is ended.
    pub after_result: Duration,
    /// How much later than [`Policy::idle`] it really is ended.
    pub grace: Duration,
    /// Shortest time between two evaluations that are not due to a ceiling.
    pub poll: Duration,
    /// The run is ended.
    pub wall: Duration,
    /// The guest is told to finish up.
    pub wall_soft: Duration,
    /// Computing that ends the run.
    pub cpu: Duration,
    /// Computing after which the guest is told to finish up.
    pub cpu_soft: Duration,
    /// Waiting for children and people that ends the run, over the whole of it.
    pub waiting: Duration,
    /// The same for children that show no sign of progress.
    pub waiting_without_progress: Duration,
    /// Waiting without a break after which a notice says that it may never end.
    pub suspect: Duration,
    /// Shortest time between two notices that the guest still waits.
    pub status_interval: Duration,
}

impl Default for Policy {
    /// The numbers of the default limits.
    fn default() -> Policy {
        Policy::of(&Limits::default())
    }
}

/// What a run waits by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// The clock of the machine.
    Clock,
    /// A recording: it does not wait.
    Recording,
}

/// Two numbers of a [`Policy`] do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` ({value:?}) has to be {relation} `{other}` ({other_value:?})")]
pub struct PolicyError {
    /// The one.
    pub field: &'static str,
    /// Its value.
    pub value: Duration,
    /// How they have to relate.
    pub relation: Relation,
    /// The other; `zero` stands for itself.
    pub other: &'static str,
    /// Its value.
    pub other_value: Duration,
}

/// How two durations have to relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Relation {
    Above,
    AtMost,
    Below,
}

/// What a child that is waited for shows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// It does something, or waits for a child or a person itself.
    #[default]
    Progress,
    /// It says that it is alive, and nothing else.
    OnlyHeartbeats,
    /// It computes without calling the host.
    Spinning,
}

/// The state of a guest at one moment. One snapshot serves one evaluation, so that all of its answers
/// are about the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// What it is doing.
    pub doing: Doing,
    /// When it last did something that counts.
    pub last_activity: Duration,
    /// It has done something that counts, or is about to.
    pub begun: bool,
    /// When it was given the result of a tool, if it has done nothing since.
    pub result_at: Option<Duration>,
    /// How much it has computed.
    pub cpu: Duration,
    /// Who is slow.
    pub pace: Pace,
    /// What the child it waits for shows of itself.
    pub child: Evidence,
}

/// Who a guest that does not move is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Its own doing.
    Guest,
    /// The listener of the run, who does not keep up. That is not the guest's idleness.
    Host,
}

/// What is to become of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Continue,
    /// It goes on because the guest waits for someone.
    Waiting,
    /// It is ended.
    Fire(Reason),
}

/// Why a run is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each holds the value of the policy that was reached"
)]
pub enum Reason {
    Wall(Duration),
    Cpu(Duration),
    Idle(Duration),
    FirstCall(Duration),
    AfterResult(Duration),
    /// With progress or without.
    Waiting(Duration),
}

/// Something that is worth a record while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Quiet for as long as [`Policy::idle_notice`]; once in each quiet time.
    Idle,
    /// A soft limit is passed; once.
    BudgetLow,
    /// The guest would be idle, but waits for someone.
    WaitingEntered,
    /// It still does.
    WaitingProgress,
    /// It has for as long as [`Policy::suspect`]; once in each wait.
    WaitingSuspected,
    /// It does not wait any more.
    WaitingExited,
    /// The run is about to be ended; once, and the last.
    HardStop,
}

/// The answer of one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// New ones, in order.
    pub notices: Vec<Notice>,
    /// What is to become of the run.
    pub verdict: Verdict,
}

/// The state of the rules between two evaluations.
#[derive(Clone, Debug)]
pub struct Watchdog {
    policy: Policy,
    fired: Option<Reason>,
    low_noted: bool,
    /// The quiet time whose notice is written, by its beginning.
    idle_noted: Option<Duration>,
    grace_until: Option<Duration>,
    /// When the host last held the guest back.
    held_back: Duration,
    wait: Option<Wait>,
    waited: Duration,
}

/// An uninterrupted time of waiting.
#[derive(Clone, Copy, Debug)]
struct Wait {
    began: Duration,
    /// Up to here it is part of `waited`.
    counted: Duration,
    noted: Duration,
    suspected: bool,
}

/// Between two looks at a guest that waits; its child may get stuck or unstuck unseen in between.
const WAITING_TICK: Duration = Duration::from_secs(1);

impl Policy {
    const GRACE: Duration = Duration::from_millis(500);
    const POLL: Duration = Duration::from_millis(50);
    const WAITING: Duration = Duration::from_secs(1800);
    const WITHOUT_PROGRESS: Duration = Duration::from_secs(600);
    const SUSPECT: Duration = Duration::from_secs(600);
    const STATUS_INTERVAL: Duration = Duration::from_secs(30);

    /// The policy that follows from a run's limits. An idle limit or notice beyond the end of the run is
    /// one that never comes: [`Limits::check`] has refused it if somebody asked for it.
    #[must_use]
    pub fn of(limits: &Limits) -> Policy {
        let idle = Duration::from_millis(limits.idle).min(limits.wall());
        Policy {
            idle_notice: Duration::from_millis(limits.idle_notice).min(idle),
            idle: (!sabotage::down(Wall::Idle)).then_some(idle),
            first_call: sabotage::time(Wall::Idle, Duration::from_millis(limits.first_call)),
            after_result: sabotage::time(Wall::Idle, Duration::from_millis(limits.after_result)),
            grace: Policy::GRACE,
            poll: Policy::POLL,
            wall: sabotage::time(Wall::WallClock, limits.wall()),
            wall_soft: limits.soft(limits.wall()),
            cpu: sabotage::time(Wall::Cpu, limits.cpu()),
            cpu_soft: limits.soft(limits.cpu()),
            waiting: Policy::WAITING.max(idle),
            waiting_without_progress: Policy::WITHOUT_PROGRESS,
            suspect: Policy::SUSPECT,
            status_interval: Policy::STATUS_INTERVAL,
        }
    }

    /// The same for a guest that is metered in fuel: its computing ends by itself, at the same instruction every
    /// time. Idleness is up to `time`.
    #[must_use]
    pub fn in_fuel(self, time: Pacing) -> Policy {
        Policy {
            cpu: Duration::MAX,
            cpu_soft: Duration::MAX,
            idle: self.idle.filter(|_| time == Pacing::Clock),
            ..self
        }
    }

    /// Checks how the numbers relate.
    ///
    /// # Errors
    ///
    /// Names both sides of the first relation that does not hold.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let zero = ("zero", Duration::ZERO);
        let first_call = ("first_call", self.first_call);
        let after_result = ("after_result", self.after_result);
        let (wall, waiting) = (("wall", self.wall), ("waiting", self.waiting));
        let suspect = ("suspect", self.suspect);
        let without = ("waiting_without_progress", self.waiting_without_progress);
        let mut relations = vec![
            (("poll", self.poll), Relation::Above, zero),
            (
                ("status_interval", self.status_interval),
                Relation::Above,
                zero,
            ),
            (("wall_soft", self.wall_soft), Relation::AtMost, wall),
            (
                ("cpu_soft", self.cpu_soft),
                Relation::AtMost,
                ("cpu", self.cpu),
            ),
            (first_call, Relation::Above, zero),
            (after_result, Relation::Above, zero),
            (suspect, Relation::Above, zero),
            (suspect, Relation::Below, waiting),
            (without, Relation::Above, zero),
            (without, Relation::AtMost, waiting),
        ];
        if let Some(idle) = self.idle {
            let idle = ("idle", idle);
            relations.extend([
                (idle, Relation::Above, zero),
                (idle, Relation::AtMost, wall),
                (idle, Relation::AtMost, waiting),
                (("idle_notice", self.idle_notice), Relation::AtMost, idle),
            ]);
        }
        for ((field, value), relation, (other, other_value)) in relations {
            let holds = match relation {
                Relation::Above => value > other_value,
                Relation::AtMost => value <= other_value,
                Relation::Below => value < other_value,
            };
            if !holds {
                return Err(PolicyError {
                    field,
                    value,
                    relation,
                    other,
                    other_value,
                });
            }
        }
        Ok(())
    }
}

impl Watchdog {
    /// A watchdog for a run that starts now.
    ///
    /// # Errors
    ///
    /// The policy contradicts itself.
    pub fn new(policy: Policy) -> Result<Watchdog, PolicyError> {
        policy.validate()?;
        Ok(Watchdog {
            policy,
            fired: None,
            low_noted: false,
            idle_noted: None,
            grace_until: None,
            held_back: Duration::ZERO,
            wait: None,
            waited: Duration::ZERO,
        })
    }

    /// Judges the guest. Asking again at the same time gives the same verdict and no new notice; once
    /// fired, the verdict stays.
    pub fn evaluate(&mut self, now: Duration, seen: &Snapshot) -> Judgement {
        let mut notices = Vec::new();
        if let Some(reason) = self.fired {
            return Judgement {
                notices,
                verdict: Verdict::Fire(reason),
            };
        }
        let verdict = self.judge(now, seen, &mut notices);
        if let Verdict::Fire(reason) = verdict {
            self.fired = Some(reason);
            notices.push(Notice::HardStop);
        }
        Judgement { notices, verdict }
    }

    /// Time the guest has spent waiting for others beyond its idle limit.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// How long the next evaluation can wait, if the guest stays as quiet as it is. Activity only moves
    /// the moment further away, but for the result of a tool: where that has a deadline, it is looked for.
    #[must_use]
    pub fn due(&self, now: Duration, seen: &Snapshot) -> Duration {
        let Policy {
            wall,
            wall_soft,
            cpu_soft,
            idle_notice,
            idle,
            poll,
            ..
        } = self.policy;
        let mut next = Duration::MAX;
        if !self.low_noted {
            // A guest has one thread: its computing is not faster than the clock.
            next = next
                .min(wall_soft.saturating_sub(now))
                .min(cpu_soft.saturating_sub(seen.cpu));
        }
        if let Some((_, at)) = self.deadline(seen) {
            next = next.min(at.saturating_sub(now));
        }
        if seen.result_at.is_none() && self.policy.after_result < wall {
            next = next.min(self.policy.after_result).min(WAITING_TICK);
        }
        if let Some(idle) = idle {
            let quiet_since = self.quiet_since(seen);
            let quiet = now.saturating_sub(quiet_since);
            if self.wait.is_some() || seen.pace == Pace::Host {
                next = next.min(WAITING_TICK);
            } else if let Some(until) = self.grace_until {
                next = next.min(until.saturating_sub(now));
            } else {
                next = next.min(idle.saturating_sub(quiet));
                if self.idle_noted != Some(quiet_since) {
                    next = next.min(idle_notice.saturating_sub(quiet));
                }
            }
        }
        next.max(poll).min(wall.saturating_sub(now))
    }

    fn judge(&mut self, now: Duration, seen: &Snapshot, notices: &mut Vec<Notice>) -> Verdict {
        let policy = self.policy;
        if now >= policy.wall {
            return Verdict::Fire(Reason::Wall(policy.wall));
        }
        if seen.cpu >= policy.cpu {
            return Verdict::Fire(Reason::Cpu(policy.cpu));
        }
        if !self.low_noted && (now >= policy.wall_soft || seen.cpu >= policy.cpu_soft) {
            self.low_noted = true;
            notices.push(Notice::BudgetLow);
        }
        if seen.pace == Pace::Host {
            self.held_back = now;
        }
        if let Some((reason, at)) = self.deadline(seen)
            && now >= at
        {
            return Verdict::Fire(reason);
        }
        let Some(idle) = policy.idle else {
            return Verdict::Continue;
        };

        let quiet_since = self.quiet_since(seen);
        let quiet = now.saturating_sub(quiet_since);
        if quiet < idle {
            self.exit_wait(notices);
            self.grace_until = None;
            if quiet >= policy.idle_notice && self.idle_noted != Some(quiet_since) {
                self.idle_noted = Some(quiet_since);
                notices.push(Notice::Idle);
            }
            return Verdict::Continue;
        }

        let waits = matches!(
            seen.doing,
            Doing::WaitingForChild { .. } | Doing::WaitingForHuman { .. }
        );
        if !waits {
            self.exit_wait(notices);
        }
        // A wait that has passed its grace does not pass it again at every look.
        if self.wait.is_none() {
            let until = *self
                .grace_until
                .get_or_insert(now.saturating_add(policy.grace));
            if now < until {
                return Verdict::Continue;
            }
        }
        if !waits {
            return Verdict::Fire(Reason::Idle(idle));
        }
        self.grace_until = None;
        self.wait(now, seen, notices)
    }

    /// What has to happen next, and by when. A guest that is held back by the host gets its time back.
    fn deadline(&self, seen: &Snapshot) -> Option<(Reason, Duration)> {
        let Policy {
            first_call,
            after_result,
            ..
        } = self.policy;
        let (reason, since, time) = match seen.result_at {
            Some(at) => (Reason::AfterResult(after_result), at, after_result),
            None if !seen.begun => (Reason::FirstCall(first_call), Duration::ZERO, first_call),
            None => return None,
        };
        Some((reason, since.max(self.held_back).saturating_add(time)))
    }

    fn wait(&mut self, now: Duration, seen: &Snapshot, notices: &mut Vec<Notice>) -> Verdict {
        let policy = self.policy;
        let mut wait = self.wait.unwrap_or_else(|| {
            notices.push(Notice::WaitingEntered);
            Wait {
                began: now,
                counted: now,
                noted: now,
                suspected: false,
            }
        });
        self.waited = self.waited.saturating_add(now.saturating_sub(wait.counted));
        wait.counted = now;
        let ceiling = match (seen.doing, seen.child) {
            (Doing::WaitingForChild { .. }, Evidence::OnlyHeartbeats | Evidence::Spinning) => {
                policy.waiting_without_progress
            }
            _ => policy.waiting,
        };
        let verdict = if self.waited >= ceiling {
            Verdict::Fire(Reason::Waiting(ceiling))
        } else {
            if !wait.suspected && now.saturating_sub(wait.began) >= policy.suspect {
                wait.suspected = true;
                notices.push(Notice::WaitingSuspected);
            }
            if now.saturating_sub(wait.noted) >= policy.status_interval {
                wait.noted = now;
                notices.push(Notice::WaitingProgress);
            }
            Verdict::Waiting
        };
        self.wait = Some(wait);
        verdict
    }

    fn exit_wait(&mut self, notices: &mut Vec<Notice>) {
        if self.wait.take().is_some() {
            notices.push(Notice::WaitingExited);
        }
    }

    fn quiet_since(&self, seen: &Snapshot) -> Duration {
        seen.last_activity.max(self.held_back)
    }
}

impl Reason {
    /// The limit that was reached.
    #[must_use]
    pub fn limit(self) -> LimitHit {
        let (name, max) = match self {
            Reason::Wall(max) => ("wall", max),
            Reason::Cpu(max) => ("cpu", max),
            Reason::Idle(max) => ("idle", max),
            Reason::FirstCall(max) => ("first-call", max),
            Reason::AfterResult(max) => ("after-result", max),
            // A longer idle limit; one of its own when there is someone to wait for.
            Reason::Waiting(max) => ("idle", max),
        };
        LimitHit {
            name,
            max: millis(max),
        }
    }
}

impl Notice {
    /// Its name in the event log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Notice::Idle => "idle",
            Notice::BudgetLow => "budget_low",
            Notice::WaitingEntered => "waiting_entered",
            Notice::WaitingProgress => "waiting_progress",
            Notice::WaitingSuspected => "waiting_suspected",
            Notice::WaitingExited => "waiting_exited",
            Notice::HardStop => "hard_stop",
        }
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Relation::Above => "greater than",
            Relation::AtMost => "at most",
            Relation::Below => "less than",
        })
    }
}

impl Hint for PolicyError {}

#[cfg(test)]
mod tests;
