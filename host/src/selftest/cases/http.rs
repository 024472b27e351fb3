//! Requests: where they go, what they look like, how many and how large they are.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::case::{Case, Trying, Verdict, host};
use super::super::guests;
use super::super::setup::{Dirs, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use super::super::web::Server;
use crate::egress::resolve::{self, Looking, Resolver};
use crate::egress::target::Host;

/// Requests with `GET` and `POST` to the server of the case, below `/allowed`.
const ALLOWED: Setup = Setup::new(Dirs::Nothing).hosts(&[
    "GET http://127.0.0.1:{port}/allowed",
    "POST http://127.0.0.1:{port}/allowed/sink",
]);

pub(super) const CASES: &[Case] = &[
    host(
        "http-not-granted",
        Wall::HttpGranted,
        "CWE-862",
        "An agent that makes requests is not started when it may make none.",
        not_granted,
    ),
    host(
        "http-elsewhere",
        Wall::HostRules,
        "GHSA-5qpp-g3j2-8frx",
        "However a URL is written, it leads to what is granted or nowhere.",
        elsewhere,
    ),
    host(
        "http-redirect",
        Wall::HostRules,
        "CWE-601",
        "A redirect is not followed, and following it is a request like any other.",
        redirect,
    ),
    host(
        "http-addresses",
        Wall::Addresses,
        "CWE-918",
        "A name one of whose addresses is not public is not connected to.",
        addresses,
    ),
    host(
        "http-rebinding",
        Wall::Pinned,
        "CWE-350",
        "A name that leads elsewhere when it is asked again is not asked again.",
        rebinding,
    ),
    host(
        "http-form",
        Wall::RequestForm,
        "CWE-444",
        "No header of a guest says where a request ends or what host it is for.",
        form,
    ),
    host(
        "http-count",
        Wall::Requests,
        "CWE-770",
        "Requests beyond their number are not made.",
        count,
    ),
    host(
        "http-size-out",
        Wall::RequestSize,
        "GHSA-243v, GHSA-w36r, GHSA-c9gc-w9vx-w86p",
        "URLs, headers and bodies beyond their limit do not leave.",
        size_out,
    ),
    host(
        "http-size-in",
        Wall::ResponseSize,
        "CWE-770",
        "A response without end is cut off.",
        size_in,
    ),
    host(
        "http-no-time",
        Wall::Sound,
        "GHSA-w4qr",
        "No timeout of a guest makes the host fail.",
        no_time,
    ),
    host(
        "http-many-open",
        Wall::Connections,
        "CWE-770",
        "Only so many responses can be left lying about.",
        many_open,
    ),
];

/// What a case finds: the verdict on its guest, and what its two servers received.
struct Found {
    verdict: Verdict,
    allowed: Vec<String>,
    bait: Vec<String>,
}

impl Found {
    /// The verdict, unless a server received what it should not have.
    fn unless(self, wrong: impl Fn(&Found) -> Option<String>) -> Verdict {
        if let Some(first) = self.bait.first() {
            return Verdict::broken(format!("the bait was reached: {}", first.escape_debug()));
        }
        match wrong(&self) {
            Some(wrong) => Verdict::broken(wrong),
            None => self.verdict,
        }
    }
}

/// Runs the guest that makes requests, with two servers to make them to.
async fn attempt(stage: &Stage, id: &str, setup: &Setup) -> Result<Found, Verdict> {
    let no_port = |error: std::io::Error| Verdict::Skipped {
        reason: format!("no port can be opened here: {error}"),
    };
    let bait = Server::start(0).await.map_err(no_port)?;
    let allowed = Server::start(bait.port).await.map_err(no_port)?;
    let agent = stage::load(&stage.host, guests::HTTP)
        .await
        .map_err(Verdict::broken)?;
    let world = stage.world(setup).await?;
    let told = format!("{} {}", allowed.port, bait.port);
    let verdict = stage
        .attempt_in(&world, &agent, id, setup, Some(told))
        .await;
    Ok(Found {
        verdict,
        allowed: allowed.received(),
        bait: bait.received(),
    })
}

async fn judged(
    stage: &Stage,
    id: &str,
    setup: &Setup,
    wrong: impl Fn(&Found) -> Option<String>,
) -> Verdict {
    match attempt(stage, id, setup).await {
        Ok(found) => found.unless(wrong),
        Err(verdict) => verdict,
    }
}

fn not_granted(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = Setup::new(Dirs::Nothing);
        let agent = match stage::load(&stage.host, guests::HTTP).await {
            Ok(agent) => agent,
            Err(error) => return Verdict::broken(error),
        };
        let world = match stage.world(&setup).await {
            Ok(world) => world,
            Err(verdict) => return verdict,
        };
        let id = "escape-http-not-granted";
        match stage::run(&stage.host, &world, &agent, &setup, id, "http-count 1 1").await {
            Err(error) if error.contains("wasi:http/outgoing-handler") => {
                Verdict::Held { saw: error }
            }
            Err(error) => Verdict::broken(format!("it failed otherwise: {error}")),
            Ok(_) => Verdict::broken("it was started"),
        }
    })
}

