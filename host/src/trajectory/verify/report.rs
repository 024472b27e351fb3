//! What the judge found.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Rule;
use super::claims::Claims;
use crate::json::printable;

/// Violations that are kept; more are counted. A reader mends the first few and judges again.
pub const MAX_VIOLATIONS: usize = 100;

/// The judgement of one trajectory.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was judged.
    pub kind: Kind,
    /// AVP events that were judged.
    pub events: u64,
    /// The first [`MAX_VIOLATIONS`] violations, by line.
    pub violations: Vec<Violation>,
    /// All violations, those not kept included.
    pub total: u64,
    /// Hash of the last record of a run directory. Whoever kept it elsewhere knows by comparing that
    /// nobody has written the whole directory anew.
    pub head: Option<String>,
    /// `sha256:…` of the AVP lines of a run directory, each with its newline: of what `run --out` writes.
    pub trajectory: Option<String>,
    /// False when the last line is torn: the host was killed while it wrote.
    pub complete: bool,
    /// What the host saw of a run directory's run, and what the agent says.
    pub claims: Option<Claims>,
    /// How the run ended, as its account has it; nothing when the account was not closed.
    #[serde(skip)]
    pub outcome: Option<Box<RawValue>>,
}

/// What was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// AVP events, one a line.
    Trajectory,
    /// A run directory: hash-chained records.
    RunDirectory,
}

/// The report in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every rule is kept.
    Valid,
    /// Every rule is kept as far as it goes, but the end is missing: the host was killed, or the run goes
    /// on.
    Unfinished,
    /// A rule is broken.
    Invalid,
}

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Line, from 1; 0 for `run.json`.
    pub line: u64,
    /// The field, for example `data.avp.step`.
    pub field: Option<String>,
    /// The rule.
    pub rule: Rule,
    /// What was found.
    pub message: String,
}

impl Report {
    /// The report in one word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let all_kept = self.total == self.violations.len() as u64;
        if self.total == 0 && self.complete {
            Verdict::Valid
        } else if all_kept && self.violations.iter().all(|v| v.rule == Rule::Unfinished) {
            Verdict::Unfinished
        } else {
            Verdict::Invalid
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: ", self.line, self.rule)?;
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Collects violations while the judge reads.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) line: u64,
    pub(super) violations: Vec<Violation>,
    pub(super) total: u64,
}

impl Findings {
    /// Notes a violation of the current line. `field` is empty when it concerns the line as a whole.
    pub(super) fn add(&mut self, rule: Rule, field: &str, message: impl fmt::Display) {
        self.total += 1;
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(Violation {
                line: self.line,
                field: (!field.is_empty()).then(|| printable(field)),
                rule,
                message: printable(&message.to_string()),
            });
        }
    }
}
