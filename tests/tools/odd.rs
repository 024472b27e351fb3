//! Servers of other people's kinds: what is odd about them costs what is odd, and is named.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{calls, guest, notices, told};
use crate::harness::{Call, Lab};

/// A server that answers each request with the line in the file of its method, and a call with that of its tool.
/// `ID` stands for the id of the request. What it has no file for, it does not know.
const SERVER: &str = r#"#!/bin/sh
PATH=$PATH:/usr/bin:/bin; LC_ALL=C; export PATH LC_ALL
cd "$(dirname "$0")" || exit 1
[ -e begin ] && . ./begin
while IFS= read -r line; do
    printf '%s\n' "$line" >> asked
    id=$(printf '%s\n' "$line" | sed -n 's/^{"jsonrpc":"2.0","id":\([0-9]*\),.*/\1/p')
    file=$(printf '%s\n' "$line" | sed -n 's/^[^{]*{[^{]*"method":"\([^"]*\)".*/\1/p' | tr / _)
    [ -n "$id" ] || continue
    [ -e check ] && . ./check
    if [ "$file" = tools_call ]; then
        file=call_$(printf '%s\n' "$line" | sed -n 's/.*"name":"\([^"]*\)","arguments".*/\1/p')
    fi
    if [ -e "$file" ]; then
        sed "s/ID/$id/g" "$file"
    else
        printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}\n' "$id"
    fi
done
[ -e end ] && . ./end
"#;

/// A server in a folder of the laboratory.
pub(super) struct Folder<'a>(pub(super) &'a Lab);

impl Folder<'_> {
    /// With these tools. Nothing else is odd about it.
    pub(super) fn with_tools<'a>(lab: &'a Lab, tools: &Value) -> Folder<'a> {
        let folder = Folder(lab);
        let script = lab.file("server/run.sh", SERVER);
        std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
        folder.answers(
            "initialize",
            &json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "odd", "version": "1"}}),
        );
        folder.answers("tools_list", &json!({ "tools": tools }));
        folder
    }

    /// A tool that takes anything, for each name.
    pub(super) fn with_names<'a>(lab: &'a Lab, names: &[&str]) -> Folder<'a> {
        let tools: Vec<_> = names.iter().map(|name| tool(name)).collect();
        Folder::with_tools(lab, &Value::from(tools))
    }

    pub(super) fn answers(&self, file: &str, result: &Value) -> &Self {
        let line = json!({"jsonrpc": "2.0", "id": "id", "result": result});
        let line = line.to_string().replace("\"id\":\"id\"", "\"id\":ID");
        self.says(file, format!("{line}\n").as_bytes())
    }

    /// The bytes of an answer as they are.
    pub(super) fn says(&self, file: &str, bytes: &[u8]) -> &Self {
        self.0.file(&format!("server/{file}"), "");
        std::fs::write(self.0.path(&format!("server/{file}")), bytes).unwrap();
        self
    }

    pub(super) fn asked(&self) -> String {
        std::fs::read_to_string(self.0.path("server/asked")).unwrap_or_default()
    }

    pub(super) fn run(&self, steps: &[Value]) -> Call<'_> {
        let script = self.0.path("server/run.sh").display().to_string();
        guest(self.0, steps).args(["--mcp".to_owned(), format!("s={script}")])
    }
}

pub(super) fn tool(name: &str) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}})
}

fn text(words: &str) -> Value {
    json!({"content": [{"type": "text", "text": words}]})
}

