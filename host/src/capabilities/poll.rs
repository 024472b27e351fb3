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
        let count = pollables.len();
        let first = self.first_deadline(&pollables);
        tape.effect("poll.poll", || json!(count), async {
            self.pass(first)?;
            poll::Host::poll(&mut self.table, pollables).await
        })
        .await
    }
}

impl poll::HostPollable for RunState {
    async fn block(&mut self, pollable: Fd) -> wasmtime::Result<()> {
        let tape = self.tape.clone();
        let first = self.first_deadline(std::slice::from_ref(&pollable));
        tape.effect("poll.block", || json!(null), async {
            self.pass(first)?;
            poll::HostPollable::block(&mut self.table, pollable).await
        })
        .await
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
    /// In virtual time, the first of these deadlines, if there is nothing but time to wait for: what is no timer
    /// is a stream of a file, which is ready, or something outside.
    fn first_deadline(&self, pollables: &[Fd]) -> Option<u64> {
        if !self.tape.is_virtual() {
            return None;
        }
        let deadlines: Option<Vec<u64>> = pollables
            .iter()
            .map(|pollable| self.timers.get(&pollable.rep()).copied())
            .collect();
        let first = deadlines?.into_iter().min()?;
        if self.tape.replays() {
            self.tape.advance(first);
        }
        Some(first)
    }

    /// In virtual time, lets it pass up to a deadline.
    fn pass(&self, first: Option<u64>) -> wasmtime::Result<()> {
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
