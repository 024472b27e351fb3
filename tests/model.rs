//! Models: granted or not, asked and answered, what goes on record, what they may cost.

use serde_json::json;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, snapshot};

/// A script in the lab, as `--model` takes it.
fn script(lab: &Lab, rules: &str) -> [&'static str; 2] {
    lab.file("s.toml", format!("version = 1\n{rules}"));
    ["--model", "scripted/s.toml"]
}

const GREETS: &str = r#"
model = "greeter-1"
[[rules]]
reply = { thinking = "A guest.", signature = "sig", text = "You said: {last_user}", usage = { input = 20, output = 7, cache-read = 5 }, cost-usd = 0.25 }
"#;

#[test]
pub(crate) fn model_answers() {
    let lab = Lab::new();
    let done = lab
        .run(guests::MODEL_ANSWERS, "hello")
        .args(script(&lab, GREETS))
        .done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/model_answers.wasm hello --model scripted/s.toml
    exit 0
    ----- stdout -----
    You said: hello
    ----- stderr -----
         asked hello
       started scripted/s.toml
          turn 1 · 20 → 7 tokens · $0.2500 · You said: hello
       stopped converged
    ✔ guests converged · 1 turn · $0.2500 · [TIME]
    run: [LAB]/runs/[SESSION]
    "#);
    let account = lab.account();
    let message = account.only("assistant_message");
    assert_eq!(message["wasm_agent.origin"], "observed");
    assert_eq!(message["avp.step"], 1);
    assert_eq!(
        message["avp.content"],
        json!([
            { "type": "thinking", "thinking": "A guest.", "signature": "sig" },
            { "type": "text", "text": "You said: hello" },
        ])
    );
    assert_eq!(
        message["avp.usage"],
        json!({ "input_tokens": 20, "output_tokens": 7, "cache_read_input_tokens": 5 })
    );
    assert_eq!(message["avp.cost_usd"], 0.25);
    assert_eq!(message["avp.cost.source"], "reported");
    assert_eq!(message["avp.provider.name"], "scripted");
    assert_eq!(message["avp.request.model"], "s.toml");
    assert_eq!(message["avp.response.model"], "greeter-1");
    assert_eq!(message["avp.response.finish_reasons"], json!(["end_turn"]));
    assert!(message["avp.response.time_to_first_chunk"].is_number());
}

#[test]
pub(crate) fn model_streams() {
    let lab = Lab::new();
    let rules = r#"
[[rules]]
times = 1
reply = { text = "Hal", error = { class = "overloaded", status = 529, retry-after-ms = 1 } }
[[rules]]
reply = { thinking = "hm", text = "Hello", chunk = 3, calls = [{ tool = "t", input = { a = "{turn}" } }] }
"#;
    let done = lab
        .run(guests::MODEL_STREAMS, "hello")
        .args(script(&lab, rules))
        .done()
        .exits_with(0);
    insta::assert_snapshot!(done.stdout(), @r#"
    Delta::Text("Hal")
    Delta::Retry("overloaded")
    Delta::Thinking("hm")
    Delta::Text("Hel")
    Delta::Text("lo")
    Delta::ToolUse(("call-1", "t"))
    Delta::ToolInput("{\"a")
    Delta::ToolInput("\":\"")
    Delta::ToolInput("1\"}")
    = Hello at step 1
    "#);
    let account = lab.account();
    assert_eq!(account.turns(), ["Hello"], "the void part is no turn");
    let retries: Vec<_> = account.audits("model_retry").collect();
    assert_eq!(retries.len(), 1);
    assert_eq!(retries[0]["class"], "overloaded");
    assert_eq!(retries[0]["status"], 529);
    assert_eq!(retries[0]["attempt"], 1);
    assert_eq!(retries[0]["wait_ms"], 1);
    assert_eq!(retries[0]["message"], "overloaded");
}

#[test]
pub(crate) fn model_uses_tools() {
    let lab = Lab::new();
    let rules = r#"
[[rules]]
when = { turn = 1, offered-tool = "shout" }
reply = { text = "Let me shout.", calls = [{ tool = "shout", input = { text = "{task}" } }, { tool = "whisper" }] }
[[rules]]
when = { tool-result-of = "whisper", last-tool-result-contains = "refused" }
reply = { calls = [{ id = "call-1", tool = "shout", input = { text = "again" } }] }
[[rules]]
when = { tool-result-of = "shout", last-tool-failed = false }
reply = { text = "It said {last_tool_result} after {task}." }
"#;
    let done = lab
        .run(guests::MODEL_USES_TOOLS, "hey")
        .args(script(&lab, rules))
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "It said AGAIN after hey.\n");
    let account = lab.account();
    let calls: Vec<_> = account
        .data("tool_invoked")
        .map(|call| (call["avp.tool.call_id"].clone(), call["avp.step"].clone()))
        .collect();
    assert_eq!(
        calls,
        [
            (json!("call-1"), json!(1)),
            (json!("call-2"), json!(1)),
            // The provider used an id twice; within a run each is there once.
            (json!("call-1_2"), json!(2)),
        ]
    );
    let origins: Vec<_> = account
        .data("tool_returned")
        .map(|result| {
            (
                result["avp.tool.call_id"].clone(),
                result["wasm_agent.origin"].clone(),
            )
        })
        .collect();
    assert_eq!(
        origins,
        [
            (json!("call-2"), json!("host")),
            (json!("call-1"), json!("claimed")),
            (json!("call-1_2"), json!("claimed")),
        ]
    );
}