#[test]
fn an_odd_tool_costs_itself_or_its_odd_member_and_is_named() {
    let with = |member: &str, value: Value| {
        let mut tool = tool("odd");
        tool[member] = value;
        tool
    };
    // What the tool is, whether it can be called, and what is said of it.
    let cases = [
        (with("inputSchema", Value::Null), true, "`inputSchema`"),
        (json!({"name": "odd"}), true, "`inputSchema`"),
        (with("inputSchema", json!(true)), true, "`inputSchema`"),
        (with("inputSchema", json!([])), true, "`inputSchema`"),
        (
            with("inputSchema", json!({"type": "object", "properties": []})),
            true,
            "`properties`",
        ),
        (with("inputSchema", json!("object")), false, "`inputSchema`"),
        (with("inputSchema", json!(["a"])), false, "`inputSchema`"),
        (
            with("outputSchema", json!("object")),
            true,
            "`outputSchema`",
        ),
        (
            with("annotations", json!({"readOnlyHint": "yes"})),
            true,
            "`readOnlyHint`",
        ),
        (with("annotations", json!([])), true, "`annotations`"),
        (with("description", json!(7)), true, "`description`"),
        (with("title", json!({})), true, "`title`"),
        (with("icons", json!([{"url": "x"}])), true, "`icons`"),
        (with("_meta", json!("x")), true, "`_meta`"),
        (
            with("execution", json!({"taskSupport": "sometimes"})),
            true,
            "`execution`",
        ),
        (
            with("execution", json!({"taskSupport": "required"})),
            false,
            "as a task",
        ),
        (with("name", json!(7)), false, "whose name is no text: 7"),
        (with("name", json!("")), false, "whose name is no text"),
        (json!("odd"), false, "no object"),
        // Nothing is odd about these.
        (with("description", Value::Null), true, ""),
        (with("outputSchema", Value::Null), true, ""),
        (
            with("execution", json!({"taskSupport": "optional"})),
            true,
            "",
        ),
    ];
    for (odd, is_there, said) in cases {
        let lab = Lab::new();
        let folder = Folder::with_tools(&lab, &json!([tool("hello"), odd, tool("other")]));
        for name in ["hello", "odd", "other"] {
            folder.answers(&format!("call_{name}"), &text(name));
        }
        let steps = calls(&[
            ("s__hello", json!({})),
            ("s__odd", json!({"a": 1})),
            ("s__other", json!({})),
        ]);
        let done = folder.run(&steps).done().exits_with(0);
        let told = told(&done);
        assert_eq!(told[0], json!(["ok", "hello"]), "{odd}");
        assert_eq!(told[2], json!(["ok", "other"]), "{odd}");
        let expected = if is_there { "ok" } else { "no-such-call" };
        assert_eq!(told[1][0], expected, "{odd}: {told:?}");
        let account = lab.account();
        let notices = notices(&account, "tools_left_out");
        match said {
            "" => assert!(notices.is_empty(), "{odd}: {notices:?}"),
            said => {
                assert_eq!(notices.len(), 1, "{odd}");
                assert!(notices[0].contains(said), "{odd}: {notices:?}");
                if !said.starts_with("whose") && said != "no object" {
                    assert!(notices[0].starts_with("`odd`: "), "{notices:?}");
                }
            }
        }
    }
}

