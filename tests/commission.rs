//! Commissions: what is wrong with one, and whether it fits the agent.

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, snapshot};

fn commission(extra: Value) -> String {
    let mut commission = json!({ "schema_version": "0.1", "run_id": "r1", "model": "acme/large" });
    let Value::Object(extra) = extra else {
        panic!("more members are an object")
    };
    commission.as_object_mut().unwrap().extend(extra);
    commission.to_string()
}

fn run(lab: &Lab, commission: &str) -> Done {
    lab.call([
        "run",
        guests::DESCRIBES_ITSELF_FULLY,
        "--commission",
        commission,
    ])
    .done()
}

#[test]
fn it_arrives_as_it_was_given() {
    let given = commission(json!({
        "prompt": "Do it.",
        "system_prompt": "Be brief.",
        "thread_id": "t1",
        "tags": ["a", "b"],
        "meta": { "n": 1 },
        "enabled_builtin_tools": { "full": ["read"] },
        "skills": [{ "id": "extra", "files": { "SKILL.md": "---\nname: extra\ndescription: more\n---\nDo more.\n" } }],
        "supervisor": { "name": "boss" },
    }));
    for (source, stdin) in [("c.json", ""), (given.as_str(), ""), ("-", given.as_str())] {
        let lab = Lab::new();
        lab.file("c.json", &given);
        let call = lab.call([
            "run",
            guests::DESCRIBES_ITSELF_FULLY,
            "--commission",
            source,
        ]);
        let seen = call.stdin(stdin).done().exits_with(0).json();
        let expected = json!({
            "run_id": "r1",
            "model": "acme/large",
            "prompt": "Do it.",
            "system_prompt": "Be brief.",
            "tools": ["read"],
            "subagents": ["reviewer"],
            "builtin_skills": ["style"],
            "skills": ["extra"],
            "thread_id": "t1",
            "tags": ["a", "b"],
            "meta": { "n": 1 },
            "raw": "r1",
        });
        assert_eq!(seen, expected);
        let account = lab.account();
        let given: Value = serde_json::from_str(&given).unwrap();
        assert_eq!(account.only("run_requested")["avp.commission"], given);
        assert!(account.events().all(|event| event["subject"] == "r1"));
    }
}

#[test]
fn a_task_fills_the_slot_of_the_prompt() {
    let lab = Lab::new();
    let call = lab.run(guests::DESCRIBES_ITSELF_FULLY, "the door");
    let given = commission(json!({ "prompt": "Open {input}, please." }));
    let done = call
        .args(["--commission", &given, "--model", "acme/other"])
        .done()
        .exits_with(0);
    assert_eq!(done.json()["prompt"], "Open the door, please.");
    assert_eq!(done.json()["model"], "acme/other");
}

