//! One MCP server: connecting to it, listing what it has, calling it.

mod handler;
mod http;
mod lines;
mod process;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_types::{HeaderName, HeaderValue};
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientNotification, ClientRequest, GetPromptRequest,
    GetPromptRequestParams, GetPromptResult, ListPromptsRequest, ListResourcesRequest,
    ListToolsRequest, PaginatedRequestParams, Prompt, ReadResourceRequest,
    ReadResourceRequestParams, ReadResourceResult, RequestId, Resource, ServerResult, Tool,
};
use rmcp::service::ClientInitializeError;
use rmcp::service::{Peer, PeerRequestOptions, RunningService, ServiceError, serve_client};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpClientWorker,
};
use rmcp::transport::worker::WorkerTransport;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::handler::{Handler, shown};
use self::process::Process;
use super::CallError;
use super::watch::Watch;
use crate::egress::Way;
use crate::grants::CommandLine;

use ::http as http_types;

/// Tools one server may list, those that are not granted included.
const MAX_TOOLS: usize = 20_000;

/// Resources or prompts of a server that are listed.
pub(crate) const MAX_LISTED: usize = 1000;

/// Pages of a list that are asked for.
const MAX_PAGES: usize = 1000;

/// Bytes of one list, over all its pages.
const MAX_LIST: usize = 16 << 20;

/// Bytes of what a server writes to standard error that are kept.
const MAX_STDERR: usize = 256 << 10;

/// Lines of it that are kept.
const MAX_STDERR_LINES: u32 = 1000;

/// Longest line of it that is kept whole, in bytes.
const MAX_STDERR_LINE: u64 = 4 << 10;

/// How a server is reached.
#[derive(Clone)]
pub(crate) enum Reach {
    /// A program the host starts.
    Command(CommandLine),
    /// A URL.
    Http {
        /// Absolute.
        url: String,
        /// Headers of every request.
        headers: BTreeMap<String, String>,
        /// The way to it.
        way: Way,
    },
}

/// A connection to a server. Dropping it ends the server where the host has started it.
pub(crate) struct Connection {
    peer: Peer<RoleClient>,
    service: Mutex<Option<RunningService<RoleClient, Handler>>>,
    program: Mutex<Option<Program>>,
    /// Calls that wait for their result.
    calls: Arc<AtomicU32>,
    /// The server's own name and version.
    pub(crate) title: Option<String>,
    /// How to use it, in its own words.
    pub(crate) instructions: Option<String>,
}

/// A program and who reads what it writes to standard error: he ends with the stream.
struct Program {
    process: Process,
    stderr: JoinHandle<()>,
}

/// Connects to a server, shakes hands, and lists its tools.
///
/// # Errors
///
/// Why it cannot be used, in words that are fit to be shown. The caller limits the time.
pub(crate) async fn dial(
    id: &str,
    reach: Reach,
    watch: &Watch,
) -> Result<(Connection, Vec<Tool>), String> {
    let calls = Arc::new(AtomicU32::new(0));
    let id: Arc<str> = Arc::from(id);
    let handler = Handler::new(id.clone(), watch.clone(), calls.clone());
    let (service, program) = match reach {
        Reach::Command(line) => {
            let mut program = spawn(&id, &line, watch)?;
            let (stdin, stdout) = program.1;
            let served = serve_client(handler, lines::Lines::new(stdout, stdin)).await;
            let service = served.map_err(|error| match program.0.process.ended() {
                Some(status) => format!("it ended before it was connected ({status})"),
                // It has closed its output, and is not gone yet.
                None if matches!(error, ClientInitializeError::ConnectionClosed(_)) => {
                    "it ended before it was connected".to_owned()
                }
                None => shown(&error.to_string()),
            })?;
            (service, Some(program.0))
        }
        Reach::Http { url, headers, way } => {
            let mut config = StreamableHttpClientTransportConfig::with_uri(url);
            config.custom_headers = header_map(headers)?;
            config.max_sse_event_size = lines::MAX_MESSAGE;
            let worker = StreamableHttpClientWorker::new(http::Client::new(way), config);
            let service = serve_client(handler, WorkerTransport::spawn(worker)).await;
            (service.map_err(|error| shown(&chain(&error)))?, None)
        }
    };
    let peer = service.peer().clone();
    let info = peer.peer_info();
    let title = info.as_ref().and_then(|info| {
        let server = info.server_info.as_ref()?;
        Some(shown(&format!("{} {}", server.name, server.version)))
    });
    let instructions = info
        .as_ref()
        .and_then(|info| info.instructions.as_deref())
        .map(|text| cut(text, 16 << 10));
    let has_tools = info.is_some_and(|info| info.capabilities.tools.is_some());
    let connection = Connection {
        peer,
        service: Mutex::new(Some(service)),
        program: Mutex::new(program),
        calls,
        title,
        instructions,
    };
    let tools = if has_tools {
        connection.tools().await?
    } else {
        Vec::new()
    };
    Ok((connection, tools))
}

