//! Answers from a tape, and notices the first call that is not on it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::writer::Writer;
use super::{Closing, Stop, TapeError, checked};
use crate::digest::Digest;
use crate::recording::Recording;
use crate::recording::divergence::{Divergence, shown};
use crate::recording::format::{Answer, Entry, Reader};
use crate::recording::marks::{covers, marked};

/// Entries before and after a divergence that are shown.
const NEARBY: usize = 2;

/// Calls with which a reply is put on record that was broken off, also by the end of the run.
const CLOSING: &[&str] = &["model.partial", "model.cost"];

/// For whom the tape is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    Guest,
    /// The account of the run, which is closed after the guest is gone.
    Account,
}

/// What becomes of a call that the recording does not have, in a run that goes on from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The run is not the one that is gone on with.
    Diverges,
    /// From there on it is live.
    Performs,
}

/// What the tape has to say to a call that is begun.
pub(super) enum Told {
    /// Its number, and what came of it.
    Answer(u64, Answer),
    /// It is to be performed, under this number.
    Number(u64),
}

/// How a run goes on where its recording ends.
struct Onward {
    miss: Miss,
    /// What is replayed is written down again.
    writer: Box<Writer>,
}

pub(super) struct Player {
    recording: Arc<Recording>,
    /// Where the answers are to calls that were begun.
    answers: HashMap<u64, usize>,
    onward: Option<Onward>,
    /// What differs from the recorded run before it began.
    changed: Option<String>,
    /// The entry that is next.
    at: usize,
    /// How many readings of it are taken.
    within: usize,
    now: u64,
    /// Checks that found nothing since the last call, reading or cut.
    checks: u64,
    /// The last reading: the next one is relative to it.
    read: u64,
    stop: Option<Stop>,
}

impl Player {
    pub(super) fn new(recording: Arc<Recording>, changed: Option<String>) -> Player {
        let answers = recording.entries.iter().enumerate();
        let answers = answers.filter_map(|(at, entry)| match entry {
            Entry::Answered { of, .. } => Some((*of, at)),
            _ => None,
        });
        Player {
            answers: answers.collect(),
            onward: None,
            recording,
            changed,
            at: 0,
            within: 0,
            now: 0,
            checks: 0,
            read: 0,
            stop: None,
        }
    }

    /// Has the run go on where the recording ends.
    pub(super) fn going_on(self, miss: Miss, writer: Box<Writer>) -> Player {
        Player {
            onward: Some(Onward { miss, writer }),
            ..self
        }
    }

    /// Whether the run goes on where the recording ends.
    pub(super) fn goes_on(&self) -> bool {
        self.onward.is_some()
    }

    /// True when there is nothing left to replay for a run that goes on.
    pub(super) fn is_at_its_end(&mut self) -> bool {
        if self.onward.is_none() || self.stop.is_some() {
            return false;
        }
        // A failure to write is remembered by the writer.
        let _ = self.pass_answers();
        self.at >= self.recording.entries.len()
    }

    /// What the run that goes on is written with; once.
    pub(super) fn take_writer(&mut self) -> Option<Box<Writer>> {
        if self.stop.is_some() {
            return None;
        }
        let mut writer = self.onward.take()?.writer;
        // What follows is counted on from the same entry.
        writer.checked(self.checks);
        Some(writer)
    }

    /// Whether a run may end before all of the recording is replayed.
    pub(super) fn may_end_early(&self) -> bool {
        let onward = self.onward.as_ref();
        self.stop.is_none() && onward.is_some_and(|onward| onward.miss == Miss::Performs)
    }

    /// The next entry is done with.
    fn pass(&mut self) -> Result<(), TapeError> {
        if let (Some(onward), Some(entry)) = (&mut self.onward, self.recording.entries.get(self.at))
        {
            onward.writer.copy(entry)?;
        }
        self.at += 1;
        Ok(())
    }

