//! Drives one guest from instantiation to the closing of its account.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::agent::{Agent, Entry};
use super::alone::alone;
use super::caught::caught;
use super::convert::{commission_for_guest, descriptor_from_guest};
use super::equip::equip;
use super::evidence;
use super::finish::{
    Finish, answered, by_tape, command_ended, failed, host_fault, interrupted, limit_reached,
    refused,
};
use super::host::Host;
use super::outcome::{self, Ended, FileChange, Outcome};
use super::sealed::{said, sealed};
use super::store::{FUEL_PER_MS, budget, filesystem, new_store};
use super::supervise::{Cut, Interrupt, Supervision, supervise};
use super::trees::Trees;
use super::watchdog::{Pacing, Policy};
use super::workspaces::Workspaces;
use crate::capabilities::activity::{Activity, Diagnosis};
use crate::capabilities::bindings::{self};
use crate::capabilities::filesystem::{Changes, Effort, Filesystem, Usage};
use crate::capabilities::meters::{LimitHit, Meters, micros, millis};
use crate::capabilities::state::RunState;
use crate::capabilities::stdio::binding::Binding;
use crate::capabilities::stdio::{Captured, Lines};
use crate::capabilities::storage::{Storage, Submissions};
use crate::commission::Commission;
use crate::descriptor::Descriptor;
use crate::egress::Egress;
use crate::egress::secrets::{Redacted, Secrets};
use crate::engine::{Engine, Profile};
use crate::grants::secrets::Leaks;
use crate::grants::{Grants, Limits};
use crate::model;
use crate::preflight::Refusal;
use crate::recording::format::Header;
use crate::recording::{Seed, Tape};
use crate::schema::Schema;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::tools::Toolbox;
use crate::trajectory::audit::Stream;
use crate::trajectory::event::Origin;
use crate::trajectory::journal::JournalError;
use crate::trajectory::ledger::{Ledger, LedgerError};
use crate::trajectory::opening::Opening;
use crate::trajectory::{Audit, ErrorCode, StopReason};

/// Everything one run needs; owned by its task.
pub(super) struct Job {
    pub(super) engine: Engine,
    pub(super) agent: Agent,
    pub(super) commission: Commission,
    pub(super) grants: Arc<Grants>,
    pub(super) workspaces: Workspaces,
    /// Loads components that are tools.
    pub(super) host: Host,
    pub(super) session_id: String,
    /// The session id as the guest and the trajectory know it: a replay keeps that of its recording.
    pub(super) known_as: String,
    pub(super) directory: Option<PathBuf>,
    /// A place for what a run has to keep that has no directory, for as long as it goes on.
    pub(super) scratch: Option<TempDir>,
    /// Whether checkpoints and artifacts can be kept.
    pub(super) storage: bool,
    pub(super) tape: Tape,
    pub(super) seed: Seed,
    /// What the digest of the run begins with, where it has one.
    pub(super) header: Option<Header>,
    /// The recording that is written.
    pub(super) recording: Option<PathBuf>,
    pub(super) ledger: Ledger,
    pub(super) egress: Egress,
    pub(super) opening: Opening,
    pub(super) models: model::Setup,
    /// What the output has to match, where that is required.
    pub(super) output_schema: Option<Schema>,
    pub(super) secrets: Secrets,
    pub(super) interrupt: Interrupt,
}

/// What is known of a guest while it runs, shared with its store.
pub(super) struct Watched {
    pub(super) meters: Arc<Meters>,
    pub(super) activity: Arc<Activity>,
    pub(super) stdout: Captured,
    pub(super) stderr: Captured,
    pub(super) submissions: Submissions,
}

