//! The protocol of 2026-07-28, which has no `initialize`, and servers that do not speak it.

use serde_json::{Value, json};

use super::odd::Folder;
use super::{calls, notices, told};
use crate::harness::Lab;

fn discovered(versions: &[&str]) -> Value {
    json!({"resultType": "complete", "supportedVersions": versions, "capabilities": {"tools": {}, "resources": {}},
        "instructions": "Be new.", "ttlMs": 0, "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "newest", "version": "3"}}})
}

/// A server that knows nothing but the newest protocol.
fn newest(lab: &Lab) -> Folder<'_> {
    let folder = Folder::with_names(lab, &["hello"]);
    std::fs::remove_file(lab.path("server/initialize")).unwrap();
    folder.answers("server_discover", &discovered(&["2026-07-28"]));
    folder.answers(
        "call_hello",
        &json!({"resultType": "complete", "content": [{"type": "text", "text": "hello"}]}),
    );
    folder.answers(
        "resources_list",
        &json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private",
            "resources": [{"uri": "a://1", "name": "one"}]}),
    );
    // Whatever does not say which protocol it is of is refused.
    folder.says(
        "check",
        b"case $line in *'\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"'*) ;; *) file=refused;; esac\n",
    );
    folder
}

fn uses(folder: &Folder<'_>, lab: &Lab, title: &str) {
    let mut steps = calls(&[("s__hello", json!({}))]);
    steps.push(json!({"resources": ["s"]}));
    let done = folder.run(&steps).done().exits_with(0);
    let told = told(&done);
    assert_eq!(told[0], json!(["ok", "hello"]));
    assert_eq!(told[1], json!([["a://1", "one"]]));
    assert_eq!(notices(&lab.account(), "connected"), [title]);
}

#[test]
fn the_newest_protocol_is_spoken_where_the_server_does() {
    let lab = Lab::new();
    let folder = newest(&lab);
    uses(&folder, &lab, "newest 3");
    let asked = folder.asked();
    assert!(!asked.contains("initialize"), "{asked}");
    for line in asked.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if message.get("id").is_some() {
            let meta = &message["params"]["_meta"];
            assert_eq!(
                meta["io.modelcontextprotocol/protocolVersion"],
                "2026-07-28"
            );
            let client = &meta["io.modelcontextprotocol/clientInfo"];
            assert_eq!(client["name"], "wasm-agent", "{line}");
            assert!(
                meta["io.modelcontextprotocol/clientCapabilities"].is_object(),
                "{line}"
            );
        }
    }
}

#[test]
fn a_server_that_is_late_to_say_so_is_spoken_to_in_the_newest_protocol() {
    let lab = Lab::new();
    let folder = newest(&lab);
    folder.says("begin", b"sleep 4\n");
    uses(&folder, &lab, "newest 3");
    // It was taken for an older one meanwhile.
    assert!(folder.asked().contains("\"initialize\""));
}

#[test]
fn a_server_of_an_older_protocol_is_found_out_and_used() {
    let answers: [(&str, &[u8]); 7] = [
        ("unknown", b""),
        ("not-ready", b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32002,\"message\":\"initialize first\"}}\n"),
        ("nobodys", b"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"initialize first\"}}\n"),
        ("anything", b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{}}\n"),
        ("others", b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{\"supportedVersions\":[\"2025-11-25\"]}}\n"),
        ("unsupported", b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{\"code\":-32022,\"message\":\"no\",\"data\":{\"supported\":[\"2025-11-25\"]}}}\n"),
        ("no-json", b"{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":oops}\n"),
    ];
    for (name, answer) in answers {
        let lab = Lab::new();
        let folder = older(&lab);
        if !answer.is_empty() {
            folder.says("server_discover", answer);
        }
        uses(&folder, &lab, "odd 1");
        assert_eq!(notices(&lab.account(), "started").len(), 1, "{name}");
    }
}

fn older(lab: &Lab) -> Folder<'_> {
    let folder = Folder::with_names(lab, &["hello"]);
    folder.answers("call_hello", &json!({"content": "hello"}));
    let listed = json!({"resources": [{"uri": "a://1", "name": "one"}]});
    folder.answers("resources_list", &listed);
    folder
}

#[test]
fn a_server_that_ends_or_says_nothing_when_it_is_asked_is_used_all_the_same() {
    let lab = Lab::new();
    let folder = older(&lab);
    folder.says("check", b"case $file in server_discover) exit 1;; esac\n");
    uses(&folder, &lab, "odd 1");
    assert_eq!(notices(&lab.account(), "started").len(), 2);

    let lab = Lab::new();
    let folder = older(&lab);
    folder.says("check", b"case $file in server_discover) continue;; esac\n");
    uses(&folder, &lab, "odd 1");
    assert_eq!(notices(&lab.account(), "started").len(), 1);
}

#[test]
fn a_server_of_other_protocols_is_told_of_by_them() {
    let lab = Lab::new();
    let folder = newest(&lab);
    folder.answers("server_discover", &discovered(&["2099-01-01"]));
    folder.run(&[]).done().exits_with(0);
    let account = lab.account();
    let said = account.only("error_occurred")["avp.error.message"].to_string();
    assert!(
        said.contains("2099-01-01") && said.contains("2026-07-28"),
        "{said}"
    );
}

#[test]
fn runs_with_the_newest_protocol_are_repeated() {
    let lab = Lab::new();
    let folder = newest(&lab);
    let first = folder
        .run(&calls(&[("s__hello", json!({}))]))
        .args(["--record=a.rec", "--out", "a.avp", "--format", "json"])
        .done()
        .exits_with(0);
    crate::replay::is_the_same(&lab, &first, &crate::replay::replayed(&lab, &[]));
}
