//! MCP over HTTP, against a server on loopback that looks at what it gets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{calls, guest, told};
use crate::harness::Lab;

/// A server; each of its paths behaves in another way.
pub(super) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request it got.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    line: String,
    headers: Vec<String>,
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, noted) = (stream.unwrap(), noted.clone());
                // A client that goes away in the middle is what some tests are about.
                std::thread::spawn(move || drop(serve(stream, &noted)));
            }
        });
        Server { port, seen }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line => head.push(line.to_owned()),
            }
        }
        let line = head.remove(0);
        let length = head.iter().find_map(|header| {
            let (name, value) = header.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        input.read_exact(&mut body)?;
        seen.lock().unwrap().push(Seen {
            line: line.clone(),
            headers: head,
        });
        answer(
            &mut out,
            &line,
            &serde_json::from_slice(&body).unwrap_or(Value::Null),
        )?;
    }
}

fn answer(out: &mut TcpStream, line: &str, message: &Value) -> std::io::Result<()> {
    let (method, path) = line.split_once(' ').unwrap();
    let path = path.split_once(' ').unwrap().0;
    let id = &message["id"];
    let mut plain = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        write!(
            out,
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
    };
    match (path, method) {
        ("/redirect", _) => return plain("307 Temporary Redirect", "location: /mcp\r\n", ""),
        ("/login", _) => {
            return plain("401 Unauthorized", "www-authenticate: Bearer\r\n", "");
        }
        ("/page", _) => return plain("200 OK", "content-type: text/html\r\n", "<html>"),
        ("/old", "POST") => {
            return plain(
                "405 Method Not Allowed",
                "content-type: text/plain\r\n",
                "no",
            );
        }
        ("/nowhere", _) => return plain("404 Not Found", "", ""),
        (_, "GET") => return plain("405 Method Not Allowed", "", ""),
        (_, "DELETE") => return plain("200 OK", "", ""),
        _ => {}
    }
    let json = "content-type: application/json\r\n";
    let reply = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
    let nobodys = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "it went wrong"}});
    let greets = json!({"content": [{"type": "text", "text": "hello from the web"}]});
    let is_call = message["method"] == "tools/call" && message["params"]["name"] != "endless";
    match (path, message["method"].as_str().unwrap_or_default()) {
        ("/new", method) if message["id"].is_u64() => {
            let version = &message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"];
            let told = reply(
                json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "private"}),
            );
            return match method {
                _ if version != "2026-07-28" => {
                    plain("400 Bad Request", json, &nobodys.to_string())
                }
                "server/discover" => plain("200 OK", json, &told),
                "tools/list" => plain(
                    "200 OK",
                    json,
                    &reply(json!({"resultType": "complete", "tools": [
                    {"name": "greet", "inputSchema": {"type": "object", "properties": {"place": {"type": "string", "x-mcp-header": "Place"}}}},
                    {"name": "odd", "inputSchema": 7},
                ], "ttlMs": 0, "cacheScope": "private"})),
                ),
                "tools/call" => {
                    let event = format!("event: message\ndata: {}\n\n", reply(greets));
                    plain("200 OK", "content-type: text/event-stream\r\n", &event)
                }
                _ => plain("404 Not Found", json, &nobodys.to_string()),
            };
        }
        ("/broken", _) if is_call => return plain("200 OK", json, "{\"jsonrpc\": NaN}"),
        ("/refused", _) if is_call => return plain("500 Oops", json, &nobodys.to_string()),
        ("/expired", _) if is_call => return plain("400 Bad Request", json, &nobodys.to_string()),
        ("/failed", _) if is_call => {
            return plain("502 Bad Gateway", "content-type: text/html\r\n", "<html>");
        }
        ("/denied", _) if is_call => {
            return plain("401 Unauthorized", json, "{\"error\": \"expired\"}");
        }
        ("/other", _) if is_call => {
            let other = json!({"jsonrpc": "2.0", "id": "other", "result": greets});
            return plain("200 OK", json, &other.to_string());
        }
        ("/events", _) if is_call => {
            // The stream stays open: nothing but the event says that it is over.
            write!(
                out,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {{\"id\": oops\n\n"
            )?;
            std::thread::sleep(std::time::Duration::from_secs(60));
            return Ok(());
        }
        ("/events-of-nobody", _) if is_call => {
            write!(
                out,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {nobodys}\n\n"
            )?;
            std::thread::sleep(std::time::Duration::from_secs(60));
            return Ok(());
        }
        ("/cut", _) if is_call => {
            return plain(
                "200 OK",
                "content-type: text/event-stream\r\n",
                "data: {\"jsonrpc\":\"2.0\"",
            );
        }
        _ => {}
    }
    match message["method"].as_str().unwrap_or_default() {
        "server/discover" if path == "/mcp" => plain("400 Bad Request", "", "no session"),
        "initialize" => plain(
            "200 OK",
            &format!("{json}mcp-session-id: the-session\r\n"),
            &reply(json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}}, "serverInfo": {"name": "web", "version": "2"},
            })),
        ),
        "tools/list" => plain(
            "200 OK",
            json,
            &reply(json!({"tools": [
                {"name": "greet", "inputSchema": {"type": "object"}},
                {"name": "endless", "inputSchema": {"type": "object"}},
            ]})),
        ),
        "tools/call" if message["params"]["name"] == "endless" => {
            write!(
                out,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: "
            )?;
            loop {
                out.write_all(&[b'x'; 4096])?;
            }
        }
        "tools/call" => {
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": message["params"]["_meta"]["progressToken"], "progress": 1}});
            let result =
                reply(json!({"content": [{"type": "text", "text": "hello from the web"}]}));
            let events =
                format!(": a comment\n\ndata: {progress}\n\nevent: message\ndata: {result}\n\n");
            plain("200 OK", "content-type: text/event-stream\r\n", &events)
        }
        _ => plain("202 Accepted", "", ""),
    }
}

