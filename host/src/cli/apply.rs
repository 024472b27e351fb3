//! `wasm-agent apply`: what becomes of a copy-on-write directory.

use std::collections::HashMap;

use anyhow::anyhow;
use wasm_agent::error::Exit;
use wasm_agent::run::{Pending, Workspaces};

use super::Done;
use super::consent::agreed;
use super::failure::Failure;
use super::load::RunsFlags;
use super::out::{note, print};
use super::text::{path, plural, printable};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The run: the beginning of its id, or `latest`
    run: String,

    /// Delete the copy instead of applying it; the patch is kept
    #[arg(long)]
    discard: bool,

    /// Apply also what other programs run by themselves, such as `package.json`, without asking
    #[arg(long, conflicts_with = "discard")]
    yes: bool,

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
    for left in workspaces.recover()? {
        note(&format!(
            "`{}` is none of this run's and is left alone: an `apply` that was cut off has left it, which the same \
             `apply` undoes, or it came with the directory; look at it before you delete it",
            path(&left.display().to_string())
        ));
    }
    let pending = workspaces.pending()?;
    let marked: usize = pending.iter().map(|it| it.marks.len()).sum();
    if marked > 0 && !args.yes {
        for Pending { host, marks, .. } in &pending {
            for mark in marks {
                let path = path(&host.join(&mark.path).display().to_string());
                note(&format!("! {path}  {}", printable(&mark.reason)));
            }
        }
        let what = plural(marked as u64, "change");
        let what = format!("apply {what} that other programs run");
        if !agreed(&what, &what)? {
            return Err(Failure::with_hint(
                anyhow!("nothing was applied"),
                "review `workspace.patch`; `--discard` deletes the copy",
            ));
        }
    }
    workspaces.apply_these(&pending)?;
    for Pending { host, delta, marks } in &pending {
        print(&path(&host.display().to_string()))?;
        let reasons: HashMap<_, _> = marks.iter().map(|it| (&it.path, &it.reason)).collect();
        for change in &delta.paths {
            let letter = match (&change.before, &change.after) {
                (None, _) => 'A',
                (_, None) => 'D',
                _ => 'M',
            };
            let name = path(&change.path);
            match reasons.get(&change.path) {
                Some(reason) => print(&format!("  {letter}! {name}  {}", printable(reason)))?,
                None => print(&format!("  {letter}  {name}"))?,
            }
        }
    }
    workspaces.discard()?;
    Ok(Exit::Success)
}
