//! Runs with tools that are recorded, and repeated without anybody who would run them.

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use super::http::Server;
use super::{calls, guest, notices, server};
use crate::harness::{Account, Call, Done, Lab, assert_no_secret, assert_no_secret_in};
use crate::replay::{is_the_same, replayed};

/// The command of a server that is gone once `server.sh` is.
fn removable(lab: &Lab, manner: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let script = lab.file("server.sh", format!("#!/bin/sh\nexec {}\n", server(manner)));
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    script
}

fn recorded<'a>(lab: &'a Lab, steps: &[Value]) -> Call<'a> {
    let script = removable(lab, "plain");
    recording(guest(lab, steps)).args(["--mcp".to_owned(), format!("s={script}")])
}

fn recording(call: Call<'_>) -> Call<'_> {
    call.args(["--record=a.rec", "--out", "a.avp", "--format", "json"])
}

/// Removes the server and replays: the same, and nobody was started.
#[track_caller]
fn repeats_alone(lab: &Lab, first: &Done) {
    let _ = std::fs::remove_file(lab.path("server.sh"));
    for _ in 0..2 {
        is_the_same(lab, first, &replayed(lab, &[]));
    }
    for account in lab.accounts().iter().skip(1) {
        assert_eq!(account.audits("tool_server").count(), 0);
    }
}

/// What was told of each step but the first.
fn output(done: &Done) -> Vec<Value> {
    done.json()["output"].as_array().unwrap()[1..].to_vec()
}

#[test]
fn a_replay_needs_no_server() {
    let lab = Lab::new();
    let mut steps = calls(&[
        ("s__echo", json!({"text": "hello"})),
        ("s__structured", json!({})),
        ("s__fail", json!({})),
        ("s__refuse", json!({})),
        ("s__nonsense", json!({})),
        ("s__silent", json!({})),
        ("s__echo", json!({})),
        ("s__big", json!({"n": 5000})),
        ("s__die", json!({})),
        ("s__echo", json!({"text": "x"})),
        ("nobody", json!({})),
    ]);
    steps.extend([json!({"list": []}), json!({"servers": []})]);
    let first = recorded(&lab, &steps)
        .limit("tool-call=400ms")
        .limit("tool-result-bytes=1KiB")
        .done()
        .exits_with(0);
    let told = output(&first);
    let expected = [
        "ok",
        "ok",
        "error",
        "unavailable",
        "unavailable",
        "timed-out",
        "invalid-arguments",
        "ok",
        "unavailable",
        "unavailable",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told[0], expected, "{told}");
    }
    assert_eq!(told[12][0][1], "Status::Failed");
    repeats_alone(&lab, &first);
    let shown = lab
        .call(["recording", "show", "a.rec"])
        .done()
        .exits_with(0);
    assert!(shown.stdout().contains("tools.open"), "{}", shown.shown());
}

#[test]
fn calls_at_once_are_repeated_in_their_order() {
    let lab = Lab::new();
    // The first is done last.
    let waits: Vec<_> = (0..20)
        .map(|n| json!([format!("c{n}"), "s__sleep", {"n": 300 - n * 15}]))
        .collect();
    let steps = [json!({ "turn": waits }), json!({ "all": waits })];
    let first = recorded(&lab, &steps)
        .limit("tool-call=30s")
        .done()
        .exits_with(0);
    assert_eq!(output(&first)[0].as_array().unwrap().len(), 20);
    repeats_alone(&lab, &first);
}

#[test]
fn what_is_granted_counts_in_a_replay() {
    let lab = Lab::new();
    let script = removable(&lab, "plain");
    let steps = calls(&[
        ("s__echo", json!({"text": "rm"})),
        ("s__fail", json!({})),
        ("s__echo", json!({"text": "ls"})),
        ("s__echo", json!({"text": "ls"})),
        ("s__echo", json!({"text": "ls"})),
    ]);
    let file = lab.file(
        "grants.toml",
        format!(
            "version = 1\n[[mcp-servers]]\nid = \"s\"\ncommand = [{script:?}]\ntools = [\"ec*\"]\n\
             arguments.echo = {{ properties = {{ text = {{ enum = [\"ls\"] }} }} }}\n"
        ),
    );
    let first = recording(guest(&lab, &steps))
        .args(["--grants", &file])
        .limit("tool-calls=2")
        .done()
        .exits_with(0);
    let told = output(&first);
    assert_eq!(told[0][0], "invalid-arguments");
    assert_eq!(told[1], json!(["denied", "tool fail of s"]));
    assert_eq!(told[4], json!(["limit", "tool-calls"]));
    repeats_alone(&lab, &first);
    // Told of in each of them.
    for account in lab.accounts() {
        assert!(account.audits("denied").count() >= 2);
        assert_eq!(account.limits_hit(), ["tool-calls"]);
    }
}

