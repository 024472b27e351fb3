//! Runs that return as if all were well, without the evidence the operator requires.

use super::super::case::{Case, guest};
use super::super::setup::{Dirs, Ending, Setup, Trace};
use super::super::wall::Wall;

const WORK: Setup = Setup::new(Dirs::Work).ends(Ending::Incomplete);

pub(super) const CASES: &[Case] = &[
    guest(
        "require-complete",
        Wall::Required,
        "CWE-345",
        "Saying that it is done, anywhere but in the call for it, does not make a run complete.",
        WORK.requires(&["complete"]),
    ),
    guest(
        "require-artifact",
        Wall::Required,
        "CWE-345",
        "A document that was not handed over does not count, wherever else it is.",
        WORK.requires(&["artifact=report.json"]),
    ),
    guest(
        "require-schema",
        Wall::Required,
        "CWE-20",
        "A document that does not match its schema is not taken, and the run is incomplete.",
        WORK.requires(&["artifact=report.json:schema.json"])
            .leaves(&[Trace::Rejected]),
    ),
];
