//! Tools of MCP servers: connected to before a run, called by the host, and none of it trusted.

mod http;
mod newest;
mod odd;
mod real;
mod replayed;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Account, Call, Done, Lab, wait_until};

pub(crate) use self::replayed::knows_a_secret;

/// The command of a server that behaves in this manner.
fn server(manner: &str) -> String {
    let program = env!("CARGO_BIN_EXE_wasm-agent");
    format!("{program} selftest --tool-server {manner}")
}

/// A turn that asks for calls, and then all of them, one after the other.
fn calls(calls: &[(&str, Value)]) -> Vec<Value> {
    let calls: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(n, (name, input))| json!([format!("c{n}"), name, input]))
        .collect();
    let mut steps = vec![json!({ "turn": calls })];
    steps.extend(calls.iter().map(|call| json!({ "call": call })));
    steps
}

fn guest<'a>(lab: &'a Lab, steps: &[Value]) -> Call<'a> {
    let prompt = Value::from(steps).to_string();
    lab.run(guests::CALLS_GRANTED_TOOLS, &prompt)
}

/// With the server `s`, which behaves as it should.
fn plain<'a>(lab: &'a Lab, steps: &[Value]) -> Call<'a> {
    guest(lab, steps).args(["--mcp".to_owned(), format!("s={}", server("plain"))])
}

/// With a grants file.
fn granted<'a>(lab: &'a Lab, table: &str, steps: &[Value]) -> Call<'a> {
    let words: Vec<_> = server("plain")
        .split(' ')
        .map(|word| format!("{word:?}"))
        .collect();
    let text = format!(
        "version = 1\n[[mcp-servers]]\nid = \"s\"\ncommand = [{}]\n{table}\n",
        words.join(", ")
    );
    let file = lab.file("grants.toml", text);
    guest(lab, steps).args(["--grants".to_owned(), file])
}

/// What was told of each step but the first.
fn told(done: &Done) -> Vec<Value> {
    done.json().as_array().unwrap()[1..].to_vec()
}

fn notices<'a>(account: &'a Account, notice: &'a str) -> Vec<&'a str> {
    account
        .audits("tool_server")
        .filter(|it| it["notice"] == notice)
        .map(|it| it["text"].as_str().unwrap())
        .collect()
}

#[test]
pub(crate) fn calls_granted_tools() {
    let lab = Lab::new();
    let mut steps = calls(&[
        ("s__echo", json!({"text": "hello"})),
        ("s__structured", json!({})),
        ("s__fail", json!({})),
    ]);
    steps.extend([json!({"list": []}), json!({"servers": []})]);
    let done = plain(&lab, &steps).done().exits_with(0);
    let told = told(&done);
    assert_eq!(told[0], json!(["ok", "hello"]));
    assert_eq!(told[1], json!(["ok", "an image", {"answer": 42}]));
    assert_eq!(told[2], json!(["error", "it failed"]));
    assert_eq!(told[3][0], json!(["s__echo", "s", true]));
    assert_eq!(
        told[4],
        json!([["s", "Status::Connected", "self-test 1", "Be quick."]])
    );

    let account = lab.account();
    let started = account.only("agent_started");
    let server = &started["avp.mcp_servers"][0];
    assert_eq!(
        (&server["id"], &server["status"]),
        (&json!("s"), &json!("connected"))
    );
    let tools = started["avp.tools"].as_array().unwrap();
    assert_eq!(tools[0]["name"], "own");
    let echo = tools.iter().find(|tool| tool["name"] == "s__echo").unwrap();
    assert_eq!(echo["avp.mcp_server_id"], "s");
    assert_eq!(echo["inputSchema"]["required"], json!(["text"]));
    for invoked in account.data("tool_invoked") {
        assert_eq!(invoked["avp.tool.dispatch_target"], "mcp_server");
        assert_eq!(invoked["avp.mcp_server_id"], "s");
    }
    let returned: Vec<_> = account.data("tool_returned").collect();
    assert_eq!(returned.len(), 3);
    for returned in &returned {
        assert_eq!(returned["wasm_agent.origin"], "observed");
    }
    assert_eq!(returned[0]["avp.tool_result"]["content"], "hello");
    assert_eq!(returned[2]["avp.tool_result"]["is_error"], true);
    assert_eq!(notices(&account, "connected"), ["self-test 1"]);
}

