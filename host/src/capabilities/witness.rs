//! What the file system tells, as audit records.

use super::contents::{Contents, is_masked};
use super::filesystem::{Change, ChangeKind, Content, Denial, FileId, Observer};
use super::meters::LimitHit;
use crate::egress::secrets::Guard;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::search::Rest;
use crate::trajectory::{Audit, Ledger, Touch};

/// Writes what a guest does to its directories into the run's account.
pub struct Witness {
    ledger: Ledger,
    contents: Option<Contents>,
}

impl Witness {
    /// A witness for the run that `ledger` is the account of.
    #[must_use]
    pub fn new(ledger: Ledger) -> Witness {
        let contents = ledger.guard().cloned().map(Contents::new);
        Witness { ledger, contents }
    }

    fn note(&self, audit: Audit) {
        // A journal that fails stays failed: closing the account reports it as the host's fault.
        if let Err(error) = self.ledger.audit(audit) {
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

    fn content(
        &self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        path: &dyn Fn() -> String,
    ) -> Content {
        let look = |_: &Guard| self.contents.as_ref()?.search(file, offset, bytes);
        let is_of = |rest: &Rest| is_masked(&rest.0, bytes);
        let found = match self.ledger.search().check("a file", look, is_of) {
            Ok(None) => return Content::Passes,
            Ok(Some(found)) => found,
            // What cannot be put on the tape is not written: the run ends.
            Err(error) => return Content::Refused(error.to_string()),
        };
        for needle in &found.secrets {
            self.note(Audit::Leak {
                name: needle.name.to_string(),
                place: path(),
                action: found.action,
            });
        }
        match (found.refusal(), found.rest) {
            (Some(refusal), _) => Content::Refused(refusal),
            (None, Some(rest)) => Content::Instead(rest.0),
            (None, None) => Content::Passes,
        }
    }

    fn touched(&self, guest: &str, path: &str, touch: Touch) -> bool {
        self.ledger.touched(guest, path, touch)
    }

    fn is_behind(&self) -> bool {
        self.ledger.is_behind()
    }

    fn limit(&self, LimitHit { name, max }: LimitHit) {
        self.note(Audit::Limit { name, max });
    }
}
