use proptest::prelude::*;
use serde_json::{Value, json};

use super::Responses;
use crate::model::testing::*;
use crate::model::wire::{Class, ServerEvent, Stage, Wire};
use crate::model::{Delta, Message, Request, Sampling, StopCause, ToolChoice};

const RESPONSES: Responses = Responses;

#[test]
fn a_request_of_words() {
    let request = hello("gpt-4.1");
    let outgoing = RESPONSES.outgoing(&endpoint("openai"), &request).unwrap();
    assert_eq!(outgoing.url, "https://example.test/v1/responses");
    insta::assert_snapshot!(sent(&RESPONSES, "openai", &request), @r#"
    {
      "model": "gpt-4.1",
      "instructions": "Be brief.",
      "input": [
        {
          "type": "message",
          "role": "user",
          "content": [
            {
              "type": "input_text",
              "text": "Hello"
            }
          ]
        }
      ],
      "stream": true,
      "store": false,
      "max_output_tokens": 1024
    }
    "#);
}

#[test]
fn a_request_with_tools_and_their_results() {
    insta::assert_snapshot!(sent(&RESPONSES, "openai", &with_tools("gpt-5")), @r#"
    {
      "model": "gpt-5",
      "instructions": "Be brief.",
      "input": [
        {
          "type": "message",
          "role": "user",
          "content": [
            {
              "type": "input_text",
              "text": "Weather in Paris and Rome?"
            }
          ]
        },
        {
          "type": "message",
          "role": "assistant",
          "content": [
            {
              "type": "output_text",
              "text": "I look."
            }
          ]
        },
        {
          "type": "function_call",
          "call_id": "call_paris1",
          "name": "weather",
          "arguments": "{\"city\":\"Paris\"}"
        },
        {
          "type": "function_call",
          "call_id": "call_rome22",
          "name": "weather",
          "arguments": "{\"city\":\"Rome\"}"
        },
        {
          "type": "function_call_output",
          "call_id": "call_paris1",
          "output": "12 degrees"
        },
        {
          "type": "function_call_output",
          "call_id": "call_rome22",
          "output": "Error: no such city"
        },
        {
          "type": "message",
          "role": "user",
          "content": [
            {
              "type": "input_text",
              "text": "In Celsius, please."
            }
          ]
        }
      ],
      "stream": true,
      "store": false,
      "include": [
        "reasoning.encrypted_content"
      ],
      "tools": [
        {
          "type": "function",
          "name": "weather",
          "description": "The weather of a city.",
          "parameters": {
            "type": "object",
            "properties": {
              "city": {
                "type": "string"
              }
            },
            "required": [
              "city"
            ]
          },
          "strict": false
        },
        {
          "type": "function",
          "name": "now",
          "parameters": {
            "type": "object",
            "properties": {}
          },
          "strict": false
        }
      ],
      "max_output_tokens": 1024
    }
    "#);
}

#[test]
fn a_request_with_media() {
    insta::assert_snapshot!(sent(&RESPONSES, "openai", &with_media("gpt-4.1")), @r#"
    {
      "model": "gpt-4.1",
      "instructions": "Be brief.",
      "input": [
        {
          "type": "message",
          "role": "user",
          "content": [
            {
              "type": "input_text",
              "text": "What is this?"
            },
            {
              "type": "input_image",
              "image_url": "data:image/png;base64,iVBORw0=",
              "detail": "auto"
            },
            {
              "type": "input_image",
              "image_url": "https://example.test/a.png",
              "detail": "auto"
            },
            {
              "type": "input_text",
              "text": "Document `notes.txt`:\n\nhello"
            },
            {
              "type": "input_file",
              "filename": "a.pdf",
              "file_data": "data:application/pdf;base64,JVBERg=="
            }
          ]
        },
        {
          "type": "function_call",
          "call_id": "call_shot01",
          "name": "screenshot",
          "arguments": "{}"
        },
        {
          "type": "function_call_output",
          "call_id": "call_shot01",
          "output": [
            {
              "type": "input_text",
              "text": "the screen"
            },
            {
              "type": "input_image",
              "image_url": "data:image/png;base64,iVBORw0=",
              "detail": "auto"
            }
          ]
        }
      ],
      "stream": true,
      "store": false,
      "max_output_tokens": 1024
    }
    "#);
}

#[test]
fn a_request_with_a_schema_and_all_that_samples() {
    let request = Request {
        // Optional members cannot be enforced.
        output_schema: Some(json!({"type": "object", "properties": {"n": {"type": "integer"}}})),
        provider_tools: vec![json!({"type": "web_search"})],
        sampling: Sampling {
            temperature: Some(0.5),
            top_p: Some(0.9),
            max_output_tokens: Some(100),
            stop_sequences: vec!["END".to_owned()],
            reasoning_tokens: Some(20_000),
        },
        ..hello("gpt-5")
    };
    insta::assert_snapshot!(sent(&RESPONSES, "openai", &request), @r#"
    {
      "model": "gpt-5",
      "instructions": "Be brief.",
      "input": [
        {
          "type": "message",
          "role": "user",
          "content": [
            {
              "type": "input_text",
              "text": "Hello"
            }
          ]
        }
      ],
      "stream": true,
      "store": false,
      "include": [
        "reasoning.encrypted_content"
      ],
      "tools": [
        {
          "type": "web_search"
        }
      ],
      "text": {
        "format": {
          "type": "json_schema",
          "name": "reply",
          "schema": {
            "type": "object",
            "properties": {
              "n": {
                "type": "integer"
              }
            }
          },
          "strict": false
        }
      },
      "temperature": 0.5,
      "top_p": 0.9,
      "max_output_tokens": 100,
      "reasoning": {
        "effort": "high",
        "summary": "auto"
      }
    }
    "#);
}

#[test]
fn only_models_that_reason_are_asked_for_reasoning() {
    for (model, asked) in [
        ("gpt-5", true),
        ("o4-mini", true),
        ("gpt-oss-120b", true),
        ("gpt-4o", false),
        ("gpt-5-chat-latest", false),
        ("ft:gpt-4.1-mini:org::id", false),
        ("chatgpt-4o-latest", false),
    ] {
        let body = sent_value(&RESPONSES, "openai", &hello(model));
        assert_eq!(body.get("include").is_some(), asked, "{model}");
        assert_eq!(body["store"], false);
    }
}

#[test]
fn what_has_no_place_is_refused() {
    let request = Request {
        provider_tools: vec![json!({"type": "computer_use_preview"})],
        ..hello("m")
    };
    assert!(refused(&RESPONSES, "openai", &request).contains("computer_use_preview"));
    let request = Request {
        messages: vec![user(
            json!([{"type": "audio", "source": {"type": "url", "url": "x"}}]),
        )],
        ..hello("m")
    };
    assert!(refused(&RESPONSES, "openai", &request).contains("audio"));
    let request = Request {
        tool_choice: ToolChoice::Tool("x".to_owned()),
        ..hello("m")
    };
    assert!(refused(&RESPONSES, "openai", &request).contains("none is offered"));
}

const WORDS: &str = r#"
event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1741476777,"status":"in_progress","error":null,"incomplete_details":null,"model":"gpt-4.1-2025-04-14","output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","status":"in_progress","error":null,"model":"gpt-4.1-2025-04-14","output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","content":[],"role":"assistant"}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hel","logprobs":[],"obfuscation":"xJ"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"lo.","logprobs":[]}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":6,"item_id":"msg_1","output_index":0,"content_index":0,"text":"Hello.","logprobs":[]}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":7,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","annotations":[],"text":"Hello."}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"Hello."}],"role":"assistant"}}

