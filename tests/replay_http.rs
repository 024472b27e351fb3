//! Requests of a recorded run are repeated without anybody to make them to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, assert_no_secret_in, wait_until};
use crate::http::tls;
use crate::replay::{forged, is_the_same, lines, replayed, replayed_alone, told};

/// A server on loopback whose answer depends on the path. Dropped, nobody listens there any more.
struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    came: Arc<AtomicUsize>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answer: impl Fn(&str, BufReader<TcpStream>) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (over, came, answer) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(answer),
        );
        let (ending, counter) = (over.clone(), came.clone());
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let mut head = Vec::new();
                    while let Ok(1..) = stream.read_until(b'\n', &mut head) {
                        if head.ends_with(b"\r\n\r\n") {
                            let head = String::from_utf8_lossy(&head);
                            answer(head.split(' ').nth(1).unwrap(), stream);
                            return;
                        }
                    }
                });
            }
        });
        Server {
            address,
            over,
            came,
            listening: Some(listening),
        }
    }

    fn rule(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A request to this server.
    fn request(&self, path: &str, more: Value) -> Value {
        let mut request =
            json!({ "host": self.address.to_string(), "path": path, "scheme": "http" });
        if let Value::Object(more) = more {
            request.as_object_mut().unwrap().extend(more);
        }
        request
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for somebody to come.
        let _ = TcpStream::connect(self.address);
        self.listening.take().unwrap().join().unwrap();
    }
}

/// Reads the body of a request in chunks, to its end.
fn chunked(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap() == 0 {
            return body;
        }
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return body;
        }
    }
}

/// Lets one thread wait for another.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

/// What the bodies that were sent to `/echo` and `/sink` say.
type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

fn manners() -> (Server, Kept) {
    let (gate, kept) = (Gate::default(), Kept::default());
    let sent = kept.clone();
    let server = Server::start(move |path, mut stream| {
        let say = |mut stream: &TcpStream, text: &[u8]| {
            // Whoever has gone does not want it.
            let _ = stream.write_all(text);
        };
        let pause = || std::thread::sleep(Duration::from_millis(20));
        let out = stream.get_ref().try_clone().unwrap();
        match path {
            "/fast" => {
                say(
                    &out,
                    b"HTTP/1.1 200 OK\r\nx-raw: \xff\xfe\r\ncontent-length: 4\r\n\r\n\xff\x00\xfe!",
                );
            }
            "/slow" => {
                // Until the guest has got another answer, and handed it on.
                gate.wait();
                say(&out, b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\nx: 1\r\ny: 2\r\nx: 3\r\n\r\n");
                for piece in ["one", "two", "three"] {
                    pause();
                    say(&out, format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
                }
                pause();
                say(&out, b"0\r\nx-end: yes\r\n\r\n");
            }
            "/echo" | "/sink" => {
                if path == "/sink" {
                    gate.open();
                }
                let body = chunked(&mut stream);
                say(
                    &out,
                    format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{:05}",
                        body.len()
                    )
                    .as_bytes(),
                );
                sent.lock().unwrap().push(body);
            }
            "/cut" => say(&out, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
            "/early" => {
                // Does not care for what it is sent.
                say(
                    &out,
                    b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n",
                );
                let _ = stream.read_to_end(&mut Vec::new());
            }
            "/endless" => {
                say(&out, b"HTTP/1.1 200 OK\r\n\r\n");
                while (&out).write_all(&[b'x'; 4096]).is_ok() {}
            }
            "/long" => {
                let body = "0123456789".repeat(1000);
                say(
                    &out,
                    format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    )
                    .as_bytes(),
                );
            }
            "/never" => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
            path => panic!("nobody asks for {path}"),
        }
    });
    (server, kept)
}

/// What the guest has seen of a request, without its number.
fn of(output: &Value, request: usize) -> Vec<Vec<Value>> {
    output
        .as_array()
        .unwrap()
        .iter()
        .filter(|seen| seen[0] == request)
        .map(|seen| seen.as_array().unwrap()[1..].to_vec())
        .collect()
}

/// The answers to calls of a kind in the recording, with what they were asked.
fn calls(lab: &Lab, kind: &str) -> Vec<Value> {
    lines(lab)
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["call"] == kind)
        .collect()
}

