//! `wasm-agent runs list`.

use jiff::Timestamp;
use serde_json::{Value, json};
use wasm_agent::error::Exit;
use wasm_agent::run::{HistoryError, PastRun, RunDir, State};

use super::super::Done;
use super::super::load::RunsFlags;
use super::super::out::{
    BOLD, CYAN, Cell, DIM, Out, RED, Table, YELLOW, note, print_json, put, styled,
};
use super::super::summary::verdict;
use super::super::text::{age, clipped, duration, money};

/// Longest name of an agent in the table, in characters.
const NAME: usize = 24;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show only the newest N runs
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,

    /// Print the list as one JSON document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    runs: RunsFlags,
}

pub(super) fn list(args: &Args) -> Done {
    let dir = args.runs.dir()?;
    let mut runs = dir.list()?;
    runs.truncate(args.last.unwrap_or(usize::MAX));
    let runs = runs.into_iter().map(|run| {
        let past = run.summary();
        (run, past)
    });
    if args.json {
        let runs: Vec<_> = runs.map(|(run, past)| to_json(&run, &past)).collect();
        print_json(&json!({ "format": "wasm-agent/runs@1", "runs": runs }))?;
        return Ok(Exit::Success);
    }
    let mut table = Table::default();
    let head = |text: &str| Cell::styled(BOLD, text);
    table.row([
        head("RUN"),
        head("AGENT"),
        head("ENDED"),
        Cell::right("TURNS").with(BOLD),
        Cell::right("TOOLS").with(BOLD),
        Cell::right("COST").with(BOLD),
        Cell::right("TIME").with(BOLD),
        Cell::right("AGE").with(BOLD),
    ]);
    let mut empty = true;
    let now = Timestamp::now();
    for (run, past) in runs {
        empty = false;
        match past {
            Ok(past) => row(&mut table, &run, &past, now),
            Err(_) => table.row([
                run.session_id().into(),
                "".into(),
                Cell::styled(RED, "damaged"),
            ]),
        }
    }
    if empty {
        note(&styled(DIM, format!("no runs in {}", dir.path().display())));
        return Ok(Exit::Success);
    }
    let mut out = Out::new();
    out.table(&table)?;
    out.finish()?;
    Ok(Exit::Success)
}

fn row(table: &mut Table, run: &RunDir, past: &PastRun, now: Timestamp) {
    let (ended, totals, time) = match &past.state {
        State::Ended(outcome) => {
            let (word, style) = verdict(outcome);
            (
                Cell::styled(style, word),
                &outcome.totals,
                duration(outcome.wall()),
            )
        }
        state @ State::Running(totals) => (Cell::styled(CYAN, word(state)), totals, String::new()),
        state @ (State::Died(totals) | State::Unfinished(totals)) => {
            (Cell::styled(YELLOW, word(state)), totals, String::new())
        }
    };
    let count = |number: u64| {
        if number == 0 {
            Cell::right("-").with(DIM)
        } else {
            Cell::right(number.to_string())
        }
    };
    let cost = money(totals.cost_usd).map_or_else(|| Cell::right("-").with(DIM), Cell::right);
    table.row([
        run.session_id().into(),
        clipped(&past.request.agent.name, NAME).into(),
        ended,
        count(totals.turns),
        count(totals.tool_calls),
        cost,
        Cell::right(time),
        Cell::right(age(now.as_second() - past.request.started.as_second())).with(DIM),
    ]);
}

/// A state, in one word.
pub(super) fn word(state: &State) -> &'static str {
    match state {
        State::Ended(_) => "ended",
        State::Running(_) => "running",
        State::Died(_) => "died",
        State::Unfinished(_) => "unfinished",
    }
}

fn to_json(run: &RunDir, past: &Result<PastRun, HistoryError>) -> Value {
    let past = match past {
        Ok(past) => past,
        Err(error) => {
            return json!({
                "session_id": run.session_id(),
                "directory": run.path(),
                "state": "damaged",
                "error": error.to_string(),
            });
        }
    };
    let mut value = json!({
        "session_id": run.session_id(),
        "directory": run.path(),
        "agent": past.request.agent.name,
        "version": past.request.agent.version,
        "started": past.request.started.to_string(),
    });
    match &past.state {
        State::Ended(outcome) => {
            put(&mut value, "state", json!(word(&past.state)));
            put(&mut value, "ended", json!(outcome.ended));
            put(&mut value, "stop_reason", json!(outcome.stop_reason));
            put(&mut value, "exit_code", json!(outcome.exit() as u8));
            put(&mut value, "totals", json!(outcome.totals));
            put(&mut value, "wall_us", json!(outcome.wall_us));
        }
        state @ (State::Running(totals) | State::Died(totals) | State::Unfinished(totals)) => {
            put(&mut value, "state", json!(word(state)));
            put(&mut value, "totals", json!(totals));
        }
    }
    value
}
