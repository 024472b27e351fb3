//! The one place answers from outside go through.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::divergence::Divergence;
use super::format::{Answer, ClockKind, End, Header, Reader, Recording};
use super::request::abridged;
use super::seed::Seed;
use crate::capabilities::meters::LimitHit;
use crate::digest::Digest;
use crate::trajectory::JournalError;
use crate::trajectory::clock::EventClock;

mod player;
mod time;
mod writer;

pub use player::Miss;
use player::{Player, Told};
use time::Time;
use writer::Writer;
pub use writer::{Scrub, Sink};

/// The tape of one run. Cheap to clone; clones are the same tape.
#[derive(Clone)]
pub struct Tape {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    start: Timestamp,
    clock: ClockKind,
    seed: Option<Seed>,
    state: Mutex<State>,
}

enum State {
    Record(Box<Writer>, Time),
    /// Becomes `Record` where what is replayed ends, if the run is to go on from there.
    Replay(Player),
}

/// How time passes for a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As for everybody.
    Real,
    /// By what is declared: nobody waits.
    Virtual,
    /// It does not: what came of waiting is on the tape.
    Replayed,
}

/// Why a host call cannot be answered; the run ends.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// The run has left its recording.
    #[error(transparent)]
    Diverged(#[from] Box<Divergence>),
    /// Here the recorded run was ended from outside.
    #[error("the recorded run was ended here")]
    Cut,
    /// The recording cannot be written.
    #[error("cannot write the recording `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// An answer of the recording is not one to this call.
    #[error("the answer to call {call} in the recording is not one: {reason}")]
    Answer {
        /// Its number.
        call: u64,
        /// Why not.
        reason: String,
    },
}

/// A guest in virtual time would wait beyond the end of its run.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("limit `{}` is reached", .0.name)]
pub struct OutOfTime(pub LimitHit);

/// Why a run cannot go on with its tape.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// It has left its recording.
    Diverged(Box<Divergence>),
    /// The recorded run was ended from outside: how, as its outcome said it.
    Cut(Value),
    /// The recording cannot be written, or has an answer that is none.
    Failed(String),
}

impl Tape {
    /// The tape of a live run: there is none.
    #[must_use]
    pub fn off() -> Tape {
        Tape { inner: None }
    }

    /// A tape of virtual time that nobody keeps: an agent that says who it is says the same every time.
    #[must_use]
    pub fn silent(start: Timestamp) -> Tape {
        Tape {
            inner: Some(Arc::new(Inner {
                start,
                clock: ClockKind::Virtual,
                seed: None,
                state: Mutex::new(State::Record(
                    Box::new(Writer::silent()),
                    Time::Virtual { now: 0 },
                )),
            })),
        }
    }

    /// A tape that performs, and writes what came of it: to `sink` where there is one, and in any case into
    /// the digest of the run. What `scrub` takes out neither gets into the file nor to the guest.
    ///
    /// # Errors
    ///
    /// The header cannot be written.
    pub fn record(
        header: &Header,
        sink: Option<Sink>,
        scrub: Option<Scrub>,
    ) -> Result<Tape, TapeError> {
        let time = Time::new(header.clock);
        let writer = Writer::begin(header, sink, scrub)?;
        Ok(Tape::new(header, State::Record(Box::new(writer), time)))
    }

    /// A tape that answers from a recording. `changed` is what differs from the recorded run already, as the
    /// hint that goes with a divergence.
    #[must_use]
    pub fn replay(recording: Arc<Recording>, changed: Option<String>) -> Tape {
        let header = recording.header.clone();
        Tape::new(&header, State::Replay(Player::new(recording, changed)))
    }

