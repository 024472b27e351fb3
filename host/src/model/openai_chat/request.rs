//! A request as a Chat Completions document.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{REASONING_CONTENT, REASONING_DETAILS};
use crate::model::assembly::{member, seal, text, unseal};
use crate::model::media::{Source, document_text, title};
use crate::model::strict_schema::is_strict;
use crate::model::wire::Unsupported;
use crate::model::{Input, Message, Request, ToolChoice};
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

/// The document for a provider.
pub(super) fn body(provider: &str, request: &Request) -> Result<Value, Unsupported> {
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    set("model", request.model.as_str().into());
    set("messages", messages(provider, request)?);
    set("stream", true.into());
    // Mistral refuses members it does not know, and counts tokens without being asked.
    if provider != "mistral" {
        set("stream_options", json!({"include_usage": true}));
    }
    if provider == "openrouter" {
        set("usage", json!({"include": true}));
    }

    let tools = tools(request);
    if tools.is_empty() {
        if matches!(request.tool_choice, ToolChoice::Any | ToolChoice::Tool(_)) {
            return Err(unsupported("a tool has to be called, and none is offered"));
        }
    } else {
        set("tools", tools.into());
        match &request.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::Any if provider == "mistral" => set("tool_choice", "any".into()),
            ToolChoice::Any => set("tool_choice", "required".into()),
            ToolChoice::None => set("tool_choice", "none".into()),
            ToolChoice::Tool(name) => set(
                "tool_choice",
                json!({"type": "function", "function": {"name": name}}),
            ),
        }
    }
    if let Some(schema) = &request.output_schema {
        let format = json!({"name": "reply", "schema": schema, "strict": is_strict(schema)});
        set(
            "response_format",
            json!({"type": "json_schema", "json_schema": format}),
        );
    }

    let sampling = &request.sampling;
    if let Some(temperature) = sampling.temperature {
        set("temperature", temperature.into());
    }
    if let Some(top_p) = sampling.top_p {
        set("top_p", top_p.into());
    }
    if let Some(max) = sampling.max_output_tokens {
        // OpenAI's reasoning models refuse the old name; many other servers do not know the new one.
        let key = match provider {
            "openai" | "azure" => "max_completion_tokens",
            _ => "max_tokens",
        };
        set(key, max.into());
    }
    if !sampling.stop_sequences.is_empty() {
        set("stop", sampling.stop_sequences.clone().into());
    }
    if let Some(tokens) = sampling.reasoning_tokens {
        match provider {
            "openrouter" if tokens == 0 => set("reasoning", json!({"enabled": false})),
            "openrouter" => set("reasoning", json!({"max_tokens": tokens})),
            "openai" | "azure" | "groq" | "ollama" => {
                set("reasoning_effort", effort(tokens).into());
            }
            // Others have no common word for it, and some refuse unknown ones.
            _ => {}
        }
    }
    Ok(Value::Object(body))
}

/// How much reasoning a number of tokens is, in `OpenAI`'s words.
pub(in crate::model) fn effort(reasoning_tokens: u32) -> &'static str {
    match reasoning_tokens {
        0 => "none",
        1..=2048 => "low",
        2049..=8192 => "medium",
        _ => "high",
    }
}

fn tools(request: &Request) -> Vec<Value> {
    let own = request.tools.iter().map(|tool| {
        let mut function = Map::new();
        function.insert("name".to_owned(), tool.name.as_str().into());
        if let Some(description) = &tool.description {
            function.insert("description".to_owned(), description.as_str().into());
        }
        let parameters = tool.input_schema.clone();
        let parameters = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        function.insert("parameters".to_owned(), parameters);
        json!({"type": "function", "function": function})
    });
    own.chain(request.provider_tools.iter().cloned()).collect()
}

