//! Copy-on-write: nothing of the operator's changes until they say so.

use std::fs;

use crate::harness::Lab;
use wasm_agent_test_artifacts as guests;

/// A run that works on a copy of `folder`, which holds what the guest wants to change.
fn worked_on_a_copy(lab: &Lab) {
    for name in ["file", "old", "keep", "gone", "from", "sub/file"] {
        lab.file(&format!("folder/{name}"), "content");
    }
    lab.run(guests::TOUCHES_FILES, "x")
        .args(["--dir", &format!("{}::/rw:cow", lab.arg("folder"))])
        .done()
        .exits_with(0);
}

fn read(lab: &Lab, name: &str) -> String {
    fs::read_to_string(lab.path("folder").join(name)).unwrap_or_default()
}

#[test]
fn what_an_agent_did_to_a_copy_is_applied_when_the_operator_says_so() {
    let lab = Lab::new();
    worked_on_a_copy(&lab);
    assert_eq!(read(&lab, "old"), "content");
    assert_eq!(read(&lab, "gone"), "content");
    assert!(!lab.path("folder").join("new").exists());
    let patch = fs::read_to_string(lab.account().dir().join("workspace.patch")).unwrap();
    assert!(
        patch.contains("+changed") && patch.contains("b/new"),
        "{patch}"
    );

    lab.call(["apply", "latest"]).done().exits_with(0);
    assert_eq!(read(&lab, "old"), "changed");
    assert_eq!(read(&lab, "new"), "new");
    assert!(!lab.path("folder").join("gone").exists());
    // The copy is gone: there is nothing to apply twice.
    lab.call(["apply", "latest"]).done().exits_with(2);
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_overwritten() {
    let lab = Lab::new();
    worked_on_a_copy(&lab);
    lab.file("folder/old", "somebody else's");
    let done = lab.call(["apply", "latest"]).done().exits_with(2);
    assert!(done.stderr().contains("`old`"), "{}", done.shown());
    assert_eq!(read(&lab, "old"), "somebody else's");
    assert!(
        !lab.path("folder").join("new").exists(),
        "all of it or nothing"
    );
}

#[test]
fn a_copy_that_is_discarded_changes_nothing() {
    let lab = Lab::new();
    worked_on_a_copy(&lab);
    lab.call(["apply", "latest", "--discard"])
        .done()
        .exits_with(0);
    assert_eq!(read(&lab, "old"), "content");
    assert!(!lab.account().dir().join("cow").exists());
    assert!(lab.account().dir().join("workspace.patch").exists());
}
