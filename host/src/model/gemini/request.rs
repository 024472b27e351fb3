//! A request as a `generateContent` document.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::SIGNATURE;
use crate::model::assembly::{is_made_up, member, text, unseal};
use crate::model::media::{Source, document_text};
use crate::model::wire::Unsupported;
use crate::model::{Input, Message, Request, ToolChoice};
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

/// What stands for a signature where the calls of a conversation were not Gemini's own. Gemini 3 refuses
/// calls without one, and its documentation names this value for them.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// What needs no escape in a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Kinds of things that generate content.
const COLLECTIONS: [&str; 2] = ["models", "tunedModels"];

/// The path of a model: one segment after the collection it is in, whatever its name.
pub(super) fn model_path(model: &str) -> Result<String, Unsupported> {
    let (collection, name) = match model.split_once('/') {
        Some((collection, name)) if COLLECTIONS.contains(&collection) => (collection, name),
        _ => ("models", model),
    };
    if matches!(name, "" | "." | "..") {
        return Err(unsupported(format!("a model called `{name}`")));
    }
    Ok(format!(
        "{collection}/{}",
        utf8_percent_encode(name, SEGMENT)
    ))
}

/// The document.
pub(super) fn body(request: &Request) -> Result<Value, Unsupported> {
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    if let Some(system) = &request.system {
        set("systemInstruction", json!({"parts": [{"text": system}]}));
    }
    set("contents", contents(request)?);

    let declarations: Vec<Value> = request.tools.iter().map(declaration).collect();
    let mut tools = request.provider_tools.clone();
    if declarations.is_empty() {
        if matches!(request.tool_choice, ToolChoice::Any | ToolChoice::Tool(_)) {
            return Err(unsupported("a tool has to be called, and none is offered"));
        }
    } else {
        tools.insert(0, json!({"functionDeclarations": declarations}));
        let calling = match &request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::Any => Some(json!({"mode": "ANY"})),
            ToolChoice::None => Some(json!({"mode": "NONE"})),
            ToolChoice::Tool(name) => Some(json!({"mode": "ANY", "allowedFunctionNames": [name]})),
        };
        if let Some(calling) = calling {
            set("toolConfig", json!({"functionCallingConfig": calling}));
        }
    }
    if !tools.is_empty() {
        set("tools", tools.into());
    }

    let config = generation_config(request);
    if !config.is_empty() {
        set("generationConfig", Value::Object(config));
    }
    Ok(Value::Object(body))
}

fn declaration(tool: &crate::descriptor::ToolDecl) -> Value {
    let mut declaration = Map::new();
    declaration.insert("name".to_owned(), tool.name.as_str().into());
    let description = tool.description.as_deref().unwrap_or_default();
    declaration.insert("description".to_owned(), description.into());
    // `parameters` takes a dialect of its own; this member takes JSON Schema.
    if let Some(schema) = &tool.input_schema {
        declaration.insert("parametersJsonSchema".to_owned(), schema.clone());
    }
    Value::Object(declaration)
}

fn generation_config(request: &Request) -> Map<String, Value> {
    let sampling = &request.sampling;
    let mut config = Map::new();
    let mut set = |key: &str, value: Value| drop(config.insert(key.to_owned(), value));
    if let Some(temperature) = sampling.temperature {
        set("temperature", temperature.into());
    }
    if let Some(top_p) = sampling.top_p {
        set("topP", top_p.into());
    }
    if let Some(max) = sampling.max_output_tokens {
        set("maxOutputTokens", max.into());
    }
    if !sampling.stop_sequences.is_empty() {
        set("stopSequences", sampling.stop_sequences.clone().into());
    }
    if let Some(tokens) = sampling.reasoning_tokens {
        let thinking = json!({"thinkingBudget": tokens, "includeThoughts": tokens > 0});
        set("thinkingConfig", thinking);
    }
    if let Some(schema) = &request.output_schema {
        set("responseMimeType", "application/json".into());
        set("responseJsonSchema", schema.clone());
    }
    config
}

fn contents(request: &Request) -> Result<Value, Unsupported> {
    let needs_signatures = request.model.contains("gemini")
        && !["gemini-1", "gemini-2"]
            .iter()
            .any(|family| request.model.contains(family));
    // Results name the function, not only the call.
    let mut names = HashMap::new();
    let mut contents = Vec::new();
    for message in &request.messages {
        let (role, parts) = match message {
            Message::User(inputs) => ("user", user(inputs, &names)?),
            Message::Assistant(blocks) => {
                for call in blocks.iter().filter_map(Block::call) {
                    names.insert(call.id.to_owned(), call.name.to_owned());
                }
                ("model", assistant(blocks, needs_signatures))
            }
        };
        if !parts.is_empty() {
            contents.push(json!({"role": role, "parts": parts}));
        }
    }
    Ok(contents.into())
}