#[test]
pub(crate) fn model_asks_badly() {
    let lab = Lab::new();
    let done = lab
        .run(guests::MODEL_ASKS_BADLY, "x")
        .args(script(&lab, GREETS))
        .limit("repeated-error=1000")
        .done()
        .exits_with(0);
    insta::assert_snapshot!(done.stdout(), @r#"
    nothing: Err(ModelError::Invalid("messages: must not be empty"))
    the model first: Err(ModelError::Invalid("messages[0]: the conversation begins with `user`"))
    a tool of nobody's: Err(ModelError::Invalid("tools: `rm-rf` is not among the tools of this run"))
    a model without a provider: Err(ModelError::Invalid("model: has to be `provider/model`"))
    a schema that is none: Err(ModelError::Invalid("output-schema: not valid JSON: EOF while parsing a list at line 1 column 1"))
    a provider's tool that is none: Err(ModelError::Invalid("provider-tools[0]: has to be a JSON object"))
    a frame that is not open: Err(ModelError::Invalid("frame: no sub-agent invocation `f` is open"))
    heat: Err(ModelError::Invalid("sampling.temperature: has to be between 0 and 2"))
    a result of nothing: Err(ModelError::Invalid("messages[0][0].tool-result: `c` is no open call of the message before"))
    a choice of nothing: Err(ModelError::Invalid("tool-choice: `t` is not among the tools"))
    no result: Err(ModelError::Invalid("messages[2]: call `c` of the message before has no result"))
    too much: Err(ModelError::Invalid("request: at most 16777216 bytes"))
    "#);
    let account = lab.account();
    assert_eq!(account.turns(), [""; 0], "nobody was asked");
    assert_eq!(account.audits("rejected").count(), 12);
}

#[test]
pub(crate) fn model_is_cancelled() {
    let lab = Lab::new();
    let rules = r#"
[[rules]]
reply = { thinking = "hm", text = "Hello", calls = [{ tool = "t" }, { tool = "t" }] }
"#;
    let done = lab
        .run(guests::MODEL_IS_CANCELLED, "x")
        .args(script(&lab, rules))
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "enough\n");
    let account = lab.account();
    let message = account.only("assistant_message");
    assert_eq!(message["avp.response.finish_reasons"], json!(["cancelled"]));
    assert_eq!(
        message["avp.content"],
        json!([
            { "type": "thinking", "thinking": "hm" },
            { "type": "text", "text": "Hello" },
        ])
    );
}

#[test]
fn a_reply_that_is_under_way_when_the_run_ends_is_on_record() {
    let lab = Lab::new();
    let rules = r#"
[[rules]]
reply = { text = "one two three", chunk = 4, chunk-delay-ms = 400 }
"#;
    lab.run(guests::MODEL_ANSWERS, "x")
        .args(script(&lab, rules))
        .limit("wall=600ms")
        .done()
        .exits_with(3);
    let account = lab.account();
    assert_eq!(account.turns(), ["one "]);
    assert_eq!(account.stop_reason(), "interrupted");
}

#[test]
pub(crate) fn model_is_asked_for_ever() {
    let priced = |rules: &str| format!("priced-as = \"anthropic/claude-haiku-4-5\"\n{rules}");
    let cheap =
        "[[rules]]\nreply = { text = \"x\", usage = { input = 30, output = 10 }, cost-usd = 0.1 }";
    for (limit, name, max, left) in [
        ("model-calls=3", "model-calls", 3, 0),
        ("tokens=100", "tokens", 100, 997),
        ("money=0.25", "money", 250_000, 997),
    ] {
        let lab = Lab::new();
        let done = lab
            .run(guests::MODEL_IS_ASKED_FOR_EVER, "x")
            .args(script(&lab, &priced(cheap)))
            .limit(limit)
            .done()
            .exits_with(0);
        let expected = format!(
            "3 answers, then ModelError::Limit(Limit {{ name: {name:?}, max: {max} }}), {left} calls left\n"
        );
        assert_eq!(done.stdout(), expected);
        assert_eq!(lab.account().limits_hit(), [name]);
    }
}

