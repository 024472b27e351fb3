//! `wasm-agent verify`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use wasm_agent::attest::{
    self, ArtifactState, Mismatch, PublicKey, ReceiptCheck, RecordingCheck, RecordingState,
    SignatureCheck, Verified,
};
use wasm_agent::digest::Digest;
use wasm_agent::engine::Profile;
use wasm_agent::error::Exit;
use wasm_agent::recording::Recording;
use wasm_agent::run::{Ended, Outcome};
use wasm_agent::trajectory::verify::{Claims, Verdict};

use super::Done;
use super::failure::Failure;
use super::grants::places;
use super::live::Live;
use super::load::HostFlags;
use super::out::{Cell, DIM, GREEN, Out, RED, Table, YELLOW, print_json, styled};
use super::replay::component_of;
use super::run::follow;
use super::sign::run_at;
use super::signals::Signals;
use super::text::{clipped, plural, printable};

const EXAMPLES: &str = "\
Examples:
  wasm-agent verify trajectory.ndjson
  wasm-agent verify latest
  wasm-agent verify ~/.local/share/wasm-agent/runs/20261121-053000-1f3a9c07 --key ci.key.pub
  wasm-agent verify latest --replay

Exit codes:
  0  every rule is kept, and what is beside the account says the same
  1  a rule is broken, the account was never closed, a recording or a receipt says something else,
     or the signature is not one of the key
  2  there is nothing to judge
  4  the recorded run, done again, is another one";

/// Characters of a value in which two things differ.
const SHOWN: usize = 120;

/// Claimed calls that are listed; `--json` has more.
const LISTED: usize = 20;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// An AVP trajectory (NDJSON), or a run: its directory, the beginning of its id, or `latest`
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,

    /// The public key that has to have signed the run
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Do the recorded run again, and compare
    #[arg(long)]
    replay: bool,

    /// With `--replay`: the agent, where it is not in its recorded place
    #[arg(long, value_name = "AGENT", requires = "replay")]
    agent: Option<PathBuf>,

    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,

    /// With `--replay`: where a directory of the run is here; it is copied, and never changed
    #[arg(long = "dir", value_name = "HOST[::GUEST]", requires = "replay")]
    dirs: Vec<String>,

    /// With `--replay`: where a single file of the run is here
    #[arg(long = "file", value_name = "HOST::GUEST", requires = "replay")]
    files: Vec<String>,

    /// With `--replay`, let it use more than the default, where the recorded run could, such as memory=2GiB
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,

    #[command(flatten)]
    host: HostFlags,
}

/// All that is said of a run.
#[derive(Serialize)]
struct Report {
    verdict: Verdict,
    #[serde(flatten)]
    verified: Verified,
    /// What came of doing it again; nothing when it was not.
    replay: Option<Replayed>,
}

/// What came of doing a recorded run again.
#[derive(Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
enum Replayed {
    /// The same, to the byte.
    Same { run_digest: Digest },
    /// Something else.
    Diverged {
        reason: String,
        hint: Option<String>,
    },
    /// It was not done, as the account or its recording is not valid.
    Skipped,
}

