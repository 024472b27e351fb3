//! How streams of models end, how long they may say nothing, and what of them is one call: as real servers send
//! them, in all wire formats.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, Provider};

const KEY: &str = "sk-stream-9b7d2f40c6e81a35";

/// The head of a stream that ends with the connection.
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// The head of one that ends with its last chunk.
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn body(events: &[Value]) -> String {
    let lines = events.iter().map(|event| match event.as_str() {
        Some(text) => format!("data: {text}\n\n"),
        None => format!("data: {event}\n\n"),
    });
    lines.collect()
}

fn sse(events: &[Value]) -> String {
    format!("{STREAM}{}", body(events))
}

/// A call of guest `guest` whose models are those of provider `id`, which is at `server`.
fn ask(lab: &Lab, guest: &str, id: &str, server: &Provider, more: &[&str]) -> Done {
    lab.run(guest, "hello there")
        .args(["--model", &format!("{id}/m")])
        .args(["--provider", &format!("{id}={}", server.url())])
        .args(more.iter().copied())
        .env(&format!("WASM_AGENT_SECRET_{}", id.to_uppercase()), KEY)
        .done()
}

/// What is on record of the only answer of this stream: its words and its tokens.
fn answer(id: &str, stream: &str) -> (String, Value) {
    let server = Provider::saying(stream);
    let lab = Lab::new();
    let done = ask(&lab, guests::MODEL_ANSWERS, id, &server, &[]).exits_with(0);
    assert_eq!(server.received().len(), 1, "{id}: {}", done.shown());
    let account = lab.account();
    let usage = &account.only("assistant_message")["avp.usage"];
    let tokens = json!([usage["input_tokens"], usage["output_tokens"]]);
    (done.stdout().trim_end().to_owned(), tokens)
}

mod anthropic {
    use super::*;

    pub(super) fn start() -> Value {
        json!({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 900, "output_tokens": 1}}})
    }

    pub(super) fn text(index: u64, text: &str) -> [Value; 3] {
        [
            json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}),
            json!({"type": "content_block_stop", "index": index}),
        ]
    }

    pub(super) fn reason(stop: &str, input: u64, output: u64) -> Value {
        json!({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"input_tokens": input, "output_tokens": output}})
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a literal reads better")]
fn chat(delta: Value, finish: Value, usage: Value) -> Value {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": usage})
}

#[expect(clippy::needless_pass_by_value, reason = "a literal reads better")]
fn gemini(parts: Value, finish: Value) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}],
        "usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 10, "totalTokenCount": 910},
    })
}

fn responses(items: &[Value]) -> Value {
    json!({"type": "response.completed", "response": {
        "status": "completed", "model": "m", "output": items,
        "usage": {"input_tokens": 900, "output_tokens": 10},
    }})
}

#[test]
fn a_stream_is_read_to_its_end_and_the_last_reason_counts() {
    let counted = |input: u64, output: u64| json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let words = |words: &str| json!({"content": words});
    let none = Value::Null;
    let chat_pieces = [
        chat(words("alpha "), "stop".into(), counted(900, 1)),
        chat(words("beta "), "stop".into(), counted(900, 2)),
        chat(words("gamma"), "stop".into(), counted(0, 10)),
    ];
    let mut early = vec![anthropic::start()];
    early.extend(anthropic::text(0, "alpha "));
    early.push(anthropic::reason("end_turn", 0, 2));
    early.extend(anthropic::text(1, "beta gamma"));
    early.push(anthropic::reason("end_turn", 0, 10));
    let delta = |text: &str| json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": text});
    let mut done = responses(&[]);
    done["type"] = "response.done".into();
    for (id, what, stream) in [
        (
            "gemini",
            "a reason in each event",
            sse(&[
                gemini(json!([{"text": "alpha "}]), "STOP".into()),
                gemini(json!([{"text": "beta "}]), "STOP".into()),
                gemini(json!([{"text": "gamma"}]), "STOP".into()),
            ]),
        ),
        (
            "gemini",
            "a reason before the content",
            sse(&[
                gemini(json!([]), "STOP".into()),
                gemini(json!([{"text": "alpha beta "}]), none.clone()),
                gemini(json!([{"text": "gamma"}]), none.clone()),
            ]),
        ),
        (
            "mistral",
            "a reason and usage in each event, then [DONE]",
            sse(&chat_pieces) + "data: [DONE]\n\n",
        ),
        (
            "mistral",
            "no [DONE]",
            sse(&[
                chat(words("alpha beta gamma"), none.clone(), none.clone()),
                chat(json!({}), "stop".into(), none.clone()),
                json!({"choices": [], "usage": counted(900, 10)}),
            ]),
        ),
        ("anthropic", "no message_stop", sse(&early)),
        (
            "openai",
            "response.done at the end",
            sse(&[delta("alpha "), delta("beta "), delta("gamma"), done]),
        ),
    ] {
        let (said, tokens) = answer(id, &stream);
        // The agent puts blocks on lines of their own.
        assert_eq!(said.replace('\n', ""), "alpha beta gamma", "{id}: {what}");
        assert_eq!(tokens, json!([900, 10]), "{id}: {what}");
    }
}