#[test]
fn resources_and_prompts_are_repeated() {
    let lab = Lab::new();
    let steps = [
        json!({"resources": ["s"]}),
        json!({"read": ["s", "note://1"]}),
        json!({"read": ["s", "note://404"]}),
        json!({"prompts": ["s"]}),
        json!({"prompt": ["s", "greet", "Ada"]}),
        json!({"resources": ["nobody"]}),
    ];
    let first = recorded(&lab, &steps).done().exits_with(0);
    repeats_alone(&lab, &first);
}

#[test]
fn servers_that_cannot_be_used_are_repeated() {
    for manner in ["dead", "many", "mute"] {
        let lab = Lab::new();
        let script = removable(&lab, manner);
        let steps = [json!({"servers": []}), json!({"list": []})];
        let first = recording(guest(&lab, &steps))
            .args(["--mcp".to_owned(), format!("s={script}")])
            .limit("tool-dial=1s")
            .done()
            .exits_with(0);
        repeats_alone(&lab, &first);
    }
}

#[test]
fn tool_components_are_repeated_without_them_and_are_hermetic() {
    let lab = Lab::new();
    let copy = lab.path("is_a_tool.wasm");
    std::fs::copy(guests::IS_A_TOOL, &copy).unwrap();
    let steps = calls(&[
        ("is_a_tool__count", json!({"n": 1})),
        ("is_a_tool__look", json!({})),
        ("is_a_tool__fail", json!({})),
        ("is_a_tool__trap", json!({})),
        ("is_a_tool__loop", json!({})),
    ]);
    let call = |mode: &str, out: &str| {
        guest(&lab, &steps)
            .args([
                "--tool",
                "is_a_tool.wasm",
                mode,
                "--out",
                out,
                "--format",
                "json",
            ])
            .limit("cpu=100ms")
            .limit("tool-call=1m")
            .done()
            .exits_with(0)
    };
    let first = call("--record=a.rec", "a.avp");
    assert_eq!(
        output(&first)[4],
        json!(["unavailable", "limit `cpu` is reached (100 ms)"])
    );
    let hermetic = call("--hermetic", "h.avp");
    assert_eq!(
        hermetic.json()["run_digest"],
        call("--hermetic", "h.avp").json()["run_digest"]
    );
    std::fs::remove_file(copy).unwrap();
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

#[test]
fn servers_behind_a_url_are_repeated() {
    let lab = Lab::new();
    let server = Server::start();
    let steps = calls(&[("s__greet", json!({})), ("s__nothing", json!({}))]);
    let first = recording(guest(&lab, &steps))
        .args(["--mcp".to_owned(), format!("s={}", server.url("/mcp"))])
        .done()
        .exits_with(0);
    assert_eq!(output(&first)[0][0], "ok", "{}", first.shown());
    let seen = server.seen().len();
    repeats_alone(&lab, &first);
    assert_eq!(server.seen().len(), seen);
}

#[test]
fn a_component_that_is_no_tool_ends_the_replay_in_the_same_way() {
    let lab = Lab::new();
    let first = recording(guest(&lab, &[]))
        .args(["--tool", guests::ANSWERS_WITH_TEXT])
        .done();
    assert_ne!(first.code(), 0);
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

#[test]
fn a_hermetic_run_reaches_no_server() {
    let lab = Lab::new();
    let done = guest(&lab, &[])
        .args([
            "--hermetic".to_owned(),
            "--mcp".to_owned(),
            format!("s={}", server("plain")),
        ])
        .done()
        .exits_with(2);
    assert!(
        done.stderr().contains("MCP servers are granted"),
        "{}",
        done.shown()
    );
    assert!(
        done.stderr().contains("hint: `--record`"),
        "{}",
        done.shown()
    );
    // What only a commission wants is not there.
    let commission = json!({
        "schema_version": "0.1", "run_id": "r", "model": "none/none",
        "prompt": json!([{"servers": []}]).to_string(),
        "mcp_servers": [{"type": "http", "id": "c", "url": "http://127.0.0.1:9/mcp"}],
    });
    let file = lab.file("commission.json", commission.to_string());
    let done = lab
        .call([
            "run",
            guests::CALLS_GRANTED_TOOLS,
            "--hermetic",
            "--commission",
            &file,
        ])
        .done()
        .exits_with(0);
    assert_eq!(done.json()[0][0][1], "Status::Failed");
    assert!(notices(&lab.account(), "failed")[0].contains("a hermetic run"));
}

#[test]
fn another_call_is_a_difference_with_a_name() {
    let lab = Lab::new();
    recorded(&lab, &calls(&[("s__echo", json!({"text": "one"}))]))
        .done()
        .exits_with(0);
    // As if the agent had asked for something else.
    let text = std::fs::read_to_string(lab.path("a.rec")).unwrap();
    let at = text
        .lines()
        .position(|line| line.contains("\"tools.call\""))
        .unwrap();
    let lines: Vec<_> = text
        .lines()
        .enumerate()
        .map(|(n, line)| match n {
            n if n == at => line.replace("\"one\"", "\"two\""),
            _ => line.to_owned(),
        })
        .collect();
    let (end, body) = lines.split_last().unwrap();
    let mut body = body.join("\n");
    body.push('\n');
    let digest = wasm_agent::digest::Digest::of(body.as_bytes());
    let mut end: Value = serde_json::from_str(end).unwrap();
    end["end"]["lines"] = json!(digest.to_string());
    std::fs::write(lab.path("a.rec"), format!("{body}{end}\n")).unwrap();
    let done = replayed(&lab, &[]);
    assert_eq!(done.code(), 4, "{}", done.shown());
    assert!(done.stderr().contains("arguments.text"), "{}", done.shown());
}

#[test]
fn a_run_that_is_interrupted_in_the_middle_of_calls_is_repeated() {
    let lab = Lab::new();
    let waits: Vec<_> = (0..4)
        .map(|n| json!([format!("c{n}"), "s__sleep", {"n": 10 + n * 1_000_000}]))
        .collect();
    let steps = [json!({ "turn": waits }), json!({ "all": waits })];
    let first = recorded(&lab, &steps)
        .limit("tool-call=10m")
        .limit("wall=3s")
        .done();
    assert_eq!(first.json()["ended"]["kind"], "limit", "{}", first.shown());
    let _ = std::fs::remove_file(lab.path("server.sh"));
    let again = replayed(&lab, &[]);
    assert_eq!(again.code(), first.code(), "{}", again.shown());
    assert_eq!(first.json()["ended"], again.json()["ended"]);
    let read = |name| std::fs::read(lab.path(name)).unwrap();
    assert_eq!(read("a.avp"), read("b.avp"), "the trajectory");
}

/// Numbers of the calls of tools in the recording of the only run.
fn calls_of_tools(lab: &Lab) -> Vec<u64> {
    calls_of_tools_in(&lab.account())
}

fn calls_of_tools_in(account: &Account) -> Vec<u64> {
    let text = std::fs::read_to_string(account.dir().join("recording.ndjson")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["call"] == "tools.call")
        .map(|line| line["n"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_run_that_goes_on_reaches_its_server_when_it_is_needed() {
    let echo = |text: &str| ("s__echo", json!({ "text": text }));
    let steps = calls(&[echo("one"), echo("two"), echo("three")]);
    // It may be gone, or another one, by then.
    let gone = json!(["unavailable", "the server has no tool `echo` any more"]);
    for (manner, told) in [("plain", json!(["ok", "two"])), ("many", gone)] {
        let lab = Lab::new();
        let script = removable(&lab, "plain");
        guest(&lab, &steps)
            .args([
                "--record".to_owned(),
                "--mcp".to_owned(),
                format!("s={script}"),
            ])
            .done()
            .exits_with(0);
        let at = calls_of_tools(&lab)[1].to_string();
        removable(&lab, manner);
        let done = lab
            .call(["fork", "latest", "--at", &at, "--format", "json"])
            .done()
            .exits_with(0);
        let output = output(&done);
        assert_eq!(output[0], json!(["ok", "one"]), "of the recording");
        assert_eq!(output[1], told);
        let forked = lab.accounts().pop().unwrap();
        assert_eq!(notices(&forked, "started").len(), 1, "{manner}");
        // What is not asked for is not reached.
        let after = (calls_of_tools_in(&forked).last().unwrap() + 1).to_string();
        let run = forked
            .dir()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        lab.call(["fork", &run, "--at", &after])
            .done()
            .exits_with(0);
        let last = lab.accounts().pop().unwrap();
        assert_eq!(notices(&last, "started").len(), 0, "{manner}");
    }
}

#[test]
fn a_call_that_was_under_way_is_in_doubt() {
    let lab = Lab::new();
    let steps = calls(&[
        ("s__echo", json!({"text": "one"})),
        ("s__sleep", json!({"n": 60_000})),
    ]);
    let script = removable(&lab, "plain");
    guest(&lab, &steps)
        .args([
            "--record".to_owned(),
            "--mcp".to_owned(),
            format!("s={script}"),
        ])
        .limit("wall=2s")
        .limit("tool-call=5m")
        .done();
    let resume = |policy: &str| {
        lab.call([
            "run",
            "--resume",
            "latest",
            "--in-doubt",
            policy,
            "--format",
            "json",
        ])
        .done()
    };
    let done = resume("stop");
    assert!(done.stderr().contains("`tools.call`"), "{}", done.shown());
    let done = resume("tell").exits_with(0);
    let told = output(&done);
    assert_eq!(told[0], json!(["ok", "one"]));
    assert!(
        told[1][1].as_str().unwrap().contains("is not known"),
        "{told:?}"
    );
}

const KEY: &str = "hunter22/correct+horse~";

#[test]
pub(crate) fn knows_a_secret() {
    for leaks in ["block", "redact", "warn"] {
        for task in ["go", "answer"] {
            let lab = Lab::new();
            lab.file("in/key", KEY);
            lab.folder("work");
            let script = removable(&lab, "plain");
            let file = lab.file(
                "grants.toml",
                format!(
                    "version = 1\n[[secrets]]\nname = 'github'\nhost = 'example.org'\nenv = 'KEY'\n\
                     [[mcp-servers]]\nid = \"s\"\ncommand = [{script:?}]\n"
                ),
            );
            let first = recording(lab.run(guests::KNOWS_A_SECRET, task))
                .args(["--grants", &file, "--leaks", leaks])
                .args(["--dir", "in::/in", "--dir", "work::/work:cow"])
                .env("WASM_AGENT_SECRET_GITHUB", KEY)
                .done();
            let withheld = leaks == "block" && task == "answer";
            assert_eq!(first.code(), i32::from(withheld), "{}", first.shown());
            if task == "go" {
                let told = &first.json()["output"];
                assert_eq!(told[0], 47, "a placeholder");
                let secret = &told[2];
                for channel in ["turn", "progress", "artifact", "checkpoint", "file"] {
                    assert_eq!(told[1][channel], true, "{channel}");
                    assert_eq!(
                        secret[channel],
                        leaks != "block",
                        "{leaks}: {channel} {told}"
                    );
                }
            }
            for name in ["a.rec", "a.avp"] {
                let text = std::fs::read(lab.path(name)).unwrap();
                assert_no_secret_in(name, &text, KEY);
                assert!(String::from_utf8(text).unwrap().contains("github"));
            }
            if leaks != "warn" {
                assert!(assert_no_secret(&lab.path("runs"), KEY) > 1);
            }
            repeats_alone(&lab, &first);
        }
    }
}

#[test]
fn a_secret_in_what_the_agent_is_given_is_not_recorded() {
    let lab = Lab::new();
    let run = |task: &str, env: &str| {
        lab.run(guests::ANSWERS_WITH_TEXT, task)
            .args([
                "--record=a.rec",
                "--secret",
                "github@example.org",
                "--env",
                env,
            ])
            .env("WASM_AGENT_SECRET_GITHUB", KEY)
            .done()
    };
    for done in [
        run(&format!("use {KEY}"), "A=b"),
        run("x", &format!("A={KEY}")),
    ] {
        assert_eq!(done.code(), 2, "{}", done.shown());
        assert!(
            done.stderr().contains("cannot record this run: a secret"),
            "{}",
            done.shown()
        );
    }
    assert!(!lab.path("a.rec").exists());
    assert_eq!(lab.accounts().len(), 0);
    run("x", "A=b").exits_with(0);
}
