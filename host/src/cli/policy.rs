//! `wasm-agent policy`: grants from what runs have used, and what other grants would not have allowed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;
use wasm_agent::error::Exit;
use wasm_agent::grants::GrantsFile;
use wasm_agent::policy::{Evidence, Missing, check, suggest};

use super::Done;
use super::failure::Failure;
use super::load::RunsFlags;
use super::out::{BOLD, CYAN, Cell, Out, RED, Table, note, print_json, styled};
use super::text::{plural, printable};

const SUGGEST_EXAMPLES: &str = "\
Examples:
  wasm-agent policy suggest latest
  wasm-agent policy suggest 20261121-05 20261121-06 --out grants.toml";

const CHECK_EXAMPLES: &str = "\
Examples:
  wasm-agent policy check --grants grants.toml latest

Exit codes:
  0  everything the runs have used would be allowed
  1  something would not
  2  the grants or a run cannot be read";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write the smallest grants file that would have allowed these runs
    Suggest(Suggest),
    /// List what these runs have used that a grants file would not allow
    Check(Check),
}

#[derive(clap::Args)]
#[command(after_help = SUGGEST_EXAMPLES)]
pub(super) struct Suggest {
    /// Session ids, beginnings of them, `latest`, or run directories
    #[arg(value_name = "RUN", required = true)]
    ids: Vec<String>,

    /// Write to this file, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    runs: RunsFlags,
}

#[derive(clap::Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(super) struct Check {
    /// Session ids, beginnings of them, `latest`, or run directories
    #[arg(value_name = "RUN", required = true)]
    ids: Vec<String>,

    /// The grants file
    #[arg(long, value_name = "FILE")]
    grants: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    runs: RunsFlags,
}

pub(super) fn policy(command: &Command) -> Done {
    match command {
        Command::Suggest(args) => suggested(args),
        Command::Check(args) => checked(args),
    }
}

fn evidence(ids: &[String], runs: &RunsFlags) -> Result<Vec<Evidence>, Failure> {
    let runs = runs.dir()?;
    let mut evidence = Vec::new();
    for id in ids {
        evidence.push(Evidence::of(&runs.find_or_open(id)?)?);
    }
    Ok(evidence)
}

fn suggested(args: &Suggest) -> Done {
    let suggestion = suggest(&evidence(&args.ids, &args.runs)?);
    match &args.out {
        Some(path) => create(path, &suggestion.text)?,
        None => {
            let mut out = Out::plain();
            for line in suggestion.text.lines() {
                out.line(line)?;
            }
            out.finish()?;
        }
    }
    for text in &suggestion.notes {
        note(&format!(
            "{} {}",
            styled(CYAN.bold(), "note:"),
            printable(text)
        ));
    }
    Ok(Exit::Success)
}

/// What a person has edited is not lost by suggesting once more.
fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // Values of variables that a recording has are in it: for nobody else, as the run directory is.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write the grants file `{}`", path.display()))
        .map_err(|error| {
            if path.exists() {
                Failure::with_hint(error, "remove it, or name another file")
            } else {
                Failure::new(error)
            }
        })
}

fn checked(args: &Check) -> Done {
    let grants = GrantsFile::read(&args.grants)?;
    let evidence = evidence(&args.ids, &args.runs)?;
    let missing = check(&grants, &evidence)?;
    if args.json {
        print_json(&json!({
            "format": "wasm-agent/policy-check@1",
            "grants": args.grants,
            "runs": evidence.iter().map(|run| &run.run).collect::<Vec<_>>(),
            "missing": missing,
        }))?;
    } else {
        report(&args.grants, &evidence, &missing)?;
    }
    Ok(if missing.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    })
}

fn report(grants: &Path, evidence: &[Evidence], missing: &[Missing]) -> Result<(), Failure> {
    let mut out = Out::new();
    let runs = plural(evidence.len() as u64, "run");
    let file = printable(&grants.display().to_string());
    if missing.is_empty() {
        out.line(&format!("{file} allows everything {runs} used"))?;
        return out.finish();
    }
    let count = plural(missing.len() as u64, "thing");
    let count = styled(RED, count);
    out.line(&format!("{file} does not allow {count} that {runs} used"))?;
    for run in evidence {
        let of_run = missing.iter().filter(|it| it.run == run.run);
        let mut table = Table::indented(2);
        for it in of_run {
            table.row([
                Cell::styled(BOLD, it.key),
                printable(&it.used).into(),
                format!("needs {}", printable(&it.needs)).into(),
            ]);
        }
        if !table.is_empty() {
            out.heading(&printable(&run.run))?;
            out.table(&table)?;
        }
    }
    out.finish()
}