    /// A tape that answers from what another run got, writes that down again under `header`, and performs
    /// from where it ends, or from what it does not have.
    ///
    /// # Errors
    ///
    /// The header cannot be written.
    pub fn go_on(
        from: Arc<Recording>,
        changed: Option<String>,
        miss: Miss,
        header: &Header,
        sink: Option<Sink>,
        scrub: Option<Scrub>,
    ) -> Result<Tape, TapeError> {
        let writer = Writer::begin(header, sink, scrub)?;
        let player = Player::new(from, changed).going_on(miss, Box::new(writer));
        Ok(Tape::new(header, State::Replay(player)))
    }

    fn new(header: &Header, state: State) -> Tape {
        Tape {
            inner: Some(Arc::new(Inner {
                start: header.started().unwrap_or(Timestamp::UNIX_EPOCH),
                clock: header.clock,
                seed: Some(header.seed),
                state: Mutex::new(state),
            })),
        }
    }

    /// What everything random follows from; nothing for a live run.
    #[must_use]
    pub fn seed(&self) -> Option<Seed> {
        self.inner.as_ref()?.seed
    }

    /// Number of the call that is next; 0 for a live run.
    #[must_use]
    pub fn next_call(&self) -> u64 {
        match self.state().as_deref() {
            None => 0,
            Some(State::Record(writer, _)) => writer.next_call(),
            Some(State::Replay(player)) => player.number(),
        }
    }

