//! The way out against real servers on loopback.

mod server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use serde_json::Value;
use tokio::sync::mpsc;

use super::resolve::tests::Scripted;
use super::*;
use crate::trajectory::journal::{Journal, Link};
use crate::trajectory::ledger::FactLimits;
use crate::trajectory::recorder::Ids;
use crate::trajectory::{Record, Recorder};
use server::{Authority, Server};

/// A way out of a run, and its account.
struct Lab {
    egress: Egress,
    way: Way,
    records: mpsc::Receiver<Arc<Record>>,
    ledger: Ledger,
}

impl Lab {
    fn new(rules: &[&str]) -> Lab {
        Lab::with(rules, EgressOptions::default())
    }

    fn limited(rules: &[&str], limits: &[(&str, &str)]) -> Lab {
        let mut options = EgressOptions::default();
        for (name, value) in limits {
            options.limits.set(name, value).unwrap();
        }
        Lab::with(rules, options)
    }

    fn with(rules: &[&str], options: EgressOptions) -> Lab {
        let (sender, records) = mpsc::channel(1000);
        let limits = FactLimits {
            facts: 0,
            fact_bytes: 0,
            total_bytes: 0,
        };
        let recorder = Recorder::new(Ids::seeded([1; 16]), "test", None);
        let ledger = Ledger::new(
            recorder,
            Journal::in_memory(Link::of(b"")),
            limits,
            Some(sender),
        );
        let egress = Egress::with(ledger.clone(), options);
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Lab {
            way: egress.way(Caller::Guest, rules),
            egress,
            records,
            ledger,
        }
    }

    async fn get(&self, url: &str) -> Result<Response<Body>, Refused> {
        self.way.send(get(url)).await
    }

    /// Fetches all of it.
    async fn fetch(&self, url: &str) -> Result<(u16, String), Refused> {
        whole(self.get(url).await?).await
    }

