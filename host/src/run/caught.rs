//! Panics: a defect of the host ends the run it happened in, and no other.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The host panicked while it did something for a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host panicked: {message}")]
pub(super) struct Panicked {
    message: String,
}

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Panicked {
        let message = payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".to_owned());
        Panicked { message }
    }
}

/// A future that ends with [`Panicked`] instead of unwinding into whoever polls it.
///
/// What the future shares with the rest of the run has to stand a panic at any point: the ledger and the
/// meters do, as each report is done under one lock that is taken again after a panic. The store does
/// not, and is dropped.
pub(super) fn caught<F: Future>(future: F) -> Caught<F> {
    Caught {
        future: Box::pin(future),
    }
}

pub(super) struct Caught<F> {
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Panicked::new(payload.as_ref()))),
        }
    }
}
