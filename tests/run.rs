//! How runs go and end: answers, failures, crashes, and what stands in the trajectory afterwards.

use serde_json::json;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, snapshot, verify};

#[test]
pub(crate) fn answers_with_text() {
    let lab = Lab::new();
    let done = lab.run(guests::ANSWERS_WITH_TEXT, "hi\tthere").done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm hi	there
    exit 0
    ----- stdout -----
    You said: hi	there
    ----- stderr -----
         asked hi there
       stopped converged
    ✔ guests converged · [TIME]
    run: [LAB]/runs/[SESSION]
    "#);
    let account = lab.account();
    assert_eq!(
        account.kinds(),
        [
            "run_requested",
            "agent_described",
            "agent_started",
            "agent_stopped"
        ]
    );
    assert_eq!(
        account.only("agent_stopped")["avp.output"],
        "You said: hi\tthere"
    );
    assert_eq!(
        account.only("run_requested")["avp.commission"]["prompt"],
        "hi\tthere"
    );
    assert!(
        account
            .events()
            .all(|event| event["data"]["wasm_agent.origin"] == "host")
    );
}

#[test]
fn nothing_is_shown_when_quiet() {
    let lab = Lab::new();
    let done = lab
        .run(guests::ANSWERS_WITH_TEXT, "hi")
        .arg("--quiet")
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm hi --quiet
    exit 0
    ----- stdout -----
    You said: hi
    ----- stderr -----
    "#);
}

#[test]
pub(crate) fn answers_with_json() {
    let lab = Lab::new();
    let done = lab
        .run(guests::ANSWERS_WITH_JSON, "count")
        .done()
        .exits_with(0);
    let answer = json!({ "task": "count", "done": true, "parts": [1, 2.5, null] });
    assert_eq!(done.json(), answer);
    assert_eq!(lab.account().only("agent_stopped")["avp.output"], answer);
}

#[test]
fn the_outcome_as_json() {
    let lab = Lab::new();
    let done = lab
        .run(guests::ANSWERS_WITH_JSON, "count")
        .args(["--format", "json"])
        .done()
        .exits_with(0);
    let outcome = done.json();
    assert_eq!(outcome["format"], "wasm-agent/outcome@1");
    assert_eq!(outcome["ended"]["kind"], "converged");
    assert_eq!(outcome["output"]["task"], "count");
    assert_eq!(outcome["directory"], lab.account().dir().to_str().unwrap());
}

#[test]
fn the_trajectory_on_standard_output_and_in_a_file() {
    for args in [
        vec!["--format", "avp"],
        vec!["--format", "avp", "--out", "-"],
    ] {
        let lab = Lab::new();
        let done = lab
            .run(guests::DELEGATES, "x")
            .args(args)
            .done()
            .exits_with(0);
        let file = lab.file("out.ndjson", done.stdout());
        verify(file.as_ref());
        let lines: Vec<serde_json::Value> = done
            .stdout()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(
            lines.iter().eq(lab.account().events()),
            "the view is the log's events"
        );
    }
    let lab = Lab::new();
    let done = lab
        .run(guests::DELEGATES, "x")
        .args(["--out", &lab.arg("t.ndjson")])
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "delegated\n");
    verify(&lab.path("t.ndjson"));
}

#[test]
fn standard_output_is_one_thing_only() {
    let lab = Lab::new();
    let done = lab
        .run(guests::ANSWERS_WITH_TEXT, "x")
        .args(["--out", "-"])
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --out -
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: standard output cannot be both the trajectory and the answer
    hint: leave out `--out -`, or say `--format avp`
    "#);
    assert!(lab.accounts().is_empty());
}

