//! MCP over HTTP ("streamable HTTP"): every request goes through [`Way`], and no redirect is followed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, Full};
use rmcp::model::{ClientJsonRpcMessage, RequestId};
use rmcp::transport::streamable_http_client::{
    HttpStatusError, SseError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse,
};
use serde_json::Value;
use sse_stream::{Sse, SseStream};
use tokio::time::timeout;

use super::answer::{self, Asked, failure, older};
use super::handler::shown;
use super::lines::{DISCOVERY, MAX_MESSAGE};
use crate::egress::{Body, Refused, Way};

/// Longest body of an error that is read, in bytes.
const MAX_ERROR: usize = 64 << 10;

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// HTTP for rmcp.
#[derive(Clone)]
pub(super) struct Client {
    way: Way,
    waiting: Waiting,
}

/// The requests whose answers come in events: a stream may be taken up again under another request.
type Waiting = Arc<Mutex<HashMap<RequestId, Asked>>>;

type Failed = StreamableHttpError<Refused>;

impl Client {
    pub(super) fn new(way: Way) -> Client {
        Client {
            way,
            waiting: Waiting::default(),
        }
    }

    async fn send(
        &self,
        method: Method,
        uri: &str,
        session: Option<&str>,
        last_event: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
        message: Option<&ClientJsonRpcMessage>,
    ) -> Result<Response<Body>, Failed> {
        let text = |value: &str| {
            HeaderValue::from_str(value)
                .map_err(|_| unexpected("a header of the server's cannot be sent back"))
        };
        let body = match message {
            Some(message) => serde_json::to_vec(message)?,
            None => Vec::new(),
        };
        let mut request = Request::new(full(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri
            .parse()
            .map_err(|_| unexpected("the url cannot be used"))?;
        let all = request.headers_mut();
        all.extend(headers);
        all.insert(
            ACCEPT,
            HeaderValue::from_static("text/event-stream, application/json"),
        );
        if message.is_some() {
            all.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        }
        if let Some(session) = session {
            all.insert(SESSION, text(session)?);
        }
        if let Some(id) = last_event {
            all.insert(LAST_EVENT, text(id)?);
        }
        self.way
            .send(request)
            .await
            .map_err(StreamableHttpError::Client)
    }
}

impl Client {
    async fn post(
        &self,
        uri: &str,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
        max: usize,
        request: Option<&(RequestId, Asked)>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let sent = self.send(Method::POST, uri, session, None, headers, Some(message));
        let response = sent.await?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && session.is_some() {
            return Err(StreamableHttpError::SessionExpired);
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let kind = content_type(&response);
        let session = response
            .headers()
            .get(SESSION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        if !status.is_success() {
            let location = response.headers().get(LOCATION);
            let location = location
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            // A refusal may say more in its body.
            let body = match kind.as_deref() {
                Some(JSON) => whole(response, MAX_ERROR).await.unwrap_or_default(),
                _ => Vec::new(),
            };
            let said = serde_json::from_slice(&body).unwrap_or_default();
            let asked = request.map_or(Asked::Other, |it| it.1);
            let refused = Status {
                status,
                url: uri,
                location: location.as_deref(),
                said: &said,
            };
            return Err(StreamableHttpError::UnexpectedServerResponse(
                refused.words(asked).into(),
            ));
        }
        let Some((id, asked)) = request else {
            // Whatever the answer to a notification is: some send an empty 200.
            return Ok(StreamableHttpPostResponse::Accepted);
        };
        match kind.as_deref() {
            Some(EVENTS) => {
                lock(&self.waiting).insert(id.clone(), *asked);
                let events = self.events(response, max, Some(id.clone()));
                Ok(StreamableHttpPostResponse::Sse(events, session))
            }
            Some(JSON) => {
                let body = whole(response, MAX_MESSAGE).await?;
                let message = serde_json::from_slice(&body)
                    .map_err(|_| unexpected("the server's answer is no JSON"))?;
                // It answers the request it came on, whatever its id.
                let message = match message {
                    Value::Array(batch) => batch.into_iter().find(answer::is_answer),
                    message => Some(message).filter(answer::is_answer),
                };
                let message = message.ok_or_else(|| {
                    unexpected("the server's answer is neither a result nor an error")
                })?;
                let message = answer::read(message, id, *asked);
                Ok(StreamableHttpPostResponse::Json(message, session))
            }
            kind => {
                let kind = shown(kind.unwrap_or("nothing that says what it is"));
                let text = format!(
                    "it answers with {kind} (HTTP {}), which is no message of MCP; is the URL that of the server?",
                    status.as_u16()
                );
                Err(StreamableHttpError::UnexpectedServerResponse(text.into()))
            }
        }
    }

    /// The events of a body, with the answers in them put in order. Those without a usable id are taken for the
    /// answer to `request`.
    fn events(
        &self,
        response: Response<Body>,
        max: usize,
        request: Option<RequestId>,
    ) -> BoxStream<'static, Result<Sse, SseError>> {
        let waiting = self.waiting.clone();
        let ordered = move |event: Result<Sse, SseError>| {
            event.map(|event| in_order(event, request.as_ref(), &waiting))
        };
        events(response, max).map(ordered).boxed()
    }
}

/// An event whose data is an answer, with the answer put in order.
fn in_order(mut event: Sse, request: Option<&RequestId>, waiting: &Waiting) -> Sse {
    let is_message = event.event.as_deref().is_none_or(|it| it == "message");
    let data = event.data.as_deref().map(str::trim).unwrap_or_default();
    if !is_message || data.is_empty() {
        return event;
    }
    let ordered = match serde_json::from_str::<Value>(data) {
        Ok(message) if answer::is_answer(&message) => {
            let id = answer::id_of(&message);
            let Some(id) = id.or_else(|| request.cloned()) else {
                return event;
            };
            let asked = lock(waiting).remove(&id).unwrap_or(Asked::Other);
            serde_json::to_string(&answer::read(message, &id, asked))
        }
        Ok(_) => return event,
        // Something else than an answer is not waited for.
        Err(_) => match request {
            Some(id) if lock(waiting).remove(id).is_some() => {
                let text = "the server's answer is no JSON";
                serde_json::to_string(&failure(id.clone(), text))
            }
            _ => return event,
        },
    };
    if let Ok(text) = ordered {
        event.data = Some(text);
    }
    event
}

/// A refusal of a request.
struct Status<'a> {
    status: StatusCode,
    url: &'a str,
    location: Option<&'a str>,
    /// Its body, where that is JSON.
    said: &'a Value,
}

impl Status<'_> {
    /// What it means, and what to do.
    fn words(&self, asked: Asked) -> String {
        let code = self.status.as_u16();
        let said = self.said();
        let is_first = matches!(asked, Asked::Initialize | Asked::Discover);
        match code {
            401 => format!(
                "it wants a credential (HTTP 401{}); name a secret for it in a grants file: \
                 `secret = \"NAME\"` of its `[[mcp-servers]]`",
                with(&said)
            ),
            403 => format!(
                "it refuses what it is asked, or the secret it is given (HTTP 403{})",
                with(&said)
            ),
            301 | 302 | 303 | 307 | 308 => {
                let base = url::Url::parse(self.url).ok();
                let target = self.location.and_then(|it| base?.join(it).ok());
                match target {
                    Some(target) => format!(
                        "it redirects to {} (HTTP {code}), and no redirect is followed; give that URL if it is the \
                         server's",
                        shown(target.as_str())
                    ),
                    None => format!("it redirects, and does not say where to (HTTP {code})"),
                }
            }
            404 if is_first => {
                format!(
                    "there is no tool server at this URL (HTTP 404{})",
                    with(&said)
                )
            }
            405 if is_first => "it takes no POST (HTTP 405): servers of the old transport, HTTP with SSE, do not, and \
                    that is not spoken; its URL for streamable HTTP often ends in /mcp"
                .to_owned(),
            _ => match said {
                Some(said) => format!("{said} (HTTP {code})"),
                None => format!("the server answers with HTTP {}", self.status),
            },
        }
    }

    /// What the body says, in its words.
    fn said(&self) -> Option<String> {
        let error = self.said.get("error");
        let texts = [
            error.and_then(|error| error.get("message")),
            self.said.get("error_description"),
            self.said.get("message"),
            self.said.get("detail"),
            error,
        ];
        let text = texts.into_iter().flatten().find_map(Value::as_str)?;
        Some(shown(text)).filter(|text| !text.is_empty())
    }
}

fn with(said: &Option<String>) -> String {
    let said = said.as_ref().map(|said| format!(": {said}"));
    said.unwrap_or_default()
}

/// What came of a request, in words.
fn words(error: &Failed) -> String {
    match error {
        StreamableHttpError::UnexpectedServerResponse(text) => text.to_string(),
        StreamableHttpError::Client(refused) => super::chain(refused),
        StreamableHttpError::ResponseBodyTooLarge { .. } => {
            "the server's answer has more than 16 MiB".to_owned()
        }
        error => shown(&super::chain(error)),
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<RequestId, Asked>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StreamableHttpClient for Client {
    type Error = Refused;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let max = MAX_MESSAGE;
        self.post_message_with_max_sse_event_size(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            max,
        )
        .await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max: usize,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let request = match &message {
            ClientJsonRpcMessage::Request(it) => Some((it.id.clone(), Asked::of(&it.request))),
            _ => None,
        };
        let posted = self.post(
            &uri,
            &message,
            session_id.as_deref(),
            custom_headers,
            max,
            request.as_ref(),
        );
        let Some((id, asked)) = &request else {
            return posted.await;
        };
        let told = |message| Ok(StreamableHttpPostResponse::Json(message, None));
        if *asked == Asked::Discover {
            // Whatever comes of it that is no answer: the server is tried with an older protocol.
            return match timeout(DISCOVERY, posted).await {
                Ok(Ok(StreamableHttpPostResponse::Accepted)) => {
                    told(older(id.clone(), "it does not answer `server/discover`"))
                }
                Ok(Ok(answered)) => Ok(answered),
                Ok(Err(error)) => told(older(id.clone(), &words(&error))),
                Err(_) => told(older(id.clone(), "it does not answer `server/discover`")),
            };
        }
        match posted.await {
            // Whoever waits is told in words; a session that is gone is made anew instead.
            Err(error) if !matches!(error, StreamableHttpError::SessionExpired) => {
                told(failure(id.clone(), &words(&error)))
            }
            answered => answered,
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failed> {
        let response = self
            .send(
                Method::DELETE,
                &uri,
                Some(&session_id),
                None,
                custom_headers,
                None,
            )
            .await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                Err(StreamableHttpError::ServerDoesNotSupportDeleteSession)
            }
            status if status.is_success() => Ok(()),
            status => Err(HttpStatusError::new(status.as_u16(), None).into()),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let max = MAX_MESSAGE;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            max,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
        max: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let response = self
            .send(
                Method::GET,
                &uri,
                session_id.as_deref(),
                last_event_id.as_deref(),
                custom_headers,
                None,
            )
            .await?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => {
                Err(HttpStatusError::new(status.as_u16(), None).into())
            }
            _ if content_type(&response).as_deref() == Some(EVENTS) => {
                Ok(self.events(response, max, None))
            }
            _ => Err(StreamableHttpError::UnexpectedContentType(content_type(
                &response,
            ))),
        }
    }
}

fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn unexpected(text: &'static str) -> Failed {
    StreamableHttpError::UnexpectedServerResponse(text.into())
}

/// The media type, without its parameters.
fn content_type(response: &Response<Body>) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}

async fn whole(response: Response<Body>, max: usize) -> Result<Vec<u8>, Failed> {
    let mut body = BodyStream::new(response.into_body());
    let mut read = Vec::new();
    while let Some(frame) = body.next().await {
        let frame = frame.map_err(StreamableHttpError::Client)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.len() > max {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: max });
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}

/// Why a stream of events was given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Refused(Refused),
    #[error("an event has more than {max} bytes")]
    TooLong { max: usize },
}