#[test]
fn a_server_of_the_operators_is_reached_at_its_url_and_nowhere_else() {
    let (lab, server) = (Lab::new(), Server::start());
    let done = guest(&lab, &calls(&[("web__greet", json!({}))]))
        .args(["--mcp".to_owned(), format!("web={}", server.url("/mcp"))])
        .done()
        .exits_with(0);
    assert_eq!(told(&done), [json!(["ok", "hello from the web"])]);
    let account = lab.account();
    assert_eq!(account.only("tool_invoked")["avp.mcp_server_id"], "web");
    let seen = server.seen();
    assert!(
        seen.iter().all(|seen| seen.line.contains(" /mcp ")),
        "{seen:?}"
    );
    let called = seen.iter().filter(|seen| {
        let session = |header: &String| header.eq_ignore_ascii_case("mcp-session-id: the-session");
        seen.headers.iter().any(session)
    });
    assert!(called.count() >= 3, "{seen:?}");
    // Each request is on record, as one of the host's for tools.
    let requests: Vec<_> = account.audits("request").collect();
    assert_eq!(requests.len(), seen.len());
    assert!(
        requests.iter().all(|it| it["caller"] == "tools"),
        "{requests:?}"
    );
}

#[test]
fn a_server_of_the_commission_needs_a_host_of_the_operators() {
    let server = Server::start();
    let commission = json!({
        "schema_version": "0.1", "run_id": "r", "model": "none/none",
        "prompt": json!([{"servers": []}]).to_string(),
        "mcp_servers": [{"type": "http", "id": "web", "url": server.url("/mcp"),
            "headers": {"x-team": "blue"}}],
    });
    for (allowed, status) in [
        (None, "Status::Failed"),
        (Some("/mcp"), "Status::Connected"),
    ] {
        let lab = Lab::new();
        let file = lab.file("commission.json", commission.to_string());
        let mut call = lab.call([
            "run",
            wasm_agent_test_artifacts::CALLS_GRANTED_TOOLS,
            "--commission",
            &file,
        ]);
        if let Some(path) = allowed {
            call = call.args(["--allow-host".to_owned(), server.url(path)]);
        }
        let done = call.done().exits_with(0);
        assert_eq!(done.json()[0][0][1], status);
        let is_denied = lab.account().audits("denied").count() > 0;
        assert_eq!(is_denied, allowed.is_none());
        if allowed.is_none() {
            assert!(server.seen().is_empty(), "nothing was sent");
        }
    }
    let seen = server.seen();
    let has_header = seen[0]
        .headers
        .iter()
        .any(|header| header.ends_with("blue"));
    assert!(has_header, "{seen:?}");
}

