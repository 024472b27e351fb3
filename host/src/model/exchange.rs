//! The answer of a provider over HTTP, as it arrives.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, Full};

use super::error::Failed;
use super::provider::Provider;
use super::sse::{MAX_EVENT, Parser};
use super::wire::{Class, Decoder, Endpoint, Failure, ServerEvent, Stage, Wire};
use super::{Delta, Reply, Request, retry};
use super::{anthropic, gemini, openai_chat, openai_responses};
use crate::egress::{Body, Refused, Timeouts, Way};
use crate::grants::models::Api;

/// Bytes of an answer with an error status that are read.
const MAX_ERROR: usize = 64 << 10;

/// An answer that is arriving.
pub(super) struct Exchange {
    body: Body,
    form: Form,
    decoder: Box<dyn Decoder>,
    events: VecDeque<ServerEvent>,
    deltas: VecDeque<Delta>,
    ended: bool,
    /// Pieces came after a reason to stop: it was not the last word, and may not be now.
    premature: bool,
}

/// What has arrived of an answer.
#[derive(Debug)]
pub(super) enum Arrived {
    /// A piece of it.
    Piece(Delta),
    /// Bytes, of which nothing has come yet. The provider is alive.
    Sign,
    /// Its end: it is whole.
    End,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

/// How the answer comes.
enum Form {
    /// As server-sent events.
    Stream(Parser),
    /// As one JSON document: what is there of it.
    Whole(Vec<u8>),
}

/// The format a provider speaks.
pub(super) fn wire(api: Api) -> &'static dyn Wire {
    match api {
        Api::Anthropic => &anthropic::Messages,
        Api::OpenaiResponses => &openai_responses::Responses,
        Api::OpenaiChat => &openai_chat::ChatCompletions,
        Api::Gemini => &gemini::Gemini,
    }
}

/// Sends a request and waits for the head of the answer.
pub(super) async fn send(
    way: &Way,
    provider: &Provider,
    request: &Request,
    inference: u64,
    idle: Duration,
) -> Result<Exchange, Failed> {
    let wire = wire(provider.api);
    let endpoint = Endpoint {
        provider: provider.id.clone(),
        base_url: provider.base_url.clone(),
    };
    let outgoing = wire
        .outgoing(&endpoint, request)
        .map_err(|unsupported| Failed::new(Class::Unsupported, unsupported.0))?;
    let mut message = http::Request::post(&outgoing.url)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(
            http::header::ACCEPT,
            HeaderValue::from_static("text/event-stream, application/json"),
        )
        .header(http::header::USER_AGENT, user_agent())
        .extension(Timeouts {
            head: Some(idle),
            idle: Some(idle),
            ..Timeouts::default()
        });
    for (name, value) in &outgoing.headers {
        message = message.header(name, value);
    }
    let body = Full::new(outgoing.body).map_err(|never| match never {});
    let message = message
        .body(body.boxed_unsync())
        .map_err(|error| Failed::new(Class::Rejected, format!("cannot ask: {error}")))?;
    let response = way.send(message).await.map_err(refused)?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let retry_after = retry::asked_for(&head.headers, jiff::Timestamp::now());
        let body = beginning(body).await;
        return Err(Failed {
            failure: wire.failure(head.status, &body),
            status: Some(head.status.as_u16()),
            retry_after,
        });
    }
    let is_json = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
    Ok(Exchange {
        body,
        form: if is_json {
            Form::Whole(Vec::new())
        } else {
            Form::Stream(Parser::default())
        },
        decoder: wire.decoder(inference),
        events: VecDeque::new(),
        deltas: VecDeque::new(),
        ended: false,
        premature: false,
    })
}

impl Exchange {
    /// Waits for what comes next. Cancel-safe: what has been read is kept.
    pub(super) async fn next(&mut self) -> Result<Arrived, Failed> {
        loop {
            if let Some(delta) = self.deltas.pop_front() {
                return Ok(Arrived::Piece(delta));
            }
            if let Some(event) = self.events.pop_front() {
                let had_stopped = self.decoder.stage() == Stage::Stopped;
                let deltas = self.decoder.event(&event)?;
                self.premature |= had_stopped && !deltas.is_empty();
                self.deltas.extend(deltas);
                continue;
            }
            match self.decoder.stage() {
                Stage::Complete => return Ok(Arrived::End),
                Stage::Stopped if self.ended => return Ok(Arrived::End),
                Stage::Open if self.ended => {
                    let message = "the answer ended before it was whole";
                    return Err(Failed::new(Class::Network, message));
                }
                Stage::Stopped | Stage::Open => {}
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(&data)?;
                        return Ok(Arrived::Sign);
                    }
                }
                Some(Err(error)) => {
                    let failed = refused(error);
                    if failed.failure.class != Class::Network || !self.is_settled() {
                        return Err(failed);
                    }
                    // It was only the end of the body that was lost.
                    self.ended = true;
                }
                None => {
                    self.ended = true;
                    self.finish()?;
                }
            }
        }
    }

    /// True when the answer is whole as far as anybody can tell, though the body has not ended: the model has
    /// said why it stopped, and nothing has come after that.
    pub(super) fn is_settled(&self) -> bool {
        self.events.is_empty() && self.decoder.stage() == Stage::Stopped && !self.premature
    }

    fn take(&mut self, data: &Bytes) -> Result<(), Failure> {
        match &mut self.form {
            Form::Stream(parser) => self.events.extend(parser.feed(data)?),
            Form::Whole(bytes) => {
                if bytes.len() + data.len() > MAX_EVENT {
                    return Err(Failure {
                        class: Class::Garbled,
                        message: format!("the answer is longer than {MAX_EVENT} bytes"),
                    });
                }
                bytes.extend_from_slice(data);
            }
        }
        Ok(())
    }

    /// The body has ended.
    fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.form {
            Form::Stream(parser) => self.events.extend(parser.finish()),
            Form::Whole(bytes) => {
                let answer = serde_json::from_slice(bytes).map_err(|error| Failure {
                    class: Class::Garbled,
                    message: format!("the answer is not JSON: {error}"),
                })?;
                bytes.clear();
                self.decoder.whole(&answer)?;
            }
        }
        Ok(())
    }

    /// The reply, or the part of it that has arrived.
    pub(super) fn reply(&self) -> Result<Reply, Failure> {
        self.decoder.reply()
    }

    /// The part that has arrived, or at least what it took.
    pub(super) fn partial(&self) -> Reply {
        self.decoder.reply().unwrap_or_else(|_| self.decoder.bill())
    }
}

/// The beginning of an answer with an error status; what cannot be read of it is not there.
async fn beginning(mut body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            let room = MAX_ERROR.saturating_sub(bytes.len());
            bytes.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
        }
        if bytes.len() >= MAX_ERROR {
            break;
        }
    }
    bytes
}

/// What the way out says, as a failure of the provider.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(refused: Refused) -> Failed {
    let class = match &refused {
        Refused::Resolve { .. }
        | Refused::Connect { .. }
        | Refused::Timeout { .. }
        | Refused::Truncated
        | Refused::Protocol { .. }
        | Refused::Dropped => Class::Network,
        Refused::Secret { .. } => Class::Auth,
        // Asking again changes nothing.
        _ => Class::Rejected,
    };
    Failed::new(class, refused.to_string())
}

fn user_agent() -> HeaderValue {
    HeaderValue::from_static(concat!("wasm-agent/", env!("CARGO_PKG_VERSION")))
}
