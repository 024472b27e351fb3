//! MCP over the standard streams of a program: one message a line, every line bounded.
//!
//! What a server writes is hostile. A line that is too long is dropped while it is read, and the calls
//! that may have waited for it fail at once instead of waiting for their time limit.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ErrorData, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// Longest message of a server, in bytes: a list of ten thousand tools, or a large image.
pub(super) const MAX_MESSAGE: usize = 16 << 20;

/// Messages of a server that answer nothing. A server that sends more is not used any further.
const MAX_UNASKED: u32 = 100_000;

/// Bytes at each end of a dropped line in which the id of a request is looked for.
const ENDS: usize = 256;

/// The ids of requests that wait for an answer.
type Waiting = Arc<Mutex<HashSet<RequestId>>>;

/// The client's side of a connection over lines.
pub(super) struct Lines<R, W> {
    read: BufReader<R>,
    write: Arc<tokio::sync::Mutex<Option<W>>>,
    line: Vec<u8>,
    /// The beginning and, so far, the end of a line that is being dropped.
    dropping: Option<(Vec<u8>, Vec<u8>)>,
    waiting: Waiting,
    ready: VecDeque<ServerJsonRpcMessage>,
    unasked: u32,
    max: usize,
}

impl<R: AsyncRead + Unpin, W> Lines<R, W> {
    pub(super) fn new(read: R, write: W) -> Lines<R, W> {
        Lines {
            read: BufReader::with_capacity(64 << 10, read),
            write: Arc::new(tokio::sync::Mutex::new(Some(write))),
            line: Vec::new(),
            dropping: None,
            waiting: Waiting::default(),
            ready: VecDeque::new(),
            unasked: 0,
            max: MAX_MESSAGE,
        }
    }

    /// Reads to the end of a line. False at the end of the stream.
    ///
    /// Cancel-safe: what is consumed is in `line` or `dropping` before anything waits again.
    async fn read_line(&mut self) -> io::Result<bool> {
        loop {
            let available = self.read.fill_buf().await?;
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
            self.read.consume(taken);
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
        let message: ServerJsonRpcMessage = match serde_json::from_slice(text) {
            Ok(message) => message,
            Err(error) => {
                self.unasked += 1;
                tracing::debug!(%error, "a tool server sent something that is no message");
                // An answer that cannot be read is an answer.
                if let Ok(Value::Object(object)) = serde_json::from_slice(text)
                    && (object.contains_key("result") || object.contains_key("error"))
                    && let Some(id) = object.get("id").and_then(request_id)
                    && self.lock().remove(&id)
                {
                    return Some(failure(id, "the server's answer cannot be read"));
                }
                return None;
            }
        };
        let answered = match &message {
            ServerJsonRpcMessage::Response(response) => Some(&response.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref(),
            ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_) => {
                self.unasked += 1;
                return Some(message);
            }
        };
        let known = answered.is_some_and(|id| self.lock().remove(&same(id)));
        if !known {
            // Nobody asked: a second answer, or an id that was made up.
            self.unasked += 1;
            return None;
        }
        Some(message)
    }

    /// Fails the requests a lost answer may belong to: those whose ids are in `ends`, or else all.
    fn fail(&mut self, ends: &[&[u8]], text: &str) {
        let mut waiting = self.lock();
        let named: Vec<RequestId> = waiting
            .iter()
            .filter(|id| ends.iter().any(|end| names(end, id)))
            .cloned()
            .collect();
        let lost = if named.is_empty() {
            waiting.drain().collect()
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<RequestId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R, W> Transport<RoleClient> for Lines<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let write = self.write.clone();
        if let ClientJsonRpcMessage::Request(request) = &item {
            self.lock().insert(request.id.clone());
        }
        async move {
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
            match self.read_line().await {
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
        Ok(())
    }
}

fn keep_end(tail: &mut Vec<u8>, part: &[u8]) {
    tail.extend_from_slice(part.get(part.len().saturating_sub(ENDS)..).unwrap_or(part));
    let over = tail.len().saturating_sub(ENDS);
    tail.drain(..over);
}

fn failure(id: RequestId, text: &str) -> ServerJsonRpcMessage {
    ServerJsonRpcMessage::error(ErrorData::internal_error(text.to_owned(), None), Some(id))
}

fn request_id(id: &Value) -> Option<RequestId> {
    match id {
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::String(text) => Some(same(&RequestId::String(text.as_str().into()))),
        _ => None,
    }
}

/// Some servers answer `1` with `"1"`; ours are all numbers.
fn same(id: &RequestId) -> RequestId {
    match id {
        RequestId::String(text) => text.parse().map_or_else(|_| id.clone(), RequestId::Number),
        RequestId::Number(_) => id.clone(),
    }
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
