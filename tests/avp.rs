//! The shape AVP's harness drives.

use serde_json::json;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, verify};

#[test]
fn ping() {
    for dashes in [&[][..], &["--"]] {
        let lab = Lab::new();
        let call = lab
            .call(["avp", guests::ANSWERS_WITH_TEXT])
            .args(dashes.iter().copied());
        call.args(["ping", "--out", "pong.json"])
            .done()
            .exits_with(0);
        assert_eq!(
            std::fs::read_to_string(lab.path("pong.json")).unwrap(),
            "{\"type\":\"pong\"}\n"
        );
    }
}

#[test]
fn describe() {
    let lab = Lab::new();
    let on_stdout = lab
        .call(["avp", guests::DESCRIBES_ITSELF_FULLY, "describe"])
        .done()
        .exits_with(0);
    assert_eq!(on_stdout.json()["agent_name"], "full");
    assert_eq!(on_stdout.stdout().lines().count(), 1);
    let call = lab.call([
        "avp",
        guests::DESCRIBES_ITSELF_FULLY,
        "--",
        "describe",
        "--out",
        "d.json",
    ]);
    call.done().exits_with(0);
    assert_eq!(
        std::fs::read_to_string(lab.path("d.json")).unwrap(),
        on_stdout.stdout()
    );
}

#[test]
fn run() {
    let lab = Lab::new();
    lab.file("work/file", "content");
    let grants = lab.file("grants.toml", "version = 1\ndirs = ['work::/ro']\n");
    lab.file(
        "c.json",
        json!({ "schema_version": "0.1", "run_id": "r1", "model": "a/b", "prompt": "x" })
            .to_string(),
    );
    let call = lab.call(["avp", guests::TOUCHES_FILES, "--grants", &grants, "--"]);
    call.args(["run", "--commission", "c.json", "--out", "t.ndjson"])
        .done()
        .exits_with(0);
    verify(&lab.path("t.ndjson"));
    assert_eq!(
        lab.account().only("agent_stopped")["avp.output"]["read /ro"],
        "content"
    );
}

#[test]
fn a_closed_trajectory_is_a_success_however_the_run_ended() {
    for (guest, reason) in [
        (guests::TRAPS, "error"),
        (guests::ALLOCATES_WITHOUT_END, "interrupted"),
    ] {
        let lab = Lab::new();
        let commission = r#"{"schema_version":"0.1","run_id":"r1","model":"a/b"}"#;
        let call = lab.call(["avp", guest, "--limit", "memory=64MiB", "run"]);
        call.args(["--commission", commission, "--out", "t.ndjson"])
            .done()
            .exits_with(0);
        verify(&lab.path("t.ndjson"));
        assert_eq!(lab.account().stop_reason(), reason);
    }
    let lab = Lab::new();
    let commission = r#"{"schema_version":"0.1","run_id":"r1","model":"other/model"}"#;
    let call = lab.call(["avp", guests::DESCRIBES_ITSELF_FULLY, "run"]);
    call.args(["--commission", commission, "--out", "t.ndjson"])
        .done()
        .exits_with(0);
    verify(&lab.path("t.ndjson"));
    assert_eq!(lab.account().kinds().len(), 4, "the short form");
}

#[test]
fn an_unknown_version_of_the_commission_is_a_short_trajectory() {
    let lab = Lab::new();
    let commission = r#"{"schema_version":"7","run_id":"r1","model":"a/b"}"#;
    let call = lab.call(["avp", guests::ANSWERS_WITH_TEXT, "run"]);
    call.args(["--commission", commission, "--out", "t.ndjson"])
        .done()
        .exits_with(0);
    verify(&lab.path("t.ndjson"));
    assert_eq!(
        lab.account().only("error_occurred")["avp.error.code"],
        "unknown"
    );
}

#[test]
fn built_in_prompts_are_used_where_the_commission_has_none() {
    let lab = Lab::new();
    lab.file(
        "b.json",
        r#"{"prompt":"built in","system_prompt":"built in, too","tools":[]}"#,
    );
    let commission =
        r#"{"schema_version":"0.1","run_id":"r1","model":"acme/x","system_prompt":"mine"}"#;
    let call = lab.call([
        "avp",
        guests::DESCRIBES_ITSELF_FULLY,
        "run",
        "--built-in",
        "b.json",
    ]);
    call.args(["--commission", commission, "--out", "t.ndjson"])
        .done()
        .exits_with(0);
    let account = lab.account();
    let output = &account.only("agent_stopped")["avp.output"];
    assert_eq!(
        (&output["prompt"], &output["system_prompt"]),
        (&json!("built in"), &json!("mine"))
    );
}

#[test]
fn what_cannot_be_run_is_no_success() {
    let lab = Lab::new();
    let call = lab.call([
        "avp",
        guests::ANSWERS_WITH_TEXT,
        "run",
        "--commission",
        "{}",
        "--out",
        "t.ndjson",
    ]);
    call.done().exits_with(2);
    let call = lab.call(["avp", "missing.wasm", "run", "--commission"]);
    call.arg(r#"{"schema_version":"0.1","run_id":"r1","model":"a/b"}"#)
        .args(["--out", "t"])
        .done()
        .exits_with(2);
    lab.call(["avp", guests::ANSWERS_WITH_TEXT, "dance"])
        .done()
        .exits_with(2);
    assert!(lab.accounts().is_empty());
}