fn messages(provider: &str, request: &Request) -> Result<Value, Unsupported> {
    let mut messages = Vec::new();
    if let Some(system) = &request.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    for message in &request.messages {
        match message {
            Message::User(inputs) => user(provider, inputs, &mut messages)?,
            Message::Assistant(blocks) => messages.push(assistant(provider, blocks)),
        }
    }
    Ok(messages.into())
}

/// Results are messages of their own, and have to follow the calls immediately.
fn user(provider: &str, inputs: &[Input], messages: &mut Vec<Value>) -> Result<(), Unsupported> {
    let mut parts = Vec::new();
    for input in inputs {
        if let Input::ToolResult(result) = input {
            messages.push(json!({
                "role": "tool",
                "tool_call_id": call_id(provider, &result.call_id),
                "content": result_text(provider, result, &mut parts)?,
            }));
        }
    }
    for input in inputs {
        if let Input::Block(block) = input {
            parts.push(part(
                provider,
                &serde_json::to_value(block).unwrap_or_default(),
            )?);
        }
    }
    let content = match parts.as_slice() {
        [] => return Ok(()),
        // Some servers know no list of parts.
        [one] if member(one, "type") == "text" => member(one, "text").clone(),
        _ => parts.into(),
    };
    messages.push(json!({"role": "user", "content": content}));
    Ok(())
}

/// The words of a result. The format has no place for anything else there: media follow as parts of the
/// user message after it.
fn result_text(
    provider: &str,
    result: &ToolResult,
    parts: &mut Vec<Value>,
) -> Result<String, Unsupported> {
    let mut words = Vec::new();
    match &*result.told() {
        Value::Array(blocks) => {
            for block in blocks {
                let part = part(provider, block)?;
                if let Some(text) = text(&part, "text") {
                    words.push(text.to_owned());
                } else if member(&part, "type") != "text" {
                    let call = call_id(provider, &result.call_id);
                    let note = format!("Part of the result of call {call}:");
                    words.push("(attached below)".to_owned());
                    parts.push(json!({"type": "text", "text": note}));
                    parts.push(part);
                }
            }
        }
        Value::String(text) => words.push(text.clone()),
        other => words.push(other.to_string()),
    }
    let words = words.join("\n\n");
    Ok(if result.is_error {
        format!("Error: {words}")
    } else {
        words
    })
}

fn part(provider: &str, block: &Value) -> Result<Value, Unsupported> {
    match text(block, "type").unwrap_or_default() {
        "text" => Ok(json!({"type": "text", "text": member(block, "text")})),
        "image" => match Source::of(block)?.url() {
            Some(url) => Ok(json!({"type": "image_url", "image_url": {"url": url}})),
            None => Err(unsupported("a picture by file id")),
        },
        "audio" => match Source::of(block)? {
            Source::Inline { media_type, data } => {
                let format = match media_type {
                    "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
                    "audio/mpeg" | "audio/mp3" => "mp3",
                    other => return Err(unsupported(format!("sound as `{other}`"))),
                };
                Ok(json!({"type": "input_audio", "input_audio": {"data": data, "format": format}}))
            }
            Source::Url(_) | Source::File(_) => Err(unsupported("sound by reference")),
        },
        "video" => match Source::of(block)?.url() {
            Some(url) if provider != "openai" && provider != "azure" => {
                Ok(json!({"type": "video_url", "video_url": {"url": url}}))
            }
            _ => Err(unsupported("a film")),
        },
        "document" => {
            let source = Source::of(block)?;
            if let Some(text) = source.inline_text() {
                return Ok(json!({"type": "text", "text": document_text(block, &text)}));
            }
            match source {
                Source::Inline { .. } => {
                    let file = json!({"filename": title(block), "file_data": source.url()});
                    Ok(json!({"type": "file", "file": file}))
                }
                Source::File(id) => Ok(json!({"type": "file", "file": {"file_id": id}})),
                Source::Url(url) if provider == "openrouter" => {
                    let file = json!({"filename": title(block), "file_data": url});
                    Ok(json!({"type": "file", "file": file}))
                }
                Source::Url(_) => Err(unsupported("a document by URL")),
            }
        }
        other => Err(unsupported(format!("a `{other}` block in a user message"))),
    }
}

