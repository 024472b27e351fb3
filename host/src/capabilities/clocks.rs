//! `wasi:clocks`: the time of the machine, a time of its own, or the time of a recording.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::state::RunState;
use crate::recording::format::Reader;
use crate::recording::tape::{Pace, Tape};

/// Resolution of clocks that are recorded or virtual, in nanoseconds: what a recording keeps.
const TAPED_RESOLUTION: u64 = 1000;

impl wall_clock::Host for RunState {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let since_epoch = match (self.tape.read(Reader::Wall)?, self.tape.start()) {
            (Some(micros), Some(start)) => {
                let start = u64::try_from(start.as_microsecond()).unwrap_or(0);
                Duration::from_micros(start.saturating_add(micros))
            }
            _ => SystemTime::now().duration_since(UNIX_EPOCH)?,
        };
        Ok(wall_clock::Datetime {
            seconds: since_epoch.as_secs(),
            nanoseconds: since_epoch.subsec_nanos(),
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let nanos = monotonic_clock::Host::resolution(self)?;
        Ok(wall_clock::Datetime {
            seconds: 0,
            nanoseconds: u32::try_from(nanos).unwrap_or(1),
        })
    }
}

impl monotonic_clock::Host for RunState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(match self.tape.read(Reader::Monotonic)? {
            Some(micros) => micros.saturating_mul(1000),
            None => nanos(self.meters.wall()),
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(if self.tape.is_off() {
            1
        } else {
            TAPED_RESOLUTION
        })
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let now = if self.tape.is_off() {
            nanos(self.meters.wall())
        } else {
            self.tape.peek().saturating_mul(1000)
        };
        self.timer(when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer(nanos)
    }
}

impl RunState {
    /// A pollable that is ready in so many nanoseconds.
    fn timer(&mut self, nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let timer = if self.tape.is_off() {
            if nanos == 0 {
                Timer::Past { yielded: false }
            } else {
                // A time nobody can represent is one that never comes.
                Instant::now()
                    .checked_add(Duration::from_nanos(nanos))
                    .map_or(Timer::Never, Timer::At)
            }
        } else {
            Timer::Taped {
                tape: self.tape.clone(),
                // Rounded up: nobody wakes early.
                deadline: self.tape.peek().saturating_add(nanos.div_ceil(1000)),
                yielded: false,
            }
        };
        let deadline = timer.deadline();
        let timer = self.table.push(timer)?;
        let pollable = subscribe(&mut self.table, timer)?;
        if let Some(deadline) = deadline {
            self.timers.insert(pollable.rep(), deadline);
        }
        Ok(pollable)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Something a guest waits for that is nothing but time.
enum Timer {
    Past {
        yielded: bool,
    },
    At(Instant),
    Never,
    /// By the time of a tape, in microseconds since its start.
    Taped {
        tape: Tape,
        deadline: u64,
        yielded: bool,
    },
}

impl Timer {
    /// When it is due by the time of the tape.
    fn deadline(&self) -> Option<u64> {
        match self {
            Timer::Taped { deadline, .. } => Some(*deadline),
            Timer::Past { .. } | Timer::At(_) | Timer::Never => None,
        }
    }
}

#[async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        match self {
            Timer::Past { yielded } => once(yielded).await,
            Timer::At(deadline) => tokio::time::sleep_until(*deadline).await,
            Timer::Never => std::future::pending().await,
            Timer::Taped {
                tape,
                deadline,
                yielded,
            } => {
                let left = deadline.saturating_sub(tape.peek());
                match tape.pace() {
                    // When it was ready is on the tape.
                    Pace::Replayed => std::future::pending().await,
                    Pace::Virtual if left > 0 => std::future::pending().await,
                    Pace::Virtual => {}
                    Pace::Real if left == 0 => once(yielded).await,
                    Pace::Real => tokio::time::sleep(Duration::from_micros(left)).await,
                }
            }
        }
    }
}

/// A guest that polls with a time-out of zero in a loop must not keep the reactor from running.
async fn once(yielded: &mut bool) {
    if !*yielded {
        *yielded = true;
        tokio::task::yield_now().await;
    }
}