#[test]
fn what_can_be_read_of_a_result_is_read() {
    let png = json!("an image");
    let note = |said: &str| json!(said);
    let cases = [
        (
            "only",
            json!({"content": [], "structuredContent": {"answer": 42}}),
            json!(["ok", "{\"answer\":42}", {"answer": 42}]),
        ),
        (
            "alone",
            json!({"structuredContent": {"answer": 42}}),
            json!(["ok", "{\"answer\":42}", {"answer": 42}]),
        ),
        (
            "array",
            json!({"content": [], "structuredContent": [{"answer": 42}]}),
            json!(["ok", "[{\"answer\":42}]"]),
        ),
        (
            "blank",
            json!({"content": [{"type": "text", "text": " "}], "structuredContent": {"n": 1}}),
            json!(["ok", "{\"n\":1}", {"n": 1}]),
        ),
        (
            "summary",
            json!({"content": [{"type": "text", "text": "6 items"}], "structuredContent": {"n": 6}}),
            json!(["ok", "6 items", {"n": 6}]),
        ),
        (
            "nulls",
            json!({"content": [{"type": "text", "text": "fine", "annotations": null, "_meta": null}], "isError": null, "structuredContent": null, "_meta": null}),
            json!(["ok", "fine"]),
        ),
        (
            "unknown",
            json!({"content": [{"type": "hologram", "data": "x"}, {"type": "text", "text": "fine"}]}),
            json!([
                "ok",
                note("[a part of the kind `hologram` is left out: this host does not know it]"),
                "fine"
            ]),
        ),
        (
            "no-text",
            json!({"content": [{"type": "text", "text": null}, {"type": "text", "text": "fine"}]}),
            json!([
                "ok",
                note("[a text of the result is left out: it has no text]"),
                "fine"
            ]),
        ),
        (
            "number",
            json!({"content": [7, {"type": "text", "text": 8}]}),
            json!([
                "ok",
                note("[a part of the result that cannot be read: 7]"),
                "8"
            ]),
        ),
        ("string", json!({"content": "fine"}), json!(["ok", "fine"])),
        (
            "object",
            json!({"content": {"type": "text", "text": "fine"}}),
            json!(["ok", "fine"]),
        ),
        (
            "legacy",
            json!({"toolResult": "fine"}),
            json!(["ok", "fine"]),
        ),
        ("empty", json!({}), json!(["ok"])),
        (
            "is-error",
            json!({"content": [{"type": "text", "text": "fine"}], "isError": "false"}),
            json!(["ok", "fine"]),
        ),
        ("error-only", json!({"isError": true}), json!(["error"])),
        (
            "url",
            json!({"content": [{"type": "image", "data": "data:image/png;base64,iVBORw0KGgo=", "mimeType": "image/png"}]}),
            json!(["ok", png]),
        ),
        (
            "lines",
            json!({"content": [{"type": "image", "data": "iVBORw0K\r\nGgo=\n", "mimeType": "image/png"}]}),
            json!(["ok", png]),
        ),
        (
            "unpadded",
            json!({"content": [{"type": "image", "data": "iVBORw0KGgo", "mimeType": "image/png"}]}),
            json!(["ok", png]),
        ),
        (
            "no-type",
            json!({"content": [{"type": "image", "data": "iVBORw0KGgo="}]}),
            json!(["ok", png]),
        ),
        (
            "no-idea",
            json!({"content": [{"type": "image", "data": "AAEC"}, {"type": "text", "text": "fine"}]}),
            json!([
                "ok",
                note("[an image of an unknown kind is left out: it has no `mimeType`]"),
                "fine"
            ]),
        ),
        (
            "no-uri",
            json!({"content": [{"type": "resource", "resource": {"text": "fine"}}]}),
            json!(["ok", "fine"]),
        ),
        (
            "link",
            json!({"content": [{"type": "resource_link", "uri": "x://a", "size": -1}]}),
            json!(["ok", "x://a: x://a"]),
        ),
        // It looks like the answer to another question.
        (
            "alike",
            json!({"messages": [], "prompts": [], "content": [{"type": "text", "text": "fine"}]}),
            json!(["ok", "fine"]),
        ),
    ];
    let lab = Lab::new();
    let names: Vec<_> = cases.iter().map(|case| case.0).collect();
    let folder = Folder::with_names(&lab, &names);
    for (name, result, _) in &cases {
        folder.answers(&format!("call_{name}"), result);
    }
    let named: Vec<_> = names.iter().map(|name| format!("s__{name}")).collect();
    let asked: Vec<_> = named
        .iter()
        .map(|name| (name.as_str(), json!({})))
        .collect();
    let done = folder.run(&calls(&asked)).done().exits_with(0);
    for (told, (name, _, expected)) in told(&done).iter().zip(&cases) {
        assert_eq!(told, expected, "{name}");
    }
    assert_eq!(told(&done).len(), cases.len());
}