#[test]
fn a_trajectory_file_that_cannot_be_written_stops_nothing_that_has_begun() {
    let lab = Lab::new();
    let done = lab
        .run(guests::ANSWERS_WITH_TEXT, "x")
        .args(["--out", "/no/such/folder/t"])
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --out /no/such/folder/t
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot write the trajectory to `/no/such/folder/t`: No such file or directory (os error 2)
    "#);
    assert!(lab.accounts().is_empty(), "found out before the run");

    let done = lab
        .run(guests::DELEGATES, "x")
        .args(["--out", "/dev/full"])
        .done()
        .exits_with(2);
    assert!(
        done.stderr().contains("cannot write the trajectory"),
        "{}",
        done.stderr()
    );
    assert_eq!(
        lab.account().stop_reason(),
        "converged",
        "the account is whole"
    );
}

#[test]
pub(crate) fn answers_with_broken_json() {
    let lab = Lab::new();
    let done = lab.run(guests::ANSWERS_WITH_BROKEN_JSON, "x").done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/answers_with_broken_json.wasm x
    exit 1
    ----- stdout -----
    ----- stderr -----
         asked x
         error the agent's output is not valid JSON: EOF while parsing a value at line 1 column 8 (agent_crash)
       stopped error
    ■ guests error: the agent's output is not valid JSON: EOF while parsing a value at line 1 column 8 · [TIME]
    run: [LAB]/runs/[SESSION]
    "#);
    let account = lab.account();
    assert_eq!(account.stop_reason(), "error");
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "agent_crash"
    );
}

#[test]
pub(crate) fn returns_without_a_report() {
    let lab = Lab::new();
    let done = lab
        .run(guests::RETURNS_WITHOUT_A_REPORT, "x")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "");
    let account = lab.account();
    assert_eq!(
        account.kinds(),
        [
            "run_requested",
            "agent_described",
            "agent_started",
            "agent_stopped"
        ]
    );
    assert_eq!(account.stop_reason(), "converged");
    assert!(account.only("agent_stopped").get("avp.output").is_none());
}

#[test]
pub(crate) fn fails_as_told() {
    for (task, reason, code, message) in [
        ("refuse", "refused", None, "it is not my job"),
        ("abandon", "abandoned", None, "half of it is left"),
        ("rate", "error", Some("rate_limit"), "asked too often"),
        ("break", "error", Some("unknown"), "it broke"),
    ] {
        let lab = Lab::new();
        let done = lab.run(guests::FAILS_AS_TOLD, task).done().exits_with(1);
        assert!(done.stderr().contains(message), "{}", done.shown());
        let account = lab.account();
        assert_eq!(account.stop_reason(), reason);
        let errors: Vec<_> = account
            .data("error_occurred")
            .map(|data| &data["avp.error.code"])
            .collect();
        assert_eq!(errors, Vec::from_iter(code), "{task}");
    }
}

#[test]
pub(crate) fn traps() {
    let lab = Lab::new();
    let done = lab.run(guests::TRAPS, "x").done().exits_with(1);
    assert!(
        done.stderr()
            .contains("crashed: the agent trapped: wasm trap: wasm `unreachable`"),
        "{}",
        done.shown()
    );
    assert!(
        done.stderr().contains("traps"),
        "the backtrace names the guest's functions"
    );
    let account = lab.account();
    assert_eq!(account.turns(), ["before the trap"]);
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "agent_crash"
    );
    assert_eq!(account.stop_reason(), "error");
    assert_eq!(account.outcome()["ended"]["kind"], "crashed");
}

#[test]
pub(crate) fn panics() {
    let lab = Lab::new();
    let done = lab.run(guests::PANICS, "x").done().exits_with(1);
    assert!(
        done.stderr().contains("the sky is falling"),
        "{}",
        done.shown()
    );
    let account = lab.account();
    assert!(
        account.outcome()["stderr_tail"]
            .as_str()
            .unwrap()
            .contains("the sky is falling")
    );
    assert!(
        account
            .audits("output")
            .any(|output| output["text"] == "the sky is falling")
    );
    assert_eq!(account.stop_reason(), "error");
}

