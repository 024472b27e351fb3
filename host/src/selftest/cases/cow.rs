//! Directories granted copy-on-write, and what becomes of the copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::super::case::{Case, Trying, guest, host};
use super::super::evidence::Evidence;
use super::super::setup::{Dirs, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use super::super::world::World;
use crate::capabilities::filesystem::Protection;
use crate::capabilities::filesystem::cow::{CopyLimits, CowError, Workspace};
use crate::host_places::HostPlaces;
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
    guest(
        "ending-compared",
        Wall::Ending,
        "CWE-400",
        "What a run leaves to be compared is read up to a bound, and the rest is listed unread.",
        COPY.limits(&[("disk-bytes", "1GiB")])
            .check(not_all_was_read),
    ),
    host(
        "apply-moved",
        Wall::BaseMoved,
        "CWE-367",
        "What somebody else changed meanwhile is not overwritten, and nothing beside it applied.",
        moved,
    ),
    host(
        "apply-foreign-plan",
        Wall::ApplyPlan,
        "CWE-829",
        "A plan that came with the granted directory is not carried out when a copy is applied.",
        foreign_plan,
    ),
    host(
        "put-back-foreign-plan",
        Wall::ApplyPlan,
        "CWE-829",
        "Nor when a directory is put back to what it was.",
        foreign_plan_put_back,
    ),
    host(
        "apply-place",
        Wall::ApplyPlace,
        "CWE-59",
        "A link in the place of the granted directory does not decide where a copy is applied.",
        elsewhere,
    ),
    host(
        "apply-unseen",
        Wall::ApplyUnseen,
        "CWE-367",
        "What came into a directory after it was copied does not go with it.",
        unseen,
    ),
    host(
        "apply-bytes",
        Wall::ApplyBytes,
        "CWE-400",
        "A copy that would make the directory grow beyond the limit of its run is not applied.",
        grown,
    ),
    host(
        "apply-modes",
        Wall::ApplyModes,
        "CWE-732",
        "A private file that an agent has changed in a copy is private after it was applied.",
        private,
    ),
];

fn untouched(evidence: &Evidence<'_>) -> Result<(), String> {
    match evidence.world.work_changes() {
        Ok(changes) if changes.is_empty() => Ok(()),
        Ok(changes) => Err(format!("in the granted directory: {}", changes.join(", "))),
        Err(error) => Err(error.to_string()),
    }
}

fn not_all_was_read(evidence: &Evidence<'_>) -> Result<(), String> {
    let run = evidence.outcome.directory.as_deref();
    let run = run.ok_or("the run kept no directory")?;
    let text = |path: &str| fs::read_to_string(run.join(path)).map_err(|error| error.to_string());
    if !text("workspace.patch")?.contains("too much to read") {
        return Err("all of it was read".to_owned());
    }
    for name in ["hole-0", "hole-3"] {
        if !text("cow/0/delta.json")?.contains(name) {
            return Err(format!("`{name}` is not listed"));
        }
    }
    Ok(())
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

/// A stage and a plan as a repository that is cloned could bring them.
fn plant(world: &World) -> Result<PathBuf, String> {
    let folder = world.path("work/.wasm-agent-apply");
    let plan = r#"{"version":1,"root":{"device":0,"inode":0,"born":null},"stage":".wasm-agent-apply","made":null,
        "progress":"moving","steps":[{"take":{"path":"planted","thing":{"inode":0,"size":7,"modified":[0,0]}}}]}"#;
    let made = || -> std::io::Result<()> {
        fs::create_dir_all(folder.join("old"))?;
        fs::create_dir(folder.join("new"))?;
        fs::write(folder.join("old/0"), "planted")?;
        fs::write(folder.join("plan.json"), plan)
    };
    made().map_err(|error| error.to_string())?;
    Ok(folder)
}

/// The folder has to be as it was planted, and what the plan names must not be there.
fn was_left_alone(world: &World, folder: &std::path::Path) -> Result<String, String> {
    if world.path("work/planted").exists() {
        return Err("what the plan names was moved".to_owned());
    }
    match folder.join("old/0").is_file() && folder.join("plan.json").is_file() {
        true => Ok("the plan was left alone".to_owned()),
        false => Err("what lies beside the plan is gone".to_owned()),
    }
}