#[test]
pub(crate) fn streams_requests() {
    let lab = Lab::new();
    let (server, kept) = manners();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let without_tls = plain.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream
            .write_all(b"this is not TLS, and long enough to be sure of it\n")
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let task = json!([
        server.request("/slow", json!({})),
        server.request("/fast", json!({ "max": 3 })),
        server.request("/echo", json!({ "pieces": ["a", "ü".repeat(200), ""] })),
        server.request("/cut", json!({})),
        server.request("/endless", json!({ "then": "drop", "max": 10 })),
        server.request("/long", json!({ "then": "skip", "max": 999 })),
        server.request("/long", json!({ "then": "forward", "to": "/sink" })),
        server.request("/never", json!({ "timeout-ms": 100 })),
        server.request("/early", json!({ "pieces": vec!["much"; 50] })),
        { "host": nobody, "path": "/", "scheme": "http" },
        { "host": "denied.example", "path": "/" },
        { "host": without_tls, "path": "/", "scheme": "https" },
    ]);
    let rules = [
        server.rule(),
        format!("http://{nobody}"),
        format!("https://{without_tls}"),
    ];
    let args: Vec<_> = rules
        .iter()
        .flat_map(|rule| ["--allow-host", rule.as_str()])
        .collect();
    let first = told(&lab, guests::STREAMS_REQUESTS, &task.to_string(), &args).exits_with(0);
    let output = &first.json()["output"];
    let ends = |request: usize, with: &str| {
        let seen = of(output, request);
        let last = Value::from(seen.last().unwrap().clone()).to_string();
        assert!(last.contains(with), "{request}: {with}: {seen:#?}");
    };
    let text = |request: usize| -> String {
        let seen = of(output, request);
        let read = seen.iter().filter(|seen| seen[0] == "read");
        read.map(|seen| seen[1].as_str().unwrap()).collect()
    };
    let first_of = |request: usize| {
        let mut all = output.as_array().unwrap().iter();
        all.position(|seen| seen[0] == request && seen[1] == "status")
            .unwrap()
    };
    assert!(first_of(6) < first_of(0), "answered out of order: {output}");
    assert_eq!(text(0), "onetwothree");
    ends(0, "x-end");
    assert_eq!(
        of(output, 0)[0][2],
        json!(["y: [50]", "x: [49]", "x: [51]"])
    );
    assert!(
        of(output, 1)[0][2]
            .to_string()
            .contains("x-raw: [255, 254]"),
        "{output}"
    );
    assert_eq!(text(2), "00407");
    ends(3, "Some(Ok(");
    assert!(
        of(output, 3)
            .iter()
            .any(|seen| seen[1].to_string().contains("HttpResponseIncomplete")),
        "{output}"
    );
    assert_eq!(of(output, 4).last().unwrap()[0], "read");
    ends(5, "None");
    ends(6, "Some(Ok(Ok(200)))");
    ends(7, "HttpResponseTimeout");
    assert!(
        of(output, 8)
            .iter()
            .any(|seen| seen[0] == "status" && seen[1] == 413),
        "{output}"
    );
    ends(9, "ConnectionRefused");
    ends(10, "HttpRequestDenied");
    ends(11, "TlsProtocolError");
    let mut sent = std::mem::take(&mut *kept.lock().unwrap());
    sent.sort_by_key(Vec::len);
    assert_eq!(sent[0], format!("begin a{}", "ü".repeat(200)).as_bytes());
    assert_eq!(sent[1].len(), 10_003);
    assert!(sent[1].ends_with(b"789\0\0\0"));

    // As the guest has seen it: every piece is there, and no other.
    let pieces = |request: u64| -> Vec<Value> {
        let read = calls(&lab, "http.read");
        read.iter()
            .filter(|call| call["request"]["request"] == request)
            .map(|call| call["result"]["ok"].clone())
            .filter(Value::is_string)
            .collect()
    };
    let seen: Vec<_> = of(output, 0)
        .into_iter()
        .filter(|seen| seen[0] == "read")
        .map(|seen| seen[1].clone())
        .collect();
    assert_eq!(pieces(1), seen);

    let came = server.came.clone();
    let before = came.load(Ordering::SeqCst);
    // With the server there, and without.
    is_the_same(&lab, &first, &replayed(&lab, &[]));
    assert_eq!(
        came.load(Ordering::SeqCst),
        before,
        "a replay makes no request"
    );
    drop(server);
    is_the_same(&lab, &first, &replayed(&lab, &[]));
    if let Some(done) = replayed_alone(&lab) {
        is_the_same(&lab, &first, &done);
    }
    // Nothing was asked of anybody, so there is no record of it.
    let account = lab.accounts().pop().unwrap();
    assert_eq!(account.audits("request").count(), 0);
    assert_eq!(account.audits("denied").count(), 0);
    assert!(lab.accounts()[0].audits("request").count() > 10);
}

