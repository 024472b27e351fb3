//! Whoever gets a run directory can tell what the host saw, whether its recording belongs to it, and who signed
//! it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wasm_agent::attest::dsse::Envelope;
use wasm_agent::attest::{PAYLOAD_TYPE, SecretKey};
use wasm_agent::digest::Digest;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, skipped, snapshot};

/// A run of a guest that claims five calls, some of which left a trace, in the folder `work`.
fn claiming(lab: &Lab, task: &str, args: &[&str]) -> Done {
    fs::remove_dir_all(lab.path("work")).ok();
    lab.folder("work");
    lab.run(guests::CLAIMS_WHAT_IT_DID, task)
        .args(["--dir", "work:rw"])
        .args(args.iter().copied())
        .done()
        .exits_with(0)
}

/// The directory of the run that was made last.
fn last(lab: &Lab) -> PathBuf {
    lab.accounts().last().unwrap().dir().to_owned()
}

fn verify(lab: &Lab, run: &Path, args: &[&str]) -> Done {
    lab.call(["verify", run.to_str().unwrap()])
        .args(args.iter().copied())
        .done()
}

fn key(lab: &Lab, name: &str) {
    lab.call(["key", "new", name]).done().exits_with(0);
}

#[test]
pub(crate) fn claims_what_it_did() {
    let lab = Lab::new();
    claiming(&lab, "hello", &["--quiet"]);
    snapshot!(verify(&lab, &last(&lab), &[]), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION]
    exit 0
    ----- stdout -----
    valid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    receipt: none
    ----- stderr -----
    ");
    let report = verify(&lab, &last(&lab), &["--json"]).exits_with(0).json();
    let claims = &report["claims"];
    assert_eq!(claims["tool_calls"], json!({"observed": 0, "claimed": 5}));
    assert_eq!(claims["turns"], json!({"observed": 0, "claimed": 4}));
    assert_eq!(claims["input_tokens"]["claimed"], 11);
    assert_eq!(claims["calls_closed_by_host"], 1);
    let calls = claims["without_effect"].as_array().unwrap();
    let calls: Vec<_> = calls.iter().map(|call| &call["call_id"]).collect();
    assert_eq!(calls, ["lied", "read"]);
    assert_eq!(report["verdict"], "valid");
    assert_eq!(report["recording"], Value::Null);
}

/// An agent does not raise what is granted next time by what it says.
#[test]
fn what_is_claimed_is_no_use_of_a_limit() {
    let lab = Lab::new();
    claiming(&lab, "hello", &["--limit", "tokens=5", "--quiet"]);
    let used = lab.account().only_audit("grants_used").clone();
    assert!(used["peak"]["events"].as_u64().unwrap() > 0, "{used}");
    assert_eq!(used["peak"].get("tokens"), None, "{used}");
    let suggested = lab.call(["policy", "suggest", "latest"]).done();
    assert!(
        !suggested.stdout().contains("\ntokens"),
        "{}",
        suggested.stdout()
    );
}

/// What the host does itself needs nobody's word.
#[test]
fn what_a_model_said_was_observed() {
    let lab = Lab::new();
    lab.file(
        "s.toml",
        "version = 1\n[[rules]]\nreply = { text = \"yes\", usage = { input = 20, output = 7 }, cost-usd = 0.1 }\n",
    );
    lab.run(guests::MODEL_ANSWERS, "x")
        .args(["--model", "scripted/s.toml", "--quiet"])
        .done()
        .exits_with(0);
    let report = verify(&lab, &last(&lab), &["--json"]).exits_with(0).json();
    let claims = &report["claims"];
    assert!(
        claims["turns"]["observed"].as_u64().unwrap() > 0,
        "{claims}"
    );
    assert!(
        claims["cost_usd"]["observed"].as_f64().unwrap() > 0.0,
        "{claims}"
    );
    assert_eq!(claims["turns"]["claimed"], 0);
    assert_eq!(claims["output_tokens"]["claimed"], 0);
    let used = lab.account().only_audit("grants_used").clone();
    let of = |sum: &str| claims[sum]["observed"].as_u64().unwrap();
    let tokens = of("input_tokens") + of("output_tokens");
    assert_eq!(used["peak"]["tokens"].as_u64(), Some(tokens));
    assert_eq!(
        used["peak"]["money"].as_u64(),
        Some(100_000 * used["peak"]["model-calls"].as_u64().unwrap())
    );
}

