//! `wasm-agent runs rm`.

use wasm_agent::error::Exit;
use wasm_agent::run::RunDir;

use super::super::Done;
use super::super::consent::agreed;
use super::super::load::RunsFlags;
use super::super::out::note;
use super::super::text::plural;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Session ids, beginnings of them, or `latest`
    #[arg(value_name = "RUN", required_unless_present = "all")]
    ids: Vec<String>,

    /// Remove every run
    #[arg(long, conflicts_with = "ids")]
    all: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    #[command(flatten)]
    runs: RunsFlags,
}

pub(super) fn remove(args: &Args) -> Done {
    let dir = args.runs.dir()?;
    let mut runs: Vec<RunDir> = if args.all {
        dir.list()?
    } else {
        // Every id is looked up before the first run is gone.
        args.ids
            .iter()
            .map(|id| dir.find(id))
            .collect::<Result<_, _>>()?
    };
    runs.sort_by(|a, b| a.session_id().cmp(b.session_id()));
    runs.dedup();
    let count = plural(runs.len() as u64, "run");
    if args.all && !args.yes && !runs.is_empty() {
        let question = format!("remove {count} from {}", dir.path().display());
        if !agreed("remove all runs", &question)? {
            note("nothing removed");
            return Ok(Exit::Success);
        }
    }
    // One that goes on keeps the others, too: nobody meant to remove it.
    for run in &runs {
        run.is_over_to("remove")?;
        run.is_at_rest()?;
    }
    for run in runs {
        run.remove()?;
    }
    note(&format!("removed {count}"));
    Ok(Exit::Success)
}