fn foreign_plan(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = copied(stage).await?;
            let folder = plant(&world.world)?;
            let applied = world.apply()?;
            applied.map_err(|error| format!("with a plan in the way: {error}"))?;
            if world.read("work/new.txt")? != "new" {
                return Err("it was applied, and is not there".to_owned());
            }
            was_left_alone(&world.world, &folder)
        };
        tried.await.into()
    })
}

fn foreign_plan_put_back(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = copied(stage).await?;
            let folder = plant(&world.world)?;
            let then = Workspace::open(&world.run.join("cow/0"));
            let then = then.map_err(|error| error.to_string())?;
            let (work, now) = (world.world.path("work"), world.world.path("runs/now"));
            let now =
                Workspace::prepare(&work, &now, &CopyLimits::default(), &HostPlaces::default());
            now.and_then(|now| now.turn_into(&then))
                .map_err(|error| format!("with a plan in the way: {error}"))?;
            if world.read("work/new.txt")? != "new" {
                return Err("it was put back, and is not there".to_owned());
            }
            was_left_alone(&world.world, &folder)
        };
        tried.await.into()
    })
}

fn elsewhere(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = copied(stage).await?;
            let (work, aside) = (world.world.path("work"), world.world.path("aside"));
            fs::rename(&work, &aside)
                .and_then(|()| symlink(&aside, &work))
                .map_err(|error| error.to_string())?;
            let applied = world.apply()?;
            if world.world.path("aside/new.txt").exists() {
                return Err("it was applied where the link leads".to_owned());
            }
            match applied {
                Err(error) => Ok(error.to_string()),
                Ok(()) => Err("it was said to be applied".to_owned()),
            }
        };
        tried.await.into()
    })
}

fn unseen(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = copied(stage).await?;
            let theirs = world.world.path("work/swap/empty/theirs.txt");
            fs::write(&theirs, "theirs").map_err(|error| error.to_string())?;
            let before = world.changes()?;
            let applied = world.apply()?;
            if !theirs.is_file() || world.changes()? != before {
                return Err("a file that the run has not seen is gone".to_owned());
            }
            match applied {
                Err(WorkspacesError::Cow(error @ CowError::Conflict { .. })) => {
                    Ok(error.to_string())
                }
                Err(error) => Err(format!("it failed otherwise: {error}")),
                Ok(()) => Err("it was said to be applied".to_owned()),
            }
        };
        tried.await.into()
    })
}

fn grown(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let world = copied(stage).await?;
            let before = world.read("work/hello.txt")?;
            // More than what the run has deleted makes room for.
            fs::write(world.run.join("cow/0/tree/grown"), [0; 4096])
                .map_err(|error| error.to_string())?;
            let bounded = Workspace::open(&world.run.join("cow/0"))
                .and_then(|workspace| workspace.bounded(&Protection::default(), Some(1024)));
            bounded.map_err(|error| error.to_string())?;
            match world.apply()? {
                Err(WorkspacesError::Cow(error @ CowError::TooMuch { .. })) => {
                    match world.read("work/hello.txt")? == before
                        && !world.world.path("work/new.txt").exists()
                    {
                        true => Ok(error.to_string()),
                        false => Err("some of it was applied".to_owned()),
                    }
                }
                Err(error) => Err(format!("it failed otherwise: {error}")),
                Ok(()) => Err("it was applied".to_owned()),
            }
        };
        tried.await.into()
    })
}

fn private(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let tried = async {
            let private = |world: &World| {
                let private = fs::Permissions::from_mode(0o600);
                fs::set_permissions(world.path("work/hello.txt"), private)
            };
            let world = copied_from(stage, private).await?;
            let hello = world.world.path("work/hello.txt");
            let applied = world.apply()?;
            applied.map_err(|error| error.to_string())?;
            let meta = fs::metadata(&hello).map_err(|error| error.to_string())?;
            match meta.permissions().mode() & 0o777 {
                0o600 => Ok("its mode is still 0600".to_owned()),
                mode => Err(format!("its mode is {mode:o}")),
            }
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
    copied_from(stage, |_| Ok(())).await
}

/// The same in a world that was made ready for it.
async fn copied_from(
    stage: &Stage,
    ready: impl FnOnce(&World) -> std::io::Result<()>,
) -> Result<Copied, String> {
    let world = stage
        .world(&COPY)
        .await
        .map_err(|verdict| format!("{verdict:?}"))?;
    ready(&world).map_err(|error| error.to_string())?;
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