#[test]
fn a_recording_is_that_of_its_run_or_it_is_said() {
    let lab = Lab::new();
    claiming(&lab, "one", &["--record", "--quiet"]);
    let one = last(&lab);
    snapshot!(verify(&lab, &one, &[]), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION]
    exit 0
    ----- stdout -----
    valid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    recording: says the same, 13 calls ([LAB]/runs/[SESSION]/recording.ndjson)
    receipt: none
    ----- stderr -----
    ");
    claiming(&lab, "two", &["--record", "--quiet"]);
    let two = last(&lab);
    let recording = |run: &Path| run.join("recording.ndjson");
    let kept = fs::read(recording(&two)).unwrap();
    fs::copy(recording(&one), recording(&two)).unwrap();
    snapshot!(verify(&lab, &two, &[]).exits_with(1), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION]
    exit 1
    ----- stdout -----
    [LAB]/runs/[SESSION]/recording.ndjson: session: the account has [SESSION], the recording [SESSION]
    [LAB]/runs/[SESSION]/recording.ndjson: commission: the account has sha256:[DIGEST], the recording sha256:[DIGEST]
    [LAB]/runs/[SESSION]/recording.ndjson: trajectory: the account has sha256:[DIGEST], the recording sha256:[DIGEST]
    [LAB]/runs/[SESSION]/recording.ndjson: output: the account has sha256:[DIGEST], the recording sha256:[DIGEST]
    [LAB]/runs/[SESSION]/recording.ndjson: run digest: the account has sha256:[DIGEST], the recording sha256:[DIGEST]
    invalid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    recording: not that of this run ([LAB]/runs/[SESSION]/recording.ndjson)
    receipt: none
    ----- stderr -----
    ");
    let report = verify(&lab, &two, &["--json"]).exits_with(1).json();
    let mismatches = report["recording"]["mismatches"].as_array().unwrap();
    assert_eq!(mismatches[0]["what"], "session");
    assert_eq!(
        mismatches[0]["account"],
        two.file_name().unwrap().to_str().unwrap()
    );
    assert_eq!(
        mismatches[0]["found"],
        one.file_name().unwrap().to_str().unwrap()
    );
    assert_eq!(report["total"], 0, "the account itself is what it was");
    // Neither edited, nor cut off, nor gone, nor something else.
    let whole = String::from_utf8(kept).unwrap();
    let cut = whole.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n";
    for (content, what) in [
        (with_input(&whole), "run digest, put together anew"),
        (cut, "run digest"),
        (
            whole.replace("wasm-agent/recording@1", "wasm-agent/recording@7"),
            "file",
        ),
        (whole.replacen("\"us\":[", "\"us\":[1", 1), "file"),
    ] {
        fs::write(recording(&two), content).unwrap();
        let report = verify(&lab, &two, &["--json"]).exits_with(1).json();
        assert_eq!(
            report["recording"]["mismatches"][0]["what"], what,
            "{report:#}"
        );
    }
    fs::remove_file(recording(&two)).unwrap();
    let report = verify(&lab, &two, &["--json"]).exits_with(1).json();
    assert_eq!(report["recording"]["state"], "lost");
    fs::write(recording(&two), whole).unwrap();
    verify(&lab, &two, &[]).exits_with(0);
}

/// The recording with another input directory, and an end that fits it.
fn with_input(recording: &str) -> String {
    let (first, rest) = recording.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(first).unwrap();
    header["inputs"][0]["digest"] = json!(Digest::of(b"something else"));
    let (entries, end) = rest.trim_end().rsplit_once('\n').unwrap();
    let before = format!("{header}\n{entries}\n");
    let mut end: Value = serde_json::from_str(end).unwrap();
    end["end"]["lines"] = json!(Digest::of(before.as_bytes()));
    format!("{before}{end}\n")
}

#[test]
fn a_recording_in_another_place_is_found_and_may_be_gone() {
    let lab = Lab::new();
    claiming(&lab, "x", &["--record=kept.rec", "--quiet"]);
    let run = last(&lab);
    let report = verify(&lab, &run, &["--json"]).exits_with(0).json();
    assert_eq!(report["recording"]["file"], lab.arg("kept.rec"));
    assert_eq!(report["recording"]["state"], "compared");
    fs::rename(lab.path("kept.rec"), lab.path("moved.rec")).unwrap();
    let report = verify(&lab, &run, &["--json"]).exits_with(0).json();
    assert_eq!(report["recording"]["state"], "elsewhere");
    fs::write(lab.path("kept.rec"), "{}\n").unwrap();
    verify(&lab, &run, &[]).exits_with(1);
}

