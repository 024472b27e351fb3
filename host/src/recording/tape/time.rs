//! What time a run has that is on a tape, in microseconds since its start.

use std::time::Instant;

use jiff::Timestamp;

use crate::recording::format::ClockKind;

/// The time of a run that is recorded.
pub(super) enum Time {
    /// That of the machine. `base` was it at `since`.
    Real {
        since: Instant,
        base: u64,
        last: u64,
    },
    /// One of its own.
    Virtual { now: u64 },
}

impl Time {
    /// The time of a run that goes on from `now`. Somebody else's time has passed meanwhile, as for a machine
    /// that was asleep.
    pub(super) fn from(clock: ClockKind, start: Timestamp, now: u64) -> Time {
        match clock {
            ClockKind::Virtual => Time::Virtual { now },
            ClockKind::Real => {
                let passed = Timestamp::now().duration_since(start).as_micros();
                let base = u64::try_from(passed).unwrap_or(0).max(now);
                Time::Real {
                    since: Instant::now(),
                    base,
                    last: base,
                }
            }
        }
    }

    /// The time of a run that begins.
    pub(super) fn new(clock: ClockKind) -> Time {
        match clock {
            ClockKind::Virtual => Time::Virtual { now: 0 },
            ClockKind::Real => Time::Real {
                since: Instant::now(),
                base: 0,
                last: 0,
            },
        }
    }

    pub(super) fn now(&self) -> u64 {
        match self {
            Time::Real { since, base, .. } => {
                let passed = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                base.saturating_add(passed)
            }
            Time::Virtual { now } => *now,
        }
    }

    pub(super) fn read(&mut self) -> u64 {
        let now = self.now();
        match self {
            Time::Real { last, .. } => {
                *last = now.max(*last);
                *last
            }
            Time::Virtual { now } => {
                *now = now.saturating_add(1);
                *now
            }
        }
    }
}
