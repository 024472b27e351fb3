//! The example `assistant` as AVP's harness drives it: our own form of the cases of its public suite, with
//! a scripted provider on loopback. Each trajectory has to pass the judge, too, and rebuild what the
//! provider was told; the key may be nowhere.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::harness::{Account, Anthropic, Lab, Received, verify};

const MODEL: &str = "anthropic/claude-haiku-4-5-20251001";
const TRIVIAL: &str = "Reply with exactly the word DONE and nothing else.";
const WRITE: &str = "Use your file-writing tool to create a file named avp_roundtrip.txt containing \
                     exactly the text OK. After the tool has run, reply with the single word DONE.";
const DELEGATE: &str = "Delegate to a subagent: ask it to reply with exactly the word PONG. Wait for the \
                        subagent to report back, then tell me the single word it replied with.";
/// The key, which nobody but the provider may see.
const KEY: &str = "sk-conformance-7f3a91c2e8d44b06";

/// The component, built once.
pub(crate) fn component() -> &'static str {
    static COMPONENT: OnceLock<PathBuf> = OnceLock::new();
    let path = COMPONENT.get_or_init(|| {
        let project = example("");
        let lab = Lab::new();
        let build = lab.call(["build".to_owned(), project.to_str().unwrap().to_owned()]);
        let done = build.toolchain().done().exits_with(0);
        PathBuf::from(done.stdout().trim())
    });
    path.to_str().unwrap()
}

pub(crate) fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples/assistant")
        .join(file)
}

/// What a case leaves behind.
struct Judged {
    lab: Lab,
    account: Account,
    received: Vec<Received>,
}

impl Judged {
    fn started(&self) -> &Value {
        self.account.only("agent_started")
    }

    fn reason(&self) -> &Value {
        &self.account.only("agent_stopped")["avp.reason"]
    }

    #[track_caller]
    fn converged(self) -> Judged {
        assert_eq!(self.reason(), "converged", "{:?}", self.account.kinds());
        assert_eq!(self.account.data("error_occurred").count(), 0);
        self
    }

    /// It stopped with this error before the model was asked.
    #[track_caller]
    fn failed_fast(self, code: &str) {
        assert_eq!(self.account.only("error_occurred")["avp.error.code"], code);
        assert_eq!(self.reason(), "error");
        assert_eq!(self.account.data("assistant_message").count(), 0);
        assert_eq!(self.received.len(), 0, "the provider was not asked");
    }
}

/// Runs a commission that is the trivial one with these changes.
#[expect(clippy::needless_pass_by_value, reason = "a literal reads better")]
fn case(changes: Value) -> Judged {
    case_with(&changes, &[])
}

fn case_with(changes: &Value, grants: &[&str]) -> Judged {
    let lab = Lab::new();
    lab.folder("ws");
    let server = Anthropic::serve(answer);
    let mut commission = json!({
        "schema_version": "0.1",
        "run_id": "case",
        "model": MODEL,
        "prompt": TRIVIAL,
        "supervisor": {"name": "conformance", "version": "0.1"},
    });
    for (key, value) in changes.as_object().unwrap() {
        commission[key] = value.clone();
    }
    lab.file("c.json", commission.to_string());
    let call = lab
        .call(["avp", component(), "--dir", "ws:rw"])
        .args([
            "--allow-model",
            "anthropic/*",
            "--provider",
            &server.provider(),
        ])
        .args(grants.iter().copied())
        .args(["--", "run", "--commission", "c.json", "--out", "t.ndjson"])
        .env("WASM_AGENT_SECRET_ANTHROPIC", KEY);
    call.done().exits_with(0);
    verify(&lab.path("t.ndjson"));
    let judged = Judged {
        account: lab.account(),
        received: server.received(),
        lab,
    };
    no_file_has_the_key(judged.lab.path("").as_path());
    history_rebuilds(&judged);
    judged
}

/// What the model says: a look at the last message, and at what it is about.
fn answer(request: &Value) -> Vec<Value> {
    let text = |text: &str| vec![json!({"type": "text", "text": text})];
    let call = |id: &str, name: &str, input: Value| {
        vec![
            json!({"type": "text", "text": "I will."}),
            json!({"type": "tool_use", "id": id, "name": name, "input": input}),
        ]
    };
    let messages = request["messages"].as_array().unwrap();
    let task = words(&messages[0]);
    if messages.len() > 1 {
        return match result(messages.last().unwrap()) {
            Some(word) if task.contains("Delegate") => text(&word),
            _ => text("DONE"),
        };
    }
    match task.as_str() {
        task if task.contains("file-writing tool") => call(
            "toolu_1",
            "write_file",
            json!({"file_path": "avp_roundtrip.txt", "content": "OK"}),
        ),
        task if task.contains("Delegate") => call(
            "toolu_2",
            "task",
            json!({"description": "say PONG", "prompt": "Reply with exactly the word PONG."}),
        ),
        task if task.contains("PONG") => text("PONG"),
        task if task.contains("echo") => call("toolu_3", "avptest__echo", json!({"text": "hello"})),
        _ => text("DONE"),
    }
}

