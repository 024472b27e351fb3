//! Secrets: put in where they belong, found wherever they do not.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};

use super::super::case::{Case, Trying, Verdict, host};
use super::super::stage::Stage;
use super::super::wall::Wall;
use super::super::web::Server;
use crate::egress::secrets::{Bound, Gathering, Guard, Placeholder, Secret, SecretName, Vault};
use crate::egress::{Body, Caller, Egress, EgressOptions, HostRule, Refused};
use crate::grants::secrets::{Leaks, SecretGrant, SecretsGrant};
use crate::recording::Seed;
use crate::trajectory::journal::{Journal, Link};
use crate::trajectory::ledger::FactLimits;
use crate::trajectory::recorder::Ids;
use crate::trajectory::{Audit, Ledger, Recorder};

/// It is worth nothing.
const VALUE: &str = "selftest-5d2f/19~c+71ab";

pub(super) const CASES: &[Case] = &[
    host(
        "secret-put-in",
        Wall::SecretPlace,
        "CWE-290",
        "What a guest puts where a secret belongs does not reach the server.",
        put_in,
    ),
    host(
        "secret-placeholder",
        Wall::Placeholder,
        "anthropic-experimental/sandbox-runtime mask",
        "A placeholder does not leave where its secret does not belong.",
        placeholder,
    ),
    host(
        "secret-raw",
        Wall::SecretRaw,
        "CWE-522",
        "A secret does not leave as it is, however it is cut.",
        raw,
    ),
    host(
        "secret-base64",
        Wall::SecretBase64,
        "CWE-522",
        "A secret does not leave in base64, whatever stands before it.",
        base64,
    ),
    host(
        "secret-hex",
        Wall::SecretHex,
        "CWE-522",
        "A secret does not leave in hexadecimal.",
        hex,
    ),
    host(
        "secret-escapes",
        Wall::SecretEscapes,
        "CWE-522",
        "A secret does not leave percent-encoded or as JSON escapes.",
        escapes,
    ),
    host(
        "secret-gzip",
        Wall::SecretGzip,
        "CWE-522",
        "A secret does not leave compressed.",
        gzip,
    ),
    host(
        "secret-nested",
        Wall::SecretNested,
        "CWE-522",
        "A secret does not leave compressed twice.",
        nested,
    ),
    host(
        "secret-record",
        Wall::SecretRecord,
        "nearai/ironclaw #2494",
        "No record has a secret in it, whoever wrote it.",
        record,
    ),
];

/// A run with a secret, and a server it is bound to, below `/bound`.
struct Set {
    server: Server,
    egress: Egress,
    ledger: Ledger,
    guard: Arc<Guard>,
    placeholder: String,
    rule: HostRule,
}

impl Set {
    async fn up() -> Result<Set, Verdict> {
        let server = Server::start(0).await.map_err(|error| Verdict::Skipped {
            reason: format!("no port can be opened here: {error}"),
        })?;
        let text = format!("http://127.0.0.1:{}", server.port);
        let broken = |error: &dyn std::fmt::Display| Verdict::broken(error.to_string());
        let rule: HostRule = text.parse().map_err(|error| broken(&error))?;
        let bound: HostRule = format!("{text}/bound")
            .parse()
            .map_err(|error| broken(&error))?;
        let name: SecretName = "selftest".parse().map_err(|error| broken(&error))?;
        let secret = Secret::new(&name, VALUE.to_owned()).map_err(|error| broken(&error))?;
        let vault = Vault::default().with(name.clone(), secret);
        let mut gathering = Gathering::new(&vault, Seed::numbered(0));
        let granted = SecretsGrant {
            bindings: vec![SecretGrant {
                bound: Bound::bearer(Caller::Guest, name, bound),
                variable: Some("KEY".to_owned()),
            }],
            leaks: Leaks::Block,
        };
        gathering
            .granted(&granted)
            .map_err(|error| broken(&error))?;
        let secrets = gathering
            .finish(Leaks::Block)
            .map_err(|error| broken(&error))?;
        let Some(guard) = secrets.guard().cloned() else {
            return Err(Verdict::broken("nothing is looked for"));
        };
        let nothing = FactLimits {
            facts: 0,
            fact_bytes: 0,
            total_bytes: 0,
        };
        let recorder = Recorder::new(Ids::seeded([1; 16]), "secrets", None);
        let journal = Journal::in_memory(Link::of(b"")).guarded(Some(guard.clone()));
        let ledger = Ledger::new(recorder, journal, nothing, None);
        let options = EgressOptions {
            injector: secrets.injector(ledger.clone()),
            ..EgressOptions::default()
        };
        let placeholder = secrets.placeholders().first().map(Placeholder::as_str);
        Ok(Set {
            egress: Egress::with(ledger.clone(), options),
            placeholder: placeholder.unwrap_or_default().to_owned(),
            server,
            ledger,
            guard,
            rule,
        })
    }