#[test]
fn odd_entries_of_other_lists_cost_themselves() {
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &["hello"]);
    folder.answers("resources_list", &json!({"nextCursor": null, "resources": [
        {"uri": "a://1", "name": "one", "size": -1}, {"name": "no uri"}, 7, {"uri": "a://2", "annotations": "x"}]}));
    folder.answers(
        "resources_read",
        &json!({"contents": [{"uri": "a://1"}, {"text": "fine"}]}),
    );
    folder.answers(
        "prompts_list",
        &json!({"prompts": [{"name": 7}, {"name": "greet", "arguments": [{"name": "who"}, {}]}]}),
    );
    folder.answers(
        "prompts_get",
        &json!({"messages": [
        {"role": "user", "content": "Hello."}, {"role": "user", "content": {"type": "hologram"}}]}),
    );
    let steps = [
        json!({"resources": ["s"]}),
        json!({"read": ["s", "a://1"]}),
        json!({"prompts": ["s"]}),
        json!({"prompt": ["s", "greet", "Ada"]}),
    ];
    let done = folder.run(&steps).done().exits_with(0);
    assert_eq!(
        done.json(),
        json!([
            [["a://1", "one"], ["a://2", "a://2"]],
            [
                [
                    "",
                    "[a resource is left out: it has neither text nor bytes]"
                ],
                ["", "fine"]
            ],
            [["greet", ["who"]]],
            [
                ["user", ["Hello."]],
                [
                    "user",
                    ["[a part of the kind `hologram` is left out: this host does not know it]"]
                ]
            ],
        ])
    );
}

#[test]
fn a_cursor_that_comes_again_ends_a_list() {
    for cursor in [json!(""), json!("8"), json!(8)] {
        let lab = Lab::new();
        let folder = Folder::with_names(&lab, &[]);
        let listed = json!({"tools": [tool("hello"), tool("other")], "nextCursor": cursor});
        folder.answers("tools_list", &listed);
        let listed = json!({"resources": [{"uri": "a://1", "name": "one"}], "nextCursor": cursor});
        folder.answers("resources_list", &listed);
        folder.answers("call_other", &text("fine"));
        let mut steps = calls(&[("s__other", json!({}))]);
        steps.push(json!({"resources": ["s"]}));
        let done = folder.run(&steps).done().exits_with(0);
        assert_eq!(told(&done)[0], json!(["ok", "fine"]));
        let asked = folder.asked();
        assert_eq!(asked.matches("\"tools/list\"").count(), 2, "{asked}");
        assert_eq!(asked.matches("\"resources/list\"").count(), 2, "{asked}");
        assert!(notices(&lab.account(), "tools_left_out").is_empty());
    }
}

#[test]
fn an_answer_that_is_no_json_fails_its_call_at_once() {
    let head = br#"{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":"text","text":"#;
    let after = |tail: &[u8]| [head, tail].concat();
    let broken = [
        ("latin1", after(b"\"caf\xe9\"}]}}\n")),
        ("surrogate", after(b"\"a\\ud800b\"}]}}\n")),
        ("nan", after(b"NaN}]}}\n")),
        ("cut", after(b"\"never clos\n")),
        ("quotes", b"{'jsonrpc':'2.0',\"id\": ID, \"error\":{}}\n".to_vec()),
        (
            "lines",
            b"{\n \"jsonrpc\": \"2.0\",\n \"id\": ID,\n \"result\": {\n  \"content\": []\n }\n}\n".to_vec(),
        ),
        ("no-id", b"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"what?\"}}\n".to_vec()),
    ];
    let lab = Lab::new();
    let mut names: Vec<_> = broken.iter().map(|it| it.0).collect();
    names.extend(["hello", "logs", "batch"]);
    let folder = Folder::with_names(&lab, &names);
    folder.answers("call_hello", &text("still here"));
    // A server that logs what it is asked has not answered yet.
    folder.says("call_logs", b"DEBUG {\"id\":ID,\"result\":1\n{\"method\":\"tools/call\",\"id\":ID,\"error\":oops\n{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"content\":\"fine\"}}\n");
    folder.says("call_batch", b"[{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":1}},{\"jsonrpc\":\"2.0\",\"id\":\"ID\",\"result\":{\"content\":\"fine\"}}]\n");
    let mut asked = Vec::new();
    for (name, line) in &broken {
        folder.says(&format!("call_{name}"), line);
        asked.push((format!("s__{name}"), json!({})));
        asked.push(("s__hello".to_owned(), json!({})));
    }
    for name in ["s__logs", "s__batch"] {
        asked.push((name.to_owned(), json!({})));
    }
    let asked: Vec<_> = asked
        .iter()
        .map(|it| (it.0.as_str(), it.1.clone()))
        .collect();
    // A call that waits for its time limit is what must not be.
    let done = folder
        .run(&calls(&asked))
        .limit("tool-call=5m")
        .done()
        .exits_with(0);
    let told = told(&done);
    for (n, (name, _)) in broken.iter().enumerate() {
        let expected = match *name {
            "no-id" => "what?",
            _ => "the server's answer is no JSON",
        };
        assert_eq!(told[2 * n], json!(["unavailable", expected]), "{name}");
        assert_eq!(told[2 * n + 1], json!(["ok", "still here"]), "{name}");
    }
    assert_eq!(
        told[2 * broken.len()..],
        [json!(["ok", "fine"]), json!(["ok", "fine"])]
    );
}

