//! Tools of servers, which run outside the sandbox: what is started, what is called, and what comes back.

use std::sync::Arc;

use serde_json::json;

use super::super::case::{Case, Trying, Verdict, guest, host};
use super::super::evidence::Evidence;
use super::super::guests;
use super::super::setup::{Dirs, Server, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::digest::Digest;
use crate::engine::{Cache, Profile};
use crate::grants::dir::DirError;
use crate::grants::{DirSpec, Grants, GrantsFile, ServerSpec};
use crate::recording::format::{Answer, ClockKind, Component, End, Entry, FORMAT, Header, Reader};
use crate::recording::{Recording, Seed};
use crate::run::{Host, HostOptions, Mode, RunRequest};
use crate::trajectory::{Audit, journal};

const ALL: Server = Server::Granted {
    tools: None,
    echo: None,
};

const SERVED: Setup = Setup::new(Dirs::Nothing).served(ALL);

pub(super) const CASES: &[Case] = &[
    guest(
        "tool-command",
        Wall::Commands,
        "CWE-78",
        "A commission does not start a program with more words than the operator granted.",
        Setup::new(Dirs::Nothing)
            .served(Server::NotGranted)
            .leaves(&[Trace::Denied])
            .check(nothing_started),
    ),
    guest(
        "tool-environment",
        Wall::ServerEnvironment,
        "CWE-526",
        "A tool server sees no variable of the host's but the path.",
        SERVED,
    ),
    guest(
        "tool-unasked",
        Wall::ToolAsked,
        "CWE-345",
        "A call no model has asked for, or asked for otherwise, does not reach the server.",
        SERVED.check(nothing_called),
    ),
    guest(
        "tool-allow",
        Wall::ToolAllow,
        "CWE-862",
        "A tool of a granted server that is not granted itself is neither shown nor called.",
        Setup::new(Dirs::Nothing)
            .served(Server::Granted {
                tools: Some(&["echo"]),
                echo: None,
            })
            .leaves(&[Trace::Denied]),
    ),
    guest(
        "tool-arguments",
        Wall::ToolArguments,
        "CWE-88",
        "Arguments the operator does not allow do not reach the server, however they are written.",
        Setup::new(Dirs::Nothing)
            .served(Server::Granted {
                tools: None,
                echo: Some(
                    r#"{"properties":{"text":{"enum":["ls"]}},"additionalProperties":false}"#,
                ),
            })
            .leaves(&[Trace::Denied]),
    ),
    guest(
        "tool-calls",
        Wall::ToolCalls,
        "CWE-770",
        "Calls beyond their limit are refused.",
        SERVED
            .limits(&[("tool-calls", "3")])
            .leaves(&[Trace::Limit("tool-calls")]),
    ),
    guest(
        "tool-result",
        Wall::ToolResult,
        "CWE-770",
        "A result that is too long is cut before the guest or the account gets it.",
        SERVED
            .limits(&[("tool-result-bytes", "4KiB")])
            .check(results_are_short),
    ),
    host(
        "tool-directory",
        Wall::ServerDirectory,
        "CWE-427",
        "A server is not started in a directory the agent may write to, unless that is asked for.",
        started_there,
    ),
    host(
        "tool-replayed",
        Wall::ReplayTools,
        "CWE-669",
        "A replay starts no tool server, even if it is told of one that it could start.",
        replayed,
    ),
];

fn started_there(stage: &Stage) -> Trying<'_> {
    Box::pin(async { start_there(stage).await.into() })
}

/// Grants a server that starts where the agent may write.
async fn start_there(stage: &Stage) -> Result<String, String> {
    const WORK: Setup = Setup::new(Dirs::Work);
    let world = stage.world(&WORK).await;
    let world = world.map_err(|verdict| format!("{verdict:?}"))?;
    let spec = |access: &str, writable_cwd| {
        let dir = format!("{}::/work:{access}", world.path("work").display());
        let dir: DirSpec = dir.parse().map_err(|error: DirError| error.to_string())?;
        let server = ServerSpec {
            id: "s".to_owned(),
            command: vec!["true".to_owned()],
            cwd: Some(world.path("work/sub")),
            writable_cwd,
            ..ServerSpec::default()
        };
        let file = GrantsFile {
            dirs: vec![dir],
            mcp_servers: vec![server],
            ..GrantsFile::default()
        };
        Ok::<_, String>(Grants::resolve(file, GrantsFile::default()))
    };
    for (access, asked) in [("ro", false), ("rw", true)] {
        let granted = spec(access, asked)?;
        granted.map_err(|error| format!("{access}, asked for ({asked}): {error}"))?;
    }
    let mut saw = String::new();
    for access in ["rw", "cow"] {
        match spec(access, false)? {
            Err(error) => saw = error.to_string(),
            Ok(_) => return Err(format!("it may be started in a directory granted {access}")),
        }
    }
    Ok(saw)
}

