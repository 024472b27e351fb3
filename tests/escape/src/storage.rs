//! Names and sizes of what is handed over.

use wasm_agent_sdk::session;

use crate::Case;
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[("storage-names", names), ("storage-bytes", bytes)];

fn names(trial: &mut Trial, _: &str) {
    let long = "x".repeat(300);
    for name in [
        "",
        ".",
        "..",
        "../events.ndjson",
        "../run.json",
        "../../outside/new.txt",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "..\\run.json",
        ".hidden",
        ".part",
        "nul\0",
        "%2e%2e%2frun.json",
        "line\nfeed",
        "caf\u{e9}",
        "con:stream",
        &long,
    ] {
        trial.refused(
            name,
            session::submit_artifact(name, "text/plain", *b"escaped"),
        );
    }
    trial.works(
        "a name",
        session::submit_artifact("report.txt", "text/plain", *b"fine"),
    );
    trial.refused(
        "the same name",
        session::submit_artifact("report.txt", "text/plain", *b"other"),
    );
    trial.refused(
        "a type of two lines",
        session::submit_artifact("b.txt", "text/plain\nx", *b"x"),
    );
}

fn bytes(trial: &mut Trial, max: &str) {
    let max: usize = max.parse().unwrap_or(0);
    let block = vec![7; 16 << 10];
    let mut total = 0;
    for number in 0..256 {
        if session::submit_artifact(format!("a{number}"), "text/plain", block.clone()).is_ok() {
            total += block.len();
        }
        if session::save(&block).is_ok() {
            total += block.len();
        }
    }
    trial.holds(
        &format!("{total} bytes were taken, at most {max} allowed"),
        total > 0 && total <= max,
    );
}
