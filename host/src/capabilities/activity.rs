//! What a guest is doing, at any instant.
//!
//! The host never guesses: a guest enters the host through functions that note it here, and it computes
//! when its epoch ends without it having left them. A supervisor only looks while the guest is not being
//! polled. At that moment the guest has either yielded at the end of an epoch, which
//! [`Activity::computing`] has noted, or it is parked in the call it entered last: no call needs to note
//! that it returns. wasmtime's own call hook would be a feature more to compile and could not name calls.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::meters::{LimitHit, millis};
use crate::grants::Limits;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;

/// What a host call says about the guest that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It does something; once it has returned, the guest has been active.
    Acts,
    /// It only looks: clocks, randomness, pollables, budgets, heartbeats. A guest that does nothing else
    /// is idle.
    Looks,
    /// It waits for a person.
    AsksHuman,
    /// It waits for a child of the guest.
    AwaitsChild,
}

/// A host call, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The interface, for example `wasi:io/poll`.
    pub interface: &'static str,
    /// The function, where the interface notes it.
    pub function: Option<&'static str>,
    /// What it says about the guest.
    pub nature: Nature,
}

/// What a guest is doing. Times are since the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Running code of its own.
    Computing {
        /// When it returned from its last host call, or began.
        since: Duration,
    },
    /// Waiting in a host call.
    InHostCall {
        /// Which one.
        call: Call,
        /// When it entered it.
        since: Duration,
    },
    /// Waiting for a person.
    WaitingForHuman {
        /// When it began to.
        since: Duration,
    },
    /// Waiting for a child.
    WaitingForChild {
        /// When it began to.
        since: Duration,
    },
    /// It has returned.
    Finished,
}

/// What a guest is doing, and what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Right now.
    pub doing: Doing,
    /// When it last did something that counts, since the start of the run.
    pub last_activity: Duration,
    /// Host calls it has made.
    pub host_calls: u64,
    /// Epochs it has computed through.
    pub epochs: u64,
    /// It has called the host to do something, at least once.
    pub begun: bool,
    /// When it was given the result of a tool, if it has done nothing since.
    pub result_at: Option<Duration>,
}

/// [`Doing`], in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as `Doing`")]
pub enum Occupation {
    Computing,
    HostCall,
    Human,
    Child,
    Finished,
}

/// The explanation that goes with a run that was ended, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What it was doing.
    pub doing: Occupation,
    /// The host call, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// Milliseconds it had been doing that.
    pub for_ms: u64,
    /// Milliseconds since it last did something that counts.
    pub quiet_ms: u64,
    /// Host calls it had made.
    pub host_calls: u64,
    /// Position of the last record; what led here is before it in `events.ndjson`.
    pub last_seq: Option<u64>,
}

/// What the host-call limits want done with a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nothing.
    None,
    /// Hold it back until then, since the start of the run.
    HoldUntil(Duration),
    /// End it.
    Over(LimitHit),
}

/// Keeps track of one guest. Noting a call costs one uncontended lock.
#[derive(Debug)]
pub struct Activity {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// As of the last [`Activity::tick`]: reading the clock in every call would cost more than the rest.
    /// A guest runs at most one epoch without a tick.
    now: Duration,
    call: Option<Call>,
    /// When `call`, or else computing, began.
    since: Duration,
    finished: bool,
    last_activity: Duration,
    host_calls: u64,
    host_calls_max: u64,
    epochs: u64,
    second_began: Duration,
    calls_this_second: u64,
    rate_max: u64,
    rate_hit: bool,
    heartbeat: u64,
    /// Calls that did something, the one it is in included.
    acts: u64,
    /// Those of them that are more than words on a standard stream.
    deeds: u64,
    result_at: Option<Duration>,
    /// As they were before the call it is in, in case that turns out to look only.
    before: (u64, u64, Option<Duration>),
}

impl Activity {
    /// Of a guest that starts now.
    #[must_use]
    pub fn new(limits: &Limits) -> Activity {
        Activity {
            inner: Mutex::new(Inner {
                now: Duration::ZERO,
                call: None,
                since: Duration::ZERO,
                finished: false,
                last_activity: Duration::ZERO,
                host_calls: 0,
                host_calls_max: sabotage::limit(Wall::HostCalls, limits.host_calls),
                epochs: 0,
                second_began: Duration::ZERO,
                calls_this_second: 0,
                rate_max: sabotage::limit(Wall::HostCallRate, limits.host_call_rate),
                rate_hit: false,
                heartbeat: 0,
                acts: 0,
                deeds: 0,
                result_at: None,
                before: (0, 0, None),
            }),
        }
    }

    /// Says what time it is, since the start of the run. Time never runs backwards.
    pub fn tick(&self, now: Duration) {
        let mut inner = self.lock();
        inner.now = inner.now.max(now);
    }

