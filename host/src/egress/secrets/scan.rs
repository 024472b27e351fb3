//! The search for known secrets: raw, in base64 and hexadecimal, percent-encoded, JSON-escaped, in one pass
//! over a stream that may be cut anywhere.
//!
//! One automaton knows the raw, base64 and hexadecimal forms of every secret. It walks over the stream as it
//! is, and over each view of it (`view.rs`) for as long as that differs. The depth of its state is how much of
//! a form has been seen: that much of the stream is held back, and no more.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::MatchKind;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::view::{Decoder, Item, Undo};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Less than this of a form is not held back: it is in every text, and what waits for an answer would wait
/// for more.
const HOLD: usize = 4;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A secret.
    Secret,
    /// A placeholder, which is worth nothing but belongs nowhere else either.
    Placeholder,
}

impl Kind {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Secret => "secret",
            Kind::Placeholder => "placeholder of the secret",
        }
    }
}

/// Something that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    /// The secret it is, or stands for.
    pub name: Arc<str>,
    /// Which of the two.
    pub kind: Kind,
}

impl Needle {
    /// What stands in its place.
    #[must_use]
    pub fn mark(&self) -> String {
        match self.kind {
            Kind::Secret => format!("[secret:{}]", self.name),
            Kind::Placeholder => format!("[placeholder:{}]", self.name),
        }
    }
}

/// The bytes of a stream that are a secret in some form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which one, as an index for [`Scanner::needle`].
    pub needle: usize,
    /// Where, counted from the beginning of the stream.
    pub range: Range<u64>,
}

/// Finds everything that is looked for in one run.
pub struct Scanner {
    automaton: NFA,
    start: StateID,
    /// How many bytes of a form have been seen, by state.
    depths: Vec<u32>,
    /// The needle of each form.
    forms: Vec<usize>,
    needles: Vec<Needle>,
}

impl std::fmt::Debug for Scanner {
    /// The automaton is made of secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Scanner({:?})", self.needles)
    }
}

impl Scanner {
    /// A scanner for these values; nothing when there is none, or they are too many for one.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = (Needle, &'a [u8])>) -> Option<Scanner> {
        let (mut needles, mut forms, mut patterns) = (Vec::new(), Vec::new(), Vec::new());
        for (needle, value) in values {
            if value.is_empty() {
                continue;
            }
            for form in forms_of(value) {
                forms.push(needles.len());
                patterns.push(form);
            }
            needles.push(needle);
        }
        if needles.is_empty() {
            return None;
        }
        let automaton = aho_corasick::nfa::contiguous::Builder::new()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(&patterns)
            .ok()?;
        let start = automaton.start_state(Anchored::No).ok()?;
        let mut depths = Vec::new();
        for pattern in &patterns {
            let mut state = start;
            for (index, byte) in pattern.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                let place = state.as_usize();
                if depths.len() <= place {
                    depths.resize(place + 1, 0);
                }
                if let Some(depth) = depths.get_mut(place) {
                    *depth = u32::try_from(index + 1).unwrap_or(u32::MAX);
                }
            }
        }
        Some(Scanner {
            automaton,
            start,
            depths,
            forms,
            needles,
        })
    }

    /// What was found.
    #[must_use]
    pub fn needle(&self, index: usize) -> Option<&Needle> {
        self.needles.get(index)
    }

    /// Everything in `bytes`, in order, none of it twice.
    #[must_use]
    pub fn find(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut scan = Scan::new(self);
        let mut hits = Vec::new();
        scan.feed(self, bytes, &mut |hit| hits.push(hit));
        merged(hits)
    }

    /// The first in `bytes`.
    #[must_use]
    pub fn first(&self, bytes: &[u8]) -> Option<&Needle> {
        let hits = self.find(bytes);
        self.needle(hits.first()?.needle)
    }
}