    /// Answers were given when their calls were made: where they stand says only when they came.
    fn pass_answers(&mut self) -> Result<(), TapeError> {
        while let Some(Entry::Answered { .. }) = self.recording.entries.get(self.at) {
            self.pass()?;
        }
        Ok(())
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Time passes that nobody has read yet.
    pub(super) fn advance(&mut self, to: u64) {
        self.now = to.max(self.now);
    }

    pub(super) fn stopped(&self) -> Option<Stop> {
        self.stop.clone()
    }

    /// The recording cannot be followed any further.
    pub(super) fn fail(&mut self, reason: String) {
        self.stop.get_or_insert(Stop::Failed(reason));
    }

    pub(super) fn entries_digest(&mut self) -> Digest {
        match &mut self.onward {
            Some(onward) => onward.writer.entries_digest(),
            None => self.recording.entries_digest,
        }
    }

    pub(super) fn at_cut(&self) -> bool {
        let mut left = self.recording.entries.iter().skip(self.at);
        // Answers that came before it have been given already.
        let next = left.find(|entry| !matches!(entry, Entry::Answered { .. }));
        matches!(next, Some(Entry::Cut { .. }))
    }

    pub(super) fn take_cut(&mut self) {
        if self.at_cut() {
            // A failure to write is remembered by the writer.
            let _ = self.pass_answers();
        }
        if let (None, Some(Entry::Cut { ended, .. })) =
            (&self.stop, self.recording.entries.get(self.at))
        {
            self.stop = Some(Stop::Cut(ended.clone()));
            self.at += 1;
            self.checks = 0;
        }
    }

    /// What time it was; nothing when the run goes on by itself from here.
    pub(super) fn reading(&mut self, by: Reader) -> Result<Option<u64>, TapeError> {
        if let (Some(Stop::Diverged(_) | Stop::Failed(_)), Reader::Event) = (&self.stop, by) {
            // The account is being closed; the recording says nothing about that.
            return Ok(Some(self.now));
        }
        self.go_on(match by {
            Reader::Event => Asker::Account,
            Reader::Wall | Reader::Monotonic => Asker::Guest,
        })?;
        let recording = self.recording.clone();
        if let Some(Entry::Readings {
            by: letters, us, ..
        }) = recording.entries.get(self.at)
            && let (Some(reader), Some(delta)) = (letters.get(self.within), us.get(self.within))
            && *reader == by
        {
            self.read = self.read.saturating_add(*delta);
            self.now = self.read;
            self.within += 1;
            self.checks = 0;
            if self.within == letters.len() {
                self.at += 1;
                self.within = 0;
            }
            if let Some(onward) = &mut self.onward {
                onward.writer.reading(by, self.now)?;
            }
            return Ok(Some(self.now));
        }
        self.missed(by.name().to_owned(), None).map(|()| None)
    }

    /// The answer to a call; nothing when the run goes on by itself from here.
    pub(super) fn call(
        &mut self,
        kind: &str,
        request: &Value,
    ) -> Result<Option<(u64, Answer)>, TapeError> {
        self.go_on(if CLOSING.contains(&kind) {
            Asker::Account
        } else {
            Asker::Guest
        })?;
        let recording = self.recording.clone();
        let found = || called(kind, request);
        match recording.entries.get(self.at) {
            Some(Entry::Call {
                n,
                kind: recorded,
                request: asked,
                answer,
            }) if recorded == kind => {
                if asked == request || covers(asked, request) {
                    self.pass()?;
                    self.checks = 0;
                    return Ok(Some((*n, answer.clone())));
                }
                let request = &marked(asked, request);
                self.missed(called(kind, request), Some((asked, request)))
            }
            _ => self.missed(found(), None),
        }
        .map(|()| None)
    }

    /// The answer to a call that does something; nothing when the run goes on by itself from here.
    pub(super) fn asked(
        &mut self,
        kind: &str,
        request: &Value,
    ) -> Result<Option<(u64, Answer)>, TapeError> {
        self.go_on(Asker::Guest)?;
        let recording = self.recording.clone();
        let found = || called(kind, request);
        match recording.entries.get(self.at) {
            Some(Entry::Asked {
                n,
                kind: recorded,
                request: asked,
            }) if recorded == kind => {
                if asked != request && !covers(asked, request) {
                    let request = &marked(asked, request);
                    let found = called(kind, request);
                    return self.missed(found, Some((asked, request))).map(|()| None);
                }
                self.pass()?;
                self.checks = 0;
                let answer = self
                    .answers
                    .get(n)
                    .and_then(|at| recording.entries.get(*at));
                match answer {
                    Some(Entry::Answered { answer, .. }) => Ok(Some((*n, answer.clone()))),
                    // The run was ended while it was under way.
                    _ => Err(TapeError::Cut),
                }
            }
            _ => self.missed(found(), None).map(|()| None),
        }
    }

    /// What this check found when it was recorded, and the number of the call; nothing if it found nothing.
    pub(super) fn exception(
        &mut self,
        kind: &str,
        place: &str,
    ) -> Result<Option<(u64, Value)>, TapeError> {
        if let Some(Stop::Diverged(_) | Stop::Failed(_)) = self.stop {
            return Ok(None);
        }
        self.pass_answers()?;
        self.checks += 1;
        let due = checked(place, self.checks);
        let recording = self.recording.clone();
        match recording.entries.get(self.at) {
            Some(Entry::Call {
                n,
                kind: recorded,
                request,
                answer: Answer::Result(found),
            }) if recorded == kind && *request == due => {
                self.pass()?;
                self.checks = 0;
                Ok(Some((*n, found.clone())))
            }
            _ => Ok(None),
        }
    }

    /// Nothing more is answered once the run has left the recording, or has come to where it was cut.
    fn go_on(&mut self, asker: Asker) -> Result<(), TapeError> {
        match &self.stop {
            // What is left after a cut is how the account was closed.
            Some(Stop::Cut(_)) if asker == Asker::Account => return Ok(()),
            Some(Stop::Cut(_) | Stop::Failed(_)) => return Err(TapeError::Cut),
            Some(Stop::Diverged(divergence)) => return Err(divergence.clone().into()),
            None => {}
        }
        self.pass_answers()?;
        if self.at_cut() {
            self.take_cut();
            return Err(TapeError::Cut);
        }
        Ok(())
    }

    /// The recording does not have what is asked for: the run goes on by itself, or has left it.
    fn missed(
        &mut self,
        found: String,
        requests: Option<(&Value, &Value)>,
    ) -> Result<(), TapeError> {
        if self.may_end_early() {
            return Ok(());
        }
        Err(self.diverged(found, requests))
    }

    fn diverged(&mut self, found: String, requests: Option<(&Value, &Value)>) -> TapeError {
        let mut divergence = Divergence::new(self.number(), self.due(), found);
        if let Some((expected, found)) = requests {
            divergence = divergence.of_requests(expected, found);
        }
        divergence.nearby = self.nearby();
        divergence.hint = self.changed.clone();
        let divergence = Box::new(divergence);
        self.stop = Some(Stop::Diverged(divergence.clone()));
        divergence.into()
    }

    /// Number of the call that is due.
    pub(super) fn number(&self) -> u64 {
        let rest = self.recording.entries.get(self.at..).unwrap_or_default();
        let due = rest
            .iter()
            .find(|entry| !matches!(entry, Entry::Answered { .. }));
        match due {
            Some(entry) => entry.number() + self.within as u64,
            None => self.recording.calls().saturating_add(1),
        }
    }

    /// What the recording has next, in words.
    fn due(&self) -> String {
        match self.recording.entries.get(self.at) {
            None => "the end of the recording".to_owned(),
            Some(Entry::Readings { by, .. }) => by
                .get(self.within)
                .map_or("a reading", |reader| reader.name())
                .to_owned(),
            Some(entry) => in_words(entry),
        }
    }

    fn nearby(&self) -> Vec<String> {
        let first = self.at.saturating_sub(NEARBY);
        let around = self.recording.entries.iter().skip(first);
        around
            .take(2 * NEARBY + 1)
            .map(|entry| format!("call {}: {}", entry.number(), in_words(entry)))
            .collect()
    }

    pub(super) fn end(&mut self, closing: &Closing) -> Result<(), TapeError> {
        if self
            .stop
            .as_ref()
            .is_some_and(|stop| !matches!(stop, Stop::Cut(_)))
        {
            return Ok(());
        }
        self.pass_answers()?;
        if self.at < self.recording.entries.len() {
            return Err(self.diverged("the end of the run".to_owned(), None));
        }
        let recording = self.recording.clone();
        let Some(end) = &recording.end else {
            return Ok(());
        };
        let mut one = serde_json::json!({ "ended": end.ended, "output": end.output });
        let mut other = serde_json::json!({ "ended": closing.ended, "output": closing.output });
        // Another component has another description, another use of fuel and so another digest: what counts
        // is that it did and returned the same.
        if let (None, Some(one), Some(other)) =
            (&self.changed, one.as_object_mut(), other.as_object_mut())
        {
            one.insert("trajectory".to_owned(), end.trajectory.to_string().into());
            one.insert("fuel".to_owned(), end.fuel.into());
            one.insert("run".to_owned(), end.run.to_string().into());
            other.insert(
                "trajectory".to_owned(),
                closing.trajectory.to_string().into(),
            );
            other.insert("fuel".to_owned(), closing.fuel.into());
            other.insert("run".to_owned(), closing.run.to_string().into());
        }
        if one == other {
            return Ok(());
        }
        Err(self.diverged("another end of the run".to_owned(), Some((&one, &other))))
    }
}

fn called(kind: &str, request: &Value) -> String {
    match request {
        Value::Null => format!("`{kind}`"),
        request => format!("`{kind}` {}", shown(&request.to_string())),
    }
}

fn in_words(entry: &Entry) -> String {
    match entry {
        Entry::Readings { by, .. } => match by.as_slice() {
            [reader] => reader.name().to_owned(),
            several => format!("{} readings of the clock", several.len()),
        },
        Entry::Call { kind, request, .. } | Entry::Asked { kind, request, .. } => {
            called(kind, request)
        }
        Entry::Answered { of, .. } => format!("the answer to call {of}"),
        Entry::Cut { ended, .. } => {
            let how = ended
                .get("kind")
                .and_then(Value::as_str)
                .unwrap_or_default();
            format!("the end of the run from outside ({})", shown(how))
        }
    }
}