event: response.completed
data: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_1","object":"response","status":"completed","error":null,"incomplete_details":null,"model":"gpt-4.1-2025-04-14","output":[{"id":"msg_1","type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"text":"Hello."}],"role":"assistant"}],"usage":{"input_tokens":37,"input_tokens_details":{"cached_tokens":12},"output_tokens":11,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":48}}}
"#;

const REASONED: &str = r#"
data: {"type":"response.created","response":{"id":"resp_2","status":"in_progress","model":"gpt-5-2025-08-07","output":[]}}

data: {"type":"response.output_item.added","output_index":0,"item":{"id":"rs_68a","type":"reasoning","encrypted_content":"gAAAAAearly","summary":[]}}

data: {"type":"response.reasoning_summary_part.added","item_id":"rs_68a","output_index":0,"summary_index":0,"part":{"type":"summary_text","text":""}}

data: {"type":"response.reasoning_summary_text.delta","item_id":"rs_68a","output_index":0,"summary_index":0,"delta":"**Looking"}

data: {"type":"response.reasoning_summary_text.delta","item_id":"rs_68a","output_index":0,"summary_index":0,"delta":" it up**"}

data: {"type":"response.reasoning_summary_text.done","item_id":"rs_68a","output_index":0,"summary_index":0,"text":"**Looking it up**"}

data: {"type":"response.reasoning_summary_text.delta","item_id":"rs_68a","output_index":0,"summary_index":1,"delta":"Paris it is."}

data: {"type":"response.output_item.done","output_index":0,"item":{"id":"rs_68a","type":"reasoning","encrypted_content":"gAAAAABfinal==","summary":[{"type":"summary_text","text":"**Looking it up**"},{"type":"summary_text","text":"Paris it is."}]}}

data: {"type":"response.output_item.added","output_index":1,"item":{"id":"fc_1","type":"function_call","status":"in_progress","arguments":"","call_id":"call_lW5QpHn1","name":"weather"}}

data: {"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"{\"city\":"}

data: {"type":"response.function_call_arguments.delta","item_id":"fc_1","output_index":1,"delta":"\"Paris\"}"}

data: {"type":"response.function_call_arguments.done","item_id":"fc_1","output_index":1,"arguments":"{\"city\":\"Paris\"}"}

data: {"type":"response.output_item.done","output_index":1,"item":{"id":"fc_1","type":"function_call","status":"completed","arguments":"{\"city\":\"Paris\"}","call_id":"call_lW5QpHn1","name":"weather"}}

data: {"type":"response.completed","response":{"id":"resp_2","status":"completed","model":"gpt-5-2025-08-07","output":[],"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":0},"output_tokens":90,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":190}}}
"#;

const SEARCHED: &str = r#"
data: {"type":"response.created","response":{"id":"resp_3","status":"in_progress","model":"gpt-4.1","output":[]}}

data: {"type":"response.output_item.added","output_index":0,"item":{"id":"ws_67c","type":"web_search_call","status":"in_progress"}}

data: {"type":"response.web_search_call.searching","output_index":0,"item_id":"ws_67c"}

data: {"type":"response.web_search_call.completed","output_index":0,"item_id":"ws_67c"}

data: {"type":"response.output_item.done","output_index":0,"item":{"id":"ws_67c","type":"web_search_call","status":"completed","action":{"type":"search","query":"good news"}}}

data: {"type":"response.output_text.delta","output_index":1,"content_index":0,"delta":"There is."}

data: {"type":"response.output_text.annotation.added","output_index":1,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://news.test/","title":"News","start_index":0,"end_index":8}}

data: {"type":"response.output_item.done","output_index":1,"item":{"id":"msg_3","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"There is.","annotations":[{"type":"url_citation","url":"https://news.test/","title":"News","start_index":0,"end_index":8}]}]}}

data: {"type":"response.completed","response":{"id":"resp_3","status":"completed","model":"gpt-4.1","output":[],"usage":{"input_tokens":1,"output_tokens":2}}}
"#;

#[test]
fn words_arrive_in_pieces() {
    let decoded = decode(&RESPONSES, WORDS);
    assert_eq!(
        decoded.deltas,
        [Delta::Text("Hel".to_owned()), Delta::Text("lo.".to_owned())]
    );
    insta::assert_debug_snapshot!(decoded.reply(), @r#"
    Reply {
        content: [
            Block(
                {
                    "type": String("text"),
                    "text": String("Hello."),
                },
            ),
        ],
        stop: EndTurn,
        finish_reasons: [
            "completed",
        ],
        model: Some(
            "gpt-4.1-2025-04-14",
        ),
        usage: Some(
            Usage {
                input_tokens: 37,
                output_tokens: 11,
                cache_read_input_tokens: Some(
                    12,
                ),
                cache_creation_input_tokens: None,
                reasoning_output_tokens: Some(
                    0,
                ),
            },
        ),
        cost_usd: None,
        refusal_category: None,
    }
    "#);
}

#[test]
fn reasoning_and_calls_make_the_round() {
    let decoded = decode(&RESPONSES, REASONED);
    let begun = Delta::ToolUse {
        id: "call_lW5QpHn1".to_owned(),
        name: "weather".to_owned(),
    };
    assert!(decoded.deltas.contains(&begun));
    let reply = decoded.reply();
    assert_eq!(reply.stop, StopCause::ToolUse);
    assert_eq!(reply.usage.unwrap().reasoning_output_tokens, Some(64));
    assert_eq!(
        json(&reply),
        json!([
            {"type": "thinking", "thinking": "**Looking it up**\n\nParis it is.", "signature": "openai:rs_68a:gAAAAABfinal=="},
            {"type": "tool_use", "id": "call_lW5QpHn1", "name": "weather", "input": {"city": "Paris"}},
        ])
    );
    let mut request = hello("gpt-5");
    request.messages.push(Message::Assistant(reply.content));
    request.messages.push(Message::User(vec![result(
        "call_lW5QpHn1",
        json!("12"),
        false,
    )]));
    let input = &sent_value(&RESPONSES, "openai", &request)["input"];
    assert_eq!(
        input.as_array().unwrap()[1..],
        [
            json!({"type": "reasoning", "id": "rs_68a", "summary": [{"type": "summary_text", "text": "**Looking it up**\n\nParis it is."}], "encrypted_content": "gAAAAABfinal=="}),
            json!({"type": "function_call", "call_id": "call_lW5QpHn1", "name": "weather", "arguments": "{\"city\":\"Paris\"}"}),
            json!({"type": "function_call_output", "call_id": "call_lW5QpHn1", "output": "12"}),
        ]
    );
}

#[test]
fn what_other_providers_signed_is_not_handed_over() {
    let mut request = hello("gpt-5");
    request.messages.push(assistant(json!([
        {"type": "thinking", "thinking": "hm", "signature": "EqQBanthropic"},
        {"type": "thinking", "thinking": "hm"},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "server_tool_result", "tool_use_id": "srvtoolu_1", "name": "web_search", "content": [{"type": "web_search_result"}]},
        {"type": "refusal", "refusal": "No."},
    ])));
    let input = &sent_value(&RESPONSES, "openai", &request)["input"];
    assert_eq!(
        input.as_array().unwrap()[1..],
        [
            json!({"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})
        ]
    );
}

#[test]
fn tools_of_the_provider_make_the_round() {
    let reply = decode(&RESPONSES, SEARCHED).reply();
    let item = json!({"id": "ws_67c", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "good news"}});
    assert_eq!(
        json(&reply),
        json!([
            {"type": "server_tool_use", "id": "ws_67c", "name": "web_search", "input": {"type": "search", "query": "good news"}},
            {"type": "server_tool_result", "tool_use_id": "ws_67c", "name": "web_search", "content": item, "is_error": false},
            {"type": "text", "text": "There is.", "openai.annotations": [{"type": "url_citation", "url": "https://news.test/", "title": "News", "start_index": 0, "end_index": 8}]},
        ])
    );
    assert_eq!(reply.stop, StopCause::EndTurn);
    let mut request = hello("gpt-4.1");
    request.messages.push(Message::Assistant(reply.content));
    let input = &sent_value(&RESPONSES, "openai", &request)["input"];
    assert_eq!(input[1], item);
    assert_eq!(input[2]["content"][0]["text"], "There is.");
    assert_eq!(input.as_array().unwrap().len(), 3);
}

#[test]
fn a_response_without_pieces_is_a_reply_all_the_same() {
    // Only the ends of items; only the end of the response; no stream at all.
    let pieces = ["delta", "output_item.added", "part.added"];
    let few: Vec<ServerEvent> = events(REASONED)
        .into_iter()
        .filter(|event| !pieces.iter().any(|piece| event.data.contains(piece)))
        .collect();
    let expected = decode(&RESPONSES, REASONED).reply();
    assert_eq!(decode_events(&RESPONSES, &few).reply(), expected);

    let output: Vec<Value> = events(REASONED)
        .iter()
        .map(|event| serde_json::from_str::<Value>(&event.data).unwrap())
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| event["item"].clone())
        .collect();
    let last = events(REASONED).pop().unwrap();
    let mut last: Value = serde_json::from_str(&last.data).unwrap();
    last["response"]["output"] = output.into();
    let only = ServerEvent {
        event: "response.completed".to_owned(),
        data: last.to_string(),
    };
    assert_eq!(decode_events(&RESPONSES, &[only]).reply(), expected);
    assert_eq!(whole(&RESPONSES, &last["response"]).unwrap(), expected);
}

/// Words and two calls, with all that names them.
fn both() -> Vec<Value> {
    let message = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Both."}]});
    let mut events = vec![
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "msg_1", "content": []}}),
        json!({"type": "response.output_text.delta", "output_index": 0, "item_id": "msg_1", "content_index": 0, "delta": "Bo"}),
        json!({"type": "response.output_text.delta", "output_index": 0, "item_id": "msg_1", "content_index": 0, "delta": "th."}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message}),
    ];
    let mut output = vec![message];
    for (at, city) in (1..).zip(["Paris", "Rome"]) {
        let (id, arguments) = (format!("fc_{at}"), json!({"city": city}).to_string());
        let item = |arguments: &str| json!({"type": "function_call", "id": id, "call_id": format!("call_number_{at}"), "name": "weather", "arguments": arguments});
        let (head, tail) = arguments.split_at(5);
        events.push(
            json!({"type": "response.output_item.added", "output_index": at, "item": item("")}),
        );
        for piece in [head, tail] {
            events.push(json!({"type": "response.function_call_arguments.delta", "output_index": at, "item_id": id, "delta": piece}));
        }
        events.push(json!({"type": "response.function_call_arguments.done", "output_index": at, "item_id": id, "arguments": arguments}));
        events.push(json!({"type": "response.output_item.done", "output_index": at, "item": item(&arguments)}));
        output.push(item(&arguments));
    }
    events.push(json!({"type": "response.completed", "response": {"status": "completed", "output": output, "usage": {"input_tokens": 10, "output_tokens": 5}}}));
    events
}

fn as_events(values: &[Value]) -> Vec<ServerEvent> {
    let event = |value: &Value| ServerEvent {
        event: String::new(),
        data: value.to_string(),
    };
    values.iter().map(event).collect()
}

#[test]
fn an_item_is_known_by_its_id_wherever_it_stands() {
    let expected = json!([
        {"type": "text", "text": "Both."},
        {"type": "tool_use", "id": "call_number_1", "name": "weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "call_number_2", "name": "weather", "input": {"city": "Rome"}},
    ]);
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("as it should be", |_| {}),
        ("no places", |event| {
            event.as_object_mut().unwrap().remove("output_index");
        }),
        ("one place for all", |event| {
            event["output_index"] = 0.into();
        }),
        ("no ids of items", |event| {
            event.as_object_mut().unwrap().remove("item_id");
            if let Some(item) = event.get_mut("item") {
                item.as_object_mut().unwrap().remove("id");
            }
        }),
        ("pieces named by their call", |event| {
            let named = event["item_id"]
                .as_str()
                .map(|id| id.replace("fc_", "call_number_"));
            if let Some(id) = named {
                event["item_id"] = id.into();
                event.as_object_mut().unwrap().remove("output_index");
            }
        }),
        ("the list in another order", |event| {
            if let Some(list) = event
                .pointer_mut("/response/output")
                .and_then(Value::as_array_mut)
            {
                list.reverse();
            }
        }),
        ("the list without ids", |event| {
            let list = event
                .pointer_mut("/response/output")
                .and_then(Value::as_array_mut);
            for item in list.into_iter().flatten() {
                item.as_object_mut()
                    .unwrap()
                    .retain(|key, _| !key.ends_with("id"));
            }
        }),
        ("the list with ids of its own", |event| {
            let list = event
                .pointer_mut("/response/output")
                .and_then(Value::as_array_mut);
            for item in list.into_iter().flatten() {
                item["id"] = "another".into();
                item["call_id"] = format!("again_{}", item["call_id"]).into();
            }
        }),
        ("another last event", |event| {
            if event["type"] == "response.completed" {
                event["type"] = "response.done".into();
            }
        }),
    ];
    for (what, change) in changes {
        let mut events = both();
        events.iter_mut().for_each(change);
        let reply = decode_events(&RESPONSES, &as_events(&events)).reply();
        assert_eq!(json(&reply), expected, "{what}");
    }
    // Everything twice, and only the end of each item.
    let mut events = both();
    let end = events.pop().unwrap();
    let twice: Vec<Value> = [events.clone(), events.clone(), vec![end.clone()]].concat();
    assert_eq!(
        json(&decode_events(&RESPONSES, &as_events(&twice)).reply()),
        expected
    );
    let mut whole: Vec<Value> = events
        .into_iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .collect();
    for event in &mut whole {
        event.as_object_mut().unwrap().remove("output_index");
    }
    whole.push(end);
    assert_eq!(
        json(&decode_events(&RESPONSES, &as_events(&whole)).reply()),
        expected
    );
}

#[test]
fn an_imitator_may_end_as_chat_completions_do_once_all_items_are_whole() {
    let mut events = as_events(&both());
    events.pop();
    let done = ServerEvent {
        event: String::new(),
        data: "[DONE]".to_owned(),
    };
    let cut = events[..2]
        .iter()
        .cloned()
        .chain([done.clone()])
        .collect::<Vec<_>>();
    assert_eq!(decode_events(&RESPONSES, &cut).stage, Stage::Open);
    events.push(done);
    let reply = decode_events(&RESPONSES, &events).reply();
    assert_eq!((reply.stop, reply.content.len()), (StopCause::ToolUse, 3));
}

#[test]
fn ways_to_end() {
    let message = json!({"type": "message", "content": [{"type": "output_text", "text": "x"}]});
    let refusal =
        json!({"type": "message", "content": [{"type": "refusal", "refusal": "I can't."}]});
    for (response, stop, finish, category) in [
        (
            json!({"status": "completed", "output": [message]}),
            StopCause::EndTurn,
            "completed",
            None,
        ),
        (
            json!({"status": "completed", "output": [refusal]}),
            StopCause::Refusal,
            "completed",
            None,
        ),
        (
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [message]}),
            StopCause::MaxTokens,
            "max_output_tokens",
            None,
        ),
        (
            json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}, "output": []}),
            StopCause::Refusal,
            "content_filter",
            Some("content_filter"),
        ),
        (
            json!({"status": "incomplete", "output": [message]}),
            StopCause::Other,
            "incomplete",
            None,
        ),
    ] {
        let reply = whole(&RESPONSES, &response).unwrap();
        assert_eq!(reply.stop, stop, "{response}");
        assert_eq!(reply.finish_reasons, [finish]);
        assert_eq!(reply.refusal_category.as_deref(), category);
        assert!(!reply.content.is_empty(), "{response}");
    }
}