#[test]
fn what_a_server_says_of_itself_may_be_odd_or_missing() {
    let cases = [
        (
            json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}, "serverInfo": {"name": "stub"}}),
            "stub",
        ),
        (
            json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": true, "logging": null, "experimental": {"x": true}}, "serverInfo": {"name": "stub", "version": 2}}),
            "stub 2",
        ),
        (
            json!({"protocolVersion": "1.0", "capabilities": {"tools": {"listChanged": "no"}}}),
            "",
        ),
        (json!({}), ""),
    ];
    for (said, title) in cases {
        let lab = Lab::new();
        let folder = Folder::with_names(&lab, &["hello"]);
        folder.answers("initialize", &said);
        folder.answers("call_hello", &text("hello"));
        let done = folder
            .run(&calls(&[("s__hello", json!({}))]))
            .done()
            .exits_with(0);
        assert_eq!(told(&done), [json!(["ok", "hello"])], "{said}");
        let account = lab.account();
        assert_eq!(notices(&account, "connected"), [title], "{said}");
        let left_out = notices(&account, "tools_left_out");
        // Tools that are listed without having been declared are used, and that is told of.
        let is_undeclared = said["capabilities"].is_null();
        assert_eq!(left_out.len(), usize::from(is_undeclared), "{left_out:?}");
    }
    // One that has none is asked once, and that is all.
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &[]);
    folder.answers("initialize", &json!({}));
    std::fs::remove_file(lab.path("server/tools_list")).unwrap();
    folder.run(&[]).done().exits_with(0);
    assert_eq!(notices(&lab.account(), "connected").len(), 1);
    assert!(notices(&lab.account(), "tools_left_out").is_empty());
}

/// Why the server could not be used.
fn reason(call: Call<'_>, lab: &Lab) -> String {
    let done = call.done().exits_with(0);
    assert_eq!(done.json()[0][0][1], "Status::Failed");
    let account = lab.account();
    let error = account.only("error_occurred");
    error["avp.error.message"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_does_not_start_is_told_of_in_its_own_words() {
    let servers = [json!({"servers": []})];
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &[]);
    folder.says("begin", b"echo 'debug line' >&2; echo \"Error: API_TOKEN is not set, $WHO\" >&2; echo >&2; exit 1\n");
    let call = guest(&lab, &servers).args([
        "--mcp".to_owned(),
        format!("s=WHO=somebody {}", lab.path("server/run.sh").display()),
    ]);
    let said = reason(call, &lab);
    assert!(
        said.ends_with("it ended before it was connected (exit status: 1); it said: Error: API_TOKEN is not set, [WHO]"),
        "{said}"
    );

    let lab = Lab::new();
    Folder::with_names(&lab, &[]);
    let call = guest(&lab, &servers).args(["--mcp", "s=sh '/a b/x.sh'"]);
    let said = reason(call, &lab);
    assert!(
        said.contains("the word `'/a` begins with a quote"),
        "{said}"
    );
    assert!(said.contains("grants file"), "{said}");

    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &[]);
    folder.says("initialize", b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32000,\"message\":\"log in first\"}}\n");
    let said = reason(folder.run(&servers), &lab);
    assert!(
        said.contains("log in first") && !said.contains("::"),
        "{said}"
    );

    // One that is there and goes away later.
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &["die"]);
    folder.says(
        "begin",
        b"[ -e asked ] && grep -q tools/call asked && exit 3\n",
    );
    lab.file("server/run.sh", SERVER.replace("[ -n \"$id\" ]", "case $file in tools_call) echo 'fatal: the disk is gone' >&2; exit 3;; esac\n    [ -n \"$id\" ]"));
    let done = folder
        .run(&calls(&[("s__die", json!({}))]))
        .done()
        .exits_with(0);
    assert_eq!(
        told(&done)[0],
        json!([
            "unavailable",
            "the server is gone (exit status: 3); it said: fatal: the disk is gone"
        ])
    );
}

