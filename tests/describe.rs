//! What an agent says of itself, in a sandbox with nothing granted.

use serde_json::json;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, snapshot};

#[test]
pub(crate) fn describes_itself_fully() {
    let lab = Lab::new();
    let done = lab
        .call(["describe", guests::DESCRIBES_ITSELF_FULLY])
        .done();
    snapshot!(done, @r#"
    $ wasm-agent describe [GUESTS]/describes_itself_fully.wasm
    exit 0
    ----- stdout -----
    {
      "agent_name": "full",
      "agent_version": "2.1.0",
      "spec_version": "0.1",
      "default_model": "acme/small",
      "supported_models": [
        "acme/*"
      ],
      "system_prompt": "You are thorough.",
      "prompt": "Do the usual.",
      "mcp_servers": [
        {
          "id": "search",
          "name": "Search"
        }
      ],
      "tools": [
        {
          "name": "read",
          "description": "Reads.",
          "inputSchema": {
            "type": "object"
          }
        },
        {
          "name": "write",
          "outputSchema": {
            "type": "object"
          }
        }
      ],
      "subagents": [
        {
          "name": "reviewer",
          "description": "Reviews."
        }
      ],
      "skills": [
        {
          "name": "style",
          "description": "House style.",
          "version": "1"
        }
      ],
      "capabilities": [
        "streaming"
      ]
    }
    ----- stderr -----
    "#);
    assert!(lab.accounts().is_empty(), "describing is no run");

    let done = lab
        .call(["run", guests::DESCRIBES_ITSELF_FULLY])
        .done()
        .exits_with(0);
    let seen = done.json();
    assert_eq!(seen["prompt"], "Do the usual.");
    assert_eq!(seen["system_prompt"], "You are thorough.");
    assert_eq!(seen["model"], "acme/small", "the agent's default");
    assert_eq!(seen["tools"], json!(["read", "write"]));
    let account = lab.account();
    assert_eq!(
        account.only("agent_described")["avp.descriptor"]["agent_version"],
        "2.1.0"
    );
    assert_eq!(
        account.only("agent_started")["avp.tools"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
pub(crate) fn looks_around_in_describe() {
    let lab = Lab::new();
    let work = lab.folder("work");
    let done = lab
        .call(["describe", guests::LOOKS_AROUND_IN_DESCRIBE])
        .env("SECRET", "x")
        .done()
        .exits_with(0);
    assert_eq!(done.json()["agent_name"], "nosy");
    assert!(done.json()["capabilities"].is_null(), "it found nothing");

    // What is granted to the run is not there yet when the agent describes itself.
    let call = lab
        .run(guests::LOOKS_AROUND_IN_DESCRIBE, "x")
        .args(["--dir", &work, "--env", "A=1", "--arg", "a"]);
    call.done().exits_with(0);
    let account = lab.account();
    assert!(account.only("agent_described")["avp.descriptor"]["capabilities"].is_null());
    assert!(!account.dir().join("checkpoint").exists());
}

#[test]
pub(crate) fn describes_for_ever() {
    let lab = Lab::new();
    let done = lab.call(["describe", guests::DESCRIBES_FOR_EVER]).done();
    let done = done.exits_with(2);
    // Which of the two it reaches first depends on what else the machine does.
    let limits = ["limit `cpu` is reached", "limit `wall` is reached"];
    let error = done.stderr();
    assert!(error.starts_with("error: cannot describe"), "{error}");
    assert!(limits.iter().any(|limit| error.contains(limit)), "{error}");
}

#[test]
pub(crate) fn panics_in_describe() {
    let lab = Lab::new();
    let done = lab.run(guests::PANICS_IN_DESCRIBE, "x").done();
    snapshot!(done, @r#"
    $ wasm-agent run [GUESTS]/panics_in_describe.wasm x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot describe `[GUESTS]/panics_in_describe.wasm`: the agent trapped: wasm trap: wasm `unreachable` instruction executed; it said:
    thread '<unnamed>' (1) panicked at src/panics_in_describe.rs:9:9:
    who wants to know?
    note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace
    "#);
    assert!(lab.accounts().is_empty());
}

#[test]
pub(crate) fn describes_nonsense() {
    let lab = Lab::new();
    let done = lab.call(["describe", guests::DESCRIBES_NONSENSE]).done();
    snapshot!(done, @r#"
    $ wasm-agent describe [GUESTS]/describes_nonsense.wasm
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot use the description `[GUESTS]/describes_nonsense.wasm` gives of itself: descriptor field `tools[1].name`: `same` is there twice
    "#);
}
