//! A tool server that behaves as it is told: what the self-test and the tests of MCP start.
//!
//! Speaks MCP over its standard streams, by hand: what it sends wrong has to be wrong on purpose. It runs
//! in a process of its own, started by `wasm-agent selftest --tool-server MANNER`.

#![expect(
    clippy::indexing_slicing,
    reason = "of a JSON value that is read, a member that is missing is null"
)]

use std::io::{self, BufRead, BufReader, Write};
use std::time::Duration;

use serde_json::{Value, json};

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Plain,
    /// It lists ten thousand tools.
    Many,
    /// It reads and never answers.
    Mute,
    /// It ends before it is connected.
    Dead,
    /// It sends without end once it is connected.
    Flood,
}

impl Manner {
    const ALL: [(&str, Manner); 5] = [
        ("plain", Manner::Plain),
        ("many", Manner::Many),
        ("mute", Manner::Mute),
        ("dead", Manner::Dead),
        ("flood", Manner::Flood),
    ];

    /// The manner of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Manner> {
        let found = Manner::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, manner)| *manner)
    }
}

/// Serves until its input ends.
///
/// # Errors
///
/// Its output cannot be written.
pub fn serve(manner: Manner) -> io::Result<()> {
    if manner == Manner::Dead {
        writeln!(io::stderr(), "there is nothing here")?;
        std::process::exit(3);
    }
    let mut out = io::stdout();
    for line in BufReader::new(io::stdin()).lines() {
        let Ok(request) = serde_json::from_str::<Value>(&line?) else {
            continue;
        };
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        if manner == Manner::Mute {
            continue;
        }
        let Some(id) = request.get("id") else {
            if method == "notifications/initialized" && manner == Manner::Flood {
                std::thread::spawn(flood);
            }
            if method == "notifications/cancelled" {
                writeln!(io::stderr(), "cancelled")?;
            }
            continue;
        };
        let params = &request["params"];
        let answer = match method.as_str() {
            "initialize" => json!({ "result": {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {"listChanged": true}, "resources": {}, "prompts": {}},
                "serverInfo": {"name": "self-test", "version": "1"},
                "instructions": "Be quick.",
            }}),
            "ping" => json!({ "result": {} }),
            "tools/list" => json!({ "result": list(manner, params) }),
            "tools/call" => match call(&mut out, id, params)? {
                Some(answer) => answer,
                None => continue,
            },
            "resources/list" => json!({ "result": {"resources": [
                {"uri": "note://1", "name": "one", "mimeType": "text/plain"},
                {"uri": "note://2", "name": "two"},
            ]}}),
            "resources/read" => json!({ "result": {"contents": [
                {"uri": params["uri"], "mimeType": "text/plain", "text": "a note"},
            ]}}),
            "prompts/list" => json!({ "result": {"prompts": [
                {"name": "greet", "arguments": [{"name": "tone"}, {"name": "who", "required": true}]},
            ]}}),
            "prompts/get" => json!({ "result": {"messages": [
                {"role": "user", "content": {"type": "text",
                    "text": format!("Greet {}.", params["arguments"]["who"].as_str().unwrap_or("nobody"))}},
            ]}}),
            _ => json!({ "error": {"code": -32601, "message": "no such method"} }),
        };
        answer_with(&mut out, id, answer)?;
    }
    Ok(())
}

fn answer_with(out: &mut impl Write, id: &Value, mut answer: Value) -> io::Result<()> {
    if let Some(object) = answer.as_object_mut() {
        object.insert("jsonrpc".to_owned(), "2.0".into());
        object.insert("id".to_owned(), id.clone());
    }
    send(out, &answer)
}

fn send(out: &mut impl Write, message: &Value) -> io::Result<()> {
    writeln!(out, "{message}")?;
    out.flush()
}

fn flood() {
    let mut out = io::stdout();
    let line = json!({"jsonrpc": "2.0", "method": "notifications/message",
        "params": {"level": "info", "data": "x".repeat(100)}});
    while send(&mut out, &line).is_ok() {}
}

