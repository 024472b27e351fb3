//! One HTTP exchange over one connection, within the limits of the run.

use std::error::Error as _;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::body::{Outgoing, Progress};
use super::connect::Connection;
use super::target::{Scheme, Target};
use super::{Part, Refused, Waiting};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// Most headers of a response.
const MAX_HEADERS: usize = 256;

/// The least buffer hyper reads a head into.
const MIN_BUFFER: u64 = 8 << 10;

/// Headers that are about the connection, not about the request, and those that announce such.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Whether a request must not bring this header along: it is the host's to set, or nobody's.
#[must_use]
pub fn is_forbidden(name: &HeaderName) -> bool {
    *name == header::HOST || *name == header::EXPECT || HOP_BY_HOP.contains(&name.as_str())
}

/// Tasks that end when this is dropped.
#[derive(Clone, Default)]
pub(super) struct Executor(Arc<Mutex<JoinSet<()>>>);

/// Owner of the tasks of an [`Executor`].
pub(super) struct Tasks(Executor);

impl Tasks {
    pub(super) fn new() -> (Tasks, Executor) {
        let executor = Executor::default();
        (Tasks(executor.clone()), executor)
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // A task may hold the executor, and so itself: aborting it breaks the circle.
        let mut tasks = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.abort_all();
    }
}

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Finished ones are of no interest.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            future.await;
        });
    }
}

/// Bytes of headers as HTTP/2 counts them, but with the four of `: ` and the end of a line.
pub(super) fn header_bytes(headers: &HeaderMap) -> u64 {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(line).sum::<usize>() as u64
}

/// Refuses what two servers could read in two ways; `content-length`, where it is declared.
pub(super) fn check_form(
    method: &Method,
    headers: &HeaderMap,
    target: &Target,
) -> Result<Option<u64>, Refused> {
    let malformed = |part, what| Err(Refused::Malformed { part, what });
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return malformed(Part::Method, "its method is about the connection");
    }
    for name in headers.keys() {
        if *name != header::HOST && is_forbidden(name) {
            return malformed(
                Part::Headers,
                "it has a header that is about the connection",
            );
        }
    }
    let authority = target.authority();
    let is_other = |host: &HeaderValue| !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
    if headers.get_all(header::HOST).iter().any(is_other) {
        return malformed(Part::Headers, "its `host` is not the host of its URL");
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let declared = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => match length.to_str().ok().and_then(digits) {
            Some(length) => Some(length),
            None => return malformed(Part::Headers, "its `content-length` is not a number"),
        },
        (Some(_), Some(_)) => {
            return malformed(Part::Headers, "it has more than one `content-length`");
        }
    };
    Ok(declared)
}

/// A number of digits and nothing else: `u64` would read `+5`, too.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// How a request line names its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// To the server itself.
    Origin,
    /// To a proxy.
    Absolute,
}

/// Puts a request into the form that is sent.
fn formed(
    mut request: Request<Outgoing>,
    target: &Target,
    h2: bool,
    form: Form,
) -> Result<Request<Outgoing>, Refused> {
    let malformed = Refused::Malformed {
        part: Part::Url,
        what: "its URL cannot be sent",
    };
    let path = target.path_and_query();
    let uri = if h2 || form == Form::Absolute {
        format!("{}{path}", target.origin())
    } else {
        path.into_owned()
    };
    let uri = Uri::try_from(uri).map_err(|_| malformed.clone())?;
    *request.uri_mut() = uri;
    *request.version_mut() = if h2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    let headers = request.headers_mut();
    if down(Wall::RequestForm) && headers.contains_key(header::HOST) {
        return Ok(request);
    }
    headers.remove(header::HOST);
    if !h2 {
        let authority = HeaderValue::try_from(target.authority());
        headers.insert(header::HOST, authority.map_err(|_| malformed)?);
    }
    Ok(request)
}

/// What an exchange is bounded by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) header_bytes: u64,
    pub(super) head: Duration,
}

/// Sends a request and waits for the head of its response.
pub(super) async fn exchange(
    connection: Connection,
    request: Request<Outgoing>,
    target: &Target,
    form: Form,
    bounds: Bounds,
) -> Result<(Response<Incoming>, Tasks), Refused> {
    let Connection { io, h2 } = connection;
    let progress = request.body().progress.clone();
    let entry = request.body().entry.clone();
    let request = formed(request, target, h2, form)?;
    let (tasks, executor) = Tasks::new();
    let io = TokioIo::new(io);
    let answered = async {
        if h2 {
            let max = u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX);
            let (mut sender, connection) = http2::Builder::new(executor.clone())
                .max_header_list_size(max)
                .handshake(io)
                .await
                .map_err(|error| protocol(&error))?;
            run(&executor, connection);
            sender.ready().await.map_err(|error| protocol(&error))?;
            sender.send_request(request).await
        } else {
            let buffer = usize::try_from(bounds.header_bytes.max(MIN_BUFFER)).unwrap_or(usize::MAX);
            let (mut sender, connection) = http1::Builder::new()
                .max_buf_size(buffer)
                .max_headers(MAX_HEADERS)
                .handshake(io)
                .await
                .map_err(|error| protocol(&error))?;
            run(&executor, connection);
            sender.ready().await.map_err(|error| protocol(&error))?;
            sender.send_request(request).await
        }
        .map_err(|error| match too_large(&error) {
            true => entry.limit("header-bytes", bounds.header_bytes),
            false => protocol(&error),
        })
    };
    let response = patient(answered, &progress, bounds.head).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refused::Protocol {
            reason: "the server wants to speak something else".to_owned(),
        });
    }
    if header_bytes(response.headers()) > bounds.header_bytes {
        return Err(entry.limit("header-bytes", bounds.header_bytes));
    }
    Ok((response, tasks))
}

fn run<E: std::fmt::Display>(
    executor: &Executor,
    connection: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    hyper::rt::Executor::execute(executor, async move {
        if let Err(error) = connection.await {
            // Whoever reads the body is told.
            tracing::debug!(%error, "a connection ended");
        }
    });
}

/// Waits for `answer`, at most for `limit` after the request's body last moved.
async fn patient<T>(
    answer: impl Future<Output = Result<T, Refused>>,
    progress: &Progress,
    limit: Duration,
) -> Result<T, Refused> {
    tokio::pin!(answer);
    loop {
        let deadline = progress.last() + limit;
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = sleep_until(deadline) => {
                if progress.last() + limit <= Instant::now() {
                    return Err(Refused::Timeout { waiting: Waiting::Head, after: limit });
                }
            }
        }
    }
}

/// Whether a response had more of a head than there was room for.
fn too_large(error: &hyper::Error) -> bool {
    error.is_parse_too_large()
}

/// What a failure of the protocol means. Where a body of ours made it fail, that is what it means.
pub(super) fn protocol(error: &hyper::Error) -> Refused {
    let mut cause = error.source();
    let mut ended = error.is_incomplete_message();
    while let Some(source) = cause {
        let io = source.downcast_ref::<std::io::Error>();
        ended |= io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof);
        if let Some(refused) = source.downcast_ref::<Refused>() {
            return refused.clone();
        }
        cause = source.source();
    }
    if ended {
        return Refused::Truncated;
    }
    let mut reason = error.to_string();
    if let Some(source) = error.source() {
        reason = format!("{reason}: {source}");
    }
    Refused::Protocol { reason }
}

/// The form of a request's line to this target.
pub(super) fn form(target: &Target, through_proxy: bool) -> Form {
    match (target.scheme(), through_proxy) {
        (Scheme::Http, true) => Form::Absolute,
        _ => Form::Origin,
    }
}
