//! `wasm-agent apply`: what becomes of a copy-on-write directory.

use wasm_agent::error::Exit;
use wasm_agent::run::Workspaces;

use super::Done;
use super::load::RunsFlags;
use super::out::print;
use super::text::printable;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The run: the beginning of its id, or `latest`
    run: String,

    /// Delete the copy instead of applying it; the patch is kept
    #[arg(long)]
    discard: bool,

    #[command(flatten)]
    runs: RunsFlags,
}

pub(super) fn apply(args: &Args) -> Done {
    let run = args.runs.dir()?.find(&args.run)?;
    run.is_over_to("apply")?;
    let workspaces = Workspaces::open(run.path())?;
    if args.discard {
        workspaces.discard()?;
        print("discarded")?;
        return Ok(Exit::Success);
    }
    for (host, delta) in workspaces.apply()? {
        print(&format!("{}", host.display()))?;
        for change in &delta.paths {
            let mark = match (&change.before, &change.after) {
                (None, _) => 'A',
                (_, None) => 'D',
                _ => 'M',
            };
            print(&format!("  {mark} {}", printable(&change.path)))?;
        }
    }
    workspaces.discard()?;
    Ok(Exit::Success)
}