/// Runs the guest, closes its account whatever happened, and sums it up.
pub(super) async fn drive(mut job: Job) -> Outcome {
    let activity = Arc::new(Activity::new(&job.grants.limits));
    let stdout = match &job.agent.entry {
        Entry::Agent(_) => captured(&job, Stream::Stdout),
        Entry::Command(_) => {
            let minimal = job.agent.descriptor.clone();
            let (ledger, opening) = (job.ledger.clone(), job.opening.clone());
            let binding = Binding::new(ledger, opening, minimal, activity.clone());
            Captured::new(
                job.ledger.clone(),
                Lines::Events(binding),
                job.grants.limits.event_bytes,
            )
        }
    };
    let watched = Watched {
        meters: Arc::new(Meters::default()),
        activity,
        stderr: captured(&job, Stream::Stderr),
        stdout,
        submissions: Submissions::default(),
    };
    let mut changes = None;
    let mut trees = Trees::default();
    let mut fuel = None;
    let finish = match (
        job.opening.refusal(),
        filesystem(&job.grants, &job.workspaces, &job.ledger, &job.tape),
    ) {
        (Some(refusal), _) => refused(refusal),
        (None, Err(error)) => host_fault(error.to_string()),
        (None, Ok(files)) => {
            changes = Some(files.journal());
            trees = Trees::before(&job.grants, &job.workspaces).await;
            let finish = match equip(&job, &watched).await {
                Ok(tools) => {
                    // The supervisor, too, and the end of the store: the account is closed whatever fails.
                    let finish = caught(run(&job, &watched, files, tools.clone())).await;
                    // While its account is open: what it still says belongs there.
                    tools.close().await;
                    let (finish, burned) =
                        finish.unwrap_or_else(|panic| (host_fault(panic.to_string()), None));
                    fuel = burned;
                    finish
                }
                Err(finish) => finish,
            };
            let finish = by_tape(&job.tape, finish);
            fuel = fuel.filter(|_| !job.tape.was_cut());
            leaving(&job, weighed(&job, &watched, finish).await)
        }
    };
    // Now: putting the files in order takes its time, and adds to the account.
    let diagnosis = diagnosis(&job, &watched, &finish.ended);
    let disk = changes.as_ref().map(Changes::usage).unwrap_or_default();
    // First of all: whoever kills the host while it compares loses what was to be said of files, and nothing that the
    // agent has said or done.
    let outcome = close(&job, &watched, finish);
    let hurry = Hurry::new(&job.interrupt, changes.clone());
    let files = hurry.unless_done(settle(changes)).await;
    let outcome = Outcome {
        files,
        diagnosis,
        fuel,
        recording: job.recording.clone(),
        ..outcome
    };
    let outcome = said(&job.ledger, outcome);
    let outcome = match hurry.is_on() {
        // What was not read would not be found again by a replay.
        true => outcome,
        false => sealed(&job, outcome),
    };
    let trees = hurry.unless_done(trees.after(hurry.reading())).await;
    let workspaces = std::mem::take(&mut job.workspaces);
    let compared = hurry
        .unless_done(compare(workspaces, hurry.reading(), hurry.showing()))
        .await;
    let (to_apply, ended) = match compared {
        // What a replay did in copies has been done by the recorded run, or is for it to apply.
        Ok(_) if job.tape.is_replay() => (0, outcome.ended.clone()),
        Ok(paths) => (paths, outcome.ended.clone()),
        Err(reason) => {
            tracing::warn!("could not compare the copies of this run: {reason}");
            (0, without_comparison(outcome.ended.clone(), reason))
        }
    };
    let outcome = Outcome {
        ended,
        trees,
        to_apply,
        ..outcome
    };
    let outcome = end_account(&job.ledger, outcome, disk);
    job.ledger.deliver().await;
    outcome
}

/// Returning is a claim. What the operator requires to believe it has to be there, or the run is
/// incomplete.
async fn weighed(job: &Job, watched: &Watched, finish: Finish) -> Finish {
    if finish.reason != StopReason::Converged {
        return finish;
    }
    let missing = evidence::missing(
        &job.grants.require,
        job.ledger.completed().is_some(),
        &watched.submissions.list(),
        finish.output.as_ref(),
        job.output_schema.as_ref(),
    )
    .await;
    if missing.is_empty() || down(Wall::Required) {
        return finish;
    }
    let message = format!(
        "the agent returned without the required evidence: {}",
        missing.join(", ")
    );
    Finish {
        ended: Ended::Incomplete { missing },
        reason: StopReason::Abandoned,
        error: Some((ErrorCode::Unknown, message)),
        ..finish
    }
}

/// What the agent returns leaves it, too.
fn leaving(job: &Job, finish: Finish) -> Finish {
    let Some(output) = &finish.output else {
        return finish;
    };
    let taken = job.ledger.claimable("the answer", output);
    let Err(LedgerError::Rejected(rejected)) = taken else {
        // A journal that fails is told of where the account is closed.
        return finish;
    };
    Finish {
        ended: Ended::Withheld {
            reason: rejected.to_string(),
        },
        reason: StopReason::Error,
        output: None,
        error: Some((
            ErrorCode::Unknown,
            format!("the answer is withheld: {rejected}"),
        )),
    }
}

/// Bytes that are read to compare the directories of a run once it is over.
const COMPARED_MAX: u64 = 512 << 20;

/// Bytes that a patch is made from.
const SHOWN_MAX: u64 = 64 << 20;

/// Time for each of: looking at what could be written to, comparing copies, and showing the difference. Together with
/// [`Changes::finish`] a run is over within two seconds after its guest.
const COMPARED_WITHIN: Duration = Duration::from_millis(400);

