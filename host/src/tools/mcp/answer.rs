//! What servers answer, put into the form the protocol gives it.
//!
//! The types of the protocol refuse a whole answer for one member that is not what it should be, and servers of
//! all kinds have such members. Here an odd tool costs that tool, an odd part of a result that part, and what is
//! lost is named. What comes out is read by those types.

use rmcp::model::{
    ClientRequest, ErrorCode, ErrorData, ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use serde_json::{Map, Value, json};

use super::cut;
use crate::json::printable;

/// Where a list of tools says what was left out of it. What the server says there is dropped.
pub(super) const LEFT_OUT: &str = "wasm-agent/left-out";

/// What is left out of one page of a list, at most.
const MAX_NOTES: usize = 100;

/// Longest name of something odd that is shown, in bytes.
const MAX_SHOWN: usize = 100;

/// Where an answer to `server/discover` says who the server is.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// What a request asks for, as far as its answer has a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Discover,
    Initialize,
    Tools,
    Call,
    Resources,
    Resource,
    Prompts,
    Prompt,
    Other,
}

impl Asked {
    pub(super) fn of(request: &ClientRequest) -> Asked {
        match request {
            ClientRequest::DiscoverRequest(_) => Asked::Discover,
            ClientRequest::InitializeRequest(_) => Asked::Initialize,
            ClientRequest::ListToolsRequest(_) => Asked::Tools,
            ClientRequest::CallToolRequest(_) => Asked::Call,
            ClientRequest::ListResourcesRequest(_) => Asked::Resources,
            ClientRequest::ReadResourceRequest(_) => Asked::Resource,
            ClientRequest::ListPromptsRequest(_) => Asked::Prompts,
            ClientRequest::GetPromptRequest(_) => Asked::Prompt,
            _ => Asked::Other,
        }
    }
}

/// Whether a message answers something: it is no request and no notification.
pub(super) fn is_answer(message: &Value) -> bool {
    message.get("method").is_none()
        && (message.get("result").is_some() || message.get("error").is_some())
}

/// The id of a message that a request of ours may have. Some servers answer `1` with `"1"`; ours are all numbers.
pub(super) fn id_of(message: &Value) -> Option<RequestId> {
    match message.get("id")? {
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::String(text) => Some(text.parse().map_or_else(
            |_| RequestId::String(text.as_str().into()),
            RequestId::Number,
        )),
        _ => None,
    }
}

/// The answer to the request `id`, which asked for this.
pub(super) fn read(message: Value, id: &RequestId, asked: Asked) -> ServerJsonRpcMessage {
    let message = in_order(message, id, asked);
    serde_json::from_value(message).unwrap_or_else(|error| {
        tracing::debug!(%error, "a tool server's answer cannot be read");
        failure(id.clone(), "the server's answer cannot be read")
    })
}

/// An answer that says that there is none.
pub(super) fn failure(id: RequestId, text: &str) -> ServerJsonRpcMessage {
    ServerJsonRpcMessage::error(ErrorData::internal_error(text.to_owned(), None), Some(id))
}

/// An answer to `server/discover` that says that the server is an older one.
pub(super) fn older(id: RequestId, text: &str) -> ServerJsonRpcMessage {
    let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, text.to_owned(), None);
    ServerJsonRpcMessage::error(error, Some(id))
}

/// The same answer, under the id of its request, with whatever is odd about it left out.
pub(super) fn in_order(mut message: Value, id: &RequestId, asked: Asked) -> Value {
    let Some(object) = message.as_object_mut() else {
        return message;
    };
    object.insert("id".to_owned(), json!(id));
    let error = object.remove("error").filter(|error| !error.is_null());
    let outcome = match (error, object.remove("result")) {
        (Some(error), _) => Err(refusal(&error, asked)),
        (None, Some(result)) => match (asked, result) {
            (Asked::Discover, result) => discovered(&result),
            (asked, Value::Object(result)) => Ok(ordered(asked, result)),
            (_, result) => Ok(result),
        },
        (None, None) => return message,
    };
    match outcome {
        Ok(result) => object.insert("result".to_owned(), result),
        Err(error) => object.insert("error".to_owned(), error),
    };
    message
}

