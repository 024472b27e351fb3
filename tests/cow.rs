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

/// The model of a guest that could ask one.
fn scripted(lab: &Lab) -> String {
    let rules = "version = 1\n[[rules]]\nreply = { text = \"Hello.\" }\n";
    format!("scripted/{}", lab.file("model.toml", rules))
}

/// A run that changes what tools run, in a copy of `folder`, and hides it behind a name without width.
fn left_marks(lab: &Lab) {
    lab.file("folder/free.txt", "free");
    let program = r#"[["write","/w/package.json","{}"],["write","/w/a\u200bb","x"],["write","/w/free.txt","changed"]]"#;
    lab.run(guests::FOLLOWS_A_PROGRAM, program)
        .args(["--model", &scripted(lab)])
        .args(["--dir", &format!("{}::/w:cow", lab.arg("folder"))])
        .done()
        .exits_with(0);
}

#[test]
fn what_other_programs_run_is_marked_and_not_applied_unasked() {
    let lab = Lab::new();
    left_marks(&lab);
    let patch = fs::read_to_string(lab.account().dir().join("workspace.patch")).unwrap();
    assert!(
        patch.contains("\n# ! package.json  a package manager runs its scripts\n"),
        "{patch}"
    );
    assert!(patch.find("# ! ") < patch.find("diff --git"), "{patch}");

    let shown = lab.call(["runs", "show", "latest"]).done().exits_with(0);
    let shown = shown.stdout();
    assert!(shown.contains("Run by other programs"), "{shown}");
    assert!(
        shown.contains("a package manager runs its scripts"),
        "{shown}"
    );
    assert!(shown.contains(r#""/w/a\u{200b}b""#), "{shown}");
    let json = lab
        .call(["runs", "show", "latest", "--format", "json"])
        .done()
        .exits_with(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout()).unwrap();
    assert_eq!(json["marks"][0]["path"], "/w/package.json");

    // Nobody is there to be asked.
    let refused = lab.call(["apply", "latest"]).done().exits_with(2);
    let said = refused.stderr();
    assert!(
        said.contains("! ") && said.contains("package.json  a package manager runs its scripts"),
        "{said}"
    );
    assert!(
        said.contains(
            "cannot apply 1 change that other programs run: there is no terminal to ask on"
        ),
        "{said}"
    );
    assert!(said.contains("hint: ") && said.contains("--yes"), "{said}");
    assert!(!lab.path("folder/package.json").exists());
    assert_eq!(read(&lab, "free.txt"), "free");

    let applied = lab.call(["apply", "latest", "--yes"]).done().exits_with(0);
    let said = applied.stdout();
    assert!(
        said.contains("  A! package.json  a package manager runs its scripts\n"),
        "{said}"
    );
    assert!(said.contains("  A  \"a\\u{200b}b\"\n"), "{said}");
    assert!(said.contains("  M  free.txt\n"), "{said}");
    assert_eq!(read(&lab, "free.txt"), "changed");
}

#[test]
fn a_patch_with_marks_is_one_that_git_takes() {
    let lab = Lab::new();
    left_marks(&lab);
    let patch = lab.account().dir().join("workspace.patch");
    let done = std::process::Command::new("git")
        .args(["apply", "--check"])
        .arg(&patch)
        .current_dir(lab.path("folder"))
        .output();
    // Where there is no git, there is nobody to take it.
    if let Ok(done) = done {
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

#[test]
fn the_configuration_of_the_original_decides_what_is_applied() {
    let lab = Lab::new();
    lab.file("folder/free.txt", "free");
    lab.file("folder/checks/pre-commit", "old");
    let program = r#"[["write","/w/checks/pre-commit","mine"],["write","/w/free.txt","changed"]]"#;
    lab.run(guests::FOLLOWS_A_PROGRAM, program)
        .args(["--model", &scripted(&lab)])
        .args(["--dir", &format!("{}::/w:cow", lab.arg("folder"))])
        .done()
        .exits_with(0);
    // The operator has said meanwhile where hooks are.
    lab.file("folder/.git/config", "[core]\n\thooksPath = checks\n");
    let refused = lab.call(["apply", "latest", "--yes"]).done().exits_with(2);
    let said = refused.stderr();
    assert!(
        said.contains("core.hooksPath") && said.contains("checks/pre-commit"),
        "{said}"
    );
    assert_eq!(read(&lab, "free.txt"), "free");
}

/// What an agent, or whoever made a repository that is cloned, could leave for `apply` to find.
fn plan_in(lab: &Lab, steps: &str) {
    let stage = "folder/.wasm-agent-apply";
    lab.file(&format!("{stage}/old/0"), "planted");
    lab.folder(&format!("{stage}/new"));
    let plan = format!(r#"{{"version":1,"steps":[{steps}]}}"#);
    lab.file(&format!("{stage}/plan.json"), plan);
}

#[test]
fn a_plan_that_lies_in_the_directory_is_told_of_and_not_carried_out() {
    for steps in [
        r#"{"take":{"path":".git/hooks/pre-commit"}}"#,
        r#"{"put":{"path":".git"}}"#,
    ] {
        let lab = Lab::new();
        lab.file("folder/.git/HEAD", "ref: refs/heads/main");
        lab.folder("folder/.git/hooks");
        plan_in(&lab, steps);
        worked_on_a_copy(&lab);
        let done = lab.call(["apply", "latest"]).done().exits_with(0);
        let told = done
            .stderr()
            .contains("is none of this run's and is left alone");
        assert!(told, "{}", done.shown());
        assert_eq!(read(&lab, "new"), "new");
        assert_eq!(read(&lab, ".git/HEAD"), "ref: refs/heads/main");
        assert_eq!(read(&lab, ".git/hooks/pre-commit"), "");
        assert_eq!(read(&lab, ".wasm-agent-apply/old/0"), "planted");
    }
}

#[test]
fn a_run_whose_changes_are_half_applied_is_not_removed() {
    let lab = Lab::new();
    worked_on_a_copy(&lab);
    // As an attempt to apply leaves it that is cut off before it has made anything.
    let folder = std::os::unix::fs::MetadataExt::ino(&fs::metadata(lab.path("folder")).unwrap());
    let plan = format!(
        r#"{{"version":1,"root":{{"device":0,"inode":{folder},"born":null}},"stage":".wasm-agent-apply-0","made":null,
            "progress":"preparing","steps":[]}}"#
    );
    let at = lab.account().dir().join("cow/0/apply.json");
    fs::write(&at, plan).unwrap();
    let done = lab.call(["runs", "rm", "latest"]).done().exits_with(2);
    assert!(
        done.stderr().contains("--discard` undoes it"),
        "{}",
        done.shown()
    );
    // The directory is not the one that stands in the plan: nothing is done to it.
    let done = lab.call(["apply", "latest"]).done().exits_with(2);
    assert!(
        done.stderr().contains("it is not the directory"),
        "{}",
        done.shown()
    );
    fs::remove_file(&at).unwrap();
    lab.call(["apply", "latest"]).done().exits_with(0);
    lab.call(["runs", "rm", "latest"]).done().exits_with(0);
}
