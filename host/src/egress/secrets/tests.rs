//! Secrets in requests and responses, against a server on loopback that keeps what it received.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::egress::{Body, Caller, Egress, EgressOptions, Refused, Way};
use crate::grants::secrets::{Leaks, SecretSpec, SecretsGrant};
use crate::recording::Seed;
use crate::trajectory::journal::{Journal, Link};
use crate::trajectory::ledger::FactLimits;
use crate::trajectory::recorder::Ids;
use crate::trajectory::{Ledger, Record, Recorder};

const KEY: &str = "hunter22-correct-horse";
const OTHER: &str = "other-secret-value";

/// A server that answers each request with what `answer` makes of it.
struct Server {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    async fn answering(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = received.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !is_whole(&request) {
                    let mut buffer = [0; 4096];
                    let read = stream.read(&mut buffer).await.unwrap_or(0);
                    request.extend_from_slice(&buffer[..read]);
                    kept.lock().unwrap().extend_from_slice(&buffer[..read]);
                    if read == 0 {
                        break;
                    }
                }
                // Whoever asked may be gone.
                let _ = stream.write_all(&answer(&request)).await;
            }
        });
        Server { address, received }
    }

    async fn new() -> Server {
        Server::answering(|_| saying("ok")).await
    }

    fn rule(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

fn saying(text: &str) -> Vec<u8> {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}").into()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let body = request.len() - head.len() - 4;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => body >= length.parse().unwrap(),
        None if head.contains("transfer-encoding") => request.ends_with(b"0\r\n\r\n"),
        None => true,
    }
}

/// A run with secrets.
struct Lab {
    secrets: Secrets,
    egress: Egress,
    rules: Vec<String>,
    records: tokio::sync::mpsc::Receiver<Arc<Record>>,
    ledger: Ledger,
}

fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

fn vault() -> Vault {
    let secret = |id: &str, value: &str| Secret::new(&name(id), value.to_owned()).unwrap();
    Vault::default()
        .with(name("github"), secret("github", KEY))
        .with(name("other"), secret("other", OTHER))
}

fn spec(secret: &str, host: &str) -> SecretSpec {
    SecretSpec {
        name: secret.to_owned(),
        host: host.to_owned(),
        header: None,
        query: None,
        prefix: None,
        env: Some(format!("{}_KEY", secret.to_uppercase())),
    }
}

fn granted(specs: Vec<SecretSpec>) -> SecretsGrant {
    crate::grants::secrets::resolve(specs.into_iter(), Leaks::Block, &[].into()).unwrap()
}

impl Lab {
    fn new(server: &Server, leaks: Leaks, specs: Vec<SecretSpec>) -> Lab {
        let vault = vault();
        let mut gathering = Gathering::new(&vault, Seed::numbered(0));
        gathering.granted(&granted(specs)).unwrap();
        gathering.value(&name("other")).unwrap();
        let secrets = gathering.finish(leaks).unwrap();
        let (sender, records) = tokio::sync::mpsc::channel(1000);
        let limits = FactLimits {
            facts: 0,
            fact_bytes: 0,
            total_bytes: 0,
        };
        let journal = Journal::in_memory(Link::of(b"")).guarded(secrets.guard().cloned());
        let recorder = Recorder::new(Ids::seeded([1; 16]), "test", None);
        let ledger = Ledger::new(recorder, journal, limits, Some(sender));
        let options = EgressOptions {
            injector: secrets.injector(ledger.clone()),
            ..EgressOptions::default()
        };
        Lab {
            egress: Egress::with(ledger.clone(), options),
            secrets,
            rules: vec![server.rule()],
            records,
            ledger,
        }
    }

    fn way(&self, caller: Caller) -> Way {
        let rules = self.rules.iter().map(|rule| rule.parse().unwrap());
        self.egress.way(caller, rules.collect())
    }

    async fn send(&self, request: Request<Body>) -> Result<String, Refused> {
        let response = self.way(Caller::Guest).send(request).await?;
        let mut text = format!("{:?}\n", response.headers());
        let body = response.into_body().collect().await?.to_bytes();
        text.push_str(&String::from_utf8_lossy(&body));
        Ok(text)
    }

    fn placeholder(&self) -> String {
        self.secrets.placeholders()[0].as_str().to_owned()
    }