/// The text of a message, whichever way it is written.
fn words(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        content => (content.as_array().unwrap().iter())
            .filter_map(|block| block["text"].as_str())
            .collect(),
    }
}

/// The text of its last tool result.
fn result(message: &Value) -> Option<String> {
    let block =
        (message["content"].as_array()?.iter()).rfind(|block| block["type"] == "tool_result")?;
    Some(match &block["content"] {
        Value::String(text) => text.clone(),
        content => words(&json!({"content": content})),
    })
}

/// A byte search over everything the run left behind.
fn no_file_has_the_key(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            no_file_has_the_key(&path);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes());
            assert!(!found, "the key is in {}", path.display());
        }
    }
}

/// The agent's own turns and their results, read from the trajectory, are what the provider was told.
fn history_rebuilds(judged: &Judged) {
    for request in &judged.received {
        assert_eq!(request.line, "POST /v1/messages HTTP/1.1");
        assert!(request.header("authorization").is_empty());
    }
    let own: Vec<&Value> = (judged.received.iter())
        .map(|request| &request.body["messages"])
        .filter(|messages| !words(&messages[0]).starts_with("Reply with exactly the word PONG"))
        .collect();
    let Some(last) = own.last() else {
        return;
    };
    let agent = &judged.started()["span_id"];
    let turns: Vec<&Value> = (judged.account.data("assistant_message"))
        .filter(|turn| turn["parent_span_id"] == *agent)
        .map(|turn| &turn["avp.content"])
        .collect();
    let told: Vec<&Value> = (last.as_array().unwrap().iter())
        .filter(|message| message["role"] == "assistant")
        .map(|message| &message["content"])
        .collect();
    assert_eq!(turns.len(), told.len() + 1, "the last turn is the answer");
    for (turn, told) in turns.iter().zip(told) {
        for (turn, told) in turn
            .as_array()
            .unwrap()
            .iter()
            .zip(told.as_array().unwrap())
        {
            for key in ["type", "text", "id", "name", "input"] {
                assert_eq!(turn[key], told[key]);
            }
        }
    }
    let results: Vec<String> = (judged.account.data("tool_returned"))
        .map(|event| words(&event["avp.tool_result"]))
        .collect();
    let told: Vec<String> = last.as_array().unwrap().iter().filter_map(result).collect();
    for text in told {
        assert!(results.contains(&text), "{text} is not in {results:?}");
    }
}

#[test]
fn usage_and_cost_are_in_the_turn() {
    let judged = case(json!({})).converged();
    let turn = judged.account.only("assistant_message");
    assert_eq!(turn["avp.usage"]["input_tokens"], 100);
    assert_eq!(turn["avp.usage"]["output_tokens"], 20);
    // A dollar a million in, five out.
    let cost = turn["avp.cost_usd"].as_f64().unwrap();
    assert!((cost - 0.0002).abs() < 1e-9, "{cost}");
    assert_eq!(turn["avp.cost.source"], "computed");
}

#[test]
fn text_is_in_the_turn() {
    let judged = case(json!({})).converged();
    let turn = judged.account.only("assistant_message");
    assert_eq!(
        turn["avp.content"],
        json!([{"type": "text", "text": "DONE"}])
    );
    assert_eq!(judged.account.only("agent_stopped")["avp.output"], "DONE");
}

#[test]
fn a_version_pin_that_fits_is_none() {
    case(json!({"agent_versions": {"assistant": "0.1.0", "another": "9.9.9"}})).converged();
}

#[test]
fn a_version_pin_that_does_not_fit_fails_fast() {
    case(json!({"agent_versions": {"assistant": "0.0.0-other"}}))
        .failed_fast("unsupported_agent_version");
}

#[test]
fn an_allow_list_for_another_agent_fails_fast() {
    case(json!({"enabled_builtin_tools": {"another": []}})).failed_fast("commission_collision");
}

#[test]
fn tools_are_published() {
    let judged = case(json!({})).converged();
    let names: Vec<&str> = (judged.started()["avp.tools"].as_array().unwrap().iter())
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "read_file",
            "list_dir",
            "grep_files",
            "write_file",
            "edit_file",
            "task",
            "skill"
        ]
    );
    assert_eq!(judged.started()["avp.subagents"][0]["name"], "explorer");
}

#[test]
fn an_empty_allow_list_hides_all_tools() {
    let judged = case(json!({"enabled_builtin_tools": {"assistant": []}})).converged();
    assert_eq!(judged.started()["avp.tools"], json!([]));
    let offered = &judged.received[0].body["tools"];
    assert!(offered.is_null() || *offered == json!([]), "{offered}");
}

