//! `wasi:io/poll`: what is ready, in the order in which the guest was told.
//!
//! Nothing of ours is asked here: waiting is wasmtime-wasi's. What came of it is on the tape, so that a
//! replay wakes for the same things in the same order and waits for none of them. In virtual time the clock
//! jumps to the first deadline instead.

use serde_json::json;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_io::bindings::wasi::io::poll;

use super::meters::LimitHit;
use super::state::RunState;
use crate::recording::tape::OutOfTime;

type Fd = Resource<DynPollable>;

impl poll::Host for RunState {
    async fn poll(&mut self, pollables: Vec<Fd>) -> wasmtime::Result<Vec<u32>> {
        if pollables.is_empty() {
            return Err(wasmtime::Error::msg("empty poll list"));
        }
        let tape = self.tape.clone();
        let reps: Vec<u32> = pollables.iter().map(Resource::rep).collect();
        let polled = tape.effect("poll.poll", || json!(reps.len()), async {
            self.pass(&pollables).await?;
            poll::Host::poll(&mut self.table, pollables).await
        });
        let ready = polled.await?;
        let which = ready.iter().filter_map(|at| reps.get(*at as usize));
        self.passed(which.copied());
        Ok(ready)
    }
}

impl poll::HostPollable for RunState {
    async fn block(&mut self, pollable: Fd) -> wasmtime::Result<()> {
        let tape = self.tape.clone();
        let rep = pollable.rep();
        let blocked = tape.effect("poll.block", || json!(null), async {
            self.pass(std::slice::from_ref(&pollable)).await?;
            poll::HostPollable::block(&mut self.table, pollable).await
        });
        blocked.await?;
        self.passed([rep]);
        Ok(())
    }

    async fn ready(&mut self, pollable: Fd) -> wasmtime::Result<bool> {
        let tape = self.tape.clone();
        // Looking takes time, or a guest that does nothing else would look for ever.
        tape.advance(tape.peek().saturating_add(1));
        tape.effect("poll.ready", || json!(null), async {
            poll::HostPollable::ready(&mut self.table, pollable).await
        })
        .await
    }

    fn drop(&mut self, pollable: Fd) -> wasmtime::Result<()> {
        self.timers.remove(&pollable.rep());
        poll::HostPollable::drop(&mut self.table, pollable)
    }
}

impl RunState {
    /// In virtual time, lets it pass up to the first of these deadlines, if nothing is ready now. There is no
    /// other outside in virtual time: what is no timer is ready, or waits for the guest itself.
    async fn pass(&mut self, pollables: &[Fd]) -> wasmtime::Result<()> {
        if !self.tape.is_virtual() {
            return Ok(());
        }
        let mut first = None;
        for pollable in pollables {
            let rep = pollable.rep();
            if let Some(deadline) = self.timers.get(&rep).copied() {
                first = Some(first.map_or(deadline, |first: u64| first.min(deadline)));
            } else if poll::HostPollable::ready(&mut self.table, Fd::new_borrow(rep)).await? {
                return Ok(());
            }
        }
        let Some(first) = first else {
            return Ok(());
        };
        let max = self.grants.limits.wall;
        let end = max.saturating_mul(1000);
        if first >= end && self.tape.peek() < first {
            self.tape.advance(end);
            return Err(wasmtime::Error::new(OutOfTime(LimitHit {
                name: "wall",
                max,
            })));
        }
        self.tape.advance(first);
        Ok(())
    }
    /// In virtual time, it is at least as late as the deadlines of these: where the answer was on the tape, it has
    /// not passed yet, and the run may go on by itself before it reads the clock again.
    fn passed(&self, ready: impl IntoIterator<Item = u32>) {
        let deadlines = ready.into_iter().filter_map(|rep| self.timers.get(&rep));
        if let Some(latest) = deadlines.max() {
            self.tape.advance(*latest);
        }
    }
}
