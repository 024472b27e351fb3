//! What all cases share: a host, the hostile guest loaded into it, and how a run is made of a setup.

use serde_json::json;

use super::case::Verdict;
use super::evidence::Evidence;
use super::guests;
use super::race::{Race, Racer};
use super::setup::{Arg, Dirs, Protect, Server, Setup};
use super::world::World;
use crate::commission::Commission;
use crate::engine::{Artifact, Cache};
use crate::error::Hint;
use crate::grants::{CommandLine, DirSpec, FileSpec, Grants, GrantsFile, Require, ServerSpec};
use crate::run::{Agent, Host, HostOptions, Outcome, RunRequest, RunsDir};

/// Limits every case starts from: small, so that a flood is quickly over. Time is the exception. No case is about
/// how fast this machine is, so that none of them may be ended by a clock it has not set itself; only with a wall
/// down is somebody waiting for that. Trying the same door again and again is what the cases are there for.
const LIMITS: [(&str, &str); 5] = [
    ("memory", "64MiB"),
    (
        "cpu",
        if cfg!(feature = "sabotage") {
            "5s"
        } else {
            "5m"
        },
    ),
    (
        "wall",
        if cfg!(feature = "sabotage") {
            "8s"
        } else {
            "10m"
        },
    ),
    ("repeated-error", "1000000"),
    ("repeated-call", "1000000"),
];

/// A host with the hostile guest in it.
pub(super) struct Stage {
    pub(super) host: Host,
    pub(super) escape: Agent,
    racer: Racer,
}

/// The self-test cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SelftestError {
    /// This binary was built without its hostile guests.
    #[error("this binary cannot test itself: {reason}")]
    NoGuests {
        /// Why it has none.
        reason: &'static str,
    },
    /// The host or the guest cannot be set up.
    #[error("cannot set up the self-test: {reason}")]
    Setup {
        /// What failed.
        reason: String,
    },
}

impl Hint for SelftestError {
    fn hint(&self) -> Option<String> {
        match self {
            SelftestError::NoGuests { .. } => Some(
                "build it from a checkout of its repository, after `rustup target add wasm32-wasip2`".to_owned(),
            ),
            SelftestError::Setup { .. } => None,
        }
    }
}

impl Stage {
    pub(super) async fn new(racer: Racer) -> Result<Stage, SelftestError> {
        if let Some(reason) = guests::MISSING {
            return Err(SelftestError::NoGuests { reason });
        }
        let setup = |reason| SelftestError::Setup { reason };
        let host = host(Cache::disabled()).map_err(setup)?;
        let escape = load(&host, guests::ESCAPE).await.map_err(setup)?;
        Ok(Stage {
            host,
            escape,
            racer,
        })
    }

    /// Runs the hostile guest as `setup` says, and judges it.
    pub(super) async fn attempt(&self, id: &str, setup: &Setup) -> Verdict {
        self.attempt_with(id, setup, None).await
    }

    /// Runs the hostile guest, telling it `arg`, and judges it.
    pub(super) async fn attempt_with(
        &self,
        id: &str,
        setup: &Setup,
        arg: Option<String>,
    ) -> Verdict {
        match self.world(setup).await {
            Ok(world) => self.attempt_in(&world, &self.escape, id, setup, arg).await,
            Err(verdict) => verdict,
        }
    }

    /// Makes the world for a setup. Many files: not on a thread that runs guests.
    pub(super) async fn world(&self, setup: &Setup) -> Result<World, Verdict> {
        let device = setup.device;
        let made = tokio::task::spawn_blocking(move || {
            let mut world = World::new().map_err(|error| {
                Verdict::broken(format!("the case's directories cannot be made: {error}"))
            })?;
            if device && let Err(error) = world.add_device() {
                return Err(Verdict::Skipped {
                    reason: format!("no device can be made here: {error}"),
                });
            }
            Ok(world)
        });
        made.await
            .unwrap_or_else(|error| Err(Verdict::broken(error.to_string())))
    }