#[test]
pub(crate) fn exits_in_the_middle() {
    // WASI 0.2's `exit` says only whether it was a success: every other code arrives as 1.
    for (code, message) in [
        ("0", "the agent called exit(0)"),
        ("3", "the agent called exit(1)"),
    ] {
        let lab = Lab::new();
        let done = lab
            .run(guests::EXITS_IN_THE_MIDDLE, code)
            .done()
            .exits_with(1);
        assert!(done.stderr().contains(message), "{}", done.shown());
        let account = lab.account();
        assert_eq!(account.turns(), ["I look"]);
        assert_eq!(
            account.only("tool_returned")["avp.tool_result"]["is_error"],
            true
        );
        assert_eq!(account.only("tool_returned")["wasm_agent.origin"], "host");
        assert_eq!(account.only("error_occurred")["avp.error.message"], message);
        assert_eq!(account.stop_reason(), "error");
    }
}

#[test]
pub(crate) fn leaves_calls_and_frames_open() {
    let lab = Lab::new();
    lab.run(guests::LEAVES_CALLS_AND_FRAMES_OPEN, "call")
        .done()
        .exits_with(0);
    let account = lab.account();
    assert_eq!(
        account.only("tool_returned")["avp.tool_result"]["is_error"],
        true
    );
    assert_eq!(
        account.stop_reason(),
        "converged",
        "an open call is an unfinished errand, not unfinished work"
    );

    let lab = Lab::new();
    lab.run(guests::LEAVES_CALLS_AND_FRAMES_OPEN, "frame")
        .done()
        .exits_with(1);
    let account = lab.account();
    assert_eq!(
        account.only("subagent_returned")["avp.subagent.reason"],
        "abandoned"
    );
    assert_eq!(account.stop_reason(), "abandoned");
}

#[test]
pub(crate) fn reports_impossible_facts() {
    let lab = Lab::new();
    let done = lab
        .run(guests::REPORTS_IMPOSSIBLE_FACTS, "x")
        .done()
        .exits_with(0);
    let expected = json!([
        ["duplicate call", "duplicate-call"],
        ["duplicate call in one turn", "duplicate-call"],
        ["unknown call", "unknown-call"],
        ["second result", "call-returned"],
        ["usage without a turn", "no-open-turn"],
        ["unknown frame", "unknown-invocation"],
        ["duplicate frame", "duplicate-invocation"],
        ["closed frame", "unknown-invocation"],
        ["cost below zero", "invalid"],
        ["cost not a number", "invalid"],
        ["input not an object", "invalid"],
        ["input not JSON", "invalid"],
        ["meta not an object", "invalid"],
        ["unknown block", "invalid"],
        ["progress out of range", "invalid"],
    ]);
    assert_eq!(done.json(), expected);
    let account = lab.account();
    let kinds = [
        "run_requested",
        "agent_described",
        "agent_started",
        "assistant_message",
        "tool_invoked",
        "tool_returned",
        "subagent_invoked",
        "subagent_returned",
        "assistant_message",
        "agent_stopped",
    ];
    assert_eq!(account.kinds(), kinds, "nothing that was refused is there");
    assert_eq!(account.turns(), ["one", "two"]);
}

#[test]
pub(crate) fn streams_a_turn() {
    let lab = Lab::new();
    let done = lab.run(guests::STREAMS_A_TURN, "x").done().exits_with(0);
    assert_eq!(done.stdout(), "[1, 1, 1, 2, 3, 3]\n");
    let account = lab.account();
    assert_eq!(account.turns(), ["Hello", "after", "last"]);
    let steps: Vec<_> = account
        .data("assistant_message")
        .map(|turn| turn["avp.step"].as_u64())
        .collect();
    assert_eq!(steps, [Some(1), Some(2), Some(3)]);
    let first = account.data("assistant_message").next().unwrap();
    assert_eq!(first["avp.usage"]["input_tokens"], 10);
    assert_eq!(
        (&first["avp.cost_usd"], &first["avp.cost.source"]),
        (&json!(0.25), &json!("reported"))
    );
}