#[test]
fn an_allow_list_with_an_unknown_tool_fails_fast() {
    case(json!({"enabled_builtin_tools": {"assistant": ["no-such-tool"]}}))
        .failed_fast("commission_collision");
}

#[test]
fn a_sub_agents_frame_closes() {
    let judged = case(json!({"prompt": DELEGATE})).converged();
    let kinds = judged.account.kinds();
    assert_eq!(
        kinds[3..],
        [
            "assistant_message",
            "tool_invoked",
            "subagent_invoked",
            "assistant_message",
            "subagent_returned",
            "tool_returned",
            "assistant_message",
            "agent_stopped"
        ]
    );
    let returned = judged.account.only("subagent_returned");
    assert_eq!(returned["avp.subagent.reason"], "converged");
    assert_eq!(returned["avp.subagent.result.text"], "PONG");
    assert_eq!(judged.account.only("agent_stopped")["avp.output"], "PONG");
    let turns: Vec<&Value> = judged.account.data("assistant_message").collect();
    assert_eq!(
        turns[1]["parent_span_id"], returned["span_id"],
        "its turn is in its frame"
    );
}

#[test]
fn a_trivial_task_converges() {
    let judged = case(json!({})).converged();
    assert_eq!(
        judged.account.kinds(),
        [
            "run_requested",
            "agent_described",
            "agent_started",
            "assistant_message",
            "agent_stopped"
        ]
    );
}

#[test]
fn a_commissioned_server_is_connected() {
    let command = [
        env!("CARGO_BIN_EXE_wasm-agent"),
        "selftest",
        "--tool-server",
        "plain",
    ];
    let server = json!([{"type": "stdio", "id": "avptest", "command": command}]);
    let judged = case_with(
        &json!({"mcp_servers": server, "prompt": "Use echo."}),
        &["--allow-command", &command.join(" ")],
    )
    .converged();
    let listed = &judged.started()["avp.mcp_servers"][0];
    assert_eq!(
        (&listed["id"], &listed["status"]),
        (&json!("avptest"), &json!("connected"))
    );
    let invoked = judged.account.only("tool_invoked");
    assert_eq!(invoked["avp.tool.dispatch_target"], "mcp_server");
    assert_eq!(invoked["avp.mcp_server_id"], "avptest");
    let returned = judged.account.only("tool_returned");
    assert_eq!(words(&returned["avp.tool_result"]), "hello");
}

#[test]
fn the_descriptor_is_in_the_trajectory() {
    let judged = case(json!({})).converged();
    let described = &judged.account.only("agent_described")["avp.descriptor"];
    assert_eq!(described["spec_version"], "0.1");
    let lab = Lab::new();
    let told = lab
        .call(["avp", component(), "describe"])
        .done()
        .exits_with(0);
    assert_eq!(*described, told.json());
}

#[test]
fn the_prelude_opens_the_trajectory() {
    let judged = case(json!({})).converged();
    let kinds = judged.account.kinds();
    assert_eq!(
        kinds[..3],
        ["run_requested", "agent_described", "agent_started"]
    );
    assert!(
        judged
            .account
            .events()
            .all(|event| event["source"] == "avp://agent")
    );
}

#[test]
fn the_commission_is_in_the_trajectory() {
    let judged = case(json!({"run_id": "snapshot"})).converged();
    let requested = judged.account.only("run_requested");
    assert_eq!(requested["avp.supervisor.name"], "conformance");
    let commission: Value =
        serde_json::from_slice(&std::fs::read(judged.lab.path("c.json")).unwrap()).unwrap();
    assert_eq!(requested["avp.commission"], commission);
}

#[test]
fn credentials_stay_handles() {
    let provider = json!({"id": "anthropic", "credential": {"vault": "anthropic"}});
    let judged = case(json!({"provider": provider})).converged();
    assert_eq!(
        judged.received[0].header("x-api-key"),
        [KEY],
        "the value goes here alone"
    );
    assert_eq!(
        judged.account.only("run_requested")["avp.commission"]["provider"],
        provider
    );
}

#[test]
fn a_tool_makes_the_round_trip() {
    let judged = case(json!({"prompt": WRITE})).converged();
    let invoked = judged.account.only("tool_invoked");
    assert_eq!(invoked["avp.tool.dispatch_target"], "local");
    let returned = judged.account.only("tool_returned");
    assert_eq!(returned["parent_span_id"], invoked["span_id"]);
    let written = std::fs::read_to_string(judged.lab.path("ws/avp_roundtrip.txt")).unwrap();
    assert_eq!(written, "OK");
}

