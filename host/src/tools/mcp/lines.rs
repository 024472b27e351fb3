//! MCP over the standard streams of a program: one message a line, every line bounded.
//!
//! What a server writes is hostile. A line that is too long is dropped while it is read, and the calls
//! that may have waited for it fail at once instead of waiting for their time limit.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, JsonRpcMessage, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{self, Asked, failure};

/// Longest message of a server, in bytes: a list of ten thousand tools, or a large image.
pub(super) const MAX_MESSAGE: usize = 16 << 20;

/// How long a server is given to say that it speaks the newest protocol. One of an older protocol that answers
/// nothing it does not know has not answered by then. Measured: other clients wait for 3 to 10 seconds.
pub(super) const DISCOVERY: Duration = Duration::from_secs(3);

/// Messages of a server that answer nothing. A server that sends more is not used any further.
const MAX_UNASKED: u32 = 100_000;

/// Bytes at each end of a dropped line in which the id of a request is looked for.
const ENDS: usize = 256;

/// Bytes of lines that are no JSON in which the id of a request is looked for.
const MAX_BROKEN: usize = 8 << 10;

/// How long what a server still writes is read once its input is closed.
const DRAIN: Duration = Duration::from_mins(1);

/// The requests that wait for an answer.
type Waiting = Arc<Mutex<HashMap<RequestId, Asked>>>;

/// The client's side of a connection over lines.
pub(super) struct Lines<R, W> {
    /// Nothing once it is closed.
    read: Option<BufReader<R>>,
    write: Arc<tokio::sync::Mutex<Option<W>>>,
    line: Vec<u8>,
    /// The beginning and, so far, the end of a line that is being dropped.
    dropping: Option<(Vec<u8>, Vec<u8>)>,
    /// Lines of an answer that is no JSON, as far as its id may stand there.
    broken: Vec<u8>,
    waiting: Waiting,
    discovery: Discovery,
    ready: VecDeque<ServerJsonRpcMessage>,
    unasked: u32,
    max: usize,
}

/// What has come of asking whether the server speaks the newest protocol.
#[derive(Default)]
struct Discovery {
    /// The question, and until when it is waited for.
    asked: Option<(RequestId, Instant)>,
    /// The question that is not waited for any more.
    given_up: Option<RequestId>,
    /// What the server has answered to that.
    found: Option<Value>,
    /// The server has refused `initialize`, and is spoken to as it has answered.
    is_newest: bool,
}

impl<R: AsyncRead + Unpin, W> Lines<R, W> {
    pub(super) fn new(read: R, write: W) -> Lines<R, W> {
        Lines {
            read: Some(BufReader::with_capacity(64 << 10, read)),
            write: Arc::new(tokio::sync::Mutex::new(Some(write))),
            line: Vec::new(),
            dropping: None,
            broken: Vec::new(),
            waiting: Waiting::default(),
            discovery: Discovery::default(),
            ready: VecDeque::new(),
            unasked: 0,
            max: MAX_MESSAGE,
        }
    }