/// The events of a body, each of at most `max` bytes.
fn events(response: Response<Body>, max: usize) -> BoxStream<'static, Result<Sse, SseError>> {
    let mut since_blank = 0_usize;
    let mut last = b'\n';
    let bytes = BodyStream::new(response.into_body()).filter_map(move |frame| {
        let checked = match frame {
            Err(refused) => Some(Err(Broken::Refused(refused))),
            Ok(frame) => frame.into_data().ok().map(|data| {
                for byte in &data {
                    let is_break = matches!(byte, b'\n' | b'\r');
                    if is_break && matches!(last, b'\n' | b'\r') {
                        since_blank = 0;
                    } else {
                        since_blank += 1;
                    }
                    last = *byte;
                    if since_blank > max {
                        return Err(Broken::TooLong { max });
                    }
                }
                Ok(data)
            }),
        };
        std::future::ready(checked)
    });
    SseStream::from_bytes_stream(bytes).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::StreamBody;
    use proptest::prelude::*;

    fn response(parts: Vec<Vec<u8>>) -> Response<Body> {
        let frames = parts
            .into_iter()
            .map(|part| Ok(http_body::Frame::data(Bytes::from(part))));
        Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
    }

    #[tokio::test]
    async fn an_event_that_never_ends_ends_the_stream() {
        let long = vec![b"data: ok\n\n".to_vec(), vec![b'x'; 600], vec![b'x'; 600]];
        let events: Vec<_> = events(response(long), 1000).collect().await;
        assert_eq!(events[0].as_ref().unwrap().data.as_deref(), Some("ok"));
        let error = events[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("1000 bytes"), "{error}");
        assert!(whole(response(vec![vec![0; 11]]), 10).await.is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_events_or_an_error(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let events: Vec<_> = events(response(parts), 100).collect().await;
                assert!(events.len() <= 1000);
            });
        }
    }
}
