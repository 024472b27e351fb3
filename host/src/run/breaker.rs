//! Ends a run that repeats itself.
//!
//! An agent whose every step fails in the same way, or that asks for the same thing again and again and
//! gets the same answer, does not come to an end by itself and costs money until it is stopped. The
//! breaker is told the [`Deed`]s of the account; it has no clock and no thread, and forgets what is older
//! than its window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::capabilities::meters::LimitHit;
use crate::grants::Limits;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::deeds::{Deed, Fingerprint};

/// How far back repetitions are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// Deeds remembered of each kind. A guest that spreads its repetitions further apart repeats little.
const REMEMBERED: usize = 256;

/// Counts repetitions.
#[derive(Debug)]
pub struct Breaker {
    errors: Repetitions,
    calls: Repetitions,
}

/// Repetitions of one kind of deed.
#[derive(Debug)]
struct Repetitions {
    limit: LimitHit,
    in_a_row: u64,
    in_window: u64,
    last: Option<Fingerprint>,
    row: u64,
    recent: VecDeque<(Duration, Fingerprint)>,
}

impl Breaker {
    /// A breaker with the limits `repeated-error` and `repeated-call`: so many in a row, or eight fifths
    /// of it within ten minutes.
    #[must_use]
    pub fn new(limits: &Limits) -> Breaker {
        Breaker {
            errors: Repetitions::new("repeated-error", limits.repeated_error),
            calls: Repetitions::new("repeated-call", limits.repeated_call),
        }
    }

    /// Takes a deed of `now`, the time since the start of the run. Says which limit it has reached.
    pub fn note(&mut self, now: Duration, deed: Deed) -> Option<LimitHit> {
        match deed {
            Deed::Failed(fingerprint) => {
                self.calls.interrupted();
                self.errors.note(now, fingerprint)
            }
            Deed::Called(fingerprint) => {
                self.errors.interrupted();
                self.calls.note(now, fingerprint)
            }
            // Whoever changes something may well ask the same again: a build is run after each edit.
            // An error that stays through all changes stays counted.
            Deed::Progressed => {
                self.errors.interrupted();
                self.calls.interrupted();
                self.calls.recent.clear();
                None
            }
        }
    }
}

impl Repetitions {
    fn new(name: &'static str, in_a_row: u64) -> Repetitions {
        Repetitions {
            limit: LimitHit {
                name,
                max: in_a_row,
            },
            in_a_row,
            in_window: in_a_row.saturating_mul(8).div_ceil(5),
            last: None,
            row: 0,
            recent: VecDeque::new(),
        }
    }

    fn note(&mut self, now: Duration, fingerprint: Fingerprint) -> Option<LimitHit> {
        self.row = if self.last == Some(fingerprint) {
            self.row.saturating_add(1)
        } else {
            1
        };
        self.last = Some(fingerprint);
        let old = |(at, _): &(Duration, Fingerprint)| now.saturating_sub(*at) >= WINDOW;
        while self.recent.len() >= REMEMBERED || self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
        self.recent.push_back((now, fingerprint));
        let within = self
            .recent
            .iter()
            .filter(|(_, found)| *found == fingerprint)
            .count() as u64;
        let repeated = self.row >= self.in_a_row || within >= self.in_window;
        (repeated && !down(Wall::Repetition)).then_some(self.limit)
    }

    fn interrupted(&mut self) {
        self.last = None;
        self.row = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ERROR: LimitHit = LimitHit {
        name: "repeated-error",
        max: 5,
    };
    const CALL: LimitHit = LimitHit {
        name: "repeated-call",
        max: 5,
    };

    fn breaker() -> Breaker {
        Breaker::new(&Limits {
            repeated_error: 5,
            repeated_call: 5,
            ..Limits::default()
        })
    }

    fn failed(what: u64) -> Deed {
        Deed::Failed(Fingerprint::of(&what))
    }

    fn called(what: u64) -> Deed {
        Deed::Called(Fingerprint::of(&what))
    }

    /// Notes the deeds a second apart; the number of the deed that tripped it, from 1.
    fn trip(deeds: impl IntoIterator<Item = Deed>) -> Option<(usize, LimitHit)> {
        trip_every(1, deeds)
    }

    fn trip_every(
        seconds: u64,
        deeds: impl IntoIterator<Item = Deed>,
    ) -> Option<(usize, LimitHit)> {
        let mut breaker = breaker();
        deeds.into_iter().enumerate().find_map(|(index, deed)| {
            let now = Duration::from_secs(index as u64 * seconds);
            breaker.note(now, deed).map(|hit| (index + 1, hit))
        })
    }

    fn repeat(deeds: &[Deed], times: usize) -> Vec<Deed> {
        deeds
            .iter()
            .copied()
            .cycle()
            .take(deeds.len() * times)
            .collect()
    }

    #[test]
    fn five_in_a_row_are_too_many() {
        assert_eq!(trip(repeat(&[failed(1)], 9)), Some((5, ERROR)));
        assert_eq!(trip(repeat(&[called(1)], 9)), Some((5, CALL)));
        assert_eq!(trip((0..99).map(failed)), None);
        assert_eq!(trip((0..99).map(called)), None);
    }

    #[test]
    fn eight_in_ten_minutes_are_too_many_with_others_in_between() {
        assert_eq!(
            trip(repeat(&[called(1), called(2), called(3)], 9)),
            Some((22, CALL))
        );
        let mut different = 100;
        let errors = repeat(&[failed(1), called(0)], 9)
            .into_iter()
            .map(|deed| match deed {
                Deed::Called(_) => {
                    different += 1;
                    called(different)
                }
                other => other,
            });
        assert_eq!(trip(errors), Some((15, ERROR)));
        assert_eq!(
            trip_every(150, repeat(&[failed(1), called(2)], 200)),
            None,
            "two in ten minutes"
        );
    }

    #[test]
    fn progress_excuses_the_same_call_but_not_for_ever_the_same_error() {
        assert_eq!(trip(repeat(&[called(1), Deed::Progressed], 50)), None);
        assert_eq!(
            trip(repeat(&[failed(1), Deed::Progressed], 50)),
            Some((15, ERROR))
        );
        let four = repeat(&[failed(1)], 4);
        assert_eq!(
            trip([&four[..], &[Deed::Progressed], &four[..3]].concat()),
            None
        );
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_nothing_trips_before_its_limit(
            deeds in prop::collection::vec((0_u8..3, 0_u64..40), 0..600),
        ) {
            let mut breaker = breaker();
            let mut counts = std::collections::HashMap::new();
            for (index, (kind, what)) in deeds.into_iter().enumerate() {
                let deed = match kind {
                    0 => failed(what),
                    1 => called(what),
                    _ => Deed::Progressed,
                };
                let count = counts.entry((kind, what)).or_insert(0);
                *count += 1;
                let tripped = breaker.note(Duration::from_millis(index as u64), deed);
                prop_assert!(tripped.is_none() || *count >= 5);
                prop_assert!(breaker.errors.recent.len() <= REMEMBERED);
                prop_assert!(breaker.calls.recent.len() <= REMEMBERED);
            }
        }
    }
}