    /// Reads to the end of a line. False at the end of the stream.
    ///
    /// Cancel-safe: what is consumed is in `line` or `dropping` before anything waits again.
    async fn read_line(&mut self) -> io::Result<bool> {
        let Some(read) = &mut self.read else {
            return Ok(false);
        };
        loop {
            let available = read.fill_buf().await?;
            if available.is_empty() {
                return Ok(false);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |at| at + 1);
            let part = available.get(..taken).unwrap_or_default();
            if let Some((_, tail)) = &mut self.dropping {
                keep_end(tail, part);
            } else if self.line.len() + part.len() > self.max {
                let mut line = std::mem::take(&mut self.line);
                // Its first piece may be too long by itself.
                line.extend_from_slice(part.get(..ENDS).unwrap_or(part));
                line.truncate(ENDS);
                let mut tail = Vec::new();
                keep_end(&mut tail, part);
                self.dropping = Some((line, tail));
            } else {
                self.line.extend_from_slice(part);
            }
            read.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    /// What a whole line means. Nothing when nobody has to know of it.
    fn understand(&mut self) -> Option<ServerJsonRpcMessage> {
        if let Some((head, tail)) = self.dropping.take() {
            let text = "the server's answer has more than 16 MiB";
            self.fail(&[&head, &tail], text);
            return self.ready.pop_front();
        }
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        if text.is_empty() {
            return None;
        }
        let message = match serde_json::from_slice(text) {
            Ok(message) => message,
            Err(error) => {
                self.unasked += 1;
                tracing::debug!(%error, "a tool server sent something that is no message");
                self.broken_off(text);
                return self.ready.pop_front();
            }
        };
        self.broken.clear();
        if let Value::Array(batch) = message {
            for message in batch {
                if let Some(message) = self.take(message) {
                    self.ready.push_back(message);
                }
            }
            return self.ready.pop_front();
        }
        self.take(message)
    }

    fn take(&mut self, message: Value) -> Option<ServerJsonRpcMessage> {
        if !answer::is_answer(&message) {
            self.unasked += 1;
            return serde_json::from_value(message).ok();
        }
        let id = answer::id_of(&message).or_else(|| self.only_one_asked(&message));
        let asked = id.as_ref().and_then(|id| self.lock().remove(id));
        let (Some(id), Some(asked)) = (id.clone(), asked) else {
            // Nobody asked: a second answer, or an id that was made up.
            self.unasked += 1;
            if id.is_some() && id == self.discovery.given_up {
                let result = message.get("result").cloned().unwrap_or_default();
                self.discovery.found = answer::discovered(&result).ok();
            }
            return None;
        };
        if asked == Asked::Initialize
            && message.get("error").is_some_and(|error| !error.is_null())
            && let Some(found) = self.discovery.found.take()
        {
            // It speaks the newest protocol alone, and was late to say so.
            self.discovery.is_newest = true;
            let result = answer::as_initialized(&found);
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
            return Some(answer::read(answer, &id, asked));
        }
        if self.discovery.asked.as_ref().is_some_and(|it| it.0 == id) {
            self.discovery.asked = None;
        }
        Some(answer::read(message, &id, asked))
    }

    /// The request that an error without an id belongs to, where there is only one.
    fn only_one_asked(&self, message: &Value) -> Option<RequestId> {
        message.get("error")?;
        let waiting = self.lock();
        let mut ids = waiting.keys();
        ids.next().filter(|_| ids.len() == 0).cloned()
    }

    /// Fails the request whose answer a line that is no JSON is, or the beginning of. Anything else that is no
    /// JSON is noise.
    fn broken_off(&mut self, text: &[u8]) {
        if text.starts_with(b"{") {
            self.broken.clear();
        } else if self.broken.is_empty() {
            return;
        }
        if text.len() > MAX_BROKEN {
            self.broken
                .extend_from_slice(text.get(..ENDS).unwrap_or_default());
            let end = text.len() - ENDS;
            self.broken
                .extend_from_slice(text.get(end..).unwrap_or_default());
        } else {
            self.broken.extend_from_slice(text);
        }
        let said: String = String::from_utf8_lossy(&self.broken)
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        let outcome = ["\"result\":", "\"error\":"];
        let outcome = outcome.iter().filter_map(|member| said.find(member)).min();
        let asks = said.find("\"method\":");
        // A request the server has logged has an id, too.
        if outcome.is_some_and(|at| asks.is_none_or(|asks| at < asks)) {
            let named: Vec<RequestId> = {
                let waiting = self.lock();
                let named = waiting.keys().filter(|id| names(&self.broken, id));
                named.cloned().collect()
            };
            for id in named {
                self.lock().remove(&id);
                let text = "the server's answer is no JSON";
                self.ready.push_back(failure(id, text));
            }
        }
        if text == b"}" || self.broken.len() > MAX_BROKEN {
            self.broken.clear();
        }
    }

    /// What is said for a server that does not say whether it speaks the newest protocol.
    fn give_up_discovery(&mut self) -> Option<ServerJsonRpcMessage> {
        let (id, _) = self.discovery.asked.take()?;
        self.lock().remove(&id)?;
        self.discovery.given_up = Some(id.clone());
        Some(answer::older(id, "it does not answer `server/discover`"))
    }

    /// Fails the requests a lost answer may belong to: those whose ids are in `ends`, or else all.
    fn fail(&mut self, ends: &[&[u8]], text: &str) {
        let mut waiting = self.lock();
        let named: Vec<RequestId> = waiting
            .keys()
            .filter(|id| ends.iter().any(|end| names(end, id)))
            .cloned()
            .collect();
        let lost = if named.is_empty() {
            waiting.drain().map(|(id, _)| id).collect()
        } else {
            for id in &named {
                waiting.remove(id);
            }
            named
        };
        drop(waiting);
        self.ready
            .extend(lost.into_iter().map(|id| failure(id, text)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, Asked>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R, W> Transport<RoleClient> for Lines<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let write = self.write.clone();
        if let ClientJsonRpcMessage::Request(request) = &item {
            let asked = Asked::of(&request.request);
            if asked == Asked::Discover {
                self.discovery.asked = Some((request.id.clone(), Instant::now() + DISCOVERY));
            }
            self.lock().insert(request.id.clone(), asked);
        }
        // The newest protocol has no such thing.
        let is_unknown = self.discovery.is_newest
            && matches!(&item, JsonRpcMessage::Notification(it)
                if matches!(it.notification, ClientNotification::InitializedNotification(_)));
        async move {
            if is_unknown {
                return Ok(());
            }
            let mut line = serde_json::to_vec(&item)?;
            line.push(b'\n');
            let mut write = write.lock().await;
            let write = write.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
            write.write_all(&line).await?;
            write.flush().await
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            if self.unasked > MAX_UNASKED {
                tracing::warn!(
                    "a tool server sends without being asked; it is not used any further"
                );
                return None;
            }
            let until = self.discovery.asked.as_ref().map(|(_, until)| *until);
            let read = match until {
                None => self.read_line().await,
                Some(until) => match timeout_at(until, self.read_line()).await {
                    Ok(read) => read,
                    Err(_) => match self.give_up_discovery() {
                        Some(message) => return Some(message),
                        None => continue,
                    },
                },
            };
            match read {
                Ok(true) => {}
                Ok(false) | Err(_) => return None,
            }
            if let Some(message) = self.understand() {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // Dropping it closes the server's standard input, which is how a server is told to end.
        self.write.lock().await.take();
        // What it says while it ends is read: a full or closed pipe would keep it from that.
        if let Some(mut read) = self.read.take() {
            tokio::spawn(async move {
                let mut nowhere = tokio::io::sink();
                let _ = timeout(DRAIN, tokio::io::copy(&mut read, &mut nowhere)).await;
            });
        }
        Ok(())
    }
}

fn keep_end(tail: &mut Vec<u8>, part: &[u8]) {
    tail.extend_from_slice(part.get(part.len().saturating_sub(ENDS)..).unwrap_or(part));
    let over = tail.len().saturating_sub(ENDS);
    tail.drain(..over);
}

/// Whether `"id":ID` stands in a part of a message.
fn names(part: &[u8], id: &RequestId) -> bool {
    let text: String = String::from_utf8_lossy(part)
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let RequestId::Number(number) = id else {
        return false;
    };
    [format!("\"id\":{number}"), format!("\"id\":\"{number}\"")]
        .iter()
        .any(|wanted| {
            text.match_indices(wanted.as_str()).any(|(at, found)| {
                text.get(at + found.len()..)
                    .and_then(|rest| rest.chars().next())
                    .is_none_or(|next| matches!(next, ',' | '}'))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmcp::model::{ClientRequest, PingRequest};

    fn lines(text: Vec<u8>, max: usize) -> Lines<io::Cursor<Vec<u8>>, Vec<u8>> {
        let mut lines = Lines::new(io::Cursor::new(text), Vec::new());
        lines.max = max;
        lines
    }

    async fn asked(lines: &mut Lines<io::Cursor<Vec<u8>>, Vec<u8>>, ids: &[i64]) {
        for id in ids {
            let request = ClientRequest::PingRequest(PingRequest::default());
            lines
                .send(ClientJsonRpcMessage::request(
                    request,
                    RequestId::Number(*id),
                ))
                .await
                .unwrap();
        }
    }

    async fn answers(lines: &mut Lines<io::Cursor<Vec<u8>>, Vec<u8>>) -> Vec<String> {
        let mut answers = Vec::new();
        while let Some(message) = lines.receive().await {
            answers.push(match message {
                ServerJsonRpcMessage::Response(it) => format!("{} ok", it.id),
                ServerJsonRpcMessage::Error(it) => {
                    format!("{} {}", it.id.unwrap(), it.error.message)
                }
                other => format!("{other:?}"),
            });
        }
        answers
    }

    #[tokio::test]
    async fn answers_nobody_asked_for_are_dropped_and_garbage_is_skipped() {
        let text = "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\n\nnot json\n\
                    {\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":{}}\n\
                    {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\
                    {\"id\":2,\"result\":7}\n";
        let mut lines = lines(text.into(), 1000);
        asked(&mut lines, &[1, 2]).await;
        assert_eq!(
            answers(&mut lines).await,
            ["1 ok", "2 the server's answer cannot be read"]
        );
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_fails_the_call_it_answers() {
        for (long, failed) in [
            (
                format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\": 2,\"result\":\"{}\"}}\n",
                    "x".repeat(9000)
                ),
                1,
            ),
            (
                format!(
                    "{{\"result\":\"{}\",\"jsonrpc\":\"2.0\",\"id\":2}}\n",
                    "x".repeat(9000)
                ),
                1,
            ),
            (format!("{}\n", "x".repeat(9000)), 3),
        ] {
            let text = format!("{long}{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{}}}}\n");
            let mut lines = lines(text.into(), 500);
            asked(&mut lines, &[1, 2, 22]).await;
            let answers = answers(&mut lines).await;
            let failures = answers.iter().filter(|it| it.contains("more than")).count();
            assert_eq!(failures, failed, "{answers:?}");
            assert!(
                answers.iter().any(|it| it.starts_with("2 the server")),
                "{answers:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_only_talks_is_given_up() {
        let line = "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}}\n";
        let text = line.repeat(MAX_UNASKED as usize + 2);
        let mut lines = lines(text.into(), 1000);
        assert!(lines.receive().await.is_none());
        assert_eq!(lines.unasked, MAX_UNASKED + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut lines = lines(bytes, 100);
                asked(&mut lines, &[1, 2]).await;
                let answers = answers(&mut lines).await;
                assert!(answers.len() <= 4000);
                assert!(lines.line.len() <= 100);
            });
        }
    }
}