    async fn audits(&mut self) -> Vec<Value> {
        self.ledger.deliver().await;
        let mut audits = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            assert!(!record.line().contains(KEY), "{}", record.line());
            let line: Value = serde_json::from_str(record.line()).unwrap();
            audits.extend(line.get("audit").cloned());
        }
        audits
    }

    async fn leaks(&mut self) -> Vec<(String, String)> {
        let mut audits = self.audits().await;
        audits.retain(|audit| audit["kind"] == "leak");
        let text = |audit: &Value, key: &str| audit[key].as_str().unwrap().to_owned();
        audits
            .iter()
            .map(|audit| (text(audit, "name"), text(audit, "action")))
            .collect()
    }
}

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::from(body.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn pieces(pieces: Vec<Vec<u8>>) -> Body {
    let frames = pieces
        .into_iter()
        .map(|piece| Ok(http_body::Frame::data(Bytes::from(piece))));
    StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
}

fn get(url: &str) -> http::request::Builder {
    Request::get(url)
}

fn is_leak(answer: &Result<String, Refused>) -> bool {
    matches!(answer, Err(Refused::Leak { .. }))
}

#[tokio::test]
async fn the_host_puts_it_in_whatever_the_guest_has_put_there() {
    let server = Server::new().await;
    let mut lab = Lab::new(&server, Leaks::Block, vec![spec("github", &server.rule())]);
    let request = get(&server.url("/a?b=c"))
        .header("authorization", format!("Bearer {}", lab.placeholder()))
        .header("authorization", "Basic other")
        .header("accept-encoding", "gzip")
        .body(nothing())
        .unwrap();
    lab.send(request).await.unwrap();
    let received = server.received();
    let of = |name: &str| -> Vec<String> {
        let lines = received.lines().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        of("authorization"),
        [format!("authorization: Bearer {KEY}")]
    );
    assert_eq!(of("accept-encoding"), ["accept-encoding: identity"]);
    assert!(received.starts_with("GET /a?b=c HTTP/1.1"), "{received}");
    let audits = lab.audits().await;
    let used = audits
        .iter()
        .find(|it| it["kind"] == "secret_used")
        .unwrap();
    assert_eq!(
        (&used["name"], &used["place"], &used["replaced"]),
        (&"github".into(), &"authorization".into(), &true.into())
    );
    assert_eq!(used["host"], server.rule());
    let digest = used["digest"].as_str().unwrap();
    assert!(digest.len() == 71 && digest != format!("blake3:{}", blake3::hash(KEY.as_bytes())));
}

#[tokio::test]
async fn it_goes_into_the_query_where_it_is_bound_there() {
    let server = Server::new().await;
    let bound = SecretSpec {
        query: Some("key".to_owned()),
        ..spec("github", &server.rule())
    };
    let mut lab = Lab::new(&server, Leaks::Block, vec![bound]);
    let url = server.url("/x?key=mine&a=1&%6bey=again");
    lab.send(get(&url).body(nothing()).unwrap()).await.unwrap();
    let received = server.received();
    assert!(
        received.starts_with(&format!("GET /x?a=1&key={KEY} HTTP/1.1\r\n")),
        "{received}"
    );
    assert!(!received.contains("authorization"));
    let audits = lab.audits().await;
    assert!(!format!("{audits:?}").contains(KEY));
}

#[tokio::test]
async fn what_is_not_bound_gets_nothing() {
    let server = Server::new().await;
    let bound = spec("github", &format!("POST {}/v1", server.rule()));
    let lab = Lab::new(&server, Leaks::Block, vec![bound]);
    for path in ["/v1", "/v1/%2e%2e/admin", "/v2", "/v1x", "/v1%2f..%2fadmin"] {
        let request = get(&server.url(path)).body(nothing()).unwrap();
        lab.send(request).await.unwrap();
    }
    for path in ["/v1/../admin", "/v1%2f..%2fadmin", "/v2"] {
        let request = Request::post(server.url(path)).body(nothing()).unwrap();
        lab.send(request).await.unwrap();
    }
    // Another caller's requests are not the guest's.
    let request = Request::post(server.url("/v1")).body(nothing()).unwrap();
    lab.way(Caller::Model).send(request).await.unwrap();
    assert!(!server.received().contains(KEY));
    let request = Request::post(server.url("/v1/x")).body(nothing()).unwrap();
    lab.send(request).await.unwrap();
    assert_eq!(server.received().matches(KEY).count(), 1);
}

#[tokio::test]
async fn a_placeholder_goes_nowhere_else() {
    let server = Server::new().await;
    // The policy is about secrets.
    for leaks in [Leaks::Block, Leaks::Redact, Leaks::Warn] {
        let bound = spec("github", &format!("{}/v1", server.rule()));
        let mut lab = Lab::new(&server, leaks, vec![bound]);
        let placeholder = lab.placeholder();
        let requests = [
            get(&server.url("/v2"))
                .header("authorization", format!("Bearer {placeholder}"))
                .body(nothing()),
            get(&server.url("/v1"))
                .header("x-other", STANDARD.encode(format!("user:{placeholder}")))
                .body(nothing()),
            get(&server.url(&format!("/v1?key={placeholder}"))).body(nothing()),
            get(&server.url(&format!("/{placeholder}"))).body(nothing()),
            Request::post(server.url("/v1")).body(whole(format!("{{\"k\":\"{placeholder}\"}}"))),
        ];
        let count = requests.len();
        for request in requests {
            let answer = lab.send(request.unwrap()).await;
            assert!(is_leak(&answer), "{leaks:?} {answer:?}");
        }
        assert!(!server.received().contains("wa-placeholder"));
        let told = lab.leaks().await;
        let blocked = told.iter().filter(|(_, action)| action == "blocked");
        assert_eq!(blocked.count(), count, "{told:?}");
    }
}

#[tokio::test]
async fn a_secret_leaves_in_no_other_place() {
    let server = Server::new().await;
    let lab = Lab::new(&server, Leaks::Block, vec![spec("github", &server.rule())]);
    let base64 = STANDARD.encode(format!("user:{KEY}"));
    let hex = crate::digest::hex(KEY.as_bytes());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    write!(gzip, "{}{KEY}{}", "text ".repeat(100), "more ".repeat(100)).unwrap();
    let gzip = gzip.finish().unwrap();
    let post = || Request::post(server.url("/"));
    let escaped: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let unicode: String = KEY.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let cut = |at: usize| vec![KEY.as_bytes()[..at].to_vec(), KEY.as_bytes()[at..].to_vec()];
    let requests = [
        get(&server.url(&format!("/?q={KEY}"))).body(nothing()),
        get(&server.url(&format!("/{escaped}"))).body(nothing()),
        get(&server.url(&format!("/{hex}"))).body(nothing()),
        post().header("x-a", KEY).body(nothing()),
        post().header("x-a", &base64).body(nothing()),
        post().header(KEY, "x").body(nothing()),
        // Another one than the one that is bound there.
        post().header("x-a", OTHER).body(nothing()),
        post().body(whole(KEY)),
        post().body(whole(base64)),
        post().body(whole(hex.to_uppercase())),
        post().body(whole(unicode)),
        post()
            .header("content-encoding", "gzip")
            .body(whole(gzip.clone())),
        post().body(whole(gzip.clone())),
        post().body(pieces(gzip.iter().map(|byte| vec![*byte]).collect())),
        post().body(pieces(KEY.bytes().map(|byte| vec![byte]).collect())),
        post().body(pieces(cut(5))),
        post().body(pieces(cut(KEY.len() - 1))),
    ];
    for (at, request) in requests.into_iter().enumerate() {
        let answer = lab.send(request.unwrap()).await;
        assert!(is_leak(&answer), "{at}: {answer:?}");
    }
    // Where it is bound, and nowhere else; what was held back is no more than its beginning.
    let received = server.received();
    let bound = format!("authorization: Bearer {KEY}\r\n");
    let rest = received.replace(&bound, "");
    let guard = lab.secrets.guard().unwrap();
    assert_eq!(guard.redact(rest.as_bytes()), None, "{rest}");
    for prefix in [&KEY[..5], &KEY[..KEY.len() - 1]] {
        assert!(!rest.contains(prefix), "{rest}");
    }
}

#[tokio::test]
async fn bodies_without_secrets_arrive_as_they_are() {
    let server = Server::new().await;
    for leaks in [Leaks::Block, Leaks::Redact, Leaks::Warn] {
        let lab = Lab::new(&server, leaks, vec![spec("github", &server.rule())]);
        server.received.lock().unwrap().clear();
        let request = Request::post(server.url("/")).body(whole("hunter22-correct-hors!"));
        lab.send(request.unwrap()).await.unwrap();
        let received = server.received();
        assert!(received.contains("hunter22-correct-hors!"), "{received}");
        if leaks != Leaks::Redact {
            assert!(received.contains("content-length: 22\r\n"), "{received}");
        }
        let body = pieces(vec![b"hunter22-".to_vec(), b"correct".to_vec()]);
        let request = Request::post(server.url("/")).body(body);
        lab.send(request.unwrap()).await.unwrap();
        assert!(server.received().ends_with("0\r\n\r\n"));
    }
}

#[tokio::test]
async fn the_policy_may_be_to_cut_out_or_to_tell() {
    let server = Server::new().await;
    let bound = || vec![spec("github", &format!("{}/bound", server.rule()))];
    let mut lab = Lab::new(&server, Leaks::Redact, bound());
    let body = pieces(vec![b"a hunter22-corr".to_vec(), b"ect-horse b".to_vec()]);
    let request = Request::post(server.url("/")).header("x-a", KEY).body(body);
    lab.send(request.unwrap()).await.unwrap();
    let received = server.received();
    assert!(received.contains("x-a: [secret:github]\r\n"), "{received}");
    assert!(received.contains("[secret:github]"), "{received}");
    assert!(!received.contains("horse"), "{received}");
    let redacted = ("github".to_owned(), "redacted".to_owned());
    assert_eq!(lab.leaks().await, [redacted.clone(), redacted]);

    let mut lab = Lab::new(&server, Leaks::Warn, bound());
    let request = Request::post(server.url("/")).body(whole(KEY));
    lab.send(request.unwrap()).await.unwrap();
    assert!(server.received().contains(KEY));
    assert_eq!(lab.leaks().await[0].1, "passed");
}

#[tokio::test]
async fn what_a_server_says_of_a_secret_does_not_reach_the_guest() {
    let echo = |request: &[u8]| saying(&format!("you sent {}", String::from_utf8_lossy(request)));
    let server = Server::answering(echo).await;
    let bound = || vec![spec("github", &server.rule())];
    let request = || get(&server.url("/")).body(nothing()).unwrap();
    let mut lab = Lab::new(&server, Leaks::Block, bound());
    let answer = lab.send(request()).await;
    assert!(is_leak(&answer), "{answer:?}");
    assert_eq!(lab.leaks().await.len(), 1);
    let lab = Lab::new(&server, Leaks::Redact, bound());
    let answer = lab.send(request()).await.unwrap();
    assert!(answer.contains("Bearer [secret:github]"), "{answer}");
    assert!(!answer.contains(KEY), "{answer}");

    let redirect = |_: &[u8]| {
        format!("HTTP/1.1 302 Found\r\nlocation: /?key={KEY}\r\ncontent-length: 0\r\n\r\n").into()
    };
    let server = Server::answering(redirect).await;
    let lab = Lab::new(&server, Leaks::Block, vec![spec("github", &server.rule())]);
    let request = || get(&server.url("/")).body(nothing()).unwrap();
    assert!(is_leak(&lab.send(request()).await));
    let lab = Lab::new(&server, Leaks::Redact, vec![spec("github", &server.rule())]);
    let answer = lab.send(request()).await.unwrap();
    assert!(answer.contains("/?key=[secret:github]"), "{answer}");
}

#[tokio::test]
async fn a_stream_is_handed_on_as_it_comes() {
    let server = Server::answering(|_| {
        let begin = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        [&begin[..], b"9\r\ndata: hu\n\r\n"].concat()
    })
    .await;
    let lab = Lab::new(&server, Leaks::Block, vec![spec("github", &server.rule())]);
    let request = get(&server.url("/")).body(nothing()).unwrap();
    let response = lab.way(Caller::Guest).send(request).await.unwrap();
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "data: hu\n");
}

