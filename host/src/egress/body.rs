//! Bodies on their way: counted, capped, and not waited for without end.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

use super::book::Entry;
use super::client::{Tasks, header_bytes, protocol};
use super::{Body, Part, Refused, Waiting};

/// When a request body last moved.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(super) fn now() -> Progress {
        Progress(Arc::new(Mutex::new(Instant::now())))
    }

    pub(super) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A request body on its way out.
pub(super) struct Outgoing {
    pub(super) body: Body,
    pub(super) entry: Arc<Entry>,
    pub(super) progress: Progress,
    /// `content-length`, where it is declared.
    pub(super) declared: Option<u64>,
    pub(super) max: u64,
    pub(super) sent: u64,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Refused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refused>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.progress.moved();
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(self.passes(frame)),
            Some(Err(refused)) => Some(Err(refused)),
            None if self.declared.is_some_and(|declared| self.sent < declared) => {
                Some(Err(Refused::Malformed {
                    part: Part::Body,
                    what: "its body is shorter than its `content-length`",
                }))
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.declared.is_none_or(|declared| self.sent >= declared)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Outgoing {
    fn passes(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Refused> {
        let Some(data) = frame.data_ref() else {
            // Trailers are a second set of headers that nobody has checked.
            return Err(Refused::Malformed {
                part: Part::Body,
                what: "its body has trailers",
            });
        };
        self.sent = self.sent.saturating_add(data.len() as u64);
        if self.declared.is_some_and(|declared| self.sent > declared) {
            return Err(Refused::Malformed {
                part: Part::Body,
                what: "its body is longer than its `content-length`",
            });
        }
        if self.sent > self.max {
            return Err(self.entry.limit("request-bytes", self.max));
        }
        count(&self.entry.traffic.out, data);
        Ok(frame)
    }
}

fn count(counter: &AtomicU64, data: &Bytes) {
    counter.fetch_add(data.len() as u64, Ordering::Relaxed);
}

/// A response body on its way in. It keeps its connection; dropping it ends both.
pub(super) struct Arriving {
    pub(super) body: Incoming,
    pub(super) entry: Arc<Entry>,
    pub(super) max: u64,
    pub(super) header_max: u64,
    pub(super) idle: Duration,
    pub(super) waiting: Option<Pin<Box<Sleep>>>,
    pub(super) received: u64,
    pub(super) over: bool,
    pub(super) tasks: Option<Tasks>,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Refused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Refused>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let result = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = None;
                self.arrives(frame)
            }
            Poll::Ready(Some(Err(error))) => Err(protocol(&error)),
            Poll::Ready(None) => {
                self.end(None);
                return Poll::Ready(None);
            }
            Poll::Pending => {
                // Since somebody has been waiting: a slow reader is not a slow server.
                let idle = self.idle;
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(idle)));
                ready!(waiting.as_mut().poll(context));
                Err(Refused::Timeout {
                    waiting: Waiting::Body,
                    after: idle,
                })
            }
        };
        if let Err(refused) = &result {
            self.end(Some(refused));
        }
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Arriving {
    fn arrives(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Refused> {
        if let Some(data) = frame.data_ref() {
            self.received = self.received.saturating_add(data.len() as u64);
            count(&self.entry.traffic.incoming, data);
            if self.received > self.max {
                return Err(self.entry.limit("response-bytes", self.max));
            }
        } else if let Some(trailers) = frame.trailers_ref()
            && header_bytes(trailers) > self.header_max
        {
            return Err(self.entry.limit("header-bytes", self.header_max));
        }
        Ok(frame)
    }

    /// It is over: the record is written, and the connection is closed without waiting for a reader.
    fn end(&mut self, refused: Option<&Refused>) {
        self.over = true;
        self.entry.finish(refused);
        self.tasks = None;
        self.permit = None;
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // Who knows that there is nothing more to come does not ask for it.
        let dropped = (!self.body.is_end_stream()).then_some(Refused::Dropped);
        self.end(dropped.as_ref());
    }
}
