//! Ending a guest: time budgets and interruption.
//!
//! Ending a run means dropping the future that runs it, and with it the store. The engine's epoch makes
//! a computing guest yield every tick, so dropping is possible within one tick whatever the guest does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;

use crate::capabilities::meters::{LimitHit, Meters};
use crate::grants::Limits;

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

    async fn requested(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}

/// Why a supervised future did not run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Someone asked for it.
    Interrupted,
    /// A time budget is used up.
    Limit(LimitHit),
}

/// Runs a guest under its time budgets.
///
/// # Errors
///
/// Why it was cut short. The future, and the store in it, are dropped by then.
pub async fn supervise<F: Future>(
    guest: F,
    meters: &Meters,
    limits: &Limits,
    interrupt: &Interrupt,
) -> Result<F::Output, Cut> {
    let over_cpu = AtomicBool::new(false);
    let metered = Metered {
        guest: std::pin::pin!(guest),
        used: meters.cpu_counter(),
        budget: limits.cpu(),
        over: &over_cpu,
    };
    let left = limits.wall().saturating_sub(meters.wall());
    tokio::select! {
        // A guest that is done counts as done, even when its time ran out at the same moment.
        biased;
        done = metered => match done {
            Some(done) => Ok(done),
            None => Err(Cut::Limit(LimitHit { name: "cpu", max: limits.cpu })),
        },
        () = interrupt.requested() => Err(Cut::Interrupted),
        () = tokio::time::sleep(left) => Err(Cut::Limit(LimitHit { name: "wall", max: limits.wall })),
    }
}

/// Adds up the CPU time of every poll; gives up once the budget is used.
struct Metered<'a, F> {
    guest: Pin<&'a mut F>,
    used: &'a AtomicU64,
    budget: Duration,
    over: &'a AtomicBool,
}

impl<F: Future> Future for Metered<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.over.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        let before = thread_time();
        let polled = self.guest.as_mut().poll(context);
        let spent = thread_time().saturating_sub(before);
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        let used = self
            .used
            .fetch_add(spent, Ordering::Relaxed)
            .saturating_add(spent);
        if polled.is_pending() && Duration::from_nanos(used) > self.budget {
            self.over.store(true, Ordering::Relaxed);
            return Poll::Ready(None);
        }
        polled.map(Some)
    }
}

/// CPU time of this thread: unlike wall time it does not charge a guest for a busy machine.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_waits_for_ever_is_cut_at_the_wall_limit() {
        let meters = Meters::default();
        let limits = Limits {
            wall: 1000,
            ..Limits::default()
        };
        let interrupt = Interrupt::default();
        let cut = supervise(std::future::pending::<()>(), &meters, &limits, &interrupt);
        assert_eq!(
            cut.await,
            Err(Cut::Limit(LimitHit {
                name: "wall",
                max: 1000
            }))
        );
    }

    #[tokio::test]
    async fn a_guest_that_computes_for_ever_is_cut_at_the_cpu_limit() {
        let spin = std::future::poll_fn(|context| {
            let until = thread_time() + Duration::from_millis(5);
            while thread_time() < until {}
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        let meters = Meters::default();
        let limits = Limits {
            cpu: 20,
            ..Limits::default()
        };
        let cut = supervise(spin, &meters, &limits, &Interrupt::default()).await;
        assert_eq!(
            cut,
            Err(Cut::Limit(LimitHit {
                name: "cpu",
                max: 20
            }))
        );
    }

    #[tokio::test]
    async fn an_interrupt_cuts_whatever_waits_even_when_asked_before() {
        let interrupt = Interrupt::default();
        interrupt.interrupt();
        let (meters, limits) = (Meters::default(), Limits::default());
        let cut = supervise(std::future::pending::<()>(), &meters, &limits, &interrupt);
        assert_eq!(cut.await, Err(Cut::Interrupted));
    }
}