#[test]
fn a_call_needs_a_tool_use_and_has_one_result() {
    let lab = Lab::new();
    let echo = |id, text: &str| json!([id, "s__echo", {"text": text}]);
    let steps = [
        json!({"turn": [echo("c1", "one"), echo("c2", "two"), ["c3", "own", {}]]}),
        json!({"call": echo("made-up", "one")}),
        json!({"call": ["c1", "s__fail", {"text": "one"}]}),
        json!({"call": echo("c1", "something else")}),
        json!({"call": echo("c1", "one")}),
        json!({"call": echo("c1", "one")}),
        json!({"all": [echo("c2", "two"), echo("c2", "two")]}),
        json!({"call": ["c3", "own", {}]}),
    ];
    let done = plain(&lab, &steps).done().exits_with(0);
    let told = told(&done);
    for refused in [0, 1, 2, 4] {
        assert_eq!(told[refused][0], "no-such-call", "{told:?}");
    }
    assert_eq!(told[3], json!(["ok", "one"]));
    assert_eq!(told[5][0], json!(["ok", "two"]));
    assert_eq!(told[5][1][0], "no-such-call");
    assert_eq!(told[6], json!(["unknown", "own"]));
    assert_eq!(lab.account().data("tool_returned").count(), 3);
}

#[test]
fn calls_that_may_be_made_at_once_are_and_are_on_record_in_order() {
    let lab = Lab::new();
    // Each waits for half a second; the first is done last.
    let waits: Vec<_> = (0..8)
        .map(|n| json!([format!("c{n}"), "s__sleep", {"n": 600 - n * 50}]))
        .collect();
    let steps = [json!({ "turn": waits }), json!({ "all": waits })];
    let done = plain(&lab, &steps)
        .limit("tool-call=30s")
        .done()
        .exits_with(0);
    let answers: Vec<_> = (0..8)
        .map(|n| json!(["ok", format!("slept {}", 600 - n * 50)]))
        .collect();
    assert_eq!(told(&done), [Value::from(answers)]);
    let account = lab.account();
    let ids: Vec<_> = account
        .data("tool_returned")
        .map(|it| it["avp.tool.call_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"]);
    let progress = account.audits("progress").next().unwrap();
    assert_eq!(progress["message"], "s: a quarter");
    assert_eq!(progress["fraction"], 0.25);
}

#[test]
fn a_tool_that_is_not_granted_is_neither_shown_nor_called() {
    let lab = Lab::new();
    let mut steps = calls(&[("s__echo", json!({"text": "x"})), ("s__fail", json!({}))]);
    steps.push(json!({"list": []}));
    let done = granted(&lab, "tools = [\"ec*\"]", &steps)
        .done()
        .exits_with(0);
    assert_eq!(
        done.json()[0],
        json!(["c1"]),
        "the host says not to call it"
    );
    let told = told(&done);
    assert_eq!(told[0], json!(["ok", "x"]));
    assert_eq!(told[1], json!(["denied", "tool fail of s"]));
    assert_eq!(told[2], json!([["s__echo", "s", true]]));
    let account = lab.account();
    let denied = account.audits("denied").next().unwrap();
    assert_eq!(denied["subject"], "tool fail of s");
    let tools = account.only("agent_started")["avp.tools"]
        .as_array()
        .unwrap();
    assert_eq!(tools.len(), 2, "{tools:?}");
}

