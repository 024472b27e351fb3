//! Lies told to the host, too many of them, and an account that is tampered with afterwards.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::case::{Case, Trying, Verdict, guest, host};
use super::super::evidence::Evidence;
use super::super::guests;
use super::super::setup::{Dirs, Ending, Setup, Trace};
use super::super::stage::{self, Stage};
use super::super::wall::Wall;
use crate::trajectory::StopReason;
use crate::trajectory::verify::{Verdict as Judged, verify_path};

const NOTHING: Setup = Setup::new(Dirs::Nothing);
const REJECTED: Setup = NOTHING.leaves(&[Trace::Rejected]);

pub(super) const CASES: &[Case] = &[
    guest(
        "fact-unknown-call",
        Wall::Facts,
        "AVP v0.1 §3",
        "A result of a call nobody made is refused.",
        REJECTED,
    ),
    guest(
        "fact-duplicate-call",
        Wall::Facts,
        "AVP v0.1 §3",
        "A call id is used once.",
        REJECTED,
    ),
    guest(
        "fact-second-result",
        Wall::Facts,
        "AVP v0.1 §3",
        "A call has one result, the first.",
        REJECTED,
    ),
    guest(
        "fact-unlisted-tool",
        Wall::ToolBag,
        "AVP v0.1 §8",
        "A call of a tool that is not in the run is answered by the host.",
        REJECTED.check(host_answered),
    ),
    guest(
        "fact-frames",
        Wall::Facts,
        "AVP v0.1 §5",
        "Frames of sub-agents are opened once and closed once.",
        REJECTED,
    ),
    guest(
        "fact-numbers",
        Wall::Facts,
        "CWE-1284",
        "Costs that are no amounts of money are refused.",
        REJECTED,
    ),
    guest(
        "fact-malformed",
        Wall::Facts,
        "CWE-20",
        "JSON that is none, or nested without end, is refused.",
        NOTHING,
    ),
    guest(
        "fact-other-run",
        Wall::Sound,
        "CWE-117",
        "Nothing a guest reports makes an event of another run.",
        NOTHING.check(one_stop),
    ),
    guest(
        "fact-open-end",
        Wall::OpenEnd,
        "AVP v0.1 §5",
        "A run that leaves calls or frames open has not converged.",
        NOTHING.check(not_converged),
    ),
    guest(
        "event-bytes",
        Wall::EventBytes,
        "CWE-770",
        "A fact beyond its limit in size is refused.",
        NOTHING
            .limits(&[("event-bytes", "64KiB")])
            .text("65536")
            .leaves(&[Trace::Limit("event-bytes")]),
    ),
    guest(
        "event-count",
        Wall::EventCount,
        "CWE-770",
        "Facts beyond their number are refused.",
        NOTHING
            .limits(&[("events", "100")])
            .text("100")
            .leaves(&[Trace::Limit("events")]),
    ),
    guest(
        "event-total",
        Wall::EventTotal,
        "CWE-770",
        "Facts beyond their sum are refused.",
        NOTHING
            .limits(&[("trajectory-bytes", "256KiB"), ("event-bytes", "64KiB")])
            .text("262144")
            .leaves(&[Trace::Limit("trajectory-bytes")])
            .check(small_account),
    ),
    guest(
        "audit-flood",
        Wall::AuditBytes,
        "CWE-779",
        "Changing files without end does not fill the disk with what the host tells of it.",
        Setup::new(Dirs::Work)
            .limits(&[("audit-bytes", "256KiB")])
            .ends(Ending::Limit(&["audit-bytes"]))
            .leaves(&[Trace::Limit("audit-bytes")])
            .check(small_account),
    ),
    guest(
        "denial-flood",
        Wall::Folded,
        "CWE-779",
        "A thousand refusals in a thousand words are a hundred records and a count.",
        Setup::new(Dirs::Work)
            .text("1000")
            .leaves(&[Trace::Denied])
            .check(a_thousand_denials),
    ),
    host(
        "records-behind",
        Wall::BackPressure,
        "CWE-770",
        "A guest waits while nobody takes what the host tells of it, whatever it calls.",
        records_behind,
    ),
    guest(
        "stdout-flood",
        Wall::OutputBytes,
        "GHSA-gqmc",
        "Output beyond its limit is dropped, and the guest that wrote it lives.",
        NOTHING
            .limits(&[("output-bytes", "64KiB")])
            .leaves(&[Trace::Limit("output-bytes")])
            .check(small_account),
    ),
    guest(
        "stderr-flood",
        Wall::OutputBytes,
        "GHSA-gqmc",
        "So is what is written to standard error, in one line without end.",
        NOTHING
            .limits(&[("output-bytes", "64KiB")])
            .leaves(&[Trace::Limit("output-bytes")])
            .check(small_account),
    ),
    guest(
        "output-forged",
        Wall::Sound,
        "CWE-117",
        "Output that looks like a record is not one.",
        NOTHING.check(one_stop),
    ),
    host(
        "stdio-forged",
        Wall::Stdio,
        "AVP v0.1 §2",
        "A stdio agent cannot write the host's events, nor those of another run.",
        stdio_forged,
    ),
    host(
        "chain-edited",
        Wall::Chain,
        "CWE-354",
        "A record that was edited afterwards is found.",
        chain_edited,
    ),
    host(
        "chain-dropped",
        Wall::Chain,
        "CWE-354",
        "A record that was left out is found.",
        chain_dropped,
    ),
    host(
        "chain-swapped",
        Wall::Chain,
        "CWE-354",
        "Records that changed places are found.",
        chain_swapped,
    ),
    host(
        "chain-request",
        Wall::Chain,
        "CWE-354",
        "What was granted cannot be changed afterwards.",
        chain_request,
    ),
    guest(
        "storage-names",
        Wall::ArtifactNames,
        "CWE-22",
        "An artifact's name does not lead out of the run directory.",
        NOTHING.check(run_directory_is_clean),
    ),
    guest(
        "storage-bytes",
        Wall::StorageBytes,
        "CWE-770",
        "Artifacts and checkpoints together do not pass their limit.",
        NOTHING
            .limits(&[("storage-bytes", "256KiB")])
            .text("262144")
            .leaves(&[Trace::Limit("storage-bytes")]),
    ),
];

