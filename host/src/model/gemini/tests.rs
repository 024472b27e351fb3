use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Gemini;
use crate::model::testing::*;
use crate::model::wire::{Class, Endpoint, ServerEvent, Stage, Wire};
use crate::model::{Delta, Message, Request, Sampling, StopCause, ToolChoice};
use crate::trajectory::content::Block;

const GEMINI: Gemini = Gemini;

fn url(base: &str, model: &str) -> String {
    let endpoint = Endpoint {
        provider: "gemini".to_owned(),
        base_url: base.to_owned(),
    };
    match GEMINI.outgoing(&endpoint, &hello(model)) {
        Ok(outgoing) => outgoing.url,
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn a_model_is_one_segment_of_the_url() {
    const BASE: &str = "https://generativelanguage.googleapis.com";
    let end = ":streamGenerateContent?alt=sse";
    for (model, path) in [
        ("gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("models/gemini-2.5-flash", "models/gemini-2.5-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("../../v1/files", "models/..%2F..%2Fv1%2Ffiles"),
        ("a?key=x#y", "models/a%3Fkey%3Dx%23y"),
        ("models/a:predict", "models/a%3Apredict"),
    ] {
        assert_eq!(url(BASE, model), format!("{BASE}/v1beta/{path}{end}"));
    }
    assert_eq!(
        url("http://x/v1alpha/", "m"),
        format!("http://x/v1alpha/models/m{end}")
    );
    for model in ["", "..", "models/.."] {
        assert!(url(BASE, model).contains("no place"), "{model}");
    }
}

#[test]
fn a_request_of_words() {
    insta::assert_snapshot!(sent(&GEMINI, "gemini", &hello("gemini-2.5-flash")), @r#"
    {
      "systemInstruction": {
        "parts": [
          {
            "text": "Be brief."
          }
        ]
      },
      "contents": [
        {
          "role": "user",
          "parts": [
            {
              "text": "Hello"
            }
          ]
        }
      ],
      "generationConfig": {
        "maxOutputTokens": 1024
      }
    }
    "#);
}

#[test]
fn a_request_with_tools_and_their_results() {
    insta::assert_snapshot!(sent(&GEMINI, "gemini", &with_tools("gemini-3-pro")), @r#"
    {
      "systemInstruction": {
        "parts": [
          {
            "text": "Be brief."
          }
        ]
      },
      "contents": [
        {
          "role": "user",
          "parts": [
            {
              "text": "Weather in Paris and Rome?"
            }
          ]
        },
        {
          "role": "model",
          "parts": [
            {
              "text": "I look."
            },
            {
              "functionCall": {
                "id": "call_paris1",
                "name": "weather",
                "args": {
                  "city": "Paris"
                }
              },
              "thoughtSignature": "skip_thought_signature_validator"
            },
            {
              "functionCall": {
                "id": "call_rome22",
                "name": "weather",
                "args": {
                  "city": "Rome"
                }
              }
            }
          ]
        },
        {
          "role": "user",
          "parts": [
            {
              "functionResponse": {
                "id": "call_paris1",
                "name": "weather",
                "response": {
                  "output": "12 degrees"
                }
              }
            },
            {
              "functionResponse": {
                "id": "call_rome22",
                "name": "weather",
                "response": {
                  "error": "no such city"
                }
              }
            },
            {
              "text": "In Celsius, please."
            }
          ]
        }
      ],
      "tools": [
        {
          "functionDeclarations": [
            {
              "name": "weather",
              "description": "The weather of a city.",
              "parametersJsonSchema": {
                "type": "object",
                "properties": {
                  "city": {
                    "type": "string"
                  }
                },
                "required": [
                  "city"
                ]
              }
            },
            {
              "name": "now",
              "description": ""
            }
          ]
        }
      ],
      "generationConfig": {
        "maxOutputTokens": 1024
      }
    }
    "#);
}

#[test]
fn a_request_with_media() {
    insta::assert_snapshot!(sent(&GEMINI, "gemini", &with_media("gemini-2.5-flash")), @r#"
    {
      "systemInstruction": {
        "parts": [
          {
            "text": "Be brief."
          }
        ]
      },
      "contents": [
        {
          "role": "user",
          "parts": [
            {
              "text": "What is this?"
            },
            {
              "inlineData": {
                "mimeType": "image/png",
                "data": "iVBORw0="
              }
            },
            {
              "fileData": {
                "fileUri": "https://example.test/a.png"
              }
            },
            {
              "text": "Document `notes.txt`:\n\nhello"
            },
            {
              "inlineData": {
                "mimeType": "application/pdf",
                "data": "JVBERg=="
              }
            }
          ]
        },
        {
          "role": "model",
          "parts": [
            {
              "functionCall": {
                "id": "call_shot01",
                "name": "screenshot",
                "args": {}
              }
            }
          ]
        },
        {
          "role": "user",
          "parts": [
            {
              "functionResponse": {
                "id": "call_shot01",
                "name": "screenshot",
                "response": {
                  "output": "the screen\n\n(attached below)"
                }
              }
            },
            {
              "inlineData": {
                "mimeType": "image/png",
                "data": "iVBORw0="
              }
            }
          ]
        }
      ],
      "generationConfig": {
        "maxOutputTokens": 1024
      }
    }
    "#);
}

#[test]
fn a_request_with_a_schema_and_all_that_samples() {
    let request = Request {
        output_schema: Some(json!({"type": "object", "properties": {"n": {"type": "integer"}}})),
        provider_tools: vec![json!({"googleSearch": {}})],
        sampling: Sampling {
            temperature: Some(0.5),
            top_p: Some(0.9),
            max_output_tokens: Some(100),
            stop_sequences: vec!["END".to_owned()],
            reasoning_tokens: Some(2000),
        },
        ..hello("gemini-2.5-flash")
    };
    insta::assert_snapshot!(sent(&GEMINI, "gemini", &request), @r#"
    {
      "systemInstruction": {
        "parts": [
          {
            "text": "Be brief."
          }
        ]
      },
      "contents": [
        {
          "role": "user",
          "parts": [
            {
              "text": "Hello"
            }
          ]
        }
      ],
      "tools": [
        {
          "googleSearch": {}
        }
      ],
      "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "maxOutputTokens": 100,
        "stopSequences": [
          "END"
        ],
        "thinkingConfig": {
          "thinkingBudget": 2000,
          "includeThoughts": true
        },
        "responseMimeType": "application/json",
        "responseJsonSchema": {
          "type": "object",
          "properties": {
            "n": {
              "type": "integer"
            }
          }
        }
      }
    }
    "#);
}

#[test]
fn the_choice_of_a_tool_and_results_of_nothing() {
    for (choice, written) in [
        (ToolChoice::Auto, Value::Null),
        (
            ToolChoice::Any,
            json!({"functionCallingConfig": {"mode": "ANY"}}),
        ),
        (
            ToolChoice::None,
            json!({"functionCallingConfig": {"mode": "NONE"}}),
        ),
        (
            ToolChoice::Tool("now".to_owned()),
            json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["now"]}}),
        ),
    ] {
        let request = Request {
            tool_choice: choice,
            ..with_tools("gemini-2.5-flash")
        };
        assert_eq!(
            sent_value(&GEMINI, "gemini", &request)["toolConfig"],
            written
        );
    }
    let mut request = hello("m");
    request
        .messages
        .push(Message::User(vec![result("call_gone", json!("x"), false)]));
    assert!(refused(&GEMINI, "gemini", &request).contains("`call_gone`"));
}

const WORDS: &str = r#"
data: {"candidates": [{"content": {"parts": [{"text": "Hel"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 8,"totalTokenCount": 8,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 8}]},"modelVersion": "gemini-2.5-flash","responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}

data: {"candidates": [{"content": {"parts": [{"text": "lo."}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 8,"candidatesTokenCount": 3,"totalTokenCount": 40,"cachedContentTokenCount": 4,"thoughtsTokenCount": 29,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 8}]},"modelVersion": "gemini-2.5-flash","responseId": "mAitaLmkHPPlz7IPvtfUqQ4"}
"#;

const CALLS: &str = r#"
data: {"candidates": [{"content": {"parts": [{"text": "**Thinking** of ","thought": true}],"role": "model"},"index": 0}],"modelVersion": "gemini-3-pro-preview","responseId": "r1"}

data: {"candidates": [{"content": {"parts": [{"text": "Paris.","thought": true}],"role": "model"},"index": 0}],"modelVersion": "gemini-3-pro-preview","responseId": "r1"}

data: {"candidates": [{"content": {"parts": [{"functionCall": {"name": "weather","args": {"city": "Paris"}},"thoughtSignature": "CiQBsig=="},{"functionCall": {"name": "weather","args": {"city": "Rome"},"id": "gm4x9d1k"}},{"functionCall": {"name": "now"}}],"role": "model"},"index": 0}],"modelVersion": "gemini-3-pro-preview","responseId": "r1"}

data: {"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "STOP","index": 0,"finishMessage": "Model generated function call(s)."}],"usageMetadata": {"promptTokenCount": 100,"candidatesTokenCount": 20,"totalTokenCount": 120,"toolUsePromptTokenCount": 5},"modelVersion": "gemini-3-pro-preview","responseId": "r1"}
"#;

const SIGNED: &str = r#"
data: {"candidates": [{"content": {"parts": [{"text": "Hello"}],"role": "model"},"index": 0}]}

data: {"candidates": [{"content": {"parts": [{"text": " there","thoughtSignature": "mid="}],"role": "model"},"index": 0}]}

data: {"candidates": [{"content": {"parts": [{"text": "."}],"role": "model"},"index": 0}]}

data: {"candidates": [{"content": {"parts": [{"text": "","thoughtSignature": "end="}],"role": "model"},"finishReason": "STOP","index": 0}]}
"#;

const RAN: &str = r#"
data: {"candidates": [{"content": {"parts": [{"executableCode": {"language": "PYTHON","code": "print(2+2)\n"},"thoughtSignature": "run="}],"role": "model"},"index": 0}]}

data: {"candidates": [{"content": {"parts": [{"codeExecutionResult": {"outcome": "OUTCOME_OK","output": "4\n"}}],"role": "model"},"index": 0}]}

data: {"candidates": [{"content": {"parts": [{"text": "Four."}],"role": "model"},"index": 0}]}

data: {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png","data": "iVBORw0="}}],"role": "model"},"finishReason": "STOP","index": 0,"groundingMetadata": {"webSearchQueries": ["2+2"],"groundingChunks": [{"web": {"uri": "https://four.test","title": "four"}}]}}]}
"#;

#[test]
fn words_arrive_in_pieces() {
    let decoded = decode(&GEMINI, WORDS);
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
            "STOP",
        ],
        model: Some(
            "gemini-2.5-flash",
        ),
        usage: Some(
            Usage {
                input_tokens: 8,
                output_tokens: 32,
                cache_read_input_tokens: Some(
                    4,
                ),
                cache_creation_input_tokens: None,
                reasoning_output_tokens: Some(
                    29,
                ),
            },
        ),
        cost_usd: None,
        refusal_category: None,
    }
    "#);
}

#[test]
fn thoughts_and_calls_make_the_round() {
    let reply = decode(&GEMINI, CALLS).reply();
    assert_eq!(reply.stop, StopCause::ToolUse);
    assert_eq!(reply.usage.unwrap().input_tokens, 105);
    assert_eq!(
        json(&reply),
        json!([
            {"type": "thinking", "thinking": "**Thinking** of Paris."},
            {"type": "thinking", "thinking": "", "signature": "gemini:CiQBsig==", "redacted": true},
            {"type": "tool_use", "id": "call_made_7_0", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "gm4x9d1k", "name": "weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "call_made_7_2", "name": "now", "input": {}},
        ])
    );
    let mut request = hello("gemini-3-pro-preview");
    request.messages.push(Message::Assistant(reply.content));
    request.messages.push(Message::User(vec![
        result("call_made_7_0", json!("12"), false),
        result("gm4x9d1k", json!("no such city"), true),
        result(
            "call_made_7_2",
            json!([{"type": "text", "text": "noon"}]),
            false,
        ),
    ]));
    let contents = &sent_value(&GEMINI, "gemini", &request)["contents"];
    assert_eq!(
        contents.as_array().unwrap()[1..],
        [
            json!({"role": "model", "parts": [
                {"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "CiQBsig=="},
                {"functionCall": {"id": "gm4x9d1k", "name": "weather", "args": {"city": "Rome"}}},
                {"functionCall": {"name": "now", "args": {}}},
            ]}),
            json!({"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": "12"}}},
                {"functionResponse": {"id": "gm4x9d1k", "name": "weather", "response": {"error": "no such city"}}},
                {"functionResponse": {"name": "now", "response": {"output": "noon"}}},
            ]}),
        ]
    );
}

/// What the model said, handed back.
fn back(model: &str, content: Vec<Block>) -> Value {
    let mut request = hello(model);
    request.messages.push(Message::Assistant(content));
    sent_value(&GEMINI, "gemini", &request)["contents"][1]["parts"].clone()
}

#[test]
fn signed_parts_go_back_as_they_came() {
    let reply = decode(&GEMINI, SIGNED).reply();
    assert_eq!(
        back("gemini-3-pro", reply.content),
        json!([
            {"text": "Hello"},
            {"text": " there", "thoughtSignature": "mid="},
            {"text": "."},
            {"text": "", "thoughtSignature": "end="},
        ])
    );
}

#[test]
fn calls_of_other_providers_are_marked_where_signatures_are_needed() {
    let content = || {
        let blocks = json!([
            {"type": "thinking", "thinking": "hm", "signature": "openai:rs_1:gAAAA"},
            {"type": "tool_use", "id": "toolu_01", "name": "now", "input": {}},
            {"type": "tool_use", "id": "toolu_02", "name": "now", "input": {}},
        ]);
        let Message::Assistant(blocks) = assistant(blocks) else {
            panic!("an assistant message");
        };
        blocks
    };
    let parts = back("gemini-3-pro", content());
    assert_eq!(
        parts[0]["thoughtSignature"],
        "skip_thought_signature_validator"
    );
    assert_eq!(parts[1].get("thoughtSignature"), None);
    assert_eq!(parts.as_array().unwrap().len(), 2);
    assert_eq!(
        back("gemini-2.5-pro", content())[0].get("thoughtSignature"),
        None
    );
}

#[test]
fn tools_of_the_provider_make_the_round() {
    let reply = decode(&GEMINI, RAN).reply();
    let kinds: Vec<&str> = reply.content.iter().map(Block::kind).collect();
    assert_eq!(
        kinds,
        [
            "server_tool_use",
            "server_tool_result",
            "thinking",
            "server_tool_use",
            "server_tool_result",
            "text",
            "image"
        ]
    );
    assert_eq!(reply.stop, StopCause::EndTurn);
    assert_eq!(json(&reply)[0]["input"], json!({"queries": ["2+2"]}));
    assert_eq!(
        back("gemini-3-pro", reply.content),
        json!([
            {"executableCode": {"language": "PYTHON", "code": "print(2+2)\n"}, "thoughtSignature": "run="},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "4\n"}},
            {"text": "Four."},
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw0="}},
        ])
    );
}

#[test]
fn ways_to_stop() {
    let said = json!({"parts": [{"text": "x"}]});
    for (answer, stop, category) in [
        (
            json!({"candidates": [{"content": said, "finishReason": "STOP"}]}),
            StopCause::EndTurn,
            None,
        ),
        (
            json!({"candidates": [{"content": said, "finishReason": "MAX_TOKENS"}]}),
            StopCause::MaxTokens,
            None,
        ),
        (
            json!({"candidates": [{"content": said, "finishReason": "OTHER"}]}),
            StopCause::Other,
            None,
        ),
        (
            json!({"candidates": [{"finishReason": "SAFETY"}]}),
            StopCause::Refusal,
            Some("SAFETY"),
        ),
        (
            json!({"candidates": [{"finishReason": "RECITATION"}]}),
            StopCause::Refusal,
            Some("RECITATION"),
        ),
        (
            json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
            StopCause::Refusal,
            Some("PROHIBITED_CONTENT"),
        ),
    ] {
        let reply = decode(&GEMINI, &format!("data: {answer}")).reply();
        assert_eq!(reply.stop, stop, "{answer}");
        assert_eq!(reply.refusal_category.as_deref(), category, "{answer}");
        assert!(!reply.content.is_empty(), "{answer}");
        assert_eq!(whole(&GEMINI, &answer).unwrap(), reply);
        assert_eq!(whole(&GEMINI, &json!([answer])).unwrap(), reply);
    }
}

#[test]
fn what_comes_after_a_reason_counts_and_so_does_the_last_reason() {
    let piece = |parts: Value, finish: &str| {
        let candidate =
            json!({"content": {"role": "model", "parts": parts}, "finishReason": finish});
        format!("data: {}\n\n", json!({"candidates": [candidate]}))
    };
    let text = |text: &str| json!([{"text": text}]);
    let usage = json!({"usageMetadata": {"promptTokenCount": 900, "candidatesTokenCount": 0, "totalTokenCount": 910}});
    let stream = [
        piece(json!([]), "STOP"),
        piece(text("alpha "), "STOP"),
        piece(text("beta"), "MAX_TOKENS"),
        format!("data: {usage}\n\n"),
    ]
    .concat();
    let decoded = decode(&GEMINI, &stream);
    assert_eq!(decoded.stage, Stage::Stopped);
    let reply = decoded.reply();
    assert_eq!(
        json(&reply),
        json!([{"type": "text", "text": "alpha beta"}])
    );
    assert_eq!(reply.finish_reasons, ["MAX_TOKENS"]);
    let usage = reply.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (900, 10));

    let call =
        json!([{"functionCall": {"id": "gm4x9d1k", "name": "weather", "args": {"city": "Paris"}}}]);
    let other =
        json!([{"functionCall": {"id": "gm4x9d1k", "name": "weather", "args": {"city": "Rome"}}}]);
    let stream = [
        piece(call.clone(), "STOP"),
        piece(call, "STOP"),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let decoded = decode(&GEMINI, &stream);
    assert_eq!(decoded.stage, Stage::Complete);
    let reply = decoded.reply();
    assert_eq!((reply.stop, reply.content.len()), (StopCause::ToolUse, 1));
    let two = decode(
        &GEMINI,
        &(stream.replace("data: [DONE]\n\n", "") + &piece(other, "STOP")),
    );
    assert_eq!(two.reply().content.len(), 2, "an id given twice is none");
}

#[test]
fn a_call_that_does_not_parse_is_a_call_with_what_is_wrong_with_it() {
    for (data, name, unparsed) in [
        (
            r#"{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL","finishMessage": "Malformed function call: print(default_api.weather(city=x"}]}"#,
            "weather",
            "Malformed function call: print(default_api.weather(city=x",
        ),
        (
            r#"{"candidates": [{"finishReason": "UNEXPECTED_TOOL_CALL"}]}"#,
            "malformed_function_call",
            "UNEXPECTED_TOOL_CALL",
        ),
        (
            r#"{"candidates": [{"content": {"parts": [{"functionCall": {"name": "weather", "args": [1]}}]}, "finishReason": "STOP"}]}"#,
            "weather",
            "[1]",
        ),
    ] {
        let reply = decode(&GEMINI, &format!("data: {data}")).reply();
        assert_eq!(reply.stop, StopCause::ToolUse, "{data}");
        let [block] = reply.content.as_slice() else {
            panic!("{reply:?}");
        };
        assert_eq!(block.call().unwrap().name, name);
        assert_eq!(block.as_map()["input"]["unparsed_arguments"], unparsed);
        assert_eq!(
            block.as_map()["input"]["error"],
            *block.malformed().unwrap()
        );
    }
}

#[test]
fn failures_inside_a_stream_are_failures() {
    for (data, class) in [
        (
            r#"{"error": {"code": 503,"message": "The model is overloaded. Please try again later.","status": "UNAVAILABLE"}}"#,
            Class::Overloaded,
        ),
        (
            r#"{"candidates": [{"finishReason": "MISSING_THOUGHT_SIGNATURE"}]}"#,
            Class::Rejected,
        ),
        (
            r#"{"candidates": [{"content": {"parts": [{"functionCall": {"args": {}}}]}}]}"#,
            Class::Garbled,
        ),
        ("garbage", Class::Garbled),
        ("7", Class::Garbled),
    ] {
        let failure = decode(&GEMINI, &format!("data: {data}")).failure();
        assert_eq!(failure.class, class, "{data}: {failure}");
    }
    assert_eq!(
        whole(&GEMINI, &json!([])).unwrap_err().class,
        Class::Garbled
    );
}

#[test]
fn error_answers_have_classes() {
    for (status, body, class) in [
        (
            400,
            json!({"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}}),
            Class::Auth,
        ),
        (
            403,
            json!({"error": {"code": 403, "message": "Permission denied", "status": "PERMISSION_DENIED"}}),
            Class::Auth,
        ),
        (
            404,
            json!({"error": {"code": 404, "message": "models/nope is not found for API version v1beta", "status": "NOT_FOUND"}}),
            Class::Unsupported,
        ),
        (
            429,
            json!({"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36s"}]}}),
            Class::RateLimited,
        ),
        (
            429,
            json!([{"error": {"code": 429, "message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}]),
            Class::UsageLimit,
        ),
        (
            400,
            json!({"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}),
            Class::ContextLimit,
        ),
        (
            400,
            json!({"error": {"code": 400, "message": "Invalid JSON payload received.", "status": "INVALID_ARGUMENT"}}),
            Class::Rejected,
        ),
        (
            500,
            json!({"error": {"code": 500, "message": "An internal error has occurred.", "status": "INTERNAL"}}),
            Class::Overloaded,
        ),
        (503, json!({}), Class::Overloaded),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = GEMINI.failure(status, body.to_string().as_bytes());
        assert_eq!(failure.class, class, "{body}: {failure}");
        assert!(!failure.message.is_empty());
    }
}

#[test]
fn a_stream_that_is_cut_off_gives_what_has_arrived() {
    for stream in [WORDS, CALLS, SIGNED, RAN] {
        let events = events(stream);
        for end in 0..events.len() {
            let decoded = decode_events(&GEMINI, &events[..end]);
            assert_eq!(decoded.stage, Stage::Open);
            decoded.reply.unwrap();
        }
    }
}

#[test]
fn replies_are_bounded() {
    let feed = |decoder: &mut dyn crate::model::wire::Decoder, part: Value| {
        let data = json!({"candidates": [{"content": {"parts": [part]}}]}).to_string();
        decoder.event(&ServerEvent {
            event: String::new(),
            data,
        })
    };
    let mebibyte = "x".repeat(1 << 20);
    for part in [
        json!({"text": mebibyte}),
        json!({"text": mebibyte, "thought": true}),
        json!({"text": "", "thoughtSignature": mebibyte}),
        json!({"inlineData": {"mimeType": "image/png", "data": mebibyte}}),
        json!({"executableCode": {"code": mebibyte}}),
        json!({"functionCall": {"name": "t", "args": {"a": mebibyte}}}),
    ] {
        let mut decoder = GEMINI.decoder(0);
        let failure = (0..17).find_map(|_| feed(&mut *decoder, part.clone()).err());
        assert_eq!(failure.unwrap().class, Class::Garbled);
    }
    let mut decoder = GEMINI.decoder(0);
    let huge = json!({"functionCall": {"name": "t", "args": {"a": "x".repeat(5 << 20)}}});
    assert!(
        feed(&mut *decoder, huge)
            .unwrap_err()
            .message
            .contains("`t`")
    );
    let mut decoder = GEMINI.decoder(0);
    let call = json!({"functionCall": {"name": "t"}});
    assert!((0..1001).any(|_| feed(&mut *decoder, call.clone()).is_err()));
}

proptest! {
    #[test]
    fn any_events_are_survived(values in prop::collection::vec(any_json(), 0..6)) {
        let events: Vec<ServerEvent> = values
            .iter()
            .map(|value| ServerEvent { event: String::new(), data: value.to_string() })
            .collect();
        decode_events(&GEMINI, &events);
    }

    #[test]
    fn damaged_streams_are_survived(damages in any_damage(), which in 0..4_usize) {
        let mut decoder = GEMINI.decoder(0);
        for event in damaged([WORDS, CALLS, SIGNED, RAN][which], &damages) {
            let _ = decoder.event(&event);
        }
        let _ = decoder.reply();
    }

    #[test]
    fn how_a_stream_is_cut_does_not_matter(
        thought in "[a-z ä\n\"]{1,20}",
        words in "[a-z ü\n\"{}]{1,20}",
        cuts in prop::collection::vec(0..5_usize, 0..6),
    ) {
        let stream = |cuts: &[usize]| {
            let thoughts = pieces(&thought, cuts).into_iter().map(|piece| json!({"text": piece, "thought": true}));
            let words = pieces(&words, cuts).into_iter().map(|piece| json!({"text": piece}));
            let parts = thoughts.chain(words);
            let chunks = parts.map(|part| json!({"candidates": [{"content": {"parts": [part]}}]}));
            let end = json!({"candidates": [{"finishReason": "STOP"}]});
            let events = chunks.chain([end]).map(|chunk| ServerEvent { event: String::new(), data: chunk.to_string() });
            events.collect::<Vec<_>>()
        };
        let cut = decode_events(&GEMINI, &stream(&cuts)).reply();
        prop_assert_eq!(&cut, &decode_events(&GEMINI, &stream(&[])).reply());
        prop_assert_eq!(cut.content.len(), 2);
    }

    #[test]
    fn neither_cuts_of_the_body_nor_signs_of_life_matter(which in 0..4_usize, noise in any_noise(), size in 1..60_usize) {
        let stream = [WORDS, CALLS, SIGNED, RAN][which];
        let noisy = read(&GEMINI, &noisy(stream, &noise), size);
        prop_assert_eq!(noisy.reply(), decode(&GEMINI, stream).reply());
    }

    #[test]
    fn any_model_stays_in_its_segment(model in any::<String>()) {
        let url = url("https://host.test", &model);
        if let Ok(parsed) = url::Url::parse(&url) {
            prop_assert_eq!(parsed.path_segments().unwrap().count(), 3);
            prop_assert_eq!(parsed.query(), Some("alt=sse"));
        } else {
            prop_assert!(url.contains("no place"));
        }
    }
}