#[test]
fn arguments_have_to_match_the_tool_and_the_operator() {
    let lab = Lab::new();
    let steps = calls(&[
        ("s__echo", json!({})),
        ("s__echo", json!({"text": "rm -rf"})),
        ("s__echo", json!({"text": "ls"})),
    ]);
    let table = "arguments.echo = { properties = { text = { enum = [\"ls\"] } } }";
    let done = granted(&lab, table, &steps).done().exits_with(0);
    let told = told(&done);
    assert_eq!(told[0][0], "invalid-arguments");
    assert!(
        told[0][1].as_str().unwrap().contains("the tool's schema"),
        "{told:?}"
    );
    assert_eq!(told[1][0], "invalid-arguments");
    assert!(
        told[1][1].as_str().unwrap().contains("operator"),
        "{told:?}"
    );
    assert_eq!(told[2], json!(["ok", "ls"]));
    let account = lab.account();
    assert_eq!(account.audits("denied").count(), 1);
    let errors: Vec<_> = account
        .data("tool_returned")
        .map(|it| it["avp.tool_result"]["is_error"].as_bool().unwrap_or(false))
        .collect();
    assert_eq!(errors, [true, true, false]);
}

#[test]
fn calls_and_results_are_limited() {
    let lab = Lab::new();
    let steps = calls(&[
        ("s__big", json!({"n": 5000})),
        ("s__big", json!({"n": 100_000_000})),
        ("s__echo", json!({"text": "still there"})),
        ("s__echo", json!({"text": "once more"})),
    ]);
    let done = plain(&lab, &steps)
        .limit("tool-result-bytes=1KiB")
        .limit("tool-calls=3")
        .done()
        .exits_with(0);
    let told = told(&done);
    assert_eq!(told[0][0], "ok");
    assert_eq!(told[0][1], "1024 bytes");
    assert!(told[0][2].as_str().unwrap().contains("is cut"), "{told:?}");
    assert_eq!(told[1][0], "unavailable");
    assert!(told[1][1].as_str().unwrap().contains("16 MiB"), "{told:?}");
    assert_eq!(told[2], json!(["ok", "still there"]));
    assert_eq!(told[3], json!(["limit", "tool-calls"]));
    assert_eq!(lab.account().limits_hit(), ["tool-calls"]);
}

#[test]
fn a_server_that_fails_fails_its_calls_and_not_the_run() {
    let lab = Lab::new();
    let mut steps = calls(&[
        ("s__nonsense", json!({})),
        ("s__refuse", json!({})),
        ("s__silent", json!({})),
        ("s__change", json!({})),
        ("s__die", json!({})),
        ("s__echo", json!({"text": "x"})),
    ]);
    steps.push(json!({"servers": []}));
    let done = plain(&lab, &steps)
        .limit("tool-call=400ms")
        .done()
        .exits_with(0);
    let told = told(&done);
    assert_eq!(
        told[0],
        json!(["unavailable", "the server answered something else"])
    );
    assert_eq!(told[1], json!(["unavailable", "not today"]));
    assert_eq!(told[2], json!(["timed-out", "400"]));
    assert_eq!(told[3], json!(["ok", "changed"]));
    assert_eq!(told[4][0], "unavailable");
    assert_eq!(told[5][0], "unavailable");
    assert_eq!(told[6][0][1], "Status::Failed");
    let account = lab.account();
    assert_eq!(account.data("tool_returned").count(), 6);
    assert_eq!(notices(&account, "tools_changed").len(), 1);
    assert!(notices(&account, "stderr").contains(&"cancelled"));
}