fn assistant(provider: &str, blocks: &[Block]) -> Value {
    let mut words = String::new();
    let mut refusal = String::new();
    let mut reasoning = String::new();
    // The server has shown that it speaks it.
    let mut is_wanted = false;
    let mut details = Vec::new();
    let mut calls = Vec::new();
    for block in blocks {
        let block = serde_json::to_value(block).unwrap_or_default();
        match text(&block, "type").unwrap_or_default() {
            "text" => words.push_str(text(&block, "text").unwrap_or_default()),
            "refusal" => refusal.push_str(text(&block, "refusal").unwrap_or_default()),
            "thinking" => {
                reasoning.push_str(text(&block, "thinking").unwrap_or_default());
                is_wanted |= unseal(REASONING_CONTENT, &block).is_some();
                if let Some(sealed) = unseal(REASONING_DETAILS, &block)
                    && let Ok(Value::Array(list)) = serde_json::from_str(sealed)
                {
                    details.extend(list);
                }
            }
            "tool_use" => calls.push(json!({
                "id": call_id(provider, text(&block, "id").unwrap_or_default()),
                "type": "function",
                "function": {"name": member(&block, "name"), "arguments": member(&block, "input").to_string()},
            })),
            // A picture the model drew cannot be handed back; that there was one can be said.
            kind @ ("image" | "audio" | "video" | "document") => {
                words.push_str(&format!("({kind})"));
            }
            // What the provider's own tools did is the provider's to remember.
            _ => {}
        }
    }
    if provider != "openai" && provider != "azure" {
        words.push_str(&std::mem::take(&mut refusal));
    }
    let mut message = Map::new();
    message.insert("role".to_owned(), "assistant".into());
    let is_wordless = words.is_empty() && (!calls.is_empty() || !refusal.is_empty());
    let content = if is_wordless {
        Value::Null
    } else {
        words.into()
    };
    message.insert("content".to_owned(), content);
    if !refusal.is_empty() {
        message.insert("refusal".to_owned(), refusal.into());
    }
    match provider {
        "openrouter" if !details.is_empty() => {
            message.insert("reasoning_details".to_owned(), details.into());
        }
        // These want reasoning back within a loop of calls; most others refuse the member.
        "deepseek" | "moonshotai" | "moonshot" | "zai" if !reasoning.is_empty() => {
            message.insert("reasoning_content".to_owned(), reasoning.into());
        }
        _ if is_wanted && !calls.is_empty() => {
            message.insert("reasoning_content".to_owned(), reasoning.into());
        }
        _ => {}
    }
    if !calls.is_empty() {
        message.insert("tool_calls".to_owned(), calls.into());
    }
    Value::Object(message)
}

/// Mistral takes ids of nine letters and digits, and no others.
fn call_id(provider: &str, id: &str) -> String {
    const LENGTH: usize = 9;
    let fits = id.len() == LENGTH && id.bytes().all(|b| b.is_ascii_alphanumeric());
    if provider != "mistral" || fits {
        return id.to_owned();
    }
    let digest = Sha256::digest(id.as_bytes());
    let hex = digest.iter().map(|byte| format!("{byte:02x}"));
    hex.collect::<String>().chars().take(LENGTH).collect()
}

/// Details of reasoning as the signature of a thinking block.
pub(super) fn seal_details(details: &[Value]) -> String {
    seal(
        REASONING_DETAILS,
        &Value::from(details.to_vec()).to_string(),
    )
}

fn unsupported(what: impl Into<String>) -> Unsupported {
    Unsupported(format!(
        "chat completions have no place for this: {}",
        what.into()
    ))
}
