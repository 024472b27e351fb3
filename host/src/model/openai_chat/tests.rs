use proptest::prelude::*;
use serde_json::{Value, json};

use super::ChatCompletions;
use crate::model::testing::*;
use crate::model::wire::{Class, ServerEvent, Stage, Wire};
use crate::model::{Delta, Message, Request, Sampling, StopCause, ToolChoice};
use crate::trajectory::content::Block;

const CHAT: ChatCompletions = ChatCompletions;

#[test]
fn a_request_of_words() {
    let outgoing = CHAT
        .outgoing(&endpoint("openai"), &hello("gpt-4.1"))
        .unwrap();
    assert_eq!(outgoing.url, "https://example.test/v1/chat/completions");
    insta::assert_snapshot!(sent(&CHAT, "openai", &hello("gpt-4.1")), @r#"
    {
      "model": "gpt-4.1",
      "messages": [
        {
          "role": "system",
          "content": "Be brief."
        },
        {
          "role": "user",
          "content": "Hello"
        }
      ],
      "stream": true,
      "stream_options": {
        "include_usage": true
      },
      "max_completion_tokens": 1024
    }
    "#);
}

#[test]
fn a_request_with_tools_and_their_results() {
    insta::assert_snapshot!(sent(&CHAT, "ollama", &with_tools("qwen3")), @r#"
    {
      "model": "qwen3",
      "messages": [
        {
          "role": "system",
          "content": "Be brief."
        },
        {
          "role": "user",
          "content": "Weather in Paris and Rome?"
        },
        {
          "role": "assistant",
          "content": "I look.",
          "tool_calls": [
            {
              "id": "call_paris1",
              "type": "function",
              "function": {
                "name": "weather",
                "arguments": "{\"city\":\"Paris\"}"
              }
            },
            {
              "id": "call_rome22",
              "type": "function",
              "function": {
                "name": "weather",
                "arguments": "{\"city\":\"Rome\"}"
              }
            }
          ]
        },
        {
          "role": "tool",
          "tool_call_id": "call_paris1",
          "content": "12 degrees"
        },
        {
          "role": "tool",
          "tool_call_id": "call_rome22",
          "content": "Error: no such city"
        },
        {
          "role": "user",
          "content": "In Celsius, please."
        }
      ],
      "stream": true,
      "stream_options": {
        "include_usage": true
      },
      "tools": [
        {
          "type": "function",
          "function": {
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
            }
          }
        },
        {
          "type": "function",
          "function": {
            "name": "now",
            "parameters": {
              "type": "object",
              "properties": {}
            }
          }
        }
      ],
      "max_tokens": 1024
    }
    "#);
}

#[test]
fn a_request_with_media() {
    insta::assert_snapshot!(sent(&CHAT, "openai", &with_media("gpt-4.1")), @r#"
    {
      "model": "gpt-4.1",
      "messages": [
        {
          "role": "system",
          "content": "Be brief."
        },
        {
          "role": "user",
          "content": [
            {
              "type": "text",
              "text": "What is this?"
            },
            {
              "type": "image_url",
              "image_url": {
                "url": "data:image/png;base64,iVBORw0="
              }
            },
            {
              "type": "image_url",
              "image_url": {
                "url": "https://example.test/a.png"
              }
            },
            {
              "type": "text",
              "text": "Document `notes.txt`:\n\nhello"
            },
            {
              "type": "file",
              "file": {
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,JVBERg=="
              }
            }
          ]
        },
        {
          "role": "assistant",
          "content": null,
          "tool_calls": [
            {
              "id": "call_shot01",
              "type": "function",
              "function": {
                "name": "screenshot",
                "arguments": "{}"
              }
            }
          ]
        },
        {
          "role": "tool",
          "tool_call_id": "call_shot01",
          "content": "the screen\n\n(attached below)"
        },
        {
          "role": "user",
          "content": [
            {
              "type": "text",
              "text": "Part of the result of call call_shot01:"
            },
            {
              "type": "image_url",
              "image_url": {
                "url": "data:image/png;base64,iVBORw0="
              }
            }
          ]
        }
      ],
      "stream": true,
      "stream_options": {
        "include_usage": true
      },
      "max_completion_tokens": 1024
    }
    "#);
}

#[test]
fn a_request_with_a_schema_and_all_that_samples() {
    let request = Request {
        output_schema: Some(
            json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}),
        ),
        sampling: Sampling {
            temperature: Some(0.5),
            top_p: Some(0.9),
            max_output_tokens: Some(100),
            stop_sequences: vec!["END".to_owned()],
            reasoning_tokens: Some(4000),
        },
        ..hello("o4-mini")
    };
    insta::assert_snapshot!(sent(&CHAT, "openai", &request), @r#"
    {
      "model": "o4-mini",
      "messages": [
        {
          "role": "system",
          "content": "Be brief."
        },
        {
          "role": "user",
          "content": "Hello"
        }
      ],
      "stream": true,
      "stream_options": {
        "include_usage": true
      },
      "response_format": {
        "type": "json_schema",
        "json_schema": {
          "name": "reply",
          "schema": {
            "type": "object",
            "properties": {
              "n": {
                "type": "integer"
              }
            },
            "required": [
              "n"
            ],
            "additionalProperties": false
          },
          "strict": true
        }
      },
      "temperature": 0.5,
      "top_p": 0.9,
      "max_completion_tokens": 100,
      "stop": [
        "END"
      ],
      "reasoning_effort": "medium"
    }
    "#);
}

#[test]
fn the_choice_of_a_tool_is_written_as_the_provider_has_it() {
    for (choice, provider, written) in [
        (ToolChoice::Auto, "openai", Value::Null),
        (ToolChoice::Any, "openai", json!("required")),
        (ToolChoice::Any, "mistral", json!("any")),
        (ToolChoice::None, "openai", json!("none")),
        (
            ToolChoice::Tool("now".to_owned()),
            "vllm",
            json!({"type": "function", "function": {"name": "now"}}),
        ),
    ] {
        let request = Request {
            tool_choice: choice,
            ..with_tools("m")
        };
        assert_eq!(
            sent_value(&CHAT, provider, &request)["tool_choice"],
            written
        );
    }
    let request = Request {
        tool_choice: ToolChoice::Any,
        ..hello("m")
    };
    assert!(refused(&CHAT, "openai", &request).contains("none is offered"));
}

#[test]
fn providers_get_the_members_they_know() {
    let mistral = sent_value(&CHAT, "mistral", &with_tools("m"));
    assert_eq!(mistral.get("stream_options"), None);
    let asked = &mistral["messages"][2]["tool_calls"][0]["id"];
    assert_eq!(asked.as_str().unwrap().len(), 9, "{asked}");
    assert_eq!(&mistral["messages"][3]["tool_call_id"], asked);
    assert_eq!(mistral["max_tokens"], 1024);

    let mut request = hello("m");
    request.sampling.reasoning_tokens = Some(2000);
    let openrouter = sent_value(&CHAT, "openrouter", &request);
    assert_eq!(openrouter["reasoning"], json!({"max_tokens": 2000}));
    assert_eq!(openrouter["usage"], json!({"include": true}));
    let unknown = sent_value(&CHAT, "somebody", &request);
    assert_eq!(unknown.get("reasoning_effort"), None);
}

#[test]
fn what_has_no_place_is_refused() {
    for (provider, block) in [
        (
            "openai",
            json!({"type": "image", "source": {"type": "file", "file_id": "f"}}),
        ),
        (
            "openai",
            json!({"type": "video", "source": {"type": "url", "url": "https://x/v.mp4"}}),
        ),
        (
            "ollama",
            json!({"type": "audio", "source": {"type": "base64", "media_type": "audio/ogg", "data": ""}}),
        ),
        (
            "openai",
            json!({"type": "document", "source": {"type": "url", "url": "https://x/d.pdf"}}),
        ),
    ] {
        let request = Request {
            messages: vec![user(json!([block]))],
            ..hello("m")
        };
        assert!(
            refused(&CHAT, provider, &request).contains("no place"),
            "{block}"
        );
    }
}

#[test]
fn reasoning_goes_back_to_those_who_want_it() {
    let thought = json!([
        {"type": "thinking", "thinking": "hm", "signature": "openrouter:[{\"type\":\"reasoning.text\",\"text\":\"hm\",\"signature\":\"s\"}]"},
        {"type": "thinking", "thinking": "", "signature": "gemini:foreign", "redacted": true},
        {"type": "text", "text": "yes"},
    ]);
    let mut request = hello("m");
    request.messages.push(assistant(thought));
    let back = |provider| sent_value(&CHAT, provider, &request)["messages"][2].clone();
    assert_eq!(
        back("openai"),
        json!({"role": "assistant", "content": "yes"})
    );
    assert_eq!(back("deepseek")["reasoning_content"], "hm");
    assert_eq!(
        back("openrouter")["reasoning_details"],
        json!([{"type": "reasoning.text", "text": "hm", "signature": "s"}])
    );
}

#[test]
fn reasoning_goes_back_beside_its_calls_to_a_server_that_has_sent_it_so() {
    let answer = |key: &str| {
        format!(
            r#"
data: {{"choices":[{{"index":0,"delta":{{"role":"assistant","{key}":"I should "}}}}]}}

data: {{"choices":[{{"index":0,"delta":{{"{key}":"read."}}}}]}}

data: {{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"call_aaaa1111","type":"function","function":{{"name":"read","arguments":"{{}}"}}}}]}}}}]}}