fn host_answered(evidence: &Evidence<'_>) -> Result<(), String> {
    let answer = evidence
        .events()
        .find(|event| event["type"] == "avp.tool_returned");
    let answer = answer.ok_or("the call has no answer")?;
    let failed = answer.pointer("/data/avp.tool_result/is_error");
    if failed.is_some_and(|failed| *failed == true) {
        Ok(())
    } else {
        Err(format!("the answer is none of the host's: {answer}"))
    }
}

fn one_stop(evidence: &Evidence<'_>) -> Result<(), String> {
    match evidence
        .events()
        .filter(|event| event["type"] == "avp.agent_stopped")
        .count()
    {
        1 => Ok(()),
        number => Err(format!("the run has {number} endings")),
    }
}

fn not_converged(evidence: &Evidence<'_>) -> Result<(), String> {
    match evidence.outcome.stop_reason {
        StopReason::Converged => Err("the run counts as converged".to_owned()),
        _ => one_stop(evidence),
    }
}

/// They are all accounted for, a hundred of them one by one, and none at length.
fn a_thousand_denials(evidence: &Evidence<'_>) -> Result<(), String> {
    let of = |kind: &'static str| evidence.audits().filter(move |audit| audit["kind"] == kind);
    let counted: u64 = of("repeated")
        .filter_map(|audit| audit["count"].as_u64())
        .sum();
    let alone = of("denied").count();
    if alone as u64 + counted != 1000 || alone > 100 {
        return Err(format!("{alone} alone and {counted} counted"));
    }
    let longest = of("denied")
        .filter_map(|audit| audit["subject"].as_str())
        .map(str::len);
    match longest.max() {
        Some(longest) if longest <= 310 => Ok(()),
        longest => Err(format!("the longest subject has {longest:?} bytes")),
    }
}

/// Bytes of an account that nobody reads while its run goes on: what is held for the listener, what the channel to
/// it takes, and the calls of one tick.
const UNREAD: u64 = 16 << 20;