fn ordered(asked: Asked, result: Map<String, Value>) -> Value {
    match asked {
        Asked::Initialize => initialized(&Value::Object(result)),
        Asked::Tools => tools(result),
        Asked::Call => called(result),
        Asked::Resources => entries(result, "resources", resource),
        Asked::Resource => entries(result, "contents", |given| Some(contents(given))),
        Asked::Prompts => entries(result, "prompts", prompt),
        Asked::Prompt => entries(result, "messages", spoken),
        Asked::Discover | Asked::Other => Value::Object(result),
    }
}

/// An error of the server's, as one of the protocol.
fn refusal(error: &Value, asked: Asked) -> Value {
    let code = error.get("code").and_then(Value::as_i64);
    let text = match error {
        Value::String(text) => text.clone(),
        error => match error.get("message") {
            Some(Value::String(text)) => text.clone(),
            _ => format!("an error without a message: {}", brief(error)),
        },
    };
    if asked == Asked::Discover {
        // Whatever is wrong with it, an older protocol is tried.
        let supported = error.get("data").and_then(|data| data.get("supported"));
        let text = supported.map_or(text, speaks);
        return json!({"code": ErrorCode::METHOD_NOT_FOUND.0, "message": text});
    }
    json!({"code": code.unwrap_or(-32603), "message": text, "data": error.get("data")})
}

/// What a server of other versions is told of as.
pub(super) const SPEAKS: &str = "it speaks the protocol versions";

fn speaks(supported: &Value) -> String {
    let newest = ProtocolVersion::V_2026_07_28;
    let before = ProtocolVersion::V_2025_11_25;
    format!(
        "{SPEAKS} {}, and this host {newest}, {before} and older ones",
        brief(supported)
    )
}

/// What `server/discover` found, or why the server is an older one.
pub(super) fn discovered(result: &Value) -> Result<Value, Value> {
    let newest = ProtocolVersion::V_2026_07_28;
    let supported = result.get("supportedVersions");
    let listed = supported.and_then(Value::as_array);
    if !listed.is_some_and(|listed| listed.iter().any(|it| it == newest.as_str())) {
        let text = match supported {
            Some(supported) => speaks(supported),
            None => "it answered `server/discover` with something else".to_owned(),
        };
        return Err(json!({"code": ErrorCode::METHOD_NOT_FOUND.0, "message": text}));
    }
    let told = result.get("_meta").and_then(|meta| meta.get(SERVER_INFO));
    let info = told.or_else(|| result.get("serverInfo"));
    Ok(json!({
        "resultType": "complete",
        "supportedVersions": [newest.as_str()],
        "capabilities": capabilities(result.get("capabilities")),
        "instructions": result.get("instructions").filter(|it| it.is_string()),
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {SERVER_INFO: who(info)},
    }))
}

/// What an answer to `server/discover` says, as an answer to `initialize`: to a server that has come late to it.
pub(super) fn as_initialized(discovered: &Value) -> Value {
    let info = discovered
        .get("_meta")
        .and_then(|meta| meta.get(SERVER_INFO));
    json!({
        "protocolVersion": ProtocolVersion::V_2026_07_28.as_str(),
        "capabilities": discovered.get("capabilities"),
        "serverInfo": info,
        "instructions": discovered.get("instructions"),
    })
}

fn initialized(result: &Value) -> Value {
    let version = result.get("protocolVersion").and_then(Value::as_str);
    json!({
        // The oldest there is, where a server does not say.
        "protocolVersion": version.unwrap_or(ProtocolVersion::V_2024_11_05.as_str()),
        "capabilities": capabilities(result.get("capabilities")),
        "serverInfo": who(result.get("serverInfo")),
        "instructions": result.get("instructions").filter(|it| it.is_string()),
    })
}

