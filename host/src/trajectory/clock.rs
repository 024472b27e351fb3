//! What time it is for the account of a run.

use std::fmt::Debug;
use std::io;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// Where the times of an account come from. Never runs backwards.
pub trait EventClock: Debug + Send + Sync {
    /// The time of what is reported now. It is part of the trajectory, which a replay repeats byte for byte.
    ///
    /// # Errors
    ///
    /// The account cannot go on: a replay has met something that is not in its recording, or a recording
    /// cannot be written.
    fn event(&self) -> io::Result<Timestamp>;

    /// The time of an audit record. It is no part of the trajectory.
    fn audit(&self) -> Timestamp;
}

/// Wall time: read once, then advanced by the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct WallTime {
    start: Timestamp,
    since: Instant,
}

impl WallTime {
    /// A clock that starts now.
    #[must_use]
    pub fn now() -> WallTime {
        WallTime {
            start: Timestamp::now(),
            since: Instant::now(),
        }
    }
}

impl EventClock for WallTime {
    fn event(&self) -> io::Result<Timestamp> {
        Ok(self.audit())
    }

    fn audit(&self) -> Timestamp {
        let elapsed =
            SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::ZERO);
        self.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}
