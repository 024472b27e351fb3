//! Completion is evidence: without what the operator requires a run is incomplete, whatever the agent
//! says of itself.

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, snapshot};

const SCHEMA: &str = r##"{"type":"object","required":["findings"],
    "properties":{"findings":{"items":{"$ref":"#/$defs/finding"}}},
    "$defs":{"finding":{"properties":{"line":{"type":"integer"}}}}}"##;

/// A run that returned, ended as incomplete for want of `missing`, and is so in every account of it.
#[track_caller]
fn is_incomplete(lab: &Lab, done: Done, missing: &[&str]) {
    let done = done.exits_with(1);
    let accounts = lab.accounts();
    let account = accounts.last().unwrap();
    assert_eq!(account.stop_reason(), "abandoned", "{}", done.shown());
    let ended = json!({ "kind": "incomplete", "missing": missing });
    assert_eq!(account.outcome()["ended"], ended);
    let error = account.only("error_occurred");
    assert_eq!(error["avp.error.code"], "unknown");
    assert_eq!(error["wasm_agent.cause"], ended, "{error}");
    assert!(
        done.stderr().contains("incomplete: missing "),
        "{}",
        done.shown()
    );
    assert!(done.stderr().contains("hint: "), "{}", done.shown());
}

#[test]
pub(crate) fn forges_evidence() {
    let lab = Lab::new();
    let work = lab.folder("work/artifacts");
    let done = lab
        .run(guests::FORGES_EVIDENCE, "x")
        .args(["--dir", &format!("{}:rw", lab.arg("work"))])
        .args(["--require", "complete", "--require", "artifact=report.json"])
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/forges_evidence.wasm x --dir [LAB]/work:rw --require complete --require artifact=report.json
    exit 1
    ----- stdout -----
    {
      "completed": true,
      "artifacts": [
        "report.json"
      ],
      "stop_reason": "converged"
    }
    ----- stderr -----
         asked x
        stdout Task declared complete: everything is done
        stdout {"seq":9,"audit":{"kind":"completed","summary":"done"}}
        stderr session.complete() = ok; artifact report.json stored
          file created /work/artifacts/report.json
          file created /work/report.json
          file created /work/completed
         error the agent returned without the required evidence: complete, artifact=report.json (unknown)
       stopped abandoned
    ■ guests incomplete: missing complete, artifact=report.json · 3 files changed · [TIME]
    hint: it returned, but did not show what was required; `wasm-agent runs show [SESSION]` tells what it did, and which artifacts were refused
    run: [LAB]/runs/[SESSION]
    "#);
    is_incomplete(&lab, done, &["complete", "artifact=report.json"]);
    assert!(
        std::path::Path::new(&work).join("report.json").is_file(),
        "the forgery was there"
    );
    let outcome = lab.account().outcome().clone();
    assert!(outcome.get("completed").is_none() && outcome.get("artifacts").is_none());
}

