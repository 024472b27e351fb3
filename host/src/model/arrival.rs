//! The answer to one request, as it arrives.

use super::error::Failed;
use super::exchange::Exchange;
use super::scripted::Playing;
use super::wire::Failure;
use super::{Delta, Reply};

/// The answer to one request, as it arrives. Dropping it closes the connection.
#[derive(Debug)]
pub(super) enum Arrival {
    /// From a script.
    Scripted(Playing),
    /// From a provider.
    Http(Exchange),
}

impl Arrival {
    /// Waits for the next piece; none once the answer is whole. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Delta>, Failed> {
        match self {
            Arrival::Scripted(playing) => playing.next().await,
            Arrival::Http(exchange) => exchange.next().await,
        }
    }

    /// The reply, or the part of it that has arrived.
    pub(super) fn reply(&self) -> Result<Reply, Failure> {
        match self {
            Arrival::Scripted(playing) => playing.reply(),
            Arrival::Http(exchange) => exchange.reply(),
        }
    }
}
