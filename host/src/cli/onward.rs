//! Going on with a run: the flags of `run` that take the place of an agent and a task, and `fork`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::ValueEnum;
use serde_json::Value;
use wasm_agent::engine::Profile;
use wasm_agent::recording::InDoubt;
use wasm_agent::recording::onward::Edit;
use wasm_agent::run::onward::{Fork, Past};
use wasm_agent::run::taping::FILE;
use wasm_agent::run::{Outcome, RunHandle, StartError};

use super::failure::Failure;
use super::grants::places;
use super::live::Live;
use super::load::HostFlags;
use super::out::note;
use super::replay::component_of;
use super::run::{self, ResultFlags, follow};
use super::sign::sign_outcome;
use super::signals::Signals;
use super::taping::ExpectFlag;
use super::text::plural;
use super::{Done, EXIT_CODES};

/// What takes the place of an agent and a task.
#[derive(clap::Args)]
#[command(next_help_heading = "Repeat")]
pub(super) struct OnwardFlags {
    /// Go on with a recorded run that was ended before it was done, with what it was granted
    #[arg(long, value_name = "RUN")]
    #[arg(conflicts_with_all = ["task", "commission", "model", "GrantFlags", "TapingFlags", "replay"])]
    pub(super) resume: Option<String>,

    /// What becomes of a call that was under way when the run was ended
    #[arg(long, value_name = "WHAT", value_enum, requires = "resume")]
    in_doubt: Option<Doubtful>,

    /// Repeat a recording
    #[arg(long, value_name = "FILE", conflicts_with_all = ["task", "commission", "model", "hermetic"])]
    pub(super) replay: Option<PathBuf>,

