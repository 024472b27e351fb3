//! Providers over HTTP: what they are sent, how what they answer becomes a turn, and how bad they may be.

use std::io::Write as _;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, Provider};

const KEY: &str = "sk-provider-5e1d9c07b2f84a63";

/// The head of a stream that ends with the connection.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

fn sse(events: &[Value]) -> String {
    let events = events.iter().map(|event| format!("data: {event}\n\n"));
    format!("{STREAM}{}", events.collect::<String>())
}

/// An answer of Anthropic's, whole.
fn anthropic(text: &str) -> String {
    sse(&[
        json!({"type": "message_start", "message": {"model": "claude-haiku-4-5-20251001", "usage": {"input_tokens": 900, "cache_read_input_tokens": 100, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 200}}),
        json!({"type": "message_stop"}),
    ])
}

fn status(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Asks `model` of the provider `id`, which is at `base`.
fn ask(lab: &Lab, id: &str, base: &str, model: &str, more: &[&str]) -> Done {
    lab.run(guests::MODEL_ANSWERS, "hello there")
        .args(["--model", &format!("{id}/{model}")])
        .args(["--provider", &format!("{id}={base}")])
        .args(more.iter().copied())
        .env(&format!("WASM_AGENT_SECRET_{}", id.to_uppercase()), KEY)
        .done()
        .exits_with(0)
}

#[test]
fn each_provider_is_asked_in_its_own_way_with_exactly_one_key() {
    let chat = sse(&[
        json!({"id": "1", "model": "m-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}}]}),
        json!({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"id": "1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}),
    ]) + "data: [DONE]\n\n";
    let responses = sse(&[
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}}),
        json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "hi"}),
        json!({"type": "response.completed", "response": {"id": "r", "model": "m-1", "status": "completed", "output": [{"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}], "usage": {"input_tokens": 9, "output_tokens": 2}}}),
    ]);
    let gemini = sse(&[json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2},
        "modelVersion": "m-1",
    })]);
    for (id, answer, line, header, value) in [
        (
            "anthropic",
            anthropic("hi"),
            "POST /v1/messages HTTP/1.1",
            "x-api-key",
            KEY.to_owned(),
        ),
        (
            "openai",
            responses,
            "POST /responses HTTP/1.1",
            "authorization",
            format!("Bearer {KEY}"),
        ),
        (
            "mistral",
            chat,
            "POST /chat/completions HTTP/1.1",
            "authorization",
            format!("Bearer {KEY}"),
        ),
        (
            "gemini",
            gemini,
            "POST /v1beta/models/m:streamGenerateContent?alt=sse HTTP/1.1",
            "x-goog-api-key",
            KEY.to_owned(),
        ),
    ] {
        let server = Provider::saying(answer);
        let lab = Lab::new();
        let done = ask(&lab, id, &server.url(), "m", &[]);
        assert_eq!(done.stdout(), "hi\n", "{id}");
        let received = server.received();
        assert_eq!(received.len(), 1, "{id}");
        assert_eq!(received[0].line, line);
        assert_eq!(received[0].header(header), [value.as_str()], "{id}");
        assert_eq!(received[0].header("content-type"), ["application/json"]);
        let keys: Vec<_> = received[0]
            .headers
            .iter()
            .filter(|(_, value)| value.contains(KEY))
            .collect();
        assert_eq!(keys.len(), 1, "{id}: {keys:?}");
        assert!(received[0].body.to_string().contains("hello there"));
        let message = lab.account();
        let message = message.only("assistant_message");
        assert_eq!(message["avp.provider.name"], id);
        assert_eq!(message["wasm_agent.origin"], "observed");
        let everything =
            std::fs::read_to_string(lab.account().dir().join("events.ndjson")).unwrap();
        assert!(!everything.contains(KEY), "{id}");
    }
}

#[test]
fn what_a_turn_costs_is_worked_out() {
    let server = Provider::saying(anthropic("hi"));
    let lab = Lab::new();
    ask(
        &lab,
        "anthropic",
        &server.url(),
        "claude-haiku-4-5",
        &["--limit", "money=0.5"],
    );
    let account = lab.account();
    let message = account.only("assistant_message");
    assert_eq!(message["avp.cost.source"], "computed");
    assert_eq!(
        message["avp.usage"],
        json!({"input_tokens": 1000, "output_tokens": 200, "cache_read_input_tokens": 100})
    );
    // 900 at $1, 100 at $0.10, 200 at $5 a million.
    let cost = message["avp.cost_usd"].as_f64().unwrap();
    assert!((cost - 0.001_91).abs() < 1e-12, "{cost}");

    let table = lab.file(
        "p.csv",
        "model,input,output,cache_read,cache_write\nanthropic/claude-haiku-4-5,1000,0,1000,\n",
    );
    let lab = Lab::new();
    ask(
        &lab,
        "anthropic",
        &server.url(),
        "claude-haiku-4-5",
        &["--prices", &table],
    );
    assert_eq!(lab.account().only("assistant_message")["avp.cost_usd"], 1.0);
}

#[test]
fn without_a_key_nothing_is_sent() {
    let server = Provider::saying(anthropic("hi"));
    let lab = Lab::new();
    let grants = lab.file(
        "g.toml",
        format!(
            "version = 1\n[[providers]]\nid = 'anthropic'\nbase-url = '{}'\nsecret = 'mine'\n",
            server.url()
        ),
    );
    let run = |secret: Option<&str>| {
        let call = lab.run(guests::MODEL_ANSWERS, "hello").args([
            "--model",
            "anthropic/m",
            "--grants",
            &grants,
        ]);
        match secret {
            Some(value) => call.env("WASM_AGENT_SECRET_MINE", value),
            None => call,
        }
        .done()
        .exits_with(0)
    };
    let done = run(None);
    assert!(
        done.stdout().contains("Auth") && done.stdout().contains("secret set mine"),
        "{}",
        done.stdout()
    );
    assert_eq!(server.received().len(), 0);
    let account = lab.account();
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "auth_error"
    );
    assert_eq!(run(Some(KEY)).stdout(), "hi\n");
    assert_eq!(server.received()[0].header("x-api-key"), [KEY]);
}

#[test]
fn failures_of_providers_have_their_class() {
    let error = |kind: &str, message: &str| {
        json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
    };
    for (answer, class) in [
        (
            status(
                "401 Unauthorized",
                "",
                &error("authentication_error", "invalid x-api-key"),
            ),
            "Auth",
        ),
        (
            status("404 Not Found", "", &error("not_found_error", "model: m")),
            "Unsupported",
        ),
        (
            status(
                "400 Bad Request",
                "",
                &error(
                    "invalid_request_error",
                    "prompt is too long: 210000 tokens > 200000 maximum",
                ),
            ),
            "ContextLimit",
        ),
        (
            status(
                "400 Bad Request",
                "",
                &error("invalid_request_error", "max_tokens: wrong"),
            ),
            "Rejected",
        ),
        (
            status("302 Found", "location: http://127.0.0.1:1/\r\n", ""),
            "Rejected",
        ),
    ] {
        let server = Provider::saying(answer.clone());
        let lab = Lab::new();
        let done = ask(&lab, "anthropic", &server.url(), "m", &[]);
        assert!(
            done.stdout().contains(&format!("ModelError::{class}")),
            "{answer}\n{}",
            done.stdout()
        );
        assert_eq!(server.received().len(), 1, "{answer}");
    }
}

#[test]
fn too_many_requests_for_ever() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let server = Provider::saying(status(
        "429 Too Many Requests",
        "retry-after-ms: 5\r\n",
        body,
    ));
    let lab = Lab::new();
    let done = ask(
        &lab,
        "anthropic",
        &server.url(),
        "m",
        &["--limit", "model-attempts=4"],
    );
    assert!(done.stdout().contains("RateLimited"), "{}", done.stdout());
    assert_eq!(server.received().len(), 4);
    let account = lab.account();
    let waits: Vec<_> = account
        .audits("model_retry")
        .map(|retry| retry["wait_ms"].clone())
        .collect();
    assert_eq!(waits, [json!(5), json!(5), json!(5)]);
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "rate_limit"
    );
}