    /// True for a live run.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.inner.is_none()
    }

    /// True when nothing is performed.
    #[must_use]
    pub fn replays(&self) -> bool {
        self.pace() == Pace::Replayed
    }

    /// True when nothing is ever going to be: the whole run is a repetition.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self.state().as_deref(), Some(State::Replay(player)) if !player.goes_on())
    }

    /// How time passes.
    #[must_use]
    pub fn pace(&self) -> Pace {
        match self.state().as_deref() {
            None | Some(State::Record(_, Time::Real { .. })) => Pace::Real,
            Some(State::Record(_, Time::Virtual { .. })) => Pace::Virtual,
            Some(State::Replay(_)) => Pace::Replayed,
        }
    }

    /// When the run began, where it has a time of its own.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        self.inner.as_ref().map(|inner| inner.start)
    }

    /// Reads the clock: microseconds since the start. Nothing for a live run.
    ///
    /// # Errors
    ///
    /// See [`TapeError`].
    pub fn read(&self, by: Reader) -> Result<Option<u64>, TapeError> {
        let (Some(inner), Some(mut state)) = (&self.inner, self.state()) else {
            return Ok(None);
        };
        if let State::Replay(player) = &mut *state {
            if let Some(now) = player.reading(by)? {
                return Ok(Some(now));
            }
            inner.go_live(&mut state);
        }
        let State::Record(writer, time) = &mut *state else {
            return Err(TapeError::Cut);
        };
        let now = time.read();
        writer.reading(by, now)?;
        Ok(Some(now))
    }

    /// The time without reading it: for what is set up, not seen.
    #[must_use]
    pub fn peek(&self) -> u64 {
        match self.state().as_deref() {
            None => 0,
            Some(State::Record(_, time)) => time.now(),
            Some(State::Replay(player)) => player.now(),
        }
    }

    /// Whether the run has a time of its own, also while it is replayed.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.is_some_and(|inner| inner.clock == ClockKind::Virtual)
    }

    /// In virtual time, lets it be `to` microseconds since the start, unless it is later already. In a replay,
    /// too: the run may go on by itself before it reads the clock again.
    pub fn advance(&self, to: u64) {
        match self.state().as_deref_mut() {
            Some(State::Record(_, Time::Virtual { now })) => *now = to.max(*now),
            Some(State::Replay(player)) if self.is_virtual() => player.advance(to),
            _ => {}
        }
    }

    /// A host call whose answer comes from outside. `perform` is not touched when the answer is on the tape.
    ///
    /// A streamed answer is one call for each piece that is handed to the guest, in the order in which they
    /// are: what the guest has seen is what counts, not what has arrived. A guest that is dropped while it
    /// waits has seen nothing.
    ///
    /// # Errors
    ///
    /// Those of `perform`, of which a replay repeats what is the guest's own; and see [`TapeError`].
    pub async fn effect<T, F>(
        &self,
        kind: &'static str,
        request: impl FnOnce() -> Value + Send,
        perform: F,
    ) -> wasmtime::Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = wasmtime::Result<T>>,
    {
        if self.is_off() {
            return perform.await;
        }
        let request = abridged(request());
        if let Some(answer) = self.answer(kind, &request)? {
            return Ok(answer);
        }
        let performed = perform.await;
        self.performed(kind, request, performed)
    }

    /// The same for a call that does something outside which cannot be done twice: that it is begun is on the
    /// tape before it is, so that nobody takes it for one that never was.
    ///
    /// # Errors
    ///
    /// As [`Tape::effect`].
    pub async fn act<T, F>(
        &self,
        kind: &'static str,
        request: impl FnOnce() -> Value + Send,
        perform: F,
    ) -> wasmtime::Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = wasmtime::Result<T>>,
    {
        if self.is_off() {
            return perform.await;
        }
        let call = match self.asked(kind, abridged(request()))? {
            Told::Answer(call, answer) => return self.given(call, answer),
            Told::Number(call) => call,
        };
        let performed = perform.await;
        self.done(performed, |writer, answer| writer.answered(call, answer))
    }

    /// The same as [`Tape::effect`] for a call that does not wait.
    ///
    /// # Errors
    ///
    /// As [`Tape::effect`].
    pub fn observe<T>(
        &self,
        kind: &'static str,
        request: impl FnOnce() -> Value,
        perform: impl FnOnce() -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T>
    where
        T: Serialize + DeserializeOwned,
    {
        if self.is_off() {
            return perform();
        }
        let request = abridged(request());
        if let Some(answer) = self.answer(kind, &request)? {
            return Ok(answer);
        }
        self.performed(kind, request, perform())
    }

    /// A check that mostly finds nothing: only what is found is on the tape. A replay finds what was found, at the
    /// same check, and nothing else; it does not look.
    ///
    /// Checks are counted from the entry before, so that the same number of them has to be made every time.
    ///
    /// # Errors
    ///
    /// See [`TapeError`].
    pub fn exception<T>(
        &self,
        kind: &'static str,
        place: &str,
        look: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, TapeError>
    where
        T: Serialize + DeserializeOwned,
    {
        // Not under the lock: looking may take a while.
        let check = match self.state().as_deref_mut() {
            None => return Ok(look()),
            Some(State::Record(writer, _)) => Some(writer.check()),
            Some(State::Replay(player)) => {
                if let Some((call, found)) = player.exception(kind, place)? {
                    let found = serde_json::from_value(found);
                    return found.map(Some).map_err(|error| TapeError::Answer {
                        call,
                        reason: error.to_string(),
                    });
                }
                if !player.goes_on() {
                    return Ok(None);
                }
                // Whoever goes on has what is looked for, and another secret by now, perhaps. There is no place
                // for it among what is replayed, but it counts.
                None
            }
        };
        let Some(found) = look() else {
            return Ok(None);
        };
        let mut state = self.state();
        if let (Some(check), Some(State::Record(writer, _))) = (check, state.as_deref_mut()) {
            let result = serde_json::to_value(&found).map_err(|error| TapeError::Answer {
                call: 0,
                reason: error.to_string(),
            })?;
            writer.call(kind, checked(place, check), Answer::Result(result))?;
        }
        Ok(Some(found))
    }

    /// What the tape has for this call; nothing when it is to be performed.
    fn answer<T: DeserializeOwned>(
        &self,
        kind: &'static str,
        request: &Value,
    ) -> wasmtime::Result<Option<T>> {
        let (Some(inner), Some(mut state)) = (&self.inner, self.state()) else {
            return Ok(None);
        };
        let State::Replay(player) = &mut *state else {
            return Ok(None);
        };
        match player.call(kind, request)? {
            Some((call, answer)) => {
                drop(state);
                self.given(call, answer).map(Some)
            }
            None => {
                inner.go_live(&mut state);
                Ok(None)
            }
        }
    }

    /// An answer of the tape, as a value. One that is none ends the replay.
    fn given<T: DeserializeOwned>(&self, call: u64, answer: Answer) -> wasmtime::Result<T> {
        let value = match answer {
            Answer::Result(value) => value,
            Answer::Trap(message) => return Err(wasmtime::Error::msg(message)),
        };
        serde_json::from_value(value).map_err(|error| {
            let error = TapeError::Answer {
                call,
                reason: error.to_string(),
            };
            if let Some(State::Replay(player)) = self.state().as_deref_mut() {
                player.fail(error.to_string());
            }
            wasmtime::Error::new(error)
        })
    }

    /// Puts on the tape that a call is begun, unless its answer is there.
    fn asked(&self, kind: &'static str, request: Value) -> Result<Told, TapeError> {
        let (Some(inner), Some(mut state)) = (&self.inner, self.state()) else {
            return Ok(Told::Number(0));
        };
        if let State::Replay(player) = &mut *state {
            if let Some((call, answer)) = player.asked(kind, &request)? {
                return Ok(Told::Answer(call, answer));
            }
            inner.go_live(&mut state);
        }
        match &mut *state {
            State::Record(writer, _) => writer.asked(kind, request).map(Told::Number),
            State::Replay(_) => Err(TapeError::Cut),
        }
    }

    fn performed<T: Serialize + DeserializeOwned>(
        &self,
        kind: &'static str,
        request: Value,
        performed: wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        self.done(performed, |writer, answer| {
            writer.call(kind, request, answer)
        })
    }

    fn done<T: Serialize + DeserializeOwned>(
        &self,
        performed: wasmtime::Result<T>,
        write: impl FnOnce(&mut Writer, Answer) -> Result<(), TapeError>,
    ) -> wasmtime::Result<T> {
        let mut state = self.state();
        let Some(State::Record(writer, _)) = state.as_deref_mut() else {
            return performed;
        };
        match performed {
            Ok(value) => {
                let text = writer.scrubbed(serde_json::to_string(&value)?);
                // The guest gets what stands on the tape, so that a replay cannot give it anything else.
                let written = serde_json::from_str(&text)?;
                write(writer, Answer::Result(serde_json::from_str(&text)?))?;
                Ok(written)
            }
            Err(error) => {
                if let Some(OutOfTime(hit)) = error.downcast_ref() {
                    writer.cut(serde_json::to_value(crate::run::Ended::Limit(*hit))?)?;
                } else if error.downcast_ref::<JournalError>().is_none()
                    && error.downcast_ref::<TapeError>().is_none()
                {
                    write(writer, Answer::Trap(error.root_cause().to_string()))?;
                }
                Err(error)
            }
        }
    }

    /// Writes that the run was ended from outside.
    pub fn cut(&self, ended: Value) {
        let (Some(inner), Some(mut state)) = (&self.inner, self.state()) else {
            return;
        };
        inner.go_live(&mut state);
        if let State::Record(writer, _) = &mut *state {
            // A failure is remembered, and told by `stopped`.
            let _ = writer.cut(ended);
        }
    }

    /// Why the run cannot go on, if it cannot.
    #[must_use]
    pub fn stopped(&self) -> Option<Stop> {
        match self.state().as_deref() {
            None => None,
            Some(State::Record(writer, _)) => writer.failed().map(Stop::Failed),
            Some(State::Replay(player)) => player.stopped(),
        }
    }

    /// Whether the run was ended from outside: how far it had come by then is not repeated exactly.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        match self.state().as_deref() {
            None => false,
            Some(State::Record(writer, _)) => writer.was_cut(),
            Some(State::Replay(player)) => matches!(player.stopped(), Some(Stop::Cut(_))),
        }
    }

    /// Whether the recorded run was ended at the point this replay has reached.
    #[must_use]
    pub fn at_cut(&self) -> bool {
        matches!(self.state().as_deref(), Some(State::Replay(player)) if player.at_cut())
    }

    /// Ends the replay where the recorded run was ended from outside, if it has come to that point.
    pub fn take_cut(&self) {
        if let Some(State::Replay(player)) = self.state().as_deref_mut() {
            player.take_cut();
        }
    }

    /// Digest of what is on the tape so far; for a replay, of all of it. Nothing for a live run.
    #[must_use]
    pub fn entries_digest(&self) -> Option<Digest> {
        match self.state().as_deref_mut()? {
            State::Record(writer, _) => Some(writer.entries_digest()),
            State::Replay(player) => Some(player.entries_digest()),
        }
    }

    /// Closes the tape: writes the end, or checks that a replay has come to it in the same way.
    ///
    /// # Errors
    ///
    /// See [`TapeError`].
    pub fn close(&self, end: Closing) -> Result<(), TapeError> {
        let (Some(inner), Some(mut state)) = (&self.inner, self.state()) else {
            return Ok(());
        };
        if let State::Replay(player) = &mut *state {
            if !player.may_end_early() {
                return player.end(&end);
            }
            inner.go_live(&mut state);
        }
        match &mut *state {
            State::Record(writer, _) => writer.end(end),
            State::Replay(_) => Ok(()),
        }
    }

    /// A run that goes on from another one is live as soon as it has got all of what that one got.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        let inner = self.inner.as_ref()?;
        // Each change of it is complete at the point where a panic could happen.
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Replay(player) = &mut *state
            && player.is_at_its_end()
        {
            inner.go_live(&mut state);
        }
        Some(state)
    }
}

