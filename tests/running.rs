//! Runs that go on, seen from outside.

use rustix::process::Signal;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, wait_for};

/// State and session id of the only run.
fn listed(lab: &Lab) -> (String, String) {
    let list = lab.call(["runs", "list", "--json"]).done().exits_with(0);
    let run = list.json()["runs"][0].clone();
    let text = |name: &str| run[name].as_str().unwrap().to_owned();
    (text("state"), text("session_id"))
}

#[test]
fn a_run_that_goes_on_is_called_so_and_cannot_be_removed() {
    let lab = Lab::new();
    let mut running = lab.run(guests::SLEEPS_FOR_EVER, "x").spawn();
    let lines = running.stderr_lines();
    wait_for(&lines, "sleeping");

    let (state, id) = listed(&lab);
    assert_eq!(state, "running");
    let table = lab.call(["runs", "list"]).done().exits_with(0);
    assert!(table.stdout().contains("running"), "{}", table.shown());
    let shown = lab.call(["runs", "show"]).done().exits_with(0);
    assert!(
        shown.stdout().contains("not closed yet"),
        "{}",
        shown.shown()
    );
    for args in [
        ["runs", "rm", &id].as_slice(),
        &["runs", "rm", "--all", "--yes"],
        &["apply", &id],
    ] {
        let done = lab.call(args).done().exits_with(2);
        let said = done.stderr();
        assert!(said.contains("it still goes on"), "{said}");
        assert!(said.contains("hint: interrupt it"), "{said}");
    }

    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    assert_eq!(listed(&lab).0, "ended");
    lab.call(["runs", "rm", &id]).done().exits_with(0);
    assert!(lab.accounts().is_empty());
}

#[test]
fn a_run_whose_host_was_killed_died_and_can_be_removed() {
    let lab = Lab::new();
    let mut running = lab.run(guests::SLEEPS_FOR_EVER, "x").spawn();
    let lines = running.stderr_lines();
    wait_for(&lines, "sleeping");
    running.child.kill().unwrap();
    running.wait();

    let (state, id) = listed(&lab);
    assert_eq!(state, "died");
    let shown = lab.call(["runs", "show"]).done().exits_with(0);
    assert!(
        shown.stdout().contains("the host was killed"),
        "{}",
        shown.shown()
    );
    lab.call(["runs", "rm", &id]).done().exits_with(0);
}
