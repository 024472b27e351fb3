//! A guest in a store of its own, with nothing granted: an agent that says who it is, a call of a tool.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, Trap};
use wasmtime_wasi::WasiCtx;

use super::caught::caught;
use super::finish::crash;
use super::store::{armed, filesystem, table};
use super::supervise::{Cut, Interrupt, Supervision, supervise};
use super::taping::hermetic_start;
use super::watchdog::{Pacing, Policy};
use super::workspaces::Workspaces;
use crate::capabilities::activity::Activity;
use crate::capabilities::content::Remembered;
use crate::capabilities::http::Http;
use crate::capabilities::meters::{Limiter, Meters};
use crate::capabilities::random::Randomness;
use crate::capabilities::state::RunState;
use crate::capabilities::stdio::{Captured, Lines};
use crate::capabilities::storage::Storage;
use crate::egress::{Caller, Egress};
use crate::engine::{Engine, Profile};
use crate::grants::{Grants, Limits};
use crate::model::{Models, Setup};
use crate::recording::{Seed, Tape};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::tools::Toolbox;
use crate::trajectory::Recorder;
use crate::trajectory::audit::Stream;
use crate::trajectory::journal::{Journal, Link};
use crate::trajectory::ledger::{FactLimits, Ledger};
use crate::trajectory::recorder::Ids;

/// Why it did not come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// It took longer than it may.
    TooLong(Duration),
    /// Anything else, in words.
    Failed(String),
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::TooLong(time) => write!(f, "limit `wall` is reached ({} ms)", time.as_millis()),
            Lost::Failed(text) => f.write_str(text),
        }
    }
}

/// Runs a guest with nothing granted, within `limits`.
///
/// # Errors
///
/// Why it did not come back. What it printed to standard error goes with a crash, and nowhere else.
pub(super) async fn alone<T, F>(
    engine: &Engine,
    limits: Limits,
    guest: impl FnOnce(Store<RunState>) -> F,
) -> Result<T, Lost>
where
    F: Future<Output = wasmtime::Result<T>>,
{
    let grants = Grants {
        limits,
        ..Grants::default()
    };
    let failed = |text: String| Lost::Failed(text);
    let meters = Arc::new(Meters::default());
    let activity = Arc::new(Activity::new(&grants.limits));
    // Nobody keeps what it reports; a limit of none refuses it.
    let nothing = FactLimits {
        facts: 0,
        fact_bytes: 0,
        total_bytes: 0,
    };
    let recorder = Recorder::new(Ids::seeded([1; 16]), "alone", None);
    let ledger = Ledger::new(recorder, Journal::in_memory(Link::of(b"")), nothing, None);
    let (tape, seed) = match engine.profile() {
        Profile::Live => {
            let seed = Seed::random().map_err(|error| failed(error.to_string()))?;
            (Tape::off(), seed)
        }
        // What an agent says of itself is part of a run that can be repeated.
        Profile::Hermetic => (Tape::silent(hermetic_start()), Seed::numbered(0)),
    };
    let files = filesystem(&grants, &Workspaces::default(), &ledger, &tape)
        .map_err(|error| failed(error.to_string()))?;
    let lines = Lines::Captured {
        stream: Stream::Stderr,
        max: grants.limits.output_bytes,
    };
    let stderr = Captured::new(ledger.clone(), lines, grants.limits.event_bytes);
    let mut wasi = WasiCtx::builder();
    wasi.stderr(stderr.clone());
    if down(Wall::Environment) {
        wasi.inherit_env();
    }
    let egress = Egress::new(ledger.clone());
    let state = RunState {
        wasi: wasi.build(),
        files,
        http: Http::new(egress.way(Caller::Guest, Vec::new()), &grants.limits),
        table: table(&grants),
        limiter: Limiter::new(meters.clone(), activity.clone(), &grants.limits),
        meters: meters.clone(),
        activity: activity.clone(),
        ledger: ledger.clone(),
        models: Models::new(
            &Setup::default(),
            &egress,
            ledger.clone(),
            activity.clone(),
            meters.clone(),
            tape.clone(),
        ),
        blocks: Remembered::default(),
        tools: Toolbox::default(),
        storage: Storage::none(0),
        run_id: Arc::from("alone"),
        session_id: Arc::from("alone"),
        grants: Arc::new(grants.clone()),
        tape: tape.clone(),
        random: Randomness::new(&seed),
        timers: HashMap::new(),
    };
    let store = armed(engine, state, &grants);
    // There is nothing it could report: only its time counts.
    let policy = Policy {
        idle: None,
        ..Policy::of(&grants.limits)
    };
    let policy = match engine.profile() {
        Profile::Live => policy,
        // Its computing ends at the same instruction every time.
        Profile::Hermetic => policy.in_fuel(Pacing::Clock),
    };
    let supervision = Supervision {
        meters: &meters,
        activity: &activity,
        ledger: &ledger,
        limits: &grants.limits,
        policy,
        interrupt: &Interrupt::default(),
        tape: &tape,
    };
    match supervise(caught(guest(store)), supervision).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) if matches!(error.downcast_ref(), Some(Trap::OutOfFuel)) => {
            let max = grants.limits.cpu;
            Err(failed(format!("limit `cpu` is reached ({max} ms)")))
        }
        Ok(Ok(Err(error))) => {
            let message = crash(&error).message;
            // Nothing else is kept of what it said.
            Err(failed(match stderr.tail().trim() {
                "" => message,
                said => format!("{message}; it said:\n{said}"),
            }))
        }
        Ok(Err(panic)) => Err(failed(panic.to_string())),
        Err(Cut::Interrupted | Cut::Recorded) => Err(failed("interrupted".to_owned())),
        Err(Cut::Journal(error)) => Err(failed(error.to_string())),
        Err(Cut::Policy(error)) => Err(failed(error.to_string())),
        Err(Cut::Limit(hit)) if hit.name == "wall" => {
            Err(Lost::TooLong(Duration::from_millis(hit.max)))
        }
        Err(Cut::Limit(hit)) => Err(failed(format!(
            "limit `{}` is reached ({} ms)",
            hit.name, hit.max
        ))),
    }
}
