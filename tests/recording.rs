//! The account of a run when there is no room for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, SmallDisk, snapshot, verdict};

#[test]
fn a_runs_folder_that_cannot_be_made_is_said_before_the_run() {
    let lab = Lab::new();
    lab.file("taken", "a file");
    let done = lab
        .run(guests::ANSWERS_WITH_TEXT, "x")
        .args(["--runs-dir", "taken/runs"])
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --runs-dir taken/runs
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot create `taken/runs`: Not a directory (os error 20)
    "#);
}

#[test]
fn a_runs_folder_that_cannot_be_written_is_said_before_the_run() {
    let lab = Lab::new();
    let runs = lab.folder("runs");
    fs::set_permissions(&runs, PermissionsExt::from_mode(0o500)).unwrap();
    if fs::write(lab.path("runs/probe"), "").is_ok() {
        fs::remove_file(lab.path("runs/probe")).unwrap();
        // Root may write anywhere but into a file system that takes no files at all.
        let done = lab
            .run(guests::ANSWERS_WITH_TEXT, "x")
            .args(["--runs-dir", "/proc/runs"])
            .done()
            .exits_with(2);
        assert!(done.stderr().contains("/proc/runs"), "{}", done.shown());
        return;
    }
    let done = lab.run(guests::ANSWERS_WITH_TEXT, "x").done().exits_with(2);
    assert!(
        done.stderr()
            .contains("hint: choose a folder you can write to"),
        "{}",
        done.shown()
    );
}

/// A disk that fills up in the middle of a run is the host's fault, and what is there is valid.
fn ended_with_a_full_disk(lab: &Lab, done: &crate::harness::Done) {
    assert_eq!(done.code(), 70, "{}", done.shown());
    assert!(
        done.stderr()
            .contains("host fault: cannot write the event log"),
        "{}",
        done.shown()
    );
    let account = lab.account();
    assert!(account.events().count() > 3, "it had begun");
    let (_, report) = verdict(account.dir());
    assert!(
        !report.contains("invalid"),
        "what is there is valid:\n{report}"
    );
}

#[test]
fn a_log_that_may_not_grow_ends_the_run() {
    let lab = Lab::new();
    // Compiled before there is a limit on the size of files.
    lab.call(["describe", guests::FLOODS_EVENTS])
        .done()
        .exits_with(0);
    let call = lab.run(guests::FLOODS_EVENTS, "x");
    // In blocks of 512 bytes. The signal that comes with it would end the process.
    let done = call
        .under("trap '' XFSZ; ulimit -f 64; exec \"$@\"")
        .unverified()
        .done();
    ended_with_a_full_disk(&lab, &done);
}

#[test]
fn a_full_disk_ends_the_run() {
    let lab = Lab::new();
    let runs = lab.folder("runs");
    let Some(_disk) = SmallDisk::mount(&runs, "size=64k") else {
        // The test above ends in the same way for any user.
        crate::harness::skipped("this user cannot mount a small file system");
        return;
    };
    let done = lab.run(guests::FLOODS_EVENTS, "x").unverified().done();
    ended_with_a_full_disk(&lab, &done);
    // The next run cannot even begin.
    let done = lab.run(guests::ANSWERS_WITH_TEXT, "x").unverified().done();
    assert!([2, 70].contains(&done.code()), "{}", done.shown());
}