    /// The audit records so far.
    async fn audits(&mut self) -> Vec<Value> {
        self.ledger.deliver().await;
        let mut audits = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            let line: Value = serde_json::from_str(record.line()).unwrap();
            audits.extend(line.get("audit").cloned());
        }
        audits
    }

    /// The records of requests so far.
    async fn requests(&mut self) -> Vec<Value> {
        let mut audits = self.audits().await;
        audits.retain(|audit| audit["kind"] == "request");
        audits
    }
}

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn text(body: &'static [u8]) -> Body {
    Full::from(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(nothing()).unwrap()
}

async fn whole(response: Response<Body>) -> Result<(u16, String), Refused> {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn any(server: &Server) -> String {
    format!("http://{}", server.address)
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_normalised_and_recorded() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\nhi").await;
    let mut lab = Lab::new(&[&format!("GET http://{}/a", server.address)]);
    let url = format!("http://{}/a/b/%2e%2e/c?key=value", server.address);
    let mut request = get(&url);
    request.headers_mut().insert("x-own", "1".parse().unwrap());
    let answer = whole(lab.way.send(request).await.unwrap()).await.unwrap();
    assert_eq!(answer, (200, "hi".to_owned()));
    let received = &server.received()[0];
    assert!(
        received.starts_with("GET /a/c?key=value HTTP/1.1\r\n"),
        "{received}"
    );
    assert!(
        received.contains(&format!("\r\nhost: {}\r\n", server.address)),
        "{received}"
    );
    assert!(received.contains("\r\nx-own: 1\r\n"), "{received}");
    let records = lab.requests().await;
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(record["caller"], "guest");
    assert_eq!(record["method"], "GET");
    assert_eq!(
        record["url"],
        format!("http://{}/a/c?key=…", server.address)
    );
    assert_eq!(record["rule"], format!("GET http://{}/a", server.address));
    assert_eq!(record["address"], server.address.to_string());
    assert_eq!(
        (&record["status"], &record["bytes_in"]),
        (&200.into(), &2.into())
    );
    assert!(record.get("error").is_none(), "{record}");
}

#[tokio::test]
async fn what_no_rule_allows_reaches_nobody() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut lab = Lab::new(&[]);
    let refused = lab.get(&server.url("/?q=s3cret")).await.unwrap_err();
    assert!(matches!(refused, Refused::Denied { .. }), "{refused}");
    assert!(server.received().is_empty());
    let audits = lab.audits().await;
    assert_eq!(audits.len(), 2, "{audits:?}");
    assert_eq!(
        (&audits[0]["kind"], &audits[0]["rule"]),
        (&"denied".into(), &"no host is granted".into())
    );
    assert_eq!(audits[1]["kind"], "request");
    assert!(!format!("{audits:?}").contains("s3cret"));

    let lab = Lab::new(&[&format!("POST {}", any(&server))]);
    assert!(matches!(
        lab.get(&server.url("/")).await,
        Err(Refused::Denied { .. })
    ));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_what_it_names_is_checked_like_anything_else() {
    let inside = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ninside").await;
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n",
        inside.url("/")
    );
    let server = Server::saying(answer).await;
    let lab = Lab::new(&[&any(&server)]);
    let response = lab.get(&server.url("/")).await.unwrap();
    assert_eq!(response.status(), 302);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(matches!(
        lab.get(&location).await,
        Err(Refused::Denied { .. })
    ));
    assert!(inside.received().is_empty());
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_what_was_checked_is_connected_to() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = server.address.port();
    let rule = format!("http://rebinding.example:{port}");
    for answers in [
        &[&["127.0.0.1"][..]][..],
        &[&["1.1.1.1", "127.0.0.1"]],
        &[&["::ffff:127.0.0.1"]],
    ] {
        let options = EgressOptions {
            resolver: Arc::new(Scripted::new(answers)),
            ..EgressOptions::default()
        };
        let mut lab = Lab::with(&[&rule], options);
        let refused = lab.get(&format!("{rule}/")).await.unwrap_err();
        assert!(matches!(refused, Refused::Address { .. }), "{refused}");
        let audits = lab.audits().await;
        assert_eq!(audits[0]["kind"], "denied", "{audits:?}");
        assert!(
            audits[0]["rule"]
                .as_str()
                .unwrap()
                .contains("only a rule that names it")
        );
        assert!(audits[1].get("address").is_none(), "{audits:?}");
    }
    let counting = Arc::new(Counting::default());
    let options = EgressOptions {
        resolver: counting.clone(),
        ..EgressOptions::default()
    };
    let lab = Lab::with(&[&rule], options);
    assert!(matches!(
        lab.get(&format!("{rule}/")).await,
        Err(Refused::Address { .. })
    ));
    assert_eq!(counting.0.load(Ordering::Relaxed), 1);
    assert!(server.received().is_empty());
}

/// A name that is this machine, and how often it was looked up.
#[derive(Default)]
struct Counting(AtomicU64);

impl Resolver for Counting {
    fn look_up<'a>(&'a self, _: &'a str) -> resolve::Looking<'a> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()]) })
    }
}

#[tokio::test]
async fn localhost_and_addresses_are_reached_when_a_rule_names_them() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let port = server.address.port();
    let lab = Lab::new(&[&format!("http://localhost:{port}")]);
    assert_eq!(
        lab.fetch(&format!("http://LOCALHOST.:{port}/"))
            .await
            .unwrap()
            .0,
        200
    );
    // The rule is about the name; the address is another place.
    assert!(matches!(
        lab.get(&server.url("/")).await,
        Err(Refused::Denied { .. })
    ));
}

/// A way that trusts `authority` and may make requests to `server` under `host`.
fn trusting(authority: Option<&Authority>, rule: &str) -> Lab {
    let mut options = EgressOptions::default();
    options
        .network
        .authorities
        .extend(authority.map(Authority::certificate));
    Lab::with(&[rule], options)
}

