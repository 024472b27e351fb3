//! One MCP server: connecting to it, listing what it has, calling it.

mod answer;
mod handler;
mod http;
mod lines;
mod process;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_types::{HeaderName, HeaderValue};
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientNotification, ClientRequest, GetPromptRequest,
    GetPromptRequestParams, GetPromptResult, ListPromptsRequest, ListResourcesRequest,
    ListToolsRequest, PaginatedRequestParams, Prompt, ProtocolVersion, ReadResourceRequest,
    ReadResourceRequestParams, ReadResourceResult, RequestId, Resource, ServerResult, Tool,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, PeerRequestOptions, RunningService,
    ServiceError, serve_client_with_lifecycle,
};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransportConfig, StreamableHttpClientWorker,
};
use rmcp::transport::worker::WorkerTransport;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::ChildStderr;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::handler::{Handler, shown};
use self::process::Process;
use super::CallError;
use super::watch::Watch;
use crate::egress::Way;
use crate::grants::CommandLine;
use crate::json::printable;

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

/// Longest last line of it that goes into a message, in bytes.
const MAX_LAST_LINE: usize = 300;

/// How long the end of what a server says is waited for.
const HEARD: Duration = Duration::from_millis(200);

/// How long a server that declares no tools may take to say that it has none.
const UNDECLARED: Duration = Duration::from_secs(3);

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
    /// How long the server may take to end by itself.
    grace: Duration,
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
    /// The last line of it.
    last: LastLine,
}

/// The last line a program has written to standard error, fit to be shown.
type LastLine = Arc<Mutex<String>>;

impl Program {
    /// What it said last, for a message: empty where it has said nothing.
    fn last_words(&self) -> String {
        match lock(&self.last).as_str() {
            "" => String::new(),
            line => format!("; it said: {line}"),
        }
    }

    /// Waits until it has ended and all that it has said is read, within bounds: it may have closed its output
    /// alone, and what it started may still hold the stream. How it ended, if it has.
    async fn gone(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + HEARD;
        loop {
            let ended = self.process.ended();
            let is_all = ended.is_some() && self.stderr.is_finished();
            if is_all || Instant::now() >= until {
                return ended;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it: its input is closed by now.
    async fn end(mut self, grace: Duration) {
        self.process.end(grace).await;
        if !self.stderr.is_finished() && timeout(HEARD, &mut self.stderr).await.is_err() {
            self.stderr.abort();
        }
    }
}

/// How long servers may take.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// To be ready.
    pub(crate) dial: Duration,
    /// To end by themselves.
    pub(crate) close: Duration,
}

/// What a server lists.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) tools: Vec<Tool>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// Something odd of a server's list of tools.
#[derive(Deserialize)]
pub(crate) struct LeftOut {
    /// The tool; nothing for one without a usable name.
    pub(crate) tool: Option<String>,
    pub(crate) why: String,
}

/// What `answer.rs` says of a page.
#[derive(Default, Deserialize)]
struct Noted {
    notes: Vec<LeftOut>,
    /// Tools of the page.
    tools: usize,
}

/// Connects to a server, shakes hands, and lists its tools. One that cannot be used is ended.
///
/// # Errors
///
/// Why it cannot be used, in words that are fit to be shown.
pub(crate) async fn dial(
    id: &str,
    reach: Reach,
    watch: &Watch,
    times: Times,
) -> Result<(Connection, Listed), String> {
    let id: Arc<str> = Arc::from(id);
    let until = Instant::now() + times.dial;
    match reach {
        Reach::Command(line) => {
            let tried = with_program(&id, &line, watch, times, until).await;
            tried.map_err(|reason| match quoted(&line) {
                Some(word) => format!(
                    "{reason}; the word `{}` begins with a quote, which is part of it here: a command with spaces in \
                     its words goes into a grants file, as `command = [\"…\", \"…\"]`",
                    shown(word)
                ),
                None => reason,
            })
        }
        Reach::Http { url, headers, way } => {
            let mut config = StreamableHttpClientTransportConfig::with_uri(url);
            config.custom_headers = header_map(headers)?;
            config.max_sse_event_size = lines::MAX_MESSAGE;
            let worker = StreamableHttpClientWorker::new(http::Client::new(way), config);
            let transport = WorkerTransport::spawn(worker);
            let dialled = async {
                let calls = Arc::new(AtomicU32::new(0));
                let handler = Handler::new(id, watch.clone(), calls.clone());
                let service = serve_client_with_lifecycle(handler, transport, newest()).await;
                let service = service.map_err(|error| words(&error))?;
                let connection = Connection::new(service, None, calls, times.close);
                let listed = connection.listed().await?;
                Ok((connection, listed))
            };
            let dialled = timeout_at(until, dialled).await;
            dialled.unwrap_or_else(|_| Err(not_ready(times)))
        }
    }
}

/// The newest protocol, and where a server does not speak it, the ones before.
fn newest() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    }
}

