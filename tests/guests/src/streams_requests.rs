//! Several requests at once: what comes of each is noted in the order in which it comes, piece by piece.
//!
//! The task is a JSON list of requests. `pieces` is the body, each of them written when there is room for it;
//! `then` says what is done with the response: `read` it, `skip` it, `drop` it after its first piece, or
//! `forward` it to a path of the same host. `timeout-ms` bounds the time to its first byte. With `fill`, as much of
//! the body is written before the request is sent as there is room for.

use serde_json::{Value, json};
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme, http_error_code,
};
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

/// One request under way.
struct Exchange {
    wanted: Value,
    future: Option<FutureIncomingResponse>,
    // Streams are dropped before what they belong to.
    writer: Option<(OutputStream, OutgoingBody)>,
    written: usize,
    reader: Option<(InputStream, IncomingBody, IncomingResponse)>,
}

fn run(commission: Commission) -> Result<Value> {
    let wanted: Vec<Value> = serde_json::from_str(commission.prompt()).expect("a list of requests");
    let mut seen = Vec::new();
    let mut exchanges: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(at, wanted)| {
            let begun = begin(wanted);
            begun
                .inspect_err(|error| seen.push(json!([at, "refused", error])))
                .ok()
        })
        .collect();
    loop {
        let mut waiting: Vec<(usize, Part, Pollable)> = Vec::new();
        for (at, exchange) in exchanges.iter().enumerate() {
            let Some(exchange) = exchange else { continue };
            if let Some((stream, _)) = &exchange.writer {
                waiting.push((at, Part::Writer, stream.subscribe()));
            }
            if let Some(future) = &exchange.future {
                waiting.push((at, Part::Future, future.subscribe()));
            }
            if let Some((stream, ..)) = &exchange.reader {
                waiting.push((at, Part::Reader, stream.subscribe()));
            }
        }
        let pollables: Vec<_> = waiting.iter().map(|(.., pollable)| pollable).collect();
        if pollables.is_empty() {
            return Ok(Value::Array(seen));
        }
        let ready = poll(&pollables);
        let ready: Vec<_> = ready
            .into_iter()
            .map(|ready| {
                let (at, part, _) = &waiting[ready as usize];
                (*at, *part)
            })
            .collect();
        drop(waiting);
        for (at, part) in ready {
            let Some(exchange) = &mut exchanges[at] else {
                continue;
            };
            let what = match part {
                Part::Writer => exchange.write(),
                Part::Future => exchange.head(),
                Part::Reader => exchange.read(),
            };
            seen.extend(what.into_iter().map(|what| {
                let mut entry = vec![json!(at)];
                entry.extend(what.as_array().cloned().unwrap_or_default());
                Value::Array(entry)
            }));
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Writer,
    Future,
    Reader,
}

fn request(
    scheme: Option<&str>,
    host: Option<&str>,
    path: Option<&str>,
    method: Method,
) -> OutgoingRequest {
    let fields = Fields::new();
    fields.append("x-bytes", &[0xff, 0x41]).unwrap();
    let request = OutgoingRequest::new(fields);
    request.set_method(&method).unwrap();
    request
        .set_scheme(Some(match scheme {
            Some("https") => &Scheme::Https,
            _ => &Scheme::Http,
        }))
        .unwrap();
    request.set_authority(host).unwrap();
    request.set_path_with_query(path).unwrap();
    request
}

fn begin(wanted: &Value) -> std::result::Result<Exchange, String> {
    let text = |name: &str| wanted[name].as_str();
    let pieces = wanted["pieces"].is_array();
    let method = if pieces { Method::Post } else { Method::Get };
    let request = request(text("scheme"), text("host"), text("path"), method);
    let options = RequestOptions::new();
    if let Some(millis) = wanted["timeout-ms"].as_u64() {
        options
            .set_first_byte_timeout(Some(millis * 1_000_000))
            .unwrap();
    }
    let mut writer = None;
    if pieces {
        let body = request.body().map_err(|()| "no body")?;
        let stream = body.write().map_err(|()| "no stream")?;
        // Before it is sent, this is nobody's business.
        stream.check_write().map_err(|error| format!("{error:?}"))?;
        stream
            .write(b"begin ")
            .map_err(|error| format!("{error:?}"))?;
        if wanted["fill"] == true {
            while stream.check_write().map_err(|error| format!("{error:?}"))? > 0 {
                stream.write(b"x").map_err(|error| format!("{error:?}"))?;
            }
            // Nobody takes it yet: only time goes on.
            let timer = subscribe_duration(5_000_000);
            assert_eq!(poll(&[&stream.subscribe(), &timer]), [1]);
        }
        writer = Some((stream, body));
    }
    let future = handle(request, Some(options)).map_err(|error| format!("{error:?}"))?;
    Ok(Exchange {
        wanted: wanted.clone(),
        future: Some(future),
        writer,
        written: 0,
        reader: None,
    })
}

fn error(error: StreamError) -> Value {
    match error {
        StreamError::Closed => json!("closed"),
        StreamError::LastOperationFailed(error) => {
            json!([
                format!("{:?}", http_error_code(&error)),
                error.to_debug_string()
            ])
        }
    }
}

impl Exchange {
    /// The next piece of the request, or its end.
    fn write(&mut self) -> Vec<Value> {
        let Some((stream, _)) = &self.writer else {
            return Vec::new();
        };
        let piece = self.wanted["pieces"][self.written].as_str();
        let done = match (stream.check_write(), piece) {
            (Err(failed), _) => Some(json!(["write", error(failed)])),
            (Ok(0), _) => return vec![json!(["full"])],
            (Ok(_), None) => None,
            (Ok(_), Some(piece)) => {
                self.written += 1;
                match stream.write(piece.as_bytes()).and_then(|()| stream.flush()) {
                    Ok(()) => return vec![json!(["wrote", piece.len()])],
                    Err(failed) => Some(json!(["write", error(failed)])),
                }
            }
        };
        let mut seen: Vec<_> = done.into_iter().collect();
        if let Some((stream, body)) = self.writer.take() {
            drop(stream);
            let finished = OutgoingBody::finish(body, None);
            seen.push(json!(["finished", format!("{finished:?}")]));
        }
        seen
    }

    fn head(&mut self) -> Vec<Value> {
        let Some(future) = &self.future else {
            return Vec::new();
        };
        let response = match future.get() {
            None => return vec![json!(["pending"])],
            Some(Ok(Ok(response))) => response,
            Some(other) => {
                let what = vec![json!(["failed", format!("{other:?}")])];
                self.future = None;
                return what;
            }
        };
        assert!(matches!(future.get(), Some(Err(()))), "it is there once");
        self.future = None;
        let headers: Vec<_> = response
            .headers()
            .entries()
            .into_iter()
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        let mut seen = vec![json!(["status", response.status(), headers])];
        let body = response.consume().expect("a body");
        let stream = body.stream().expect("a stream");
        match self.wanted["then"].as_str() {
            Some("forward") => seen.push(self.forward(stream, body)),
            _ => self.reader = Some((stream, body, response)),
        }
        seen
    }

    /// Hands the response on as the body of another request, byte for byte.
    fn forward(&self, stream: InputStream, body: IncomingBody) -> Value {
        let (host, path) = (self.wanted["host"].as_str(), self.wanted["to"].as_str());
        let request = request(None, host, path, Method::Post);
        let outgoing = request.body().expect("a body");
        let future = handle(request, None).expect("a request");
        let out = outgoing.write().expect("a stream");
        let mut moved = Vec::new();
        let end = loop {
            match out.blocking_splice(&stream, 1000) {
                Ok(bytes) => moved.push(bytes),
                Err(end) => break error(end),
            }
        };
        out.blocking_write_zeroes_and_flush(3).expect("zeroes");
        out.blocking_flush().expect("it is out");
        drop((out, stream));
        OutgoingBody::finish(outgoing, None).expect("an end");
        drop(body);
        future.subscribe().block();
        let status = future
            .get()
            .map(|got| got.map(|got| got.map(|got| got.status())));
        json!(["forwarded", moved, end, format!("{status:?}")])
    }

    fn read(&mut self) -> Vec<Value> {
        let Some((stream, ..)) = &self.reader else {
            return Vec::new();
        };
        let then = self.wanted["then"].as_str();
        let max = self.wanted["max"].as_u64().unwrap_or(1 << 16);
        let piece = match then {
            Some("skip") => stream.skip(max).map(|bytes| json!(["skipped", bytes])),
            _ => stream
                .read(max)
                .map(|bytes| json!(["read", String::from_utf8_lossy(&bytes), bytes.len()])),
        };
        match piece {
            Ok(piece) => {
                if then == Some("drop") {
                    self.reader = None;
                }
                vec![piece]
            }
            Err(end) => {
                let mut seen = vec![json!(["end", error(end)])];
                if let Some((stream, body, _)) = self.reader.take() {
                    drop(stream);
                    let trailers = IncomingBody::finish(body);
                    trailers.subscribe().block();
                    let got = trailers.get().map(|got| {
                        got.map(|got| got.map(|fields| fields.map(|fields| fields.entries())))
                    });
                    seen.push(json!(["trailers", format!("{got:?}")]));
                }
                seen
            }
        }
    }
}
