//! The seam between the host and a provider's wire format.
//!
//! A format is pure: it reads no clock, opens no connection and holds no key. Every request asks for a
//! stream; a server that answers with one JSON document instead is understood as well.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Delta, Reply, Request};

/// Where a provider is.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The provider's id: the part of a model's name before the slash.
    pub provider: String,
    /// Base URL without a trailing slash, for example `https://api.anthropic.com`.
    pub base_url: String,
}

/// What goes over the wire, apart from the key, which is put in later.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// An absolute URL. The method is POST, the content type JSON.
    pub url: String,
    /// Headers beyond the content type.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// A JSON document.
    pub body: Bytes,
}

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// Its `event` field; empty when there is none.
    pub event: String,
    /// Its `data` lines, joined.
    pub data: String,
}

/// A provider's format.
pub trait Wire: Send + Sync {
    /// The request as it goes over the wire.
    ///
    /// # Errors
    ///
    /// What the format cannot express, in words.
    fn outgoing(&self, endpoint: &Endpoint, request: &Request) -> Result<Outgoing, Unsupported>;

    /// A decoder for the answer to one request.
    ///
    /// `inference` is the number of this request within the run, attempts counted: ids of calls that the
    /// provider leaves out are made from it, because they have to be unique within the run and the same
    /// when the run is repeated.
    fn decoder(&self, inference: u64) -> Box<dyn Decoder>;

    /// What an answer with an error status says. `body` is its beginning, 64 KiB at most.
    fn failure(&self, status: http::StatusCode, body: &[u8]) -> Failure;
}

/// Decodes one answer.
pub trait Decoder: Send {
    /// Takes one event of a stream; the pieces it carries.
    ///
    /// # Errors
    ///
    /// The stream reports a failure, or is not in the provider's format.
    fn event(&mut self, event: &ServerEvent) -> Result<Vec<Delta>, Failure>;

    /// Takes the whole answer of a server that does not stream.
    ///
    /// # Errors
    ///
    /// As [`Decoder::event`].
    fn whole(&mut self, answer: &Value) -> Result<(), Failure>;

    /// How far the answer has come.
    fn stage(&self) -> Stage;

    /// What is known of the answer beside its content: model, tokens and cost. Known even of an answer that
    /// is none, which was paid for all the same.
    fn bill(&self) -> Reply;

    /// What has been put together so far: the reply at the end, the part that arrived before.
    ///
    /// # Errors
    ///
    /// The answer was complete and is not one, such as a call whose arguments are not JSON.
    fn reply(&self) -> Result<Reply, Failure>;
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// More has to come: a body that ends here has been cut off.
    Open,
    /// The model has said why it stopped, and nothing is left open. Some servers say so before the last piece,
    /// so the body is read on; where it ends, the answer is whole.
    Stopped,
    /// The format's own end has come.
    Complete,
}

/// A request that a provider's format has no place for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unsupported(pub String);

/// Something failed on the provider's side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure; decides whether asking again helps.
    pub class: Class,
    /// What the provider said.
    pub message: String,
    /// How long it wants to be left alone, where the document says so. On the tape it is [`Failed`]'s.
    ///
    /// [`Failed`]: super::error::Failed
    #[serde(skip)]
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure by its class and in words.
    #[must_use]
    pub fn new(class: Class, message: impl Into<String>) -> Failure {
        Failure {
            class,
            message: message.into(),
            retry_after: None,
        }
    }
}

/// Classes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The conversation is too long for the model.
    ContextLimit,
    /// Too many requests. Asking again later helps.
    RateLimited,
    /// Overloaded or failing. Asking again later helps.
    Overloaded,
    /// Nothing left to spend.
    UsageLimit,
    /// The key is missing, wrong or not allowed to do this.
    Auth,
    /// Unreachable, cut off, timed out. Asking again helps.
    Network,
    /// Not an answer in the provider's format. Asking again may help, once.
    Garbled,
    /// Refused for another reason.
    Rejected,
    /// The model, or the provider for it, cannot do what was asked.
    Unsupported,
}
