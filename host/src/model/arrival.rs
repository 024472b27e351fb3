//! The answer to one request, as it arrives.

use super::Reply;
use super::error::Failed;
use super::exchange::{Arrived, Exchange};
use super::scripted::Playing;
use super::wire::Failure;

/// The answer to one request, as it arrives. Dropping it closes the connection.
#[derive(Debug)]
pub(super) enum Arrival {
    /// From a script.
    Scripted(Playing),
    /// From a provider.
    Http(Exchange),
}

impl Arrival {
    /// Waits for what comes next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Arrived, Failed> {
        match self {
            Arrival::Scripted(playing) => {
                let piece = playing.next().await?;
                Ok(piece.map_or(Arrived::End, Arrived::Piece))
            }
            Arrival::Http(exchange) => exchange.next().await,
        }
    }

    /// True when the answer is whole as far as anybody can tell, though its end has not come.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Arrival::Scripted(_) => false,
            Arrival::Http(exchange) => exchange.is_settled(),
        }
    }

    /// The reply, or the part of it that has arrived.
    pub(super) fn reply(&self) -> Result<Reply, Failure> {
        match self {
            Arrival::Scripted(playing) => playing.reply(),
            Arrival::Http(exchange) => exchange.reply(),
        }
    }

    /// The part that has arrived, or at least what it took.
    pub(super) fn partial(&self) -> Option<Reply> {
        match self {
            Arrival::Scripted(playing) => playing.reply().ok(),
            Arrival::Http(exchange) => Some(exchange.partial()),
        }
    }
}