#[test]
fn a_recorded_run_is_done_again_and_compared() {
    let lab = Lab::new();
    lab.file("w/file", "content");
    lab.run(guests::ASKS_THE_WORLD, "x")
        .args(["--dir", "w", "--record", "--quiet"])
        .done()
        .exits_with(0);
    let run = last(&lab);
    let before = lab.accounts().len();
    let same = verify(&lab, &run, &["--replay"]).exits_with(0);
    assert!(
        same.stdout()
            .contains("replay: the same, run digest sha256:"),
        "{}",
        same.shown()
    );
    let report = verify(&lab, &run, &["--replay", "--json"]).json();
    assert_eq!(report["replay"]["state"], "same");
    assert_eq!(lab.accounts().len(), before, "nothing is kept of it");
    // Another agent does something else; other inputs give another run.
    let other = verify(
        &lab,
        &run,
        &["--replay", "--agent", guests::SLEEPS_FOR_EVER],
    )
    .exits_with(4);
    assert!(
        other.stdout().contains("replay: diverged: "),
        "{}",
        other.shown()
    );
    fs::write(lab.path("w/file"), "changed").unwrap();
    let report = verify(&lab, &run, &["--replay", "--json"])
        .exits_with(4)
        .json();
    assert_eq!(report["verdict"], "valid", "the account is what it was");
    assert_eq!(report["replay"]["state"], "diverged");
    // What is not that run's recording is not done at all.
    fs::write(run.join("recording.ndjson"), "{}\n").unwrap();
    let report = verify(&lab, &run, &["--replay", "--json"])
        .exits_with(1)
        .json();
    assert_eq!(report["replay"]["state"], "skipped");
    claiming(&lab, "x", &["--quiet"]);
    snapshot!(verify(&lab, &last(&lab), &["--replay"]).exits_with(2), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION] --replay
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot do `[LAB]/runs/[SESSION]` again: it was not recorded
    hint: `wasm-agent run --record` records a run
    ");
}

