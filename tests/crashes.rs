//! The death of the host, and the end of the disk, at any point of a run: what the guest was told is
//! recorded is recorded, and what is there is valid.

use std::path::Path;
use std::time::{Duration, Instant};

use wasm_agent::trajectory::verify::{Verdict, verify_path};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Account, Call, Done, Lab, SmallDisk};

/// Host processes that are killed.
const KILLS: u64 = 200;

/// Threads that start them: a process is mostly waited for.
const LANES: u64 = 4;

/// Points of a run, the same ones every time.
struct Points(u64);

impl Points {
    /// xorshift64*; a seed of 0 would stay 0.
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end
    }
}

/// When the host is killed.
#[derive(Debug)]
enum Moment {
    /// After a time: anywhere from the first instruction on, before there is a guest included.
    After(Duration),
    /// Once the event log has so many bytes, and then after a time.
    Logged(u64, Duration),
}

impl Moment {
    fn pick(points: &mut Points) -> Moment {
        let moments_later = Duration::from_micros(points.below(400));
        match points.below(4) {
            0 => Moment::After(Duration::from_micros(points.below(100_000))),
            1 => Moment::Logged(points.below(4 << 10), moments_later),
            _ => Moment::Logged(points.below(256 << 10), moments_later),
        }
    }

    /// Waits for it. Without sleeping at the end: what is to be hit takes microseconds.
    fn wait(&self, lab: &Lab) {
        let pause = match self {
            Moment::After(pause) => pause,
            Moment::Logged(bytes, pause) => {
                let begin = Instant::now();
                while logged(lab) < *bytes {
                    assert!(begin.elapsed() < Duration::from_secs(180), "no events come");
                    std::thread::sleep(Duration::from_micros(200));
                }
                pause
            }
        };
        let begin = Instant::now();
        while begin.elapsed() < *pause {
            std::thread::yield_now();
        }
    }
}

/// Bytes in the event log of the only run.
fn logged(lab: &Lab) -> u64 {
    let run = std::fs::read_dir(lab.path("runs")).ok();
    let run = run.and_then(|mut runs| runs.next()?.ok());
    run.and_then(|run| std::fs::metadata(run.path().join("events.ndjson")).ok())
        .map_or(0, |log| log.len())
}

/// The run of a guest that writes down, outside the run directory, what it was told is recorded.
fn acknowledging(lab: &Lab) -> Call<'_> {
    let work = lab.folder("work");
    lab.run(guests::ACKNOWLEDGES_EVERY_EVENT, "x")
        .args(["--dir", &format!("{work}:rw"), "--quiet"])
}

/// The log is valid as far as it goes, and has everything that was acknowledged. How many that are.
#[track_caller]
fn nothing_is_lost(lab: &Lab, run: &Path, when: &dyn std::fmt::Debug) -> usize {
    let report = verify_path(run).unwrap();
    assert_ne!(
        report.verdict(),
        Verdict::Invalid,
        "{when:?}: {:?}",
        report.violations
    );
    // Nothing can be acknowledged before there is a log.
    let log = std::fs::read_to_string(run.join("events.ndjson")).unwrap_or_default();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let text = std::fs::read_to_string(lab.path("work/acknowledged")).unwrap_or_default();
    // The last line may be torn: the guest ended in the middle of it.
    let acknowledged = text.matches('\n').count();
    for number in 0..acknowledged {
        assert!(
            whole.contains(&format!("turn {number} x")),
            "{when:?}: turn {number} of {acknowledged} was acknowledged"
        );
    }
    acknowledged
}

/// Only the run directories that hold a log: before it, there is nothing to judge.
fn logs(runs: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(runs) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|run| run.join("events.ndjson").exists())
        .collect()
}

