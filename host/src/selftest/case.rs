//! A case: one way out that is tried, and what it is tried on.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;

use super::setup::Setup;
use super::stage::Stage;
use super::wall::Wall;

/// One way out of the sandbox that is tried.
pub struct Case {
    /// Stable name: other programs may refer to it.
    pub id: &'static str,
    /// What is claimed, in one sentence.
    pub claim: &'static str,
    /// Where the attempt is known from: an advisory, an issue, or the document that describes it.
    pub source: &'static str,
    /// The guard it watches.
    pub wall: Wall,
    pub(super) kind: Kind,
}

/// How a case is tried.
#[expect(
    clippy::large_enum_variant,
    reason = "cases are constants in tables, never moved"
)]
pub(super) enum Kind {
    /// One run of the hostile guest.
    Guest(Setup),
    /// Something else.
    Host(Attempt),
}

/// A case that is more than one run of the hostile guest.
pub(super) type Attempt = for<'a> fn(&'a Stage) -> Trying<'a>;

/// An attempt under way.
pub(super) type Trying<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The wall held.
    Held {
        /// What was seen.
        saw: String,
    },
    /// The wall did not hold, or it cannot be said that it did.
    Broken {
        /// Everything that is wrong.
        why: Vec<String>,
    },
    /// It cannot be tried here.
    Skipped {
        /// Why not.
        reason: String,
    },
}

impl Verdict {
    /// Held if nothing is wrong.
    pub(super) fn of(wrong: Vec<String>, saw: impl Into<String>) -> Verdict {
        if wrong.is_empty() {
            Verdict::Held { saw: saw.into() }
        } else {
            Verdict::Broken { why: wrong }
        }
    }

    pub(super) fn broken(why: impl Into<String>) -> Verdict {
        Verdict::Broken {
            why: vec![why.into()],
        }
    }
}

impl<E: std::fmt::Display> From<Result<String, E>> for Verdict {
    fn from(result: Result<String, E>) -> Verdict {
        match result {
            Ok(saw) => Verdict::Held { saw },
            Err(error) => Verdict::broken(error.to_string()),
        }
    }
}

/// A case that is one run of the hostile guest.
pub(super) const fn guest(
    id: &'static str,
    wall: Wall,
    source: &'static str,
    claim: &'static str,
    setup: Setup,
) -> Case {
    Case {
        id,
        claim,
        source,
        wall,
        kind: Kind::Guest(setup),
    }
}

/// Any other case.
pub(super) const fn host(
    id: &'static str,
    wall: Wall,
    source: &'static str,
    claim: &'static str,
    attempt: Attempt,
) -> Case {
    Case {
        id,
        claim,
        source,
        wall,
        kind: Kind::Host(attempt),
    }
}
