//! A request as a document of the Messages interface.

use serde_json::{Map, Value, json};

use super::REDACTED;
use crate::model::assembly::text;
use crate::model::media::{Source, document_text, title};
use crate::model::wire::Unsupported;
use crate::model::{Input, Message, Request, ToolChoice};
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

/// Tokens of a reply where nothing is said: the interface insists on a number.
const MAX_TOKENS: u32 = 8192;

/// The document.
pub(super) fn body(request: &Request) -> Result<Value, Unsupported> {
    let sampling = &request.sampling;
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    set("model", request.model.as_str().into());
    set("stream", true.into());
    // What is thought counts as output, and has to leave room for words.
    let reasoning = sampling.reasoning_tokens.unwrap_or_default();
    let max = sampling
        .max_output_tokens
        .unwrap_or(MAX_TOKENS.saturating_add(reasoning));
    set("max_tokens", max.into());
    if let Some(tokens) = sampling.reasoning_tokens {
        set(
            "thinking",
            match tokens {
                0 => json!({"type": "disabled"}),
                tokens => json!({"type": "enabled", "budget_tokens": tokens}),
            },
        );
    }
    if let Some(temperature) = sampling.temperature {
        // Its scale ends at 1.
        set("temperature", temperature.min(1.0).into());
    }
    if let Some(top_p) = sampling.top_p {
        set("top_p", top_p.into());
    }
    if !sampling.stop_sequences.is_empty() {
        set("stop_sequences", sampling.stop_sequences.clone().into());
    }
    let mut system = request.system.clone().unwrap_or_default();
    if let Some(schema) = &request.output_schema {
        if is_closed(schema) {
            set(
                "output_config",
                json!({"format": {"type": "json_schema", "schema": schema}}),
            );
        } else {
            // Only schemas that name all members are enforced; others are a request to the model.
            if !system.is_empty() {
                system.push_str("\n\n");
            }
            system.push_str("Answer with one JSON document and nothing else. It has to match this JSON Schema:\n");
            system.push_str(&schema.to_string());
        }
    }
    if !system.is_empty() {
        set("system", system.into());
    }
    let mut tools: Vec<Value> = request.tools.iter().map(tool).collect();
    let choice = match &request.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::Any => Some(json!({"type": "any"})),
        ToolChoice::None => Some(json!({"type": "none"})),
        ToolChoice::Tool(name) => Some(json!({"type": "tool", "name": name})),
    };
    tools.extend(request.provider_tools.iter().cloned());
    if !tools.is_empty() {
        set("tools", tools.into());
        if let Some(choice) = choice {
            set("tool_choice", choice);
        }
    }
    set("messages", messages(request)?);
    Ok(Value::Object(body))
}

fn tool(tool: &crate::descriptor::ToolDecl) -> Value {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), tool.name.as_str().into());
    if let Some(description) = &tool.description {
        shown.insert("description".to_owned(), description.as_str().into());
    }
    let schema = tool.input_schema.clone();
    let schema = schema.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    shown.insert("input_schema".to_owned(), schema);
    Value::Object(shown)
}

/// True when every object in a schema names all its members, as enforcing it needs.
fn is_closed(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let is_object = map.get("type").is_some_and(|kind| kind == "object")
                || map.get("properties").is_some_and(Value::is_object);
            (!is_object || map.get("additionalProperties") == Some(&Value::Bool(false)))
                && map.values().all(is_closed)
        }
        Value::Array(items) => items.iter().all(is_closed),
        _ => true,
    }
}

/// Neighbours of one role become one message: what is empty is left out, and the rest has to take turns.
fn messages(request: &Request) -> Result<Value, Unsupported> {
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let (role, blocks) = match message {
            Message::User(inputs) => ("user", user(inputs)?),
            Message::Assistant(blocks) => {
                ("assistant", blocks.iter().filter_map(assistant).collect())
            }
        };
        if blocks.is_empty() {
            continue;
        }
        match messages.last_mut() {
            Some((last, content)) if *last == role => content.extend(blocks),
            _ => messages.push((role, blocks)),
        }
    }
    Ok(messages
        .into_iter()
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect())
}

/// Results come first: a call's result has to follow it at once.
fn user(inputs: &[Input]) -> Result<Vec<Value>, Unsupported> {
    let mut blocks = Vec::new();
    for input in inputs {
        if let Input::ToolResult(result) = input {
            blocks.push(tool_result(result)?);
        }
    }
    for input in inputs {
        if let Input::Block(block) = input {
            blocks.extend(told(&Value::Object(block.as_map().clone()))?);
        }
    }
    Ok(blocks)
}

