//! What is recorded beside the examples: whoever has the sources gets the same again, with no network, no key and
//! no environment, and another agent is noticed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wasm_agent::digest::Digest;
use wasm_agent::recording::Recording;

use crate::harness::{Done, Lab, skipped, warm_cache};

/// Name of the recording in the folder of an example.
const RECORDED: &str = "demo.rec";

/// Where the directory is that the examples were given.
const DEMO: &str = "assistant/demo";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn build(example: &Path) -> String {
    let lab = Lab::new();
    let build = lab.call(["build", example.to_str().unwrap()]);
    let done = build.toolchain().done().exits_with(0);
    done.stdout().trim().to_owned()
}

fn has_namespaces() -> bool {
    let probe = std::process::Command::new("unshare")
        .args(["-n", "true"])
        .status();
    let has = probe.is_ok_and(|status| status.success());
    if !has {
        skipped("this user may not make a network namespace: replayed beside the network");
    }
    has
}

fn replayed(lab: &Lab, recording: &Path, component: &str) -> Done {
    let (runs, cache) = (lab.arg("runs"), warm_cache());
    let dir = format!("{}::/work", examples().join(DEMO).display());
    let call = lab.call(["replay", recording.to_str().unwrap(), component]);
    let call = call
        .args(["--dir", &dir, "--out", "b.avp", "--format", "json"])
        .args(["--runs-dir", &runs, "--cache-dir", cache.to_str().unwrap()]);
    if has_namespaces() {
        call.under("exec unshare -n env -i \"$@\"").done()
    } else {
        call.done()
    }
}

#[test]
fn every_example_is_repeated_from_its_recording() {
    let mut repeated = 0;
    for example in fs::read_dir(examples()).unwrap() {
        let example = example.unwrap().path();
        if !example.is_dir() {
            continue;
        }
        let file = example.join(RECORDED);
        let recording = Recording::read(&file).unwrap();
        let end = recording.finished().unwrap().clone();
        let component = build(&example);
        let lab = Lab::new();
        let done = replayed(&lab, &file, &component).exits_with(0);
        // Of the component itself only its digest may be another one: it is not built in the same folder.
        let trajectory = fs::read(lab.path("b.avp")).unwrap();
        assert_eq!(Digest::of(&trajectory), end.trajectory, "{}", done.shown());
        let outcome = done.json();
        assert_eq!(outcome["ended"]["kind"], "converged");
        let output = &outcome["output"];
        let output = (*output != Value::Null).then(|| Digest::of(output.to_string().as_bytes()));
        assert_eq!(output, end.output, "{}", done.shown());
        let same = Digest::of(&fs::read(&component).unwrap()) == recording.header.component.digest;
        if same {
            assert_eq!(outcome["run_digest"], end.run.to_string());
            assert_eq!(outcome["fuel"].as_u64(), end.fuel);
        }
        repeated += 1;
    }
    assert_eq!(repeated, 4, "every example has `{RECORDED}` beside it");
}

#[test]
fn another_agent_is_noticed() {
    let lab = Lab::new();
    let file = examples().join("assistant").join(RECORDED);
    let component = build(&examples().join("repo-audit"));
    let done = replayed(&lab, &file, &component).exits_with(4);
    assert!(done.stderr().contains("another"), "{}", done.shown());
}