#[test]
fn what_is_not_set_or_clashes_is_an_error_before_the_run() {
    let vault = vault();
    let gather = |specs: Vec<SecretSpec>| {
        let mut gathering = Gathering::new(&vault, Seed::numbered(0));
        gathering.granted(&granted(specs))
    };
    let bare = |name: &str, host: &str| SecretSpec {
        env: None,
        ..spec(name, host)
    };
    assert!(gather(vec![bare("github", "a.org"), bare("other", "b.org")]).is_ok());
    let unset = gather(vec![bare("unknown", "a.org")]).unwrap_err();
    assert_eq!(unset.to_string(), "the secret `unknown` is not set");
    let hint = crate::error::Hint::hint(&unset).unwrap();
    assert!(hint.contains("wasm-agent secret set unknown"), "{hint}");
    assert!(hint.contains("WASM_AGENT_SECRET_UNKNOWN"), "{hint}");
    let clash = gather(vec![bare("github", "a.org/x"), bare("other", "a.org")]).unwrap_err();
    assert!(matches!(clash, SecretError::Collision { .. }), "{clash}");
}

#[test]
fn a_run_without_secrets_looks_for_nothing() {
    let secrets = Gathering::new(&vault(), Seed::numbered(0))
        .finish(Leaks::Block)
        .unwrap();
    assert!(secrets.guard().is_none() && secrets.placeholders().is_empty());
}