/// What a server can do, as far as it is used.
fn capabilities(given: Option<&Value>) -> Value {
    let mut kept = Map::new();
    for name in ["tools", "resources", "prompts"] {
        match given.and_then(|given| given.get(name)) {
            Some(Value::Object(members)) => {
                let members = members.iter().filter(|(_, value)| value.is_boolean());
                let members = members.map(|(key, value)| (key.clone(), value.clone()));
                kept.insert(name.to_owned(), Value::Object(members.collect()));
            }
            None | Some(Value::Null | Value::Bool(false)) => {}
            Some(_) => {
                kept.insert(name.to_owned(), json!({}));
            }
        }
    }
    Value::Object(kept)
}

/// The name and version of a server; empty where it does not say.
fn who(info: Option<&Value>) -> Value {
    let member = |name| match info.and_then(|info| info.get(name)) {
        Some(Value::String(text)) => text.clone(),
        Some(number @ Value::Number(_)) => number.to_string(),
        _ => String::new(),
    };
    json!({"name": member("name"), "version": member("version")})
}

/// What is left out of a list.
#[derive(Default)]
struct LeftOut(Vec<Value>);

impl LeftOut {
    fn note(&mut self, tool: Option<&str>, why: &str) {
        if self.0.len() < MAX_NOTES {
            self.0.push(json!({"tool": tool, "why": why}));
        }
    }
}

fn tools(mut result: Map<String, Value>) -> Value {
    let listed = match result.remove("tools") {
        Some(Value::Array(listed)) => listed,
        // What a language without lists of its own makes of an empty one.
        Some(Value::Object(none)) if none.is_empty() => Vec::new(),
        other => return json!({ "tools": other }),
    };
    let mut left_out = LeftOut::default();
    let tools: Vec<_> = listed
        .into_iter()
        .filter_map(|given| tool(given, &mut left_out))
        .collect();
    let count = tools.len();
    json!({
        "tools": tools,
        "nextCursor": cursor(&result),
        "_meta": {LEFT_OUT: {"notes": left_out.0, "tools": count}},
    })
}

/// Where a list goes on. An empty cursor is one.
fn cursor(result: &Map<String, Value>) -> Option<String> {
    match result.get("nextCursor")? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A tool without its odd members; nothing where it cannot be called without them.
fn tool(given: Value, left_out: &mut LeftOut) -> Option<Value> {
    let Value::Object(given) = given else {
        left_out.note(None, "a tool that is no object");
        return None;
    };
    let name = match given.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        other => {
            let found = other.map_or_else(|| "none".to_owned(), brief);
            left_out.note(None, &format!("a tool whose name is no text: {found}"));
            return None;
        }
    };
    let support = given.get("execution").and_then(|it| it.get("taskSupport"));
    if support.is_some_and(|it| it == "required") {
        let why = "it can only be called as a task, which this host does not do";
        left_out.note(Some(&name), why);
        return None;
    }
    let mut kept = Map::new();
    match input_schema(given.get("inputSchema")) {
        Ok((schema, odd)) => {
            kept.insert("inputSchema".to_owned(), Value::Object(schema));
            if let Some(odd) = odd {
                left_out.note(Some(&name), odd);
            }
        }
        Err(found) => {
            let why = format!("its `inputSchema` is no object: {found}");
            left_out.note(Some(&name), &why);
            return None;
        }
    }
    for (member, value) in &given {
        if is_odd(member, value) {
            let why = format!("without its `{member}`, which cannot be read");
            left_out.note(Some(&name), &why);
        } else if matches!(member.as_str(), "description" | "outputSchema") && !value.is_null() {
            kept.insert(member.clone(), value.clone());
        }
    }
    if let Some(Value::Object(hints)) = given.get("annotations") {
        // Of the hints one is used.
        match hints.get("readOnlyHint") {
            Some(Value::Bool(hint)) => {
                kept.insert("annotations".to_owned(), json!({ "readOnlyHint": hint }));
            }
            None | Some(Value::Null) => {}
            Some(_) => {
                let why = "without its `readOnlyHint`, which is neither true nor false";
                left_out.note(Some(&name), why);
            }
        }
    }
    kept.insert("name".to_owned(), name.into());
    Some(Value::Object(kept))
}