/// The body of a chunked answer whose last chunk is missing.
fn unended(events: &[Value]) -> String {
    let body = body(events);
    format!("{CHUNKED}{:x}\r\n{body}\r\n", body.len())
}

#[test]
fn an_end_that_is_lost_after_the_last_word_loses_nothing_and_any_other_is_asked_for_again() {
    let words = |words: &str| json!({"content": words});
    let (stop, none) = (Value::from("stop"), Value::Null);
    let whole = [
        chat(words("all of it"), none.clone(), none.clone()),
        chat(json!({}), stop.clone(), none.clone()),
    ];
    let (said, _) = answer("mistral", &unended(&whole));
    assert_eq!(said, "all of it");

    let early = [
        chat(words("the beginning"), stop.clone(), none.clone()),
        chat(words(" and more"), stop, none.clone()),
    ];
    let cut = [chat(words("the beginning"), none.clone(), none)];
    let whole = sse(&whole);
    for bad in [unended(&early), unended(&cut), sse(&cut)] {
        let whole = whole.clone();
        let server = Provider::serve(move |number, stream| {
            let answer = if number == 0 { &bad } else { &whole };
            let _ = stream.write_all(answer.as_bytes());
        });
        let lab = Lab::new();
        let done = ask(&lab, guests::MODEL_ANSWERS, "mistral", &server, &[]).exits_with(0);
        assert_eq!(done.stdout(), "all of it\n");
        assert_eq!(lab.account().only_audit("model_retry")["class"], "network");
    }
}

#[test]
fn a_server_that_keeps_the_connection_open_after_the_reason_has_answered() {
    let server = Provider::serve(|_, stream| {
        let answer = sse(&[chat(json!({"content": "hi"}), "stop".into(), Value::Null)]);
        let _ = stream.write_all(answer.as_bytes());
        std::thread::sleep(Duration::from_secs(5));
    });
    let lab = Lab::new();
    let limits = ["--limit", "model-idle=300ms"];
    let done = ask(&lab, guests::MODEL_ANSWERS, "mistral", &server, &limits).exits_with(0);
    assert_eq!(done.stdout(), "hi\n");
    assert_eq!(server.received().len(), 1);
}

/// Sends a piece every 100 ms, `times` times; false when nobody listens any more.
fn keep_alive(stream: &mut TcpStream, piece: &str, times: usize) -> bool {
    (0..times).all(|_| {
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(piece.as_bytes()).is_ok()
    })
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut said = vec![anthropic::start()];
    said.extend(anthropic::text(0, "thought long"));
    said.push(anthropic::reason("end_turn", 0, 10));
    let thinking = json!([{"text": "", "thought": true}]);
    for (id, piece, end) in [
        (
            "mistral",
            ": PROCESSING\n\n".to_owned(),
            body(&[chat(
                json!({"content": "thought long"}),
                "stop".into(),
                Value::Null,
            )]),
        ),
        (
            "anthropic",
            "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned(),
            body(&said),
        ),
        (
            "gemini",
            body(&[gemini(thinking, Value::Null)]),
            body(&[gemini(json!([{"text": "thought long"}]), "STOP".into())]),
        ),
        (
            "openai",
            "\n".to_owned(),
            body(&[responses(&[
                json!({"type": "message", "content": [{"type": "output_text", "text": "thought long"}]}),
            ])]),
        ),
    ] {
        let server = Provider::serve(move |_, stream| {
            let _ = stream.write_all(STREAM.as_bytes());
            keep_alive(stream, &piece, 25);
            let _ = stream.write_all(end.as_bytes());
        });
        let lab = Lab::new();
        // Much longer than one piece takes, much shorter than all of them do; the run's own idleness, too.
        let limits = [
            "--limit",
            "model-idle=1s",
            "--limit",
            "idle=1s",
            "--limit",
            "idle-notice=900ms",
        ];
        let done = ask(&lab, guests::MODEL_ANSWERS, id, &server, &limits).exits_with(0);
        assert_eq!(done.stdout(), "thought long\n", "{id}");
        assert_eq!(server.received().len(), 1, "{id}");
    }
}