#[test]
fn a_request_that_is_another_one_is_named_by_its_field() {
    let lab = Lab::new();
    let server = Server::start(|_, stream| {
        let _ = stream
            .get_ref()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    });
    let task = json!([server.request("/a", json!({ "body": "hello", "method": "POST" }))]);
    let first = told(
        &lab,
        guests::MAKES_REQUESTS,
        &task.to_string(),
        &["--allow-host", &server.rule()],
    )
    .exits_with(0);
    assert_eq!(first.json()["output"][0]["body"], "hi");
    let whole = lines(&lab);
    let edited = |from: &str, to: &str| {
        let mut lines = whole.clone();
        let line = lines
            .iter_mut()
            .skip(1)
            .find(|line| line.contains(from))
            .unwrap_or_else(|| panic!("{from}: {whole:#?}"));
        *line = line.replacen(from, to, 1);
        forged(&lab, lines);
        let done = replayed(&lab, &[]).exits_with(4);
        let ended = done.json()["ended"].clone();
        assert_eq!(ended["kind"], "diverged", "{ended}");
        ended
    };
    let url = edited("/a\"", "/b\"");
    assert_eq!(url["field"], "url", "{url}");
    assert_eq!(
        url["field_found"],
        format!("\"http://{}/a\"", server.address)
    );
    let body = edited(r#""data":"hello""#, r#""data":"Hello""#);
    assert_eq!(
        (&body["field"], &body["field_found"]),
        (&json!("data"), &json!("\"hello\"")),
        "{body}"
    );
    // An answer nobody can have got.
    let mut lines = whole.clone();
    let line = lines
        .iter_mut()
        .find(|line| line.contains("\"http.blocking-read\""))
        .unwrap();
    *line = line.replace(r#"{"ok":"hi"}"#, r#"{"ok":{"base64":"?"}}"#);
    forged(&lab, lines);
    let done = replayed(&lab, &[]);
    assert_ne!(done.code(), 0, "{}", done.shown());
    assert!(
        done.stderr().contains("in the recording is not one"),
        "{}",
        done.shown()
    );
}

#[test]
fn requests_over_tls_are_repeated_without_the_authority() {
    let lab = Lab::new();
    let server = tls(&lab, "localhost");
    let host = format!("localhost:{}", server.address.port());
    let task = json!([{ "host": host, "path": "/" }]).to_string();
    let args = ["--allow-host", &host, "--ca-file", "ca.pem"];
    let first = told(&lab, guests::MAKES_REQUESTS, &task, &args).exits_with(0);
    assert_eq!(first.json()["output"][0]["body"], "hi");
    std::fs::remove_file(lab.path("ca.pem")).unwrap();
    is_the_same(&lab, &first, &replayed(&lab, &[]));
    assert_eq!(server.received().len(), 1);
    // Who is not trusted is not trusted again.
    let first = told(
        &lab,
        guests::MAKES_REQUESTS,
        &task,
        &["--allow-host", &host],
    );
    assert_eq!(
        first.json()["output"][0]["error"],
        "ErrorCode::TlsCertificateError"
    );
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

#[test]
fn a_secret_that_was_put_on_the_wire_is_not_in_the_recording() {
    const KEY: &str = "hunter22/correct+horse~";
    let lab = Lab::new();
    let server = Server::start(|_, stream| {
        let said = format!("you sent {KEY}");
        let _ = stream.get_ref().write_all(
            format!(
                "HTTP/1.1 200 OK\r\nx-key: {KEY}\r\ncontent-length: {}\r\n\r\n{said}",
                said.len()
            )
            .as_bytes(),
        );
    });
    let grants = lab.file(
        "grants.toml",
        format!(
            "version = 1\nhosts = ['{0}']\nleaks = 'redact'\n\
             [[secrets]]\nname = 'github'\nhost = '{0}'\n",
            server.rule()
        ),
    );
    let task = json!([server.request("/", json!({}))]).to_string();
    let first = lab
        .run(guests::MAKES_REQUESTS, &task)
        .args(["--record=a.rec", "--out", "a.avp", "--format", "json"])
        .args(["--grants", &grants])
        .env("WASM_AGENT_SECRET_GITHUB", KEY)
        .done()
        .exits_with(0);
    assert_eq!(lab.account().audits("secret_used").count(), 1);
    assert_eq!(
        first.json()["output"][0]["body"],
        "you sent [secret:github]"
    );
    let recording = std::fs::read(lab.path("a.rec")).unwrap();
    assert_no_secret_in("the recording", &recording, KEY);
    assert!(
        !String::from_utf8(recording)
            .unwrap()
            .contains("authorization")
    );
    drop(server);
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

#[test]
fn a_hermetic_run_makes_no_request() {
    let lab = Lab::new();
    let server = Server::start(|_, _| {});
    let task = json!([
        server.request(
            "/a?key=s3cret",
            json!({ "pieces": ["a", "b"], "fill": true })
        ),
        server.request("/b", json!({})),
    ])
    .to_string();
    let run = |args: &[&str]| {
        lab.run(guests::STREAMS_REQUESTS, &task)
            .args(["--hermetic", "--format", "json"])
            .args(args.iter().copied())
            .done()
            .exits_with(0)
            .json()
    };
    let rule = server.rule();
    let one = run(&["--allow-host", &rule]);
    assert_eq!(
        one["run_digest"],
        run(&["--allow-host", &rule])["run_digest"]
    );
    for request in 0..2 {
        let seen = of(&one["output"], request);
        let denied = Value::from("Ok(Err(ErrorCode::HttpRequestDenied))");
        assert_eq!(seen[0], [json!("failed"), denied], "{seen:?}");
    }
    // That it may make none is nothing to refuse it for.
    assert_eq!(run(&[])["output"], one["output"]);
    let account = &lab.accounts()[0];
    let denied: Vec<_> = account.audits("denied").collect();
    assert_eq!(denied.len(), 2);
    assert_eq!(denied[0]["subject"], format!("POST {rule}/a"));
    assert_eq!(denied[0]["rule"], "a hermetic run reaches no network");
    assert_eq!(server.came.load(Ordering::SeqCst), 0);
    // Recorded, it is repeated like any other.
    let first = told(&lab, guests::STREAMS_REQUESTS, &task, &["--hermetic"]);
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

#[test]
fn a_run_that_was_ended_while_it_waited_for_a_response_is_ended_there_again() {
    let lab = Lab::new();
    let (server, _) = manners();
    let task = json!([
        server.request("/fast", json!({})),
        server.request("/never", json!({})),
    ])
    .to_string();
    let rule = server.rule();
    let args = ["--allow-host", &rule, "--limit", "wall=2s"];
    let first = told(&lab, guests::STREAMS_REQUESTS, &task, &args).exits_with(3);
    wait_until("two requests", || server.came.load(Ordering::SeqCst) == 2);
    drop(server);
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

/// A server that says how many requests it has had, and is silent below `/never`.
fn counting() -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |path, mut stream| {
        let body = format!("hi {}", count.fetch_add(1, Ordering::SeqCst) + 1);
        if path.starts_with("/never") {
            let _ = stream.read_to_end(&mut Vec::new());
        } else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.get_ref().write_all((head + &body).as_bytes());
        }
    })
}

/// The name of the last run.
fn last_run(lab: &Lab) -> String {
    let account = lab.accounts().pop().unwrap();
    let name = account.dir().file_name().unwrap();
    name.to_str().unwrap().to_owned()
}

#[test]
fn a_fork_makes_the_requests_that_come_after_it() {
    let lab = Lab::new();
    let server = counting();
    let task = json!([
        server.request("/a", json!({ "method": "POST", "body": "hello" })),
        server.request("/b", json!({})),
    ]);
    let first = lab
        .run(guests::MAKES_REQUESTS, &task.to_string())
        .args([
            "--record",
            "--format",
            "json",
            "--allow-host",
            &server.rule(),
        ])
        .done()
        .exits_with(0);
    assert_eq!(first.json()["output"][1]["body"], "hi 2");
    let run = last_run(&lab);
    std::fs::copy(
        lab.path("runs").join(&run).join("recording.ndjson"),
        lab.path("a.rec"),
    )
    .unwrap();
    let number = |kind: &str, at: usize| calls(&lab, kind)[at]["n"].as_u64().unwrap();
    let fork = |at: u64| {
        let at = at.to_string();
        lab.call(["fork", &run, "--at", &at, "--format", "json"])
            .args(["--out", "a.avp"])
            .done()
            .exits_with(0)
    };
    // What was answered is not asked for again.
    let second = number("http.send", 1);
    let forked = fork(second);
    assert_eq!(forked.json()["output"][0]["body"], "hi 1");
    assert_eq!(forked.json()["output"][1]["body"], "hi 3");
    assert_eq!(server.came.load(Ordering::SeqCst), 3);
    // A request that was under way is not: its connection is gone, wherever it was.
    let waiting = number("http.response", 0) - 1;
    for at in [
        number("http.blocking-write-and-flush", 0),
        number("http.finish", 0),
        waiting,
        number("http.response", 0),
        number("http.blocking-read", 0),
    ] {
        let output = fork(at).json()["output"].clone();
        let error = output[0]["error"].as_str().unwrap_or_default();
        let closed = ["ConnectionTerminated", "Closed", "HttpProtocolError"];
        assert!(
            closed.iter().any(|closed| error.contains(closed)),
            "{at}: {output}"
        );
        assert!(
            output[1]["body"].as_str().unwrap().starts_with("hi "),
            "{output}"
        );
    }
    assert_eq!(server.came.load(Ordering::SeqCst), 8);
    // Behind the end of a body is its end.
    let end = calls(&lab, "http.blocking-read");
    let end = end
        .iter()
        .position(|call| call["result"] == "closed")
        .unwrap();
    let output = fork(number("http.blocking-read", end) + 1).json()["output"].clone();
    assert_eq!(output[0]["body"], "hi 1");

    // A fork is recorded, and repeated like any other.
    let forked = fork(second);
    let recording = lab
        .path("runs")
        .join(last_run(&lab))
        .join("recording.ndjson");
    std::fs::copy(recording, lab.path("a.rec")).unwrap();
    drop(server);
    is_the_same(&lab, &forked, &replayed(&lab, &[]));
}

#[test]
fn a_killed_run_does_not_make_its_requests_again() {
    let lab = Lab::new();
    let server = counting();
    let task = json!([
        server.request("/a", json!({ "method": "POST", "body": "hello" })),
        server.request("/never", json!({ "method": "POST", "body": "hello" })),
        server.request("/b", json!({})),
    ]);
    let mut running = lab
        .run(guests::MAKES_REQUESTS, &task.to_string())
        .args(["--record", "--allow-host", &server.rule()])
        .spawn();
    wait_until("the second request", || {
        server.came.load(Ordering::SeqCst) == 2
    });
    running.child.kill().unwrap();
    running.wait();
    let run = last_run(&lab);
    let resume = |more: &[&str]| {
        lab.call(["run", "--resume", &run, "--format", "json"])
            .args(more.iter().copied())
            .done()
    };
    // Nobody knows whether the second one was taken.
    let stopped = resume(&[]).exits_with(2);
    assert!(
        stopped.stderr().contains("`http.send`"),
        "{}",
        stopped.shown()
    );
    let output = &resume(&["--in-doubt", "tell"]).exits_with(0).json()["output"];
    assert_eq!(output[0]["body"], "hi 1", "{output}");
    let error = output[1]["error"].as_str().unwrap();
    assert!(
        error.contains("ConnectionTerminated") || error.contains("Closed"),
        "{output}"
    );
    let body = output[2]["body"].as_str().unwrap();
    assert!(body.starts_with("hi "), "{output}");
    assert_eq!(server.came.load(Ordering::SeqCst), 3);
}