async fn tls_server(authority: &Authority, names: &[&str]) -> Server {
    Server::start(Some(authority.server(names, &["http/1.1"])), |mut peer| {
        Box::pin(async move {
            peer.head().await;
            peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecure")
                .await;
            peer.gone().await;
        })
    })
    .await
}

#[tokio::test]
async fn tls_is_spoken_to_whom_an_authority_vouches_for() {
    let authority = Authority::new();
    let server = tls_server(&authority, &["localhost", "127.0.0.1"]).await;
    let port = server.address.port();
    let rule = format!("localhost:{port}");
    let url = format!("https://localhost:{port}/");

    let lab = trusting(Some(&authority), &rule);
    assert_eq!(lab.fetch(&url).await.unwrap(), (200, "secure".to_owned()));
    let lab = trusting(Some(&authority), &format!("127.0.0.1:{port}"));
    assert_eq!(
        lab.fetch(&format!("https://127.0.0.1:{port}/"))
            .await
            .unwrap()
            .0,
        200
    );

    for stranger in [None, Some(Authority::new())] {
        let mut lab = trusting(stranger.as_ref(), &rule);
        let refused = lab.get(&url).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Refused::Tls {
                    certificate: true,
                    ..
                }
            ),
            "{refused}"
        );
        assert_eq!(lab.requests().await[0]["error"], refused.to_string());
    }
    assert_eq!(server.received().len(), 2, "nothing was said to a stranger");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_none() {
    let authority = Authority::new();
    let server = tls_server(&authority, &["other.example"]).await;
    let port = server.address.port();
    let lab = trusting(Some(&authority), &format!("localhost:{port}"));
    let refused = lab
        .get(&format!("https://localhost:{port}/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Tls {
                certificate: true,
                ..
            }
        ),
        "{refused}"
    );
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_no_server() {
    let server = Server::start(None, |mut peer| {
        Box::pin(async move {
            peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            peer.gone().await;
        })
    })
    .await;
    let port = server.address.port();
    let lab = Lab::new(&[&format!("localhost:{port}")]);
    let refused = lab
        .get(&format!("https://localhost:{port}/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Tls {
                certificate: false,
                ..
            }
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn http_2_is_spoken_to_servers_that_want_it() {
    let authority = Authority::new();
    let config = authority.server(&["localhost"], &["h2", "http/1.1"]);
    let server = Server::start(Some(config), |peer| {
        Box::pin(async move {
            let mut connection = h2::server::handshake(peer.io).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    let seen = format!(
                        "{} {} {:?}",
                        request.method(),
                        request.uri(),
                        request.headers()
                    );
                    let mut body = request.into_body();
                    let mut length = 0;
                    while let Some(Ok(data)) = body.data().await {
                        let _ = body.flow_control().release_capacity(data.len());
                        length += data.len();
                    }
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    let text = format!("{seen} {length}");
                    stream.send_data(text.into(), true).unwrap();
                });
            }
        })
    })
    .await;
    let port = server.address.port();
    let mut lab = trusting(Some(&authority), &format!("localhost:{port}"));
    let url = format!("https://localhost:{port}/a?b=c");
    let request = Request::post(&url)
        .header("x", "y")
        .body(text(&[0; 100_000]))
        .unwrap();
    let (status, seen) = whole(lab.way.send(request).await.unwrap()).await.unwrap();
    assert_eq!(status, 200);
    assert!(seen.starts_with(&format!("POST {url} ")), "{seen}");
    assert!(
        seen.contains(r#""x": "y""#) && !seen.contains("\"host\""),
        "{seen}"
    );
    assert!(seen.ends_with(" 100000"), "{seen}");
    assert_eq!(lab.requests().await[0]["bytes_out"], 100_000);
}

