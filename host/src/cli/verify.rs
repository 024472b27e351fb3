//! `wasm-agent verify`.

use std::path::PathBuf;

use wasm_agent::error::Exit;
use wasm_agent::trajectory::verify::{Verdict, verify_path};

use super::failure::Failure;
use super::{Done, run};

#[derive(clap::Args)]
pub(super) struct Args {
    /// An AVP trajectory (NDJSON), or a run directory
    path: PathBuf,

    /// Print the report as one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(args: &Args) -> Done {
    let report = verify_path(&args.path)?;
    if args.json {
        let json =
            serde_json::to_string_pretty(&report).map_err(|error| Failure::new(error.into()))?;
        run::print(&json)?;
    } else {
        for violation in &report.violations {
            run::print(&violation.to_string())?;
        }
        let more = report.total - report.violations.len() as u64;
        if more > 0 {
            run::print(&format!("and {more} more"))?;
        }
        let verdict = match report.verdict() {
            Verdict::Valid => "valid",
            Verdict::Unfinished => {
                "unfinished: valid as far as it goes, but the run was not closed"
            }
            Verdict::Invalid => "invalid",
        };
        run::print(&format!("{verdict} · {} events", report.events))?;
        if let Some(head) = &report.head {
            run::print(&format!("head {head}"))?;
        }
    }
    Ok(match report.verdict() {
        Verdict::Valid => Exit::Success,
        Verdict::Unfinished | Verdict::Invalid => Exit::Failed,
    })
}