/// What is known of a run when its tape is closed.
#[derive(Clone, Debug)]
pub struct Closing {
    /// How it ended.
    pub ended: Value,
    /// What the agent returned.
    pub output: Option<Digest>,
    /// Its trajectory.
    pub trajectory: Digest,
    /// Fuel used.
    pub fuel: Option<u64>,
    /// The run digest.
    pub run: Digest,
}

impl Closing {
    fn end(self, calls: u64, lines: Digest) -> End {
        End {
            calls,
            ended: self.ended,
            output: self.output,
            trajectory: self.trajectory,
            fuel: self.fuel,
            run: self.run,
            lines,
        }
    }
}

/// The request of an entry that is only there because something was found.
fn checked(place: &str, check: u64) -> Value {
    serde_json::json!({ "place": place, "check": check })
}

impl Inner {
    /// Goes on by itself, if that is what the run is to do: from here on everything is performed.
    fn go_live(&self, state: &mut State) {
        if let State::Replay(player) = state
            && let Some(writer) = player.take_writer()
        {
            let time = Time::from(self.clock, self.start, player.now());
            *state = State::Record(writer, time);
        }
    }

    fn at(&self, micros: u64) -> Timestamp {
        let elapsed = SignedDuration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
        self.start.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }
}

impl EventClock for Tape {
    fn event(&self) -> io::Result<Timestamp> {
        let now = self.read(Reader::Event).map_err(io::Error::other)?;
        Ok(self
            .inner
            .as_ref()
            .zip(now)
            .map_or_else(Timestamp::now, |(inner, now)| inner.at(now)))
    }

    fn audit(&self) -> Timestamp {
        self.inner
            .as_ref()
            .map_or_else(Timestamp::now, |inner| inner.at(self.peek()))
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.state().as_deref() {
            None => "off",
            Some(State::Record(..)) => "record",
            Some(State::Replay(_)) => "replay",
        };
        write!(f, "Tape({mode})")
    }
}
