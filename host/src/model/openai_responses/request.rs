//! A request as a Responses document.

use serde_json::{Map, Value, json};

use super::REASONING;
use crate::model::assembly::{member, text, unseal};
use crate::model::media::{Source, title};
use crate::model::openai_chat::effort;
use crate::model::strict_schema::is_strict;
use crate::model::wire::Unsupported;
use crate::model::{Input, Message, Request, ToolChoice};
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

/// Tools of `OpenAI` that are described to the model by the provider and run by the client, in ways that
/// a tool call of this host has no place for.
const CLIENT_TOOLS: [&str; 5] = ["computer", "local_shell", "shell", "apply_patch", "custom"];

/// The document.
pub(super) fn body(request: &Request) -> Result<Value, Unsupported> {
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| drop(body.insert(key.to_owned(), value));
    set("model", request.model.as_str().into());
    if let Some(system) = &request.system {
        set("instructions", system.as_str().into());
    }
    set("input", input(request)?);
    set("stream", true.into());
    set("store", false.into());
    // Models that do not reason refuse to be asked for reasoning.
    if reasons(&request.model) {
        set("include", json!(["reasoning.encrypted_content"]));
    }

    let tools = tools(request)?;
    if tools.is_empty() {
        if matches!(request.tool_choice, ToolChoice::Any | ToolChoice::Tool(_)) {
            return Err(unsupported("a tool has to be called, and none is offered"));
        }
    } else {
        set("tools", tools.into());
        match &request.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::Any => set("tool_choice", "required".into()),
            ToolChoice::None => set("tool_choice", "none".into()),
            ToolChoice::Tool(name) => {
                set("tool_choice", json!({"type": "function", "name": name}));
            }
        }
    }
    if let Some(schema) = &request.output_schema {
        let strict = is_strict(schema);
        let format =
            json!({"type": "json_schema", "name": "reply", "schema": schema, "strict": strict});
        set("text", json!({"format": format}));
    }

    // There are no stop sequences in this format.
    let sampling = &request.sampling;
    if let Some(temperature) = sampling.temperature {
        set("temperature", temperature.into());
    }
    if let Some(top_p) = sampling.top_p {
        set("top_p", top_p.into());
    }
    if let Some(max) = sampling.max_output_tokens {
        set("max_output_tokens", max.into());
    }
    match sampling.reasoning_tokens {
        Some(0) => set("reasoning", json!({"effort": effort(0)})),
        // Summaries are not asked for by default: organisations have to be verified for them.
        Some(tokens) => set(
            "reasoning",
            json!({"effort": effort(tokens), "summary": "auto"}),
        ),
        None => {}
    }
    Ok(Value::Object(body))
}

/// The families that do not reason are old and known; what comes will reason.
fn reasons(model: &str) -> bool {
    let model = model.strip_prefix("ft:").unwrap_or(model);
    let is_plain = ["gpt-3", "gpt-4", "chatgpt-"]
        .iter()
        .any(|family| model.starts_with(family));
    !is_plain && !model.contains("-chat")
}

fn tools(request: &Request) -> Result<Vec<Value>, Unsupported> {
    let mut tools = Vec::new();
    for tool in &request.tools {
        let mut function = Map::new();
        function.insert("type".to_owned(), "function".into());
        function.insert("name".to_owned(), tool.name.as_str().into());
        if let Some(description) = &tool.description {
            function.insert("description".to_owned(), description.as_str().into());
        }
        let parameters = tool.input_schema.clone();
        let parameters = parameters.unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        function.insert("parameters".to_owned(), parameters);
        // Strict is the default here, and refuses most schemas.
        function.insert("strict".to_owned(), false.into());
        tools.push(Value::Object(function));
    }
    for tool in &request.provider_tools {
        let kind = text(tool, "type").unwrap_or_default();
        if CLIENT_TOOLS.iter().any(|prefix| kind.starts_with(prefix)) {
            return Err(unsupported(format!(
                "the provider tool `{kind}`, which the client has to run"
            )));
        }
        tools.push(tool.clone());
    }
    Ok(tools)
}

fn input(request: &Request) -> Result<Value, Unsupported> {
    let mut items = Vec::new();
    for message in &request.messages {
        match message {
            Message::User(inputs) => user(inputs, &mut items)?,
            Message::Assistant(blocks) => assistant(blocks, &mut items),
        }
    }
    Ok(items.into())
}