/// The schema of a tool's arguments, and what was odd about it.
fn input_schema(
    given: Option<&Value>,
) -> Result<(Map<String, Value>, Option<&'static str>), String> {
    let any = || Map::from_iter([("type".to_owned(), Value::from("object"))]);
    match given {
        Some(Value::Object(schema)) => {
            let mut schema = schema.clone();
            let is_list = |value: &Value| value.is_null() || value == &json!([]);
            if schema.get("properties").is_some_and(is_list) {
                schema.insert("properties".to_owned(), json!({}));
                let odd = "the `properties` of its `inputSchema` are no object; it has none";
                return Ok((schema, Some(odd)));
            }
            Ok((schema, None))
        }
        None | Some(Value::Null | Value::Bool(true)) => {
            let odd = "without its `inputSchema`, which is no object; any arguments are taken";
            Ok((any(), Some(odd)))
        }
        // What a language without objects of its own makes of an empty one.
        Some(Value::Array(none)) if none.is_empty() => Ok((
            any(),
            Some("without its `inputSchema`, which is an empty list; any arguments are taken"),
        )),
        Some(other) => Err(brief(other)),
    }
}

/// Whether a member of a tool is something else than the protocol has there.
fn is_odd(member: &str, value: &Value) -> bool {
    if value.is_null() {
        return false;
    }
    match member {
        "description" | "title" => !value.is_string(),
        "outputSchema" | "annotations" | "_meta" => !value.is_object(),
        "execution" => {
            let known = ["forbidden", "optional", "required"];
            match value.get("taskSupport") {
                None => !value.is_object(),
                Some(support) => !support.as_str().is_some_and(|it| known.contains(&it)),
            }
        }
        "icons" => {
            let is_icon = |icon: &Value| icon.get("src").is_some_and(Value::is_string);
            !value
                .as_array()
                .is_some_and(|icons| icons.iter().all(is_icon))
        }
        _ => false,
    }
}

/// The result of a call.
fn called(mut result: Map<String, Value>) -> Value {
    let is_complete = |kind: &Value| kind.is_null() || kind == "complete";
    if !result.get("resultType").is_none_or(is_complete) {
        // Not a result yet.
        return Value::Object(result);
    }
    let content = match result.remove("content") {
        Some(Value::Array(parts)) => parts.into_iter().map(part).collect(),
        None | Some(Value::Null) => match result.remove("toolResult") {
            // What a result was called at first.
            Some(Value::String(text)) => vec![text_part(&text)],
            Some(value) if !value.is_null() => vec![text_part(&value.to_string())],
            _ => Vec::new(),
        },
        Some(only) => vec![part(only)],
    };
    let is_error = match result.get("isError") {
        Some(Value::Bool(is_error)) => *is_error,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        Some(Value::Number(number)) => number.as_i64() != Some(0),
        _ => false,
    };
    let mut kept = Map::new();
    kept.insert("content".to_owned(), Value::Array(content));
    kept.insert("isError".to_owned(), is_error.into());
    let structured = result.remove("structuredContent");
    if let Some(structured) = structured.filter(|it| !it.is_null()) {
        kept.insert("structuredContent".to_owned(), structured);
    }
    Value::Object(kept)
}