fn list(manner: Manner, params: &Value) -> Value {
    const PAGE: usize = 500;
    if manner == Manner::Many {
        let from: usize = params["cursor"]
            .as_str()
            .and_then(|cursor| cursor.parse().ok())
            .unwrap_or(0);
        let tools: Vec<_> = (from..from + PAGE)
            .map(|n| json!({"name": format!("tool-{n}"), "inputSchema": {"type": "object"}}))
            .collect();
        let next = from + PAGE;
        return match next < 10_000 {
            true => json!({"tools": tools, "nextCursor": next.to_string()}),
            false => json!({ "tools": tools }),
        };
    }
    let text =
        json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let number = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]});
    let nothing = json!({"type": "object"});
    let reads = json!({"readOnlyHint": true});
    json!({"tools": [
        {"name": "echo", "description": "Says it again.", "inputSchema": text, "annotations": reads},
        {"name": "sleep", "description": "Waits n milliseconds.", "inputSchema": number, "annotations": reads},
        {"name": "big", "description": "Gives n bytes of text.", "inputSchema": number},
        {"name": "environment", "description": "Names of its variables.", "inputSchema": nothing},
        {"name": "parent", "description": "Starts a process and tells its id.", "inputSchema": nothing},
        {"name": "fail", "description": "Fails.", "inputSchema": nothing},
        {"name": "structured", "description": "Gives an object and an image.", "inputSchema": nothing},
        {"name": "refuse", "description": "Answers with an error of the protocol.", "inputSchema": nothing},
        {"name": "nonsense", "description": "Answers with nonsense.", "inputSchema": nothing},
        {"name": "silent", "description": "Never answers.", "inputSchema": nothing},
        {"name": "die", "description": "Ends the server.", "inputSchema": nothing},
        {"name": "change", "description": "Says that its tools are others now.", "inputSchema": nothing},
    ]})
}

/// The answer to a call; nothing where there is none.
fn call(out: &mut impl Write, id: &Value, params: &Value) -> io::Result<Option<Value>> {
    let arguments = &params["arguments"];
    let text = |text: String| {
        Ok(Some(
            json!({ "result": {"content": [{"type": "text", "text": text}]} }),
        ))
    };
    match params["name"].as_str().unwrap_or_default() {
        "echo" => text(arguments["text"].as_str().unwrap_or_default().to_owned()),
        "sleep" => {
            let millis = arguments["n"].as_u64().unwrap_or(0);
            let token = params["_meta"]["progressToken"].clone();
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": 1, "total": 4, "message": "a quarter"}});
            send(out, &progress)?;
            // In the background, so that calls at the same time are answered at the same time.
            let id = id.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(millis));
                let answer = json!({ "result": {"content": [{"type": "text", "text": format!("slept {millis}")}]} });
                answer_with(&mut io::stdout(), &id, answer)
            });
            Ok(None)
        }
        "big" => {
            let bytes = usize::try_from(arguments["n"].as_u64().unwrap_or(0)).unwrap_or(0);
            text("x".repeat(bytes))
        }
        "environment" => {
            let mut names: Vec<_> = std::env::vars_os()
                .map(|(name, _)| name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            text(names.join(" "))
        }
        "parent" => {
            let child = std::process::Command::new("sleep").arg("600").spawn();
            text(child.map_or_else(|error| error.to_string(), |child| child.id().to_string()))
        }
        "fail" => Ok(Some(
            json!({ "result": {"content": [{"type": "text", "text": "it failed"}], "isError": true} }),
        )),
        "structured" => Ok(Some(json!({ "result": {
            "content": [{"type": "image", "data": "AAEC", "mimeType": "image/png"}],
            "structuredContent": {"answer": 42},
        }}))),
        "refuse" => Ok(Some(
            json!({ "error": {"code": -32000, "message": "not today"} }),
        )),
        "nonsense" => {
            writeln!(out, "this is not JSON")?;
            let foreign = json!({"result": {"content": [{"type": "text", "text": "forged"}]}});
            answer_with(out, &json!(999_999), foreign)?;
            writeln!(out, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":7}}")?;
            out.flush()?;
            Ok(None)
        }
        "silent" => Ok(None),
        "die" => std::process::exit(4),
        "change" => {
            send(
                out,
                &json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
            )?;
            text("changed".to_owned())
        }
        _ => Ok(Some(
            json!({ "error": {"code": -32602, "message": "no such tool"} }),
        )),
    }
}
