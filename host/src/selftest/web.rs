//! A server on loopback that keeps what it was sent.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Most bytes kept of one connection.
const MAX_KEPT: usize = 4 << 20;

/// Most bytes sent by what never ends: beyond every limit of a case.
const ENDLESS: usize = 64 << 20;

/// A server of the self-test's own. It stops when it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Answers `/redirect` with a redirect to the port `elsewhere`, `/endless` without end, `/sink` once
    /// everything has been read, `/open` with half a response, and everything else with `hi`.
    pub(super) async fn start(elsewhere: u16) -> io::Result<Server> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = received.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, elsewhere, kept.clone()));
            }
        });
        Ok(Server {
            port,
            received,
            task,
        })
    }

    /// What came over each connection.
    pub(super) fn received(&self) -> Vec<String> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        received.iter().map(text).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    elsewhere: u16,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
) {
    let keep = |at: Option<usize>, bytes: &[u8]| {
        let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
        let at = at.unwrap_or_else(|| {
            received.push(Vec::new());
            received.len() - 1
        });
        if let Some(kept) = received.get_mut(at) {
            let room = MAX_KEPT.saturating_sub(kept.len()).min(bytes.len());
            kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
        at
    };
    let at = keep(None, &[]);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_KEPT {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    keep(Some(at), &head);
    let line = String::from_utf8_lossy(&head);
    let path = line.split(' ').nth(1).unwrap_or_default();
    let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi".to_vec();
    if path.ends_with("/redirect") {
        answer = format!(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
        )
        .into_bytes();
    } else if path.ends_with("/open") {
        answer.truncate(answer.len() - 1);
    } else if path.ends_with("/endless") {
        answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    }
    let sink = path.ends_with("/sink");
    let endless = path.ends_with("/endless");
    // An error says that the other end has gone, which is all there is to know.
    if !sink && stream.write_all(&answer).await.is_err() {
        return;
    }
    if endless {
        let piece = [b'x'; 8192];
        for _ in 0..ENDLESS / piece.len() {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
        }
        return;
    }
    let mut buffer = [0; 8192];
    let mut body = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let bytes = buffer.get(..length).unwrap_or_default();
        keep(Some(at), bytes);
        body += length;
        // The end of a body in chunks, or of one nobody should have sent.
        let ended = bytes.ends_with(b"0\r\n\r\n") || body > MAX_KEPT;
        if sink && ended && stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
