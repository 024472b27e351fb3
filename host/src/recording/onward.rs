//! The beginning of a recording: how far a run that goes on from it is answered from there.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::Recording;
use super::divergence::shown;
use super::format::{Answer, Entry};
use crate::error::Hint;
use requests::Requests;

mod requests;

/// What becomes of a call that was under way when its run was ended: nobody knows whether it was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// The run is not gone on with.
    #[default]
    Stop,
    /// It is made again.
    Retry,
    /// The agent is told that it failed, and that it may have been done.
    Tell,
}

/// How far a run is answered from a recording.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The recording up to there, without an end.
    pub recording: Recording,
    /// Number of the first call that is performed.
    pub at: u64,
    /// Calls that were under way.
    pub in_doubt: Vec<Doubt>,
}

/// A call that was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Its number.
    pub call: u64,
    /// What it was, in a few words.
    pub what: String,
}

/// Another answer to a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Edit {
    /// Its number.
    pub call: u64,
    /// Where in its result, as RFC 6901 has it.
    pub pointer: String,
    /// What is there instead.
    pub value: Value,
}

/// A run cannot go on from a recording.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum OnwardError {
    #[error("cannot go on from call {at}: the recording has {calls}")]
    NoSuchCall { at: u64, calls: u64 },
    #[error("cannot change the answer to call {call}: {reason}")]
    Edit { call: u64, reason: String },
    #[error(
        "cannot resume: {} under way when the run was ended, and nobody knows whether it was done",
        list(.0)
    )]
    InDoubt(Vec<Doubt>),
    #[error("cannot make call {call} again: call {since} was done since, and would be done twice")]
    DoneSince { call: u64, since: u64 },
    #[error(
        "cannot go on from call {at}: call {open} was under way before it, and was never answered"
    )]
    Open { at: u64, open: u64 },
}

fn list(doubts: &[Doubt]) -> String {
    let named: Vec<String> = doubts
        .iter()
        .map(|doubt| format!("call {} ({})", doubt.call, doubt.what))
        .collect();
    let verb = if named.len() == 1 { "was" } else { "were" };
    format!("{} {verb}", named.join(", "))
}

impl Hint for OnwardError {
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                OnwardError::NoSuchCall { .. } => {
                    "`wasm-agent recording show` lists the calls with their numbers"
                }
                OnwardError::Edit { .. } => {
                    "write `CALL:/path/into/its/result=JSON`, with a path as RFC 6901 has it"
                }
                OnwardError::DoneSince { .. } => {
                    "`--in-doubt tell` tells the agent that the call failed and may have been done"
                }
                OnwardError::Open { .. } => "go on from that call, or from one before it",
                OnwardError::InDoubt(_) => {
                    "`--in-doubt retry` makes the call again; `--in-doubt tell` tells the agent that it \
                     failed and may have been done"
                }
            }
            .to_owned(),
        )
    }
}

/// What a call does, as far as going on is concerned.
enum Effect {
    /// Begins something whose answer arrives in pieces, and which can be asked for again.
    Opens,
    /// Is the last piece of such an answer.
    Closes,
    /// Has done something, or was paid for: it is not passed on the way back.
    Done,
    /// None of these.
    Nothing,
}

