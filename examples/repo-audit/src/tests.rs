use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use wasm_agent_sdk::session::Access;
use wasm_agent_sdk::testing::{Fact, TestHost, Trial, commission};
use wasm_agent_sdk::{Agent, Commission, Failure, Output};

use crate::RepoAudit;
use crate::audit::Phase;

// Put in by name, so that an audit of this repository does not find its own fixtures.
const TODO: &str = "TODO";
const FIXME: &str = "FIXME";

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = "The same long text, more than once, so that a copy of it can be told from chance.";
    for (path, content) in [
        (".gitignore", "ignored/\n".to_owned()),
        (".github/CODEOWNERS", "*.py @pythonistas\n".to_owned()),
        ("LICENSE", "Apache License, Version 2.0\n".to_owned()),
        (
            "src/main.rs",
            format!("// SPDX-License-Identifier: Apache-2.0\n// {TODO}(ada): split `this`\n"),
        ),
        (
            "tool.py",
            format!(
                "# {FIXME} rotate AKIA{}\nkey = \"AKIA{}\"\nx = '{TODO}'\n",
                "IOSFODNN7EXAMPLQ", "IOSFODNN7EXAMPLR"
            ),
        ),
        (
            "notes.txt",
            format!("A {TODO} in prose is none.\n- {TODO}: buy milk\n"),
        ),
        ("big.bin", "\0".repeat(600_000)),
        ("a.txt", copy.to_owned()),
        ("docs/b.txt", copy.to_owned()),
        ("ignored/c.txt", copy.to_owned()),
        ("target/d.txt", copy.to_owned()),
        (".git/HEAD", format!("# {TODO}: nothing\n")),
    ] {
        write(dir.path(), path, &content);
    }
    dir
}

fn write(root: &Path, path: &str, content: &str) {
    let full = root.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, content).unwrap();
}

fn task() -> Commission {
    Commission {
        output_schema: Some(include_str!("../output.schema.json").into()),
        tools: Phase::ALL
            .iter()
            .map(|phase| phase.name().to_owned())
            .collect(),
        ..commission("Audit.")
    }
}

fn audit(dir: &Path, access: Access) -> Trial {
    TestHost::new()
        .directory("/work", dir, access)
        .run(RepoAudit, task())
}