#[test]
fn failures_inside_a_stream_are_failures() {
    for (data, class) in [
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"Slow down","param":null,"sequence_number":1}"#,
            Class::RateLimited,
        ),
        (
            r#"{"type":"error","error":{"type":"invalid_request_error","code":"context_length_exceeded","message":"Your input exceeds the context window of this model.","param":"input"}}"#,
            Class::ContextLimit,
        ),
        (
            r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"server_error","message":"The model failed to generate a response."}}}"#,
            Class::Overloaded,
        ),
        (
            r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"insufficient_quota","message":"No money"}}}"#,
            Class::UsageLimit,
        ),
        (r#"{"error":{"message":"oops"}}"#, Class::Overloaded),
        (
            r#"{"type":"response.completed","response":{}}"#,
            Class::Garbled,
        ),
        (
            r#"{"type":"response.output_item.done","output_index":0,"item":{}}"#,
            Class::Garbled,
        ),
        (
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","name":""}}"#,
            Class::Garbled,
        ),
        ("garbage", Class::Garbled),
    ] {
        let failure = decode(&RESPONSES, &format!("data: {data}")).failure();
        assert_eq!(failure.class, class, "{data}: {failure}");
    }
    let broken = json!({"status": "completed", "output": [{"type": "function_call", "call_id": "call_aaaa", "name": "weather", "arguments": "{"}]});
    let reply = whole(&RESPONSES, &broken).unwrap();
    assert_eq!(
        reply.content[0].as_map()["input"]["unparsed_arguments"],
        "{"
    );
    assert!(reply.content[0].malformed().is_some(), "{reply:?}");
}