#[tokio::test]
async fn a_response_that_ends_too_early_is_not_taken_for_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let server = Server::start(None, move |mut peer| {
            Box::pin(async move {
                peer.head().await;
                peer.say(answer.as_bytes()).await;
            })
        })
        .await;
        let mut lab = Lab::new(&[&any(&server)]);
        let refused = lab.fetch(&server.url("/")).await.unwrap_err();
        assert_eq!(refused, Refused::Truncated);
        let record = &lab.requests().await[0];
        assert_eq!(
            (&record["status"], &record["bytes_in"]),
            (&200.into(), &4.into())
        );
        assert_eq!(record["error"], refused.to_string());
    }
}

#[tokio::test]
async fn answers_that_are_not_http_or_could_be_read_in_two_ways_are_refused() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded: b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi",
    ] {
        let server = Server::start(None, move |mut peer| {
            Box::pin(async move {
                peer.head().await;
                peer.say(answer.as_bytes()).await;
            })
        })
        .await;
        let lab = Lab::new(&[&any(&server)]);
        let got = lab.fetch(&server.url("/")).await;
        let expected_body = answer.starts_with("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip");
        // Without chunks, such a body ends with the connection: the length counts for nothing.
        assert!(got.is_err() || expected_body, "{answer:?}: {got:?}");
    }
}

#[tokio::test]
async fn slow_servers_are_given_up() {
    // One that is silent.
    let silent = Server::start(None, |mut peer| Box::pin(async move { peer.gone().await })).await;
    let mut lab = Lab::limited(&[&any(&silent)], &[("http-head", "50ms")]);
    let refused = lab.get(&silent.url("/")).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Timeout {
                waiting: Waiting::Head,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(lab.requests().await[0]["error"], refused.to_string());
    // One that stops in the middle.
    let slow = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let lab = Lab::limited(&[&any(&slow)], &[("http-idle", "50ms")]);
    let refused = lab.fetch(&slow.url("/")).await.unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Timeout {
                waiting: Waiting::Body,
                ..
            }
        ),
        "{refused}"
    );
    // One that never finishes its handshake.
    let port = silent.address.port();
    let lab = Lab::limited(&[&format!("localhost:{port}")], &[("http-connect", "50ms")]);
    let refused = lab
        .get(&format!("https://localhost:{port}/"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Refused::Timeout {
                waiting: Waiting::Connection,
                ..
            }
        ),
        "{refused}"
    );
    // What a caller asks for can only be shorter, and no time at all is a time.
    let lab = Lab::new(&[&any(&slow)]);
    let soon = Some(Duration::from_millis(50));
    for (connect, head, idle) in [
        (Some(Duration::ZERO), None, soon),
        (None, Some(Duration::ZERO), soon),
        (None, None, Some(Duration::ZERO)),
    ] {
        let timeouts = Timeouts {
            connect,
            head,
            idle,
        };
        let mut request = get(&slow.url("/"));
        request.extensions_mut().insert(timeouts);
        let refused = match lab.way.send(request).await {
            Ok(response) => whole(response).await.unwrap_err(),
            Err(refused) => refused,
        };
        assert!(matches!(refused, Refused::Timeout { .. }), "{refused}");
    }
    let mut request = get(&slow.url("/"));
    request.extensions_mut().insert(Timeouts {
        connect: Some(Duration::MAX),
        head: Some(Duration::MAX),
        idle: Some(Duration::MAX),
    });
    assert_eq!(lab.way.send(request).await.unwrap().status(), 200);
}

/// A server whose response never ends.
async fn endless(head: &'static str, piece: &'static [u8]) -> Server {
    Server::start(None, move |mut peer| {
        Box::pin(async move {
            peer.head().await;
            peer.say(head.as_bytes()).await;
            while peer.say(piece).await {}
        })
    })
    .await
}

