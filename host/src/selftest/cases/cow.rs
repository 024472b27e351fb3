//! Directories granted copy-on-write, and what becomes of the copy.

use std::fs;
use std::path::PathBuf;

use super::super::case::{Case, Trying, guest, host};
use super::super::evidence::Evidence;
use super::super::setup::{Dirs, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use super::super::world::World;
use crate::capabilities::filesystem::cow::CowError;
use crate::run::{Ended, Workspaces, WorkspacesError};

const COPY: Setup = Setup::new(Dirs::Copy);

pub(super) const CASES: &[Case] = &[
    guest(
        "cow-untouched",
        Wall::CopyOnWrite,
        "CWE-732",
        "Whatever is done to a copy, the granted directory stays as it was.",
        COPY.check(untouched),
    ),
    guest(
        "cow-links",
        Wall::Beneath,
        "CWE-61",
        "Links that were copied are not followed out of the copy.",
        COPY.leaves(&[Trace::Denied]).check(untouched),
    ),
    host(
        "apply-moved",
        Wall::BaseMoved,
        "CWE-367",
        "What somebody else changed meanwhile is not overwritten, and nothing beside it applied.",
        moved,
    ),
];

fn untouched(evidence: &Evidence<'_>) -> Result<(), String> {
    match evidence.world.work_changes() {
        Ok(changes) if changes.is_empty() => Ok(()),
        Ok(changes) => Err(format!("in the granted directory: {}", changes.join(", "))),
        Err(error) => Err(error.to_string()),
    }
}

fn moved(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            // First with nothing in the way: otherwise a wall could be seen where nothing works at all.
            let world = copied(stage).await?;
            let applied = world.apply()?;
            applied.map_err(|error| format!("with nothing in the way: {error}"))?;
            if world.read("work/new.txt")? != "new" {
                return Err("it was applied, and is not there".to_owned());
            }

            let world = copied(stage).await?;
            let theirs = "somebody else's";
            let hello = world.world.path("work/hello.txt");
            fs::write(&hello, theirs).map_err(|error| error.to_string())?;
            let before = world.changes()?;
            let refused = match world.apply()? {
                Err(WorkspacesError::Cow(error @ CowError::Conflict { .. })) => error.to_string(),
                Err(error) => return Err(format!("it failed otherwise: {error}")),
                Ok(()) => return Err("it was applied".to_owned()),
            };
            if world.read("work/hello.txt")? != theirs {
                return Err("what somebody else wrote is gone".to_owned());
            }
            if world.changes()? != before {
                return Err("some of it was applied".to_owned());
            }
            Ok(refused)
        };
        tried.await.into()
    })
}

/// A world in which a run has changed a copy.
struct Copied {
    world: World,
    run: PathBuf,
}

async fn copied(stage: &Stage) -> Result<Copied, String> {
    let world = stage
        .world(&COPY)
        .await
        .map_err(|verdict| format!("{verdict:?}"))?;
    let (host, agent, told) = (&stage.host, &stage.escape, "cow-untouched");
    let outcome = stage::run(host, &world, agent, &COPY, "escape-apply-moved", told).await?;
    match outcome.directory {
        Some(run) if outcome.ended == Ended::Converged => Ok(Copied { world, run }),
        _ => Err(format!("the run ended otherwise: {:?}", outcome.ended)),
    }
}

impl Copied {
    fn apply(&self) -> Result<Result<(), WorkspacesError>, String> {
        let workspaces = Workspaces::open(&self.run).map_err(|error| error.to_string())?;
        Ok(workspaces.apply().map(drop))
    }

    fn changes(&self) -> Result<Vec<String>, String> {
        self.world.work_changes().map_err(|error| error.to_string())
    }

    fn read(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.world.path(name)).map_err(|error| format!("{name}: {error}"))
    }
}
