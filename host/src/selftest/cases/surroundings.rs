//! The host's environment, network, clocks and randomness, and what a component asks for.

use std::net::{TcpListener, UdpSocket};

use super::super::case::{Case, Trying, Verdict, guest, host};
use super::super::guests;
use super::super::setup::{Dirs, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::grants::ask::{Ask, embed};

const NOTHING: Setup = Setup::new(Dirs::Nothing);

pub(super) const CASES: &[Case] = &[
    guest(
        "environment-empty",
        Wall::Environment,
        "CWE-526",
        "Variables, arguments and the working directory of the host are not inherited.",
        NOTHING,
    ),
    guest(
        "environment-granted",
        Wall::Environment,
        "CWE-526",
        "A granted variable comes alone.",
        NOTHING.env(&[("GRANTED", "yes")]),
    ),
    host(
        "describe-empty",
        Wall::Environment,
        "CWE-526",
        "Describing itself, an agent has nothing at all.",
        describe,
    ),
    host(
        "network-tcp",
        Wall::Network,
        "CWE-918",
        "No TCP connection leaves, not to this machine either.",
        tcp,
    ),
    guest(
        "network-listen",
        Wall::Network,
        "CWE-1327",
        "No port is opened.",
        NOTHING,
    ),
    host(
        "network-udp",
        Wall::Network,
        "GHSA-hmmr-87qq-258j",
        "No datagram leaves, bound or not.",
        udp,
    ),
    guest(
        "network-names",
        Wall::Network,
        "CWE-918",
        "No name is looked up.",
        NOTHING,
    ),
    host(
        "random-differs",
        Wall::Entropy,
        "CWE-335",
        "Two runs do not get the same randomness, seed included.",
        random,
    ),
    guest(
        "clock-monotone",
        Wall::Sound,
        "GHSA-w4qr",
        "Clocks do not go back, and a time that is over is not waited for.",
        NOTHING,
    ),
    guest(
        "session-facts",
        Wall::Sound,
        "CWE-345",
        "What a guest is told of its run is about its run.",
        Setup::new(Dirs::All),
    ),
    host(
        "ask-ceiling",
        Wall::Ask,
        "CWE-272",
        "A component gets no more than it asks for.",
        ask_ceiling,
    ),
    host(
        "ask-no-grant",
        Wall::Environment,
        "CWE-269",
        "A component gets nothing for asking.",
        ask_no_grant,
    ),
];

fn describe(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let told = &stage.escape.descriptor().capabilities;
        let wanted = "saw:dirs=0,env=0,args=0,cwd=0,socket=0";
        if told.iter().any(|flag| flag == wanted) {
            Verdict::Held {
                saw: wanted.to_owned(),
            }
        } else {
            Verdict::broken(format!("{told:?}"))
        }
    })
}

fn tcp(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let listener = match TcpListener::bind("127.0.0.1:0")
            .and_then(|it| it.set_nonblocking(true).map(|()| it))
        {
            Ok(listener) => listener,
            Err(error) => {
                return Verdict::Skipped {
                    reason: format!("no port can be opened here: {error}"),
                };
            }
        };
        let port = listener.local_addr().map_or(0, |address| address.port());
        let verdict = stage
            .attempt_with("network-tcp", &NOTHING, Some(port.to_string()))
            .await;
        match listener.accept() {
            Ok(_) => Verdict::broken("somebody came to the host's port"),
            Err(_) => verdict,
        }
    })
}

fn udp(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let socket = match UdpSocket::bind("127.0.0.1:0")
            .and_then(|it| it.set_nonblocking(true).map(|()| it))
        {
            Ok(socket) => socket,
            Err(error) => {
                return Verdict::Skipped {
                    reason: format!("no port can be opened here: {error}"),
                };
            }
        };
        let port = socket.local_addr().map_or(0, |address| address.port());
        let verdict = stage
            .attempt_with("network-udp", &NOTHING, Some(port.to_string()))
            .await;
        match socket.recv(&mut [0; 16]) {
            Ok(_) => Verdict::broken("something came to the host's port"),
            Err(_) => verdict,
        }
    })
}

fn random(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let first = stage.attempt("random-differs", &NOTHING).await;
        let second = stage.attempt("random-differs", &NOTHING).await;
        let (Verdict::Held { saw: a }, Verdict::Held { saw: b }) = (&first, &second) else {
            return if matches!(first, Verdict::Held { .. }) {
                second
            } else {
                first
            };
        };
        // The words are the same; of what follows each has to be different.
        let numbers = |text: &str| -> Vec<String> {
            let hex = |word: &&str| word.len() > 4 && word.chars().all(|c| c.is_ascii_hexdigit());
            text.split(|c: char| !c.is_ascii_alphanumeric())
                .filter(hex)
                .map(str::to_owned)
                .collect()
        };
        let (a, b) = (numbers(a), numbers(b));
        match a.iter().find(|number| b.contains(number)) {
            Some(number) => Verdict::broken(format!("both runs got {number}")),
            None if a.len() < 5 || b.len() < 5 => {
                Verdict::broken("the guest did not tell what it got")
            }
            None => Verdict::Held {
                saw: format!("{} numbers, none twice", a.len() + b.len()),
            },
        }
    })
}

/// The hostile guest with an ask of its own, run with everything granted.
async fn asking(stage: &Stage, ask: &str, id: &str, setup: &Setup) -> Verdict {
    let judged = async {
        let ask = Ask::parse(ask.as_bytes()).map_err(|error| error.to_string())?;
        let bytes = embed(guests::ESCAPE, &ask).map_err(|error| error.to_string())?;
        let agent = stage::load(&stage.host, &bytes).await?;
        let world = match stage.world(setup).await {
            Ok(world) => world,
            Err(verdict) => return Ok(verdict),
        };
        Ok::<_, String>(stage.attempt_in(&world, &agent, id, setup, None).await)
    };
    judged.await.unwrap_or_else(Verdict::broken)
}

fn ask_ceiling(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let ask = r#"{"version":1,"dirs":[{"path":"/work","access":"ro"}]}"#;
        let setup = Setup::new(Dirs::All)
            .env(&[("GRANTED", "yes")])
            .leaves(&[Trace::Narrowed]);
        asking(stage, ask, "ask-ceiling", &setup).await
    })
}

fn ask_no_grant(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let ask = r#"{"version":1,"dirs":[{"path":"/","access":"rw"},{"path":"/etc","access":"rw"}],"env":[{"name":"HOME"},{"name":"PATH"}]}"#;
        let first = asking(stage, ask, "path-only-granted", &NOTHING).await;
        if !matches!(first, Verdict::Held { .. }) {
            return first;
        }
        asking(stage, ask, "environment-empty", &NOTHING).await
    })
}
