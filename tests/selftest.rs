//! `wasm-agent selftest`: the escape suite as a user runs it.

use serde_json::Value;

use crate::harness::Lab;

/// What the walls are there for. Each case's own claim is in the registry; here it counts that all of them
/// are tried and none is broken.
#[test]
fn every_wall_holds_on_this_machine() {
    let done = Lab::new().call(["selftest", "--json"]).done();
    let report: Value = serde_json::from_str(&done.stdout()).unwrap();
    let cases = report["cases"].as_array().unwrap();
    let broken: Vec<_> = cases
        .iter()
        .filter(|case| case["verdict"] == "broken")
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(cases.len() >= 60, "{}", cases.len());
    assert_eq!(done.code(), 0);
}

#[test]
fn a_case_nobody_knows_is_an_error() {
    let done = Lab::new().call(["selftest", "no-such-case"]).done();
    assert_eq!(done.code(), 2);
    assert!(
        done.stderr().contains("selftest --list"),
        "{}",
        done.stderr()
    );
}

#[test]
fn the_list_names_claim_source_and_wall() {
    let done = Lab::new()
        .call(["selftest", "--list", "--json", "slash-"])
        .done();
    let cases: Value = serde_json::from_str(&done.stdout()).unwrap();
    let ids: Vec<_> = cases
        .as_array()
        .unwrap()
        .iter()
        .map(|case| &case["id"])
        .collect();
    assert_eq!(ids, ["slash-open", "slash-rename", "slash-remove"]);
    assert_eq!(cases[0]["wall"], "beneath");
    assert_eq!(cases[0]["source"], "GHSA-vqjp-4c8c-hfgg");
}