    /// What becomes of a call that the recording does not have
    #[arg(long, value_name = "MODE", value_enum, requires = "replay")]
    mode: Option<Misses>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Doubtful {
    /// The run is not gone on with
    Stop,
    /// It is made again
    Retry,
    /// The agent is told that it failed and may have been done
    Tell,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Misses {
    /// The run fails (the default)
    Replay,
    /// The call and all after it are made, and recorded anew
    Hybrid,
    /// All calls are made: the recorded commission is run again
    Live,
}

/// Answers these flags instead of running an agent on a task.
pub(super) async fn instead(args: run::Args) -> Done {
    let key = args.sign.key()?;
    let outcome = match (&args.onward.resume, &args.onward.replay) {
        (Some(run), _) => resume(run, &args).await?,
        (None, Some(file)) => repeat(file, &args).await?,
        (None, None) => return Err(Failure::new(anyhow!("there is no agent to run"))),
    };
    let signed = sign_outcome(key.as_ref(), &outcome, args.result.quiet);
    args.result.print(&outcome)?;
    signed?;
    args.taping.expected().exit(&outcome)
}

async fn resume(id: &str, args: &run::Args) -> Result<Outcome, Failure> {
    let runs = args.host.runs()?;
    let run = runs.find(id)?;
    run.is_over_to("resume")?;
    let past = Past::of(&run).map_err(failure)?;
    let host = args.host.host(Profile::Hermetic)?;
    let file = past.base.join(FILE);
    let quiet = args.result.quiet;
    let component = &past.recording.header.component;
    let artifact = component_of(component, args.agent.as_deref(), &file, quiet)?;
    let agent = host.load_artifact(artifact).await?;
    let sink = args.result.sink()?;
    let in_doubt = match args.onward.in_doubt {
        None | Some(Doubtful::Stop) => InDoubt::Stop,
        Some(Doubtful::Retry) => InDoubt::Retry,
        Some(Doubtful::Tell) => InDoubt::Tell,
    };
    let live = Live::new(&agent.descriptor().agent_name, quiet);
    let signals = Signals::catch();
    let (handle, resumption) = host.resume(agent, &run, in_doubt, &runs).map_err(failure)?;
    if !quiet {
        note(&format!(
            "resuming run {} at call {}",
            run.session_id(),
            resumption.at
        ));
        for doubt in &resumption.in_doubt {
            note(&format!(
                "call {} was under way: {}",
                doubt.call, doubt.what
            ));
        }
        if resumption.put_back > 0 {
            note(&format!(
                "put back to what it was before the run: {}; what was there is in {}",
                plural(resumption.put_back as u64, "path"),
                run.path().display()
            ));
        }
    }
    follow(handle, signals, sink, live).await
}

async fn repeat(file: &Path, args: &run::Args) -> Result<Outcome, Failure> {
    let mode = args.onward.mode.unwrap_or(Misses::Replay);
    if mode == Misses::Hybrid && is_ci() {
        return Err(Failure::with_hint(
            anyhow!(
                "cannot fill the gaps of `{}` here: this is CI",
                file.display()
            ),
            "a run in CI repeats what was reviewed; record it anew elsewhere, and commit that",
        ));
    }
    if mode == Misses::Replay && args.taping.records() {
        return Err(Failure::with_hint(
            anyhow!("cannot record a replay: it would be the same recording"),
            "`--mode hybrid` or `--mode live` makes a new one",
        ));
    }
    let outside = args.grants.resolve_outside()?.reading(file);
    let past = Past::of_file(file, outside).map_err(failure)?;
    let places = args.grants.places()?;
    let host = args.host.host(Profile::Hermetic)?;
    let quiet = args.result.quiet;
    let component = &past.recording.header.component;
    let artifact = component_of(component, args.agent.as_deref(), file, quiet)?;
    let agent = host.load_artifact(artifact).await?;
    let sink = args.result.sink()?;
    let runs = args.host.runs()?;
    let live = Live::new(&agent.descriptor().agent_name, quiet);
    let signals = Signals::catch();
    let record = args.taping.record_to();
    let handle = match mode {
        Misses::Replay => host.replay(agent, Arc::new(past.recording), &places, Some(runs)),
        Misses::Hybrid => host.hybrid(agent, past, record, &places, &runs),
        Misses::Live => host.again(agent, &past, record, &places, &runs),
    };
    follow(handle.map_err(failure)?, signals, sink, live).await
}

/// What every CI service sets.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

fn failure(error: StartError) -> Failure {
    let exit = error.exit();
    Failure::from(error).exiting(exit)
}

const EXAMPLES: &str = "\
Examples:
  wasm-agent fork latest --at 41
  wasm-agent fork latest --at 41 --model anthropic/claude-opus-4-8
  wasm-agent fork latest --at 41 --edit '40:/Ok/content/0/text=\"there is no such file\"'";

#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// A recorded run: the beginning of its id, or `latest`
    run: String,

    /// The agent, where it is not the recorded component in its recorded place
    #[arg(value_name = "AGENT")]
    agent: Option<PathBuf>,

    /// Number of the call from which on the run is live, as `recording show` lists them
    #[arg(long, value_name = "CALL")]
    at: u64,

    /// Ask this model from there on, instead of the commission's
    #[arg(long, value_name = "ORIGIN/MODEL")]
    model: Option<String>,

    /// Change the answer to a call before: its number, a path into its result (RFC 6901), and JSON
    #[arg(long = "edit", value_name = "CALL:/PATH=JSON")]
    edits: Vec<String>,

    /// Where a directory of the run is here; it is copied, and never changed
    #[arg(long = "dir", value_name = "HOST[::GUEST]", help_heading = "Inputs")]
    dirs: Vec<String>,

    /// Where a single file of the run is here
    #[arg(long = "file", value_name = "HOST::GUEST", help_heading = "Inputs")]
    files: Vec<String>,

    #[command(flatten)]
    expected: ExpectFlag,

    #[command(flatten)]
    result: ResultFlags,

    #[command(flatten)]
    host: HostFlags,
}

pub(super) async fn fork(args: Args) -> Done {
    let runs = args.host.runs()?;
    let run = runs.find(&args.run)?;
    let past = Past::of(&run).map_err(failure)?;
    let edits = args.edits.iter().map(|text| edit(text));
    let fork = Fork {
        at: args.at,
        edits: edits.collect::<Result<_, _>>()?,
        model: args.model,
    };
    let places = places(&args.dirs, &args.files, &[])?;
    let host = args.host.host(Profile::Hermetic)?;
    let file = past.base.join(FILE);
    let quiet = args.result.quiet;
    let component = &past.recording.header.component;
    let artifact = component_of(component, args.agent.as_deref(), &file, quiet)?;
    let agent = host.load_artifact(artifact).await?;
    let sink = args.result.sink()?;
    let live = Live::new(&agent.descriptor().agent_name, quiet);
    let signals = Signals::catch();
    let handle: RunHandle = host
        .fork(agent, past, fork, &places, &runs)
        .map_err(failure)?;
    let outcome = follow(handle, signals, sink, live).await?;
    args.result.print(&outcome)?;
    args.expected.exit(&outcome)
}

/// `40:/Ok/content/0/text="…"`. What is no JSON is a text.
fn edit(text: &str) -> Result<Edit, Failure> {
    let parts = text.split_once('=').and_then(|(place, value)| {
        let (call, pointer) = place.split_once(':')?;
        Some((call.parse().ok()?, pointer.to_owned(), value))
    });
    let Some((call, pointer, value)) = parts else {
        return Err(Failure::with_hint(
            anyhow!("cannot read `--edit {text}`"),
            "write `CALL:/path/into/its/result=JSON`",
        ));
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok(Edit {
        call,
        pointer,
        value,
    })
}
