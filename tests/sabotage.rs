//! Switches off one wall of the sandbox at a time and demands that the self-test notices.
//!
//! Needs a program that lets itself be sabotaged: `cargo test -p wasm-agent --features sabotage --test sabotage`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what is wrong by panicking, and this one prints what it has seen"
)]

use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;
use wasm_agent::selftest::Wall;
use wasm_agent::selftest::sabotage::{NOT_SABOTAGED, VARIABLE};

/// What became of the cases of a wall that was down.
struct Row {
    wall: Wall,
    red: Vec<String>,
    green: Vec<String>,
    /// The whole program went down with the wall.
    died: bool,
}

#[test]
fn every_wall_that_is_down_is_noticed() {
    let walls: Vec<Wall> = Wall::ALL
        .iter()
        .copied()
        .filter(|wall| NOT_SABOTAGED.iter().all(|(not, _)| not != wall))
        .collect();
    let waiting = Mutex::new(walls);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // The lock is not held while the wall is tried.
                while let Some(wall) = { waiting.lock().expect("nobody panics").pop() } {
                    let row = sabotage(wall);
                    rows.lock().expect("nobody panics").push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("nobody panics");
    rows.sort_by_key(|row| Wall::ALL.iter().position(|wall| *wall == row.wall));
    for row in &rows {
        let red = if row.died {
            "the program died".to_owned()
        } else {
            row.red.join(" ")
        };
        println!("{:14} red: {red}", row.wall.id());
        if !row.green.is_empty() {
            println!("{:14} not: {}", "", row.green.join(" "));
        }
    }
    for (wall, why) in NOT_SABOTAGED {
        println!("{:14} not switched off: {why}", wall.id());
    }
    let unnoticed: Vec<_> = rows
        .iter()
        .filter(|row| row.red.is_empty() && !row.died)
        .map(|row| row.wall.id())
        .collect();
    assert!(
        unnoticed.is_empty(),
        "down, and nobody noticed: {unnoticed:?}"
    );
    let idle: Vec<_> = rows.iter().flat_map(|row| &row.green).collect();
    assert!(
        idle.is_empty(),
        "their wall is down, and they hold all the same: {idle:?}"
    );
}

fn sabotage(wall: Wall) -> Row {
    let output = Command::new(env!("CARGO_BIN_EXE_wasm-agent"))
        .args(["selftest", "--json", "--wall", wall.id()])
        .env(VARIABLE, wall.id())
        .output()
        .expect("the program can be started");
    let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let named = |verdict: &str| -> Vec<String> {
        let cases = report
            .as_ref()
            .and_then(|report| report["cases"].as_array());
        let cases = cases.into_iter().flatten();
        cases
            .filter(|case| case["verdict"] == verdict)
            .filter_map(|case| Some(case["id"].as_str()?.to_owned()))
            .collect()
    };
    Row {
        wall,
        red: named("broken"),
        green: named("held"),
        // Killed by a signal: without a report there is nothing else to tell by.
        died: output.status.code().is_none(),
    }
}