#[tokio::test]
async fn responses_without_end_are_cut_off() {
    let body = endless("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 10_000]).await;
    let mut lab = Lab::limited(&[&any(&body)], &[("response-bytes", "1MiB")]);
    for _ in 0..2 {
        let refused = lab.fetch(&body.url("/")).await.unwrap_err();
        assert_eq!(
            refused,
            Refused::Limit {
                name: "response-bytes",
                max: 1 << 20
            }
        );
    }
    let audits = lab.audits().await;
    let limits = audits
        .iter()
        .filter(|audit| audit["kind"] == "limit")
        .count();
    assert_eq!((limits, audits.len()), (1, 3), "a limit is told of once");

    for (head, piece) in [
        (
            "HTTP/1.1 200 OK\r\n",
            &b"x: 0123456789012345678901234567890123456789\r\n"[..],
        ),
        ("HTTP/1.1 200 OK\r\nx: ", b"0123456789"),
        ("HTTP/1.1 200 ", b"OKOKOKOKOK"),
    ] {
        let headers = endless(head, piece).await;
        let lab = Lab::limited(&[&any(&headers)], &[("header-bytes", "16KiB")]);
        let refused = lab.fetch(&headers.url("/")).await.unwrap_err();
        assert!(
            matches!(
                refused,
                Refused::Limit {
                    name: "header-bytes",
                    ..
                }
            ),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn requests_are_bounded_in_every_direction() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let lab = Lab::limited(
        &[&any(&server)],
        &[
            ("url-bytes", "1KiB"),
            ("header-bytes", "1KiB"),
            ("request-bytes", "1KiB"),
        ],
    );
    let limit = |answer: Result<Response<Body>, Refused>| match answer.unwrap_err() {
        Refused::Limit { name, .. } => name,
        other => panic!("{other}"),
    };
    let long = server.url(&format!("/{}", "a".repeat(1024)));
    assert_eq!(limit(lab.get(&long).await), "url-bytes");
    let mut request = get(&server.url("/"));
    for _ in 0..100 {
        request
            .headers_mut()
            .append("x", "0123456789".parse().unwrap());
    }
    assert_eq!(limit(lab.way.send(request).await), "header-bytes");
    let request = Request::post(server.url("/")).header("content-length", "2000");
    assert_eq!(
        limit(lab.way.send(request.body(text(&[0; 2000])).unwrap()).await),
        "request-bytes"
    );
    assert!(server.received().is_empty());
    let stream = futures_util::stream::repeat_with(|| {
        Ok(http_body::Frame::data(Bytes::from_static(&[0; 100])))
    });
    let request = Request::post(server.url("/")).body(StreamBody::new(stream).boxed_unsync());
    assert_eq!(limit(lab.way.send(request.unwrap()).await), "request-bytes");
}

#[tokio::test]
async fn requests_are_counted_and_beyond_their_number_nothing_is_even_recorded() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut lab = Lab::limited(&[&any(&server)], &[("requests", "2")]);
    for _ in 0..2 {
        assert!(lab.fetch(&server.url("/")).await.is_ok());
    }
    for _ in 0..50 {
        let refused = lab.get(&server.url("/")).await.unwrap_err();
        assert_eq!(
            refused,
            Refused::Limit {
                name: "requests",
                max: 2
            }
        );
    }
    assert_eq!(server.received().len(), 2);
    assert_eq!(lab.audits().await.len(), 3);
}

#[tokio::test]
async fn only_so_many_requests_are_under_way_at_once() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
    let lab = Lab::limited(
        &[&any(&server)],
        &[("connections", "1"), ("http-connect", "200ms")],
    );
    let held = lab.get(&server.url("/")).await.unwrap();
    let refused = lab.get(&server.url("/")).await.unwrap_err();
    assert_eq!(
        refused,
        Refused::Limit {
            name: "connections",
            max: 1
        }
    );
    drop(held);
    assert!(lab.get(&server.url("/")).await.is_ok());
}

#[tokio::test]
async fn requests_two_servers_could_read_in_two_ways_are_not_sent() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let lab = Lab::new(&[&any(&server)]);
    for headers in [
        &[("host", "other.example")][..],
        &[("transfer-encoding", "chunked")],
        &[("connection", "close")],
        &[("te", "trailers")],
        &[("upgrade", "h2c")],
        &[("proxy-authorization", "x")],
        &[("expect", "100-continue")],
        &[("content-length", "1"), ("content-length", "2")],
        &[("content-length", "+1")],
        &[("content-length", "1, 1")],
        &[("content-length", "")],
    ] {
        let mut request = get(&server.url("/"));
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let refused = lab.way.send(request).await.unwrap_err();
        assert!(
            matches!(refused, Refused::Malformed { .. }),
            "{headers:?}: {refused}"
        );
    }
    for method in [Method::CONNECT, Method::TRACE] {
        let mut request = get(&server.url("/"));
        *request.method_mut() = method;
        assert!(matches!(
            lab.way.send(request).await,
            Err(Refused::Malformed { .. })
        ));
    }
    // A line cannot be ended from within: the types do not have such values.
    assert!(http::HeaderValue::from_bytes(b"a\r\nb: c").is_err());
    assert!("http://a.example/\r\nx".parse::<http::Uri>().is_err());
    assert!(server.received().is_empty());
    // A length that is not that of the body.
    for (declared, body) in [("5", &b"abc"[..]), ("2", b"abc")] {
        let request = Request::post(server.url("/")).header("content-length", declared);
        let answer = lab.way.send(request.body(text(body)).unwrap()).await;
        assert!(
            matches!(answer, Err(Refused::Malformed { .. })),
            "{declared}: {answer:?}"
        );
    }
    for received in server.received() {
        assert!(
            !received.contains("abc"),
            "nothing beyond what was declared: {received}"
        );
    }
}

