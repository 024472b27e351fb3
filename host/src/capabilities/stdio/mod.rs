//! Standard streams: captured as records, and AVP's stdio binding for `wasi:cli/run` agents.
//!
//! Nothing a guest writes is ever lost to a full buffer, blocks it, or kills it: what is over the cap is
//! counted, and only its tail kept (a stream that errors at its cap makes `println!`
//! panic in an innocent guest).

pub mod binding;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use self::binding::{Binding, ClaimedStop};
use crate::egress::secrets::Sieve;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;
use crate::trajectory::audit::{LeakAction, Stream};
use crate::trajectory::{Audit, JournalError, Ledger};

/// Bytes of a stream's end that are kept for a failure report.
pub const TAIL_BYTES: usize = 64 << 10;

/// Longest piece of output kept in one record; a line without end must not grow a buffer.
const PIECE_BYTES: usize = 8 << 10;

/// What is done with the lines of a stream.
#[derive(Clone)]
pub enum Lines {
    /// Each is an `output` record.
    Captured {
        /// Which stream it is.
        stream: Stream,
        /// Bytes kept as records.
        max: u64,
    },
    /// Each is an event of a stdio agent.
    Events(Binding),
}

/// A captured standard stream. Cheap to clone; clones are the same stream.
#[derive(Clone)]
pub struct Captured {
    ledger: Ledger,
    lines: Lines,
    line_max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    line: Vec<u8>,
    /// Keeps secrets out, however they are cut into writes and records.
    sieve: Option<Sieve>,
    /// The rest of a line that was too long is skipped up to its end.
    skipping: bool,
    recorded: u64,
    total: u64,
    limit_noted: bool,
    tail: VecDeque<u8>,
}

impl Captured {
    /// A stream whose lines go to `ledger`; a line of events may have `event_max` bytes.
    #[must_use]
    pub fn new(ledger: Ledger, lines: Lines, event_max: u64) -> Captured {
        let line_max = match lines {
            Lines::Captured { .. } => PIECE_BYTES,
            Lines::Events(_) => usize::try_from(event_max).unwrap_or(usize::MAX),
        };
        let sieve = match lines {
            Lines::Captured { .. } => ledger.guard().cloned().map(Sieve::new),
            // A line is an event, which is searched where it is recorded.
            Lines::Events(_) => None,
        };
        let state = State {
            sieve,
            ..State::default()
        };
        Captured {
            ledger,
            lines,
            line_max,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// How a stdio agent says it ended, if it has.
    #[must_use]
    pub fn claimed_stop(&self) -> Option<ClaimedStop> {
        match &self.lines {
            Lines::Events(binding) => binding.stopped(),
            Lines::Captured { .. } => None,
        }
    }

    /// Records what has been written since the last line ended.
    ///
    /// # Errors
    ///
    /// The journal cannot be written.
    pub fn finish(&self) -> Result<(), JournalError> {
        let mut state = self.lock();
        if let Some(mut sieve) = state.sieve.take() {
            let rest = sieve.finish();
            self.tell(&mut sieve)?;
            self.take(&mut state, &rest)?;
        }
        let line = std::mem::take(&mut state.line);
        if line.is_empty() || state.skipping {
            return Ok(());
        }
        self.line(&mut state, &line)
    }

    /// The end of what was written, at most [`TAIL_BYTES`].
    #[must_use]
    pub fn tail(&self) -> String {
        let state = self.lock();
        let (front, back) = state.tail.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }

    fn write(&self, bytes: &[u8]) -> Result<(), JournalError> {
        let mut state = self.lock();
        let Some(sieve) = &mut state.sieve else {
            return self.take(&mut state, bytes);
        };
        let passed = sieve.push(bytes);
        self.tell(sieve)?;
        self.take(&mut state, &passed)
    }

    fn tell(&self, sieve: &mut Sieve) -> Result<(), JournalError> {
        let place = match &self.lines {
            Lines::Captured {
                stream: Stream::Stderr,
                ..
            } => "standard error",
            Lines::Captured { .. } | Lines::Events(_) => "standard output",
        };
        for needle in sieve.take_found() {
            self.ledger.leak(&needle, place, LeakAction::Redacted)?;
        }
        Ok(())
    }

    fn take(&self, state: &mut State, bytes: &[u8]) -> Result<(), JournalError> {
        state.total = state.total.saturating_add(bytes.len() as u64);
        let kept = bytes
            .get(bytes.len().saturating_sub(TAIL_BYTES)..)
            .unwrap_or(bytes);
        let surplus = (state.tail.len() + kept.len()).saturating_sub(TAIL_BYTES);
        state.tail.drain(..surplus);
        state.tail.extend(kept);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.piece(state, text, ended)?;
        }
        Ok(())
    }

    fn piece(&self, state: &mut State, mut text: &[u8], ended: bool) -> Result<(), JournalError> {
        if state.skipping {
            state.skipping = !ended;
            return Ok(());
        }
        while state.line.len() + text.len() > self.line_max {
            match &self.lines {
                // Text goes on in the next record.
                Lines::Captured { .. } => {
                    let (head, rest) = text.split_at(self.line_max - state.line.len());
                    state.line.extend_from_slice(head);
                    text = rest;
                    let line = std::mem::take(&mut state.line);
                    self.line(state, &line)?;
                }
                // Half an event is none.
                Lines::Events(binding) => {
                    state.line.clear();
                    state.skipping = !ended;
                    return binding.too_long(self.line_max);
                }
            }
        }
        state.line.extend_from_slice(text);
        if ended {
            let line = std::mem::take(&mut state.line);
            self.line(state, &line)?;
        }
        Ok(())
    }

    fn line(&self, state: &mut State, line: &[u8]) -> Result<(), JournalError> {
        match &self.lines {
            Lines::Events(binding) => binding.line(line),
            Lines::Captured { stream, max } => {
                if state.recorded.saturating_add(line.len() as u64)
                    > sabotage::limit(Wall::OutputBytes, *max)
                {
                    if !std::mem::replace(&mut state.limit_noted, true) {
                        self.ledger.audit(Audit::Limit {
                            name: "output-bytes",
                            max: *max,
                        })?;
                    }
                    return Ok(());
                }
                // An empty line still is a record of its own: count something for it.
                state.recorded += line.len().max(1) as u64;
                let text = String::from_utf8_lossy(line).into_owned();
                self.ledger.audit(Audit::Output {
                    stream: *stream,
                    text,
                })
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Captured {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Captured {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Only WASI 0.3 asks for it, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Captured {
    /// A guest that writes faster than the listener reads waits here.
    async fn ready(&mut self) {
        self.ledger.deliver().await;
    }
}

impl OutputStream for Captured {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Captured::write(self, &bytes)
            .map_err(|error| StreamError::Trap(wasmtime::Error::new(error)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}
