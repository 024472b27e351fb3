//! `wasm-agent selftest`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::anyhow;
use wasm_agent::error::Exit;
use wasm_agent::selftest::{self, Case, CaseReport, Racer, Report, Verdict, Wall};

use super::Done;
use super::failure::Failure;
use super::out::{print, print_json};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Cases to try: each that has one of these in its name. All without
    #[arg(value_name = "CASE")]
    cases: Vec<String>,

    /// Try the cases of one wall
    #[arg(long, value_name = "WALL")]
    wall: Option<String>,

    /// List the cases instead of trying them
    #[arg(long)]
    list: bool,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    /// Exchange two paths until standard input ends: what the cases about races start
    #[arg(long, hide = true, num_args = 2, exclusive = true)]
    exchange: Vec<PathBuf>,

    /// Be a tool server of this manner: what the cases and tests about tools start
    #[arg(long, hide = true, exclusive = true, value_name = "MANNER")]
    tool_server: Option<String>,
}

pub(super) fn selftest(args: &Args) -> Done {
    if let [one, other] = args.exchange.as_slice() {
        // The case that started this process says what came of it.
        return Ok(match selftest::exchange(one, other) {
            Ok(()) => Exit::Success,
            Err(_) => Exit::Failed,
        });
    }
    if let Some(manner) = &args.tool_server {
        let manner = selftest::Manner::find(manner)
            .ok_or_else(|| Failure::new(anyhow!("there is no manner `{manner}`")))?;
        return Ok(match selftest::serve(manner) {
            Ok(()) => Exit::Success,
            Err(_) => Exit::Failed,
        });
    }
    let cases = select(args)?;
    if args.list {
        return list(&cases, args.json);
    }
    let threads = std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .max(2);
    // More than one thread in any case: a wall that does not hold may hold one up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(anyhow!("cannot start the runtime: {error}")))?;
    let racer = Racer {
        program: std::env::current_exe()
            .map_err(|error| Failure::new(anyhow!("cannot find this program: {error}")))?,
        arguments: vec!["selftest".into(), "--exchange".into()],
    };
    let total = cases.len();
    let mut tried = 0;
    let live = std::io::stderr().is_terminal() && !args.json;
    let report = runtime.block_on(selftest::run(cases, threads * 2, racer, |case| {
        tried += 1;
        if live {
            let _ = write!(std::io::stderr(), "\r\x1b[K{tried}/{total} {}", case.id);
        }
    }));
    // A guest that was not stopped must not keep the process alive.
    runtime.shutdown_background();
    if live {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
    let report = report?;
    if args.json {
        print_json(&report)?;
    } else {
        table(&report)?;
    }
    Ok(if report.holds() {
        Exit::Success
    } else {
        Exit::Failed
    })
}

fn select(args: &Args) -> Result<Vec<&'static Case>, Failure> {
    let wall = match &args.wall {
        None => None,
        Some(name) => Some(Wall::find(name).ok_or_else(|| {
            let walls: Vec<&str> = Wall::ALL.iter().map(|wall| wall.id()).collect();
            Failure::with_hint(
                anyhow!("there is no wall `{name}`"),
                format!("walls are {}", walls.join(", ")),
            )
        })?),
    };
    let named = |case: &&Case| {
        args.cases.is_empty()
            || args
                .cases
                .iter()
                .any(|part| case.id.contains(part.as_str()))
    };
    let cases: Vec<_> = selftest::all()
        .filter(|case| wall.is_none_or(|wall| case.wall == wall))
        .filter(named)
        .collect();
    if cases.is_empty() {
        return Err(Failure::with_hint(
            anyhow!("no case is called that"),
            "`wasm-agent selftest --list` shows them all",
        ));
    }
    Ok(cases)
}

fn list(cases: &[&'static Case], json: bool) -> Done {
    if json {
        let cases: Vec<_> = cases
            .iter()
            .map(|case| {
                serde_json::json!({ "id": case.id, "claim": case.claim, "source": case.source, "wall": case.wall })
            })
            .collect();
        print_json(&cases)?;
        return Ok(Exit::Success);
    }
    let width = cases.iter().map(|case| case.id.len()).max().unwrap_or(0);
    for case in cases {
        print(&format!(
            "{:width$}  {} ({}; wall {})",
            case.id,
            case.claim,
            case.source,
            case.wall.id()
        ))?;
    }
    Ok(Exit::Success)
}

fn table(report: &Report) -> Result<(), Failure> {
    let width = report
        .cases
        .iter()
        .map(|case| case.id.len())
        .max()
        .unwrap_or(0);
    for case in &report.cases {
        print(&format!(
            "{:4}  {:width$}  {:>6} ms  {}",
            word(case),
            case.id,
            case.millis,
            case.claim
        ))?;
        let (details, what): (&[String], _) = match &case.verdict {
            Verdict::Held { .. } => continue,
            Verdict::Broken { why } => (why, "wrong"),
            Verdict::Skipped { reason } => (std::slice::from_ref(reason), "reason"),
        };
        for detail in details {
            print(&format!("      {what}: {detail}"))?;
        }
    }
    let (broken, skipped) = (report.broken().count(), report.skipped().count());
    let held = report.cases.len() - broken - skipped;
    print(&format!(
        "{held} held, {broken} broken, {skipped} skipped; wasm-agent {} on {}",
        report.host, report.system
    ))
}

fn word(case: &CaseReport) -> &'static str {
    match case.verdict {
        Verdict::Held { .. } => "ok",
        Verdict::Broken { .. } => "FAIL",
        Verdict::Skipped { .. } => "skip",
    }
}
