//! Replays, and what they must not do.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use serde_json::{Value, json};

use super::super::case::{Case, Trying, Verdict, host};
use super::super::guests;
use super::super::setup::{Dirs, Setup};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use super::super::web::Server;
use crate::egress::{Body, Caller, Egress, EgressOptions, HostRule};
use crate::engine::Profile;
use crate::grants::{Grants, Limits};
use crate::recording::{Recording, Tape};
use crate::run::{Host, HostOptions, Mode, Outcome, RecordTo};
use crate::trajectory::journal::{Journal, Link};
use crate::trajectory::ledger::FactLimits;
use crate::trajectory::recorder::Ids;
use crate::trajectory::{Ledger, Recorder};

pub(super) const CASES: &[Case] = &[
    host(
        "replay-network",
        Wall::ReplayNetwork,
        "docs/recording.md",
        "A replay reaches no network, also where it would be allowed to.",
        network,
    ),
    host(
        "replay-limits",
        Wall::Recorded,
        "CWE-400",
        "A recording from elsewhere sets no limit above the operator's, and has nothing read unasked.",
        recorded_limits,
    ),
];

/// What a recording says, taken as one from elsewhere.
fn recorded_limits(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let world = match stage.world(&SETUP).await {
            Ok(world) => world,
            Err(verdict) => return verdict,
        };
        let default = Limits::default();
        let taken = |recorded: &Value| {
            let grants = Grants::from_recorded(recorded, Path::new(""), &[], &[]);
            let grants = grants.map_err(|error| error.to_string())?;
            let grants = grants.from_elsewhere(&[], &[], &default);
            grants.map_err(|error| error.to_string())
        };
        let mut wrong = Vec::new();
        let limits =
            json!({ "limits": { "memory": "3GiB", "wall": "160h", "cpu": "160h", "files": 7 } });
        match taken(&limits) {
            Ok(Grants { limits, .. }) => {
                for (limit, value, allowed) in limits.differing(&default) {
                    if limit.of(&limits) > limit.of(&default) {
                        wrong.push(format!("{} is {value}, not {allowed}", limit.name));
                    }
                }
                if limits.files != 7 {
                    wrong.push("a smaller limit is not kept".to_owned());
                }
            }
            Err(error) => wrong.push(format!("limits are not read: {error}")),
        }
        let outside = world.path("work");
        let dir = json!({ "dirs": [format!("{}::/work:cow", outside.display())] });
        if taken(&dir).is_ok() {
            wrong.push(format!("{} is read unasked", outside.display()));
        }
        Verdict::of(
            wrong,
            "the smaller limit holds, and nothing is read unasked",
        )
    })
}

/// The guest of the case "http-count" makes three requests and is refused the others.
const SETUP: Setup = Setup::new(Dirs::Nothing)
    .hosts(&["GET http://127.0.0.1:{port}/allowed"])
    .limits(&[("requests", "3")]);

fn network(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        match repeated(stage).await {
            Ok(verdict) | Err(verdict) => verdict,
        }
    })
}

/// Records a run that makes requests, repeats it with the same grants, and sends one request more.
async fn repeated(stage: &Stage) -> Result<Verdict, Verdict> {
    let broken = |error: &dyn std::fmt::Display| Verdict::broken(error.to_string());
    let server = Server::start(0).await.map_err(|error| Verdict::Skipped {
        reason: format!("no port can be opened here: {error}"),
    })?;
    let host = Host::new(HostOptions {
        profile: Profile::Hermetic,
        ..HostOptions::default()
    });
    let host = host.map_err(|error| broken(&error))?;
    let agent = stage::load(&host, guests::HTTP).await;
    let agent = agent.map_err(Verdict::broken)?;
    let world = stage.world(&SETUP).await?;
    let told = format!("http-count {} 0", server.port);
    let run = async |mode: Mode| -> Result<Outcome, Verdict> {
        let id = "escape-replay-network";
        let request = stage::request(&world, &agent, &SETUP, id, &told).map_err(Verdict::broken)?;
        let run = host
            .start_in(mode, request)
            .map_err(|error| broken(&error))?;
        Ok(run.outcome().await)
    };
    let file = world.path("a.rec");
    let first = run(Mode::Record(RecordTo::File(file.clone()))).await?;
    let made = server.received().len();
    let recording = Recording::read(&file).map_err(|error| broken(&error))?;
    let recording = Arc::new(recording);
    let second = run(Mode::Replay(recording.clone())).await?;
    let mut wrong = Vec::new();
    if made != 3 {
        wrong.push(format!("{made} requests were made when it was recorded"));
    }
    if (&first.ended, &first.run_digest) != (&second.ended, &second.run_digest) {
        wrong.push(format!("it ended otherwise: {:?}", second.ended));
    }
    // Past everything that answers from the tape.
    let url = format!("http://127.0.0.1:{}/allowed", server.port);
    let rule: HostRule = url.parse().map_err(|error| broken(&error))?;
    let body: Body = Empty::<Bytes>::new()
        .map_err(|never| match never {})
        .boxed_unsync();
    let request = Request::get(url)
        .body(body)
        .map_err(|error| broken(&error))?;
    let egress = Egress::with(
        ledger(),
        EgressOptions {
            tape: Tape::replay(recording, None),
            ..EgressOptions::default()
        },
    );
    let way = egress.way(Caller::Guest, vec![rule]);
    if let Ok(response) = way.send(request).await {
        wrong.push(format!("a request was answered: {}", response.status()));
    }
    let more = server.received().len().saturating_sub(made);
    if more > 0 {
        wrong.push(format!("{more} requests reached the server"));
    }
    Ok(Verdict::of(wrong, "no request but the recorded ones"))
}

fn ledger() -> Ledger {
    let nothing = FactLimits {
        facts: 0,
        fact_bytes: 0,
        total_bytes: 0,
    };
    let recorder = Recorder::new(Ids::seeded([1; 16]), "replay", None);
    Ledger::new(recorder, Journal::in_memory(Link::of(b"")), nothing, None)
}