type Pipes = (tokio::process::ChildStdin, tokio::process::ChildStdout);

fn spawn(id: &Arc<str>, line: &CommandLine, watch: &Watch) -> Result<(Program, Pipes), String> {
    let program = line.words.first().map(String::as_str).unwrap_or_default();
    let (process, streams) =
        Process::start(line).map_err(|error| process::hint(&error, program))?;
    watch.server(id, "started", line.to_string());
    let stderr = tokio::spawn(keep_stderr(id.clone(), streams.stderr, watch.clone()));
    let program = Program { process, stderr };
    Ok((program, (streams.stdin, streams.stdout)))
}

/// Keeps what a server writes to standard error, up to a limit, and reads the rest: a server must not
/// hang because nobody listens.
async fn keep_stderr(id: Arc<str>, stderr: ChildStderr, watch: Watch) {
    let mut stderr = BufReader::new(stderr);
    let (mut kept, mut lines, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        match (&mut stderr)
            .take(MAX_STDERR_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) if kept > MAX_STDERR || lines > MAX_STDERR_LINES => {}
            Ok(read) => {
                kept += read;
                lines += 1;
                let text = String::from_utf8_lossy(&line);
                watch.server(&id, "stderr", text.trim_end().to_owned());
                if kept > MAX_STDERR || lines > MAX_STDERR_LINES {
                    let text = "[it writes more to standard error; the rest is left out]";
                    watch.server(&id, "stderr", text.to_owned());
                }
            }
        }
    }
}

fn header_map(
    headers: BTreeMap<String, String>,
) -> Result<HashMap<HeaderName, HeaderValue>, String> {
    let parsed = headers.into_iter().map(|(name, value)| {
        let wrong = || format!("the header `{}` cannot be sent", shown(&name));
        let parsed = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        Ok((parsed, HeaderValue::try_from(value).map_err(|_| wrong())?))
    });
    parsed.collect()
}

/// An error and what led to it: rmcp's own text often leaves out what happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// The beginning of `text`, up to `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> String {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
        .to_owned()
}

