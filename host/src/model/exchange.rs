//! The answer of a provider over HTTP, as it arrives.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt as _, Full};

use super::error::Failed;
use super::provider::Provider;
use super::sse::{MAX_EVENT, Parser};
use super::tool_schema::{self, Wrapped};
use super::wire::{Class, Decoder, Endpoint, Failure, ServerEvent, Stage, Wire};
use super::{Delta, Reply, Request, provider_error, refused, retry_after};
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
    status: StatusCode,
    wrapped: Wrapped,
    /// Who was asked, and what: an answer that fails after all may name a part of it.
    provider: Provider,
    sent: Bytes,
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
    /// That is for its first bytes to say, and for its type where they do not: what there is of them.
    Unjudged { begin: Vec<u8>, label: Label },
    /// As server-sent events.
    Stream(Parser),
    /// As one JSON document: what is there of it.
    Whole(Vec<u8>),
}

/// What an answer's type says of it. Gateways get it wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Json,
    Other,
}

/// What the first bytes of an answer say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Events,
    Document,
    Page,
    /// More bytes have to come.
    Open,
}

/// What an answer is, by its first bytes, or by its type where they say nothing.
fn kind_of(begin: &[u8], label: Label, is_all: bool) -> Kind {
    /// Fields of server-sent events.
    const FIELDS: [&[u8]; 5] = [b"data", b"event", b"id", b"retry", b":"];
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    let begin = begin.trim_ascii_start();
    match begin.first() {
        Some(b'{' | b'[') => return Kind::Document,
        Some(b'<') => return Kind::Page,
        _ => {}
    }
    if FIELDS.iter().any(|field| begin.starts_with(field)) {
        return Kind::Events;
    }
    let may_be = |field: &&[u8]| field.starts_with(begin);
    if !is_all && (begin == b"\xef" || begin == b"\xef\xbb" || FIELDS.iter().any(may_be)) {
        return Kind::Open;
    }
    match label {
        Label::Json => Kind::Document,
        Label::Other => Kind::Events,
    }
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

/// Sends a request, without the members that are named, and waits for the head of the answer.
pub(super) async fn send(
    way: &Way,
    provider: &Provider,
    request: &Request,
    without: &BTreeSet<String>,
    inference: u64,
    idle: Duration,
) -> Result<Exchange, Failed> {
    let wire = wire(provider.api);
    let endpoint = Endpoint {
        provider: provider.id.clone(),
        base_url: provider.base_url.clone(),
    };
    let (shown, wrapped) = tool_schema::fitted(request);
    let outgoing = wire
        .outgoing(&endpoint, &shown)
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
    let mut sent = outgoing.body;
    if !without.is_empty()
        && let Ok(mut body) = serde_json::from_slice(&sent)
    {
        refused::without(&mut body, without);
        sent = body.to_string().into();
    }
    let body = Full::new(sent.clone()).map_err(|never| match never {});
    let message = message
        .body(body.boxed_unsync())
        .map_err(|error| Failed::new(Class::Rejected, format!("cannot ask: {error}")))?;
    let response = way.send(message).await.map_err(stopped)?;
    let (head, body) = response.into_parts();
    if !head.status.is_success() {
        let now = jiff::Timestamp::now();
        let body = beginning(body).await;
        let failure = wire.failure(head.status, &body);
        // What the answer itself says is meant for this request; headers on limits are for any.
        let retry_after = retry_after::in_headers(&head.headers, now)
            .or(failure.retry_after)
            .or_else(|| retry_after::in_limits(&head.headers, now));
        return Err(Failed {
            status: Some(head.status.as_u16()),
            retry_after,
            leave_out: named(&failure, &body, &sent),
            failure,
        });
    }
    let is_labelled_json = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            let kind = value.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
    Ok(Exchange {
        body,
        form: Form::Unjudged {
            begin: Vec::new(),
            label: if is_labelled_json {
                Label::Json
            } else {
                Label::Other
            },
        },
        decoder: wire.decoder(inference),
        events: VecDeque::new(),
        deltas: VecDeque::new(),
        ended: false,
        premature: false,
        status: head.status,
        wrapped,
        provider: provider.clone(),
        sent,
    })
}

/// The member of what was sent that an answer refuses.
fn named(failure: &Failure, answer: &[u8], sent: &[u8]) -> Option<String> {
    let sent = serde_json::from_slice(sent).ok()?;
    refused::named(failure, answer, &sent).map(str::to_owned)
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
                let read = self.decoder.event(&event);
                let deltas = read.map_err(|failure| self.failed(failure, event.data.as_bytes()))?;
                self.premature |= had_stopped && !deltas.is_empty();
                self.deltas.extend(self.wrapped.pieces(deltas));
                continue;
            }
            let stage = self.decoder.stage();
            if stage == Stage::Complete || (stage == Stage::Stopped && self.ended) {
                return Ok(self.wrapped.end().map_or(Arrived::End, Arrived::Piece));
            }
            if self.ended {
                let message = "the answer ended before it was whole";
                return Err(Failed::new(Class::Network, message));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(&data)?;
                        return Ok(Arrived::Sign);
                    }
                }
                Some(Err(error)) => {
                    let failed = stopped(error);
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

    /// A failure that comes with a status of success.
    fn failed(&self, failure: Failure, answer: &[u8]) -> Failed {
        self.provider.explained(Failed {
            leave_out: named(&failure, answer, &self.sent),
            ..failure.into()
        })
    }

    fn take(&mut self, data: &Bytes) -> Result<(), Failed> {
        match &mut self.form {
            Form::Unjudged { begin, .. } => {
                begin.extend_from_slice(data);
                self.judge()
            }
            Form::Stream(parser) => {
                self.events.extend(parser.feed(data)?);
                Ok(())
            }
            Form::Whole(bytes) => {
                bytes.extend_from_slice(data);
                Ok(bounded(bytes)?)
            }
        }
    }

    /// Sees what kind of answer this is, as soon as its bytes say so or it has ended.
    fn judge(&mut self) -> Result<(), Failed> {
        let Form::Unjudged { begin, label } = &mut self.form else {
            return Ok(());
        };
        bounded(begin)?;
        match kind_of(begin, *label, self.ended) {
            Kind::Open => {}
            // The beginning of a page says what it is; the end of it may be far.
            Kind::Page => {
                const ENOUGH: usize = 4 << 10;
                if (self.ended || begin.len() >= ENOUGH)
                    && let Some(page) = provider_error::page(begin)
                {
                    let failure = provider_error::from_page(self.status, &page);
                    return Err(self.failed(failure, &[]));
                }
            }
            Kind::Events => {
                let begin = std::mem::take(begin);
                let mut parser = Parser::default();
                self.events.extend(parser.feed(&begin)?);
                self.form = Form::Stream(parser);
            }
            Kind::Document => self.form = Form::Whole(std::mem::take(begin)),
        }
        Ok(())
    }

    /// The body has ended.
    fn finish(&mut self) -> Result<(), Failed> {
        self.judge()?;
        match &mut self.form {
            Form::Unjudged { .. } => {}
            Form::Stream(parser) => self.events.extend(parser.finish()),
            Form::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                let answer = serde_json::from_slice(&bytes).map_err(|error| {
                    Failure::new(Class::Garbled, format!("the answer is not JSON: {error}"))
                })?;
                let read = self.decoder.whole(&answer);
                read.map_err(|failure| self.failed(failure, &bytes))?;
            }
        }
        Ok(())
    }

    /// The reply, or the part of it that has arrived.
    pub(super) fn reply(&self) -> Result<Reply, Failure> {
        let reply = self.decoder.reply()?;
        Ok(self.wrapped.reply(reply))
    }

    /// The part that has arrived, or at least what it took.
    pub(super) fn partial(&self) -> Reply {
        self.decoder.reply().unwrap_or_else(|_| self.decoder.bill())
    }
}