#[tokio::test]
async fn a_slow_reader_slows_the_server_down() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let server = Server::start(None, move |mut peer| {
        let counter = counter.clone();
        Box::pin(async move {
            peer.head().await;
            peer.say(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while peer.say(&[0; 65536]).await {
                counter.fetch_add(65536, Ordering::Relaxed);
            }
        })
    })
    .await;
    let lab = Lab::limited(&[&any(&server)], &[("response-bytes", "1GiB")]);
    let response = lab.get(&server.url("/")).await.unwrap();
    // Until the server is stuck: what lies in between is the system's buffers and one of hyper's.
    let mut last = u64::MAX;
    while sent.load(Ordering::Relaxed) != last {
        last = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(last < 32 << 20, "{last} bytes lie around");
    drop(response);
}

#[tokio::test]
async fn dropping_a_request_or_a_body_ends_the_connection_and_is_on_record() {
    let (ended, mut ends) = mpsc::channel::<()>(4);
    let server = Server::start(None, move |mut peer| {
        let ended = ended.clone();
        Box::pin(async move {
            let head = peer.head().await;
            if head.contains("/answers") {
                peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
                    .await;
            }
            peer.gone().await;
            let _ = ended.send(()).await;
        })
    })
    .await;
    let mut lab = Lab::new(&[&any(&server)]);
    {
        let url = server.url("/silent");
        let sending = lab.get(&url);
        tokio::pin!(sending);
        assert!(
            tokio::time::timeout(Duration::from_millis(50), &mut sending)
                .await
                .is_err()
        );
    }
    ends.recv().await.unwrap();
    drop(lab.get(&server.url("/answers")).await.unwrap());
    ends.recv().await.unwrap();
    let records = lab.requests().await;
    assert_eq!(records.len(), 2, "{records:?}");
    for record in records {
        assert_eq!(record["error"], Refused::Dropped.to_string());
    }
}

#[tokio::test]
async fn nothing_is_recorded_or_sent_after_the_end() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let mut lab = Lab::new(&[&any(&server)]);
    let open = lab.get(&server.url("/")).await.unwrap();
    lab.egress.close();
    let records = lab.requests().await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["error"], Refused::Closed.to_string());
    drop(open);
    assert_eq!(
        lab.get(&server.url("/")).await.unwrap_err(),
        Refused::Closed
    );
    assert!(lab.audits().await.is_empty());
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_proxy_is_used_for_everything_and_rules_still_hold() {
    let authority = Authority::new();
    let inside = tls_server(&authority, &["inside.example"]).await;
    let to = inside.address;
    let proxy = Server::start(None, move |mut peer| {
        Box::pin(async move {
            let head = peer.head().await;
            if head.starts_with("CONNECT inside.example:443 ") {
                peer.say(b"HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n")
                    .await;
                let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut peer.io, &mut stream).await;
            } else if head.starts_with("CONNECT ") {
                peer.say(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
                )
                .await;
            } else {
                peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy")
                    .await;
                peer.gone().await;
            }
        })
    })
    .await;
    let mut options = EgressOptions {
        // Nobody is asked about names: the proxy looks them up.
        resolver: Arc::new(Scripted::new(&[&[]])),
        ..EgressOptions::default()
    };
    options.network.authorities.push(authority.certificate());
    options.network.proxy = Some(proxy.url("").parse().unwrap());
    let lab = Lab::with(
        &["inside.example", "locked.example", "http://plain.example"],
        options,
    );
    assert_eq!(
        lab.fetch("https://inside.example/a").await.unwrap(),
        (200, "secure".to_owned())
    );
    assert_eq!(
        lab.fetch("http://plain.example/a?b").await.unwrap(),
        (200, "proxy".to_owned())
    );
    let refused = lab.get("https://locked.example/").await.unwrap_err();
    assert!(refused.to_string().contains("407"), "{refused}");
    assert!(matches!(
        lab.get("http://other.example/").await,
        Err(Refused::Denied { .. })
    ));
    let received = proxy.received();
    assert_eq!(received.len(), 3);
    assert!(
        received[1].starts_with("GET http://plain.example/a?b HTTP/1.1\r\n"),
        "{}",
        received[1]
    );
    assert!(
        received[1].contains("\r\nhost: plain.example\r\n"),
        "{}",
        received[1]
    );
    assert!(inside.received()[0].starts_with("GET /a HTTP/1.1\r\n"));
}