/// What is done after a guest, in as little time as somebody who interrupts it wants.
struct Hurry<'a> {
    interrupt: &'a Interrupt,
    changes: Option<Changes>,
    /// Whether nothing is to be read any more.
    on: Arc<AtomicBool>,
    /// Interrupted before: that has ended the guest, and is not about what follows.
    before: bool,
}

impl Hurry<'_> {
    fn new(interrupt: &Interrupt, changes: Option<Changes>) -> Hurry<'_> {
        Hurry {
            interrupt,
            changes,
            on: Arc::default(),
            before: interrupt.is_requested(),
        }
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn reading(&self) -> Effort {
        Effort::new(COMPARED_MAX, COMPARED_WITHIN, self.on.clone())
    }

    fn showing(&self) -> Effort {
        // It begins when the comparison before it is over.
        Effort::new(SHOWN_MAX, COMPARED_WITHIN * 2, self.on.clone())
    }

    /// Waits for `work`, which reads nothing any more once the run is interrupted.
    async fn unless_done<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.interrupt.requested(), if !self.before => {}
        }
        self.on.store(true, Ordering::Relaxed);
        if let Some(changes) = &self.changes {
            changes.hurry();
        }
        work.await
    }
}

/// How many paths of copy-on-write directories wait for the operator, their patch written.
async fn compare(workspaces: Workspaces, reading: Effort, showing: Effort) -> Result<u64, String> {
    let settle = move || workspaces.settle(&reading, &showing);
    match tokio::task::spawn_blocking(settle).await {
        Ok(Ok(paths)) => Ok(paths as u64),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// How a run ended whose copies could not be compared: it is no success. The copies are still there, and applying
/// them compares again.
fn without_comparison(ended: Ended, reason: String) -> Ended {
    match ended {
        Ended::Converged
        | Ended::Stopped { .. }
        | Ended::Incomplete { .. }
        | Ended::Withheld { .. } => Ended::Uncompared { reason },
        ended => ended,
    }
}

/// The net effect of the run on its directories. Changed files are read once more for it.
async fn settle(changes: Option<Changes>) -> Vec<FileChange> {
    let Some(changes) = changes else {
        return Vec::new();
    };
    let settled = tokio::task::spawn_blocking(move || changes.finish()).await;
    settled
        .unwrap_or_default()
        .into_iter()
        .map(|change| FileChange {
            path: change.path,
            change: change.kind.as_str().to_owned(),
            bytes_written: change.bytes_written,
            before: change.before.map(|digest| digest.to_string()),
            after: change.after.map(|digest| digest.to_string()),
        })
        .collect()
}

fn captured(job: &Job, stream: Stream) -> Captured {
    let lines = Lines::Captured {
        stream,
        max: job.grants.limits.output_bytes,
    };
    Captured::new(job.ledger.clone(), lines, job.grants.limits.event_bytes)
}

/// Runs the guest. Also says how much fuel it has burned, unless it was ended from outside.
async fn run(
    job: &Job,
    watched: &Watched,
    files: Filesystem,
    tools: Toolbox,
) -> (Finish, Option<u64>) {
    let max = job.grants.limits.storage_bytes;
    let scratch = job.scratch.as_ref().map(TempDir::path);
    let storage = match job
        .directory
        .as_deref()
        .or(scratch)
        .filter(|_| job.storage)
        .map(|dir| Storage::open(dir, max))
        .transpose()
    {
        Ok(storage) => storage
            .unwrap_or_else(|| Storage::none(max))
            .listed_in(watched.submissions.clone())
            .starting_from(job.grants.checkpoint.clone()),
        Err(error) => {
            let message = format!("cannot open the run directory: {error}");
            return (host_fault(message), None);
        }
    };
    let mut store = new_store(job, watched, files, storage, tools);
    let limits = &job.grants.limits;
    let guest = async {
        match &job.agent.entry {
            Entry::Agent(pre) => {
                let agent = pre.instantiate_async(&mut store).await?;
                let Some(effective) = job.opening.effective() else {
                    return Ok(host_fault("the run was not opened".to_owned()));
                };
                let commission = commission_for_guest(&job.commission, &effective);
                let answer = agent.call_run(&mut store, &commission).await?;
                Ok(answered(answer))
            }
            Entry::Command(pre) => {
                let command = pre.instantiate_async(&mut store).await?;
                let answer = command.wasi_cli_run().call_run(&mut store).await?;
                Ok(command_ended(&watched.stdout, answer))
            }
        }
    };
    let supervision = Supervision {
        meters: &watched.meters,
        activity: &watched.activity,
        ledger: &job.ledger,
        limits,
        policy: match job.engine.profile() {
            Profile::Live => Policy::of(limits),
            Profile::Hermetic if job.tape.is_replay() => {
                Policy::of(limits).in_fuel(Pacing::Recording)
            }
            Profile::Hermetic => Policy::of(limits).in_fuel(Pacing::Clock),
        },
        interrupt: &job.interrupt,
        tape: &job.tape,
    };
    // Caught here as well, so that the store is not dropped while the stack unwinds: a second panic
    // would end the process.
    let supervised = supervise(caught(guest), supervision).await;
    // Before the store is dropped: what is broken off then stands behind the cut.
    job.tape.take_cut();
    let finish = match supervised {
        Ok(Ok(Ok(finish))) => {
            watched.activity.finished();
            finish
        }
        Ok(Ok(Err(error))) => failed(job, watched, &error),
        Ok(Err(panic)) => return (host_fault(panic.to_string()), None),
        Err(cut) => return (cut_off(cut), None),
    };
    let left = store.get_fuel().ok();
    let burned = left.map(|left| budget(&job.grants).saturating_sub(left));
    (finish, burned)
}

/// How a run ends that is ended from outside.
pub(super) fn cut_off(cut: Cut) -> Finish {
    match cut {
        Cut::Interrupted => interrupted(),
        Cut::Limit(hit) => limit_reached(hit),
        // What the recording says of it is taken from the tape.
        Cut::Recorded => interrupted(),
        Cut::Journal(error) => host_fault(error.to_string()),
        Cut::Policy(error) => host_fault(format!("cannot supervise the run: {error}")),
    }
}

/// Closes the account. A journal that fails here, too, is the host's fault, and the outcome says so.
fn close(job: &Job, watched: &Watched, finish: Finish) -> Outcome {
    let Watched {
        meters,
        activity,
        stdout,
        stderr,
        submissions,
    } = watched;
    let Finish {
        mut ended,
        reason,
        output,
        error,
    } = finish;
    job.egress.close();
    let closed = (|| -> Result<StopReason, JournalError> {
        stdout.finish()?;
        stderr.finish()?;
        if let Some(hit) = meters.refused() {
            job.ledger.audit(Audit::Limit {
                name: hit.name,
                max: hit.max,
            })?;
        }
        if let Some(hit) = activity.held_back() {
            job.ledger.audit(Audit::Limit {
                name: hit.name,
                max: hit.max,
            })?;
        }
        if let Ended::Limit(LimitHit { name, max }) = ended
            && meters.refused().is_none()
        {
            job.ledger.audit(Audit::Limit { name, max })?;
        }
        if job.opening.refusal().is_none() {
            // A stdio agent that never wrote a line has not opened its trajectory.
            job.opening.start(&job.agent.descriptor)?;
        }
        if let Some((code, message)) = error {
            let cause = serde_json::to_value(&ended).ok();
            match job.ledger.error(Origin::Host, code, message, cause) {
                Ok(()) | Err(LedgerError::Rejected(_)) => {}
                Err(LedgerError::Journal(error)) => return Err(error),
            }
        }
        job.ledger.stop(reason, output.clone())
    })();
    let stop_reason = match closed {
        Ok(stopped) => stopped,
        Err(error) => {
            // A replay that has left its recording can notice it here, too: the account is written by its clock. From
            // then on it goes by itself.
            let finish = by_tape(&job.tape, host_fault(error.to_string()));
            ended = finish.ended;
            if let (Ended::Diverged(_), Some((code, message))) = (&ended, finish.error) {
                let cause = serde_json::to_value(&ended).ok();
                let _ = job.ledger.error(Origin::Host, code, message, cause);
                let _ = job.ledger.stop(StopReason::Error, None);
            }
            StopReason::Error
        }
    };
    Outcome {
        format: outcome::FORMAT,
        run_id: job.commission.body().run_id.clone(),
        session_id: job.session_id.clone(),
        ended,
        stop_reason,
        output,
        completed: job.ledger.completed(),
        artifacts: submissions.list(),
        totals: job.ledger.totals(),
        files: Vec::new(),
        trees: Vec::new(),
        to_apply: 0,
        wall_us: micros(meters.wall()),
        cpu_us: micros(meters.cpu()),
        memory_peak: meters.memory_peak(),
        host_calls: activity.seen().host_calls,
        fuel: None,
        run_digest: None,
        diagnosis: None,
        stderr_tail: stderr.tail(),
        stdout_tail: match &job.agent.entry {
            Entry::Agent(_) => stdout.tail(),
            Entry::Command(_) => String::new(),
        },
        directory: job.directory.clone(),
        recording: None,
    }
}

/// What a guest that did not end by itself was doing.
fn diagnosis(job: &Job, watched: &Watched, ended: &Ended) -> Option<Diagnosis> {
    match ended {
        Ended::Converged
        | Ended::Stopped { .. }
        | Ended::Incomplete { .. }
        | Ended::Diverged(_)
        | Ended::Withheld { .. }
        | Ended::Uncompared { .. }
        | Ended::Refused { .. } => None,
        Ended::Crashed(_) | Ended::Limit(_) | Ended::Interrupted | Ended::HostFault { .. } => Some(
            watched
                .activity
                .diagnosis(watched.meters.wall(), job.ledger.last_seq()),
        ),
    }
}

/// The outcome of a run whose task is gone: a defect of the host.
pub(super) fn lost(
    session_id: &str,
    directory: Option<PathBuf>,
    error: &tokio::task::JoinError,
) -> Outcome {
    let ended = Ended::HostFault {
        message: format!("the run's task failed: {error}"),
    };
    Outcome {
        directory,
        ..Outcome::without_guest("", session_id, ended)
    }
}

/// Closes the account of a run that was refused before there was a guest, and sums it up.
pub(super) fn not_started(
    ledger: &Ledger,
    run_id: &str,
    session_id: &str,
    refusal: Refusal,
) -> Outcome {
    let ended = Ended::Refused {
        message: refusal.message,
        remedy: refusal.remedy,
    };
    let outcome = Outcome {
        totals: ledger.totals(),
        ..Outcome::without_guest(run_id, session_id, ended)
    };
    end_account(ledger, outcome, Usage::default())
}

/// Writes the last records of a run: what it has used, and how it ended.
fn end_account(ledger: &Ledger, outcome: Outcome, disk: Usage) -> Outcome {
    let mut outcome = without_secrets(ledger, outcome);
    let record = serde_json::to_value(&outcome).unwrap_or(Value::Null);
    if let Err(error) = ledger.grants_used(measured(&outcome, disk)) {
        // A shorter record may still find its place; if not, it says so.
        tracing::debug!(%error, "could not note what the run has used");
    }
    if let Err(error) = ledger.audit(Audit::RunEnded { outcome: record })
        && !matches!(outcome.ended, Ended::HostFault { .. })
    {
        outcome.ended = Ended::HostFault {
            message: error.to_string(),
        };
    }
    outcome
}

/// The most the run has used of the limits that are measured here. What models have used is noted where it is
/// counted: the totals have turns in them that an agent only claims.
fn measured(outcome: &Outcome, disk: Usage) -> [(&'static str, u64); 8] {
    // Of a run that is metered in fuel, fuel is what the limit is about.
    let cpu = match outcome.fuel {
        Some(fuel) => fuel.div_ceil(FUEL_PER_MS),
        None => outcome.cpu_us.div_ceil(1000),
    };
    [
        ("memory", outcome.memory_peak),
        ("wall", outcome.wall_us.div_ceil(1000)),
        ("cpu", cpu),
        ("host-calls", outcome.host_calls),
        ("handles", disk.handles_peak),
        ("disk-bytes", disk.disk_bytes_peak),
        ("file-bytes", disk.file_bytes_peak),
        ("files", disk.files_peak),
    ]
}

/// An outcome is shown, printed and logged. Of the answer, the policy decides.
fn without_secrets(ledger: &Ledger, outcome: Outcome) -> Outcome {
    let Some(guard) = ledger.guard() else {
        return outcome;
    };
    let Some(Redacted { rest, .. }) = guard.redact_value(&outcome) else {
        return outcome;
    };
    let output = match guard.policy() {
        Leaks::Warn => outcome.output,
        Leaks::Block | Leaks::Redact => rest.output,
    };
    Outcome {
        format: outcome.format,
        directory: outcome.directory,
        output,
        ..rest
    }
}

/// Lets an agent describe itself in a store of its own, with nothing granted.
///
/// # Errors
///
/// Why it could not, in words.
pub(super) async fn describe(
    engine: &Engine,
    pre: &bindings::AgentPre<RunState>,
    time: Duration,
) -> Result<Descriptor, String> {
    let limits = Limits {
        wall: millis(time),
        cpu: millis(time) / 10,
        ..Limits::default()
    };
    let described = alone(engine, limits, |mut store| async move {
        let agent = pre.instantiate_async(&mut store).await?;
        agent.call_describe(&mut store).await
    });
    described
        .await
        .map_err(|lost| lost.to_string())
        .and_then(descriptor_from_guest)
}