#[test]
fn the_demonstration_runs_without_a_network() {
    let lab = Lab::new();
    for file in ["notes/monday.md", "notes/tuesday.md"] {
        lab.file(
            &format!("demo/{file}"),
            std::fs::read(example("demo").join(file)).unwrap(),
        );
    }
    let script = format!("scripted/{}", example("demo.toml").display());
    let done = lab
        .run(component(), "Plan my day.")
        .args(["--model", &script, "--dir", "demo:cow"])
        .done()
        .exits_with(0);
    assert!(
        done.stdout().starts_with("Send the invoice first"),
        "{}",
        done.shown()
    );
    let account = lab.account();
    assert_eq!(account.data("assistant_message").count(), 6);
    assert_eq!(account.data("tool_returned").count(), 6);
    assert!(!lab.path("demo/plan.md").exists(), "until it is applied");
    lab.call(["apply", "latest"]).done().exits_with(0);
    assert!(lab.path("demo/plan.md").exists());

    // Without the directory it says what is missing.
    let done = lab
        .run(component(), "Plan my day.")
        .args(["--model", &script])
        .done();
    assert!(
        done.exits_with(0)
            .stdout()
            .contains("is in no directory granted")
    );
}

/// Runs a commission with a script, and gives its account.
fn scripted(changes: &Value, rules: &str, args: &[&str], code: i32) -> (Lab, Account) {
    let lab = Lab::new();
    lab.file("s.toml", format!("version = 1\n{rules}"));
    let mut commission = json!({
        "schema_version": "0.1", "run_id": "case", "model": MODEL, "prompt": "Count.",
    });
    for (key, value) in changes.as_object().unwrap() {
        commission[key] = value.clone();
    }
    lab.file("c.json", commission.to_string());
    lab.call(["run", component(), "--commission", "c.json"])
        .args(["--model", "scripted/s.toml"])
        .args(args.iter().copied())
        .done()
        .exits_with(code);
    let account = lab.account();
    (lab, account)
}

#[test]
fn an_answer_is_repaired_until_it_matches() {
    let schema = json!({"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}});
    let (_lab, account) = scripted(
        &json!({"output_schema": schema}),
        r#"
        [[rules]]
        when = { turn = 1, wants-schema = true }
        reply = { text = "Three." }
        [[rules]]
        when = { last-user-contains = "is not a JSON document" }
        reply = { text = '{"count": "3"}' }
        [[rules]]
        when = { last-user-contains = "`/count` is not of type `integer`" }
        reply = { text = '{"count": 3}' }
        "#,
        &["--require", "output-schema", "--require", "complete"],
        0,
    );
    assert_eq!(
        account.only("agent_stopped")["avp.output"],
        json!({"count": 3})
    );
    assert_eq!(account.data("assistant_message").count(), 3);
}

#[test]
fn skills_of_the_commission_are_read() {
    let skill = json!({"id": "counting", "files": {
        "SKILL.md": "---\nname: counting\ndescription: Counts things.\n---\nCount on your fingers.",
    }});
    let (_lab, account) = scripted(
        &json!({"skills": [skill]}),
        r#"
        [[rules]]
        when = { turn = 1, system-contains = "- counting: Counts things." }
        reply = { calls = [{ tool = "skill", input = { name = "counting" } }] }
        [[rules]]
        when = { last-tool-result-contains = "Count on your fingers." }
        reply = { text = "Ten." }
        "#,
        &[],
        0,
    );
    assert_eq!(account.only("agent_stopped")["avp.output"], "Ten.");
}

#[test]
fn a_limit_on_model_calls_ends_it() {
    let (_lab, account) = scripted(
        &json!({}),
        r#"
        [[rules]]
        reply = { text = "Again.", calls = [{ tool = "list_dir", input = { dir_path = "{turn}" } }] }
        "#,
        &["--limit", "model-calls=3"],
        1,
    );
    assert_eq!(account.data("assistant_message").count(), 3);
    assert_eq!(account.only("agent_stopped")["avp.reason"], "abandoned");
}

#[test]
fn a_tool_that_is_not_there_is_answered() {
    let (_lab, account) = scripted(
        &json!({}),
        r#"
        [[rules]]
        when = { turn = 1 }
        reply = { calls = [{ tool = "launch" }, { tool = "list_dir", input = { dir_path = "" } }] }
        [[rules]]
        reply = { text = "{last_tool_result}" }
        "#,
        &[],
        0,
    );
    let results: Vec<&Value> = account.data("tool_returned").collect();
    assert_eq!(results.len(), 2);
    assert!(
        results
            .iter()
            .all(|result| result["avp.tool_result"]["is_error"] == true)
    );
}

#[test]
fn a_refusal_is_one() {
    let (_lab, account) = scripted(
        &json!({}),
        r#"
        [[rules]]
        reply = { refusal = "I would rather not." }
        "#,
        &[],
        1,
    );
    assert_eq!(account.only("agent_stopped")["avp.reason"], "refused");
}
