//! Bodies that are searched while they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::super::{Body, Refused};
use super::guard::Guard;
use super::scan::{Kind, Needle};
use super::sieve::Sieve;
use super::unpack::Unpacking;
use crate::grants::secrets::Leaks;
use crate::trajectory::Ledger;
use crate::trajectory::audit::LeakAction;

/// What a body is searched for, and what happens then.
pub(super) struct Search {
    pub(super) guard: Arc<Guard>,
    pub(super) ledger: Ledger,
    /// What it is the body of, in a record.
    pub(super) place: String,
    /// The same in an error.
    pub(super) what: &'static str,
    /// Placeholders count, too.
    pub(super) placeholders: bool,
    pub(super) policy: Leaks,
}

/// A body that is searched.
pub(super) struct Searched {
    body: Body,
    search: Search,
    sieve: Sieve,
    /// The beginning, until it can be seen whether it is compressed.
    head: Vec<u8>,
    unpacking: Option<Unpacking>,
    /// Outermost first.
    encodings: Vec<String>,
    told: Vec<Needle>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begins,
    Passes,
    Over,
}

impl Searched {
    pub(super) fn new(body: Body, search: Search, encodings: Vec<String>) -> Searched {
        Searched {
            body,
            sieve: Sieve::new(search.guard.clone()).placeholders(search.placeholders),
            search,
            head: Vec::new(),
            unpacking: None,
            encodings,
            told: Vec::new(),
            state: State::Begins,
        }
    }

    fn counts(&self, needle: &Needle) -> bool {
        needle.kind == Kind::Secret || self.search.placeholders
    }

    /// Takes a piece; what may pass of it.
    fn takes(&mut self, data: Bytes) -> Result<Bytes, Refused> {
        let packed = self.unpacks(&data);
        if let Some(needle) = packed.filter(|needle| self.counts(needle)) {
            // Nothing can be cut out of what is compressed.
            self.found(&needle, Leaks::Warn != self.search.policy)?;
        }
        match self.search.policy {
            Leaks::Warn => {
                self.sieve.push(&data);
                self.tells()?;
                Ok(data)
            }
            Leaks::Redact | Leaks::Block => {
                let passed = self.sieve.push(&data);
                self.tells()?;
                Ok(passed.into())
            }
        }
    }

    fn ends(&mut self) -> Result<Bytes, Refused> {
        let scanner = &self.search.guard.scanner;
        let packed = self.unpacking.as_mut().and_then(|it| it.finish(scanner));
        if let Some(needle) = packed.filter(|needle| self.counts(needle)) {
            self.found(&needle, Leaks::Warn != self.search.policy)?;
        }
        let rest = self.sieve.finish();
        self.tells()?;
        Ok(match self.search.policy {
            Leaks::Warn => Bytes::new(),
            Leaks::Redact | Leaks::Block => rest.into(),
        })
    }

    fn unpacks(&mut self, data: &[u8]) -> Option<Needle> {
        let scanner = &self.search.guard.scanner;
        if self.state == State::Begins {
            let early = self.head.len();
            self.head.extend(data.iter().take(2));
            if self.head.len() < 2 {
                return None;
            }
            self.state = State::Passes;
            self.unpacking = Unpacking::of(&self.head, &self.encodings);
            if let Some(unpacking) = &mut self.unpacking {
                unpacking.feed(scanner, self.head.get(..early).unwrap_or_default());
            }
        }
        self.unpacking.as_mut()?.feed(scanner, data)
    }

    /// Tells of what the sieve has found.
    fn tells(&mut self) -> Result<(), Refused> {
        for needle in self.sieve.take_found() {
            if self.counts(&needle) {
                self.found(&needle, self.search.policy == Leaks::Block)?;
            }
        }
        Ok(())
    }

    fn found(&mut self, needle: &Needle, blocks: bool) -> Result<(), Refused> {
        // A placeholder belongs in one place only, whatever the policy about secrets is.
        let blocks = blocks || needle.kind == Kind::Placeholder;
        let action = match self.search.policy {
            _ if blocks => LeakAction::Blocked,
            Leaks::Warn => LeakAction::Passed,
            Leaks::Redact | Leaks::Block => LeakAction::Redacted,
        };
        if !self.told.contains(needle) {
            self.told.push(needle.clone());
            told(&self.search.ledger, needle, &self.search.place, action);
        }
        if blocks {
            return Err(leak(needle, self.search.what));
        }
        Ok(())
    }
}

/// Writes that something was found.
pub(super) fn told(ledger: &Ledger, needle: &Needle, place: &str, action: LeakAction) {
    // A journal that fails stays failed: closing the account reports it as the host's fault.
    if let Err(error) = ledger.leak(needle, place, action) {
        tracing::debug!(%error, "could not note a leak");
    }
}

pub(super) fn leak(needle: &Needle, place: &'static str) -> Refused {
    Refused::Leak {
        name: needle.name.to_string(),
        kind: needle.kind,
        place,
    }
}

impl http_body::Body for Searched {
    type Data = Bytes;
    type Error = Refused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refused>>> {
        loop {
            if self.state == State::Over {
                return Poll::Ready(None);
            }
            let taken = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.takes(data),
                    // Trailers of a response; of a request, they are refused. What is held back comes first,
                    // and nothing reads them afterwards.
                    Err(_) => {
                        self.state = State::Over;
                        self.ends()
                    }
                },
                Some(Err(refused)) => {
                    self.state = State::Over;
                    Err(refused)
                }
                None => {
                    self.state = State::Over;
                    self.ends()
                }
            };
            match taken {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(refused) => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Err(refused)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Before its end something may still be held back.
        self.state == State::Over || (self.state == State::Begins && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match (self.search.policy, self.state) {
            // What is cut out makes it shorter.
            (Leaks::Redact, _) if !self.body.is_end_stream() => SizeHint::default(),
            (_, State::Begins) => self.body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