fn bounded(bytes: &[u8]) -> Result<(), Failure> {
    if bytes.len() <= MAX_EVENT {
        return Ok(());
    }
    Err(Failure::new(
        Class::Garbled,
        format!("the answer is longer than {MAX_EVENT} bytes"),
    ))
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
fn stopped(refused: Refused) -> Failed {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_say_what_an_answer_is_and_its_type_only_where_they_do_not() {
        let kind = |begin: &str, label| kind_of(begin.as_bytes(), label, false);
        for label in [Label::Json, Label::Other] {
            for begin in ["{\"a\"", " \r\n[{", "\u{feff}{"] {
                assert_eq!(kind(begin, label), Kind::Document, "{begin}");
            }
            for begin in [
                "data: {",
                "\n\nevent: x",
                ": ping",
                "id:1",
                "retry: 3",
                "\u{feff}data:",
            ] {
                assert_eq!(kind(begin, label), Kind::Events, "{begin}");
            }
            assert_eq!(kind("\n<!DOCTYPE", label), Kind::Page);
            for begin in ["", "\n", "d", "dat", "re", "\u{feff}"] {
                assert_eq!(kind(begin, label), Kind::Open, "{begin:?}");
            }
        }
        assert_eq!(kind("not json", Label::Json), Kind::Document);
        assert_eq!(kind("nonsense", Label::Other), Kind::Events);
        assert_eq!(kind_of(b"da", Label::Json, true), Kind::Document);
        assert_eq!(kind_of(b"", Label::Other, true), Kind::Events);
    }
}