    /// Runs `agent` in `world`, and judges it.
    pub(super) async fn attempt_in(
        &self,
        world: &World,
        agent: &Agent,
        id: &str,
        setup: &Setup,
        arg: Option<String>,
    ) -> Verdict {
        let run_id = format!("escape-{id}");
        let told = match (setup.arg, arg) {
            (_, Some(arg)) => format!("{id} {arg}"),
            (Arg::Text(text), None) => format!("{id} {text}"),
            (Arg::Outside, None) => format!("{id} {}", world.path("outside").display()),
            (Arg::Nothing, None) => id.to_owned(),
        };
        let race = if setup.race {
            match self.race(world).await {
                Ok(race) => Some(race),
                Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
                    return Verdict::Skipped {
                        reason: error.to_string(),
                    };
                }
                Err(error) => return Verdict::broken(format!("nobody to race with: {error}")),
            }
        } else {
            None
        };
        let outcome = match setup.server {
            None => run(&self.host, world, agent, setup, &run_id, &told).await,
            Some(server) => {
                let granted = self.served(world, setup, server, &run_id, &told);
                match granted {
                    Ok((grants, commission)) => {
                        start(&self.host, world, agent, grants, commission).await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        // Whoever exchanges things has to stop before anybody compares.
        drop(race);
        let judged = outcome.and_then(|outcome| {
            let evidence = Evidence::gather(world, &run_id, &outcome)?;
            Ok((evidence.judge(setup), evidence.saw().to_owned()))
        });
        match judged {
            Ok((wrong, saw)) => Verdict::of(wrong, saw),
            Err(error) => Verdict::broken(error),
        }
    }

    /// Lets somebody else exchange `swap`, a directory, and a link that leads out.
    async fn race(&self, world: &World) -> std::io::Result<Race> {
        let racer = self.racer.clone();
        let (one, other) = (world.path("work/swap"), world.path("work/.swap-link"));
        // Starting a process takes a while.
        tokio::task::spawn_blocking(move || Race::start(&racer, &one, &other))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}

impl Stage {
    /// Grants and commission of a run with a tool server.
    pub(super) fn served(
        &self,
        world: &World,
        setup: &Setup,
        server: Server,
        run_id: &str,
        told: &str,
    ) -> Result<(Grants, Commission), String> {
        let program = self.racer.program.to_string_lossy().into_owned();
        let command = [&program, "selftest", "--tool-server", "plain"];
        let mut grants = grants(world, setup, told)?;
        let mut commission = json!({
            "schema_version": crate::commission::SCHEMA_VERSION,
            "run_id": run_id, "model": "none/none", "prompt": told,
        });
        match server {
            Server::Granted { tools, echo } => {
                let mut spec = ServerSpec {
                    id: "s".to_owned(),
                    command: command.map(str::to_owned).to_vec(),
                    tools: tools.map(|tools| tools.iter().map(ToString::to_string).collect()),
                    ..ServerSpec::default()
                };
                if let Some(schema) = echo {
                    let schema = serde_json::from_str(schema).map_err(|error| error.to_string())?;
                    spec.arguments.insert("echo".to_owned(), schema);
                }
                grants.tools.servers.push(spec);
            }
            Server::NotGranted => {
                let asked = json!({"type": "stdio", "id": "s", "command": command});
                if let Some(commission) = commission.as_object_mut() {
                    commission.insert("mcp_servers".to_owned(), json!([asked]));
                }
                let [program, selftest, ..] = command.map(str::to_owned);
                grants.tools.commands.push(CommandLine {
                    words: vec![program, selftest],
                    ..CommandLine::default()
                });
            }
        }
        let commission = Commission::parse(commission.to_string().as_bytes());
        Ok((grants, commission.map_err(|error| error.to_string())?))
    }
}

/// A host of its own.
pub(super) fn host(cache: Cache) -> Result<Host, String> {
    Host::new(HostOptions {
        cache,
        ..HostOptions::default()
    })
    .map_err(|error| error.to_string())
}

/// Loads a component into `host`.
pub(super) async fn load(host: &Host, bytes: &[u8]) -> Result<Agent, String> {
    let artifact = Artifact::from_bytes(bytes).map_err(|error| error.to_string())?;
    host.load_artifact(artifact)
        .await
        .map_err(|error| error.to_string())
}

/// Runs `agent` on the task `told` with the grants of `setup`.
pub(super) async fn run(
    host: &Host,
    world: &World,
    agent: &Agent,
    setup: &Setup,
    run_id: &str,
    told: &str,
) -> Result<Outcome, String> {
    let request = request(world, agent, setup, run_id, told)?;
    let handle = host.start(request).map_err(|error| error.to_string())?;
    Ok(handle.outcome().await)
}

/// `agent` on the task `told` with the grants of `setup`.
pub(super) fn request(
    world: &World,
    agent: &Agent,
    setup: &Setup,
    run_id: &str,
    told: &str,
) -> Result<RunRequest, String> {
    let commission =
        Commission::for_task(run_id, "none/none", Some(told)).map_err(|error| error.to_string())?;
    Ok(RunRequest {
        agent: agent.clone(),
        commission,
        grants: grants(world, setup, told)?,
        runs: Some(RunsDir::at(world.path("runs"))),
    })
}

async fn start(
    host: &Host,
    world: &World,
    agent: &Agent,
    grants: Grants,
    commission: Commission,
) -> Result<Outcome, String> {
    let request = RunRequest {
        agent: agent.clone(),
        commission,
        grants,
        runs: Some(RunsDir::at(world.path("runs"))),
    };
    let handle = host.start(request).map_err(|error| error.to_string())?;
    Ok(handle.outcome().await)
}

fn grants(world: &World, setup: &Setup, told: &str) -> Result<Grants, String> {
    let port = told.split(' ').nth(1).unwrap_or_default();
    let rule = |rule: &&str| rule.replace("{port}", port);
    let spec = |name: &str, access: &str| -> Result<DirSpec, String> {
        let text = format!("{}::/{name}:{access}", world.path(name).display());
        text.parse()
            .map_err(|error: crate::grants::dir::DirError| error.to_string())
    };
    let dirs = match setup.dirs {
        Dirs::Nothing | Dirs::File => Vec::new(),
        Dirs::Work => vec![spec("work", "rw")?],
        Dirs::Read => vec![spec("read", "ro")?],
        Dirs::All => vec![
            spec("work", "rw")?,
            spec("read", "ro")?,
            spec("data", "rw")?,
        ],
        Dirs::Copy => vec![spec("work", "cow")?],
    };
    let files = match setup.dirs {
        Dirs::File => {
            let file = world.path("work/hello.txt");
            let text = format!("{}::/one/hello.txt:rw", file.display());
            let spec: Result<FileSpec, _> = text.parse();
            vec![spec.map_err(|error| error.to_string())?]
        }
        _ => Vec::new(),
    };
    let (protect, no_protect) = match setup.protect {
        Protect::Standard => (&[][..], false),
        Protect::Also(patterns) => (patterns, false),
        Protect::Off => (&[][..], true),
    };
    let mut require = Require::default();
    for text in setup.require {
        require.add(text).map_err(|error| error.to_string())?;
    }
    for artifact in &mut require.artifacts {
        let schema = artifact.schema.take();
        artifact.schema = schema.map(|schema| world.root().join(schema));
    }
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let file = GrantsFile {
        dirs,
        files,
        hosts: setup.hosts.iter().map(rule).collect(),
        protect: protect.iter().map(ToString::to_string).collect(),
        no_protect,
        require,
        env: setup.env.iter().map(owned).collect(),
        args: Vec::new(),
        limits: LIMITS.iter().chain(setup.limits).map(owned).collect(),
        ..GrantsFile::default()
    };
    let grants = Grants::resolve(file, GrantsFile::default());
    let mut grants = grants.map_err(|error| error.to_string())?;
    for name in setup.inputs {
        grants.inputs.add(world.path("work").join(name));
    }
    Ok(grants)
}
