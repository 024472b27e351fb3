use serde_json::json;

use super::format::Script;
use super::*;
use crate::descriptor::ToolDecl;
use crate::model::{Delta, Input, Message, Reply};
use crate::trajectory::content::Block;
use crate::trajectory::fact::ToolResult;

fn scripted(rules: &str) -> Scripted {
    let path = Path::new("s.toml");
    Scripted::new(
        path,
        Script::parse(&format!("version = 1\n{rules}"), path).unwrap(),
    )
}

fn user(text: &str) -> Message {
    Message::User(vec![Input::Block(Block::text(text))])
}

/// A conversation that ends with the result of a call of `tool`.
fn after(tool: &str, result: &str, is_error: bool) -> Request {
    let call = json!({ "type": "tool_use", "id": "c", "name": tool, "input": {} });
    let result = ToolResult {
        call_id: "c".to_owned(),
        content: json!([{ "type": "text", "text": result }]),
        structured: None,
        is_error,
    };
    Request {
        messages: vec![
            user("the task"),
            Message::Assistant(vec![Block::parse(call).unwrap()]),
            Message::User(vec![Input::ToolResult(result)]),
        ],
        ..Request::default()
    }
}

fn asking(text: &str) -> Request {
    Request {
        messages: vec![user(text)],
        ..Request::default()
    }
}

async fn all(scripted: &Scripted, request: &Request) -> Result<(Vec<Delta>, Reply), Failed> {
    let mut playing = scripted.ask(request)?;
    let mut deltas = Vec::new();
    while let Some(delta) = playing.next().await? {
        deltas.push(delta);
    }
    Ok((deltas, playing.reply().unwrap()))
}

async fn text(scripted: &Scripted, request: &Request) -> String {
    match all(scripted, request).await {
        Ok((_, reply)) => reply.content[0].as_text().unwrap().to_owned(),
        Err(failed) => failed.failure.message,
    }
}

#[tokio::test]
async fn the_first_rule_whose_conditions_all_hold_applies() {
    for (when, request, applies) in [
        ("turn = 1", asking("x"), true),
        ("turn = 2", asking("x"), false),
        ("turn = 2", after("t", "x", false), true),
        ("user-contains = 'task'", after("t", "x", false), true),
        ("last-user-contains = 'y'", asking("x"), false),
        ("last-user-contains = 'x', turn = 2", asking("x"), false),
        ("system-contains = 'x'", asking("x"), false),
        ("tool-result-of = 't'", after("t", "x", false), true),
        ("tool-result-of = 'u'", after("t", "x", false), false),
        ("tool-result-of = 't'", asking("t"), false),
        (
            "last-tool-result-contains = 'b'",
            after("t", "abc", false),
            true,
        ),
        ("last-tool-failed = true", after("t", "x", true), true),
        ("last-tool-failed = true", after("t", "x", false), false),
        ("last-tool-failed = false", asking("x"), false),
        ("wants-schema = true", asking("x"), false),
        ("wants-schema = false", asking("x"), true),
        ("offered-tool = 't'", asking("x"), false),
    ] {
        let script = scripted(&format!(
            "[[rules]]\nwhen = {{ {when} }}\nreply = {{ text = 'yes' }}\n[[rules]]\nreply = {{ text = 'no' }}"
        ));
        let said = text(&script, &request).await;
        assert_eq!(said == "yes", applies, "{when}");
    }
    let offering = Request {
        system: Some("be brief".to_owned()),
        output_schema: Some(json!({})),
        tools: vec![ToolDecl {
            name: "t".to_owned(),
            ..ToolDecl::default()
        }],
        ..asking("x")
    };
    let script = scripted(
        "[[rules]]\nwhen = { offered-tool = 't', wants-schema = true, system-contains = 'brief' }\nreply = { text = 'yes' }",
    );
    assert_eq!(text(&script, &offering).await, "yes");
}

#[tokio::test]
async fn a_rule_can_apply_a_number_of_times() {
    let script = scripted(
        "[[rules]]\ntimes = 2\nreply = { error = { class = 'overloaded' } }\n[[rules]]\nreply = { text = 'now' }",
    );
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(text(&script, &asking("x")).await);
    }
    assert_eq!(said, ["overloaded", "overloaded", "now"]);
}

