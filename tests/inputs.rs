//! What the host reads, builds or runs is out of the agent's reach, and looking at something runs nothing.

use std::fs;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab};

/// What the agent is told of each call.
fn told(done: &Done) -> Vec<String> {
    let answers = done.json();
    let texts = answers.as_array().unwrap().iter();
    texts.map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn task(calls: &[[&str; 3]]) -> String {
    json!(calls).to_string()
}

const EMPTY: &str = "version = 1\n";

#[test]
fn an_agent_does_not_change_what_the_next_run_obeys() {
    let lab = Lab::new();
    let agent = lab.arg("w/agent.wasm");
    lab.folder("w");
    fs::copy(guests::DOES_WHAT_IT_IS_TOLD, &agent).unwrap();
    lab.file("w/grants.toml", EMPTY);
    lab.file("w/prices.csv", fs::read("/dev/null").unwrap());
    let calls = task(&[
        ["write", "/work/agent.wasm", "x"],
        ["write", "/work/grants.toml", "x"],
        ["remove", "/work/grants.toml", ""],
        ["write", "/work/b.rec", "x"],
        ["read", "/work/grants.toml", ""],
        ["write", "/work/free", "x"],
    ]);
    for (access, recording) in [("rw", "w/b.rec"), ("cow", "outside.rec")] {
        let done = lab
            .run(&agent, &calls)
            .args([
                "--grants",
                "w/grants.toml",
                &format!("--record={recording}"),
            ])
            .args(["--dir", &format!("w::/work:{access}")])
            .done()
            .exits_with(0);
        let told = told(&done);
        assert_eq!(told[..3], ["PermissionDenied"; 3]);
        assert_eq!(told[3] == "PermissionDenied", recording == "w/b.rec");
        assert_eq!(told[4..], [EMPTY, "done"]);
        let said = done.stderr();
        let notice = "kept as it is, because the host reads, builds or runs it: w/agent.wasm, ";
        assert!(said.contains(notice), "{}", done.shown());
        assert_eq!(
            fs::read_to_string(lab.path("w/grants.toml")).unwrap(),
            EMPTY
        );
    }
    // A replay is denied the same.
    lab.call(["replay", "outside.rec"]).done().exits_with(0);
}

#[test]
fn an_operator_can_let_an_agent_work_on_what_it_is_started_from() {
    let lab = Lab::new();
    lab.file("w/grants.toml", EMPTY);
    let calls = task(&[["write", "/work/grants.toml", "changed"]]);
    let done = lab
        .run(guests::DOES_WHAT_IT_IS_TOLD, &calls)
        .args(["--grants", "w/grants.toml", "--dir", "w:rw", "--no-protect"])
        .done()
        .exits_with(0);
    assert_eq!(told(&done), ["done"]);
    assert!(
        done.stderr().contains("may change what the host"),
        "{}",
        done.shown()
    );
}

#[test]
fn what_was_put_into_the_copy_by_somebody_else_is_not_applied_either() {
    let lab = Lab::new();
    lab.file("w/grants.toml", EMPTY);
    let calls = task(&[["write", "/work/free", "x"]]);
    lab.run(guests::DOES_WHAT_IT_IS_TOLD, &calls)
        .args(["--grants", "w/grants.toml", "--dir", "w:cow"])
        .done()
        .exits_with(0);
    let copy = lab.account().dir().join("cow/0/tree/grants.toml");
    fs::write(copy, "planted").unwrap();
    let done = lab.call(["apply", "latest"]).done().exits_with(2);
    assert!(done.stderr().contains("is protected"), "{}", done.shown());
    assert_eq!(
        fs::read_to_string(lab.path("w/grants.toml")).unwrap(),
        EMPTY
    );
}

#[test]
fn inspect_says_what_is_kept() {
    let lab = Lab::new();
    let grants = lab.file("w/grants.toml", EMPTY);
    let done = lab
        .call(["inspect", guests::DOES_WHAT_IT_IS_TOLD, "--json"])
        .args(["--grants", &grants, "--dir", "w:rw"])
        .done()
        .exits_with(0);
    let authority = &done.json()["authority"];
    assert_eq!(authority["inputs"][0]["guest"], "/work/grants.toml");
    let done = lab
        .call(["inspect", guests::DOES_WHAT_IT_IS_TOLD])
        .args(["--grants", &grants, "--dir", "w:rw"])
        .done()
        .exits_with(0);
    let table = done.stdout();
    let mut lines = table.lines().filter(|line| line.contains("kept as it is"));
    assert!(lines.any(|line| line.contains("grants.toml")), "{table}");
}

#[test]
fn a_component_that_is_not_the_pinned_one_is_not_run() {
    let lab = Lab::new();
    let inspected = lab
        .call(["inspect", guests::ANSWERS_WITH_TEXT, "--json"])
        .done();
    let digest = inspected.json()["digest"].as_str().unwrap().to_owned();
    let pinned = lab.file(
        "grants.toml",
        format!("version = 1\ncomponent = \"{digest}\"\n"),
    );
    lab.run(guests::ANSWERS_WITH_TEXT, "x")
        .args(["--grants", &pinned])
        .done()
        .exits_with(0);
    let run = lab.account().request()["grants"]["component"].clone();
    assert_eq!(run, Value::from(digest.as_str()));

    for pin in [["--grants", &pinned], ["--component", &digest]] {
        let done = lab
            .run(guests::ANSWERS_WITH_JSON, "x")
            .args(pin)
            .done()
            .exits_with(2);
        let said = done.stderr();
        assert!(
            said.contains(&digest) && said.matches("sha256:").count() == 2,
            "{said}"
        );
        assert!(said.contains("hint: "), "{said}");
    }
    assert_eq!(lab.accounts().len(), 1, "nothing else was run");

    let suggested = lab
        .call(["policy", "suggest", "latest"])
        .done()
        .exits_with(0);
    let line = format!("component = \"{digest}\"");
    assert!(
        suggested.stdout().lines().any(|it| it == line),
        "{}",
        suggested.shown()
    );
    let shown = lab
        .call(["inspect", guests::ANSWERS_WITH_JSON, "--grants", &pinned])
        .done()
        .exits_with(0);
    assert!(
        shown.stdout().contains("this is another one"),
        "{}",
        shown.shown()
    );
}

#[test]
fn a_tool_server_starts_in_an_empty_directory_of_its_own() {
    let lab = Lab::new();
    let program = env!("CARGO_BIN_EXE_wasm-agent");
    let script = format!(
        "#!/bin/sh\npwd > '{0}/cwd'; ls -A > '{0}/seen'; echo \"$1\" > '{0}/word'\n\
         exec {program} selftest --tool-server plain\n",
        lab.arg("")
    );
    lab.file("bin/server.sh", script);
    lab.file("bin/settings.json", "{}");
    lab.folder("work");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.path("bin/server.sh"), executable).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let servers = json!([{"servers": []}]).to_string();
    let run = |server: &str, more: &[&str]| {
        lab.run(guests::CALLS_GRANTED_TOOLS, &servers)
            .env("PATH", &path)
            .args(["--mcp", server])
            .args(more.iter().copied())
            .done()
    };
    let read = |name: &str| {
        fs::read_to_string(lab.path(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    let here = lab.path("").canonicalize().unwrap();
    let here = here.to_str().unwrap().trim_end_matches('/');

    // Paths of the command lead where they led from here.
    let command = "s=bin/server.sh bin/settings.json";
    run(command, &["--dir", "work:rw"]).exits_with(0);
    assert_eq!(read("seen"), "");
    assert!(!read("cwd").starts_with(here), "{}", read("cwd"));
    assert_eq!(read("word"), format!("{here}/bin/settings.json"));
    assert!(
        !std::path::Path::new(&read("cwd")).exists(),
        "it is removed"
    );

    let there = ["--dir", "work:rw", "--mcp-cwd", "s=bin"];
    run("s=./server.sh settings.json", &there).exits_with(0);
    assert_eq!(read("cwd"), format!("{here}/bin"));
    assert_eq!(read("word"), "settings.json");

    for access in ["rw", "cow"] {
        let dir = format!("bin:{access}");
        let done = run("s=./server.sh", &["--dir", &dir, "--mcp-cwd", "s=bin"]).exits_with(2);
        assert!(
            done.stderr().contains("the agent may write there"),
            "{}",
            done.shown()
        );
        assert!(
            done.stderr().contains("--mcp-writable-cwd s=bin"),
            "{}",
            done.shown()
        );
    }
    let asked = ["--dir", "bin:rw", "--mcp-writable-cwd", "s=bin"];
    let done = run("s=./server.sh settings.json", &asked).exits_with(0);
    assert_eq!(read("cwd"), format!("{here}/bin"));
    // What the command names stays as it is all the same.
    let kept = "runs it: bin/server.sh, bin/settings.json";
    assert!(done.stderr().contains(kept), "{}", done.shown());
}

const MANIFEST: &str = r#"
[package]
name = "looked-at"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]

[workspace]
"#;

#[test]
fn looking_at_a_project_runs_nothing_of_it() {
    let lab = Lab::new();
    lab.file("p/Cargo.toml", MANIFEST);
    lab.file("p/src/lib.rs", "");
    let ran = lab.path("ran");
    let script = format!("fn main() {{ std::fs::write({ran:?}, \"\").unwrap(); }}");
    lab.file("p/build.rs", &script);
    // A toolchain of the project's own would run, too.
    lab.file("p/.cargo/config.toml", "[build]\nrustc = \"./evil\"\n");
    lab.file("p/evil", format!("#!/bin/sh\ntouch {}\n", ran.display()));
    fs::set_permissions(
        lab.path("p/evil"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    for command in ["inspect", "describe"] {
        let done = lab.call([command, "p"]).toolchain().done().exits_with(2);
        assert!(
            done.stderr().contains("it has not been built"),
            "{}",
            done.shown()
        );
        assert!(done.stderr().contains("--build"), "{}", done.shown());
    }
    lab.folder("p/target/wasm-agent");
    let built = lab.path("p/target/wasm-agent/looked-at.wasm");
    fs::copy(guests::ANSWERS_WITH_TEXT, &built).unwrap();
    let now = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    fs::File::options()
        .write(true)
        .open(&built)
        .unwrap()
        .set_modified(now)
        .unwrap();
    for command in ["inspect", "describe"] {
        let done = lab.call([command, "p"]).toolchain().done().exits_with(0);
        assert!(
            !done.stderr().contains("after it was built"),
            "{}",
            done.shown()
        );
    }
    let later = now + std::time::Duration::from_secs(60);
    let source = fs::File::options()
        .write(true)
        .open(lab.path("p/src/lib.rs"));
    source.unwrap().set_modified(later).unwrap();
    let done = lab.call(["inspect", "p"]).toolchain().done().exits_with(0);
    assert!(
        done.stderr()
            .contains("`p/src/lib.rs` was changed after it was built"),
        "{}",
        done.shown()
    );
    assert!(!ran.exists(), "something of the project was run");
}
