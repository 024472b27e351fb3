//! Agents without our SDK: a program that reads the commission and writes AVP.

use serde_json::json;
use wasm_agent_test_artifacts as guests;

use crate::harness::Lab;

#[test]
pub(crate) fn stdio_speaks_avp() {
    let lab = Lab::new();
    let done = lab
        .run(guests::STDIO_SPEAKS_AVP, "look at it")
        .done()
        .exits_with(0);
    assert_eq!(done.json(), json!({ "seen": "it" }));
    let account = lab.account();
    let kinds = [
        "run_requested",
        "agent_described",
        "agent_started",
        "assistant_message",
        "tool_invoked",
        "tool_returned",
        "agent_stopped",
    ];
    assert_eq!(account.kinds(), kinds);
    assert_eq!(
        account.only("agent_described")["avp.descriptor"]["agent_name"],
        "speaker"
    );
    let turn = account.only("assistant_message");
    assert_eq!(turn["avp.step"], 1, "the host counts");
    assert_eq!(turn["wasm_agent.origin"], "claimed");
    assert_eq!(
        (&turn["avp.cost_usd"], &turn["avp.usage"]["input_tokens"]),
        (&json!(0.5), &json!(7))
    );
    assert!(
        account.events().all(|event| event["id"] != "forged"),
        "ids are the host's"
    );
    assert_eq!(account.audits("foreign_event").count(), 1);
    assert!(
        account
            .audits("output")
            .any(|output| output["text"] == "done looking")
    );
}

#[test]
pub(crate) fn stdio_writes_malformed_lines() {
    let lab = Lab::new();
    let done = lab
        .run(guests::STDIO_WRITES_MALFORMED_LINES, "x")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "fine\n");
    let account = lab.account();
    let lines: Vec<_> = account
        .audits("malformed_line")
        .map(|audit| audit["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [1, 2, 3, 6], "the empty line is none");
    assert_eq!(account.data("error_occurred").count(), 4);
    assert_eq!(account.turns(), ["still here"]);
    assert_eq!(account.stop_reason(), "converged");
}

#[test]
pub(crate) fn stdio_writes_an_endless_line() {
    let lab = Lab::new();
    let done = lab
        .run(guests::STDIO_WRITES_AN_ENDLESS_LINE, "x")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "after it\n");
    let account = lab.account();
    assert_eq!(account.audits("malformed_line").count(), 1);
    let error = account.only("error_occurred")["avp.error.message"]
        .as_str()
        .unwrap();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}

#[test]
pub(crate) fn stdio_says_nothing() {
    let lab = Lab::new();
    lab.run(guests::STDIO_SAYS_NOTHING, "x")
        .done()
        .exits_with(0);
    let account = lab.account();
    assert_eq!(
        account.kinds(),
        [
            "run_requested",
            "agent_described",
            "agent_started",
            "agent_stopped"
        ]
    );
    assert_eq!(
        account.only("agent_described")["avp.descriptor"]["agent_name"],
        "stdio_says_nothing"
    );
}

#[test]
pub(crate) fn stdio_exits_with_a_failure() {
    let lab = Lab::new();
    let done = lab
        .run(guests::STDIO_EXITS_WITH_A_FAILURE, "x")
        .done()
        .exits_with(1);
    assert!(done.stderr().contains("giving up"), "{}", done.shown());
    let account = lab.account();
    assert_eq!(account.turns(), ["oh no"]);
    assert_eq!(
        account.only("error_occurred")["avp.error.code"],
        "agent_crash"
    );
    assert_eq!(account.stop_reason(), "error");
}

#[test]
pub(crate) fn stdio_goes_on_after_its_stop() {
    let lab = Lab::new();
    lab.run(guests::STDIO_GOES_ON_AFTER_ITS_STOP, "x")
        .done()
        .exits_with(1);
    let account = lab.account();
    assert_eq!(account.stop_reason(), "refused");
    assert!(account.turns().is_empty());
    assert_eq!(account.audits("malformed_line").count(), 2);
}

#[test]
pub(crate) fn stdio_floods_malformed_lines() {
    let lab = Lab::new();
    lab.run(guests::STDIO_FLOODS_MALFORMED_LINES, "x")
        .limit("events=50")
        .done()
        .exits_with(0);
    let account = lab.account();
    assert_eq!(account.audits("malformed_line").count(), 50);
    assert_eq!(account.limits_hit().first(), Some(&"events"));
}

#[test]
fn the_commission_is_one_line_whatever_it_looked_like() {
    let lab = Lab::new();
    lab.file("c.json", "{\n  \"schema_version\": \"0.1\",\n  \"run_id\": \"r1\",\n  \"model\": \"a/b\",\n  \"prompt\": \"x\\ny\"\n}\n");
    let call = lab.call(["run", guests::STDIO_SPEAKS_AVP, "--commission", "c.json"]);
    call.done().exits_with(0);
    assert_eq!(lab.account().stop_reason(), "converged");
}