#[test]
fn a_stream_that_is_cut_off_gives_what_has_arrived() {
    for stream in [WORDS, REASONED, SEARCHED] {
        let events = events(stream);
        for end in 0..events.len() {
            let decoded = decode_events(&RESPONSES, &events[..end]);
            assert_eq!(decoded.stage, Stage::Open);
            decoded.reply.unwrap();
        }
    }
    let events = events(REASONED);
    let reply = decode_events(&RESPONSES, &events[..10]).reply.unwrap();
    assert_eq!(
        json(&reply).as_array().unwrap().len(),
        1,
        "the call is open"
    );
}

#[test]
fn replies_are_bounded() {
    let feed = |decoder: &mut dyn crate::model::wire::Decoder, event: Value| {
        decoder.event(&ServerEvent {
            event: String::new(),
            data: event.to_string(),
        })
    };
    let mebibyte = "x".repeat(1 << 20);
    let mut decoder = RESPONSES.decoder(0);
    let delta = json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": mebibyte});
    let text = (0..17).find_map(|_| feed(&mut *decoder, delta.clone()).err());
    assert_eq!(text.unwrap().class, Class::Garbled);
    let mut decoder = RESPONSES.decoder(0);
    let items = (0..1001).find_map(|n| {
        let event = json!({"type": "response.output_item.done", "output_index": n, "item": {"type": "novelty"}});
        feed(&mut *decoder, event).err()
    });
    assert_eq!(items.unwrap().class, Class::Garbled);
    let mut decoder = RESPONSES.decoder(0);
    let added = json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "call_id": "call_aaaa", "name": "t"}});
    feed(&mut *decoder, added).unwrap();
    let delta = json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": mebibyte});
    let arguments = (0..5).find_map(|_| feed(&mut *decoder, delta.clone()).err());
    assert!(arguments.unwrap().message.contains("`t`"));
}