    /// The guest enters a host call.
    pub fn enter(&self, interface: &'static str, nature: Nature) {
        let mut inner = self.lock();
        inner.left_call();
        inner.call = Some(Call {
            interface,
            function: None,
            nature,
        });
        inner.before = (inner.acts, inner.deeds, inner.result_at);
        if nature != Nature::Looks {
            inner.acts = inner.acts.saturating_add(1);
            // Whatever a guest says while it dies goes through a stream.
            let says = interface == "wasi:io/streams" || interface == "wasi:cli/exit";
            inner.deeds = inner.deeds.saturating_add(u64::from(!says));
            inner.result_at = None;
        }
        inner.since = inner.now;
        inner.host_calls = inner.host_calls.saturating_add(1);
        if inner.now.saturating_sub(inner.second_began) >= Duration::from_secs(1) {
            inner.second_began = inner.now;
            inner.calls_this_second = 0;
        }
        inner.calls_this_second = inner.calls_this_second.saturating_add(1);
    }

    /// Names the function of the call that was entered last.
    pub fn function(&self, name: &'static str) {
        if let Some(call) = &mut self.lock().call {
            call.function = Some(name);
        }
    }

    /// The call that was entered last only looks.
    pub fn looks(&self) {
        self.lock().only_looks();
    }

    /// The guest has just been given, or has told of, the result of a tool.
    pub fn tool_returned(&self) {
        let mut inner = self.lock();
        inner.result_at = Some(inner.now);
    }

    /// Calls that did something but speak, so far. Says whether a guest went on after a moment.
    #[must_use]
    pub fn deeds(&self) -> u64 {
        self.lock().deeds
    }