#[test]
fn what_is_wrong_with_a_commission_is_said() {
    let lab = Lab::new();
    snapshot!(run(&lab, "missing.json"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission missing.json
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the commission `missing.json`: No such file or directory (os error 2)
    hint: name a file, write JSON that starts with `{`, or `-` for standard input
    "#);
    lab.file("c.json", "This is a commission.");
    snapshot!(run(&lab, "c.json"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission c.json
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission is not json: expected value at line 1 column 1
    "#);
    lab.file("c.json", "");
    snapshot!(run(&lab, "c.json"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission c.json
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission is not json: EOF while parsing a value at line 1 column 0
    "#);
    lab.file("c.json", b"{\"run_id\": \"\xff\"}");
    snapshot!(run(&lab, "c.json"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission c.json
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission is not utf-8: byte 12 is invalid
    "#);
    snapshot!(run(&lab, "[]"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission []
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `.`: expected a JSON object
    "#);
    snapshot!(run(&lab, "{}"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `.`: missing field `schema_version` at line 1 column 2
    "#);
    snapshot!(run(&lab, &commission(json!({ "temperature": 1 }))), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {"schema_version":"0.1","run_id":"r1","model":"acme/large","temperature":1}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `temperature`: unknown field `temperature`, expected one of `schema_version`, `run_id`, `supervisor`, `mcp_servers`, `skills`, `provider`, `enabled_builtin_tools`, `enabled_builtin_subagents`, `enabled_builtin_skills`, `enabled_builtin_mcp_servers`, `agen…
    "#);
    snapshot!(run(&lab, r#"{"schema_version":"0.1","run_id":"r1","run_id":"r2","model":"a/b"}"#), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {"schema_version":"0.1","run_id":"r1","run_id":"r2","model":"a/b"}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `run_id`: is there twice
    "#);
    snapshot!(run(&lab, &commission(json!({ "model": "gpt" }))), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {"schema_version":"0.1","run_id":"r1","model":"gpt"}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `model`: expected origin/model, for example anthropic/claude-sonnet-4-5, found `gpt`
    "#);
    snapshot!(run(&lab, &commission(json!({ "run_id": "" }))), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {"schema_version":"0.1","run_id":"","model":"acme/large"}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `run_id`: is empty
    "#);
    snapshot!(run(&lab, &commission(json!({ "skills": [{ "id": "s", "files": { "README.md": "x" } }] }))), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {"schema_version":"0.1","run_id":"r1","model":"acme/large","skills":[{"id":"s","files":{"README.md":"x"}}]}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `skills[0].files`: SKILL.md is missing
    "#);
    snapshot!(run(&lab, &commission(json!({ "skills": [{ "id": "s", "files": { "SKILL.md": "x", "../up": "x" } }] }))), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission {"schema_version":"0.1","run_id":"r1","model":"acme/large","skills":[{"id":"s","files":{"SKILL.md":"x","../up":"x"}}]}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission field `skills[0].files`: `../up` is not a path inside the skill
    "#);
    assert!(lab.accounts().is_empty(), "nothing was run");
}

#[test]
fn a_task_and_a_prompt_are_one_too_many() {
    let lab = Lab::new();
    let call = lab.run(guests::DESCRIBES_ITSELF_FULLY, "this");
    let done = call
        .args(["--commission", &commission(json!({ "prompt": "that" }))])
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm this --commission {"schema_version":"0.1","run_id":"r1","model":"acme/large","prompt":"that"}
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: both the task and the commission say what to do
    hint: leave the task out, or write {input} into the prompt where it should go
    "#);
    assert!(lab.accounts().is_empty());
}

#[test]
fn a_commission_that_is_too_large() {
    let lab = Lab::new();
    lab.file(
        "c.json",
        commission(json!({ "prompt": "x".repeat(5 << 20) })),
    );
    snapshot!(run(&lab, "c.json"), @r#"
    $ wasm-agent run [GUESTS]/describes_itself_fully.wasm --commission c.json
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: commission has more than 4194304 bytes
    hint: put large inputs into a directory and grant it with --dir
    "#);
}

#[test]
fn a_commission_of_another_version_leaves_a_short_trajectory() {
    let lab = Lab::new();
    let done = run(
        &lab,
        &commission(json!({ "schema_version": "9.9", "novelty": true })),
    )
    .exits_with(1);
    assert!(done.stderr().contains("9.9"), "{}", done.shown());
    let account = lab.account();
    assert_eq!(account.kinds().last(), Some(&"agent_stopped"));
    assert!(!account.kinds().contains(&"agent_started"));
    assert_eq!(account.only("error_occurred")["avp.error.code"], "unknown");
}

#[test]
fn a_commission_that_does_not_fit_leaves_the_short_form() {
    let cases = [
        (
            json!({ "agent_versions": { "full": "1.0.0" } }),
            "unsupported_agent_version",
        ),
        (json!({ "model": "other/model" }), "unsupported_model"),
        (
            json!({ "enabled_builtin_tools": { "full": ["nope"] } }),
            "commission_collision",
        ),
        (
            json!({ "enabled_builtin_tools": { "another": ["read"] } }),
            "commission_collision",
        ),
        (
            json!({ "enabled_builtin_subagents": { "full": ["nope"] } }),
            "commission_collision",
        ),
        (
            json!({ "skills": [{ "id": "style", "files": { "SKILL.md": "---\nname: style\n---\n" } }] }),
            "commission_collision",
        ),
        (
            json!({ "mcp_servers": [{ "type": "http", "id": "search", "url": "https://example.org/mcp" }] }),
            "commission_collision",
        ),
    ];
    for (extra, code) in cases {
        let lab = Lab::new();
        let done = run(&lab, &commission(extra.clone())).exits_with(1);
        assert_eq!(done.stdout(), "", "{extra}");
        assert!(done.stderr().contains("not started: "), "{}", done.shown());
        let account = lab.account();
        let short = [
            "run_requested",
            "agent_described",
            "error_occurred",
            "agent_stopped",
        ];
        assert_eq!(account.kinds(), short, "{extra}");
        let found = &account.only("error_occurred")["avp.error.code"];
        assert_eq!(
            found,
            code,
            "{extra}: {}",
            account.only("error_occurred")["avp.error.message"]
        );
        assert_eq!(account.stop_reason(), "error");
        assert_eq!(account.outcome()["ended"]["kind"], "refused");
    }
}

#[test]
fn a_commission_that_pins_this_version_or_another_agent_fits() {
    let lab = Lab::new();
    let extra = json!({ "agent_versions": { "full": "2.1.0", "another": "9" } });
    run(&lab, &commission(extra)).exits_with(0);
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error_before_the_start() {
    let lab = Lab::new();
    let extra = json!({ "mcp_servers": [{ "type": "http", "id": "docs", "url": "https://example.org/mcp" }] });
    run(&lab, &commission(extra)).exits_with(0);
    let account = lab.account();
    let kinds = [
        "run_requested",
        "agent_described",
        "error_occurred",
        "agent_started",
        "agent_stopped",
    ];
    assert_eq!(account.kinds(), kinds);
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "mcp_connect_failed"
    );
}