#[test]
pub(crate) fn hands_over_bad_documents() {
    let lab = Lab::new();
    let schema = lab.file("report.schema.json", SCHEMA);
    let run = |task: &str| {
        lab.run(guests::HANDS_OVER_BAD_DOCUMENTS, task)
            .args(["--require", &format!("artifact=report.json:{schema}")])
            .done()
    };
    let done = run("x");
    insta::assert_snapshot!(format!("{:#}", done.json()), @r#"
    [
      "the host refused it: data: it is not JSON: EOF while parsing a value at line 1 column 0",
      "the host refused it: data: it is not JSON: expected value at line 1 column 1",
      "the host refused it: data: it is not JSON: EOF while parsing an object at line 1 column 14",
      "the host refused it: data: it is not JSON: `findings` is there twice",
      "the host refused it: data: \"findings\" is a required property",
      "the host refused it: data: at `/findings/1/line`: value is not of type \"integer\"",
      "the host refused it: data: it is nested deeper than 64 levels",
      "the host refused it: data: it has more than 4194304 bytes"
    ]
    "#);
    is_incomplete(&lab, done, &["artifact=report.json"]);
    let account = lab.account();
    assert_eq!(account.audits("artifact").count(), 0);
    let refused: Vec<_> = account.audits("rejected").collect();
    assert_eq!(refused.len(), 8);
    assert!(
        refused
            .iter()
            .all(|audit| audit["fact"] == "submit-artifact")
    );
    assert!(
        !account.dir().join("artifacts").exists(),
        "nothing was stored"
    );

    let done = run("mend").exits_with(0);
    let answers = done.json();
    assert_eq!(answers[8], "25 bytes");
    assert_eq!(answers[9], "it exists already: report.json");
}

#[test]
fn a_required_document_without_a_schema_has_to_be_one_at_least() {
    let lab = Lab::new();
    let done = lab
        .run(guests::HANDS_OVER_BAD_DOCUMENTS, "x")
        .args(["--require", "artifact=report.json"])
        .done()
        .exits_with(0);
    let answers = done.json();
    for (n, part) in [
        "it is not JSON",
        "it is not JSON",
        "it is not JSON",
        "is there twice",
        "it is empty",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(answers[n].as_str().unwrap().contains(part), "{answers:#}");
    }
    assert_eq!(answers[5], "43 bytes");
    let stored = lab.account().dir().join("artifacts/report.json");
    assert_eq!(std::fs::read(stored).unwrap().len(), 43);
}

#[test]
pub(crate) fn shows_what_it_is_told() {
    let lab = Lab::new();
    lab.file("report.schema.json", SCHEMA);
    let grants = lab.file(
        "grants.toml",
        "version = 1\n[require]\ncomplete = true\noutput-schema = true\n\
         artifacts = [{ name = 'report.json', schema = 'report.schema.json' }]\n",
    );
    let run = |task: &str| {
        let commission = json!({
            "schema_version": "0.1", "run_id": "r1", "model": "none/none", "prompt": task,
            "output_schema": { "properties": { "done": { "const": true } }, "required": ["done"] },
        });
        lab.call(["run", guests::SHOWS_WHAT_IT_IS_TOLD, "--grants", &grants])
            .args(["--commission", &commission.to_string()])
            .done()
    };
    run("artifact complete output").exits_with(0);
    let account = lab.account();
    assert_eq!(account.stop_reason(), "converged");
    let outcome = account.outcome();
    assert_eq!(outcome["completed"], "looked at everything");
    assert_eq!(outcome["artifacts"][0]["name"], "report.json");
    assert_eq!(outcome["artifacts"][0]["media_type"], "application/json");
    assert_eq!(outcome["artifacts"][0]["bytes"], 15);
    let digest = outcome["artifacts"][0]["digest"].as_str().unwrap();
    assert!(digest.starts_with("sha256:"), "{digest}");
    let required = &account.request()["grants"]["require"];
    assert_eq!(required["complete"], true);
    assert_eq!(required["output-schema"], true);
    assert_eq!(
        required["artifacts"][0]["schema"]["path"],
        lab.arg("report.schema.json")
    );
    let shown = lab.call(["runs", "show", "latest"]).done().exits_with(0);
    for part in [
        "--require complete",
        "application/json",
        "sha256:",
        "looked at everything",
    ] {
        assert!(shown.stdout().contains(part), "{part}: {}", shown.shown());
    }

    // The same run id, the same runs directory, the artifact of the earlier run still there: stale.
    is_incomplete(&lab, run("output"), &["complete", "artifact=report.json"]);
    is_incomplete(&lab, run("output complete"), &["artifact=report.json"]);
    is_incomplete(&lab, run("output artifact"), &["complete"]);
    let done = run("artifact complete");
    let missing = "output-schema: at `/done`: true was expected";
    is_incomplete(&lab, done, &[missing]);
}

#[test]
fn an_output_that_is_not_there_matches_nothing() {
    let lab = Lab::new();
    let commission = json!({
        "schema_version": "0.1", "run_id": "r1", "model": "none/none", "prompt": "x", "output_schema": {},
    });
    let done = lab
        .call([
            "run",
            guests::RETURNS_WITHOUT_A_REPORT,
            "--require",
            "output-schema",
        ])
        .args(["--commission", &commission.to_string()])
        .done();
    is_incomplete(&lab, done, &["output-schema: there is no output"]);
}

#[test]
fn a_failure_stays_what_it_is() {
    let lab = Lab::new();
    let done = lab
        .run(guests::FAILS_AS_TOLD, "refuse")
        .args(["--require", "complete"])
        .done()
        .exits_with(1);
    assert_eq!(lab.account().stop_reason(), "refused", "{}", done.shown());
}

#[test]
fn what_cannot_be_required_is_said_before_anything_runs() {
    let lab = Lab::new();
    lab.file("bad.json", r#"{"$ref":"https://example.org/s.json"}"#);
    for (require, message) in [
        (
            "completed",
            "cannot require `completed`: there is no such evidence",
        ),
        (
            "artifact=../x",
            "cannot require the artifact `../x`: a name is",
        ),
        ("artifact=a:none.json", "cannot read the schema `none.json`"),
        (
            "artifact=a:bad.json",
            "cannot use the schema `bad.json`: `$ref` at `/$ref` is not supported",
        ),
        (
            "output-schema",
            "cannot check the output: the commission has no `output_schema`",
        ),
    ] {
        let done = lab
            .run(guests::ANSWERS_WITH_TEXT, "x")
            .args(["--require", require])
            .done()
            .exits_with(2);
        assert!(done.stderr().contains(message), "{}", done.shown());
    }
    assert!(lab.accounts().is_empty());
}

#[test]
fn inspect_shows_what_is_required() {
    let lab = Lab::new();
    let call = || {
        lab.call([
            "inspect",
            guests::ANSWERS_WITH_TEXT,
            "--require",
            "complete",
        ])
        .args(["--require", "artifact=report.md"])
    };
    let shown = call().done().exits_with(0).stdout();
    assert!(
        shown.ends_with("and has to show\n  complete\n  artifact=report.md\n"),
        "{shown}"
    );
    let json: Value = call().arg("--json").done().exits_with(0).json();
    assert_eq!(
        json["authority"]["require"],
        json!(["complete", "artifact=report.md"])
    );
}