fn user(inputs: &[Input], items: &mut Vec<Value>) -> Result<(), Unsupported> {
    let mut parts = Vec::new();
    for input in inputs {
        match input {
            Input::ToolResult(result) => items.push(json!({
                "type": "function_call_output",
                "call_id": result.call_id,
                "output": output(result)?,
            })),
            Input::Block(block) => {
                parts.push(part(&serde_json::to_value(block).unwrap_or_default())?);
            }
        }
    }
    if !parts.is_empty() {
        items.push(json!({"type": "message", "role": "user", "content": parts}));
    }
    Ok(())
}

fn output(result: &ToolResult) -> Result<Value, Unsupported> {
    const MARK: &str = "Error: ";
    match &*result.told() {
        Value::String(text) if result.is_error => Ok(format!("{MARK}{text}").into()),
        Value::String(text) => Ok(text.as_str().into()),
        Value::Array(blocks) => {
            let mut parts = blocks.iter().map(part).collect::<Result<Vec<_>, _>>()?;
            if result.is_error {
                parts.insert(0, json!({"type": "input_text", "text": MARK.trim()}));
            }
            Ok(parts.into())
        }
        other => Ok(other.to_string().into()),
    }
}

fn part(block: &Value) -> Result<Value, Unsupported> {
    match text(block, "type").unwrap_or_default() {
        "text" => Ok(json!({"type": "input_text", "text": member(block, "text")})),
        "image" => Ok(match Source::of(block)? {
            Source::File(id) => json!({"type": "input_image", "file_id": id, "detail": "auto"}),
            source => json!({"type": "input_image", "image_url": source.url(), "detail": "auto"}),
        }),
        "document" => {
            let source = Source::of(block)?;
            if let Some(text) = source.inline_text() {
                let text = crate::model::media::document_text(block, &text);
                return Ok(json!({"type": "input_text", "text": text}));
            }
            Ok(match source {
                Source::File(id) => json!({"type": "input_file", "file_id": id}),
                Source::Url(url) => json!({"type": "input_file", "file_url": url}),
                Source::Inline { .. } => json!({
                    "type": "input_file",
                    "filename": title(block),
                    "file_data": source.url(),
                }),
            })
        }
        other => Err(unsupported(format!("a `{other}` block in a user message"))),
    }
}

/// What the model said, as the items it said it in. Ids of messages and calls are left out: nothing is
/// stored at the provider that they could name.
fn assistant(blocks: &[Block], items: &mut Vec<Value>) {
    for block in blocks {
        let block = serde_json::to_value(block).unwrap_or_default();
        let item = match text(&block, "type").unwrap_or_default() {
            "text" => message(&json!({"type": "output_text", "text": member(&block, "text")})),
            "refusal" => message(&json!({"type": "refusal", "refusal": member(&block, "refusal")})),
            "thinking" => match reasoning(&block) {
                Some(item) => item,
                None => continue,
            },
            "tool_use" => json!({
                "type": "function_call",
                "call_id": member(&block, "id"),
                "name": member(&block, "name"),
                "arguments": member(&block, "input").to_string(),
            }),
            // The result carries the whole item, see `answer.rs`; others' results are not understood.
            "server_tool_result" => match block.get("content") {
                Some(item) if text(item, "type").is_some_and(is_item) => item.clone(),
                _ => continue,
            },
            // A picture the model drew is in the item of the tool that drew it.
            _ => continue,
        };
        items.push(item);
    }
}

fn message(part: &Value) -> Value {
    json!({"type": "message", "role": "assistant", "content": [part]})
}

fn is_item(kind: &str) -> bool {
    kind.ends_with("_call")
}

fn reasoning(block: &Value) -> Option<Value> {
    let (id, encrypted) = unseal(REASONING, block)?.split_once(':')?;
    let mut item = Map::new();
    item.insert("type".to_owned(), "reasoning".into());
    if !id.is_empty() {
        item.insert("id".to_owned(), id.into());
    }
    let summary = text(block, "thinking").map(|text| json!({"type": "summary_text", "text": text}));
    item.insert("summary".to_owned(), summary.into_iter().collect());
    item.insert("encrypted_content".to_owned(), encrypted.into());
    Some(Value::Object(item))
}

fn unsupported(what: impl Into<String>) -> Unsupported {
    Unsupported(format!("responses have no place for this: {}", what.into()))
}