#[test]
pub(crate) fn calls_an_unknown_tool() {
    let lab = Lab::new();
    let done = lab
        .run(guests::CALLS_AN_UNKNOWN_TOOL, "x")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "[\"c1\"], then Err(CallReturned(\"c1\"))\n");
    let account = lab.account();
    let returned = account.only("tool_returned");
    assert_eq!(returned["wasm_agent.origin"], "host");
    assert_eq!(returned["avp.tool_result"]["is_error"], true);
    assert_eq!(
        account.only("tool_invoked")["avp.tool.input"],
        json!({ "path": "/" })
    );
}

#[test]
pub(crate) fn delegates() {
    let lab = Lab::new();
    lab.run(guests::DELEGATES, "x").done().exits_with(0);
    let account = lab.account();
    let frames: Vec<_> = account.data("subagent_invoked").collect();
    let turns: Vec<_> = account.data("assistant_message").collect();
    assert_eq!(
        frames[0]["parent_span_id"], turns[0]["span_id"],
        "the turn that called it"
    );
    assert_eq!(turns[1]["parent_span_id"], frames[0]["span_id"]);
    assert_eq!(
        frames[1]["parent_span_id"], turns[1]["span_id"],
        "a frame within a frame"
    );
    assert_eq!(turns[2]["parent_span_id"], frames[1]["span_id"]);
    assert_eq!(
        frames[0]["avp.subagent.input"],
        json!({ "goal": "win" }),
        "taken over from the call"
    );
    let totals: Vec<_> = account
        .data("subagent_returned")
        .map(|frame| frame.get("avp.subagent.usage"))
        .collect();
    assert_eq!(
        totals[..2],
        [
            None,
            Some(&json!({ "cost_usd": 0.5, "tokens_input": 3, "turns": 1 }))
        ]
    );
    assert_eq!(totals[2], None, "its turns say it");
    assert_eq!(account.outcome()["totals"]["cost_usd"], 0.5);
}

#[test]
pub(crate) fn keeps_checkpoints() {
    let lab = Lab::new();
    let done = lab
        .run(guests::KEEPS_CHECKPOINTS, "x")
        .limit("storage-bytes=1000")
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/keeps_checkpoints.wasm x --limit storage-bytes=1000
    exit 0
    ----- stdout -----
    None, 6 bytes sha256:[DIGEST], the limit `storage-bytes` of 1000 is reached, Some("second")
    ----- stderr -----
         asked x
    checkpoint 5 B
    checkpoint 6 B
         limit storage-bytes (1000)
       stopped converged
    ✔ guests converged · [TIME]
    run: [LAB]/runs/[SESSION]
    "#);
    let account = lab.account();
    assert_eq!(
        std::fs::read(account.dir().join("checkpoint")).unwrap(),
        b"second"
    );
    assert_eq!(account.audits("checkpoint").count(), 2);
    assert_eq!(account.limits_hit(), ["storage-bytes"]);

    // Another run begins with it, is recorded with it, and keeps its own.
    let run = |args: &[&str]| {
        let run = lab.run(guests::KEEPS_CHECKPOINTS, "x");
        run.limit("storage-bytes=1000")
            .args(args.iter().copied())
            .done()
    };
    let found = "Some([115, 101, 99, 111, 110, 100]), 6 bytes";
    let done = run(&["--checkpoint", "latest", "--record=a.rec"]).exits_with(0);
    assert!(done.stdout().starts_with(found), "{}", done.shown());
    let replay = lab.call(["replay", "a.rec"]).done().exits_with(0);
    assert!(replay.stdout().starts_with(found), "{}", replay.shown());
    lab.file("state", "second");
    let done = run(&["--checkpoint", "state"]).exits_with(0);
    assert!(done.stdout().starts_with(found), "{}", done.shown());
    let done = run(&["--checkpoint", "nothing"]).exits_with(2);
    assert!(
        done.stderr().contains("there is no run `nothing`"),
        "{}",
        done.shown()
    );
    lab.run(guests::ANSWERS_WITH_TEXT, "x").done().exits_with(0);
    let said = run(&["--checkpoint", "latest"]).exits_with(2).stderr();
    assert!(said.contains("cannot start from the checkpoint"), "{said}");
    assert!(
        said.contains("hint: an agent makes one with `session.save`"),
        "{said}"
    );
}