/// Puts a header and a query in, and refuses a body with a word in its head.
struct Badge;

impl Injector for Badge {
    fn outgoing(
        &self,
        _: Caller,
        target: &Target,
        mut request: Request<Body>,
    ) -> Result<Request<Body>, Refused> {
        let uri = format!("{}{}?key=s3cret", target.origin(), target.path());
        *request.uri_mut() = uri.parse().unwrap();
        request
            .headers_mut()
            .insert("authorization", "s3cret".parse().unwrap());
        Ok(request)
    }

    fn incoming(
        &self,
        _: Caller,
        _: &Target,
        mut response: Response<Body>,
    ) -> Result<Response<Body>, Refused> {
        response.headers_mut().remove("x-secret");
        Ok(response)
    }
}

#[tokio::test]
async fn what_is_injected_is_sent_and_not_recorded() {
    let server =
        Server::saying("HTTP/1.1 200 OK\r\nx-secret: s3cret\r\ncontent-length: 0\r\n\r\n").await;
    let options = EgressOptions {
        injector: Some(Arc::new(Badge)),
        ..EgressOptions::default()
    };
    let mut lab = Lab::with(&[&any(&server)], options);
    let mut request = get(&server.url("/?key=mine"));
    request
        .headers_mut()
        .insert("authorization", "mine".parse().unwrap());
    let response = lab.way.send(request).await.unwrap();
    assert!(response.headers().get("x-secret").is_none());
    drop(response);
    let received = &server.received()[0];
    assert!(
        received.starts_with("GET /?key=s3cret HTTP/1.1\r\n"),
        "{received}"
    );
    assert!(
        received.contains("\r\nauthorization: s3cret\r\n") && !received.contains("mine"),
        "{received}"
    );
    assert!(!format!("{:?}", lab.audits().await).contains("s3cret"));
}