data: {{"choices":[{{"index":0,"delta":{{}},"finish_reason":"tool_calls"}}],"usage":{{"prompt_tokens":1,"completion_tokens":1}}}}

data: [DONE]
"#
        )
    };
    let back = |key: &str, with_calls: bool| {
        let mut content = decode(&CHAT, &answer(key)).reply().content;
        if !with_calls {
            content.retain(|block| block.call().is_none());
        }
        let mut request = hello("m");
        request.messages.push(Message::Assistant(content));
        sent_value(&CHAT, "work", &request)["messages"][2].clone()
    };
    assert_eq!(
        back("reasoning_content", true)["reasoning_content"],
        "I should read."
    );
    assert_eq!(
        back("reasoning_content", false).get("reasoning_content"),
        None
    );
    assert_eq!(back("reasoning", true).get("reasoning_content"), None);
}

const WORDS: &str = r#"
data: {"id":"chatcmpl-B1","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_a","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B1","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14","choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B1","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14","choices":[{"index":0,"delta":{"content":"lo."},"logprobs":null,"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B1","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-B1","object":"chat.completion.chunk","created":1741569952,"model":"gpt-4.1-2025-04-14","choices":[],"usage":{"prompt_tokens":1200,"completion_tokens":30,"total_tokens":1230,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

data: [DONE]
"#;

const CALLS: &str = r#"
data: {"id":"chatcmpl-B2","object":"chat.completion.chunk","model":"gpt-4.1","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_DdmO9pD3xa9XTPNJ32zg2hcA","type":"function","function":{"name":"weather","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-B2","object":"chat.completion.chunk","model":"gpt-4.1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-B2","object":"chat.completion.chunk","model":"gpt-4.1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Paris\"}"}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-B2","object":"chat.completion.chunk","model":"gpt-4.1","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_ABCDEF1234567890","type":"function","function":{"name":"now","arguments":""}}]},"finish_reason":null}]}

data: {"id":"chatcmpl-B2","object":"chat.completion.chunk","model":"gpt-4.1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"chatcmpl-B2","object":"chat.completion.chunk","model":"gpt-4.1","choices":[],"usage":{"prompt_tokens":80,"completion_tokens":20,"total_tokens":100}}

data: [DONE]
"#;

/// `OpenRouter` with a reasoning model behind it, comments included.
const REASONED: &str = r#"
: OPENROUTER PROCESSING

data: {"id":"gen-1","provider":"Anthropic","model":"anthropic/claude-sonnet-4.5","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Let me ","reasoning_details":[{"type":"reasoning.text","text":"Let me ","format":"anthropic-claude-v1","index":0}]},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","provider":"Anthropic","model":"anthropic/claude-sonnet-4.5","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"think.","reasoning_details":[{"type":"reasoning.text","text":"think.","format":"anthropic-claude-v1","index":0}]},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","provider":"Anthropic","model":"anthropic/claude-sonnet-4.5","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":null,"reasoning_details":[{"type":"reasoning.text","signature":"EqQB","format":"anthropic-claude-v1","index":0}]},"finish_reason":null,"native_finish_reason":null}]}

data: {"id":"gen-1","provider":"Anthropic","model":"anthropic/claude-sonnet-4.5","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Four."},"finish_reason":"stop","native_finish_reason":"end_turn"}]}

data: {"id":"gen-1","provider":"Anthropic","model":"anthropic/claude-sonnet-4.5","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null}],"usage":{"prompt_tokens":50,"completion_tokens":40,"total_tokens":90,"cost":0.00075,"is_byok":false,"prompt_tokens_details":{"cached_tokens":0},"cost_details":{"upstream_inference_cost":null},"completion_tokens_details":{"reasoning_tokens":12}}}

data: [DONE]
"#;

#[test]
fn words_arrive_in_pieces() {
    let decoded = decode(&CHAT, WORDS);
    assert_eq!(
        decoded.deltas,
        [Delta::Text("Hel".to_owned()), Delta::Text("lo.".to_owned())]
    );
    let reply = decoded.reply();
    insta::assert_debug_snapshot!(reply, @r#"
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
            "stop",
        ],
        model: Some(
            "gpt-4.1-2025-04-14",
        ),
        usage: Some(
            Usage {
                input_tokens: 1200,
                output_tokens: 30,
                cache_read_input_tokens: Some(
                    1024,
                ),
                cache_creation_input_tokens: None,
                reasoning_output_tokens: Some(
                    20,
                ),
            },
        ),
        cost_usd: None,
        refusal_category: None,
    }
    "#);
}

#[test]
fn calls_arrive_in_pieces() {
    let reply = decode(&CHAT, CALLS).reply();
    assert_eq!(reply.stop, StopCause::ToolUse);
    assert_eq!(
        json(&reply),
        json!([
            {"type": "tool_use", "id": "call_DdmO9pD3xa9XTPNJ32zg2hcA", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "call_ABCDEF1234567890", "name": "now", "input": {}},
        ])
    );
}

#[test]
fn reasoning_and_cost_of_openrouter() {
    let reply = decode(&CHAT, REASONED).reply();
    assert_eq!(reply.cost_usd, Some(0.00075));
    assert_eq!(reply.model.as_deref(), Some("anthropic/claude-sonnet-4.5"));
    assert_eq!(
        json(&reply),
        json!([
            {"type": "thinking", "thinking": "Let me think.", "signature": "openrouter:[{\"type\":\"reasoning.text\",\"text\":\"Let me think.\",\"format\":\"anthropic-claude-v1\",\"index\":0,\"signature\":\"EqQB\"}]"},
            {"type": "text", "text": "Four."},
        ])
    );
    // And back.
    let mut request = hello("m");
    request.messages.push(Message::Assistant(reply.content));
    let back = sent_value(&CHAT, "openrouter", &request)["messages"][2].clone();
    assert_eq!(back["reasoning_details"][0]["signature"], "EqQB");
}

#[test]
fn servers_that_stream_calls_in_their_own_way() {
    let call = |id: &str, city: &str| json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": city}});
    let both = |a: &str, b: &str| json!([call(a, "Paris"), call(b, "Rome")]);
    for (name, stream, content) in [
        (
            "whole calls in one chunk, all numbered zero (Ollama)",
            r#"data: {"model":"qwen3","choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"id":"call_aaaa1111","index":0,"type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}},{"id":"call_bbbb2222","index":0,"type":"function","function":{"name":"weather","arguments":"{\"city\":\"Rome\"}"}}]},"finish_reason":null}]}

            data: {"model":"qwen3","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"tool_calls"}]}

            data: [DONE]"#,
            both("call_aaaa1111", "call_bbbb2222"),
        ),
        (
            "no ids, all numbered zero (Gemini's imitation)",
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"","index":0,"function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"","index":0,"function":{"name":"weather","arguments":"{\"city\":\"Rome\"}"}}]},"finish_reason":"stop"}]}

            data: [DONE]"#,
            both("call_made_7_0", "call_made_7_1"),
        ),
        (
            "no index and no ids",
            r#"data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"weather","arguments":"{\"city\":"}}]}}]}

            data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"\"Paris\"}"}}]}}]}

            data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"weather","arguments":"{\"city\":\"Rome\"}"}}]},"finish_reason":"tool_calls"}]}

            data: [DONE]"#,
            both("call_made_7_0", "call_made_7_1"),
        ),
        (
            "the name with every piece, arguments as an object, ids that count",
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"0","function":{"name":"weather","arguments":"{\"city\":"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"0","function":{"name":"weather","arguments":"\"Paris\"}"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"1","function":{"name":"weather","arguments":{"city":"Rome"}}}]},"finish_reason":"tool_calls"}]}

            data: [DONE]"#,
            both("call_made_7_0", "call_made_7_1"),
        ),
        (
            "arguments before the name",
            r#"data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_aaaa1111","function":{"arguments":"{\"city\":"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"weather","arguments":"\"Paris\"}"}}]}}]}

            data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"functions.weather:1","function":{"name":"weather","arguments":"{\"city\":\"Rome\"}"}}]},"finish_reason":"tool_calls"}]}

            data: [DONE]"#,
            both("call_aaaa1111", "call_made_7_1"),
        ),
    ] {
        let reply = decode(&CHAT, stream).reply();
        assert_eq!(json(&reply), content, "{name}");
        assert_eq!(reply.stop, StopCause::ToolUse, "{name}");
    }
}