proptest! {
    #[test]
    fn any_events_are_survived(values in prop::collection::vec(any_json(), 0..6)) {
        let events: Vec<ServerEvent> = values
            .iter()
            .map(|value| ServerEvent { event: String::new(), data: value.to_string() })
            .collect();
        decode_events(&RESPONSES, &events);
    }

    #[test]
    fn damaged_streams_are_survived(damages in any_damage(), which in 0..3_usize) {
        let mut decoder = RESPONSES.decoder(0);
        for event in damaged([WORDS, REASONED, SEARCHED][which], &damages) {
            let _ = decoder.event(&event);
        }
        let _ = decoder.reply();
    }

    #[test]
    fn neither_cuts_of_the_body_nor_signs_of_life_matter(which in 0..3_usize, noise in any_noise(), size in 1..60_usize) {
        let stream = [WORDS, REASONED, SEARCHED][which];
        let noisy = read(&RESPONSES, &noisy(stream, &noise), size);
        prop_assert_eq!(noisy.reply(), decode(&RESPONSES, stream).reply());
    }

    #[test]
    fn how_a_stream_is_cut_does_not_matter(
        thought in "[a-z ä\n\"]{1,20}",
        words in "[a-z ü\n\"{}]{1,20}",
        argument in "[a-z €\"\\\\]{0,20}",
        cuts in prop::collection::vec(0..5_usize, 0..6),
    ) {
        let arguments = json!({"a": argument}).to_string();
        let stream = |cuts: &[usize]| {
            let mut stream = Vec::new();
            for piece in pieces(&thought, cuts) {
                stream.push(json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": piece}));
            }
            for piece in pieces(&words, cuts) {
                stream.push(json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": piece}));
            }
            stream.push(json!({"type": "response.output_item.added", "output_index": 2, "item": {"type": "function_call", "call_id": "call_aaaa1111", "name": "t"}}));
            for piece in pieces(&arguments, cuts) {
                stream.push(json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": piece}));
            }
            stream.push(json!({"type": "response.completed", "response": {"status": "completed", "output": []}}));
            let events = stream.iter().map(|event| ServerEvent { event: String::new(), data: event.to_string() });
            events.collect::<Vec<_>>()
        };
        let cut = decode_events(&RESPONSES, &stream(&cuts)).reply();
        prop_assert_eq!(&cut, &decode_events(&RESPONSES, &stream(&[])).reply());
        prop_assert_eq!(&json(&cut)[2]["input"]["a"], &Value::from(argument));
    }
}