    /// Sends a request with these headers and this body.
    async fn send(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<(), Refused> {
        let url = format!("http://127.0.0.1:{}{path}", self.server.port);
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body: Body = Full::from(body.into())
            .map_err(|never| match never {})
            .boxed_unsync();
        let request = request.body(body).map_err(|_| Refused::Closed)?;
        let way = self.egress.way(Caller::Guest, vec![self.rule.clone()]);
        let response = way.send(request).await?;
        response.into_body().collect().await.map(drop)
    }
}

/// Every body in turn has to be stopped.
async fn stopped(bodies: Vec<Vec<u8>>) -> Verdict {
    let set = match Set::up().await {
        Ok(set) => set,
        Err(verdict) => return verdict,
    };
    let mut wrong = Vec::new();
    let count = bodies.len();
    for (at, body) in bodies.into_iter().enumerate() {
        match set.send("/", &[], body).await {
            Err(Refused::Leak { .. }) => {}
            other => wrong.push(format!("body {at}: {other:?}")),
        }
    }
    Verdict::of(wrong, format!("{count} bodies were stopped"))
}

fn put_in(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let set = match Set::up().await {
            Ok(set) => set,
            Err(verdict) => return verdict,
        };
        let own = [
            ("authorization", "Bearer own-a"),
            ("Authorization", "Basic own-b"),
        ];
        if let Err(error) = set.send("/bound/x", &own, "x").await {
            return Verdict::broken(format!("it was not sent: {error}"));
        }
        let received = set.server.received().concat();
        let mut wrong = Vec::new();
        let wanted = format!("authorization: Bearer {VALUE}\r\n");
        if !received.contains(&wanted) {
            wrong.push("the secret was not put in".to_owned());
        }
        if received.contains("own-") {
            wrong.push("what the guest had put there was sent".to_owned());
        }
        if let Err(error) = set.send("/other", &own, "x").await {
            wrong.push(format!("another request was not sent: {error}"));
        }
        if set.server.received().concat().matches(VALUE).count() > 1 {
            wrong.push("it went to where it is not bound".to_owned());
        }
        Verdict::of(wrong, "one header, the host's")
    })
}

fn placeholder(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let set = match Set::up().await {
            Ok(set) => set,
            Err(verdict) => return verdict,
        };
        let text = set.placeholder.clone();
        let bearer = format!("Bearer {text}");
        let mut wrong = Vec::new();
        for (path, headers, body) in [
            ("/other", vec![("authorization", bearer.as_str())], ""),
            ("/bound", vec![("x-key", bearer.as_str())], ""),
            ("/bound", vec![], text.as_str()),
        ] {
            match set.send(path, &headers, body.to_owned()).await {
                Err(Refused::Leak { .. }) => {}
                other => wrong.push(format!("{path}: {other:?}")),
            }
        }
        if set.server.received().concat().contains(&text) {
            wrong.push("the server received it".to_owned());
        }
        Verdict::of(wrong, "it went nowhere")
    })
}

fn raw(_: &Stage) -> Trying<'_> {
    Box::pin(async { stopped(vec![VALUE.into(), format!("a{VALUE}b").into()]).await })
}

fn base64(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let encoded = ["", "u:", "us:"].map(|user| STANDARD.encode(format!("{user}{VALUE}")));
        stopped(encoded.map(Vec::from).to_vec()).await
    })
}

fn hex(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let hex = crate::digest::hex(VALUE.as_bytes());
        stopped(vec![hex.to_ascii_uppercase().into(), hex.into()]).await
    })
}

fn escapes(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let percent: String = VALUE.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let json: String = VALUE.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let slashes = VALUE.replace('/', "\\/");
        stopped(vec![percent.into(), json.into(), slashes.into()]).await
    })
}

fn gzip(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let text = format!("{}{VALUE}{}", "before ".repeat(50), "after ".repeat(50));
        let packed = encoder
            .write_all(text.as_bytes())
            .and_then(|()| encoder.finish());
        match packed {
            Ok(packed) => stopped(vec![packed]).await,
            Err(error) => Verdict::broken(error.to_string()),
        }
    })
}

fn nested(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let pack = |bytes: &[u8]| {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        };
        let text = format!("{}{VALUE}{}", "before ".repeat(50), "after ".repeat(50));
        match pack(text.as_bytes()).and_then(|once| pack(&once)) {
            Ok(packed) => stopped(vec![packed]).await,
            Err(error) => Verdict::broken(error.to_string()),
        }
    })
}

fn record(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        let set = match Set::up().await {
            Ok(set) => set,
            Err(verdict) => return verdict,
        };
        let mut journal = Journal::in_memory(Link::of(b"")).guarded(set.guard.clone().into());
        let mut wrong = Vec::new();
        for text in [
            format!("says {VALUE}"),
            STANDARD.encode(format!("x:{VALUE}")),
            crate::digest::hex(VALUE.as_bytes()),
            format!("\"{VALUE}\"").replace('/', "\\/"),
        ] {
            let entry = crate::trajectory::journal::Entry::Audit(Audit::Progress {
                message: text.clone(),
                fraction: None,
            });
            match journal.append(jiff::Timestamp::now(), entry) {
                Ok(record) if record.line().contains("[secret:selftest]") => {}
                Ok(record) => wrong.push(format!("recorded as {}", record.line())),
                Err(_) => wrong.push("it cannot be recorded".to_owned()),
            }
        }
        // Once it has been told of, it has been told of.
        if let Err(error) = set.ledger.audit(Audit::Completed {
            summary: VALUE.to_owned(),
        }) {
            wrong.push(error.to_string());
        }
        Verdict::of(wrong, "a mark in its place")
    })
}