impl Recording {
    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.entries.iter().map(Entry::calls).sum()
    }

    /// Whether its run was ended from outside.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| matches!(entry, Entry::Cut { .. }))
    }

    /// All of it, without how the run was ended: what comes after that is how its account was closed.
    #[must_use]
    pub fn ongoing(&self) -> Recording {
        let cut = self
            .entries
            .iter()
            .position(|entry| matches!(entry, Entry::Cut { .. }));
        let keep = cut.unwrap_or(self.entries.len());
        self.of(self.entries.iter().take(keep).cloned().collect())
    }

    /// The first call that was begun and never answered.
    #[must_use]
    pub fn first_open(&self) -> Option<u64> {
        let answered: HashSet<u64> = self
            .entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Answered { of, .. } => Some(*of),
                _ => None,
            })
            .collect();
        self.entries.iter().find_map(|entry| match entry {
            Entry::Asked { n, .. } if !answered.contains(n) => Some(*n),
            _ => None,
        })
    }

    /// As far as all of it is answered, without how the run was ended.
    #[must_use]
    pub fn answered(&self) -> Recording {
        let ongoing = self.ongoing();
        match ongoing.first_open() {
            Some(open) => self.of(ongoing.kept(open)),
            None => ongoing,
        }
    }

    /// The calls before call `at`.
    ///
    /// # Errors
    ///
    /// There are fewer, or one of them was never answered.
    pub fn before(&self, at: u64) -> Result<Recording, OnwardError> {
        let calls = self.calls();
        if at == 0 || at > calls.saturating_add(1) {
            return Err(OnwardError::NoSuchCall { at, calls });
        }
        if let Some(open) = self.first_open().filter(|open| *open < at) {
            return Err(OnwardError::Open { at, open });
        }
        Ok(self.of(self.kept(at)))
    }

    /// Entries of the calls before call `at`, answers that came later included.
    fn kept(&self, at: u64) -> Vec<Entry> {
        let mut kept = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Readings { n, by, us } => {
                    let of = usize::try_from(at.saturating_sub(*n)).unwrap_or(usize::MAX);
                    if of > 0 {
                        kept.push(Entry::Readings {
                            n: *n,
                            by: by.iter().take(of).copied().collect(),
                            us: us.iter().take(of).copied().collect(),
                        });
                    }
                }
                Entry::Cut { .. } => {}
                entry if entry.number() < at => kept.push(entry.clone()),
                _ => {}
            }
        }
        kept
    }

    fn of(&self, entries: Vec<Entry>) -> Recording {
        Recording {
            header: self.header.clone(),
            entries,
            end: None,
            entries_digest: self.entries_digest,
        }
    }

    /// How far a run that was ended before it was done is answered from its recording: all the way, but back
    /// to where an answer began that had not arrived whole. What was under way is left to `policy`; `told` is
    /// what the agent is told of a call of some kind.
    ///
    /// # Errors
    ///
    /// Something was under way, and the policy is to stop then.
    pub fn resumable(
        &self,
        policy: InDoubt,
        told: impl Fn(&str) -> Value,
    ) -> Result<Beginning, OnwardError> {
        let ongoing = self.ongoing();
        let mut doubts: BTreeMap<u64, (&str, &Value)> = BTreeMap::new();
        // Where answers began that have not arrived whole.
        let mut open: Vec<u64> = Vec::new();
        let mut requests = Requests::default();
        // What comes before it is not asked for again.
        let mut floor = 0;
        for entry in &ongoing.entries {
            match entry {
                Entry::Asked { n, kind, request } => {
                    if policy == InDoubt::Tell {
                        // The agent is going to be told of it: it is not made again with what came before.
                        floor = floor.max(*n);
                        open.clear();
                    }
                    doubts.insert(*n, (kind, request));
                }
                Entry::Answered { of, .. } => {
                    doubts.remove(of);
                    floor = floor.max(*of);
                    open.clear();
                }
                Entry::Call {
                    n,
                    kind,
                    request,
                    answer,
                } => {
                    requests.see(*n, kind, request, answer);
                    match effect(kind, request, answer) {
                        Effect::Opens => open.push(*n),
                        Effect::Closes => {
                            open.pop();
                            floor = floor.max(*n);
                        }
                        Effect::Done => {
                            floor = floor.max(*n);
                            open.clear();
                        }
                        Effect::Nothing => {}
                    }
                }
                Entry::Readings { .. } | Entry::Cut { .. } => {}
            }
        }
        let mut at = ongoing.calls().saturating_add(1);
        if let Some(first) = open.iter().find(|n| **n > floor) {
            at = *first;
        }
        at = requests.again(floor).map_or(at, |first| first.min(at));
        let mut in_doubt: Vec<Doubt> = doubts
            .iter()
            .map(|(call, (kind, request))| Doubt {
                call: *call,
                what: format!("`{kind}` {}", shown(&request.to_string())),
            })
            .chain(requests.in_doubt())
            .collect();
        in_doubt.sort_by_key(|doubt| doubt.call);
        let mut entries = ongoing.kept(at);
        if let Some(first) = in_doubt.first() {
            match policy {
                InDoubt::Stop => return Err(OnwardError::InDoubt(in_doubt)),
                InDoubt::Retry if floor > first.call => {
                    return Err(OnwardError::DoneSince {
                        call: first.call,
                        since: floor,
                    });
                }
                InDoubt::Retry => {
                    at = at.min(first.call);
                    entries = ongoing.kept(at);
                }
                InDoubt::Tell => {
                    for (call, (kind, _)) in doubts.range(..at) {
                        entries.push(Entry::Answered {
                            of: *call,
                            answer: Answer::Result(told(kind)),
                        });
                    }
                }
            }
        }
        Ok(Beginning {
            recording: self.of(entries),
            at,
            in_doubt,
        })
    }

    /// Changes the answer to a call.
    ///
    /// # Errors
    ///
    /// There is no such call, or nothing at that place.
    pub fn edit(&mut self, edit: Edit) -> Result<(), OnwardError> {
        let Edit {
            call,
            pointer,
            value,
        } = edit;
        let wrong = |reason: &str| OnwardError::Edit {
            call,
            reason: reason.to_owned(),
        };
        let result = self.entries.iter_mut().find_map(|entry| match entry {
            Entry::Call { n, answer, .. } | Entry::Answered { of: n, answer } if *n == call => {
                Some(answer)
            }
            _ => None,
        });
        match result {
            None => Err(wrong("it has none before the fork")),
            Some(Answer::Trap(_)) => Err(wrong("the agent was trapped there")),
            Some(Answer::Result(result)) => match result.pointer_mut(&pointer) {
                None => Err(wrong("its result has nothing there")),
                Some(place) => {
                    *place = value;
                    Ok(())
                }
            },
        }
    }
}

fn effect(kind: &str, request: &Value, answer: &Answer) -> Effect {
    let step = match answer {
        Answer::Result(result) => result.get("step"),
        Answer::Trap(_) => return Effect::Nothing,
    };
    let is = |name: &str| match step {
        Some(Value::String(step)) => step == name,
        Some(Value::Object(step)) => step.contains_key(name),
        _ => false,
    };
    match kind {
        "model.send" if is("begun") => Effect::Opens,
        "model.next" if is("reply") => Effect::Closes,
        // An answer that broke off: what has arrived of it was paid for.
        "model.partial" => Effect::Closes,
        "http.send" if requests::does_something(request, answer) => Effect::Done,
        _ => Effect::Nothing,
    }
}
