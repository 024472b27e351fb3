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
    snapshot!(done, @"");
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
    assert_eq!(
        done.json()
            .get("capabilities")
            .cloned()
            .unwrap_or(json!([])),
        json!([]),
        "it found nothing"
    );

    // What is granted to the run is not there yet when the agent describes itself.
    let call = lab
        .run(guests::LOOKS_AROUND_IN_DESCRIBE, "x")
        .args(["--dir", &work, "--env", "A=1", "--arg", "a"]);
    call.done().exits_with(0);
    let account = lab.account();
    let descriptor = &account.only("agent_described")["avp.descriptor"];
    assert_eq!(
        descriptor.get("capabilities").cloned().unwrap_or(json!([])),
        json!([])
    );
    assert!(!account.dir().join("checkpoint").exists());
}

#[test]
pub(crate) fn describes_for_ever() {
    let lab = Lab::new();
    let done = lab.call(["describe", guests::DESCRIBES_FOR_EVER]).done();
    snapshot!(done, @"");
}

#[test]
pub(crate) fn panics_in_describe() {
    let lab = Lab::new();
    let done = lab.run(guests::PANICS_IN_DESCRIBE, "x").done();
    snapshot!(done, @"");
    assert!(lab.accounts().is_empty());
}

#[test]
pub(crate) fn describes_nonsense() {
    let lab = Lab::new();
    let done = lab.call(["describe", guests::DESCRIBES_NONSENSE]).done();
    snapshot!(done, @"");
}