#[test]
fn a_server_that_cannot_be_used_is_an_error_before_the_run_and_does_not_end_it() {
    let wrong = [
        ("dead", "ended before it was connected"),
        ("mute", "is not ready after 2000 ms"),
        ("many", "more tools than the limit `tools` (512)"),
    ];
    for (manner, reason) in wrong {
        let lab = Lab::new();
        let steps = [json!({"servers": []}), json!({"list": []})];
        let done = guest(&lab, &steps)
            .args(["--mcp".to_owned(), format!("s={}", server(manner))])
            .args(["--mcp".to_owned(), format!("other={}", server("plain"))])
            .limit("tool-dial=2s")
            .done()
            .exits_with(0);
        assert_eq!(done.json()[0][0][1], "Status::Failed", "{manner}");
        assert_eq!(done.json()[0][1][1], "Status::Connected", "{manner}");
        assert_eq!(done.json()[1].as_array().unwrap().len(), 12, "{manner}");
        let account = lab.account();
        assert_eq!(
            account.kinds()[..4],
            [
                "run_requested",
                "agent_described",
                "error_occurred",
                "agent_started"
            ]
        );
        let error = account.only("error_occurred");
        assert_eq!(error["avp.error.code"], "mcp_connect_failed");
        let message = error["avp.error.message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
        let servers = &account.only("agent_started")["avp.mcp_servers"];
        assert_eq!(servers[0]["status"], "failed");
    }
}

#[test]
fn a_server_that_talks_without_end_is_not_used_any_further() {
    let lab = Lab::new();
    let steps = calls(&[("s__silent", json!({})), ("s__echo", json!({"text": "x"}))]);
    let done = guest(&lab, &steps)
        .args(["--mcp".to_owned(), format!("s={}", server("flood"))])
        .limit("tool-call=60s")
        .done()
        .exits_with(0);
    let told = told(&done);
    assert_eq!(told[0][0], "unavailable", "{told:?}");
    assert_eq!(told[1][0], "unavailable", "{told:?}");
}

#[test]
fn a_server_has_a_clean_environment_and_what_it_is_granted() {
    let lab = Lab::new();
    let steps = calls(&[("s__environment", json!({}))]);
    let run = |grant: String| {
        let done = guest(&lab, &steps)
            .args(["--mcp".to_owned(), grant])
            .env("SECRET_OF_THE_HOST", "x")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .done()
            .exits_with(0);
        told(&done)[0][1].as_str().unwrap().to_owned()
    };
    assert_eq!(run(format!("s={}", server("plain"))), "HOME PATH TMPDIR");
    assert_eq!(
        run(format!("s=TZ=UTC A=b {}", server("plain"))),
        "A HOME PATH TMPDIR TZ"
    );
}

#[test]
fn a_server_ends_with_the_run_and_takes_along_what_it_started() {
    let lab = Lab::new();
    let done = plain(&lab, &calls(&[("s__parent", json!({}))]))
        .done()
        .exits_with(0);
    let pid: i32 = told(&done)[0][1].as_str().unwrap().parse().unwrap();
    wait_until("the end of the server's child", || gone(pid));
}

/// Whether there is no such process, or only its remains.
fn gone(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn a_commission_starts_only_what_was_granted_word_by_word() {
    let words: Vec<_> = server("plain").split(' ').map(str::to_owned).collect();
    let stdio = |args: &[String], env: Value| json!({"type": "stdio", "id": "c", "command": [words[0]], "args": args, "env": env});
    let right = stdio(&words[1..], json!({}));
    let longer = stdio(&[&words[1..], &["x".to_owned()][..]].concat(), json!({}));
    let env = stdio(&words[1..], json!({"LD_PRELOAD": "/tmp/x.so"}));
    for (asked, connected) in [(right, true), (longer, false), (env, false)] {
        let lab = Lab::new();
        let commission = json!({
            "schema_version": "0.1", "run_id": "r", "model": "none/none",
            "prompt": json!([{"servers": []}]).to_string(), "mcp_servers": [asked],
        });
        let file = lab.file("commission.json", commission.to_string());
        let done = lab
            .call(["run", guests::CALLS_GRANTED_TOOLS, "--commission", &file])
            .args(["--allow-command".to_owned(), server("plain")])
            .done()
            .exits_with(0);
        let status = if connected {
            "Status::Connected"
        } else {
            "Status::Failed"
        };
        assert_eq!(done.json()[0][0][1], status, "{asked}");
        let account = lab.account();
        assert_eq!(account.audits("denied").count(), usize::from(!connected));
        assert_eq!(notices(&account, "started").len(), usize::from(connected));
    }
}

#[test]
fn ids_both_sides_use_are_a_collision() {
    let lab = Lab::new();
    let commission = json!({
        "schema_version": "0.1", "run_id": "r", "model": "none/none", "prompt": "[]",
        "mcp_servers": [{"type": "http", "id": "s", "url": "https://example.com"}],
    });
    let file = lab.file("commission.json", commission.to_string());
    let done = lab
        .call(["run", guests::CALLS_GRANTED_TOOLS, "--commission", &file])
        .args(["--mcp".to_owned(), format!("s={}", server("plain"))])
        .done();
    assert_ne!(done.code(), 0);
    let account = lab.account();
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "commission_collision"
    );
    assert!(notices(&account, "started").is_empty());
}

#[test]
pub(crate) fn is_a_tool() {
    let lab = Lab::new();
    let mut steps = calls(&[
        ("is_a_tool__count", json!({"n": 1})),
        ("is_a_tool__count", json!({})),
        ("is_a_tool__look", json!({})),
        ("is_a_tool__fail", json!({})),
        ("is_a_tool__trap", json!({})),
        ("is_a_tool__loop", json!({})),
        ("is_a_tool__count", json!({"a": 1, "b": 2})),
    ]);
    steps.push(json!({"list": []}));
    let done = guest(&lab, &steps)
        .args(["--tool", guests::IS_A_TOOL])
        .env("SECRET_OF_THE_HOST", "x")
        .limit("tool-call=1s")
        .done()
        .exits_with(0);
    let told = told(&done);
    // Each call is the first one of its instance.
    let counted = json!({"counted": true});
    assert_eq!(told[0], json!(["ok", "call 1 with {\"n\":1}", counted]));
    assert_eq!(told[1], json!(["ok", "call 1 with {}", counted]));
    assert_eq!(
        told[2],
        json!(["ok", "0 variables, 0 arguments, root false, network false"])
    );
    assert_eq!(told[3], json!(["error", "that is not how to use it"]));
    assert_eq!(told[4][0], "unavailable");
    assert!(
        told[4][1].as_str().unwrap().contains("on purpose"),
        "{told:?}"
    );
    // Which of the two limits is reached first depends on the machine.
    assert!(
        ["timed-out", "unavailable"].contains(&told[5][0].as_str().unwrap()),
        "{told:?}"
    );
    assert_eq!(told[6][0], "invalid-arguments");
    assert_eq!(told[7].as_array().unwrap().len(), 5);
    assert_eq!(told[7][0], json!(["is_a_tool__count", null, false]));
    let account = lab.account();
    for invoked in account.data("tool_invoked") {
        assert_eq!(invoked["avp.tool.dispatch_target"], "local");
    }
    for returned in account.data("tool_returned") {
        assert_eq!(returned["wasm_agent.origin"], "observed");
    }
}

#[test]
fn a_tool_is_no_agent_and_an_agent_is_no_tool() {
    let lab = Lab::new();
    let done = lab.run(guests::IS_A_TOOL, "x").done();
    assert!(
        done.stderr().contains("it is a tool, not an agent"),
        "{}",
        done.shown()
    );
    assert!(
        done.stderr().contains("hint: give it to an agent"),
        "{}",
        done.shown()
    );
    let done = guest(&lab, &[])
        .args(["--tool", guests::ANSWERS_WITH_TEXT])
        .done();
    assert!(
        done.stderr().contains("cannot use the tool component"),
        "{}",
        done.shown()
    );
    assert_ne!(done.code(), 0);
}

#[test]
fn resources_and_prompts_can_be_read() {
    let lab = Lab::new();
    let steps = [
        json!({"resources": ["s"]}),
        json!({"read": ["s", "note://1"]}),
        json!({"prompts": ["s"]}),
        json!({"prompt": ["s", "greet", "Ada"]}),
        json!({"resources": ["nobody"]}),
    ];
    let done = plain(&lab, &steps).done().exits_with(0);
    assert_eq!(
        done.json(),
        json!([
            [["note://1", "one"], ["note://2", "two"]],
            [["note://1", "a note"]],
            [["greet", ["who", "tone"]]],
            [["user", ["Greet Ada."]]],
            ["unknown", "nobody"],
        ])
    );
}

#[test]
fn ctrl_c_while_connecting_ends_the_run_and_its_account() {
    let lab = Lab::new();
    let mut running = guest(&lab, &[])
        .args(["--mcp".to_owned(), format!("s={}", server("mute"))])
        .spawn();
    wait_until("the start of the server", || {
        std::fs::read_dir(lab.path("runs")).is_ok_and(|mut runs| {
            runs.any(|run| {
                std::fs::read_to_string(run.unwrap().path().join("events.ndjson"))
                    .is_ok_and(|text| text.contains("\"started\""))
            })
        })
    });
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    let account = lab.account();
    assert_eq!(account.stop_reason(), "interrupted");
    assert_eq!(
        account.only("agent_started")["avp.mcp_servers"][0]["status"],
        "failed"
    );
    crate::harness::verify(account.dir());
}

#[test]
fn a_server_that_dies_with_its_host_leaves_nothing() {
    let lab = Lab::new();
    let steps = calls(&[("s__parent", json!({})), ("s__silent", json!({}))]);
    let mut running = plain(&lab, &steps).spawn();
    let mut pid = None;
    wait_until("the first result", || {
        let Some(account) = lab.accounts().into_iter().next() else {
            return false;
        };
        pid = account.data("tool_returned").next().and_then(|it| {
            it["avp.tool_result"]["content"]
                .as_str()?
                .parse::<i32>()
                .ok()
        });
        pid.is_some()
    });
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    wait_until("the end of the server's child", || gone(pid.unwrap()));
}

#[test]
fn tools_that_were_called_are_the_tools_that_are_needed() {
    let lab = Lab::new();
    let steps = calls(&[
        ("s__echo", json!({"text": "hello"})),
        ("is_a_tool__count", json!({"n": 1})),
    ]);
    let first = plain(&lab, &steps)
        .args(["--mcp".to_owned(), format!("other={}", server("plain"))])
        .args(["--tool", guests::IS_A_TOOL])
        .done()
        .exits_with(0);
    lab.call(["policy", "suggest", "latest", "--out", "grants.toml"])
        .done()
        .exits_with(0);
    let text = std::fs::read_to_string(lab.path("grants.toml")).unwrap();
    assert!(text.contains("tools = [\"echo\"]"), "{text}");
    assert!(!text.contains("id = \"other\""), "{text}");
    let again = guest(&lab, &steps)
        .args(["--grants", "grants.toml"])
        .done()
        .exits_with(0);
    assert_eq!(told(&again), told(&first));
    lab.call(["policy", "check", "--grants", "grants.toml", "latest"])
        .done()
        .exits_with(0);
    let more = calls(&[("s__fail", json!({}))]);
    let more = guest(&lab, &more)
        .args(["--grants", "grants.toml"])
        .done()
        .exits_with(0);
    assert_eq!(told(&more)[0], json!(["denied", "tool fail of s"]));
}

#[test]
fn the_time_of_a_run_is_up_while_a_server_is_waited_for() {
    let lab = Lab::new();
    guest(&lab, &[])
        .args(["--mcp".to_owned(), format!("s={}", server("mute"))])
        .args(["--timeout", "1s"])
        .done()
        .exits_with(3);
    let account = lab.account();
    let text = std::fs::read_to_string(account.dir().join("events.ndjson")).unwrap();
    // It did not end because the server was given up.
    assert!(!text.contains("it is not ready after"), "{text}");
    assert!(
        text.contains("\"kind\":\"limit\",\"name\":\"wall\""),
        "{text}"
    );
    crate::harness::verify(account.dir());
}
