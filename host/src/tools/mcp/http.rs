//! MCP over HTTP ("streamable HTTP"): every request goes through [`Way`], and no redirect is followed.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, BodyStream, Full};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, SseError, StreamableHttpClient, StreamableHttpError,
    StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};

use super::lines::MAX_MESSAGE;
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
}

type Failed = StreamableHttpError<Refused>;

impl Client {
    pub(super) fn new(way: Way) -> Client {
        Client { way }
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
        let session = session_id.as_deref();
        let asks = matches!(message, ClientJsonRpcMessage::Request(_));
        let response = self
            .send(
                Method::POST,
                &uri,
                session,
                None,
                custom_headers,
                Some(&message),
            )
            .await?;
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
            unauthorized(&response)?;
            // A refusal may say more in its body.
            if kind.as_deref() == Some(JSON) {
                let body = whole(response, MAX_ERROR).await.unwrap_or_default();
                if let Ok(message @ ServerJsonRpcMessage::Error(_)) = serde_json::from_slice(&body)
                {
                    return Ok(StreamableHttpPostResponse::Json(message, session));
                }
            }
            return Err(HttpStatusError::new(status.as_u16(), None).into());
        }
        match kind.as_deref() {
            Some(EVENTS) => Ok(StreamableHttpPostResponse::Sse(
                events(response, max),
                session,
            )),
            Some(JSON) => {
                let body = whole(response, MAX_MESSAGE).await?;
                if body.is_empty() && !asks {
                    return Ok(StreamableHttpPostResponse::Accepted);
                }
                let message = serde_json::from_slice(&body)?;
                Ok(StreamableHttpPostResponse::Json(message, session))
            }
            // Some servers answer a notification with an empty 200.
            _ if !asks => Ok(StreamableHttpPostResponse::Accepted),
            _ => Err(StreamableHttpError::UnexpectedContentType(kind)),
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
                unauthorized(&response)?;
                Err(HttpStatusError::new(status.as_u16(), None).into())
            }
            _ if content_type(&response).as_deref() == Some(EVENTS) => Ok(events(response, max)),
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

fn unauthorized(response: &Response<Body>) -> Result<(), Failed> {
    if response.status() != StatusCode::UNAUTHORIZED {
        return Ok(());
    }
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    Err(StreamableHttpError::AuthRequired(AuthRequiredError::new(
        challenge.to_owned(),
    )))
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