async fn with_program(
    id: &Arc<str>,
    line: &CommandLine,
    watch: &Watch,
    times: Times,
    until: Instant,
) -> Result<(Connection, Listed), String> {
    let mut protocol = newest();
    loop {
        let calls = Arc::new(AtomicU32::new(0));
        let handler = Handler::new(id.clone(), watch.clone(), calls.clone());
        let (mut program, (stdin, stdout)) = spawn(id, line, watch)?;
        let transport = lines::Lines::new(stdout, stdin);
        let served = serve_client_with_lifecycle(handler, transport, protocol.clone());
        let error = match timeout_at(until, served).await {
            Ok(Ok(service)) => {
                let connection = Connection::new(service, Some(program), calls, times.close);
                let listed = timeout_at(until, connection.listed()).await;
                return match listed.unwrap_or_else(|_| Err(not_ready(times))) {
                    Ok(listed) => Ok((connection, listed)),
                    Err(reason) => {
                        let last = connection.last_words();
                        connection.close().await;
                        Err(format!("{reason}{last}"))
                    }
                };
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let is_gone = error.as_ref().is_some_and(is_gone);
        let reason = match &error {
            None => not_ready(times),
            Some(_) if is_gone => match program.gone().await {
                Some(status) => format!("it ended before it was connected ({status})"),
                // It has closed its output, and is not gone yet.
                None => "it ended before it was connected".to_owned(),
            },
            Some(error) => words(error),
        };
        let last = program.last_words();
        program.end(times.close).await;
        // Some end at the first request they do not know.
        if is_gone && protocol != ClientLifecycleMode::Initialize {
            protocol = ClientLifecycleMode::Initialize;
            continue;
        }
        return Err(format!("{reason}{last}"));
    }
}

/// Whether the server closed its output, or did not read any more.
fn is_gone(error: &ClientInitializeError) -> bool {
    match error {
        ClientInitializeError::ConnectionClosed(_)
        | ClientInitializeError::TransportError { .. } => true,
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => is_gone(fallback),
        _ => false,
    }
}

fn not_ready(times: Times) -> String {
    format!(
        "it is not ready after {} ms (limit `tool-dial`)",
        times.dial.as_millis()
    )
}

/// A word of a command that begins with a quote: as if there were a shell.
fn quoted(line: &CommandLine) -> Option<&str> {
    let mut words = line.words.iter();
    let found = words.find(|word| word.starts_with(['\'', '"']));
    found.map(String::as_str)
}

/// Why a server cannot be connected to, in words.
fn words(error: &ClientInitializeError) -> String {
    match error {
        ClientInitializeError::JsonRpcError(error) => shown(&error.message),
        ClientInitializeError::LegacyFallbackFailed { discover, fallback } => {
            match discover.as_ref() {
                ClientInitializeError::JsonRpcError(error)
                    if error.message.starts_with(answer::SPEAKS) =>
                {
                    shown(&error.message)
                }
                _ => words(fallback),
            }
        }
        ClientInitializeError::ConnectionClosed(_) => "it has closed the connection".to_owned(),
        ClientInitializeError::TransportError { error, .. } => shown(&chain(error.error.as_ref())),
        ClientInitializeError::ExpectedInitResult(_) => {
            "it answers `initialize` with something else".to_owned()
        }
        ClientInitializeError::Cancelled => "the connection was given up".to_owned(),
        _ => "its answer to `initialize` is none".to_owned(),
    }
}

type Pipes = (tokio::process::ChildStdin, tokio::process::ChildStdout);

fn spawn(id: &Arc<str>, line: &CommandLine, watch: &Watch) -> Result<(Program, Pipes), String> {
    let program = line.words.first().map(String::as_str).unwrap_or_default();
    let (process, streams) =
        Process::start(line).map_err(|error| process::hint(&error, program))?;
    watch.server(id, "started", line.to_string());
    let last = LastLine::default();
    let heard = Heard {
        id: id.clone(),
        watch: watch.clone(),
        last: last.clone(),
        env: line.env.clone(),
    };
    let stderr = tokio::spawn(heard.keep(streams.stderr));
    let program = Program {
        process,
        stderr,
        last,
    };
    Ok((program, (streams.stdin, streams.stdout)))
}

/// Who hears what a server writes to standard error.
struct Heard {
    id: Arc<str>,
    watch: Watch,
    last: LastLine,
    /// What the server got from the operator, secrets among it.
    env: BTreeMap<String, String>,
}

impl Heard {
    /// The last line goes into messages, which the agent may read: what the operator gave the server does not.
    fn is_last(&self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let mut line = line.trim().to_owned();
        for (name, value) in &self.env {
            if value.len() >= 6 {
                line = line.replace(value.as_str(), &format!("[{name}]"));
            }
        }
        *lock(&self.last) = printable(&cut(&line, MAX_LAST_LINE));
    }

    /// Keeps what the server writes, up to a limit, and reads the rest: a server must not hang because nobody
    /// listens.
    async fn keep(self, stderr: ChildStderr) {
        let mut stderr = BufReader::new(stderr);
        let (mut kept, mut lines, mut line) = (0, 0, Vec::new());
        loop {
            line.clear();
            let read = (&mut stderr).take(MAX_STDERR_LINE);
            let read = { read }.read_until(b'\n', &mut line).await;
            let Ok(read @ 1..) = read else { return };
            let text = String::from_utf8_lossy(&line);
            self.is_last(&text);
            if kept > MAX_STDERR || lines > MAX_STDERR_LINES {
                continue;
            }
            kept += read;
            lines += 1;
            self.watch
                .server(&self.id, "stderr", text.trim_end().to_owned());
            if kept > MAX_STDERR || lines > MAX_STDERR_LINES {
                let text = "[it writes more to standard error; the rest is left out]";
                self.watch.server(&self.id, "stderr", text.to_owned());
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
    fn new(
        service: RunningService<RoleClient, Handler>,
        program: Option<Program>,
        calls: Arc<AtomicU32>,
        grace: Duration,
    ) -> Connection {
        let peer = service.peer().clone();
        let info = peer.peer_info();
        let title = info.as_ref().and_then(|info| {
            let server = info.server_info.as_ref()?;
            let title = format!("{} {}", server.name, server.version);
            Some(shown(title.trim())).filter(|title| !title.is_empty())
        });
        let instructions = info
            .as_ref()
            .and_then(|info| info.instructions.as_deref())
            .map(|text| cut(text, 16 << 10));
        Connection {
            peer,
            service: Mutex::new(Some(service)),
            program: Mutex::new(program),
            grace,
            calls,
            title,
            instructions,
        }
    }

    /// Whether it still answers, as far as is known.
    pub(crate) fn is_open(&self) -> bool {
        !self.peer.is_transport_closed()
    }

    fn last_words(&self) -> String {
        let program = lock(&self.program);
        let said = program.as_ref().map(Program::last_words);
        said.unwrap_or_default()
    }

    /// Its tools. A server that declares none is asked all the same: some forget to.
    async fn listed(&self) -> Result<Listed, String> {
        let info = self.peer.peer_info();
        if info.is_some_and(|info| info.capabilities.tools.is_some()) {
            return self.tools().await;
        }
        let Ok(Ok(mut listed)) = timeout(UNDECLARED, self.tools()).await else {
            return Ok(Listed::default());
        };
        if !listed.tools.is_empty() {
            listed.left_out.push(LeftOut {
                tool: None,
                why: "none: it declares no tools, but lists some, which are used".to_owned(),
            });
        }
        Ok(listed)
    }

    async fn tools(&self) -> Result<Listed, String> {
        let mut listed = Listed::default();
        let (mut bytes, mut cursor, mut seen) = (0, None, BTreeSet::new());
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
            let noted = page
                .meta
                .and_then(|meta| meta.get(answer::LEFT_OUT).cloned());
            let noted = noted.and_then(|noted| serde_json::from_value(noted).ok());
            let noted: Noted = noted.unwrap_or_default();
            listed.left_out.extend(noted.notes);
            if let Some(lost @ 1..) = noted.tools.checked_sub(page.tools.len()) {
                listed.left_out.push(LeftOut {
                    tool: None,
                    why: format!("tools whose `x-mcp-header` cannot be used: {lost}"),
                });
            }
            bytes += weight(&page.tools);
            let goes_on = page.next_cursor.is_some();
            let is_new = page
                .next_cursor
                .as_ref()
                .is_some_and(|it| seen.insert(it.clone()));
            if goes_on && !is_new {
                // It goes round in a circle: what it lists again is not there twice.
                let known: BTreeSet<_> = listed.tools.iter().map(|it| it.name.clone()).collect();
                let new = page
                    .tools
                    .into_iter()
                    .filter(|it| !known.contains(&it.name));
                listed.tools.extend(new);
            } else {
                listed.tools.extend(page.tools);
            }
            if bytes > MAX_LIST {
                return Err(format!("its list of tools has more than {MAX_LIST} bytes"));
            }
            if listed.tools.len() > MAX_TOOLS {
                return Err(format!("it lists more than {MAX_TOOLS} tools"));
            }
            cursor = page.next_cursor;
            if !is_new {
                return Ok(listed);
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
        let (mut bytes, mut cursor, mut seen) = (0, None, BTreeSet::new());
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
            let is_new = page
                .next_cursor
                .as_ref()
                .is_some_and(|it| seen.insert(it.clone()));
            bytes += weight(&page.resources);
            if bytes > MAX_LIST {
                return Err(too_long());
            }
            all.extend(page.resources);
            cursor = page.next_cursor;
            if !is_new || is_empty || all.len() >= MAX_LISTED {
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
        let (mut bytes, mut cursor, mut seen) = (0, None, BTreeSet::new());
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
            let is_new = page
                .next_cursor
                .as_ref()
                .is_some_and(|it| seen.insert(it.clone()));
            bytes += weight(&page.prompts);
            if bytes > MAX_LIST {
                return Err(too_long());
            }
            all.extend(page.prompts);
            cursor = page.next_cursor;
            if !is_new || is_empty || all.len() >= MAX_LISTED {
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
        let mut request = match sent {
            Ok(request) => request,
            Err(error) => return Err(self.unavailable(&error).await),
        };
        let mut waiting = Cancel {
            peer: self.peer.clone(),
            id: Some(request.id.clone()),
        };
        let answer = (&mut request.rx).await;
        waiting.id = None;
        match answer.unwrap_or(Err(ServiceError::TransportClosed)) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.unavailable(&error).await),
        }
    }

    async fn unavailable(&self, error: &ServiceError) -> CallError {
        let text = match error {
            ServiceError::McpError(error) => shown(&error.message),
            ServiceError::TransportSend(error) => shown(&chain(error.error.as_ref())),
            ServiceError::TransportClosed => self.gone().await,
            error => shown(&chain(error)),
        };
        CallError::Unavailable(text)
    }

    /// What is known of a server that is gone.
    async fn gone(&self) -> String {
        // Nobody else looks at a program that is gone; the lock is not held while it is waited for.
        let taken = lock(&self.program).take();
        let Some(mut program) = taken else {
            // A stream of events that ends without its answer looks the same.
            let what = if self.is_open() {
                "the server's answer broke off"
            } else {
                "the server is gone"
            };
            return what.to_owned();
        };
        let status = program.gone().await;
        let last = program.last_words();
        *lock(&self.program) = Some(program);
        match status {
            Some(status) => format!("the server is gone ({status}){last}"),
            None => format!("the server is gone{last}"),
        }
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
        if let Some(program) = program {
            program.end(self.grace).await;
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