fn replayed(stage: &Stage) -> Trying<'_> {
    Box::pin(async { replay(stage).await.into() })
}

/// Replays a recording of a run that had a tool server, with grants that say where it is.
async fn replay(stage: &Stage) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let host = Host::new(HostOptions {
        cache: Cache::disabled(),
        profile: Profile::Hermetic,
        ..HostOptions::default()
    });
    let host = host.map_err(|error| told(&error))?;
    let agent = stage::load(&host, guests::ESCAPE).await?;
    let world = stage
        .world(&SERVED)
        .await
        .map_err(|verdict| match verdict {
            Verdict::Broken { why } => why.join("; "),
            other => format!("{other:?}"),
        })?;
    let (grants, commission) =
        stage.served(&world, &SERVED, ALL, "escape-tool-replayed", "tool-unasked")?;
    let header = Header {
        format: FORMAT.to_owned(),
        host: env!("CARGO_PKG_VERSION").to_owned(),
        component: Component {
            digest: agent.artifact().digest(),
            name: agent.descriptor().agent_name.clone(),
            path: None,
        },
        profile: Profile::Hermetic,
        clock: ClockKind::Real,
        seed: Seed::numbered(0),
        start: "2026-01-01T00:00:00.000000Z".to_owned(),
        session_id: "escape".to_owned(),
        storage: false,
        commission: commission.raw().to_owned(),
        grants: json!({}),
        guest_grants: grants.to_guest_json(),
        placeholders: [].into(),
        inputs: Vec::new(),
        parent: None,
        redirects: Vec::new(),
    };
    let opening = vec![Reader::Event; 2];
    let offer = json!({ "tools": [{ "name": "echo" }] });
    let servers = json!([{ "id": "s", "came": { "connected": offer } }]);
    let entries = vec![
        Entry::Readings {
            n: 1,
            us: vec![1; opening.len()],
            by: opening,
        },
        Entry::Call {
            n: 3,
            kind: "tools.open".to_owned(),
            request: json!({ "servers": ["s"], "components": [] }),
            answer: Answer::Result(json!({ "opened": { "servers": servers, "components": [] } })),
        },
        Entry::Readings {
            n: 4,
            by: vec![Reader::Event],
            us: vec![1],
        },
    ];
    let nothing = Digest::of(b"");
    let recording = Recording {
        header,
        entries,
        // It is left before it is compared.
        end: Some(End {
            calls: 3,
            ended: json!(null),
            output: None,
            trajectory: nothing,
            fuel: None,
            run: nothing,
            lines: nothing,
        }),
        entries_digest: nothing,
    };
    let request = RunRequest {
        agent,
        commission,
        grants,
        runs: None,
    };
    let run = host.start_in(Mode::Replay(Arc::new(recording)), request);
    let mut run = run.map_err(|error| told(&error))?;
    let (mut knows, mut started) = (false, false);
    while let Some(record) = run.next().await {
        match &record.entry {
            journal::Entry::Avp(_) => {
                knows |=
                    record.line().contains("agent_started") && record.line().contains("s__echo");
            }
            journal::Entry::Audit(Audit::ToolServer { notice, .. }) => {
                started |= *notice == "started";
            }
            journal::Entry::Audit(_) => {}
        }
    }
    let outcome = run.outcome().await;
    match (started, knows) {
        (true, _) => Err("the server was started".to_owned()),
        (false, true) => Ok("its tools are those of the recording".to_owned()),
        (false, false) => Err(format!(
            "the tools are not those of the recording: {:?}",
            outcome.ended
        )),
    }
}

fn notices<'a>(evidence: &'a Evidence<'_>, notice: &'a str) -> usize {
    let audits = evidence.audits();
    audits
        .filter(|audit| audit["kind"] == "tool_server" && audit["notice"] == notice)
        .count()
}

fn nothing_started(evidence: &Evidence<'_>) -> Result<(), String> {
    match notices(evidence, "started") {
        0 => Ok(()),
        _ => Err("the program was started".to_owned()),
    }
}

/// The server tells of each call of the tool the guest tries.
fn nothing_called(evidence: &Evidence<'_>) -> Result<(), String> {
    match notices(evidence, "tools_changed") {
        0 => Ok(()),
        _ => Err("the server was called".to_owned()),
    }
}

fn results_are_short(evidence: &Evidence<'_>) -> Result<(), String> {
    let longest = evidence
        .events()
        .filter(|event| {
            event
                .get("type")
                .is_some_and(|kind| kind == "avp.tool_returned")
        })
        .filter_map(|event| event.pointer("/data/avp.tool_result"))
        .map(|result| result.to_string().len())
        .max();
    match longest {
        Some(bytes) if bytes < 5000 => Ok(()),
        Some(bytes) => Err(format!("a result on record has {bytes} bytes")),
        None => Err("there is no result on record".to_owned()),
    }
}