fn answer(trial: &Trial) -> Value {
    match trial.result.as_ref().unwrap() {
        Output::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_is_found_with_its_owner() {
    let dir = repository();
    let answer = answer(&audit(dir.path(), Access::ReadOnly));
    assert_eq!(answer["complete"], true);
    assert_eq!(answer["files"], 9);
    assert_eq!(
        answer["todos"]["items"],
        json!([
            {"path": "notes.txt", "line": 2, "kind": "TODO", "owner": "unowned", "text": "buy milk"},
            {"path": "src/main.rs", "line": 2, "kind": "TODO", "owner": "ada", "text": "split 'this'"},
            {
                "path": "tool.py", "line": 1, "kind": "FIXME", "owner": "@pythonistas",
                "text": "rotate [AWS access key]"
            },
        ])
    );
    assert_eq!(
        answer["oversized"],
        json!({"total": 1, "items": [{"path": "big.bin", "bytes": 600_000}]})
    );
    assert_eq!(answer["duplicates"]["total"], 1);
    assert_eq!(
        answer["duplicates"]["items"][0]["paths"],
        json!(["a.txt", "docs/b.txt"])
    );
    assert_eq!(
        answer["licences"],
        json!({"total": 1, "items": ["tool.py"]})
    );
    assert_eq!(
        answer["secrets"]["items"],
        json!([
            {"path": "tool.py", "line": 1, "kind": "AWS access key", "characters": 20},
            {"path": "tool.py", "line": 2, "kind": "AWS access key", "characters": 20},
        ])
    );
}

#[test]
fn an_answer_nobody_gave_a_schema_for_is_for_people() {
    let dir = repository();
    let people = Commission {
        output_schema: None,
        ..task()
    };
    let trial = TestHost::new()
        .directory("/work", dir.path(), Access::ReadOnly)
        .run(RepoAudit::run, people);
    let Ok(Output::Text(text)) = trial.result else {
        panic!("{:?}", trial.result);
    };
    assert!(text.starts_with("# Audit of `/work`"), "{text}");
}

#[test]
fn the_answer_matches_the_schema_of_the_commission() {
    let commission: Value = serde_json::from_str(include_str!("../commission.json")).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../output.schema.json")).unwrap();
    assert_eq!(commission["output_schema"], schema);
    let dir = repository();
    let mut answer = answer(&audit(dir.path(), Access::ReadOnly));
    let schema = jsonschema::validator_for(&schema).unwrap();
    schema.validate(&answer).unwrap();
    answer["secrets"]["items"][0]["text"] = "leaked".into();
    assert!(!schema.is_valid(&answer), "the schema lets strangers in");
}

#[test]
fn no_secret_leaves_the_workspace() {
    let dir = repository();
    let trial = audit(dir.path(), Access::ReadWrite);
    let report = String::from_utf8(trial.artifact("audit.md").unwrap().to_vec()).unwrap();
    let everything = format!("{trial:?}{report}");
    assert!(!everything.contains("IOSFODNN7"));
    assert!(report.contains("`tool.py:2` AWS access key of 20 characters"));
}

#[test]
fn each_phase_is_a_call_with_its_result() {
    let dir = repository();
    let trial = audit(dir.path(), Access::ReadOnly);
    let calls: Vec<&str> = (trial.facts.iter())
        .filter_map(|fact| match fact {
            Fact::ToolResult(result) => Some(result.call_id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(calls, Phase::ALL.map(Phase::name));
    let turns = trial
        .facts
        .iter()
        .filter(|fact| matches!(fact, Fact::Turn(_)));
    assert_eq!(turns.count(), Phase::ALL.len());
    assert!(
        trial
            .facts
            .iter()
            .any(|fact| matches!(fact, Fact::Complete(_)))
    );
}

#[test]
fn the_report_is_written_only_where_writing_is_granted() {
    let dir = repository();
    let report = dir.path().join("AUDIT.md");
    audit(dir.path(), Access::ReadOnly);
    assert!(!report.exists());
    let first = audit(dir.path(), Access::ReadWrite);
    let written = fs::read(&report).unwrap();
    assert_eq!(Some(written.as_slice()), first.artifact("audit.md"));
    // A report of before is no part of the repository: the same again.
    let second = audit(dir.path(), Access::ReadWrite);
    assert_eq!(answer(&first), answer(&second));
}

#[test]
fn phases_that_are_not_allowed_are_left_out() {
    let dir = repository();
    let mut task = task();
    task.tools.retain(|tool| tool != "scan_secrets");
    let host = TestHost::new().directory("/work", dir.path(), Access::ReadOnly);
    let answer = answer(&host.run(RepoAudit, task));
    assert_eq!(answer["skipped"], json!(["scan_secrets"]));
    assert_eq!(answer["secrets"]["total"], 0);
    assert_eq!(answer["todos"]["total"], 3);
}

#[test]
fn without_budget_nothing_is_claimed() {
    let dir = repository();
    let host = TestHost::new().directory("/work", dir.path(), Access::ReadOnly);
    let trial = host.low_budget().run(RepoAudit, task());
    let failure = Failure::from(trial.result.unwrap_err());
    assert!(matches!(failure, Failure::Abandoned(_)));
}

#[test]
fn without_a_directory_the_error_says_what_is_missing() {
    let trial = TestHost::new().run(RepoAudit, task());
    assert_eq!(
        trial.result.unwrap_err().to_string(),
        "opening the repository: `/work` is in no directory granted to this run"
    );
}

#[test]
fn options_come_with_the_commission() {
    let dir = repository();
    let task = Commission {
        meta: Some(r#"{"max_file_bytes": 1000000, "other": 1}"#.into()),
        ..task()
    };
    let host = TestHost::new().directory("/work", dir.path(), Access::ReadOnly);
    assert_eq!(answer(&host.run(RepoAudit, task))["oversized"]["total"], 0);
}

#[test]
fn the_description_names_every_phase() {
    let tools = RepoAudit::describe().tools;
    assert_eq!(
        tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect::<Vec<_>>(),
        Phase::ALL.map(Phase::name)
    );
}
