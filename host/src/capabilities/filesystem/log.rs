//! Which paths a run has touched, and what was there before: the source of the list of changes.
//!
//! Only the state before the first touch is kept. The net effect is found by comparing it with what is
//! on disk in the end, so that it does not depend on the order of the guest's calls being replayed right.

use std::collections::{BTreeMap, HashSet};

use super::observe::ChangeKind;
use super::place::Place;
use crate::digest::Digest;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    /// A regular file; no digest when it is too large to read.
    File {
        size: u64,
        digest: Option<Digest>,
    },
    Dir,
    /// A symbolic link and the digest of its target.
    Symlink(Digest),
    Special,
}

impl State {
    pub(super) fn digest(&self) -> Option<Digest> {
        match self {
            State::File { digest, .. } => *digest,
            State::Symlink(digest) => Some(*digest),
            State::Absent | State::Dir | State::Special => None,
        }
    }
}

#[derive(Debug)]
struct Entry {
    before: State,
    /// Where what is here now was before the run.
    origin: Option<Place>,
    bytes: u64,
    /// Written in a way a comparison may not show: content too large for a digest.
    written: bool,
    times: bool,
    linked: bool,
}

/// The paths a run has touched.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: BTreeMap<Place, Entry>,
    weight: usize,
}

/// A path whose state before the run differs from the state now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) place: Place,
    pub(super) kind: Net,
    pub(super) bytes: u64,
    pub(super) before: Option<Digest>,
    pub(super) after: Option<Digest>,
}

/// Like [`ChangeKind`], with places for paths.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Net {
    Plain(ChangeKind),
    Renamed(Place),
}

impl Log {
    /// Bytes of path names kept, for a bound on the host's memory.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn knows(&self, place: &Place) -> bool {
        self.entries.contains_key(place)
    }

    /// Content before the run of what is now at `place`.
    pub(super) fn before(&self, place: &Place) -> Option<Digest> {
        let entry = self.entries.get(place)?;
        let entry = match &entry.origin {
            Some(origin) => self.entries.get(origin).unwrap_or(entry),
            None => entry,
        };
        entry.before.digest()
    }

    /// Remembers what is at `place` now, unless the run has touched it before.
    pub(super) fn touch(&mut self, place: &Place, now: State) {
        if self.knows(place) {
            return;
        }
        // In a directory that was renamed, what is here was elsewhere before the run.
        let origin = place.ancestors().find_map(|dir| {
            let origin = self.entries.get(&dir)?.origin.as_ref()?;
            place.moved(&dir, origin)
        });
        match origin {
            Some(origin) if now != State::Absent => {
                if !self.knows(&origin) {
                    self.insert(origin.clone(), now);
                }
                self.insert(place.clone(), State::Absent);
                if let Some(entry) = self.entries.get_mut(place) {
                    entry.origin = Some(origin);
                }
            }
            _ => self.insert(place.clone(), now),
        }
    }

    fn insert(&mut self, place: Place, before: State) {
        self.weight += place.rel.as_os_str().len() + 128;
        let entry = Entry {
            before,
            origin: None,
            bytes: 0,
            written: false,
            times: false,
            linked: false,
        };
        self.entries.insert(place, entry);
    }

    fn remove(&mut self, place: &Place) -> Option<Entry> {
        let entry = self.entries.remove(place)?;
        self.weight = self
            .weight
            .saturating_sub(place.rel.as_os_str().len() + 128);
        Some(entry)
    }

    pub(super) fn written(&mut self, place: &Place, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.bytes = entry.bytes.saturating_add(bytes);
            entry.written = true;
        }
    }

    pub(super) fn times(&mut self, place: &Place) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.times = true;
        }
    }

    pub(super) fn linked(&mut self, place: &Place) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.linked = true;
        }
    }

    /// What was at `place` is gone.
    pub(super) fn deleted(&mut self, place: &Place) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.origin = None;
            entry.bytes = 0;
            entry.linked = false;
            if entry.before == State::Absent {
                self.remove(place);
            }
        }
    }

    /// What was at `from` is now at `to`. Both have to be touched already.
    pub(super) fn renamed(&mut self, from: &Place, to: &Place) {
        let moved: Vec<Place> = self
            .entries
            .range(from..)
            .map(|(place, _)| place)
            .take_while(|place| place.mount == from.mount && place.rel.starts_with(&from.rel))
            .cloned()
            .collect();
        for old in moved {
            let Some(new) = old.moved(from, to) else {
                continue;
            };
            let Some(entry) = self.entries.get_mut(&old) else {
                continue;
            };
            let origin = match entry.origin.take() {
                Some(origin) => Some(origin),
                None if entry.before != State::Absent => Some(old.clone()),
                None => None,
            };
            let (bytes, written, times, linked) =
                (entry.bytes, entry.written, entry.times, entry.linked);
            if entry.before == State::Absent {
                self.remove(&old);
            } else {
                (entry.bytes, entry.written, entry.times) = (0, false, false);
            }
            if !self.knows(&new) {
                self.insert(new.clone(), State::Absent);
            }
            if let Some(entry) = self.entries.get_mut(&new) {
                // Back where it came from: nothing has moved.
                entry.origin = origin.filter(|origin| *origin != new);
                entry.bytes = bytes;
                entry.written = written;
                entry.times = times;
                entry.linked = linked;
            }
        }
    }

    /// Compares with what is on disk now, in the order of places.
    pub(super) fn differences(&self, now: impl Fn(&Place) -> State) -> Vec<Difference> {
        let states: Vec<(&Place, &Entry, State)> = self
            .entries
            .iter()
            .map(|(place, entry)| (place, entry, now(place)))
            .collect();
        let moved: HashSet<&Place> = states
            .iter()
            .filter(|(_, entry, now)| entry.before == State::Absent && *now != State::Absent)
            .filter_map(|(_, entry, _)| entry.origin.as_ref())
            .collect();
        states
            .iter()
            .filter_map(|(place, entry, now)| {
                if *now == State::Absent && moved.contains(place) {
                    return None;
                }
                self.difference(place, entry, now)
            })
            .collect()
    }

    fn difference(&self, place: &Place, entry: &Entry, now: &State) -> Option<Difference> {
        let origin = entry.origin.as_ref().filter(|_| *now != State::Absent);
        let mut before = entry.before.digest();
        let kind = match (&entry.before, now) {
            (State::Absent, State::Absent) => return None,
            (State::Absent, _) if origin.is_some() => {
                let origin = origin?;
                before = self.entries.get(origin)?.before.digest();
                Net::Renamed(origin.clone())
            }
            (State::Absent, State::File { .. }) if entry.linked => {
                Net::Plain(ChangeKind::LinkCreated)
            }
            (State::Absent, State::File { .. } | State::Special) => Net::Plain(ChangeKind::Created),
            (State::Absent, State::Dir) => Net::Plain(ChangeKind::DirCreated),
            (State::Absent, State::Symlink(_)) => Net::Plain(ChangeKind::SymlinkCreated),
            (State::Dir, State::Absent) => Net::Plain(ChangeKind::DirRemoved),
            (_, State::Absent) => Net::Plain(ChangeKind::Deleted),
            (before, now) if before != now => Net::Plain(ChangeKind::Modified),
            // Too large for a digest on both sides: a write is the only evidence.
            (State::File { digest: None, .. }, _) if entry.written => {
                Net::Plain(ChangeKind::Modified)
            }
            _ if entry.times => Net::Plain(ChangeKind::Times),
            _ => return None,
        };
        Some(Difference {
            place: place.clone(),
            kind,
            bytes: entry.bytes,
            before,
            after: now.digest(),
        })
    }
}