impl Connection {
    /// Whether it still answers, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.peer.is_transport_closed()
    }

    async fn tools(&self) -> Result<Vec<Tool>, String> {
        let mut tools = Vec::new();
        let (mut bytes, mut cursor) = (0, None);
        for _ in 0..MAX_PAGES {
            let request = ListToolsRequest {
                method: Default::default(),
                params: Some(PaginatedRequestParams::default().with_cursor(cursor)),
                extensions: Default::default(),
            };
            let answer = self.ask(ClientRequest::ListToolsRequest(request)).await;
            let page = match answer {
                Ok(ServerResult::ListToolsResult(page)) => page,
                Ok(_) => {
                    return Err(
                        "it answered the question for its tools with something else".to_owned()
                    );
                }
                Err(error) => return Err(format!("it does not list its tools: {error}")),
            };
            bytes += weight(&page.tools);
            tools.extend(page.tools);
            if bytes > MAX_LIST {
                return Err(format!("its list of tools has more than {MAX_LIST} bytes"));
            }
            if tools.len() > MAX_TOOLS {
                return Err(format!("it lists more than {MAX_TOOLS} tools"));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(format!("its list of tools has more than {MAX_PAGES} pages"))
    }

    /// Calls a tool.
    ///
    /// # Errors
    ///
    /// The time is over, the server is gone, or it did not answer with a result.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        time: Duration,
    ) -> Result<CallToolResult, CallError> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        match self.within(time, request).await? {
            ServerResult::CallToolResult(result) => Ok(result),
            ServerResult::InputRequiredResult(_) => Err(CallError::Unavailable(
                "the tool asks for input, which nobody can give".to_owned(),
            )),
            _ => Err(no_answer()),
        }
    }

    /// Lists its resources.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub(crate) async fn resources(&self, time: Duration) -> Result<Vec<Resource>, CallError> {
        let mut all = Vec::new();
        let (mut bytes, mut cursor) = (0, None);
        loop {
            let request = ListResourcesRequest {
                method: Default::default(),
                params: Some(PaginatedRequestParams::default().with_cursor(cursor)),
                extensions: Default::default(),
            };
            let request = ClientRequest::ListResourcesRequest(request);
            let ServerResult::ListResourcesResult(page) = self.within(time, request).await? else {
                return Err(no_answer());
            };
            let is_empty = page.resources.is_empty();
            bytes += weight(&page.resources);
            if bytes > MAX_LIST {
                return Err(too_long());
            }
            all.extend(page.resources);
            cursor = page.next_cursor;
            if cursor.is_none() || is_empty || all.len() >= MAX_LISTED {
                all.truncate(MAX_LISTED);
                return Ok(all);
            }
        }
    }

    /// Reads a resource.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub(crate) async fn read(
        &self,
        uri: &str,
        time: Duration,
    ) -> Result<ReadResourceResult, CallError> {
        let params = ReadResourceRequestParams::new(uri);
        let request = ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params));
        match self.within(time, request).await? {
            ServerResult::ReadResourceResult(result) => Ok(result),
            _ => Err(no_answer()),
        }
    }

    /// Lists its prompts.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub(crate) async fn prompts(&self, time: Duration) -> Result<Vec<Prompt>, CallError> {
        let mut all = Vec::new();
        let (mut bytes, mut cursor) = (0, None);
        loop {
            let request = ListPromptsRequest {
                method: Default::default(),
                params: Some(PaginatedRequestParams::default().with_cursor(cursor)),
                extensions: Default::default(),
            };
            let request = ClientRequest::ListPromptsRequest(request);
            let ServerResult::ListPromptsResult(page) = self.within(time, request).await? else {
                return Err(no_answer());
            };
            let is_empty = page.prompts.is_empty();
            bytes += weight(&page.prompts);
            if bytes > MAX_LIST {
                return Err(too_long());
            }
            all.extend(page.prompts);
            cursor = page.next_cursor;
            if cursor.is_none() || is_empty || all.len() >= MAX_LISTED {
                all.truncate(MAX_LISTED);
                return Ok(all);
            }
        }
    }

    /// Fills in a prompt.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub(crate) async fn prompt(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        time: Duration,
    ) -> Result<GetPromptResult, CallError> {
        let params = GetPromptRequestParams::new(name).with_arguments(arguments);
        let request = ClientRequest::GetPromptRequest(GetPromptRequest::new(params));
        match self.within(time, request).await? {
            ServerResult::GetPromptResult(result) => Ok(result),
            _ => Err(no_answer()),
        }
    }

    async fn within(
        &self,
        time: Duration,
        request: ClientRequest,
    ) -> Result<ServerResult, CallError> {
        let answer = timeout(time, self.ask(request)).await;
        let over = CallError::TimedOut(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        answer.unwrap_or(Err(over))
    }

    /// Sends a request and waits for its answer. A request that is not waited for to the end is cancelled.
    async fn ask(&self, request: ClientRequest) -> Result<ServerResult, CallError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let _calling = Calling(&self.calls);
        let options = PeerRequestOptions::no_options();
        let sent = self.peer.send_cancellable_request(request, options).await;
        let mut request = sent.map_err(|error| self.unavailable(&error))?;
        let mut waiting = Cancel {
            peer: self.peer.clone(),
            id: Some(request.id.clone()),
        };
        let answer = (&mut request.rx).await;
        waiting.id = None;
        answer
            .unwrap_or(Err(ServiceError::TransportClosed))
            .map_err(|error| self.unavailable(&error))
    }

    fn unavailable(&self, error: &ServiceError) -> CallError {
        let text = match error {
            ServiceError::McpError(error) => shown(&error.message),
            ServiceError::TransportClosed => {
                let mut program = self.program.lock().unwrap_or_else(PoisonError::into_inner);
                match program.as_mut().and_then(|it| it.process.ended()) {
                    Some(status) => format!("the server is gone ({status})"),
                    None => "the server is gone".to_owned(),
                }
            }
            error => shown(&chain(error)),
        };
        CallError::Unavailable(text)
    }

    /// Closes the connection, and ends the server where the host has started it. Bounded.
    pub(crate) async fn close(&self) {
        const CLOSING: Duration = Duration::from_secs(2);
        let service = lock(&self.service).take();
        if let Some(mut service) = service {
            // A server that does not listen any more is not waited for.
            let _ = service.close_with_timeout(CLOSING).await;
        }
        let program = lock(&self.program).take();
        if let Some(Program { process, stderr }) = program {
            process.end().await;
            let aborted = stderr.abort_handle();
            // What it started may still hold the stream.
            if timeout(Duration::from_millis(200), stderr).await.is_err() {
                aborted.abort();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a list takes as JSON, in bytes.
fn weight<T: serde::Serialize>(items: &[T]) -> usize {
    serde_json::to_vec(items).map_or(usize::MAX / 2, |text| text.len())
}

fn too_long() -> CallError {
    CallError::Unavailable(format!("the server's list has more than {MAX_LIST} bytes"))
}

fn no_answer() -> CallError {
    CallError::Unavailable("the server answered something else".to_owned())
}

/// Counts a call for as long as it lasts.
struct Calling<'a>(&'a AtomicU32);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells the server that nobody waits any more.
struct Cancel {
    peer: Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let peer = self.peer.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let params = CancelledNotificationParam::new(
                Some(id),
                Some("not waited for any more".to_owned()),
            );
            let cancelled = CancelledNotification::new(params);
            let _ = peer
                .send_notification(ClientNotification::CancelledNotification(cancelled))
                .await;
        });
    }
}