fn text_part(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// A part of a result, or a word in its place.
fn part(given: Value) -> Value {
    readable(given).unwrap_or_else(|why| text_part(&format!("[{why}]")))
}

fn readable(given: Value) -> Result<Value, String> {
    let given = match given {
        Value::String(text) => return Ok(text_part(&text)),
        Value::Object(given) => given,
        other => {
            return Err(format!(
                "a part of the result that cannot be read: {}",
                brief(&other)
            ));
        }
    };
    let text = |member: &str| given.get(member).and_then(Value::as_str);
    match text("type") {
        Some("text") => match given.get("text") {
            Some(Value::String(words)) => Ok(text_part(words)),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(text_part(&value.to_string())),
            _ => Err("a text of the result is left out: it has no text".to_owned()),
        },
        Some(kind @ ("image" | "audio")) => {
            let data = text("data");
            let data = data.ok_or_else(|| format!("an {kind} without its data is left out"))?;
            let media_type = text("mimeType").or_else(|| kind_of(data));
            let media_type = media_type.ok_or_else(|| {
                format!("an {kind} of an unknown kind is left out: it has no `mimeType`")
            })?;
            Ok(json!({"type": kind, "data": data, "mimeType": media_type}))
        }
        Some("resource") => match given.get("resource") {
            Some(inside @ Value::Object(_)) => {
                let inside = contents_of(inside)?;
                Ok(json!({"type": "resource", "resource": inside}))
            }
            _ => Err("a resource of the result is left out: nothing is in it".to_owned()),
        },
        Some("resource_link") => {
            let uri = text("uri").ok_or("a link without its URI is left out")?;
            let mut kept = json!({"type": "resource_link", "uri": uri});
            put(&mut kept, "name", text("name").unwrap_or(uri));
            if let Some(description) = text("description") {
                put(&mut kept, "description", description);
            }
            Ok(kept)
        }
        Some(kind) => Err(format!(
            "a part of the kind `{}` is left out: this host does not know it",
            shown(kind)
        )),
        None => match text("text") {
            Some(words) => Ok(text_part(words)),
            None => Err("a part of the result is left out: it does not say its kind".to_owned()),
        },
    }
}

/// What data in base64 is, by its first bytes or what a `data:` URL says.
fn kind_of(data: &str) -> Option<&str> {
    const BEGINNINGS: [(&str, &str); 4] = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
    ];
    let data = data.trim_start();
    if let Some(url) = data.strip_prefix("data:") {
        let said = url.split([';', ',']).next();
        return said.filter(|kind| kind.contains('/'));
    }
    let known = BEGINNINGS.iter().find(|(start, _)| data.starts_with(start));
    known.map(|(_, kind)| *kind)
}

/// What is in a resource, or a word in its place.
fn contents(given: &Value) -> Value {
    contents_of(given).unwrap_or_else(|why| json!({"uri": "", "text": format!("[{why}]")}))
}

fn contents_of(given: &Value) -> Result<Value, String> {
    let text = |member: &str| given.get(member).and_then(Value::as_str);
    let mut kept = json!({"uri": text("uri").unwrap_or_default()});
    if let Some(kind) = text("mimeType") {
        put(&mut kept, "mimeType", kind);
    }
    match (text("text"), text("blob")) {
        (Some(words), _) => put(&mut kept, "text", words),
        (None, Some(blob)) => put(&mut kept, "blob", blob),
        (None, None) => {
            return Err("a resource is left out: it has neither text nor bytes".to_owned());
        }
    }
    Ok(kept)
}

/// A list whose odd entries are left out.
fn entries(
    mut result: Map<String, Value>,
    member: &str,
    entry: impl Fn(&Value) -> Option<Value>,
) -> Value {
    let Some(Value::Array(listed)) = result.remove(member) else {
        return Value::Object(result);
    };
    let kept: Vec<_> = listed.iter().filter_map(entry).collect();
    let mut ordered = json!({ member: kept });
    if let Some(cursor) = cursor(&result) {
        put(&mut ordered, "nextCursor", cursor);
    }
    ordered
}

fn resource(given: &Value) -> Option<Value> {
    let text = |member: &str| given.get(member).and_then(Value::as_str);
    let uri = text("uri")?;
    let mut kept = json!({"uri": uri, "name": text("name").unwrap_or(uri)});
    for member in ["title", "description", "mimeType"] {
        if let Some(value) = text(member) {
            put(&mut kept, member, value);
        }
    }
    if let Some(size) = given.get("size").and_then(Value::as_u64) {
        put(
            &mut kept,
            "size",
            u32::try_from(size).map_or(Value::Null, Value::from),
        );
    }
    Some(kept)
}

