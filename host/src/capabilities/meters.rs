//! What a run has used, and the limits that refuse it more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use wasmtime::ResourceLimiter;

use super::activity::Activity;
use crate::grants::{Limits, limits};
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LimitHit {
    /// Its name in the `[limits]` table.
    pub name: &'static str,
    /// The greatest value allowed, in the unit of the table: bytes, milliseconds or a count.
    pub max: u64,
}

// Derived, it would only read texts that live for ever, because of the name.
impl<'de> Deserialize<'de> for LimitHit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LimitHit, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            name: String,
            max: u64,
        }
        let Written { name, max } = Written::deserialize(deserializer)?;
        let limit = limits::find(&name).map_err(D::Error::custom)?;
        Ok(LimitHit {
            name: limit.name,
            max,
        })
    }
}

/// What a run has used, readable while it runs.
#[derive(Debug)]
pub struct Meters {
    started: Instant,
    cpu_nanos: AtomicU64,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    refused: Mutex<Refused>,
}

/// Resources a guest was refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    first: Option<LimitHit>,
    /// The last, with what the guest had done by then; nothing once it got some after it.
    last: Option<(LimitHit, u64)>,
}

/// What is left of the budgets of a run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Left {
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// Milliseconds of computing.
    pub cpu_ms: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The soft limit of the time or of the computing is passed.
    pub low: bool,
}

impl Default for Meters {
    fn default() -> Meters {
        Meters {
            started: Instant::now(),
            cpu_nanos: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            refused: Mutex::default(),
        }
    }
}

impl Meters {
    /// Time since the run started.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.started.elapsed()
    }

    /// Time the guest has spent computing, host calls it made included, on whatever thread they are done, waiting
    /// excluded.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }

    /// Most bytes all linear memories had together.
    #[must_use]
    pub fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Ordering::Relaxed)
    }

    /// The first resource the guest was refused, if it was.
    #[must_use]
    pub fn refused(&self) -> Option<LimitHit> {
        self.lock().first
    }

    /// The resource a guest that crashed may have crashed for want of: it was refused it, and has done nothing
    /// since that shows that it coped. `deeds` is [`Activity::deeds`](super::activity::Activity::deeds) now.
    #[must_use]
    pub fn wanting(&self, deeds: u64) -> Option<LimitHit> {
        let (hit, then) = self.lock().last?;
        (then == deeds).then_some(hit)
    }

    /// What is left of `limits`.
    #[must_use]
    pub fn left(&self, limits: &Limits) -> Left {
        self.left_after(limits, self.wall(), self.cpu())
    }

    /// The same for a run that has taken so much time and so much computing.
    #[must_use]
    pub fn left_after(&self, limits: &Limits, wall: Duration, cpu: Duration) -> Left {
        let wall_ms = limits.wall.saturating_sub(millis(wall));
        let cpu_ms = limits.cpu.saturating_sub(millis(cpu));
        let memory_bytes = limits
            .memory
            .saturating_sub(self.memory.load(Ordering::Relaxed));
        Left {
            wall_ms,
            cpu_ms,
            memory_bytes,
            low: wall >= limits.soft(limits.wall()) || cpu >= limits.soft(limits.cpu()),
        }
    }

    /// Adds computing; the sum.
    pub(crate) fn spend(&self, computing: Duration) -> Duration {
        let nanos = u64::try_from(computing.as_nanos()).unwrap_or(u64::MAX);
        let before = self.cpu_nanos.fetch_add(nanos, Ordering::Relaxed);
        Duration::from_nanos(before.saturating_add(nanos))
    }

    /// Does something for the guest on a thread of the host's, and adds what it takes of it.
    pub(crate) fn working<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let done = work();
        if !down(Wall::PoolCpu) {
            self.spend(thread_time().saturating_sub(before));
        }
        done
    }

    fn note_refused(&self, name: &'static str, max: u64, deeds: u64) {
        let hit = LimitHit { name, max };
        let mut refused = self.lock();
        refused.first.get_or_insert(hit);
        refused.last = Some((hit, deeds));
    }

    fn note_granted(&self) {
        self.lock().last = None;
    }

    fn lock(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// CPU time of this thread: unlike wall time it does not charge a guest for a busy machine.
#[cfg(unix)]
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(unix))]
pub(crate) fn thread_time() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Counts memories, tables and instances of one store together, where wasmtime's own limiter looks at
/// each memory by itself.
#[derive(Debug)]
pub struct Limiter {
    meters: Arc<Meters>,
    activity: Arc<Activity>,
    memory_max: u64,
    elements: u64,
    elements_max: u64,
    instances_max: usize,
}

impl Limiter {
    /// A limiter for one store.
    #[must_use]
    pub fn new(meters: Arc<Meters>, activity: Arc<Activity>, limits: &Limits) -> Limiter {
        Limiter {
            meters,
            activity,
            memory_max: limits.memory,
            elements: 0,
            elements_max: limits.table_elements,
            instances_max: usize::try_from(sabotage::limit(Wall::Instances, limits.instances))
                .unwrap_or(usize::MAX),
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let used = self.meters.memory.load(Ordering::Relaxed);
        let total = used.saturating_add(desired.saturating_sub(current) as u64);
        if total > sabotage::limit(Wall::Memory, self.memory_max) {
            let deeds = self.activity.deeds();
            self.meters.note_refused("memory", self.memory_max, deeds);
            return Ok(false);
        }
        self.meters.note_granted();
        self.meters.memory.store(total, Ordering::Relaxed);
        self.meters.memory_peak.fetch_max(total, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let total = self
            .elements
            .saturating_add(desired.saturating_sub(current) as u64);
        if total > sabotage::limit(Wall::Tables, self.elements_max) {
            let deeds = self.activity.deeds();
            self.meters
                .note_refused("table-elements", self.elements_max, deeds);
            return Ok(false);
        }
        self.elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        self.instances_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::activity::Nature;

    #[test]
    fn memories_are_counted_together() {
        let meters = Arc::new(Meters::default());
        let limits = Limits {
            memory: 100,
            ..Limits::default()
        };
        let activity = Arc::new(Activity::new(&limits));
        let mut limiter = Limiter::new(meters.clone(), activity.clone(), &limits);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(
            !limiter.memory_growing(0, 60, None).unwrap(),
            "a second memory of 60"
        );
        assert_eq!(meters.wanting(0), meters.refused());
        activity.enter("wasm-agent:agent/trajectory", Nature::Acts);
        assert_eq!(meters.wanting(activity.deeds()), None, "it went on");
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        activity.enter("wasi:cli/stderr", Nature::Looks);
        activity.enter("wasi:io/streams", Nature::Acts);
        let last_words = meters.wanting(activity.deeds());
        assert_eq!(last_words, meters.refused(), "its last words are no deed");
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(meters.wanting(activity.deeds()), None, "it took less");
        assert_eq!(
            meters.refused(),
            Some(LimitHit {
                name: "memory",
                max: 100
            })
        );
        assert_eq!(meters.memory_peak(), 100);
    }
}
