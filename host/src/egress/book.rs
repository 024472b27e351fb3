//! The account of requests: one record each, written when it is over, however it ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Caller, Refused};
use crate::capabilities::meters::millis;
use crate::trajectory::{Audit, Ledger};

/// All requests of a run.
pub(super) struct Book {
    ledger: Ledger,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    /// The run is over: nothing is written any more.
    closed: bool,
    next: u64,
    open: HashMap<u64, Page>,
    /// Limits whose being hit is on record.
    noted: Vec<&'static str>,
}

struct Page {
    caller: Caller,
    method: String,
    url: String,
    begun: Instant,
    rule: Option<String>,
    address: Option<String>,
    status: Option<u16>,
    traffic: Arc<Traffic>,
}

/// Bytes of bodies, counted as they pass.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) out: AtomicU64,
    pub(super) incoming: AtomicU64,
}

/// One request that is under way. Dropped, it is over.
pub(super) struct Entry {
    book: Arc<Book>,
    id: u64,
    pub(super) traffic: Arc<Traffic>,
}

impl Book {
    pub(super) fn new(ledger: Ledger) -> Book {
        Book {
            ledger,
            pages: Mutex::default(),
        }
    }

    /// Opens the account of a request.
    pub(super) fn open(
        self: &Arc<Book>,
        caller: Caller,
        method: &http::Method,
        url: String,
    ) -> Result<Entry, Refused> {
        let mut pages = self.pages();
        if pages.closed {
            return Err(Refused::Closed);
        }
        let id = pages.next;
        pages.next += 1;
        let traffic = Arc::new(Traffic::default());
        let page = Page {
            caller,
            // A method is any token; the longest that is registered has 17 characters.
            method: method.as_str().chars().take(32).collect(),
            url,
            begun: Instant::now(),
            rule: None,
            address: None,
            status: None,
            traffic: traffic.clone(),
        };
        pages.open.insert(id, page);
        Ok(Entry {
            book: self.clone(),
            id,
            traffic,
        })
    }

    /// Notes that a limit was hit, once a run.
    pub(super) fn limit(&self, name: &'static str, max: u64) {
        let mut pages = self.pages();
        if !pages.closed && !pages.noted.contains(&name) {
            pages.noted.push(name);
            self.write(Audit::Limit { name, max });
        }
    }

    /// Notes a denial.
    pub(super) fn denied(&self, subject: String, rule: String) {
        let pages = self.pages();
        if !pages.closed {
            self.write(Audit::Denied {
                capability: "network",
                subject,
                rule,
            });
        }
    }

    /// Ends the account: what is still under way is over, and nothing is written after this.
    pub(super) fn close(&self) {
        let mut pages = self.pages();
        if std::mem::replace(&mut pages.closed, true) {
            return;
        }
        let mut open: Vec<_> = pages.open.drain().collect();
        open.sort_by_key(|(id, _)| *id);
        for (_, page) in open {
            self.write(page.record(Some(&Refused::Closed)));
        }
    }

    fn finish(&self, id: u64, refused: Option<&Refused>) {
        let mut pages = self.pages();
        if let Some(page) = pages.open.remove(&id) {
            // While the pages are locked: none is written after they are closed.
            self.write(page.record(refused));
        }
    }

    fn write(&self, audit: Audit) {
        // A journal that fails stays failed: closing the account reports it as the host's fault.
        if let Err(error) = self.ledger.audit(audit) {
            tracing::debug!(%error, "could not note a request");
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Page {
    fn record(self, refused: Option<&Refused>) -> Audit {
        Audit::Request {
            caller: self.caller,
            method: self.method,
            url: self.url,
            rule: self.rule,
            address: self.address,
            status: self.status,
            bytes_out: self.traffic.out.load(Ordering::Relaxed),
            bytes_in: self.traffic.incoming.load(Ordering::Relaxed),
            milliseconds: millis(self.begun.elapsed()),
            error: refused.map(ToString::to_string),
        }
    }
}

impl Entry {
    fn note(&self, change: impl FnOnce(&mut Page)) {
        if let Some(page) = self.book.pages().open.get_mut(&self.id) {
            change(page);
        }
    }

    pub(super) fn url(&self, url: String) {
        self.note(|page| page.url = url);
    }

    pub(super) fn rule(&self, rule: String) {
        self.note(|page| page.rule = Some(rule));
    }

    pub(super) fn address(&self, address: String) {
        self.note(|page| page.address = Some(address));
    }

    pub(super) fn status(&self, status: http::StatusCode) {
        self.note(|page| page.status = Some(status.as_u16()));
    }

    /// Notes that a limit was hit, once a run; the refusal to give.
    pub(super) fn limit(&self, name: &'static str, max: u64) -> Refused {
        self.book.limit(name, max);
        Refused::Limit { name, max }
    }

    /// Writes the record. Only the first call of an entry does.
    pub(super) fn finish(&self, refused: Option<&Refused>) {
        self.book.finish(self.id, refused);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.finish(Some(&Refused::Dropped));
    }
}