#[test]
fn bad_answers_are_failures_and_no_turns() {
    let cut = anthropic("hi");
    let cut = cut
        .split("data: {\"type\":\"message_delta\"")
        .next()
        .unwrap()
        .to_owned();
    for (answer, class, attempts) in [
        (cut, "Network", 2),
        (STREAM.to_owned(), "Network", 2),
        (format!("{STREAM}data: garbage\n\n"), "Garbled", 2),
        (format!("{STREAM}<html>busy</html>"), "Rejected", 1),
        (status("200 OK", "", "not json"), "Garbled", 2),
        (status("200 OK", "", "{}"), "Garbled", 2),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab".to_owned(),
            "Network",
            2,
        ),
        ("garbage\r\n\r\n".to_owned(), "Network", 2),
        (
            sse(&[
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}),
            ]),
            "Overloaded",
            2,
        ),
    ] {
        let server = Provider::saying(answer.clone());
        let lab = Lab::new();
        let done = ask(
            &lab,
            "anthropic",
            &server.url(),
            "m",
            &["--limit", "model-attempts=2"],
        );
        assert!(
            done.stdout().contains(&format!("ModelError::{class}")),
            "{answer}\n{}",
            done.stdout()
        );
        assert_eq!(server.received().len(), attempts, "{answer}");
        assert_eq!(lab.account().turns(), [""; 0], "{answer}");
    }
}