#[test]
fn a_host_that_is_killed_at_any_point_loses_nothing() {
    compile_first();
    let killed_while_reporting: usize = std::thread::scope(|scope| {
        let lanes: Vec<_> = (1..=LANES)
            .map(|lane| {
                scope.spawn(move || {
                    let mut points = Points(lane);
                    (0..KILLS / LANES)
                        .filter(|_| kill_once(&mut points) > 0)
                        .count()
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    // Most moments are in the middle of the guest's work; otherwise this would test nothing.
    assert!(killed_while_reporting > 80, "{killed_while_reporting}");
}

/// Kills one host, and gives back what its guest was told before.
fn kill_once(points: &mut Points) -> usize {
    let moment = Moment::pick(points);
    let lab = Lab::new();
    let mut running = acknowledging(&lab).spawn();
    moment.wait(&lab);
    running.child.kill().unwrap();
    running.wait();
    let acknowledged = logs(&lab.path("runs"))
        .iter()
        .map(|run| nothing_is_lost(&lab, run, &moment))
        .sum();
    // Whatever was left behind, the next command copes with it.
    if points.below(10) == 0 {
        lab.call(["runs", "list"]).done().exits_with(0);
    }
    acknowledged
}

/// Compiled while there is room for it.
fn compile_first() {
    Lab::new()
        .call(["describe", guests::ACKNOWLEDGES_EVERY_EVENT])
        .done()
        .exits_with(0);
}

/// A run on a disk that was too small for it.
fn ran_out(lab: &Lab, done: &Done, room: &dyn std::fmt::Debug) -> i32 {
    let runs = lab.path("runs");
    match done.code() {
        2 => {
            let left: Vec<_> = std::fs::read_dir(&runs)
                .map(|runs| runs.map(|run| run.unwrap().path()).collect())
                .unwrap_or_default();
            assert!(
                left.is_empty(),
                "{room:?}: a run that did not start left {left:?}\n{}",
                done.shown()
            );
            let nothing = std::fs::read_to_string(lab.path("work/acknowledged"));
            assert!(nothing.is_err(), "{room:?}: a guest has run");
            2
        }
        70 => {
            let logs = logs(&runs);
            assert_eq!(logs.len(), 1, "{room:?}\n{}", done.shown());
            nothing_is_lost(lab, &logs[0], room);
            let account = Account::read(logs[0].clone());
            assert_eq!(account.request()["format"], "wasm-agent/run@1");
            70
        }
        code => panic!("{room:?}: exit {code}\n{}", done.shown()),
    }
}

/// Both ends of what can happen have been seen: a run that could not start, and one cut in the middle.
#[track_caller]
fn both_happened(codes: &[i32]) {
    for code in [2, 70] {
        assert!(codes.contains(&code), "no exit {code} in {codes:?}");
    }
}

#[test]
fn a_disk_that_fills_up_at_any_point_loses_nothing() {
    compile_first();
    let mut points = Points(1);
    // Some that do not even hold what was asked, most that hold part of the run; then some that have
    // room for a few files only.
    let mut rooms: Vec<String> = (0..48)
        .map(|number| points.below(if number % 4 == 0 { 24 } else { 600 }) + 4)
        .map(|kib| format!("size={kib}k"))
        .collect();
    rooms.extend((2..10).map(|files| format!("size=1m,nr_inodes={files}")));
    let mut codes = Vec::new();
    for room in rooms {
        let lab = Lab::new();
        let runs = lab.folder("runs");
        let Some(_disk) = SmallDisk::mount(&runs, &room) else {
            // The test below limits the size of a file instead, which any user may.
            crate::harness::skipped("this user cannot mount a small file system");
            return;
        };
        let done = acknowledging(&lab).unverified().done();
        codes.push(ran_out(&lab, &done, &room));
    }
    both_happened(&codes);
}

#[test]
fn a_log_that_may_not_grow_at_any_point_loses_nothing() {
    compile_first();
    let mut points = Points(2);
    let mut codes = Vec::new();
    for number in 0..40 {
        // In blocks of 512 bytes; `run.json` alone has a few.
        let blocks = points.below(if number % 4 == 0 { 16 } else { 600 });
        let lab = Lab::new();
        // The signal that comes with the limit would end the process.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let done = acknowledging(&lab).under(&script).unverified().done();
        codes.push(ran_out(&lab, &done, &format!("{blocks} blocks")));
    }
    both_happened(&codes);
}
