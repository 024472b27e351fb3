//! Requests of agents, through the program: what is allowed, what is refused, and what is on record.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::Lab;

/// A server on loopback that answers every request in the same way, and keeps their heads.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn saying(answer: impl Into<Vec<u8>>) -> Server {
        Server::start(None, answer.into())
    }

    /// The thread ends with the tests.
    fn start(tls: Option<rustls::ServerConfig>, answer: Vec<u8>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = received.clone();
        let tls = tls.map(Arc::new);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer, tls) = (kept.clone(), answer.clone(), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &answer, &kept),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        let stream = rustls::StreamOwned::new(connection, stream);
                        serve(stream, &answer, &kept);
                    }
                });
            }
        });
        Server { address, received }
    }

    pub(crate) fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// A request to this server.
    fn request(&self, path: &str) -> Value {
        json!({ "scheme": "http", "host": self.address.to_string(), "path": path })
    }

    fn rule(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn serve(stream: impl Read + Write, answer: &[u8], kept: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while let Ok(1..) = stream.read_line(&mut head) {
        if head.ends_with("\r\n\r\n") {
            break;
        }
    }
    if head.is_empty() {
        return;
    }
    kept.lock().unwrap().push(head);
    if stream.get_mut().write_all(answer).is_ok() && stream.get_mut().flush().is_ok() {
        // Until the other end goes.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

const HI: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

fn task(requests: &[Value]) -> String {
    Value::from(requests).to_string()
}

#[test]
pub(crate) fn makes_requests() {
    let lab = Lab::new();
    let inside = Server::saying(HI);
    let location = format!("http://{}/", inside.address);
    let server = Server::saying(format!(
        "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 2\r\n\r\nhi"
    ));
    let mut post = server.request("/api/x?token=s3cret");
    post["method"] = "POST".into();
    post["body"] = "hello".into();
    let requests = [
        server.request("/api/a/../b?key=s3cret"),
        post,
        server.request("/other"),
        server.request("/api/%2e%2e/other"),
        inside.request("/?s3cret"),
    ];
    let done = lab
        .run(guests::MAKES_REQUESTS, &task(&requests))
        .args(["--allow-host", &server.rule("/api")])
        .done()
        .exits_with(0);
    let (answers, done_said) = (done.json(), done.stderr());
    assert_eq!(
        answers[0],
        json!({ "status": 302, "location": location, "body": "hi" }),
        "the redirect is the guest's to follow"
    );
    assert_eq!(answers[1]["status"], 302);
    for at in 2..5 {
        assert_eq!(
            answers[at]["error"], "ErrorCode::HttpRequestDenied",
            "{answers}"
        );
    }
    assert!(inside.received().is_empty());
    let received = server.received();
    assert!(
        received[0].starts_with("GET /api/b?key=s3cret HTTP/1.1\r\n"),
        "{received:?}"
    );
    assert!(
        received[1].starts_with("POST /api/x?token=s3cret HTTP/1.1\r\n"),
        "{received:?}"
    );
    assert_eq!(received.len(), 2);

    let account = lab.account();
    let made: Vec<_> = account.audits("request").collect();
    assert_eq!(made.len(), 5);
    assert_eq!(
        made[0]["url"],
        format!("http://{}/api/b?key=…", server.address)
    );
    assert_eq!(made[0]["rule"], server.rule("/api"));
    assert_eq!(made[0]["address"], server.address.to_string());
    assert_eq!(
        (&made[1]["bytes_out"], &made[1]["bytes_in"]),
        (&5.into(), &2.into())
    );
    assert_eq!(account.audits("denied").count(), 3);
    // What is on record says where it went, and not with what.
    let events = std::fs::read_to_string(account.dir().join("events.ndjson")).unwrap();
    let records: Vec<_> = events
        .lines()
        .filter(|line| line.contains(r#""kind":"request""#))
        .collect();
    assert!(!records.concat().contains("s3cret"));
    assert_eq!(
        account.request()["grants"]["hosts"],
        json!([server.rule("/api")])
    );

    let told = format!("GET http://{}/api/b?key=… → 302, 2 B in ", server.address);
    assert!(done_said.contains(&told), "{done_said}");
}

#[test]
fn an_agent_that_makes_requests_needs_a_host() {
    let lab = Lab::new();
    let done = lab.run(guests::MAKES_REQUESTS, "[]").done().exits_with(2);
    // Compiling takes its time, and may be told of, too.
    let said = "error: cannot start the agent: it makes requests (`wasi:http/outgoing-handler@0.2.12`), and no host is granted
hint: `--allow-host HOST` allows requests to a host, and to no other\n";
    assert!(done.stderr().ends_with(said), "{}", done.shown());
    assert_eq!(done.stdout(), "");
    assert!(lab.accounts().is_empty(), "nothing was run");
    // Told of before, too.
    let inspected = lab
        .call(["inspect", guests::MAKES_REQUESTS])
        .done()
        .exits_with(0);
    assert!(
        inspected.stdout().contains("--allow-host"),
        "{}",
        inspected.shown()
    );
}

#[test]
fn rules_that_say_too_much_or_nothing_are_refused() {
    let lab = Lab::new();
    for rule in [
        "*",
        "",
        "https://*",
        "*.com",
        "ftp://example.com",
        "example.com/../x",
    ] {
        let done = lab
            .run(guests::MAKES_REQUESTS, "[]")
            .args(["--allow-host", rule])
            .done()
            .exits_with(2);
        assert!(
            done.stderr().contains("cannot read the host rule"),
            "{}",
            done.shown()
        );
    }
    lab.file("empty.pem", "");
    for (args, text) in [
        (["--ca-file", "empty.pem"], "there is no certificate in it"),
        (["--ca-file", "missing.pem"], "No such file"),
        (["--proxy", "socks5://localhost"], "cannot use the proxy"),
    ] {
        let done = lab
            .run(guests::MAKES_REQUESTS, "[]")
            .args(args)
            .done()
            .exits_with(2);
        assert!(done.stderr().contains(text), "{}", done.shown());
    }
}

/// An authority in a file, and a server it vouches for.
pub(crate) fn tls(lab: &Lab, name: &str) -> Server {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority =
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    lab.file("ca.pem", authority.pem());
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            key.serialize_der().try_into().unwrap(),
        )
        .unwrap();
    Server::start(Some(config), HI.into())
}

#[test]
fn tls_is_trusted_as_far_as_the_operator_says() {
    let lab = Lab::new();
    let server = tls(&lab, "localhost");
    let host = format!("localhost:{}", server.address.port());
    let requests = task(&[json!({ "host": host, "path": "/" })]);
    let call = || {
        lab.run(guests::MAKES_REQUESTS, &requests)
            .args(["--allow-host", &host])
    };
    let answers = call()
        .args(["--ca-file", "ca.pem"])
        .done()
        .exits_with(0)
        .json();
    assert_eq!(answers[0]["body"], "hi", "{answers}");
    let answers = call().done().exits_with(0).json();
    assert_eq!(answers[0]["error"], "ErrorCode::TlsCertificateError");

    let server = tls(&lab, "other.example");
    let host = format!("localhost:{}", server.address.port());
    let requests = task(&[json!({ "host": host, "path": "/" })]);
    let call = lab.run(guests::MAKES_REQUESTS, &requests);
    let done = call
        .args(["--allow-host", &host, "--ca-file", "ca.pem"])
        .done();
    assert_eq!(done.json()[0]["error"], "ErrorCode::TlsCertificateError");
    assert!(server.received().is_empty());
}

#[test]
fn a_server_that_never_answers_does_not_keep_a_run() {
    let lab = Lab::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = silent.local_addr().unwrap().to_string();
    let rule = format!("http://{host}");
    let requests = task(&[json!({ "scheme": "http", "host": host, "path": "/" })]);
    let call = || {
        lab.run(guests::MAKES_REQUESTS, &requests)
            .args(["--allow-host", &rule])
    };
    let answers = call().limit("http-head=200ms").done().exits_with(0).json();
    assert_eq!(answers[0]["error"], "ErrorCode::HttpResponseTimeout");

    // The run's own time ends it, and what was under way is on record.
    call().limit("wall=500ms").done().exits_with(3);
    let account = lab.accounts().pop().unwrap();
    assert_eq!(account.audits("request").count(), 1);
    drop(silent);
}