#[test]
pub(crate) fn hands_over_artifacts() {
    let lab = Lab::new();
    let done = lab
        .run(guests::HANDS_OVER_ARTIFACTS, "x")
        .limit("storage-bytes=1000")
        .done()
        .exits_with(0);
    let refused: Vec<String> = done
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            format!(
                "{}: {}",
                pair[0].as_str().unwrap(),
                pair[1].as_str().unwrap().split('`').next().unwrap()
            )
        })
        .collect();
    insta::assert_debug_snapshot!(refused, @r#"
    [
        "report.md: 9 bytes",
        "report.md: it exists already: report.md",
        ": the host refused it: name: ",
        "..: the host refused it: name: ",
        "../up: the host refused it: name: ",
        "/etc/passwd: the host refused it: name: ",
        ".hidden: the host refused it: name: ",
        "a b: the host refused it: name: ",
        "a\0b: the host refused it: name: ",
        "xxxxxxxxxxxx: the host refused it: name: ",
        "bad type: the host refused it: media-type: at most 256 printable characters",
        "too large: the limit ",
        "second completion: it exists already: completion",
    ]
    "#);
    let account = lab.account();
    assert_eq!(
        std::fs::read(account.dir().join("artifacts/report.md")).unwrap(),
        b"# Report\n"
    );
    assert_eq!(
        std::fs::read_dir(account.dir().join("artifacts"))
            .unwrap()
            .count(),
        1
    );
    assert_eq!(account.audits("artifact").count(), 1);
    assert_eq!(account.audits("completed").count(), 1);
    assert_eq!(account.outcome()["completed"], "wrote a report");
}

#[test]
fn the_run_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    lab.run(guests::ANSWERS_WITH_TEXT, "x").done().exits_with(0);
    for path in [lab.path("runs"), lab.account().dir().to_owned()] {
        assert_eq!(
            path.metadata().unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            path.display()
        );
    }
}

#[test]
fn run_json_says_what_was_asked() {
    let lab = Lab::new();
    lab.run(guests::ANSWERS_WITH_TEXT, "x")
        .limit("events=7")
        .args(["--env", "A=secret"])
        .done()
        .exits_with(0);
    let account = lab.account();
    let request = account.request();
    assert_eq!(
        request["commission"],
        account.only("run_requested")["avp.commission"]
    );
    assert_eq!(request["grants"]["limits"]["events"], 7);
    assert_eq!(
        request["grants"]["env"],
        json!(["A"]),
        "names of variables, no values"
    );
    assert!(
        request["agent"]["digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert!(
        !std::fs::read_to_string(account.dir().join("events.ndjson"))
            .unwrap()
            .contains("secret")
    );
}

#[test]
fn a_run_is_shown_and_removed_by_the_beginning_of_its_id() {
    let lab = Lab::new();
    lab.run(guests::DELEGATES, "x").done().exits_with(0);
    let id = lab
        .account()
        .dir()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let done = lab.call(["runs", "show", &id[..12]]).done().exits_with(0);
    assert!(done.stdout().contains("worker"), "{}", done.shown());
    lab.call(["runs", "show", "nothing"]).done().exits_with(2);
    lab.call(["runs", "rm", &id]).done().exits_with(0);
    assert!(lab.accounts().is_empty());
    lab.call(["runs", "rm", &id]).done().exits_with(2);
    lab.call(["runs", "rm", ".."]).done().exits_with(2);
}

#[test]
fn runs_are_listed_newest_first() {
    let lab = Lab::new();
    let done = lab.call(["runs", "list"]).done().exits_with(0);
    assert_eq!(done.stdout(), "");
    lab.run(guests::ANSWERS_WITH_TEXT, "x").done().exits_with(0);
    let done = lab.call(["runs", "list"]).done().exits_with(0);
    let id = lab
        .account()
        .dir()
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert!(done.stdout().contains(&id));
}