#[test]
fn a_limit_on_money_needs_a_price() {
    let lab = Lab::new();
    let done = lab
        .run(guests::MODEL_ANSWERS, "x")
        .args(script(&lab, "[[rules]]\nreply = { text = \"x\" }"))
        .limit("money=5")
        .done()
        .exits_with(0);
    insta::assert_snapshot!(done.stdout(), @r#"ModelError::Unsupported("nobody knows the price of `scripted/s.toml`, so the limit `money` cannot be kept; `--prices FILE` says what it costs")"#);
}

#[test]
pub(crate) fn model_asks_others() {
    let lab = Lab::new();
    lab.file(
        "other.toml",
        "version = 1\n[[rules]]\nreply = { text = 'no' }",
    );
    let models = "scripted/s.toml scripted/other.toml scripted//etc/passwd openai/gpt-x nobody/x anthropic/y";
    let done = lab
        .run(guests::MODEL_ASKS_OTHERS, models)
        .args(script(&lab, GREETS))
        .args(["--allow-model", "*/x", "--allow-model", "scripted/*"])
        .done()
        .exits_with(0);
    insta::assert_snapshot!(done.stdout(), @r#"
    scripted/s.toml: You said: hello
    scripted/other.toml: ModelError::Denied(Denied { capability: "model", subject: "scripted/other.toml", rule: "--model scripted/other.toml" })
    scripted//etc/passwd: ModelError::Denied(Denied { capability: "model", subject: "scripted//etc/passwd", rule: "--model scripted//etc/passwd" })
    openai/gpt-x: ModelError::Denied(Denied { capability: "model", subject: "openai/gpt-x", rule: "--allow-model openai/gpt-x" })
    nobody/x: ModelError::Unsupported("provider `nobody` is not known; `--provider nobody=URL` says where it is")
    anthropic/y: ModelError::Denied(Denied { capability: "model", subject: "anthropic/y", rule: "--allow-model anthropic/y" })
    "#);
    let denied: Vec<_> = lab
        .account()
        .audits("denied")
        .map(|denied| denied["subject"].clone())
        .collect();
    assert_eq!(
        denied,
        [
            json!("scripted/other.toml"),
            json!("scripted//etc/passwd"),
            json!("openai/gpt-x"),
            json!("anthropic/y")
        ]
    );
}

#[test]
fn without_a_grant_the_agent_is_not_started() {
    let commission = |lab: &Lab, model: &str| {
        let text = json!({ "schema_version": "0.1", "run_id": "r", "model": model, "prompt": "x" });
        lab.file("c.json", text.to_string());
    };
    for (model, code) in [
        ("anthropic/claude-x", "unsupported_model"),
        ("nobody/x", "unsupported_provider"),
        ("scripted/s.toml", "unsupported_model"),
    ] {
        let lab = Lab::new();
        script(&lab, GREETS);
        commission(&lab, model);
        let args = ["run", guests::MODEL_ANSWERS, "--commission", "c.json"];
        let done = lab.call(args).done().exits_with(2);
        let account = lab.account();
        assert_eq!(
            account.kinds(),
            [
                "run_requested",
                "agent_described",
                "error_occurred",
                "agent_stopped"
            ]
        );
        let error = account.only("error_occurred");
        assert_eq!(error["avp.error.code"], code);
        let message = error["avp.error.message"].as_str().unwrap();
        assert!(message.contains("--"), "{message}");
        assert!(done.stderr().contains(message), "{}", done.stderr());
    }
    let lab = Lab::new();
    snapshot!(lab.run(guests::MODEL_ANSWERS, "x").done(), @r#"
    $ wasm-agent run [GUESTS]/model_answers.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
         asked x
         error the agent asks a model, and none is named; `--model PROVIDER/MODEL` names and grants one (unsupported_model)
       stopped error
    ✖ guests not started: the agent asks a model, and none is named; `--model PROVIDER/MODEL` names and grants one · [TIME]
    run: [LAB]/runs/[SESSION]
    "#);
}

#[test]
fn a_script_that_cannot_be_used_is_said_before_anything_runs() {
    let lab = Lab::new();
    let refused = |text: Option<&str>| {
        if let Some(text) = text {
            lab.file("s.toml", text);
        }
        let done = lab
            .run(guests::MODEL_ANSWERS, "x")
            .args(["--model", "scripted/s.toml"])
            .done()
            .exits_with(2);
        done.stderr()
            .lines()
            .find(|line| line.contains("cannot"))
            .unwrap()
            .to_owned()
    };
    for (text, reason) in [
        (None, "No such file"),
        (Some("version = 2\nrules = []"), "version 2"),
        (Some("version = 1\nrules = 3"), "invalid type"),
        (
            Some("version = 1\n[[rules]]\nreply = { blocks = [{ type = 'x' }] }"),
            "blocks[0]",
        ),
        (
            Some("version = 1\n[[rules]]\nreply = { tex = 'x' }"),
            "unknown field",
        ),
    ] {
        let said = refused(text);
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn failures_are_values_with_their_class_and_on_record() {
    for (class, kind, code) in [
        ("context-limit", "ContextLimit", "context_limit"),
        ("auth", "Auth", "auth_error"),
        ("usage-limit", "UsageLimit", "unknown"),
        ("rejected", "Rejected", "unknown"),
        ("unsupported", "Unsupported", "unsupported_model"),
    ] {
        let lab = Lab::new();
        let rules = format!(
            "[[rules]]\nreply = {{ error = {{ class = \"{class}\", message = \"no\", status = 400 }} }}"
        );
        let done = lab
            .run(guests::MODEL_ANSWERS, "x")
            .args(script(&lab, &rules))
            .done()
            .exits_with(0);
        assert!(done.stdout().contains(kind), "{}", done.stdout());
        let account = lab.account();
        let error = account.only("error_occurred");
        assert_eq!(error["avp.error.code"], code);
        assert_eq!(
            error["avp.error.message"],
            "no answer of model `scripted/s.toml`: no"
        );
        assert_eq!(error["wasm_agent.origin"], "observed");
        assert_eq!(account.audits("model_retry").count(), 0);
    }
}

#[test]
fn what_does_not_pass_is_given_up() {
    let lab = Lab::new();
    let rules = r#"
[[rules]]
reply = { error = { class = "rate-limited", message = "slow down", status = 429, retry-after-ms = 1 } }
"#;
    let done = lab
        .run(guests::MODEL_ANSWERS, "x")
        .args(script(&lab, rules))
        .limit("model-attempts=3")
        .done()
        .exits_with(0);
    insta::assert_snapshot!(done.stdout(), @r#"ModelError::RateLimited(ProviderFailure { message: "slow down", status: Some(429), attempts: 3 })"#);
    let account = lab.account();
    assert_eq!(account.audits("model_retry").count(), 2);
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "rate_limit"
    );
}

#[test]
fn a_connection_that_is_lost_is_tried_again() {
    let lab = Lab::new();
    let rules = r#"
[[rules]]
times = 1
reply = { text = "half an ans", cut-off = true }
[[rules]]
reply = { text = "a whole answer" }
"#;
    let done = lab
        .run(guests::MODEL_ANSWERS, "x")
        .args(script(&lab, rules))
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "a whole answer\n");
    let account = lab.account();
    assert_eq!(account.turns(), ["a whole answer"]);
    assert_eq!(account.only_audit("model_retry")["class"], "network");
}

#[test]
fn a_silent_model_is_given_up() {
    let lab = Lab::new();
    let done = lab
        .run(guests::MODEL_ANSWERS, "x")
        .args(script(
            &lab,
            "[[rules]]\nreply = { text = \"x\", delay-ms = 60000 }",
        ))
        .args(["--limit", "model-idle=50ms", "--limit", "model-attempts=1"])
        .done()
        .exits_with(0);
    assert!(done.stdout().contains("silent"), "{}", done.stdout());
}

#[test]
fn a_conversation_no_rule_is_for_is_named() {
    let lab = Lab::new();
    let done = lab
        .run(guests::MODEL_ANSWERS, "what now?")
        .args(script(&lab, "[[rules]]\nwhen = { turn = 2 }\nreply = {}"))
        .done()
        .exits_with(0);
    insta::assert_snapshot!(done.stdout(), @r#"ModelError::Rejected(ProviderFailure { message: "no rule of the script `s.toml` applies to turn 1; the conversation ends with the user's words: what now?", status: None, attempts: 1 })"#);
}

#[test]
fn an_answer_that_does_not_end_is_cut_off() {
    let lab = Lab::new();
    let rules = format!(
        "[[rules]]\nreply = {{ text = \"{}\", chunk = 1000 }}",
        "x".repeat(20_000)
    );
    let done = lab
        .run(guests::MODEL_ANSWERS, "x")
        .args(script(&lab, &rules))
        .limit("event-bytes=4KiB")
        .done()
        .exits_with(0);
    assert!(done.stdout().contains("event-bytes"), "{}", done.stdout());
    assert_eq!(lab.account().limits_hit(), ["event-bytes"]);
    assert_eq!(lab.account().turns()[0].len(), 5000);
}