#[test]
fn a_signed_run_is_known_by_its_key() {
    let lab = Lab::new();
    key(&lab, "ci.key");
    snapshot!(lab.call(["key", "new", "ci.key"]).done(), @r"
    $ wasm-agent key new ci.key
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot make the key `ci.key`: File exists (os error 17)
    hint: a key that is there is not replaced: choose another name
    ");
    claiming(&lab, "x", &["--sign", "ci.key", "--record", "--quiet"]);
    let run = last(&lab);
    snapshot!(verify(&lab, &run, &[]), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION]
    exit 0
    ----- stdout -----
    valid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    recording: says the same, 13 calls ([LAB]/runs/[SESSION]/recording.ndjson)
    receipt: says the same, signature not checked: no --key (keys it names: [DIGEST])
    ----- stderr -----
    ");
    snapshot!(verify(&lab, &run, &["--key", "ci.key.pub"]).exits_with(0), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION] --key ci.key.pub
    exit 0
    ----- stdout -----
    valid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    recording: says the same, 13 calls ([LAB]/runs/[SESSION]/recording.ndjson)
    receipt: says the same, signed by the key (keys it names: [DIGEST])
    ----- stderr -----
    ");
    key(&lab, "other.key");
    let refused = verify(&lab, &run, &["--key", "other.key.pub"]).exits_with(1);
    assert!(
        refused.stdout().contains("not signed by the key"),
        "{}",
        refused.shown()
    );
    // A second person vouches for it, too; so does the first one again.
    for signer in ["other.key", "ci.key"] {
        lab.call(["sign", "latest", "--key", signer])
            .done()
            .exits_with(0);
    }
    for signer in ["other.key.pub", "ci.key.pub"] {
        verify(&lab, &run, &["--key", signer]).exits_with(0);
    }
    let report = verify(
        &lab,
        Path::new("latest"),
        &["--key", "ci.key.pub", "--json"],
    )
    .json();
    assert_eq!(report["receipt"]["signature"], "good");
    assert_eq!(report["receipt"]["signed_by"].as_array().unwrap().len(), 2);
}

/// The statement says what the account says, in the words of in-toto.
#[test]
fn a_receipt_is_a_statement_others_can_read() {
    let lab = Lab::new();
    key(&lab, "k");
    lab.run(guests::HANDS_OVER_ARTIFACTS, "x")
        .args(["--sign", "k", "--record", "--out", "t.ndjson", "--quiet"])
        .args(["--require", "complete"])
        .done();
    let account = lab.account();
    let envelope = envelope(account.dir());
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");
    let statement = statement(&envelope);
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    let sha = |path: &Path| Digest::of(&fs::read(path).unwrap()).hex();
    let subject = |name: &str| {
        let subjects = statement["subject"].as_array().unwrap();
        let found = subjects.iter().find(|subject| subject["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {statement:#}"))["digest"]["sha256"].clone()
    };
    assert_eq!(
        subject("events.ndjson"),
        sha(&account.dir().join("events.ndjson"))
    );
    assert_eq!(subject("trajectory.ndjson"), sha(&lab.path("t.ndjson")));
    let artifacts = account.outcome()["artifacts"].as_array().unwrap();
    assert!(!artifacts.is_empty());
    for artifact in artifacts {
        let name = format!("artifacts/{}", artifact["name"].as_str().unwrap());
        assert_eq!(subject(&name), sha(&account.dir().join(&name)));
    }
    // They are what was signed, or it is said.
    let run = account.dir();
    let artifact = run
        .join("artifacts")
        .join(artifacts[0]["name"].as_str().unwrap());
    let kept = fs::read(&artifact).unwrap();
    fs::write(&artifact, "something else").unwrap();
    let report = verify(&lab, run, &["--key", "k.pub", "--json"])
        .exits_with(1)
        .json();
    assert_eq!(report["artifacts"][0]["state"], "altered");
    fs::remove_file(&artifact).unwrap();
    let report = verify(&lab, run, &["--key", "k.pub", "--json"])
        .exits_with(0)
        .json();
    assert_eq!(report["artifacts"][0]["state"], "missing");
    fs::write(&artifact, kept).unwrap();
    let report = verify(&lab, run, &["--key", "k.pub", "--json"])
        .exits_with(0)
        .json();
    assert_eq!(report["artifacts"][0]["state"], "same");
    let predicate = &statement["predicate"];
    let outcome = account.outcome();
    assert_eq!(
        predicate["component"]["digest"],
        account.request()["agent"]["digest"]
    );
    assert_eq!(predicate["ended"], outcome["ended"]);
    assert_eq!(predicate["run_digest"], outcome["run_digest"]);
    assert_eq!(predicate["evidence"]["completed"], outcome["completed"]);
    assert_eq!(predicate["evidence"]["required"]["complete"], true);
    let log = fs::read_to_string(account.dir().join("events.ndjson")).unwrap();
    let head: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(predicate["log"]["head"], head["hash"]);
}

fn envelope(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("receipt.dsse.json")).unwrap()).unwrap()
}