fn tool_result(result: &ToolResult) -> Result<Value, Unsupported> {
    let content = match &*result.told() {
        Value::Array(blocks) => {
            let mut content = Vec::new();
            for block in blocks {
                content.extend(told(block)?);
            }
            Value::Array(content)
        }
        Value::String(text) if text.is_empty() => Value::Array(Vec::new()),
        other => other.clone(),
    };
    let mut block = Map::new();
    block.insert("type".to_owned(), "tool_result".into());
    block.insert("tool_use_id".to_owned(), id(&result.call_id).into());
    block.insert("content".to_owned(), content);
    if result.is_error {
        block.insert("is_error".to_owned(), true.into());
    }
    Ok(Value::Object(block))
}

/// A block of what the model is told; empty text is refused there, so it is left out.
fn told(block: &Value) -> Result<Option<Value>, Unsupported> {
    let kind = block
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Some(match kind {
        "text" => match text(block, "text") {
            Some(text) => json!({"type": "text", "text": text}),
            None => return Ok(None),
        },
        "image" => json!({"type": "image", "source": source(Source::of(block)?)}),
        "document" => {
            let from = Source::of(block)?;
            let name = title(block);
            match from {
                Source::Inline {
                    media_type: "application/pdf",
                    ..
                }
                | Source::Url(_)
                | Source::File(_) => {
                    json!({"type": "document", "source": source(from), "title": name})
                }
                Source::Inline { media_type, .. } => match from.inline_text() {
                    Some(text) if text.is_empty() => {
                        json!({"type": "text", "text": document_text(block, "(empty)")})
                    }
                    Some(text) => json!({
                        "type": "document",
                        "source": {"type": "text", "media_type": "text/plain", "data": text},
                        "title": name,
                    }),
                    None => {
                        return Err(Unsupported(format!(
                            "Anthropic reads no documents of type `{media_type}`"
                        )));
                    }
                },
            }
        }
        other => {
            return Err(Unsupported(format!("Anthropic takes no `{other}` blocks")));
        }
    }))
}

fn source(source: Source<'_>) -> Value {
    match source {
        Source::Inline { media_type, data } => {
            json!({"type": "base64", "media_type": media_type, "data": data})
        }
        Source::Url(url) => json!({"type": "url", "url": url}),
        Source::File(id) => json!({"type": "file", "file_id": id}),
    }
}

/// A block of what the model said, when it is one Anthropic takes back.
fn assistant(block: &Block) -> Option<Value> {
    let value = Value::Object(block.as_map().clone());
    let field = |key: &str| text(&value, key);
    match block.kind() {
        "text" => {
            let mut said = json!({"type": "text", "text": field("text")?});
            if let (Some(citations), Some(said)) = (value.get("citations"), said.as_object_mut()) {
                said.insert("citations".to_owned(), citations.clone());
            }
            Some(said)
        }
        "refusal" => Some(json!({"type": "text", "text": field("refusal")?})),
        "thinking" => {
            // Other providers' are sealed with their name; they are of no use here, and refused.
            let signature = field("signature").filter(|signature| !signature.contains(':'))?;
            Some(if value.get(REDACTED).is_some() {
                json!({"type": "redacted_thinking", "data": signature})
            } else {
                let thinking = value
                    .get("thinking")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                json!({"type": "thinking", "thinking": thinking, "signature": signature})
            })
        }
        "tool_use" => Some(json!({
            "type": "tool_use",
            "id": id(field("id")?),
            "name": field("name")?,
            "input": value.get("input")?,
        })),
        "server_tool_use" if is_ours(block) => Some(json!({
            "type": "server_tool_use",
            "id": field("id")?,
            "name": field("name")?,
            "input": value.get("input")?,
        })),
        "server_tool_result" if is_ours(block) => Some(json!({
            "type": format!("{}_tool_result", field("name")?),
            "tool_use_id": field("tool_use_id")?,
            "content": value.get("content")?,
        })),
        // Media a model made cannot be handed back.
        _ => None,
    }
}

/// False for a block that carries something of another provider's.
fn is_ours(block: &Block) -> bool {
    block
        .as_map()
        .keys()
        .all(|key| !key.contains('.') || key.starts_with("anthropic."))
}

/// Ids of other providers may have characters Anthropic refuses.
fn id(id: &str) -> String {
    id.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => c,
            _ => '_',
        })
        .collect()
}
