//! Refusals of one kind, of which the first stand in the account one by one and the others are counted.
//!
//! A guest can be refused the same in as many words as it likes, at the price of one call each: what is worth
//! knowing of the thousandth is that there were a thousand.

use std::collections::BTreeMap;

use super::audit::{Audit, LeakAction};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Records of a kind that are written one by one. Nobody reads more, and a suggestion of grants is made of fewer.
const FIRST: u64 = 100;

/// Kinds that are told apart. Rules may have names of the guest's in them, such as those of models: beyond this
/// number only the capability counts.
const KINDS: usize = 64;

/// What records have in common that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    of: &'static str,
    what: String,
    rule: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    total: u64,
    /// Those of them that no record stands for yet.
    untold: u64,
}

/// Counts refusals by kind.
#[derive(Debug, Default)]
pub(super) struct Folded {
    kinds: BTreeMap<Kind, Counted>,
}

impl Folded {
    /// What is to be written of a record: itself, or one that stands for many, or nothing yet. Those that are
    /// counted are told whenever there are twice as many, so that a host that is killed has told of half of them.
    pub(super) fn take(&mut self, audit: Audit) -> Option<Audit> {
        let Some(kind) = Kind::of(&audit).filter(|_| !down(Wall::Folded)) else {
            return Some(audit);
        };
        let kind = if self.kinds.len() < KINDS || self.kinds.contains_key(&kind) {
            kind
        } else {
            Kind { rule: None, ..kind }
        };
        let counted = self.kinds.entry(kind.clone()).or_default();
        counted.total = counted.total.saturating_add(1);
        if counted.total <= FIRST {
            return Some(audit);
        }
        counted.untold = counted.untold.saturating_add(1);
        (counted.untold >= counted.total.div_ceil(2)).then(|| kind.tell(counted))
    }

    /// What is counted and not told yet.
    pub(super) fn rest(&mut self) -> Vec<Audit> {
        let untold = self.kinds.iter_mut().filter(|(_, it)| it.untold > 0);
        let told = untold.map(|(kind, it)| kind.clone().tell(it));
        told.collect()
    }
}

impl Kind {
    fn of(audit: &Audit) -> Option<Kind> {
        let (of, what, rule) = match audit {
            Audit::Denied {
                capability, rule, ..
            } => ("denied", (*capability).to_owned(), Some(rule.clone())),
            Audit::Rejected { fact, .. } => ("rejected", (*fact).to_owned(), None),
            Audit::Leak { name, action, .. } => {
                let action = match action {
                    LeakAction::Blocked => "blocked",
                    LeakAction::Redacted => "redacted",
                    LeakAction::Passed => "passed",
                };
                ("leak", format!("{name} {action}"), None)
            }
            _ => return None,
        };
        // A rule that is as long as a path has one in it.
        let rule = rule.filter(|rule| rule.len() <= 256);
        Some(Kind { of, what, rule })
    }

    fn tell(self, counted: &mut Counted) -> Audit {
        Audit::Repeated {
            of: self.of,
            what: self.what,
            rule: self.rule,
            count: std::mem::take(&mut counted.untold),
            total: counted.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn denied(rule: &str, subject: usize) -> Audit {
        Audit::Denied {
            capability: "wasi:filesystem",
            subject: subject.to_string(),
            rule: rule.to_owned(),
        }
    }

    /// How many records were written one by one, and how many others stand for.
    fn told(audits: &[Audit]) -> (u64, u64) {
        audits
            .iter()
            .fold((0, 0), |(one, many), audit| match audit {
                Audit::Repeated { count, .. } => (one, many + count),
                _ => (one + 1, many),
            })
    }

    proptest! {
        /// Whatever is refused in whatever order, the account says how often; and at no moment has it told of
        /// less than half.
        #[test]
        fn none_is_lost(rules in proptest::collection::vec(0_usize..100, 0..3000), same in any::<bool>()) {
            let mut folded = Folded::default();
            let mut written = Vec::new();
            for (at, rule) in rules.iter().enumerate() {
                let rule = if same { 0 } else { *rule };
                written.extend(folded.take(denied(&rule.to_string(), at)));
                let (one, many) = told(&written);
                prop_assert!((one + many) * 2 >= at as u64);
            }
            written.extend(folded.rest());
            let (one, many) = told(&written);
            prop_assert_eq!(one + many, rules.len() as u64);
            prop_assert!(!same || one <= FIRST);
            prop_assert!(folded.kinds.len() <= KINDS + 1);
            prop_assert!(folded.rest().is_empty());
        }
    }

    #[test]
    fn the_first_stand_alone_and_the_others_are_told_at_each_doubling() {
        let mut folded = Folded::default();
        let written: Vec<_> = (0..1000)
            .filter_map(|at| folded.take(denied("no", at)))
            .collect();
        let counts: Vec<_> = written
            .iter()
            .filter_map(|audit| match audit {
                Audit::Repeated { count, total, .. } => Some((*count, *total)),
                _ => None,
            })
            .collect();
        assert_eq!(counts, [(100, 200), (200, 400), (400, 800)]);
        assert_eq!(told(&folded.rest()), (0, 200));
    }

    #[test]
    fn what_was_done_is_never_folded() {
        let mut folded = Folded::default();
        let changed = || Audit::Checkpoint {
            digest: String::new(),
            bytes: 0,
        };
        assert!((0..1000).all(|_| folded.take(changed()).is_some()));
    }
}