#[test]
fn signs_of_life_are_no_answer_for_ever() {
    let server = Provider::serve(|_, stream| {
        let _ = stream.write_all(STREAM.as_bytes());
        keep_alive(stream, ": PROCESSING\n\n", 200);
    });
    let lab = Lab::new();
    let limits = ["--limit", "model-stall=1s", "--limit", "model-attempts=2"];
    let done = ask(&lab, guests::MODEL_ANSWERS, "mistral", &server, &limits).exits_with(0);
    let said = done.stdout();
    assert!(
        said.contains("ModelError::Network") && said.contains("`model-stall`"),
        "{said}"
    );
    assert_eq!(server.received().len(), 2);
}

/// Runs the agent that shouts, with a model that makes calls first and says `done` once it has their results.
/// Answers with the texts that were shouted.
fn shouted(id: &str, first: &[Value], last: &[Value]) -> Vec<String> {
    let (first, last) = (sse(first), sse(last));
    let server = Provider::serve(move |number, stream| {
        let answer = if number == 0 { &first } else { &last };
        let _ = stream.write_all(answer.as_bytes());
    });
    let lab = Lab::new();
    let done = ask(&lab, guests::MODEL_USES_TOOLS, id, &server, &[]).exits_with(0);
    assert_eq!(done.stdout(), "done\n", "{id}");
    assert_eq!(server.received().len(), 2, "{id}");
    let account = lab.account();
    account
        .data("tool_returned")
        .map(|result| {
            let text = &result["avp.tool_result"]["content"];
            text.as_str().map_or_else(
                || text[0]["text"].as_str().unwrap().to_owned(),
                str::to_owned,
            )
        })
        .collect()
}

#[test]
fn a_call_is_made_once_wherever_and_however_often_it_stands() {
    let done = chat(json!({"content": "done"}), "stop".into(), Value::Null);
    let call = |index: u64, id: &str, name: Value, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        let call = json!({"index": index, "id": id, "type": "function", "function": function});
        chat(json!({"tool_calls": [call]}), Value::Null, Value::Null)
    };
    let stop = chat(json!({}), "tool_calls".into(), Value::Null);
    let shout = Value::from("shout");
    let changing = [
        call(0, "call_aaaa1111", shout.clone(), ""),
        call(0, "call_bbbb2222", Value::Null, "{\"text\":"),
        call(0, "call_cccc3333", Value::Null, " \"one\"}"),
        stop.clone(),
    ];
    let twice = [
        call(0, "call_aaaa1111", shout.clone(), "{\"text\":\"one\"}"),
        call(1, "call_aaaa1111", shout, "{\"text\": \"one\"}"),
        stop,
    ];
    for stream in [&changing[..], &twice[..]] {
        assert_eq!(
            shouted("mistral", stream, std::slice::from_ref(&done)),
            ["ONE"]
        );
    }

    let item = |n: u64, arguments: &str| json!({"type": "function_call", "id": format!("fc_{n}"), "call_id": format!("call_number_{n}"), "name": "shout", "arguments": arguments});
    let message = json!({"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Both."}]});
    let said = json!({"type": "message", "id": "msg_2", "content": [{"type": "output_text", "text": "done"}]});
    let (one, two) = ("{\"text\":\"one\"}", "{\"text\":\"two\"}");
    for index in [None, Some(0)] {
        let mut events = vec![
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Both."}),
            json!({"type": "response.output_item.done", "item": message}),
        ];
        for (n, arguments) in [(1, one), (2, two)] {
            events.push(json!({"type": "response.output_item.added", "item": item(n, "")}));
            events.push(json!({"type": "response.function_call_arguments.delta", "item_id": format!("fc_{n}"), "delta": arguments}));
            events.push(json!({"type": "response.output_item.done", "item": item(n, arguments)}));
        }
        for event in &mut events {
            if let Some(index) = index {
                event["output_index"] = Value::from(index);
            }
        }
        events.push(responses(&[message.clone(), item(1, one), item(2, two)]));
        let end = responses(std::slice::from_ref(&said));
        assert_eq!(
            shouted("openai", &events, &[end]),
            ["ONE", "TWO"],
            "{index:?}"
        );
    }

    let part =
        json!([{"functionCall": {"id": "gm4x9d1k", "name": "shout", "args": {"text": "one"}}}]);
    let again = [
        gemini(json!([]), "STOP".into()),
        gemini(part.clone(), "STOP".into()),
        gemini(part, "STOP".into()),
    ];
    let end = gemini(json!([{"text": "done"}]), "STOP".into());
    assert_eq!(shouted("gemini", &again, &[end]), ["ONE"]);
}

