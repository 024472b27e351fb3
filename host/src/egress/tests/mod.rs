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