#[tokio::test]
async fn templates_are_filled_in_once() {
    let script = scripted(
        "[[rules]]\nreply = { text = '{task}|{last_user}|{last_tool_result}|{turn}|{unknown}|{', calls = [{ tool = 't', input = { a = ['{task}'], n = 1 } }] }",
    );
    let request = after("t", "{turn} {task}", false);
    let (deltas, reply) = all(&script, &request).await.unwrap();
    assert_eq!(
        reply.content[0].as_text(),
        Some("the task|the task|{turn} {task}|2|{unknown}|{")
    );
    let call = reply.content[1].call().unwrap();
    assert_eq!(
        (call.id, call.input),
        ("call-1", &json!({ "a": ["the task"], "n": 1 }))
    );
    assert_eq!(
        deltas[1],
        Delta::ToolUse {
            id: "call-1".to_owned(),
            name: "t".to_owned()
        }
    );
    let (_, again) = all(&script, &request).await.unwrap();
    assert_eq!(again.content[1].call().unwrap().id, "call-2");
}

#[tokio::test]
async fn pieces_put_together_are_the_reply() {
    let script = scripted("[[rules]]\nreply = { thinking = 'hm', text = 'grüß dich', chunk = 2 }");
    let (deltas, reply) = all(&script, &asking("x")).await.unwrap();
    let said: String = deltas
        .iter()
        .filter_map(|delta| match delta {
            Delta::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(said, "grüß dich");
    assert_eq!(deltas.len(), 1 + 5);
    assert_eq!(reply.content[1].as_text(), Some("grüß dich"));
    assert_eq!(reply.usage.unwrap().input_tokens, 1);
}

#[tokio::test]
async fn what_arrived_before_a_failure_is_there() {
    let script = scripted("[[rules]]\nreply = { thinking = 'hm', text = 'half', cut-off = true }");
    let mut playing = script.ask(&asking("x")).unwrap();
    let failed = loop {
        match playing.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was cut off"),
            Err(failed) => break failed,
        }
    };
    assert_eq!(failed.failure.class, Class::Network);
    assert_eq!(playing.reply().unwrap().content.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_goes_on() {
    let script = scripted("[[rules]]\nreply = { text = 'late', delay-ms = 1000 }");
    let mut playing = script.ask(&asking("x")).unwrap();
    let begun = tokio::time::Instant::now();
    for _ in 0..3 {
        let short = std::time::Duration::from_millis(300);
        assert!(tokio::time::timeout(short, playing.next()).await.is_err());
    }
    playing.next().await.unwrap();
    assert_eq!(begun.elapsed().as_millis(), 1000);
}

#[tokio::test]
async fn without_a_rule_the_end_of_the_conversation_is_named() {
    let script = scripted("[[rules]]\nwhen = { turn = 9 }\nreply = {}");
    assert_eq!(
        text(&script, &after("grep", "nothing\nfound", false)).await,
        "no rule of the script `s.toml` applies to turn 2; the conversation ends with the result of `grep`: nothing found"
    );
}

#[test]
fn the_schema_and_the_documentation_agree_with_the_parser() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let docs = include_str!("../../../../docs/scripted.md");
    let examples: Vec<&str> = docs
        .split("```toml\n")
        .skip(1)
        .map(|part| part.split("```").next().unwrap())
        .collect();
    assert!(examples.len() >= 3, "the documentation has examples");
    let path = Path::new("x.toml");
    for text in examples {
        let value: serde_json::Value = toml::from_str(text).unwrap();
        assert!(schema.is_valid(&value), "{text}");
        Script::parse(text, path).unwrap();
        Script::parse(&value.to_string(), Path::new("x.json")).unwrap();
    }
    for text in [
        "",
        "version = 1",
        "version = 2\nrules = []",
        "version = 1\nrules = [{}]",
        "version = 1\nrules = [{ reply = { text = 1 } }]",
        "version = 1\nrules = [{ reply = { chunck = 1 } }]",
        "version = 1\nrules = [{ when = { turns = 1 }, reply = {} }]",
        "version = 1\nrules = [{ reply = { error = { class = 'bad luck' } } }]",
    ] {
        let value: serde_json::Value = toml::from_str(text).unwrap();
        assert!(!schema.is_valid(&value), "{text}");
        assert!(Script::parse(text, path).is_err(), "{text}");
    }
    for text in [
        "version = 1\nrules = [{ reply = { chunk = 0 } }]",
        "version = 1\nrules = [{ reply = { cost-usd = -1.0 } }]",
        "version = 1\nrules = [{ reply = { delay-ms = 3600001 } }]",
        "version = 1\nrules = [{ reply = { calls = [{ tool = '' }] } }]",
        "version = 1\nrules = [{ reply = { blocks = [{ type = 'text' }] } }]",
    ] {
        assert!(Script::parse(text, path).is_err(), "{text}");
    }
}
