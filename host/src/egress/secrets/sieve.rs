//! A stream without its secrets: what may pass passes at once, what may be part of one waits.

use std::ops::Range;
use std::sync::Arc;

use super::guard::Guard;
use super::scan::{Hit, Kind, Needle, Scan};

/// Most bytes that wait. Longer than any form of any secret, so that only what is stretched on purpose, such
/// as by thousands of line breaks, gets through.
const MAX_HELD: u64 = 256 << 10;

/// Takes a stream piece by piece and hands out what is left of it.
#[derive(Debug)]
pub struct Sieve {
    guard: Arc<Guard>,
    scan: Scan,
    placeholders: bool,
    /// What waits, and the position of its first byte in the stream.
    waiting: Vec<u8>,
    from: u64,
    hits: Vec<Hit>,
    found: Vec<Needle>,
}

impl Sieve {
    /// For the beginning of a stream.
    #[must_use]
    pub fn new(guard: Arc<Guard>) -> Sieve {
        Sieve {
            scan: Scan::new(&guard.scanner),
            guard,
            placeholders: true,
            waiting: Vec::new(),
            from: 0,
            hits: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Whether placeholders count; they do unless said otherwise.
    #[must_use]
    pub fn placeholders(self, placeholders: bool) -> Sieve {
        Sieve {
            placeholders,
            ..self
        }
    }

    /// Takes the next bytes; what may pass, with a mark in the place of each secret.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (hits, scanner) = (&mut self.hits, &self.guard.scanner);
        let placeholders = self.placeholders;
        let counts = |hit: &Hit| {
            let needle = scanner.needle(hit.needle);
            placeholders || needle.is_some_and(|needle| needle.kind == Kind::Secret)
        };
        let before = hits.len();
        self.scan.feed(scanner, bytes, &mut |hit| {
            hits.extend(Some(hit).filter(counts));
        });
        let new = hits.iter().skip(before);
        for needle in new.filter_map(|hit| scanner.needle(hit.needle)) {
            if !self.found.contains(needle) {
                self.found.push(needle.clone());
            }
        }
        self.waiting.extend_from_slice(bytes);
        let least = self.scan.position().saturating_sub(MAX_HELD);
        let held = self.scan.held_from().max(least);
        self.pass(held)
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> Vec<u8> {
        self.pass(self.scan.position())
    }

    /// What has been found since the last time, each once.
    pub fn take_found(&mut self) -> Vec<Needle> {
        std::mem::take(&mut self.found)
    }

    /// Hands out everything before `end`.
    fn pass(&mut self, end: u64) -> Vec<u8> {
        self.hits.sort_by_key(|hit| hit.range.start);
        // One that is still growing, or overlaps what is, waits as a whole.
        let mut end = end;
        for hit in self.hits.iter().rev() {
            if hit.range.end > end && hit.range.start < end {
                end = hit.range.start;
            }
        }
        let end = end.max(self.from);
        let mut out = Vec::new();
        let mut at = self.from;
        let ready = self.hits.iter().take_while(|hit| hit.range.start < end);
        let ready = ready.cloned().collect::<Vec<_>>();
        self.hits.drain(..ready.len());
        for Hit { needle, range } in ready {
            if range.end <= at {
                // Within the one before.
                continue;
            }
            let Some(needle) = self.guard.scanner.needle(needle) else {
                continue;
            };
            // Of one that overlaps the one before, only the rest is left to cut out. Its very beginning may
            // have passed already.
            if range.start >= at || at == self.from {
                out.extend_from_slice(self.slice(at..range.start.max(at)));
                out.extend_from_slice(needle.mark().as_bytes());
            }
            at = range.end;
        }
        out.extend_from_slice(self.slice(at..end));
        let passed = usize::try_from(end.max(at) - self.from).unwrap_or(usize::MAX);
        self.waiting.drain(..passed.min(self.waiting.len()));
        self.from = end.max(at);
        out
    }

    fn slice(&self, range: Range<u64>) -> &[u8] {
        let index = |at: u64| usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let (start, end) = (index(range.start), index(range.end).min(self.waiting.len()));
        self.waiting.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::scan::Scanner;
    use super::*;
    use crate::grants::secrets::Leaks;

    fn guard() -> Arc<Guard> {
        let needle = |name: &str| Needle {
            name: name.into(),
            kind: Kind::Secret,
        };
        let values = [
            (needle("a"), &b"correct-horse"[..]),
            (needle("b"), &b"horse-battery"[..]),
        ];
        Arc::new(Guard::new(Scanner::new(values).unwrap(), Leaks::Redact))
    }

    fn sieved(pieces: &[&[u8]]) -> (String, Vec<Needle>) {
        let mut sieve = Sieve::new(guard());
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(sieve.push(piece));
        }
        out.extend(sieve.finish());
        let found = sieve.take_found();
        (String::from_utf8(out).unwrap(), found)
    }

    #[test]
    fn secrets_are_cut_out_and_the_rest_passes_at_once() {
        let mut sieve = Sieve::new(guard());
        assert_eq!(sieve.push(b"data: 1\n\n"), b"data: 1\n\n");
        assert_eq!(sieve.push(b"x correct-h"), b"x ");
        assert_eq!(sieve.push(b"ors"), b"");
        assert_eq!(sieve.push(b"t!"), b"correct-horst!");
        assert_eq!(sieve.push(b"correct-horse."), b"[secret:a].");
        assert_eq!(sieve.finish(), b"");
        assert_eq!(sieve.take_found().len(), 1);
    }

    #[test]
    fn what_overlaps_goes_together() {
        for cut in 0..24 {
            let text = b" correct-horse-battery  .";
            let (out, _) = sieved(&[&text[..cut], &text[cut..]]);
            assert!(out.ends_with("[secret:a]  ."), "{cut}: {out}");
            assert!(!out.contains("corr"), "{cut}: {out}");
        }
    }

    #[test]
    fn what_is_stretched_does_not_fill_the_memory() {
        let mut sieve = Sieve::new(guard());
        let mut passed = sieve.push(b"correct-").len();
        for _ in 0..100 {
            passed += sieve.push(&[b'\n'; 64 << 10]).len();
            assert!(sieve.waiting.len() as u64 <= MAX_HELD);
        }
        passed += sieve.push(b"horse").len() + sieve.finish().len();
        assert!(passed > 6 << 20);
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_is_left(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("correct-horse".to_owned()),
                    Just("horse-battery".to_owned()),
                    Just("Y29ycmVjdC1ob3JzZQ==".to_owned()),
                    Just("c%6frrect-h\\u006frse".to_owned()),
                    "[a-z \n%\\\\-]{0,8}",
                ],
                0..8,
            ),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let text = parts.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text.as_bytes()[at..cut]);
                at = cut;
            }
            let (whole, found) = sieved(&[text.as_bytes()]);
            let (cut, found_cut) = sieved(&pieces);
            prop_assert_eq!(found.is_empty(), found_cut.is_empty());
            if found.is_empty() {
                prop_assert_eq!(&whole, &text);
                prop_assert_eq!(&cut, &text);
            } else {
                prop_assert!(guard().scanner.find(cut.as_bytes()).is_empty(), "{cut}");
                prop_assert!(guard().scanner.find(whole.as_bytes()).is_empty(), "{whole}");
            }
        }
    }
}