fn prompt(given: &Value) -> Option<Value> {
    let text = |given: &Value, member: &str| given.get(member)?.as_str().map(str::to_owned);
    let mut kept = json!({"name": text(given, "name")?});
    for member in ["title", "description"] {
        if let Some(value) = text(given, member) {
            put(&mut kept, member, value);
        }
    }
    if let Some(Value::Array(arguments)) = given.get("arguments") {
        let arguments = arguments.iter().filter_map(|given| {
            let mut kept = json!({"name": text(given, "name")?});
            if let Some(value) = text(given, "description") {
                put(&mut kept, "description", value);
            }
            if let Some(required) = given.get("required").and_then(Value::as_bool) {
                put(&mut kept, "required", required);
            }
            Some(kept)
        });
        put(&mut kept, "arguments", Value::Array(arguments.collect()));
    }
    Some(kept)
}

/// A message of a prompt.
fn spoken(given: &Value) -> Option<Value> {
    let role = match given.get("role").and_then(Value::as_str) {
        Some("assistant") => "assistant",
        Some(_) | None => "user",
    };
    let content = given.get("content").cloned().unwrap_or_default();
    Some(json!({"role": role, "content": part(content)}))
}

fn put(kept: &mut Value, member: &str, value: impl Into<Value>) {
    if let Some(kept) = kept.as_object_mut() {
        kept.insert(member.to_owned(), value.into());
    }
}

/// A value in a few words.
fn brief(value: &Value) -> String {
    shown(&value.to_string())
}

fn shown(text: &str) -> String {
    printable(&cut(text, MAX_SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmcp::model::ServerResult;

    const ALL: [Asked; 9] = [
        Asked::Discover,
        Asked::Initialize,
        Asked::Tools,
        Asked::Call,
        Asked::Resources,
        Asked::Resource,
        Asked::Prompts,
        Asked::Prompt,
        Asked::Other,
    ];

    /// Members of answers with any value in them, most of them wrong.
    fn anything() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec![
            "tools",
            "name",
            "inputSchema",
            "annotations",
            "icons",
            "execution",
            "taskSupport",
            "content",
            "type",
            "text",
            "data",
            "mimeType",
            "resource",
            "uri",
            "blob",
            "contents",
            "messages",
            "role",
            "prompts",
            "arguments",
            "resources",
            "size",
            "nextCursor",
            "structuredContent",
            "isError",
            "_meta",
            "resultType",
            "capabilities",
            "serverInfo",
            "protocolVersion",
            "supportedVersions",
            "message",
            "code",
            "properties",
        ]);
        let words = prop::sample::select(vec![
            "text",
            "image",
            "resource",
            "resource_link",
            "object",
            "2026-07-28",
            "ä",
            "",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            words.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..8).prop_map(|members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_answer_is_read_under_the_id_of_its_request(given in anything(), member in prop::sample::select(vec!["result", "error"])) {
            let id = RequestId::Number(7);
            for asked in ALL {
                let message = json!({"jsonrpc": "2.0", "id": "other", member: given});
                match read(message, &id, asked) {
                    ServerJsonRpcMessage::Response(answer) => prop_assert_eq!(answer.id, id.clone()),
                    ServerJsonRpcMessage::Error(answer) => prop_assert_eq!(answer.id, Some(id.clone())),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }

        #[test]
        fn a_list_is_a_list_and_a_result_a_result_whatever_is_in_them(given in prop::collection::vec(anything(), 0..6)) {
            let id = RequestId::Number(7);
            for (asked, member) in [(Asked::Tools, "tools"), (Asked::Call, "content")] {
                let message = json!({"jsonrpc": "2.0", "id": 7, "result": {member: given}});
                let ServerJsonRpcMessage::Response(answer) = read(message, &id, asked) else {
                    return Err(TestCaseError::fail("no result"));
                };
                match answer.result {
                    ServerResult::ListToolsResult(list) if asked == Asked::Tools => prop_assert!(list.tools.len() <= given.len()),
                    ServerResult::CallToolResult(result) if asked == Asked::Call => prop_assert_eq!(result.content.len(), given.len()),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
