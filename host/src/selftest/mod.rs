//! The escape suite: every way out of the sandbox that is known for this kind of host, tried by guests of
//! ours against this binary, on this machine.
//!
//! A [`Case`] has a stable id, its claim in one sentence, the source it is known from, and the [`Wall`] it
//! watches. Most cases are one run of one hostile guest (`tests/escape`, built into the binary) in a little
//! `world` of its own: granted directories with bait beside and inside them. Others are components made by
//! hand, poisoned caches, or accounts that were tampered with.
//!
//! A case is judged from views that do not trust each other (`evidence`): what the guest saw, what is on
//! disk afterwards (nothing outside read, changed, added or planted), what the account says (a denial or a
//! limit where the claim demands one), and whether the account verifies.
//!
//! That the cases would notice is shown by switching off one wall at a time: [`sabotage`].

mod case;
mod cases;
mod component;
mod evidence;
mod guests;
mod race;
mod resources;
pub mod sabotage;
mod server;
mod setup;
mod stage;
pub mod wall;
mod web;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use case::{Case, Verdict};
pub use cases::all;
pub use race::{Racer, exchange};
pub use server::{Manner, serve};
pub use stage::SelftestError;
pub use wall::Wall;

use case::Kind;
use stage::Stage;

/// Version of the report.
pub const FORMAT: &str = "wasm-agent/selftest@1";

/// Longest time one case may take: more than its run may, so that it is over only where something hangs. With a
/// wall down some would never end, and nobody needs to wait that long to see it.
const CASE_TIME: Duration = Duration::from_secs(if cfg!(feature = "sabotage") { 20 } else { 900 });

/// Everything that came of a self-test.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document.
    pub format: &'static str,
    /// Version of the host.
    pub host: &'static str,
    /// Operating system and processor.
    pub system: String,
    /// One entry a case, in the order of the registry.
    pub cases: Vec<CaseReport>,
}

/// What came of one case.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub id: &'static str,
    /// What it claims.
    pub claim: &'static str,
    /// Where the attempt is known from.
    pub source: &'static str,
    /// The guard it watches.
    pub wall: Wall,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl Report {
    /// Cases whose wall did not hold.
    pub fn broken(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases
            .iter()
            .filter(|case| matches!(case.verdict, Verdict::Broken { .. }))
    }

    /// Cases that could not be tried here.
    pub fn skipped(&self) -> impl Iterator<Item = &CaseReport> {
        self.cases
            .iter()
            .filter(|case| matches!(case.verdict, Verdict::Skipped { .. }))
    }

    /// Whether nothing was broken and something was tried.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.broken().next().is_none() && self.skipped().count() < self.cases.len()
    }
}

/// Tries `cases`, at most `parallel` at once, and tells `done` of each as it ends. Cases about races start
/// `racer`.
///
/// Has to be called inside a tokio runtime with more than one thread: a case may hold one up.
///
/// # Errors
///
/// The guests are not in this binary, or the host cannot be set up. What a case finds is in the report.
pub async fn run(
    cases: Vec<&'static Case>,
    parallel: usize,
    racer: Racer,
    mut done: impl FnMut(&CaseReport),
) -> Result<Report, SelftestError> {
    let stage = Arc::new(Stage::new(racer).await?);
    let room = Arc::new(Semaphore::new(parallel.max(1)));
    let mut running = JoinSet::new();
    for (at, case) in cases.into_iter().enumerate() {
        let (stage, room) = (stage.clone(), room.clone());
        running.spawn(async move {
            let _place = room.acquire_owned().await;
            (at, try_one(&stage, case).await)
        });
    }
    let mut reports = Vec::new();
    while let Some(tried) = running.join_next().await {
        // A case runs in a task of its own below, so nothing here panics.
        let Ok((at, report)) = tried else { continue };
        done(&report);
        reports.push((at, report));
    }
    reports.sort_by_key(|(at, _)| *at);
    Ok(Report {
        format: FORMAT,
        host: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cases: reports.into_iter().map(|(_, report)| report).collect(),
    })
}

async fn try_one(stage: &Arc<Stage>, case: &'static Case) -> CaseReport {
    let started = Instant::now();
    let mut trying = {
        let stage = stage.clone();
        // A task of its own: a panic of the host is what this case has found, not the end of the suite.
        tokio::spawn(async move {
            match &case.kind {
                Kind::Guest(setup) => stage.attempt(case.id, setup).await,
                Kind::Host(attempt) => attempt(&stage).await,
            }
        })
    };
    let verdict = match tokio::time::timeout(CASE_TIME, &mut trying).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => Verdict::broken(format!("the host failed: {error}")),
        Err(_) => {
            trying.abort();
            // So that its directories are removed. What holds its thread up is not waited for.
            let _ = tokio::time::timeout(Duration::from_secs(1), &mut trying).await;
            Verdict::broken(format!("it was not over after {} s", CASE_TIME.as_secs()))
        }
    };
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    CaseReport {
        id: case.id,
        claim: case.claim,
        source: case.source,
        wall: case.wall,
        verdict,
        millis,
    }
}
