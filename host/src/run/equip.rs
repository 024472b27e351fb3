//! The tools of a run: what they are, before its guest starts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::agent::Entry;
use super::caught::caught;
use super::drive::{Job, Watched, cut_off};
use super::finish::{Finish, host_fault, refused};
use super::supervise::Cut;
use super::tool;
use crate::capabilities::meters::LimitHit;
use crate::preflight::Refusal;
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;
use crate::tools::watch::Watch;
use crate::tools::{self, Connector, Opened, Parts, Toolbox, plan};
use crate::trajectory::ErrorCode;
use crate::trajectory::opening::Reached;

/// Connects to the tool servers of the run and writes `agent_started`.
///
/// # Errors
///
/// How the run ends without a guest.
pub(super) async fn equip(job: &Job, watched: &Watched) -> Result<Toolbox, Finish> {
    let body = job.commission.body();
    if let Entry::Command(_) = job.agent.entry {
        // Its trajectory opens with its first line.
        return Ok(Toolbox::default());
    }
    let activity = watched.activity.clone();
    let watch = Watch::new(job.ledger.clone(), move || activity.progress());
    let opened = caught(async {
        // Whoever watches sees what is waited for.
        job.ledger.deliver().await;
        open(job, watch).await
    });
    let (tools, ended) = tokio::select! {
        biased;
        () = job.interrupt.requested() => (None, Some(cut_off(Cut::Interrupted.taped(&job.tape)))),
        () = out_of_time(job, watched) => {
            let hit = LimitHit { name: "wall", max: job.grants.limits.wall };
            (None, Some(cut_off(Cut::Limit(hit).taped(&job.tape))))
        }
        opened = opened => match opened {
            Ok(Ok(tools)) => (Some(tools), None),
            // What the operator hands over has to work: a run without it is not what was meant.
            Ok(Err(NotOpened::Component(message))) => (None, Some(cannot_start(message))),
            Ok(Err(NotOpened::Tape(message))) => (None, Some(host_fault(message))),
            Err(panic) => (None, Some(host_fault(panic.to_string()))),
        },
    };
    let tools = tools.unwrap_or_else(|| {
        let reason = "the run ended before it was connected";
        Toolbox::without(reason, &job.grants, body)
    });
    job.opening.reached(reached(&tools));
    let started = job.opening.start(&job.agent.descriptor);
    match (started, ended) {
        (_, Some(finish)) => Err(finish),
        (Err(error), None) => {
            tools.close().await;
            Err(host_fault(error.to_string()))
        }
        (Ok(()), None) => Ok(tools),
    }
}

/// Comes back when the time of the run is over: a server that says nothing is waited for no longer than that. In a
/// replay nobody is waited for.
async fn out_of_time(job: &Job, watched: &Watched) {
    if job.tape.is_replay() {
        return std::future::pending().await;
    }
    let wall = sabotage::time(Wall::WallClock, job.grants.limits.wall());
    tokio::time::sleep(wall.saturating_sub(watched.meters.wall())).await;
}

/// Why the tools of a run are not there.
enum NotOpened {
    /// A component of the operator's cannot be used.
    Component(String),
    /// The tape has something else.
    Tape(String),
}

/// What came of opening the tools of a run, as it stands on the tape.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tried {
    Opened(Opened),
    Unusable(String),
}

/// The tools of a run: what they are is on the tape, where there is one, and a replay reaches none of them.
async fn open(job: &Job, watch: Watch) -> Result<Toolbox, NotOpened> {
    let body = job.commission.body();
    let components = &job.grants.tools.components;
    let specs = plan::specs(&job.grants, body);
    let own = job.agent.descriptor.tools.iter();
    let own = own.map(|tool| tool.name.clone()).collect();
    let connector = (!job.tape.is_replay() || down(Wall::ReplayTools)).then(|| {
        let mut wanted = plan::plan(&job.grants, body, &job.egress, &job.secrets);
        if job.tape.is_virtual() {
            let reason = "a hermetic run reaches no server";
            wanted = wanted.into_iter().map(|it| it.not_tried(reason)).collect();
        }
        let loader = Arc::new(tool::Loading {
            host: job.host.clone(),
            limits: job.grants.limits.clone(),
        });
        let limits = &job.grants.limits;
        Connector::new(wanted, components.clone(), loader, limits, watch.clone())
    });
    if specs.is_empty() && components.is_empty() {
        return Ok(Toolbox::default());
    }
    let mut links = None;
    let opening = async {
        let Some(connector) = &connector else {
            return Err(wasmtime::Error::msg("a replay reaches nobody"));
        };
        Ok(match connector.open().await {
            Ok((opened, found)) => {
                links = Some(found);
                Tried::Opened(opened)
            }
            Err(error) => Tried::Unusable(error.to_string()),
        })
    };
    let asked = || tools::asked(&specs, components);
    let opened = if down(Wall::ReplayTools) {
        opening.await
    } else {
        job.tape.effect("tools.open", asked, opening).await
    };
    match opened {
        Ok(Tried::Opened(opened)) => Ok(Toolbox::new(Parts {
            specs,
            opened,
            links,
            connector,
            watch,
            limits: &job.grants.limits,
            own,
        })
        .await),
        Ok(Tried::Unusable(message)) => Err(NotOpened::Component(message)),
        Err(error) => Err(NotOpened::Tape(format!("{error:#}"))),
    }
}

fn cannot_start(message: String) -> Finish {
    Finish {
        error: Some((ErrorCode::Unknown, message.clone())),
        ..refused(Refusal {
            code: ErrorCode::Unknown,
            message,
            // The operator named it: nothing can be run here until he names another.
            remedy: Some("--tool COMPONENT".to_owned()),
        })
    }
}

/// What `agent_started` says of the host's tools.
pub(super) fn reached(tools: &Toolbox) -> Reached {
    Reached {
        servers: tools.server_decls(),
        tools: tools.decls(),
        failures: tools.failures(),
    }
}