/// Results come first, in the order of the conversation; media of results follow them.
fn user(inputs: &[Input], names: &HashMap<String, String>) -> Result<Vec<Value>, Unsupported> {
    let mut parts = Vec::new();
    let mut after = Vec::new();
    for input in inputs {
        match input {
            Input::ToolResult(result) => parts.push(response(result, names, &mut after)?),
            Input::Block(block) => {
                after.push(part(&serde_json::to_value(block).unwrap_or_default())?);
            }
        }
    }
    parts.append(&mut after);
    Ok(parts)
}

fn response(
    result: &ToolResult,
    names: &HashMap<String, String>,
    after: &mut Vec<Value>,
) -> Result<Value, Unsupported> {
    let Some(name) = names.get(&result.call_id) else {
        return Err(unsupported(format!(
            "the result of call `{}`, which is not in the conversation",
            crate::json::printable(&result.call_id)
        )));
    };
    let mut words = Vec::new();
    match &*result.told() {
        Value::Array(blocks) => {
            for block in blocks {
                let part = part(block)?;
                match text(&part, "text") {
                    Some(text) => words.push(text.to_owned()),
                    None if part.get("text").is_none() => {
                        words.push("(attached below)".to_owned());
                        after.push(part);
                    }
                    None => {}
                }
            }
        }
        Value::String(text) => words.push(text.clone()),
        other => words.push(other.to_string()),
    }
    let key = if result.is_error { "error" } else { "output" };
    let mut function = Map::new();
    if !is_made_up(&result.call_id) {
        function.insert("id".to_owned(), result.call_id.as_str().into());
    }
    function.insert("name".to_owned(), name.as_str().into());
    function.insert("response".to_owned(), json!({key: words.join("\n\n")}));
    Ok(json!({"functionResponse": function}))
}

fn part(block: &Value) -> Result<Value, Unsupported> {
    match text(block, "type").unwrap_or_default() {
        "text" => Ok(json!({"text": member(block, "text")})),
        "image" | "audio" | "video" | "document" => {
            let source = Source::of(block)?;
            if let Some(text) = source.inline_text() {
                return Ok(json!({"text": document_text(block, &text)}));
            }
            Ok(match source {
                Source::Inline { media_type, data } => {
                    json!({"inlineData": {"mimeType": media_type, "data": data}})
                }
                Source::Url(uri) | Source::File(uri) => {
                    json!({"fileData": {"fileUri": uri}})
                }
            })
        }
        other => Err(unsupported(format!("a `{other}` block in a user message"))),
    }
}

fn assistant(blocks: &[Block], needs_signatures: bool) -> Vec<Value> {
    let mut parts = Vec::new();
    let mut signature: Option<String> = None;
    let mut has_call = false;
    for block in blocks {
        let block = serde_json::to_value(block).unwrap_or_default();
        let kind = text(&block, "type").unwrap_or_default();
        let mut part = match kind {
            "text" => json!({"text": member(&block, "text")}),
            "refusal" => json!({"text": member(&block, "refusal")}),
            "thinking" => {
                let Some(own) = unseal(SIGNATURE, &block) else {
                    continue;
                };
                // The signature before belonged to a part without content.
                if let Some(before) = signature.replace(own.to_owned()) {
                    parts.push(bare(&before));
                }
                match text(&block, "thinking") {
                    Some(thought) => json!({"text": thought, "thought": true}),
                    None => continue,
                }
            }
            "tool_use" => {
                let mut call = Map::new();
                if let Some(id) = text(&block, "id").filter(|id| !is_made_up(id)) {
                    call.insert("id".to_owned(), id.into());
                }
                call.insert("name".to_owned(), member(&block, "name").clone());
                call.insert("args".to_owned(), member(&block, "input").clone());
                // Of parallel calls only the first is signed.
                if needs_signatures && !has_call && signature.is_none() {
                    signature = Some(NO_SIGNATURE.to_owned());
                }
                has_call = true;
                json!({"functionCall": call})
            }
            "server_tool_use" if text(&block, "name") == Some("code_execution") => {
                json!({"executableCode": member(&block, "input")})
            }
            "server_tool_result" if text(&block, "name") == Some("code_execution") => {
                json!({"codeExecutionResult": member(&block, "content")})
            }
            "image" | "audio" | "video" | "document" => match self::part(&block) {
                Ok(part) => part,
                Err(_) => continue,
            },
            // What grounding found is the provider's to remember.
            _ => continue,
        };
        if let (Some(signature), Some(part)) = (signature.take(), part.as_object_mut()) {
            part.insert("thoughtSignature".to_owned(), signature.into());
        }
        parts.push(part);
    }
    if let Some(signature) = signature {
        parts.push(bare(&signature));
    }
    parts
}

/// A part that is nothing but its signature; streams end with one.
fn bare(signature: &str) -> Value {
    json!({"text": "", "thoughtSignature": signature})
}

fn unsupported(what: impl Into<String>) -> Unsupported {
    Unsupported(format!("gemini has no place for this: {}", what.into()))
}