pub(super) async fn verify(args: Args) -> Done {
    let key = args.key.as_deref().map(PublicKey::read).transpose()?;
    let path = run_at(&args.path, args.host.runs_flags())?;
    let verified = attest::verify(&path, key.as_ref())?;
    let verdict = verified.verdict();
    let replay = match verdict {
        _ if !args.replay => None,
        Verdict::Valid => Some(replay(&args, &path).await?),
        Verdict::Unfinished | Verdict::Invalid => Some(Replayed::Skipped),
    };
    let exit = match (verdict, &replay) {
        (Verdict::Valid, Some(Replayed::Diverged { .. })) => Exit::Diverged,
        (Verdict::Valid, _) => Exit::Success,
        (Verdict::Unfinished | Verdict::Invalid, _) => Exit::Failed,
    };
    let report = Report {
        verdict,
        verified,
        replay,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(exit)
}

/// Does the run again. Nothing is kept of it.
async fn replay(args: &Args, path: &Path) -> Result<Replayed, Failure> {
    let file = attest::recording_of(path).ok_or_else(|| {
        Failure::with_hint(
            anyhow::anyhow!("cannot do `{}` again: it was not recorded", path.display()),
            "`wasm-agent run --record` records a run",
        )
    })?;
    let recording = Arc::new(Recording::read(&file)?);
    let expected = recording.finished()?.run;
    let places = places(&args.dirs, &args.files, &args.limits)?;
    let host = args.host.host(Profile::Hermetic)?;
    let component = &recording.header.component;
    let artifact = component_of(component, args.agent.as_deref(), &file, args.json)?;
    let agent = host.load_artifact(artifact).await?;
    let live = Live::new(&agent.descriptor().agent_name, true);
    let signals = Signals::catch();
    let handle = match host.replay(agent, recording, &places, None) {
        Ok(handle) => handle,
        Err(error) if error.exit() == Exit::Diverged => {
            return Ok(Replayed::Diverged {
                reason: error.to_string(),
                hint: wasm_agent::error::Hint::hint(&error),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let outcome = follow(handle, signals, None, live).await?;
    compared(&outcome, expected)
}

fn compared(outcome: &Outcome, expected: Digest) -> Result<Replayed, Failure> {
    match (&outcome.ended, outcome.run_digest) {
        (Ended::Diverged(divergence), _) => Ok(Replayed::Diverged {
            reason: divergence.to_string(),
            hint: divergence.hint.clone(),
        }),
        (_, Some(found)) if found == expected => Ok(Replayed::Same { run_digest: found }),
        (_, Some(found)) => Ok(Replayed::Diverged {
            reason: format!("the run digest is {found}, the recorded one {expected}"),
            hint: None,
        }),
        (ended, None) => {
            let how = serde_json::to_string(ended).unwrap_or_default();
            let error = anyhow::anyhow!("cannot do the run again: it ended as {how}");
            Err(Failure::new(error).exiting(outcome.exit()))
        }
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    let Report {
        verdict,
        verified,
        replay,
    } = report;
    let judged = &verified.report;
    let mut out = Out::new();
    for violation in &judged.violations {
        out.line(&violation.to_string())?;
    }
    let more = judged.total - judged.violations.len() as u64;
    if more > 0 {
        out.line(&format!("and {more} more"))?;
    }
    for what in &verified.unread {
        out.line(what)?;
    }
    for artifact in &verified.artifacts {
        let name = clipped(&artifact.name, SHOWN);
        match (artifact.state, &artifact.found) {
            (ArtifactState::Altered, Some(found)) => out.line(&format!(
                "artifacts/{name}: the account has {}, the directory {found}",
                clipped(&artifact.digest, SHOWN)
            ))?,
            (ArtifactState::Missing, _) => {
                out.line(&format!(
                    "artifacts/{name}: it is not there, and not compared"
                ))?;
            }
            _ => {}
        }
    }
    if let Some(recording) = &verified.recording {
        mismatches(
            &mut out,
            "recording",
            &recording.file,
            &recording.mismatches,
        )?;
    }
    if let Some(receipt) = &verified.receipt {
        mismatches(&mut out, "receipt", &receipt.file, &receipt.mismatches)?;
    }
    if let Some(why) = &verified.unsigned {
        out.line(why)?;
    }
    let word = match verdict {
        Verdict::Valid => styled(GREEN, "valid"),
        Verdict::Unfinished => {
            styled(YELLOW, "unfinished") + ": valid as far as it goes, but the run was not closed"
        }
        Verdict::Invalid => styled(RED, "invalid"),
    };
    out.line(&format!(
        "{word} {} {}",
        styled(DIM, "·"),
        plural(judged.events, "event")
    ))?;
    if let Some(head) = &judged.head {
        out.line(&styled(DIM, format!("head {head}")))?;
    }
    if let Some(claims) = &judged.claims {
        print_claims(&mut out, claims)?;
    }
    if let Some(recording) = &verified.recording {
        out.line(&format!("recording: {}", said_of_recording(recording)))?;
    }
    match &verified.receipt {
        Some(receipt) => out.line(&format!("receipt: {}", said_of_receipt(receipt)))?,
        None if judged.claims.is_some() => out.line("receipt: none")?,
        None => {}
    }
    match replay {
        None => {}
        Some(Replayed::Same { run_digest }) => {
            out.line(&format!(
                "replay: {}, run digest {run_digest}",
                styled(GREEN, "the same")
            ))?;
        }
        Some(Replayed::Diverged { reason, hint }) => {
            let reason = printable(reason);
            out.line(&format!("replay: {}: {reason}", styled(RED, "diverged")))?;
            if let Some(hint) = hint {
                out.line(&format!("  hint: {}", printable(hint)))?;
            }
        }
        Some(Replayed::Skipped) => out.line("replay: not done, as the account is not valid")?,
    }
    out.finish()
}

fn mismatches(
    out: &mut Out,
    name: &str,
    file: &Path,
    mismatches: &[Mismatch],
) -> Result<(), Failure> {
    let value = |value: &Option<String>| match value {
        Some(text) => clipped(text, SHOWN),
        None => "nothing".to_owned(),
    };
    for Mismatch {
        what,
        account,
        found,
    } in mismatches
    {
        out.line(&format!(
            "{}: {}: the account has {}, the {name} {}",
            printable(&file.display().to_string()),
            clipped(what, SHOWN),
            value(account),
            value(found)
        ))?;
    }
    Ok(())
}

fn print_claims(out: &mut Out, claims: &Claims) -> Result<(), Failure> {
    let mut table = Table::default();
    table.row([
        Cell::from(""),
        Cell::right("observed").with(DIM),
        Cell::right("claimed").with(DIM),
    ]);
    let mut row = |name: &str, observed: String, claimed: String| {
        table.row([
            Cell::from(name),
            Cell::right(observed),
            Cell::right(claimed),
        ]);
    };
    let counts = [
        ("turns", claims.turns),
        ("tool calls", claims.tool_calls),
        ("sub-agents", claims.subagents),
        ("input tokens", claims.input_tokens),
        ("output tokens", claims.output_tokens),
    ];
    for (name, split) in counts {
        row(name, split.observed.to_string(), split.claimed.to_string());
    }
    let cost = claims.cost_usd;
    let dollars = |amount: f64| format!("${amount:.4}");
    row("cost", dollars(cost.observed), dollars(cost.claimed));
    out.table(&table)?;
    out.line(&styled(
        DIM,
        "observed: the host saw it happen; claimed: only the agent says so",
    ))?;
    if claims.calls_closed_by_host > 0 {
        let calls = plural(claims.calls_closed_by_host, "tool call");
        out.line(&format!("{calls} refused, or open when the run ended"))?;
    }
    if claims.calls_without_effect == 0 {
        return Ok(());
    }
    out.line(&format!(
        "{} without an observed effect, which reading has none of either:",
        plural(claims.calls_without_effect, "claimed tool call")
    ))?;
    let listed = claims.without_effect.iter().take(LISTED);
    for call in listed.clone() {
        let step = call.step.map_or("?".to_owned(), |step| step.to_string());
        out.line(&format!(
            "  line {}: step {step}: {} ({})",
            call.line,
            printable(&call.tool),
            printable(&call.call_id)
        ))?;
    }
    let more = claims.calls_without_effect - listed.len() as u64;
    if more > 0 {
        out.line(&format!("  and {more} more"))?;
    }
    Ok(())
}

fn said_of_recording(check: &RecordingCheck) -> String {
    let file = printable(&check.file.display().to_string());
    match check.state {
        _ if !check.mismatches.is_empty() => {
            format!("{} ({file})", styled(RED, "not that of this run"))
        }
        RecordingState::Elsewhere => format!("not compared: `{file}` is not there"),
        RecordingState::Compared | RecordingState::Lost => {
            format!("says the same, {} ({file})", plural(check.calls, "call"))
        }
    }
}

fn said_of_receipt(check: &ReceiptCheck) -> String {
    let says = if check.mismatches.is_empty() {
        "says the same".to_owned()
    } else {
        styled(RED, "says something else")
    };
    let signature = match check.signature {
        SignatureCheck::NotChecked => {
            format!("{}: no --key", styled(YELLOW, "signature not checked"))
        }
        SignatureCheck::Good => styled(GREEN, "signed by the key"),
        SignatureCheck::Refused => styled(RED, "not signed by the key"),
    };
    let keys: Vec<_> = check.signed_by.iter().map(|id| clipped(id, 64)).collect();
    format!("{says}, {signature} (keys it names: {})", keys.join(", "))
}
