//! What the file system tells, as audit records.

use super::filesystem::{Change, ChangeKind, Denial, Observer};
use super::meters::LimitHit;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::{Audit, Ledger};

/// Writes what a guest does to its directories into the run's account.
pub struct Witness(Ledger);

impl Witness {
    /// A witness for the run that `ledger` is the account of.
    #[must_use]
    pub fn new(ledger: Ledger) -> Witness {
        Witness(ledger)
    }

    fn note(&self, audit: Audit) {
        // A journal that fails stays failed: closing the account reports it as the host's fault.
        if let Err(error) = self.0.audit(audit) {
            tracing::debug!(%error, "could not note a change");
        }
    }
}

impl Observer for Witness {
    fn denied(&self, denial: Denial) {
        self.note(Audit::Denied {
            capability: "wasi:filesystem",
            subject: format!("{} {}", denial.operation, denial.path),
            rule: denial.rule,
        });
    }

    fn changed(&self, change: Change) {
        if down(Wall::Observed) {
            return;
        }
        let kind = change.kind.as_str();
        let from = match change.kind {
            ChangeKind::Renamed { from } => Some(from),
            _ => None,
        };
        self.note(Audit::FileChanged {
            path: change.path,
            change: kind,
            from,
            bytes_written: change.bytes_written,
            before: change.before.map(|digest| digest.to_string()),
            after: change.after.map(|digest| digest.to_string()),
        });
    }

    fn limit(&self, LimitHit { name, max }: LimitHit) {
        self.note(Audit::Limit { name, max });
    }
}
