//! How long a guest lives on after it was told to end: `Interrupt::interrupt` to the outcome.
//!
//! A computing guest is reached when the epoch ticks next; one that waits is reached at once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints what it measured, or fails"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use wasm_agent::commission::Commission;
use wasm_agent::engine::EPOCH_TICK;
use wasm_agent::grants::{Grants, GrantsFile};
use wasm_agent::run::{Agent, Ended, Host, HostOptions, RunHandle, RunRequest};
use wasm_agent_test_artifacts as guests;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let host = Host::new(HostOptions::default()).unwrap();
        println!(
            "{:<24} {:>10} {:>10} {:>14}",
            "guest", "median", "p99", "median / tick"
        );
        let work = tempfile::TempDir::new().unwrap();
        let dir = format!("{}::/work:rw", work.path().display());
        let file = GrantsFile {
            dirs: vec![dir.parse().unwrap()],
            ..GrantsFile::default()
        };
        let grants = Grants::resolve(file, GrantsFile::default()).unwrap();
        let short = Duration::from_millis(20);
        for (what, guest, before, rounds) in [
            ("computes", guests::COMPUTES_FOR_EVER, short, 200),
            ("sleeps", guests::SLEEPS_FOR_EVER, short, 200),
            // Nobody reads what it reports: after a thousand records it waits inside the host call.
            (
                "waits in a host call",
                guests::ACKNOWLEDGES_EVERY_EVENT,
                Duration::from_millis(400),
                20,
            ),
        ] {
            let agent = host.load(Path::new(guest)).await.unwrap();
            let mut took = Vec::new();
            for round in 0..rounds {
                // At another point of the tick each time.
                let before = before + EPOCH_TICK * (round % 16) / 16;
                took.push(kill(&host, &agent, &grants, before).await);
            }
            report(what, took);
        }
    });
}

async fn kill(host: &Host, agent: &Agent, grants: &Grants, before: Duration) -> Duration {
    let mut run = host
        .start(RunRequest {
            agent: agent.clone(),
            commission: Commission::for_task("bench", "none/none", Some("x")).unwrap(),
            grants: grants.clone(),
            runs: None,
        })
        .unwrap();
    // It says so before it begins.
    reported(&mut run).await;
    tokio::time::sleep(before).await;
    let interrupt = run.interrupter();
    let begin = Instant::now();
    interrupt.interrupt();
    let outcome = run.outcome().await;
    let took = begin.elapsed();
    assert!(outcome.ended == Ended::Interrupted, "{:?}", outcome.ended);
    took
}

async fn reported(run: &mut RunHandle) {
    while let Some(record) = run.next().await {
        if record.line().contains("progress") {
            return;
        }
    }
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let at = |percent: usize| {
        took.get(took.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what:<24} {:>10} {:>10} {:>14.3}",
        format!("{:.3?}", at(50)),
        format!("{:.3?}", at(99)),
        at(50).as_secs_f64() / EPOCH_TICK.as_secs_f64(),
    );
}