/// Pieces of calls: index, id, name and arguments, each only where it is given.
fn pieces_of_calls(pieces: &[(Option<u64>, &str, &str, &str)]) -> String {
    let chunks = pieces.iter().map(|(index, id, name, arguments)| {
        let mut call = json!({"type": "function", "function": {"arguments": arguments}});
        if let Some(index) = index {
            call["index"] = (*index).into();
        }
        if !id.is_empty() {
            call["id"] = (*id).into();
        }
        if !name.is_empty() {
            call["function"]["name"] = (*name).into();
        }
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    });
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
    let chunks = chunks
        .chain([end])
        .map(|chunk| format!("data: {chunk}\n\n"));
    chunks.collect::<String>() + "data: [DONE]"
}

#[test]
fn a_call_is_known_by_its_id_wherever_it_stands() {
    let (paris, rome) = (r#"{"city":"Paris"}"#, r#"{"city":"Rome"}"#);
    let (a, b) = ("call_aaaa1111", "call_bbbb2222");
    for (what, pieces, expected) in [
        (
            "another id with every piece",
            vec![
                (Some(0), a, "weather", ""),
                (Some(0), b, "", r#"{"city":"#),
                (Some(0), "call_cccc3333", "", r#""Paris"}"#),
            ],
            vec!["Paris"],
        ),
        (
            "another id and the name again with every piece",
            vec![
                (Some(0), a, "weather", ""),
                (Some(0), b, "weather", r#"{"city":"#),
                (Some(0), "call_cccc3333", "weather", r#""Paris"}"#),
            ],
            vec!["Paris"],
        ),
        (
            "an index that is not the call's, the pieces mixed",
            vec![
                (Some(0), a, "weather", r#"{"city":"#),
                (Some(1), b, "weather", r#"{"city":"#),
                (Some(0), b, "", r#""Rome"}"#),
                (Some(0), a, "", r#""Paris"}"#),
            ],
            vec!["Paris", "Rome"],
        ),
        (
            "no index, the pieces mixed",
            vec![
                (None, a, "weather", r#"{"city":"#),
                (None, b, "weather", r#"{"city":"#),
                (None, a, "", r#""Paris"}"#),
                (None, b, "", r#""Rome"}"#),
            ],
            vec!["Paris", "Rome"],
        ),
        (
            "sent whole twice, in another spelling and at another place",
            vec![
                (Some(0), a, "weather", paris),
                (Some(3), a, "weather", r#"{ "city": "Paris" }"#),
                (None, a, "weather", paris),
            ],
            vec!["Paris"],
        ),
        (
            "sent whole after its pieces, without an id",
            vec![
                (Some(0), "", "weather", r#"{"city":"#),
                (Some(0), "", "", r#""Paris"}"#),
                (Some(0), "", "weather", paris),
                (Some(0), "", "weather", ""),
            ],
            vec!["Paris"],
        ),
        (
            "one id for two calls is none",
            vec![
                (Some(0), a, "weather", paris),
                (Some(1), a, "weather", rome),
            ],
            vec!["Paris", "Rome"],
        ),
        (
            "heads without ids, all numbered zero",
            vec![
                (Some(0), "", "weather", ""),
                (Some(0), "", "", paris),
                (Some(0), "", "weather", ""),
                (Some(0), "", "", rome),
            ],
            vec!["Paris", "Rome"],
        ),
        (
            "a piece whose index nobody knows",
            vec![
                (Some(0), a, "weather", r#"{"city":"#),
                (Some(1), "", "", r#""Paris"}"#),
                (Some(7), "", "", ""),
            ],
            vec!["Paris"],
        ),
    ] {
        let reply = decode(&CHAT, &pieces_of_calls(&pieces)).reply();
        let calls = json(&reply);
        let cities: Vec<&Value> = calls
            .as_array()
            .unwrap()
            .iter()
            .map(|call| &call["input"]["city"])
            .collect();
        assert_eq!(cities, expected, "{what}");
        let ids: std::collections::HashSet<&str> = reply
            .content
            .iter()
            .map(|call| call.call().unwrap().id)
            .collect();
        assert_eq!(ids.len(), cities.len(), "{what}");
    }
}

#[test]
fn a_whole_message_after_its_pieces_says_nothing_twice() {
    let call = json!({"id": "other_id_1", "function": {"name": "weather", "arguments": "{\"city\": \"Paris\"}"}});
    let more = json!({"id": "call_dddd4444", "function": {"name": "now", "arguments": "{}"}});
    let chunks = [
        json!({"delta": {"content": "Hi."}}),
        json!({"delta": {"tool_calls": [{"index": 0, "id": "call_aaaa1111", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}}]}}),
        json!({"message": {"content": "Hi.", "tool_calls": [call, more]}, "finish_reason": "tool_calls"}),
    ];
    let stream: String = chunks
        .iter()
        .map(|choice| format!("data: {}\n\n", json!({"choices": [choice]})))
        .collect();
    let reply = decode(&CHAT, &stream).reply();
    let kinds: Vec<&str> = reply.content.iter().map(Block::kind).collect();
    assert_eq!(kinds, ["text", "tool_use", "tool_use"]);
    assert_eq!(json(&reply)[0]["text"], "Hi.");
    assert_eq!(json(&reply)[2]["name"], "now");
}

#[test]
fn what_comes_after_a_reason_counts_and_so_does_the_last_reason() {
    let usage = |input: u64, output: u64, total: u64| json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": total});
    let chunk = |words: &str, finish: &str, usage: Value| {
        let choice = json!({"index": 0, "delta": {"content": words}, "finish_reason": finish});
        format!("data: {}\n\n", json!({"choices": [choice], "usage": usage}))
    };
    let stream = chunk("alpha ", "stop", usage(900, 1, 901))
        + &chunk("beta", "length", usage(0, 10, 0))
        + &chunk("", "", usage(0, 0, 0));
    let decoded = decode(&CHAT, &stream);
    assert_eq!(decoded.stage, Stage::Stopped);
    let reply = decoded.reply();
    assert_eq!(
        json(&reply),
        json!([{"type": "text", "text": "alpha beta"}])
    );
    assert_eq!(reply.stop, StopCause::MaxTokens);
    let counted = reply.usage.unwrap();
    assert_eq!((counted.input_tokens, counted.output_tokens), (900, 10));

    // A server that counts only one part, and the sum.
    let reply = decode(&CHAT, &chunk("x", "stop", usage(0, 10, 910))).reply();
    assert_eq!(reply.usage.unwrap().input_tokens, 900);
}

#[test]
fn ways_to_stop() {
    for (choice, stop, category) in [
        (
            json!({"delta": {"content": "x"}, "finish_reason": "stop"}),
            StopCause::EndTurn,
            None,
        ),
        (
            json!({"delta": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}),
            StopCause::StopSequence,
            None,
        ),
        (
            json!({"delta": {"content": "x"}, "finish_reason": "length"}),
            StopCause::MaxTokens,
            None,
        ),
        (
            json!({"delta": {"content": "x"}, "finish_reason": "content_filter"}),
            StopCause::Refusal,
            Some("content_filter"),
        ),
        (
            json!({"delta": {}, "finish_reason": "content_filter"}),
            StopCause::Refusal,
            Some("content_filter"),
        ),
        (
            json!({"delta": {"refusal": "I can't."}, "finish_reason": "stop"}),
            StopCause::Refusal,
            None,
        ),
        (
            json!({"delta": {"content": "x"}, "finish_reason": "odd"}),
            StopCause::Other,
            None,
        ),
    ] {
        let stream = format!("data: {}\n\ndata: [DONE]", json!({"choices": [choice]}));
        let reply = decode(&CHAT, &stream).reply();
        assert_eq!(reply.stop, stop, "{choice}");
        assert_eq!(reply.refusal_category.as_deref(), category, "{choice}");
        assert!(
            !reply.content.is_empty(),
            "a turn without content is no turn: {choice}"
        );
    }
}

#[test]
fn whole_answers_are_read_as_well() {
    let reply = whole(&CHAT, &json!({
        "id": "chatcmpl-123", "object": "chat.completion", "model": "magistral",
        "choices": [{"index": 0, "message": {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Hi"}],
            "tool_calls": [{"id": "D681PevKs", "type": "function", "function": {"name": "now", "arguments": "{}"}}],
        }, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21, "prompt_cache_hit_tokens": 4},
    })).unwrap();
    assert_eq!(
        json(&reply),
        json!([
            {"type": "thinking", "thinking": "Hm."},
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "D681PevKs", "name": "now", "input": {}},
        ])
    );
    assert_eq!(reply.usage.unwrap().cache_read_input_tokens, Some(4));
    for broken in [json!({}), json!([]), json!({"choices": []}), json!("no")] {
        assert_eq!(
            whole(&CHAT, &broken).unwrap_err().class,
            Class::Garbled,
            "{broken}"
        );
    }
    let refused = whole(
        &CHAT,
        &json!({"error": {"message": "Too many", "code": 429}}),
    )
    .unwrap_err();
    assert_eq!(refused.class, Class::RateLimited);
}

#[test]
fn calls_with_broken_arguments_are_calls_with_what_is_wrong_with_them() {
    for arguments in [
        "{\"city\":",
        "[1]",
        "null",
        "\"x\"",
        "{\"a\":1,\"a\":2}",
        "{} {}",
    ] {
        let chunk = json!({"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "call_aaaa1111", "function": {"name": "weather", "arguments": arguments}}]}, "finish_reason": "tool_calls"}]});
        let reply = decode(&CHAT, &format!("data: {chunk}\n\ndata: [DONE]")).reply();
        let call = &reply.content[0];
        assert_eq!(call.call().unwrap().name, "weather");
        let reason = call.malformed().unwrap();
        assert_eq!(
            call.as_map()["input"],
            json!({"unparsed_arguments": arguments, "error": reason})
        );
        // Cut off by the length it may have: the reply is what it says it is.
        let cut = chunk.to_string().replace(
            "\"finish_reason\":\"tool_calls\"",
            "\"finish_reason\":\"length\"",
        );
        let reply = decode(&CHAT, &format!("data: {cut}\n\ndata: [DONE]")).reply();
        assert_eq!((reply.stop, reply.content.len()), (StopCause::MaxTokens, 0));
    }
}

#[test]
fn a_stream_that_is_cut_off_gives_what_has_arrived() {
    let events = events(CALLS);
    for end in 0..events.len() {
        let decoded = decode_events(&CHAT, &events[..end]);
        assert_eq!(
            decoded.stage == Stage::Stopped,
            end > 4,
            "after {end} events"
        );
        let reply = decoded.reply.unwrap();
        let calls = reply.content.iter().filter(|block| block.call().is_some());
        assert_eq!(
            calls.count(),
            [0, 1, 0, 1, 2, 2, 2][end],
            "after {end} events"
        );
    }
}

#[test]
fn failures_inside_a_stream_are_failures() {
    for (data, class) in [
        (
            r#"{"error":{"message":"Provider disconnected","code":502},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            Class::Overloaded,
        ),
        (
            r#"{"error":{"message":"out of memory","type":"server_error"}}"#,
            Class::Overloaded,
        ),
        (r#"{"error":"something"}"#, Class::Overloaded),
        (
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens","code":400}"#,
            Class::ContextLimit,
        ),
        (
            r#"{"choices":[{"delta":{},"finish_reason":"insufficient_system_resource"}]}"#,
            Class::Overloaded,
        ),
        ("garbage", Class::Garbled),
        ("[]", Class::Garbled),
        ("{\"choices\":", Class::Garbled),
    ] {
        let failure = decode(&CHAT, &format!("data: {data}")).failure();
        assert_eq!(failure.class, class, "{data}: {failure}");
    }
    let empty = decode(&CHAT, "data: [DONE]");
    assert_eq!(empty.stage, Stage::Complete);
    assert_eq!(empty.failure().class, Class::Garbled);
}

#[test]
fn replies_are_bounded() {
    let mut decoder = CHAT.decoder(0);
    let feed = |decoder: &mut dyn crate::model::wire::Decoder, delta: Value| {
        let data = json!({"choices": [{"delta": delta}]}).to_string();
        decoder.event(&ServerEvent {
            event: String::new(),
            data,
        })
    };
    let mebibyte = "x".repeat(1 << 20);
    let text = (0..17).find_map(|_| feed(&mut *decoder, json!({"content": mebibyte})).err());
    assert_eq!(text.unwrap().class, Class::Garbled);

    let mut decoder = CHAT.decoder(0);
    let call = json!({"tool_calls": [{"index": 0, "id": "call_aaaa1111", "function": {"name": "t", "arguments": mebibyte}}]});
    let arguments = (0..5)
        .find_map(|_| feed(&mut *decoder, call.clone()).err())
        .unwrap();
    assert!(arguments.message.contains("`t`"), "{arguments}");

    let mut decoder = CHAT.decoder(0);
    let blocks = (0..1001).find_map(|n| {
        let call =
            json!({"tool_calls": [{"index": n, "function": {"name": "t", "arguments": "{}"}}]});
        feed(&mut *decoder, call).err()
    });
    assert_eq!(blocks.unwrap().class, Class::Garbled);

    let mut decoder = CHAT.decoder(0);
    let nameless = json!({"tool_calls": [{"index": 0, "function": {"arguments": mebibyte}}]});
    assert!((0..5).any(|_| feed(&mut *decoder, nameless.clone()).is_err()));
    let mut decoder = CHAT.decoder(0);
    let detail = json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": mebibyte}]});
    assert!((0..17).any(|_| feed(&mut *decoder, detail.clone()).is_err()));
}

#[test]
fn reasoning_that_xai_counts_apart_is_output() {
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "completion_tokens_details": {"reasoning_tokens": 100}, "cost_in_usd_ticks": 25_000_000_000_u64});
    let answer = json!({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage});
    let reply = whole(&CHAT, &answer).unwrap();
    assert_eq!(reply.usage.unwrap().output_tokens, 105);
    assert_eq!(reply.cost_usd, Some(2.5));
}

proptest! {
    #[test]
    fn any_events_are_survived(events in prop::collection::vec(any_json(), 0..6)) {
        let events: Vec<ServerEvent> = events
            .iter()
            .map(|value| ServerEvent { event: String::new(), data: value.to_string() })
            .collect();
        decode_events(&CHAT, &events);
    }

    #[test]
    fn damaged_streams_are_survived(damages in any_damage(), which in 0..3_usize) {
        let stream = [WORDS, CALLS, REASONED][which];
        let mut decoder = CHAT.decoder(0);
        for event in damaged(stream, &damages) {
            let _ = decoder.event(&event);
        }
        let _ = decoder.reply();
    }

    #[test]
    fn neither_cuts_of_the_body_nor_signs_of_life_matter(which in 0..3_usize, noise in any_noise(), size in 1..60_usize) {
        let stream = [WORDS, CALLS, REASONED][which];
        let noisy = read(&CHAT, &noisy(stream, &noise), size);
        prop_assert_eq!(noisy.reply(), decode(&CHAT, stream).reply());
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
            let mut deltas = Vec::new();
            for piece in pieces(&thought, cuts) {
                deltas.push(json!({"reasoning_content": piece}));
            }
            for piece in pieces(&words, cuts) {
                deltas.push(json!({"content": piece}));
            }
            let first = json!({"index": 0, "id": "call_aaaa1111", "function": {"name": "t", "arguments": ""}});
            deltas.push(json!({"tool_calls": [first]}));
            for piece in pieces(&arguments, cuts) {
                deltas.push(json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}));
            }
            let mut stream: Vec<ServerEvent> = deltas
                .iter()
                .map(|delta| json!({"choices": [{"index": 0, "delta": delta}]}))
                .chain([json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})])
                .map(|chunk| ServerEvent { event: String::new(), data: chunk.to_string() })
                .collect();
            stream.push(ServerEvent { event: String::new(), data: "[DONE]".to_owned() });
            stream
        };
        let cut = decode_events(&CHAT, &stream(&cuts)).reply();
        prop_assert_eq!(&cut, &decode_events(&CHAT, &stream(&[])).reply());
        prop_assert_eq!(&json(&cut)[2]["input"]["a"], &Value::from(argument));
    }
}

/// In every format: a result that is there for programs alone is not lost on the model.
#[test]
fn a_structured_result_reaches_the_model_where_there_is_no_content() {
    use crate::model::Input;
    use crate::model::anthropic::Messages;
    use crate::model::gemini::Gemini;
    use crate::model::openai_responses::Responses;
    for empty in [json!(""), json!([])] {
        let mut request = with_tools("m");
        let answered = |message: &mut Message| {
            let Message::User(inputs) = message else {
                return;
            };
            for input in inputs {
                if let Input::ToolResult(result) = input {
                    result.content = empty.clone();
                    result.structured = Some(json!({"answer": 4242}));
                }
            }
        };
        request.messages.iter_mut().for_each(answered);
        let formats: [&dyn Wire; 4] = [&CHAT, &Responses, &Gemini, &Messages];
        for format in formats {
            let sent = sent(format, "openai", &request);
            assert_eq!(sent.matches("4242").count(), 2, "{sent}");
        }
    }
}