#[test]
fn an_empty_reply_is_a_turn_that_was_paid_for() {
    let empty_message = [anthropic::start(), anthropic::reason("end_turn", 0, 3)];
    let streams = [
        ("gemini", vec![gemini(json!([]), "STOP".into())]),
        (
            "mistral",
            vec![chat(
                json!({}),
                "stop".into(),
                json!({"prompt_tokens": 900, "completion_tokens": 3}),
            )],
        ),
        ("anthropic", empty_message.to_vec()),
        ("openai", vec![responses(&[])]),
    ];
    for (id, events) in streams {
        let (said, tokens) = answer(id, &sse(&events));
        assert_eq!(said, "", "{id}");
        assert_eq!(tokens[0], 900, "{id}");
    }
}

#[test]
fn an_agent_asks_once_more_for_an_empty_reply_and_does_not_converge_with_none() {
    let empty = sse(&[gemini(json!([]), "STOP".into())]);
    let said = sse(&[gemini(json!([{"text": "said at last"}]), "STOP".into())]);
    for (last, code, reason, output) in [
        (said, 0, "converged", "said at last\n"),
        (empty.clone(), 1, "error", ""),
    ] {
        let empty = empty.clone();
        let server = Provider::serve(move |number, stream| {
            let answer = if number == 0 { &empty } else { &last };
            let _ = stream.write_all(answer.as_bytes());
        });
        let lab = Lab::new();
        let done = ask(&lab, crate::assistant::component(), "gemini", &server, &[]);
        assert_eq!(done.stdout(), output, "{}", done.shown());
        assert_eq!(done.code() == 0, code == 0, "{}", done.shown());
        assert_eq!(server.received().len(), 2);
        let account = lab.account();
        assert_eq!(account.stop_reason(), reason);
        let turns: Vec<&Value> = account.data("assistant_message").collect();
        assert_eq!(turns.len(), 2);
        for turn in turns {
            assert_eq!(turn["avp.usage"]["input_tokens"], 900);
        }
    }
}

#[test]
fn limits_hold_for_answers_that_are_none() {
    // Its arguments are no JSON: asked for again, and paid for each time.
    let broken = json!({"tool_calls": [{"index": 0, "id": "call_aaaa1111", "function": {"name": "shout", "arguments": "{\"text\": "}}]});
    let usage = json!({"prompt_tokens": 900, "completion_tokens": 100});
    let server = Provider::saying(sse(&[chat(broken, "tool_calls".into(), usage)]));
    let lab = Lab::new();
    ask(
        &lab,
        guests::MODEL_USES_TOOLS,
        "mistral",
        &server,
        &["--limit", "repeated-error=2"],
    );
    let account = lab.account();
    let used = account.only_audit("grants_used");
    let asked = u64::try_from(server.received().len()).unwrap();
    assert_eq!(used["peak"]["tokens"], 1000 * asked, "{used}");
}