/// Starts a run and reads nothing of it. It has to stop by itself, far from its end.
fn records_behind(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let judged = async {
            let setup = Setup::new(Dirs::Work);
            let world = match stage.world(&setup).await {
                Ok(world) => world,
                Err(verdict) => return Ok(verdict),
            };
            let id = "records-behind";
            let request = stage::request(&world, &stage.escape, &setup, id, id)?;
            let handle = stage
                .host
                .start(request)
                .map_err(|error| error.to_string())?;
            let log = handle
                .directory
                .as_deref()
                .ok_or("the run kept no directory")?
                .join("events.ndjson");
            let size = || fs::metadata(&log).map_or(0, |meta| meta.len());
            // Until it has written some and then no more. How long that takes is no matter: one that is not held
            // back writes more than this in the end.
            let (mut last, mut still) = (0, 0);
            while still < 20 && last <= UNREAD {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let now = size();
                still = if now == last && now > 1 << 20 {
                    still + 1
                } else {
                    0
                };
                last = now;
            }
            let written = size();
            handle.interrupter().interrupt();
            let outcome = handle.outcome().await;
            Ok::<_, String>(match outcome.ended {
                _ if written > UNREAD => {
                    Verdict::broken(format!("{written} bytes, and nobody has read one"))
                }
                crate::run::Ended::Interrupted => Verdict::Held {
                    saw: format!("it waits after {written} bytes"),
                },
                ended => Verdict::broken(format!("it did not wait: {ended:?}")),
            })
        };
        judged.await.unwrap_or_else(Verdict::broken)
    })
}

fn small_account(evidence: &Evidence<'_>) -> Result<(), String> {
    let directory = evidence
        .outcome
        .directory
        .as_deref()
        .unwrap_or(Path::new("."));
    let bytes = fs::metadata(directory.join("events.ndjson"))
        .map_err(|error| error.to_string())?
        .len();
    if bytes <= 1 << 20 {
        Ok(())
    } else {
        Err(format!("the account has {bytes} bytes"))
    }
}

/// The run directory has what the host puts there, and the one artifact with a name that is one.
fn run_directory_is_clean(evidence: &Evidence<'_>) -> Result<(), String> {
    let directory = evidence
        .outcome
        .directory
        .as_deref()
        .unwrap_or(Path::new("."));
    let list = |path: &Path| -> Result<Vec<String>, String> {
        let entries = fs::read_dir(path).map_err(|error| error.to_string())?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        Ok(names)
    };
    let top = list(directory)?;
    let known = ["artifacts", "events.ndjson", "run.json", ".reserve"];
    if let Some(name) = top.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("in the run directory: {name}"));
    }
    match list(&directory.join("artifacts"))?.as_slice() {
        [only] if only == "report.txt" => Ok(()),
        names => Err(format!("artifacts: {names:?}")),
    }
}

fn stdio_forged(stage: &Stage) -> Trying<'_> {
    Box::pin(async {
        let judged = async {
            let agent = stage::load(&stage.host, guests::STDIO).await?;
            let world = match stage.world(&NOTHING).await {
                Ok(world) => world,
                Err(verdict) => return Ok(verdict),
            };
            let run_id = "escape-stdio-forged";
            let outcome = stage::run(
                &stage.host,
                &world,
                &agent,
                &NOTHING,
                run_id,
                "the real task",
            )
            .await?;
            let evidence = Evidence::gather(&world, run_id, &outcome)?;
            // It says that it converged, goes on, and exits with a failure: how that is called is checked
            // by no claim here, only that the account is the host's.
            let mut wrong = evidence.judge(&NOTHING.ends(Ending::Either));
            wrong.retain(|why| {
                !why.starts_with("the guest says") && !why.starts_with("the run ended otherwise")
            });
            wrong.extend(forgeries(&evidence));
            Ok::<_, String>(Verdict::of(wrong, format!("{:?}", outcome.ended)))
        };
        judged.await.unwrap_or_else(Verdict::broken)
    })
}

