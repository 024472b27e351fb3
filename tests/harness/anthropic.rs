//! A server on loopback that speaks Anthropic's Messages format, scripted by the test, and remembers what
//! it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Bodies are what an agent has to say in a test.
const MAX_BODY: usize = 16 << 20;

/// What makes a reply of a request body: content blocks.
type Script = dyn Fn(&Value) -> Vec<Value> + Send + Sync;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Method and path.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Received {
    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        (self.headers.iter())
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// The server; it goes away with the process of the tests.
pub(crate) struct Anthropic {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Anthropic {
    pub(crate) fn serve(
        script: impl Fn(&Value) -> Vec<Value> + Send + Sync + 'static,
    ) -> Anthropic {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Arc<Script>, _) = (Arc::new(script), received.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, log) = (script.clone(), log.clone());
                // A client that goes away is no failure of the server; the test sees what it lacks.
                std::thread::spawn(move || while exchange(&stream, &*script, &log).is_some() {});
            }
        });
        Anthropic { port, received }
    }

    /// What `--provider` takes.
    pub(crate) fn provider(&self) -> String {
        format!("anthropic=http://127.0.0.1:{}", self.port)
    }

    /// Everything that arrived so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// Reads one request and answers it; nothing when the connection is over.
fn exchange(stream: &TcpStream, script: &Script, log: &Mutex<Vec<Received>>) -> Option<()> {
    let received = receive(&mut BufReader::new(stream))?;
    log.lock().unwrap().push(received.clone());
    let answer = reply(&received.body, &script(&received.body));
    let (kind, text) = if received.body["stream"] == true {
        ("text/event-stream", events(&answer))
    } else {
        ("application/json", answer.to_string())
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .ok()
}

/// Reads one request.
pub(super) fn receive(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader
            .read_line(&mut header)
            .ok()
            .filter(|read| *read > 0)?;
        let Some((name, value)) = header.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let find = |name: &str| headers.iter().find(|(known, _)| known == name);
    let body = if let Some((_, length)) = find("content-length") {
        let length: usize = length.parse().ok().filter(|length| *length <= MAX_BODY)?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        body
    } else {
        chunked(reader)?
    };
    Some(Received {
        line: line.trim_end().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}

fn chunked(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size + body.len() > MAX_BODY {
            return None;
        }
        let start = body.len();
        // Each chunk is followed by CR LF.
        body.resize(start + size + 2, 0);
        reader.read_exact(body.get_mut(start..)?).ok()?;
        body.truncate(start + size);
        if size == 0 {
            return Some(body);
        }
    }
}

/// A message as the provider gives it.
fn reply(request: &Value, content: &[Value]) -> Value {
    let calls = content.iter().any(|block| block["type"] == "tool_use");
    json!({
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": content,
        "stop_reason": if calls { "tool_use" } else { "end_turn" },
        "stop_sequence": null,
        "usage": {"input_tokens": 100, "output_tokens": 20},
    })
}

/// The same as server-sent events: each text and each input in two pieces.
fn events(message: &Value) -> String {
    let mut text = String::new();
    let mut send = |event: Value| {
        let kind = event["type"].as_str().unwrap();
        text.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    };
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    send(json!({"type": "message_start", "message": start}));
    for (index, block) in message["content"].as_array().unwrap().iter().enumerate() {
        let (empty, key, kind, whole) = if block["type"] == "tool_use" {
            let mut empty = block.clone();
            empty["input"] = json!({});
            (
                empty,
                "partial_json",
                "input_json_delta",
                block["input"].to_string(),
            )
        } else {
            let whole = block["text"].as_str().unwrap().to_owned();
            (
                json!({"type": "text", "text": ""}),
                "text",
                "text_delta",
                whole,
            )
        };
        send(json!({"type": "content_block_start", "index": index, "content_block": empty}));
        let (head, tail) = whole.split_at(whole.floor_char_boundary(whole.len() / 2));
        for piece in [head, tail] {
            send(json!({
                "type": "content_block_delta", "index": index, "delta": {"type": kind, key: piece},
            }));
        }
        send(json!({"type": "content_block_stop", "index": index}));
    }
    send(json!({
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": null},
        "usage": {"output_tokens": message["usage"]["output_tokens"]},
    }));
    send(json!({"type": "message_stop"}));
    text
}