fn statement(envelope: &Value) -> Value {
    let payload = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn a_receipt_that_says_something_else_is_refused_whoever_signed_it() {
    let lab = Lab::new();
    key(&lab, "k");
    claiming(&lab, "one", &["--sign", "k", "--record", "--quiet"]);
    let one = last(&lab);
    claiming(&lab, "two", &["--sign", "k", "--record", "--quiet"]);
    let two = last(&lab);
    let receipt = two.join("receipt.dsse.json");
    let kept = fs::read(&receipt).unwrap();
    let refused = |what: &str| {
        let report = verify(&lab, &two, &["--json"]).exits_with(1).json();
        let said = &report["receipt"]["mismatches"][0];
        assert!(
            said["what"].as_str().unwrap().contains(what),
            "{what}: {said}"
        );
        assert_eq!(report["total"], 0, "the account itself is what it was");
        verify(&lab, &two, &["--key", "k.pub"]).exits_with(1)
    };
    // That of another run, with a good signature.
    fs::copy(one.join("receipt.dsse.json"), &receipt).unwrap();
    snapshot!(refused("subject[0].digest.sha256"), @r#"
    $ wasm-agent verify [LAB]/runs/[SESSION] --key k.pub
    exit 1
    ----- stdout -----
    [LAB]/runs/[SESSION]/receipt.dsse.json: subject[0].digest.sha256: the account has "[DIGEST]", the receipt "[DIGEST]"
    invalid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    recording: says the same, 13 calls ([LAB]/runs/[SESSION]/recording.ndjson)
    receipt: says something else, signed by the key (keys it names: [DIGEST])
    ----- stderr -----
    "#);
    // One the owner of the key has signed, and which is not true.
    let secret = SecretKey::read(&lab.path("k")).unwrap();
    let honest = statement(&serde_json::from_slice(&kept).unwrap());
    let forge = |change: &dyn Fn(&mut Value)| {
        let mut forged = honest.clone();
        change(&mut forged);
        let mut envelope = Envelope::new(PAYLOAD_TYPE, forged.to_string().into_bytes());
        envelope.sign(&secret);
        fs::write(&receipt, envelope.text()).unwrap();
    };
    forge(&|_| ());
    verify(&lab, &two, &["--key", "k.pub"]).exits_with(0);
    for (pointer, path) in [
        ("/predicate/component/digest", "predicate.component.digest"),
        ("/predicate/commission", "predicate.commission"),
        ("/predicate/grants", "predicate.grants"),
        ("/predicate/log/head", "predicate.log.head"),
        ("/predicate/recording/digest", "predicate.recording.digest"),
        (
            "/predicate/recording/inputs/0/digest",
            "predicate.recording.inputs[0].digest",
        ),
        ("/predicate/run_digest", "predicate.run_digest"),
        (
            "/predicate/evidence/completed",
            "predicate.evidence.completed",
        ),
        ("/predicate/ended/kind", "predicate.ended.kind"),
        ("/subject/0/name", "subject[0].name"),
        ("/_type", "_type"),
        ("/predicateType", "predicateType"),
    ] {
        forge(&|statement| *statement.pointer_mut(pointer).unwrap() = json!("forged"));
        refused(path);
    }
    forge(&|statement| statement["predicate"]["reviewed"] = json!(true));
    refused("predicate.reviewed");
    // Something else that was signed by the key, and no envelope at all.
    let mut other = Envelope::new("text/plain", b"I agree".to_vec());
    other.sign(&secret);
    fs::write(&receipt, other.text()).unwrap();
    refused("payloadType");
    fs::write(&receipt, "{}").unwrap();
    refused("file");
    // Nobody adds a name to what is not true.
    lab.call(["sign", two.to_str().unwrap(), "--key", "k"])
        .done()
        .exits_with(2);
    // The signature of one for the statement of the other.
    let mut mixed: Value = serde_json::from_slice(&kept).unwrap();
    mixed["signatures"] = envelope(&one)["signatures"].clone();
    fs::write(&receipt, mixed.to_string()).unwrap();
    let report = verify(&lab, &two, &["--key", "k.pub", "--json"])
        .exits_with(1)
        .json();
    assert_eq!(report["receipt"]["signature"], "refused");
    assert_eq!(report["receipt"]["mismatches"], json!([]));
    fs::write(&receipt, kept).unwrap();
    verify(&lab, &two, &["--key", "k.pub"]).exits_with(0);
    // What was signed cannot be changed afterwards, even by who writes the whole chain anew.
    fs::remove_file(two.join("recording.ndjson")).unwrap();
    verify(&lab, &two, &["--key", "k.pub"]).exits_with(1);
}

#[test]
fn what_is_not_closed_or_not_valid_is_not_signed() {
    let lab = Lab::new();
    key(&lab, "k");
    claiming(&lab, "x", &["--quiet"]);
    let run = last(&lab);
    snapshot!(verify(&lab, &run, &["--key", "k.pub"]).exits_with(1), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION] --key k.pub
    exit 1
    ----- stdout -----
    there is no receipt.dsse.json to be signed by [DIGEST]
    invalid · 20 events
    head [DIGEST]
                   observed  claimed
    turns                 0        4
    tool calls            0        5
    sub-agents            0        0
    input tokens          0       11
    output tokens         0        7
    cost            $0.0000  $0.0000
    observed: the host saw it happen; claimed: only the agent says so
    1 tool call refused, or open when the run ended
    2 claimed tool calls without an observed effect, which reading has none of either:
      line 12: step 2: write (lied)
      line 23: step 4: read (read)
    receipt: none
    ----- stderr -----
    ");
    let log = run.join("events.ndjson");
    let whole = fs::read_to_string(&log).unwrap();
    let sign = || {
        lab.call(["sign", run.to_str().unwrap(), "--key", "k"])
            .done()
    };
    fs::write(
        &log,
        whole.trim_end().rsplit_once('\n').unwrap().0.to_owned() + "\n",
    )
    .unwrap();
    snapshot!(sign().exits_with(2), @r"
    $ wasm-agent sign [LAB]/runs/[SESSION] --key k
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot sign `[LAB]/runs/[SESSION]`: its account was not closed
    hint: what has no end cannot be vouched for; run it again
    ");
    fs::write(&log, whole.replacen("wrote", "wrOte", 1)).unwrap();
    snapshot!(sign().exits_with(2), @r"
    $ wasm-agent sign [LAB]/runs/[SESSION] --key k
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot sign `[LAB]/runs/[SESSION]`: its account, or what is beside it, is not valid
    hint: `wasm-agent verify [LAB]/runs/[SESSION]` says what is wrong with it
    ");
    assert!(!run.join("receipt.dsse.json").exists());
    fs::write(&log, whole).unwrap();
    sign().exits_with(0);
    lab.file("t.ndjson", "{}");
    lab.call(["sign", &lab.arg("t.ndjson"), "--key", "k"])
        .done()
        .exits_with(2);
    verify(&lab, &lab.path("t.ndjson"), &["--key", "k.pub"]).exits_with(2);
}

/// The account in `run`, changed and chained anew by somebody who knows how.
fn rewritten(run: &Path, run_file: &str, log: &str) {
    let mut head = Digest::of(run_file.as_bytes()).hex();
    let mut chained = String::new();
    for line in log.lines() {
        let (said, _) = line.rsplit_once(",\"hash\":").unwrap();
        let (before, rest) = said.split_once("\"prev\":\"").unwrap();
        let said = format!("{before}\"prev\":\"{head}{}", &rest[64..]);
        head = Digest::of(said.as_bytes()).hex();
        chained += &format!("{said},\"hash\":\"{head}\"}}\n");
    }
    fs::write(run.join("run.json"), run_file).unwrap();
    fs::write(run.join("events.ndjson"), chained).unwrap();
}

/// What cannot be read is not passed over: nothing was compared with it.
#[test]
fn an_account_that_cannot_be_read_is_not_valid() {
    let lab = Lab::new();
    key(&lab, "k");
    claiming(&lab, "x", &["--record", "--quiet"]);
    let run = last(&lab);
    let run_file = fs::read_to_string(run.join("run.json")).unwrap();
    let log = fs::read_to_string(run.join("events.ndjson")).unwrap();
    rewritten(&run, &run_file, &log);
    verify(&lab, &run, &[]).exits_with(0);
    for (run_file, log, unread) in [
        (
            run_file.replacen("\"profile\"", "\"profil\"", 1),
            log.clone(),
            "run.json",
        ),
        (
            run_file.clone(),
            log.replacen("\"stop_reason\":", "\"stop_raison\":", 1),
            "the outcome in events.ndjson",
        ),
        (
            run_file.clone(),
            log.replacen(
                "\"stop_reason\":",
                "\"artifacts\":[{\"name\":\"a\"}],\"stop_reason\":",
                1,
            ),
            "artifact 1 in events.ndjson",
        ),
    ] {
        rewritten(&run, &run_file, &log);
        let done = verify(&lab, &run, &[]).exits_with(1);
        let line = format!("{unread} cannot be read, and was not compared: missing field");
        assert!(done.stdout().contains(&line), "{}", done.shown());
        let report = verify(&lab, &run, &["--json"]).exits_with(1).json();
        assert_eq!(report["verdict"], "invalid");
        assert_eq!(report["total"], 0, "the chain is whole: {report:#}");
        lab.call(["sign", run.to_str().unwrap(), "--key", "k"])
            .done()
            .exits_with(2);
    }
}

/// A private key in PKCS#8 of some algorithm, as far as anybody looks at it.
fn pkcs8(oid: &[u8]) -> String {
    let part =
        |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let algorithm = part(0x30, &part(0x06, oid));
    let document = part(
        0x30,
        &[part(0x02, &[0]), algorithm, part(0x04, &[1; 8])].concat(),
    );
    pem("PRIVATE KEY", &STANDARD.encode(document))
}

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A bad key is found out before anything is run, and nothing of it is shown.
#[test]
fn a_bad_key_is_an_error_before_the_run() {
    let lab = Lab::new();
    key(&lab, "good");
    let run = |name: &str| {
        let done = lab
            .run(guests::ANSWERS_WITH_TEXT, "x")
            .args(["--sign", name])
            .done();
        assert!(lab.accounts().is_empty(), "nothing was run");
        done.exits_with(2)
    };
    snapshot!(run("missing"), @r"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --sign missing
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the key `missing`: No such file or directory (os error 2)
    hint: `wasm-agent key new FILE` makes one
    ");
    lab.file(
        "rsa",
        pkcs8(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]),
    );
    snapshot!(run("rsa"), @r"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --sign rsa
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot use the key `rsa`: it is not of Ed25519, but RSA
    hint: `wasm-agent key new FILE` makes one, and so does `openssl genpkey -algorithm ed25519`
    ");
    lab.file("encrypted", pem("ENCRYPTED PRIVATE KEY", "c2VjcmV0"));
    snapshot!(run("encrypted"), @r"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --sign encrypted
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot use the key `encrypted`: it is encrypted
    hint: `openssl pkey -in encrypted -out PLAIN` writes it without its password
    ");
    lab.file("garbage", b"c2VjcmV0\xff\n");
    snapshot!(run("garbage"), @r"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --sign garbage
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot use the key `garbage`: it is no private key (PKCS#8) as PEM
    hint: `wasm-agent key new FILE` makes one, and so does `openssl genpkey -algorithm ed25519`
    ");
    snapshot!(run("good.pub"), @r"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --sign good.pub
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot sign with `good.pub`: it is a public key
    hint: sign with `good`
    ");
    lab.file("openssh", pem("OPENSSH PRIVATE KEY", "c2VjcmV0"));
    lab.file("short", pkcs8(&[0x2b, 0x65, 0x70]));
    lab.file("cut", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0");
    for name in ["openssh", "short", "cut"] {
        let done = run(name);
        let text = done.stderr();
        assert!(
            text.contains("hint: `wasm-agent key new FILE`"),
            "{}",
            done.shown()
        );
        assert!(!text.contains("c2VjcmV0"), "{}", done.shown());
    }
    // And of those that check.
    claiming(&lab, "x", &["--sign", "good", "--quiet"]);
    snapshot!(verify(&lab, &last(&lab), &["--key", "good"]).exits_with(2), @r"
    $ wasm-agent verify [LAB]/runs/[SESSION] --key good
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot check a signature with `good`: it is a private key
    hint: `wasm-agent key new` has written `good.pub`; of any key, `openssl pkey -in good -pubout` prints it
    ");
}

/// Keys of OpenSSL sign, and OpenSSL checks what ours have signed.
#[test]
fn keys_are_those_of_openssl() {
    let openssl = |lab: &Lab, args: &[&str]| {
        let done = Command::new("openssl")
            .args(args)
            .current_dir(lab.path(""))
            .output();
        done.is_ok_and(|done| done.status.success())
    };
    let lab = Lab::new();
    if !openssl(&lab, &["genpkey", "-algorithm", "ed25519", "-out", "o.key"]) {
        return skipped("there is no openssl with Ed25519");
    }
    assert!(openssl(
        &lab,
        &["pkey", "-in", "o.key", "-pubout", "-out", "o.key.pub"]
    ));
    claiming(&lab, "x", &["--sign", "o.key", "--quiet"]);
    verify(&lab, &last(&lab), &["--key", "o.key.pub"]).exits_with(0);
    key(&lab, "k");
    assert!(openssl(
        &lab,
        &["pkey", "-in", "k", "-pubout", "-out", "k.again"]
    ));
    let read = |name: &str| fs::read(lab.path(name)).unwrap();
    assert_eq!(read("k.again"), read("k.pub"));
    claiming(&lab, "y", &["--sign", "k", "--quiet"]);
    let receipt = envelope(&last(&lab));
    let payload = STANDARD
        .decode(receipt["payload"].as_str().unwrap())
        .unwrap();
    let head = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    );
    lab.file("pae", [head.as_bytes(), &payload].concat());
    let signature = receipt["signatures"][0]["sig"].as_str().unwrap();
    lab.file("sig", STANDARD.decode(signature).unwrap());
    let args = [
        "pkeyutl", "-verify", "-pubin", "-inkey", "k.pub", "-rawin", "-in", "pae", "-sigfile",
        "sig",
    ];
    assert!(openssl(&lab, &args));
    lab.file("pae", [head.as_bytes(), &payload, b" "].concat());
    assert!(!openssl(&lab, &args));
}
