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
use crate::recording::tape::{OutOfTime, Pace};

type Fd = Resource<DynPollable>;

impl poll::Host for RunState {
    async fn poll(&mut self, pollables: Vec<Fd>) -> wasmtime::Result<Vec<u32>> {
        if pollables.is_empty() {
            return Err(wasmtime::Error::msg("empty poll list"));
        }
        let tape = self.tape.clone();
        let count = pollables.len();
        tape.effect("poll.poll", || json!(count), async {
            self.pass(&pollables).await?;
            poll::Host::poll(&mut self.table, pollables).await
        })
        .await
    }
}

impl poll::HostPollable for RunState {
    async fn block(&mut self, pollable: Fd) -> wasmtime::Result<()> {
        let tape = self.tape.clone();
        tape.effect("poll.block", || json!(null), async {
            self.pass(std::slice::from_ref(&pollable)).await?;
            poll::HostPollable::block(&mut self.table, pollable).await
        })
        .await
    }

    async fn ready(&mut self, pollable: Fd) -> wasmtime::Result<bool> {
        let tape = self.tape.clone();
        tape.effect("poll.ready", || json!(null), async {
            if self.tape.pace() == Pace::Virtual {
                // Looking takes time, or a guest that does nothing else would look for ever.
                self.tape.advance(self.tape.peek().saturating_add(1));
            }
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
        if self.tape.pace() != Pace::Virtual {
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
}
