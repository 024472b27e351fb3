//! Servers that refuse: when they are asked again, without what, and what is said of those that answer
//! something else.

use std::io::Write as _;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, Provider};

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

fn answer(status: &str, headers: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn refusal(status: &str, error: &Value) -> String {
    let body = json!({ "error": error }).to_string();
    answer(status, "", "application/json", &body)
}

/// An answer of chat completions, whole.
fn chat(text: &str) -> String {
    let chunks = [
        json!({"model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}),
    ];
    let chunks = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
    format!("{STREAM}{}data: [DONE]\n\n", chunks.collect::<String>())
}

/// A server that gives these answers, the last one for ever.
fn answering(answers: Vec<String>) -> Provider {
    Provider::serve(move |number, stream| {
        let answer = answers.get(number).or(answers.last()).unwrap();
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn ask(lab: &Lab, provider: &str, base: &str, more: &[&str]) -> Done {
    lab.run(guests::MODEL_ANSWERS, "hello there")
        .args(["--model", &format!("{provider}/m")])
        .args(["--provider", &format!("{provider}={base}")])
        .args(more.iter().copied())
        .done()
        .exits_with(0)
}

#[test]
fn it_is_waited_as_long_as_the_answer_says_wherever_it_says_it() {
    let limited = "429 Too Many Requests";
    let gemini = |delay: &str| {
        refusal(
            limited,
            &json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your current quota.", "details": [
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
            ]}),
        )
    };
    let stopped =
        json!({"candidates": [{"content": {"parts": [{"text": "back"}]}, "finishReason": "STOP"}]});
    let stopped = format!("{STREAM}data: {stopped}\n\n");
    let in_stream =
        json!({"error": {"code": "rate_limit_exceeded", "message": "Please try again in 11ms."}});
    for (provider, refused, answered, wait) in [
        ("gemini", gemini("0.013s"), stopped, 13),
        (
            "local",
            refusal(limited, &json!({"message": "Please try again in 12ms."})),
            chat("back"),
            12,
        ),
        (
            "local",
            format!("{STREAM}data: {in_stream}\n\n"),
            chat("back"),
            11,
        ),
        (
            "local",
            answer(
                limited,
                "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 14ms\r\n",
                "application/json",
                "{}",
            ),
            chat("back"),
            14,
        ),
    ] {
        let server = answering(vec![refused, answered]);
        let lab = Lab::new();
        let done = ask(&lab, provider, &server.url(), &[]);
        assert_eq!(done.stdout(), "back\n", "{provider} {wait}");
        let account = lab.account();
        assert_eq!(account.only_audit("model_retry")["wait_ms"], wait);
    }

    let server = answering(vec![gemini("600s")]);
    let lab = Lab::new();
    ask(&lab, "gemini", &server.url(), &[]);
    assert_eq!(server.received().len(), 1, "nobody waits that long");
    let account = lab.account();
    let told = account.only("error_occurred").to_string();
    assert!(
        told.contains("in 600 s, and this host waits 120 s at most"),
        "{told}"
    );
}

#[test]
fn what_is_refused_is_left_out_and_asked_for_again_once() {
    let refused = refusal(
        "400 Bad Request",
        &json!({"message": "Unrecognized request argument supplied: stream_options"}),
    );
    let server = answering(vec![refused.clone(), chat("hello")]);
    let lab = Lab::new();
    // It is no attempt that counts.
    let done = ask(
        &lab,
        "local",
        &server.url(),
        &["--limit", "model-attempts=1"],
    );
    assert_eq!(done.stdout(), "hello\n");
    let sent: Vec<bool> = server
        .received()
        .iter()
        .map(|request| request.body.get("stream_options").is_some())
        .collect();
    assert_eq!(sent, [true, false]);
    let account = lab.account();
    let retry = account.only_audit("model_retry");
    assert_eq!(retry["without"], "stream_options");
    assert_eq!(retry["wait_ms"], 0);

    // A server that goes on refusing is not asked for ever.
    let server = answering(vec![refused]);
    let lab = Lab::new();
    let done = ask(&lab, "local", &server.url(), &[]);
    assert!(done.stdout().contains("Rejected"), "{}", done.stdout());
    assert_eq!(server.received().len(), 2);
}

#[test]
fn an_answer_is_what_its_first_bytes_say() {
    let error = r#"{"error":{"message":"model m does not take part","code":400}}"#;
    let whole = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let events = chat("hi");
    let events = events.split_once("\r\n\r\n").unwrap().1;
    for (kind, body, expected) in [
        ("text/event-stream", error, "model m does not take part"),
        ("text/event-stream", whole, "hi\n"),
        ("application/json", events, "hi\n"),
        ("text/plain", whole, "hi\n"),
        (
            "application/json",
            "<!DOCTYPE html><title>Sign in</title>",
            "200 OK with a web page, \\\"Sign in\\\"",
        ),
    ] {
        let server = answering(vec![answer("200 OK", "", kind, body)]);
        let lab = Lab::new();
        let done = ask(&lab, "local", &server.url(), &[]);
        assert!(
            done.stdout().contains(expected),
            "{kind}: {}",
            done.stdout()
        );
        assert_eq!(server.received().len(), 1, "{kind} {body}");
    }
}

#[test]
fn a_base_url_without_its_version_is_named() {
    let unknown = answer("404 Not Found", "", "text/plain", "404 page not found");
    // LM Studio.
    let lenient = answer(
        "200 OK",
        "",
        "application/json",
        r#"{"error":"Unexpected endpoint or method. (POST /chat/completions)"}"#,
    );
    for answer in [unknown.clone(), lenient] {
        let server = answering(vec![answer]);
        let lab = Lab::new();
        let done = ask(&lab, "local", &server.url(), &[]);
        let hint = format!("`--provider local={}/v1`", server.url());
        assert!(done.stdout().contains(&hint), "{}", done.stdout());
        assert_eq!(server.received().len(), 1);
    }
    let server = answering(vec![unknown]);
    let lab = Lab::new();
    let base = format!("{}/v1", server.url());
    let done = ask(&lab, "local", &base, &[]);
    assert!(
        done.stdout().contains("/v1/chat/completions was asked)"),
        "{}",
        done.stdout()
    );
    assert!(!done.stdout().contains("--provider"), "{}", done.stdout());
}

#[test]
fn arguments_that_do_not_parse_go_back_to_the_model() {
    let call = |arguments: &str| {
        let call = json!({"index": 0, "id": "call_aaaa1111", "type": "function", "function": {"name": "read_file", "arguments": arguments}});
        let chunks = [
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}),
        ];
        let chunks = chunks.iter().map(|chunk| format!("data: {chunk}\n\n"));
        format!("{STREAM}{}data: [DONE]\n\n", chunks.collect::<String>())
    };
    let server = answering(vec![call("{\"file_path\": \"notes.txt\",}"), chat("done")]);
    let lab = Lab::new();
    let done = lab
        .run(crate::assistant::component(), "Read notes.txt.")
        .args([
            "--model",
            "local/m",
            "--provider",
            &format!("local={}/v1", server.url()),
        ])
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "done\n");
    let received = server.received();
    assert_eq!(received.len(), 2);
    let told = received[1].body["messages"].to_string();
    assert!(
        told.contains("Error: the arguments are not a JSON object: "),
        "{told}"
    );
    let account = lab.account();
    let returned = account.only("tool_returned").to_string();
    assert!(
        returned.contains("the arguments are not a JSON object: "),
        "{returned}"
    );
}
