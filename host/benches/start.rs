//! What it costs to start an agent: the whole process `wasm-agent run`, from exec to exit, with a warm
//! cache, against `true` and `python3 -c pass` on the same machine at the same time.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints what it measured, or fails"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wasm_agent_test_artifacts as guests;

const ROUNDS: usize = 100;

fn main() {
    let lab = tempfile::TempDir::new().unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_wasm-agent"));
    agent
        .args(["run", guests::ANSWERS_WITH_TEXT, "x", "--quiet"])
        .env("WASM_AGENT_RUNS_DIR", lab.path().join("runs"))
        .env("WASM_AGENT_CACHE_DIR", lab.path().join("cache"));
    let mut python = Command::new(interpreter());
    python.args(["-c", "pass"]);
    let mut commands = [
        ("true", Command::new("true")),
        ("wasm-agent run", agent),
        ("python3 -c pass", python),
    ];
    let mut took = [const { Vec::new() }; 3];
    // In turns, so that whatever else the machine does meets all of them; the first round warms up.
    for round in 0..=ROUNDS {
        for ((_, command), took) in commands.iter_mut().zip(&mut took) {
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let begin = Instant::now();
            let status = command.status();
            if round > 0 && status.is_ok_and(|status| status.success()) {
                took.push(begin.elapsed());
            }
        }
    }
    let medians: Vec<(&str, Option<Duration>)> = commands
        .iter()
        .zip(&mut took)
        .map(|((name, _), took)| {
            took.sort_unstable();
            (*name, took.get(took.len() / 2).copied())
        })
        .collect();
    let agent = medians
        .iter()
        .find_map(|(name, median)| median.filter(|_| *name == "wasm-agent run"))
        .unwrap();
    println!(
        "{:<18} {:>10} {:>18}",
        "process", "median", "wasm-agent / it"
    );
    for (name, median) in medians {
        match median {
            Some(median) => println!(
                "{name:<18} {:>10} {:>18.2}",
                format!("{median:.2?}"),
                agent.as_secs_f64() / median.as_secs_f64(),
            ),
            None => println!("{name:<18} {:>10}", "not here"),
        }
    }
}

/// Python itself: what stands in the path may be a script that looks for it, which costs more than it.
fn interpreter() -> String {
    let asked = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    asked
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|path| path.trim().to_owned())
        .filter(|path| Path::new(path).is_file())
        .unwrap_or_else(|| "python3".to_owned())
}