#[test]
fn noise_of_a_server_is_not_noise_of_a_run() {
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &["hello"]);
    let early = b"cat <<'X'\nStarting server ...\n{\"jsonrpc\":\"2.0\",\"method\":\"server.initialized\",\"params\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"sampling/createMessage\",\"params\":{}}\nX\n";
    folder.says("begin", early);
    folder.answers("call_hello", &text("hello"));
    let done = folder
        .run(&calls(&[("s__hello", json!({}))]))
        .done()
        .exits_with(0);
    assert_eq!(told(&done), [json!(["ok", "hello"])]);
    for noise in ["WARN", "ERROR"] {
        assert!(!done.stderr().contains(noise), "{}", done.shown());
    }
    let done = folder
        .run(&calls(&[("s__hello", json!({}))]))
        .env("WASM_AGENT_LOG", "warn")
        .done()
        .exits_with(0);
    assert!(done.stderr().contains("WARN"), "{}", done.shown());
}

#[test]
fn a_server_puts_its_things_in_order_before_it_is_ended() {
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &[]);
    // More than a pipe holds: it is read until the end.
    folder.says(
        "end",
        b"head -c 200000 /dev/zero; sleep 1; echo done > mark\n",
    );
    folder.run(&[]).done().exits_with(0);
    assert!(lab.path("server/mark").exists());

    // One that does not look at its input is told to end.
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &[]);
    folder.says(
        "end",
        b"trap 'echo told > mark; exit' TERM; while :; do sleep 0.05; done\n",
    );
    folder
        .run(&[])
        .limit("tool-close=200ms")
        .done()
        .exits_with(0);
    assert!(lab.path("server/mark").exists());

    // And one that does not end is killed.
    let lab = Lab::new();
    let folder = Folder::with_names(&lab, &[]);
    folder.says(
        "end",
        b"trap '' TERM; echo $$ > mark; while :; do sleep 0.05; done\n",
    );
    folder
        .run(&[])
        .limit("tool-close=200ms")
        .done()
        .exits_with(0);
    let pid = std::fs::read_to_string(lab.path("server/mark")).unwrap();
    assert!(super::gone(pid.trim().parse().unwrap()));
}

#[test]
fn what_was_odd_is_the_same_in_a_replay() {
    let lab = Lab::new();
    let folder = Folder::with_tools(
        &lab,
        &json!([tool("hello"), {"name": "odd", "inputSchema": 7}]),
    );
    folder.answers("call_hello", &json!({"structuredContent": [42]}));
    let steps = calls(&[("s__hello", json!({})), ("s__odd", json!({}))]);
    let first = folder
        .run(&steps)
        .args(["--record=a.rec", "--out", "a.avp", "--format", "json"])
        .done()
        .exits_with(0);
    crate::replay::is_the_same(&lab, &first, &crate::replay::replayed(&lab, &[]));
    for account in lab.accounts() {
        assert_eq!(notices(&account, "tools_left_out").len(), 1);
    }
}
