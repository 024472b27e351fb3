//! `wasm-agent replay`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use wasm_agent::digest::Digest;
use wasm_agent::engine::Profile;
use wasm_agent::engine::artifact::{Artifact, MAX_ARTIFACT};
use wasm_agent::error::Exit;
use wasm_agent::grants::Grants;
use wasm_agent::recording::Recording;
use wasm_agent::recording::format::Component;
use wasm_agent::run::Places;

use super::failure::Failure;
use super::grants::places;
use super::live::Live;
use super::load::{HostFlags, artifact_at};
use super::out::note;
use super::run::{ResultFlags, follow};
use super::signals::Signals;
use super::taping::ExpectFlag;
use super::{Done, EXIT_CODES};

const EXAMPLES: &str = "\
Examples:
  wasm-agent replay task.rec
  wasm-agent replay task.rec ./my-agent --dir ./fixture::/work
  wasm-agent replay task.rec --expect-digest sha256:…";

#[derive(clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Args {
    /// A recording, as `run --record` writes it
    #[arg(value_name = "FILE")]
    recording: PathBuf,

    /// The agent, where it is not the recorded component in its recorded place; another one has to do the same
    #[arg(value_name = "AGENT")]
    agent: Option<PathBuf>,

    /// Where a directory of the recorded run is here; it is read, and never changed
    #[arg(long = "dir", value_name = "HOST[::GUEST]", help_heading = "Inputs")]
    dirs: Vec<String>,

    /// Where a single file of the recorded run is here
    #[arg(long = "file", value_name = "HOST::GUEST", help_heading = "Inputs")]
    files: Vec<String>,

    /// Let the replay use more than the default, where the recorded run could, such as memory=2GiB
    #[arg(long = "limit", value_name = "NAME=VALUE", help_heading = "Inputs")]
    limits: Vec<String>,

    #[command(flatten)]
    expected: ExpectFlag,

    #[command(flatten)]
    result: ResultFlags,

    #[command(flatten)]
    host: HostFlags,
}

pub(super) async fn replay(args: Args) -> Done {
    let recording = Arc::new(Recording::read(&args.recording)?);
    recording.finished()?;
    let places = places(&args.dirs, &args.files, &args.limits)?;
    if !args.result.quiet {
        tell_lowered(&recording, &places)?;
    }
    let host = args.host.host(Profile::Hermetic)?;
    let component = &recording.header.component;
    let artifact = component_of(
        component,
        args.agent.as_deref(),
        &args.recording,
        args.result.quiet,
    )?;
    let agent = host.load_artifact(artifact).await?;
    let sink = args.result.sink()?;
    let runs = args.host.runs()?;
    let live = Live::new(&agent.descriptor().agent_name, args.result.quiet);
    let signals = Signals::catch();
    let handle = host
        .replay(agent, recording, &places, Some(runs))
        .map_err(|error| {
            let exit = error.exit();
            Failure::from(error).exiting(exit)
        })?;
    let outcome = follow(handle, signals, sink, live).await?;
    args.result.print(&outcome)?;
    args.expected.exit(&outcome)
}

/// Says which limits of a recorded run a replay does not get.
pub(super) fn tell_lowered(recording: &Recording, places: &Places) -> Result<(), Failure> {
    let recorded = Grants::recorded_limits(&recording.header.grants)?;
    for (limit, recorded_value, here) in recorded.differing(&places.limits) {
        if limit.of(&recorded) > limit.of(&places.limits) {
            let name = limit.name;
            note(&format!(
                "note: the recorded run had {name}={recorded_value}, here it is {here}; `--limit {name}={recorded_value}` \
                 allows as much"
            ));
        }
    }
    Ok(())
}

/// The component that is to repeat a recording: the one that is named, or the recorded one where it was.
pub(super) fn component_of(
    recorded: &Component,
    named: Option<&Path>,
    recording: &Path,
    quiet: bool,
) -> Result<Artifact, Failure> {
    let Some(path) = named else {
        return recorded_artifact(recorded, recording);
    };
    let artifact = artifact_at(path)?;
    if artifact.digest() != recorded.digest && !quiet {
        note("note: this is another component than was recorded; it has to do the same");
    }
    Ok(artifact)
}

/// The component where the recording says it was: there, or in the same place as seen from the recording.
fn recorded_artifact(recorded: &Component, recording: &Path) -> Result<Artifact, Failure> {
    let missing = |reason: String| {
        Failure::with_hint(
            anyhow::anyhow!(
                "cannot find the component `{}` ({}): {reason}",
                recorded.name,
                recorded.digest
            ),
            format!("name it: `wasm-agent replay {} AGENT`", recording.display()),
        )
    };
    let Some(path) = &recorded.path else {
        return Err(missing(
            "the recording does not say where it was".to_owned(),
        ));
    };
    let beside = recording.parent().unwrap_or(Path::new("")).join(path);
    let mut found: Option<Digest> = None;
    for path in [path, &beside] {
        if let Ok(artifact) = Artifact::open(path, MAX_ARTIFACT) {
            if artifact.digest() == recorded.digest {
                return Ok(artifact);
            }
            found = Some(artifact.digest());
        }
    }
    Err(match found {
        Some(digest) => missing(format!("`{}` is another one: {digest}", path.display()))
            .exiting(Exit::Diverged),
        None => missing(format!("`{}` is not there", path.display())),
    })
}
