//! What it costs to start an agent: the whole process `wasm-agent run`, from exec to exit, with a warm cache and the
//! run directory written, against `true` and the bare interpreter `python3 -S -E -c pass`, on the same machine at the
//! same time.
//!
//! CPU time is what the kernel has charged for the process, in user and in system mode, on all its threads.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints what it measured, or fails"
)]

use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wasm_agent_test_artifacts as guests;

const ROUNDS: usize = 100;

/// What one process took.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

fn main() {
    let lab = tempfile::TempDir::new().unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_wasm-agent"));
    agent
        .args(["run", guests::ANSWERS_WITH_TEXT, "x", "--quiet"])
        .env("WASM_AGENT_RUNS_DIR", lab.path().join("runs"))
        .env("WASM_AGENT_CACHE_DIR", lab.path().join("cache"));
    let mut python = Command::new(interpreter());
    python.args(["-S", "-E", "-c", "pass"]);
    let mut processes = [
        ("true", Command::new("true"), Vec::new()),
        ("wasm-agent run", agent, Vec::new()),
        ("python3 -S -E -c pass", python, Vec::new()),
    ];
    // In turns, so that whatever else the machine does meets all of them; the first round warms up.
    for round in 0..=ROUNDS {
        for (_, command, took) in &mut processes {
            if let Some(cost) = cost(command)
                && round > 0
            {
                took.push(cost);
            }
        }
    }
    let medians = processes.map(|(name, _, took)| (name, median(&took)));
    let [_, (_, agent), _] = &medians;
    let agent = agent.unwrap();
    println!(
        "{:<22} {:>10} {:>20} {:>10} {:>20}",
        "process (median)", "CPU", "wasm-agent / it", "wall", "wasm-agent / it"
    );
    for (name, median) in medians {
        match median {
            Some(Cost { wall, cpu }) => println!(
                "{name:<22} {:>10} {:>20.2} {:>10} {:>20.2}",
                format!("{cpu:.2?}"),
                agent.cpu.as_secs_f64() / cpu.as_secs_f64(),
                format!("{wall:.2?}"),
                agent.wall.as_secs_f64() / wall.as_secs_f64(),
            ),
            None => println!("{name:<22} {:>10}", "not here"),
        }
    }
}

/// Runs a process to its end. Nothing where it cannot be run or fails.
fn cost(command: &mut Command) -> Option<Cost> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (before, begin) = (cpu_of_children(), Instant::now());
    let status = command.status().ok()?;
    let wall = begin.elapsed();
    status.success().then(|| Cost {
        wall,
        cpu: cpu_of_children().saturating_sub(before),
    })
}

/// The medians of both, each by itself.
fn median(took: &[Cost]) -> Option<Cost> {
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    };
    Some(Cost {
        wall: middle(took.iter().map(|cost| cost.wall).collect())?,
        cpu: middle(took.iter().map(|cost| cost.cpu).collect())?,
    })
}

/// CPU time of all children that have ended and been waited for.
fn cpu_of_children() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to memory of the right size, which the call fills; zeros are a valid `rusage` besides.
    let usage = unsafe {
        assert_eq!(
            libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()),
            0
        );
        usage.assume_init()
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
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