/// Every form of a value the automaton looks for.
fn forms_of(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    if !down(Wall::SecretRaw) {
        forms.push(value.to_vec());
    }
    if !down(Wall::SecretBase64) {
        for offset in 0..3 {
            let shifted: Vec<u8> = std::iter::repeat_n(0, offset)
                .chain(value.iter().copied())
                .collect();
            // Characters that also depend on what stands beside the value are left out.
            let from = (8 * offset).div_ceil(6);
            let to = 8 * shifted.len() / 6;
            for text in [
                STANDARD_NO_PAD.encode(&shifted),
                URL_SAFE_NO_PAD.encode(&shifted),
            ] {
                if let Some(core) = text.as_bytes().get(from..to) {
                    forms.push(core.to_vec());
                }
            }
        }
    }
    if !down(Wall::SecretHex) {
        let hex = crate::digest::hex(value);
        forms.push(hex.to_ascii_uppercase().into_bytes());
        forms.push(hex.into_bytes());
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Overlapping hits made one: a value within a value, or the same in two views.
fn merged(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.range.start, std::cmp::Reverse(hit.range.end)));
    let mut result: Vec<Hit> = Vec::new();
    for hit in hits {
        match result.last_mut() {
            Some(last) if hit.range.start < last.range.end => {
                last.range.end = last.range.end.max(hit.range.end);
            }
            _ => result.push(hit),
        }
    }
    result
}

/// How far the automaton has come, and where what it has seen of a form came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Track {
    state: StateID,
    /// As many as the state is deep.
    starts: VecDeque<u64>,
}

impl Track {
    fn push(&mut self, scanner: &Scanner, item: Item, hit: &mut impl FnMut(Hit)) {
        let automaton = &scanner.automaton;
        self.state = automaton.next_state(Anchored::No, self.state, item.byte);
        let depth = scanner
            .depths
            .get(self.state.as_usize())
            .map_or(0, |depth| *depth as usize);
        self.starts.push_back(item.start);
        let surplus = self.starts.len().saturating_sub(depth);
        self.starts.drain(..surplus);
        if !automaton.is_match(self.state) {
            return;
        }
        for index in 0..automaton.match_len(self.state) {
            let form = automaton.match_pattern(self.state, index);
            let len = automaton.pattern_len(form);
            let first = self.starts.len().saturating_sub(len);
            let found = self
                .starts
                .get(first)
                .zip(scanner.forms.get(form.as_usize()));
            if let Some((start, needle)) = found {
                hit(Hit {
                    needle: *needle,
                    range: *start..item.end,
                });
            }
        }
    }
}

/// A search under way. It may be fed piece by piece.
#[derive(Clone, Debug)]
pub struct Scan {
    position: u64,
    raw: Track,
    /// Those that differ from the stream at this place.
    views: [Option<Box<(Decoder, Track)>>; Undo::ALL.len()],
}

impl Scan {
    /// A search at the beginning of a stream. It has to be fed with the same scanner.
    #[must_use]
    pub fn new(scanner: &Scanner) -> Scan {
        Scan {
            position: 0,
            raw: Track {
                state: scanner.start,
                starts: VecDeque::new(),
            },
            views: [const { None }; Undo::ALL.len()],
        }
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, scanner: &Scanner, bytes: &[u8], hit: &mut impl FnMut(Hit)) {
        for byte in bytes {
            if matches!(byte, b'%' | b'\\' | b'\r' | b'\n') && !down(Wall::SecretEscapes) {
                for (view, undo) in self.views.iter_mut().zip(Undo::ALL) {
                    if view.is_none() && undo.begins_at(*byte) {
                        *view = Some(Box::new((Decoder::new(undo), self.raw.clone())));
                    }
                }
            }
            let start = self.position;
            self.position = start.saturating_add(1);
            let item = Item {
                byte: *byte,
                start,
                end: self.position,
            };
            self.raw.push(scanner, item, hit);
            for view in &mut self.views {
                let Some(active) = view else { continue };
                let (decoder, track) = active.as_mut();
                decoder.push(item, &mut |item| track.push(scanner, item, hit));
                if decoder.is_idle() && *track == self.raw {
                    *view = None;
                }
            }
        }
    }

    /// Where the first byte stands that may be part of a secret whose end has not come yet.
    #[must_use]
    pub fn held_from(&self) -> u64 {
        let views = self.views.iter().flatten().map(|view| &view.1);
        std::iter::once(&self.raw)
            .chain(views)
            .filter(|track| track.starts.len() >= HOLD)
            .filter_map(|track| track.starts.front().copied())
            .min()
            .unwrap_or(self.position)
    }
}

#[cfg(test)]
mod tests;