#[test]
fn servers_that_do_not_speak_mcp_are_not_used() {
    for (path, reason) in [
        ("/redirect", "it redirects to http://127.0.0.1"),
        ("/redirect", "/mcp (http 307)"),
        ("/login", "name a secret for it in a grants file"),
        ("/page", "text/html (http 200)"),
        ("/old", "old transport"),
        ("/nowhere", "no tool server at this url"),
    ] {
        let (lab, server) = (Lab::new(), Server::start());
        let done = guest(&lab, &[json!({"servers": []})])
            .args(["--mcp".to_owned(), format!("web={}", server.url(path))])
            .done()
            .exits_with(0);
        assert_eq!(done.json()[0][0][1], "Status::Failed", "{path}");
        let error = lab.account().only("error_occurred")["avp.error.message"].to_string();
        assert!(error.to_lowercase().contains(reason), "{error}");
        assert!(!error.contains("::") && !error.contains("rmcp"), "{error}");
        let seen = server.seen();
        assert!(seen.iter().all(|seen| seen.line.contains(path)), "{seen:?}");
    }
}

#[test]
fn an_answer_without_end_is_an_error_and_the_run_goes_on() {
    let (lab, server) = (Lab::new(), Server::start());
    let steps = calls(&[("web__endless", json!({})), ("web__greet", json!({}))]);
    let done = guest(&lab, &steps)
        .args(["--mcp".to_owned(), format!("web={}", server.url("/mcp"))])
        .limit("tool-call=20s")
        .done()
        .exits_with(0);
    let told = told(&done);
    assert!(
        ["unavailable", "timed-out"].contains(&told[0][0].as_str().unwrap()),
        "{told:?}"
    );
    assert_eq!(told[1], json!(["ok", "hello from the web"]));
}

#[test]
fn the_answer_to_a_request_is_what_came_on_it() {
    for (path, said) in [
        ("/broken", "the server's answer is no JSON"),
        ("/refused", "it went wrong (HTTP 500)"),
        ("/expired", "it went wrong (HTTP 400)"),
        ("/failed", "the server answers with HTTP 502 Bad Gateway"),
        ("/denied", "it wants a credential (HTTP 401: expired)"),
        ("/events", "the server's answer is no JSON"),
        ("/events-of-nobody", "it went wrong"),
        ("/cut", "the server's answer broke off"),
    ] {
        let (lab, server) = (Lab::new(), Server::start());
        let steps = calls(&[("web__greet", json!({})), ("web__greet", json!({}))]);
        // A call that waits for its time limit is what must not be.
        let done = guest(&lab, &steps)
            .args(["--mcp".to_owned(), format!("web={}", server.url(path))])
            .limit("tool-call=5m")
            .done()
            .exits_with(0);
        for told in told(&done) {
            assert_eq!(told[0], "unavailable", "{path}: {told}");
            assert!(
                told[1].as_str().unwrap().starts_with(said),
                "{path}: {told}"
            );
        }
    }
    let (lab, server) = (Lab::new(), Server::start());
    let done = guest(&lab, &calls(&[("web__greet", json!({}))]))
        .args(["--mcp".to_owned(), format!("web={}", server.url("/other"))])
        .done()
        .exits_with(0);
    assert_eq!(told(&done), [json!(["ok", "hello from the web"])]);
}

#[test]
fn the_newest_protocol_is_spoken_over_http() {
    let (lab, server) = (Lab::new(), Server::start());
    let done = guest(&lab, &calls(&[("web__greet", json!({"place": "here"}))]))
        .args(["--mcp".to_owned(), format!("web={}", server.url("/new"))])
        .done()
        .exits_with(0);
    assert_eq!(told(&done), [json!(["ok", "hello from the web"])]);
    let has = |seen: &Seen, header: &str| {
        seen.headers
            .iter()
            .any(|it| it.eq_ignore_ascii_case(header))
    };
    let seen = server.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    for (seen, method) in seen
        .iter()
        .zip(["server/discover", "tools/list", "tools/call"])
    {
        assert!(has(seen, "mcp-protocol-version: 2026-07-28"), "{seen:?}");
        assert!(has(seen, &format!("mcp-method: {method}")), "{seen:?}");
    }
    assert!(
        has(&seen[2], "mcp-name: greet") && has(&seen[2], "mcp-param-place: here"),
        "{seen:?}"
    );
    let account = lab.account();
    let left_out: Vec<_> = account
        .audits("tool_server")
        .filter(|it| it["notice"] == "tools_left_out")
        .collect();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
}
