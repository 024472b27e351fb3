//! `wasm-agent verify`.

use std::path::PathBuf;

use wasm_agent::error::Exit;
use wasm_agent::trajectory::verify::{Verdict, verify_path};

use super::Done;
use super::out::{DIM, GREEN, Out, RED, YELLOW, print_json, styled};
use super::text::plural;

const EXAMPLES: &str = "\
Examples:
  wasm-agent verify trajectory.ndjson
  wasm-agent verify ~/.local/share/wasm-agent/runs/20261121-053000-1f3a9c07

Exit codes:
  0  every rule is kept
  1  a rule is broken, or the account was never closed
  2  there is nothing to judge";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// An AVP trajectory (NDJSON), or a run directory
    path: PathBuf,

    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: &Args) -> Done {
    let report = verify_path(&args.path)?;
    let exit = match report.verdict() {
        Verdict::Valid => Exit::Success,
        Verdict::Unfinished | Verdict::Invalid => Exit::Failed,
    };
    if args.json {
        print_json(&report)?;
        return Ok(exit);
    }
    let mut out = Out::new();
    for violation in &report.violations {
        out.line(&violation.to_string())?;
    }
    let more = report.total - report.violations.len() as u64;
    if more > 0 {
        out.line(&format!("and {more} more"))?;
    }
    let verdict = match report.verdict() {
        Verdict::Valid => styled(GREEN, "valid"),
        Verdict::Unfinished => {
            styled(YELLOW, "unfinished") + ": valid as far as it goes, but the run was not closed"
        }
        Verdict::Invalid => styled(RED, "invalid"),
    };
    out.line(&format!(
        "{verdict} {} {}",
        styled(DIM, "·"),
        plural(report.events, "event")
    ))?;
    if let Some(head) = &report.head {
        out.line(&styled(DIM, format!("head {head}")))?;
    }
    out.finish()?;
    Ok(exit)
}
