//! `wasm-agent runs`: what has been run.

mod diff;
mod granted;
mod list;
mod remove;
mod show;

use clap::Subcommand;

use super::Done;

#[derive(Subcommand)]
pub(super) enum Command {
    /// List runs, newest first
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show what a run was asked, what it did and how it ended
    Show(show::Args),
    /// Compare two runs: how they ended, what they did, what they left and what they took
    Diff(diff::Args),
    /// Remove runs and everything that is kept of them
    Rm(remove::Args),
}

pub(super) fn runs(command: &Command) -> Done {
    match command {
        Command::List(args) => list::list(args),
        Command::Show(args) => show::show(args),
        Command::Diff(args) => diff::diff(args),
        Command::Rm(args) => remove::remove(args),
    }
}