fn forgeries(evidence: &Evidence<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    wrong.extend(one_stop(evidence).err());
    let count = |kind: &str| {
        evidence
            .events()
            .filter(|event| event["type"] == kind)
            .count()
    };
    for kind in ["avp.run_requested", "avp.agent_started"] {
        if count(kind) != 1 {
            wrong.push(format!("{} times {kind}", count(kind)));
        }
    }
    let text = evidence
        .events()
        .map(ToString::to_string)
        .collect::<String>();
    for forged in [
        "something harmless",
        "2001-01-01",
        "0123456789abcdef0123456789abcdef",
    ] {
        if text.contains(forged) {
            wrong.push(format!("in the trajectory: {forged}"));
        }
    }
    if !text.contains("the real task") {
        wrong.push("the commission is not in the trajectory".to_owned());
    }
    if count("avp.assistant_message") != 1 {
        wrong.push(format!(
            "{} turns, one before and none after its end",
            count("avp.assistant_message")
        ));
    }
    wrong
}

/// Makes an account, changes it with `tamper`, and demands that it does not verify any more.
async fn tampered(stage: &Stage, id: &str, tamper: fn(&Path) -> std::io::Result<()>) -> Verdict {
    let judged = async {
        let world = match stage.world(&NOTHING).await {
            Ok(world) => world,
            Err(verdict) => return Ok(verdict),
        };
        let run_id = format!("escape-{id}");
        let outcome = stage::run(
            &stage.host,
            &world,
            &stage.escape,
            &NOTHING,
            &run_id,
            "fact-unknown-call",
        )
        .await?;
        let directory = outcome
            .directory
            .as_deref()
            .ok_or("the run kept no directory")?;
        let judge = || {
            verify_path(directory)
                .map(|report| report.verdict())
                .map_err(|error| error.to_string())
        };
        if judge()? != Judged::Valid {
            return Err("the account does not verify to begin with".to_owned());
        }
        tamper(directory).map_err(|error| error.to_string())?;
        Ok(match judge()? {
            Judged::Valid => Verdict::broken("the account still verifies"),
            found => Verdict::Held {
                saw: format!("{found:?}"),
            },
        })
    };
    judged.await.unwrap_or_else(Verdict::broken)
}

/// Exchanges the lines of `events.ndjson`.
fn edit(directory: &Path, change: fn(&mut Vec<String>)) -> std::io::Result<()> {
    let path = directory.join("events.ndjson");
    let mut lines: Vec<String> = fs::read_to_string(&path)?
        .lines()
        .map(str::to_owned)
        .collect();
    change(&mut lines);
    fs::write(path, lines.join("\n") + "\n")
}

fn chain_edited(stage: &Stage) -> Trying<'_> {
    Box::pin(tampered(stage, "chain-edited", |directory| {
        edit(directory, |lines| {
            for line in lines {
                *line = line.replace("never-called", "never-callEd");
            }
        })
    }))
}

fn chain_dropped(stage: &Stage) -> Trying<'_> {
    Box::pin(tampered(stage, "chain-dropped", |directory| {
        // An audit record: the trajectory by itself would not miss it.
        edit(directory, |lines| {
            lines.retain(|line| !line.contains("\"kind\":\"rejected\""));
        })
    }))
}

fn chain_swapped(stage: &Stage) -> Trying<'_> {
    Box::pin(tampered(stage, "chain-swapped", |directory| {
        edit(directory, |lines| {
            if let Some(at) = lines
                .iter()
                .position(|line| line.contains("\"kind\":\"rejected\""))
            {
                lines.swap(at, at + 1);
            }
        })
    }))
}

/// The memory a case is granted: in `run.json`, and in no event.
const REQUESTED: &str = "67108864";

fn chain_request(stage: &Stage) -> Trying<'_> {
    Box::pin(tampered(stage, "chain-request", |directory| {
        let path = directory.join("run.json");
        let text = fs::read_to_string(&path)?;
        if !text.contains(REQUESTED) {
            return Err(std::io::Error::other(
                "run.json does not say what was granted",
            ));
        }
        fs::write(path, text.replace(REQUESTED, "1073741824"))
    }))
}