    /// The call that was entered last says what the guest is doing. Saying the same again is a
    /// heartbeat, which does not count as activity.
    pub fn says(&self, text: &str) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let heartbeat = hasher.finish();
        let mut inner = self.lock();
        let repeated = std::mem::replace(&mut inner.heartbeat, heartbeat) == heartbeat;
        if repeated {
            inner.only_looks();
        }
    }

    /// What the guest waits for in the call it entered last makes progress: a piece of an answer arrived.
    pub fn progress(&self) {
        let mut inner = self.lock();
        inner.last_activity = inner.now;
    }

    /// The guest has computed to the end of an epoch.
    pub fn computing(&self) {
        let mut inner = self.lock();
        inner.epochs = inner.epochs.saturating_add(1);
        if inner.call.is_some() {
            inner.left_call();
            inner.since = inner.now;
        }
    }

    /// The guest has returned, or is not there any more.
    pub fn finished(&self) {
        let mut inner = self.lock();
        inner.left_call();
        inner.finished = true;
    }

    /// What it is doing. Exact while the guest is not being polled.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let inner = self.lock();
        let since = inner.since;
        let doing = match inner.call {
            _ if inner.finished => Doing::Finished,
            None => Doing::Computing { since },
            Some(Call {
                nature: Nature::AsksHuman,
                ..
            }) => Doing::WaitingForHuman { since },
            Some(Call {
                nature: Nature::AwaitsChild,
                ..
            }) => Doing::WaitingForChild { since },
            Some(call) => Doing::InHostCall { call, since },
        };
        Seen {
            doing,
            last_activity: inner.last_activity,
            host_calls: inner.host_calls,
            epochs: inner.epochs,
            begun: inner.acts > 0,
            result_at: inner.result_at,
        }
    }

    /// What the limits `host-calls` and `host-call-rate` want done.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let mut inner = self.lock();
        if inner.host_calls > inner.host_calls_max {
            return Pressure::Over(LimitHit {
                name: "host-calls",
                max: inner.host_calls_max,
            });
        }
        let until = inner.second_began.saturating_add(Duration::from_secs(1));
        if inner.calls_this_second > inner.rate_max && inner.now < until {
            inner.rate_hit = true;
            return Pressure::HoldUntil(until);
        }
        Pressure::None
    }

    /// The limit `host-call-rate`, if the guest was ever held back by it.
    #[must_use]
    pub fn held_back(&self) -> Option<LimitHit> {
        let inner = self.lock();
        inner.rate_hit.then_some(LimitHit {
            name: "host-call-rate",
            max: inner.rate_max,
        })
    }

    /// Puts it in words, as of `now`.
    #[must_use]
    pub fn diagnosis(&self, now: Duration, last_seq: Option<u64>) -> Diagnosis {
        let seen = self.seen();
        let (doing, call, since) = match seen.doing {
            Doing::Computing { since } => (Occupation::Computing, None, since),
            Doing::InHostCall { call, since } => {
                (Occupation::HostCall, Some(call.to_string()), since)
            }
            Doing::WaitingForHuman { since } => (Occupation::Human, None, since),
            Doing::WaitingForChild { since } => (Occupation::Child, None, since),
            Doing::Finished => (Occupation::Finished, None, now),
        };
        Diagnosis {
            doing,
            call,
            for_ms: millis(now.saturating_sub(since)),
            quiet_ms: millis(now.saturating_sub(seen.last_activity)),
            host_calls: seen.host_calls,
            last_seq,
        }
    }

    /// Nothing in here can be half done: a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The call it is in does nothing after all.
    fn only_looks(&mut self) {
        if let Some(call) = &mut self.call {
            call.nature = Nature::Looks;
            (self.acts, self.deeds, self.result_at) = self.before;
        }
    }

    /// Noted by whatever comes next, so at most one epoch late.
    fn left_call(&mut self) {
        if self
            .call
            .take()
            .is_some_and(|call| call.nature != Nature::Looks)
        {
            self.last_activity = self.now;
        }
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.function {
            Some(function) => write!(f, "{}.{function}", self.interface),
            None => f.write_str(self.interface),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn activity() -> Activity {
        Activity::new(&Limits::default())
    }

    #[test]
    fn a_call_lasts_until_the_guest_computes_or_calls_again() {
        let activity = activity();
        activity.tick(at(1));
        activity.enter("wasi:io/streams", Nature::Acts);
        activity.function("blocking-read");
        activity.tick(at(9));
        let Doing::InHostCall { call, since } = activity.seen().doing else {
            panic!()
        };
        assert_eq!(
            (call.to_string().as_str(), since),
            ("wasi:io/streams.blocking-read", at(1))
        );
        assert_eq!(activity.seen().last_activity, at(0), "it has not returned");

        activity.computing();
        assert_eq!(activity.seen().doing, Doing::Computing { since: at(9) });
        assert_eq!(activity.seen().last_activity, at(9));
        activity.tick(at(12));
        activity.computing();
        assert_eq!(activity.seen().doing, Doing::Computing { since: at(9) });
        assert_eq!(
            (activity.seen().last_activity, activity.seen().epochs),
            (at(9), 2)
        );
        activity.finished();
        assert_eq!(activity.seen().doing, Doing::Finished);
    }

    #[test]
    fn looking_at_the_clock_and_heartbeats_are_no_activity() {
        let activity = activity();
        let says = |second, text| {
            activity.tick(at(second));
            activity.enter("wasm-agent:agent/trajectory", Nature::Acts);
            activity.says(text);
            activity.computing();
            activity.seen().last_activity
        };
        assert_eq!(says(1, "working"), at(1));
        assert_eq!(says(2, "working"), at(1), "the same again");
        assert_eq!(says(3, "testing"), at(3));
        activity.tick(at(4));
        activity.enter("wasi:clocks/wall-clock", Nature::Looks);
        activity.computing();
        assert_eq!(activity.seen().last_activity, at(3));
        activity.enter("wasm-agent:agent/session", Nature::Acts);
        activity.looks();
        activity.computing();
        assert_eq!(activity.seen().last_activity, at(3));
        assert_eq!(activity.seen().host_calls, 5);
    }

    #[test]
    fn looking_is_no_beginning_and_no_answer_to_a_result() {
        let activity = activity();
        activity.enter("wasi:clocks/wall-clock", Nature::Looks);
        activity.enter("wasm-agent:agent/session", Nature::Acts);
        activity.looks();
        assert!(!activity.seen().begun);
        activity.tick(at(3));
        activity.enter("wasm-agent:agent/trajectory", Nature::Acts);
        activity.tool_returned();
        assert!(activity.seen().begun);
        assert_eq!(activity.seen().result_at, Some(at(3)));

        activity.tick(at(4));
        activity.enter("wasi:io/poll", Nature::Looks);
        activity.enter("wasm-agent:agent/session", Nature::Acts);
        activity.looks();
        assert_eq!(activity.seen().result_at, Some(at(3)), "it only looked");
        activity.enter("wasm-agent:agent/model", Nature::Acts);
        assert_eq!(activity.seen().result_at, None, "it asks a model");
    }

    #[test]
    fn who_is_waited_for_is_told_apart() {
        let activity = activity();
        activity.enter("wasm-agent:agent/human", Nature::AsksHuman);
        assert_eq!(
            activity.seen().doing,
            Doing::WaitingForHuman { since: at(0) }
        );
        activity.enter("wasm-agent:agent/agents", Nature::AwaitsChild);
        assert_eq!(
            activity.seen().doing,
            Doing::WaitingForChild { since: at(0) }
        );
    }

    #[test]
    fn a_guest_over_its_rate_is_held_back_to_the_end_of_the_second() {
        let limits = Limits {
            host_call_rate: 2,
            host_calls: 5,
            ..Limits::default()
        };
        let activity = Activity::new(&limits);
        let call = || activity.enter("wasi:cli/stdout", Nature::Acts);
        activity.tick(Duration::from_millis(1500));
        call();
        call();
        assert_eq!(
            (activity.pressure(), activity.held_back()),
            (Pressure::None, None)
        );
        activity.tick(Duration::from_millis(1700));
        call();
        assert_eq!(
            activity.pressure(),
            Pressure::HoldUntil(Duration::from_millis(2500))
        );
        activity.tick(Duration::from_millis(2500));
        assert_eq!(activity.pressure(), Pressure::None);
        call();
        call();
        assert_eq!(
            activity.pressure(),
            Pressure::None,
            "a new second, and five calls in all"
        );
        call();
        assert_eq!(
            activity.pressure(),
            Pressure::Over(LimitHit {
                name: "host-calls",
                max: 5
            })
        );
        assert_eq!(
            activity.held_back(),
            Some(LimitHit {
                name: "host-call-rate",
                max: 2
            })
        );
    }
}
