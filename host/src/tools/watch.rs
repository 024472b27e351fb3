//! Where tool servers are told of: the account of the run, and whoever looks after it.

use std::sync::Arc;

use crate::trajectory::{Audit, Ledger, Use};

/// Shared by everything that deals with tool servers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Watch {
    ledger: Ledger,
    moved: Arc<dyn Fn() + Send + Sync>,
}

impl Watch {
    /// `moved` is called when a server says that a call makes progress.
    pub(crate) fn new(ledger: Ledger, moved: impl Fn() + Send + Sync + 'static) -> Watch {
        Watch {
            ledger,
            moved: Arc::new(moved),
        }
    }

    pub(crate) fn moved(&self) {
        (self.moved)();
    }

    /// A record that nobody waits for. An account that cannot be kept ends the run elsewhere: the next
    /// thing the guest does has to be recorded, too.
    pub(crate) fn note(&self, audit: Audit) {
        if let Err(error) = self.ledger.audit(audit) {
            tracing::warn!(%error, "cannot record what a tool server did");
        }
    }

    /// Something of what is granted is used.
    pub(crate) fn used(&self, what: Use<'_>) {
        self.ledger.used(what);
    }

    /// Something about a server.
    pub(crate) fn server(&self, server: &str, notice: &'static str, text: String) {
        self.note(Audit::ToolServer {
            server: server.to_owned(),
            notice,
            text,
        });
    }
}