fn elsewhere(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = ALLOWED.leaves(&[Trace::Denied]);
        judged(stage, "http-elsewhere", &setup, |found| {
            let strange = |text: &&String| !text.starts_with("GET /allowed/a HTTP/1.1\r\n");
            let first = found.allowed.iter().find(strange)?;
            Some(format!("it received {}", first.escape_debug()))
        })
        .await
    })
}

fn redirect(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = ALLOWED.leaves(&[Trace::Denied]);
        judged(stage, "http-redirect", &setup, |_| None).await
    })
}

/// Gives one answer after the other, the last one for ever.
struct Changing {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Changing {
    fn new(answers: &[&[[u8; 4]]]) -> Changing {
        let address = |octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*octets));
        Changing {
            answers: answers
                .iter()
                .map(|answer| answer.iter().map(address).collect())
                .collect(),
            asked: AtomicUsize::new(0),
        }
    }
}

impl Resolver for Changing {
    fn look_up<'a>(&'a self, _: &'a str) -> Looking<'a> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.get(asked).or(self.answers.last()).cloned();
        Box::pin(async move { Ok(answer.unwrap_or_default()) })
    }
}

/// What would be connected to; nothing is.
async fn checked(answers: &[&[[u8; 4]]]) -> Result<Vec<IpAddr>, String> {
    let host = Host::Name("name.example".to_owned());
    resolve::checked(&Changing::new(answers), &host)
        .await
        .map_err(|refused| refused.to_string())
}

fn addresses(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        const PUBLIC: [u8; 4] = [1, 1, 1, 1];
        let mut wrong = Vec::new();
        for private in [
            [127, 0, 0, 1],
            [10, 0, 0, 1],
            [169, 254, 169, 254],
            [100, 64, 0, 1],
        ] {
            for answer in [&[private][..], &[PUBLIC, private], &[private, PUBLIC]] {
                if let Ok(found) = checked(&[answer]).await {
                    wrong.push(format!("{found:?} would be connected to"));
                }
            }
        }
        if let Err(error) = checked(&[&[PUBLIC]]).await {
            wrong.push(format!("a public address is refused: {error}"));
        }
        Verdict::of(wrong, "12 answers refused, a public one taken")
    })
}

fn rebinding(_: &Stage) -> Trying<'_> {
    Box::pin(async {
        match checked(&[&[[1, 1, 1, 1]], &[[127, 0, 0, 1]]]).await {
            Ok(found) if found.iter().any(IpAddr::is_loopback) => {
                Verdict::broken("the second answer would be connected to")
            }
            Ok(_) => Verdict::Held {
                saw: "the first answer is connected to".to_owned(),
            },
            Err(error) => Verdict::broken(error),
        }
    })
}

fn form(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        judged(stage, "http-form", &ALLOWED, |found| {
            let first = found.allowed.iter().find(|text| !text.is_empty())?;
            Some(format!("it received {}", first.escape_debug()))
        })
        .await
    })
}

fn count(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = ALLOWED
            .limits(&[("requests", "3")])
            .leaves(&[Trace::Limit("requests")]);
        judged(stage, "http-count", &setup, |found| {
            let made = found.allowed.len();
            (made != 3).then(|| format!("{made} requests were made"))
        })
        .await
    })
}

fn size_out(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = ALLOWED
            .limits(&[("request-bytes", "64KiB"), ("header-bytes", "16KiB")])
            .leaves(&[Trace::Limit("request-bytes"), Trace::Limit("url-bytes")]);
        judged(stage, "http-size-out", &setup, |found| {
            let received: usize = found.allowed.iter().map(String::len).sum();
            (received > 256 << 10).then(|| format!("{received} bytes were received"))
        })
        .await
    })
}

fn size_in(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = ALLOWED
            .limits(&[("response-bytes", "256KiB")])
            .leaves(&[Trace::Limit("response-bytes")]);
        judged(stage, "http-size-in", &setup, |_| None).await
    })
}

fn no_time(stage: &Stage) -> Trying<'_> {
    Box::pin(async { judged(stage, "http-no-time", &ALLOWED, |_| None).await })
}

fn many_open(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let setup = ALLOWED
            .limits(&[("connections", "4"), ("http-connect", "1s")])
            .leaves(&[Trace::Limit("connections")]);
        judged(stage, "http-many-open", &setup, |found| {
            let open = found.allowed.len();
            (open > 4).then(|| format!("{open} were open at once"))
        })
        .await
    })
}