#[test]
fn a_line_of_a_gigabyte_is_given_up() {
    let server = Provider::serve(|_, stream| {
        let _ = stream.write_all(format!("{STREAM}data: ").as_bytes());
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..1024 {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    });
    let lab = Lab::new();
    let done = ask(
        &lab,
        "anthropic",
        &server.url(),
        "m",
        &["--limit", "model-attempts=1"],
    );
    assert!(
        done.stdout().contains("ModelError::Garbled"),
        "{}",
        done.stdout()
    );
}

#[test]
fn a_provider_that_recovers_is_asked_again() {
    let server = Provider::serve(|number, stream| {
        let answer = match number {
            0 => status("529 Overloaded", "retry-after-ms: 1\r\n", "{}"),
            1 => status("503 Unavailable", "retry-after: 0\r\n", "<html>"),
            _ => anthropic("now"),
        };
        let _ = stream.write_all(answer.as_bytes());
    });
    let lab = Lab::new();
    assert_eq!(
        ask(&lab, "anthropic", &server.url(), "m", &[]).stdout(),
        "now\n"
    );
    let account = lab.account();
    let statuses: Vec<_> = account
        .audits("model_retry")
        .map(|retry| retry["status"].clone())
        .collect();
    assert_eq!(statuses, [json!(529), json!(503)]);
}

#[test]
fn a_commission_moves_a_provider_only_where_the_operator_lets_it_and_without_the_key() {
    let server = Provider::saying(anthropic("hi"));
    let lab = Lab::new();
    let commission = |credential: Option<&str>| {
        let mut provider = json!({"id": "anthropic", "base_url": server.url()});
        if let Some(vault) = credential {
            provider["credential"] = json!({"vault": vault});
        }
        let text = json!({"schema_version": "0.1", "run_id": "r", "model": "anthropic/m", "prompt": "x", "provider": provider});
        lab.file("c.json", text.to_string())
    };
    let run = |commission: &str, more: &[&str]| {
        lab.call(["run", guests::MODEL_ANSWERS, "--commission", commission])
            .args(["--allow-model", "anthropic/*"])
            .args(more.iter().copied())
            .env("WASM_AGENT_SECRET_ANTHROPIC", KEY)
            .env("WASM_AGENT_SECRET_OTHER", "sk-other-0a9b8c7d6e5f")
            .done()
    };
    let rule = format!("POST {}/v1/messages", server.url());
    let plain = commission(None);
    let done = run(&plain, &[]).exits_with(2);
    assert!(done.stderr().contains("--allow-host"), "{}", done.stderr());
    assert_eq!(server.received().len(), 0);

    let done = run(&plain, &["--allow-host", &rule]).exits_with(0);
    assert_eq!(done.stdout(), "hi\n");
    assert_eq!(
        server.received()[0].header("x-api-key"),
        [""; 0],
        "the key stays behind"
    );

    let other = commission(Some("other"));
    let done = run(&other, &["--allow-host", &rule]).exits_with(2);
    assert!(done.stderr().contains("--secret"), "{}", done.stderr());

    let bound = format!("other@{rule}");
    run(&other, &["--allow-host", &rule, "--secret", &bound]).exits_with(0);
    let received = server.received();
    assert_eq!(received[1].header("x-api-key"), ["sk-other-0a9b8c7d6e5f"]);
}
