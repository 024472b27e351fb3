//! Ctrl-C, and the death of the host.

use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, verdict, verify, wait_for, wait_until};

#[test]
fn one_interrupt_ends_the_run_and_closes_its_account() {
    for signal in [Signal::INT, Signal::TERM] {
        for (guest, ready) in [
            (guests::COMPUTES_FOR_EVER, "computing"),
            (guests::SLEEPS_FOR_EVER, "sleeping"),
        ] {
            let lab = Lab::new();
            let mut running = lab.run(guest, "x").spawn();
            let lines = running.stderr_lines();
            wait_for(&lines, ready);
            running.signal(signal);
            wait_for(&lines, "once more to quit at once");
            assert_eq!(running.wait().code(), Some(130));
            let account = lab.account();
            assert_eq!(account.stop_reason(), "interrupted");
            assert_eq!(account.outcome()["ended"]["kind"], "interrupted");
            assert!(
                account
                    .data("tool_returned")
                    .all(|data| data["avp.tool_result"]["is_error"] == true)
            );
            verify(account.dir());
        }
    }
}

#[test]
fn the_second_interrupt_ends_the_process_at_once() {
    let lab = Lab::new();
    let work = lab.folder("work");
    // Nobody reads standard output: the host is stuck in writing the trajectory there.
    let call = lab
        .run(guests::ACKNOWLEDGES_EVERY_EVENT, "x")
        .args(["--format", "avp"]);
    let mut running = call.args(["--dir", &format!("{work}:rw")]).spawn();
    let lines = running.stderr_lines();
    wait_for(&lines, "reporting");
    // Two thousand bytes each: more than a pipe takes, so that the process cannot end by itself.
    wait_until("a full pipe", || lab.account().events().count() > 60);
    running.signal(Signal::INT);
    wait_for(&lines, "once more to quit at once");
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    let (_, report) = verdict(lab.account().dir());
    assert!(
        !report.contains("invalid"),
        "what is there is valid:\n{report}"
    );
}

/// Everything the guest was told is on record: in the trajectory, or held for a turn that was open.
#[test]
pub(crate) fn acknowledges_every_event() {
    for turns in [1, 20, 300] {
        let lab = Lab::new();
        let work = lab.folder("work");
        let call = lab.run(guests::ACKNOWLEDGES_EVERY_EVENT, "x").args([
            "--dir",
            &format!("{work}:rw"),
            "--quiet",
        ]);
        let mut running = call.spawn();
        let acknowledged = || {
            let text = std::fs::read_to_string(lab.path("work/acknowledged")).unwrap_or_default();
            // The last line may be torn: the guest was killed, too.
            text.split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .count()
        };
        wait_until("the guest's work", || acknowledged() >= turns);
        running.child.kill().unwrap();
        assert_eq!(running.wait().signal(), Some(9));

        let account = lab.account();
        let log = std::fs::read_to_string(account.dir().join("events.ndjson")).unwrap();
        for number in 0..acknowledged() {
            assert!(
                log.contains(&format!("turn {number} x")),
                "turn {number} was acknowledged"
            );
        }
        let (valid, report) = verdict(account.dir());
        assert!(
            !valid && report.contains("unfinished"),
            "valid as far as it goes:\n{report}"
        );
    }
}
