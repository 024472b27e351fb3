//! A recorded run is repeated byte for byte, or the first difference is named.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use wasm_agent::commission::Commission;
use wasm_agent::engine::{Cache, Profile};
use wasm_agent::grants::{Grants, GrantsFile};
use wasm_agent::recording::{Recording, Seed};
use wasm_agent::run::taping::hermetic_start;
use wasm_agent::run::{Ended, Host, HostOptions, Mode, Outcome, Places, RecordTo, RunRequest};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, skipped, warm_cache};

/// Records a run of `guest` with `args`, as `a.rec` and `a.avp`.
fn recorded(lab: &Lab, guest: &str, args: &[&str]) -> Done {
    told(lab, guest, "x", args)
}

/// The same with a task.
pub(crate) fn told(lab: &Lab, guest: &str, task: &str, args: &[&str]) -> Done {
    lab.run(guest, task)
        .args(["--record=a.rec", "--out", "a.avp", "--format", "json"])
        .args(args.iter().copied())
        .done()
}

/// Replays `a.rec`; its trajectory is `b.avp`.
pub(crate) fn replayed(lab: &Lab, args: &[&str]) -> Done {
    lab.call(["replay", "a.rec", "--out", "b.avp", "--format", "json"])
        .args(args.iter().copied())
        .done()
}

/// Whatever the run did and however it ended: the replay does the same and ends the same.
#[track_caller]
pub(crate) fn is_the_same(lab: &Lab, recorded: &Done, replayed: &Done) {
    assert_eq!(recorded.code(), replayed.code(), "{}", replayed.shown());
    let (one, other) = (recorded.json(), replayed.json());
    for field in [
        "ended",
        "output",
        "run_digest",
        "fuel",
        "files",
        "totals",
        "artifacts",
    ] {
        assert_eq!(one[field], other[field], "{field}: {}", replayed.shown());
    }
    assert!(one["run_digest"].is_string(), "{}", recorded.shown());
    let read = |name| std::fs::read(lab.path(name)).unwrap();
    assert_eq!(read("a.avp"), read("b.avp"), "the trajectory");
}

fn repeats(guest: &str, args: &[&str]) {
    let lab = Lab::new();
    lab.file("w/file", "content");
    lab.folder("w/sub");
    let first = recorded(&lab, guest, args);
    // Somewhere else in time, twice.
    for _ in 0..2 {
        is_the_same(&lab, &first, &replayed(&lab, &[]));
    }
}

#[test]
pub(crate) fn asks_the_world() {
    repeats(guests::ASKS_THE_WORLD, &["--dir", "w"]);
    repeats(guests::ASKS_THE_WORLD, &["--dir", "w:cow", "--env", "A=b"]);
    // It looks at the clock as often as it did.
    let lab = Lab::new();
    let first = lab
        .run(guests::ASKS_THE_WORLD, "spin")
        .args(["--record=a.rec", "--out", "a.avp", "--format", "json"])
        .done()
        .exits_with(0);
    assert!(first.json()["output"]["rounds"].as_u64().unwrap() > 10);
    is_the_same(&lab, &first, &replayed(&lab, &[]));
}

#[test]
fn however_a_run_ends_it_is_repeated() {
    for guest in [
        guests::TRAPS,
        guests::PANICS,
        guests::EXITS_IN_THE_MIDDLE,
        guests::TELLS_WHAT_IS_LEFT,
        guests::STREAMS_A_TURN,
        guests::HANDS_OVER_ARTIFACTS,
        guests::LEAVES_CALLS_AND_FRAMES_OPEN,
        guests::STDIO_SPEAKS_AVP,
        guests::STDIO_EXITS_WITH_A_FAILURE,
    ] {
        repeats(guest, &[]);
    }
    repeats(guests::COMPUTES_FOR_EVER, &["--limit", "cpu=20ms"]);
}

/// Answers, retries, calls of tools, refusals and costs of a scripted provider.
const SCRIPT: &str = r#"
version = 1
[[rules]]
times = 1
reply = { text = "Hal", error = { class = "overloaded", status = 529, retry-after-ms = 300 } }
[[rules]]
reply = { thinking = "hm", text = "You said: {last_user}", chunk = 3, usage = { input = 20, output = 7 }, cost-usd = 0.1 }
"#;

#[test]
fn what_models_answer_is_repeated_without_their_script() {
    for guest in [
        guests::MODEL_ANSWERS,
        guests::MODEL_STREAMS,
        guests::MODEL_ASKS_BADLY,
        guests::MODEL_IS_CANCELLED,
    ] {
        let lab = Lab::new();
        lab.file("s.toml", SCRIPT);
        let first = recorded(&lab, guest, &["--model", "scripted/s.toml"]);
        std::fs::remove_file(lab.path("s.toml")).unwrap();
        is_the_same(&lab, &first, &replayed(&lab, &[]));
        let tape = std::fs::read_to_string(lab.path("a.rec")).unwrap();
        assert!(tape.contains("\"model.setup\""), "{guest}: {tape}");
    }
}

#[test]
fn a_hermetic_run_asks_scripts_and_nobody_else() {
    let lab = Lab::new();
    lab.file("s.toml", SCRIPT);
    let run = || {
        lab.run(guests::MODEL_ANSWERS, "x")
            .args([
                "--hermetic",
                "--model",
                "scripted/s.toml",
                "--format",
                "json",
            ])
            .done()
            .exits_with(0)
            .json()
    };
    assert_eq!(run()["run_digest"], run()["run_digest"]);
    let done = lab
        .run(guests::MODEL_ANSWERS, "x")
        .args(["--hermetic", "--model", "anthropic/claude-x"])
        .done();
    let said = done.stdout();
    assert!(
        said.contains("a hermetic run reaches no provider"),
        "{}",
        done.shown()
    );
}

#[test]
fn a_run_that_was_cut_is_cut_at_the_same_point_without_waiting() {
    let short = [
        "--limit",
        "wall=1s",
        "--limit",
        "idle=1s",
        "--limit",
        "idle-notice=1s",
    ];
    repeats(guests::SLEEPS_FOR_EVER, &short);
    repeats(guests::COMPUTES_FOR_EVER, &short);
}

#[test]
fn a_hermetic_run_equals_itself_and_does_not_sleep() {
    let lab = Lab::new();
    lab.file("w/file", "content");
    let run = |more: &[&str]| {
        lab.run(guests::ASKS_THE_WORLD, "x")
            .args(["--hermetic", "--dir", "w", "--format", "json"])
            .args(more.iter().copied())
            .done()
            .exits_with(0)
            .json()
    };
    let one = run(&[]);
    let digest = one["run_digest"].as_str().unwrap().to_owned();
    assert_eq!(one["output"]["wall"], "946684800000005000");
    assert_eq!(run(&["--record=a.rec"])["run_digest"], one["run_digest"]);
    assert_eq!(replayed(&lab, &[]).json()["run_digest"], one["run_digest"]);
    assert_eq!(run(&["--expect-digest", &digest])["output"], one["output"]);
    assert_ne!(
        run(&["--seed", "1"])["output"]["order"],
        one["output"]["order"]
    );
    assert_ne!(
        run(&["--clock", "2026-01-01T00:00:00Z"])["run_digest"],
        one["run_digest"]
    );
    std::fs::write(lab.path("w/file"), "other").unwrap();
    let other = lab
        .run(guests::ASKS_THE_WORLD, "x")
        .args(["--hermetic", "--dir", "w", "--expect-digest", &digest])
        .done()
        .exits_with(4);
    assert!(
        other
            .stderr()
            .contains("the run digest is not the expected one")
    );
    // Ten virtual minutes are over at once.
    let slept = lab
        .run(guests::SLEEPS_FOR_EVER, "x")
        .args(["--hermetic", "--format", "json"])
        .done()
        .exits_with(3);
    assert_eq!(slept.json()["ended"]["name"], "wall");
    assert!(slept.json()["wall_us"].as_u64().unwrap() < 60_000_000);
}

#[test]
fn what_a_run_was_let_change_is_not_changed_again() {
    let lab = Lab::new();
    lab.file("w/file", "content");
    lab.file("copy/file", "content");
    recorded(&lab, guests::ASKS_THE_WORLD, &["--dir", "w:rw"]).exits_with(0);
    let written = std::fs::read(lab.path("w/new")).unwrap();
    let changed = replayed(&lab, &[]).exits_with(4);
    let text = changed.stderr();
    assert!(text.contains("`/work` is not what it was"), "{text}");
    assert!(text.contains("`new` differ"), "{text}");
    let there = replayed(&lab, &["--dir", "copy::/work"]).exits_with(0);
    assert_eq!(there.json()["files"][0]["path"], "/work/new");
    assert!(!lab.path("copy/new").exists(), "a replay changes nothing");
    assert_eq!(std::fs::read(lab.path("w/new")).unwrap(), written);
}

#[test]
fn another_component_has_to_do_the_same() {
    let lab = Lab::new();
    recorded(&lab, guests::ASKS_THE_WORLD, &[]).exits_with(0);
    let done = replayed(&lab, &[guests::SLEEPS_FOR_EVER]).exits_with(4);
    let ended = &done.json()["ended"];
    assert_eq!(ended["kind"], "diverged", "{}", done.shown());
    assert!(ended["call"].as_u64().unwrap() > 1, "{ended}");
    assert!(!ended["nearby"].as_array().unwrap().is_empty(), "{ended}");
    let text = done.stderr();
    assert!(
        text.contains("hint: the component is another one"),
        "{text}"
    );
}

/// Lines of the recording.
pub(crate) fn lines(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(lab.path("a.rec")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_recording_that_is_not_whole_or_not_one_is_refused() {
    let lab = Lab::new();
    recorded(&lab, guests::ASKS_THE_WORLD, &[]).exits_with(0);
    let whole = lines(&lab);
    assert!(whole.len() > 5, "{whole:#?}");
    let refused = |lines: &[String], why: &str| {
        lab.file("a.rec", lines.join("\n") + "\n");
        let done = lab.call(["replay", "a.rec"]).done().exits_with(2);
        assert!(done.stderr().contains(why), "{why}: {}", done.shown());
        assert!(done.stderr().contains("hint: "), "{}", done.shown());
    };
    refused(&whole[..whole.len() - 1], "it ends before its run did");
    let mut swapped = whole.clone();
    swapped.swap(1, 2);
    refused(&swapped, "where 1 is due");
    let mut edited = whole.clone();
    edited[1] = edited[1].replace("\"us\":[", "\"us\":[1");
    refused(&edited, "its lines are not those it ended with");
    let mut doubled = whole.clone();
    doubled.push(whole.last().unwrap().clone());
    refused(&doubled, "it stands after the end");
    let mut newer = whole.clone();
    newer[0] = newer[0].replace("recording@1", "recording@2");
    refused(&newer, "it has the format `wasm-agent/recording@2`");
    let trajectory = std::fs::read_to_string(lab.path("a.avp")).unwrap();
    refused(&[trajectory], "it is not one");
    refused(&[String::new()], "it is not one");
    // What a killed host leaves can still be looked at.
    lab.file("a.rec", whole[..3].join("\n") + "\n{\"n\":");
    let shown = lab
        .call(["recording", "show", "a.rec"])
        .done()
        .exits_with(0);
    assert!(
        shown.stdout().contains("its host was killed"),
        "{}",
        shown.shown()
    );
}

/// Somebody who knows the format can put a new end under other lines; then the run itself notices.
pub(crate) fn forged(lab: &Lab, mut lines: Vec<String>) {
    let end = lines.pop().unwrap();
    let mut end: Value = serde_json::from_str(&end).unwrap();
    let before = lines.join("\n") + "\n";
    end["end"]["lines"] = json!(wasm_agent::digest::Digest::of(before.as_bytes()));
    lab.file("a.rec", format!("{before}{end}\n"));
}

#[test]
fn a_difference_is_named_by_call_and_field() {
    let lab = Lab::new();
    recorded(&lab, guests::ASKS_THE_WORLD, &[]).exits_with(0);
    let mut whole = lines(&lab);
    let at = whole
        .iter()
        .position(|line| line.contains("\"session.budget\""))
        .unwrap();
    whole[at] = whole[at].replace("\"request\":null", "\"request\":{\"of\":\"time\"}");
    forged(&lab, whole);
    let done = replayed(&lab, &[]).exits_with(4);
    let ended = &done.json()["ended"];
    assert_eq!(ended["expected"], "`session.budget` {\"of\":\"time\"}");
    assert_eq!(ended["found"], "`session.budget`");
    assert_eq!(ended["field_expected"], "{\"of\":\"time\"}");
    assert_eq!(ended["field_found"], "null");
}

#[test]
fn a_replay_needs_no_network_and_no_environment() {
    let lab = Lab::new();
    let first = recorded(&lab, guests::ASKS_THE_WORLD, &[]).exits_with(0);
    if let Some(done) = replayed_alone(&lab) {
        is_the_same(&lab, &first, &done);
    }
}

/// Replays `a.rec` without a network interface and without an environment, where this user may.
pub(crate) fn replayed_alone(lab: &Lab) -> Option<Done> {
    let probe = std::process::Command::new("unshare")
        .args(["-n", "true"])
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        skipped("this user may not make a network namespace");
        return None;
    }
    let (runs, cache) = (lab.arg("runs"), warm_cache());
    let done = lab
        .call([
            "replay",
            "a.rec",
            "--out",
            "b.avp",
            "--format",
            "json",
            "--runs-dir",
            &runs,
        ])
        .args(["--cache-dir", cache.to_str().unwrap()])
        .under("exec unshare -n env -i \"$@\"")
        .done();
    Some(done)
}

#[test]
fn a_recording_is_pruned_and_exported_for_others() {
    let lab = Lab::new();
    lab.file("w/private-name", "x");
    lab.run(guests::ASKS_THE_WORLD, "x")
        .args(["--dir", "w", "--record=a.rec"])
        .done()
        .exits_with(0);
    let whole = std::fs::read_to_string(lab.path("a.rec")).unwrap();
    let first = |text: &str| text.lines().next().unwrap().to_owned();
    assert!(first(&whole).contains("private-name"), "{whole}");
    lab.call(["recording", "prune", "a.rec", "--out", "b.rec"])
        .done()
        .exits_with(0);
    let pruned = std::fs::read_to_string(lab.path("b.rec")).unwrap();
    assert!(!first(&pruned).contains("private-name"), "{pruned}");
    assert!(!pruned.contains(lab.path("").to_str().unwrap()), "{pruned}");
    let digest = |text: &str| {
        let end: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        end["end"]["run"].clone()
    };
    assert_eq!(digest(&pruned), digest(&whole));
    // It does not say any more where anything is, and is repeated by whoever does.
    let replay = lab.call(["replay", "b.rec", guests::ASKS_THE_WORLD, "--dir", "w"]);
    replay.done().exits_with(0);
    // In place, too, and pruning twice changes nothing.
    lab.call(["recording", "prune", "b.rec"])
        .done()
        .exits_with(0);
    assert_eq!(std::fs::read_to_string(lab.path("b.rec")).unwrap(), pruned);

    let markdown = lab
        .call(["recording", "export", "a.rec"])
        .done()
        .exits_with(0);
    let text = markdown.stdout();
    for part in [
        "# Recording of `guests`",
        "## Commission",
        "`session.budget`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = lab.call(["recording", "export", "a.rec", "--format", "json"]);
    let json = json.done().exits_with(0).json();
    assert_eq!(json["header"]["format"], "wasm-agent/recording@1");
    assert_eq!(
        json["calls"].as_array().unwrap().len(),
        whole.lines().count() - 2
    );
    assert_eq!(json["end"]["run"], digest(&whole));

    let done = lab.call(["recording", "prune", "nothing.rec"]).done();
    assert!(
        done.exits_with(2)
            .stderr()
            .contains("cannot read the recording")
    );
    let done = lab.call(["recording", "prune", "a.rec", "--out", "no/folder/b.rec"]);
    let said = done.done().exits_with(2).stderr();
    assert!(
        said.contains("cannot write the recording `no/folder/b.rec`"),
        "{said}"
    );
}

#[test]
fn a_replay_that_leaves_its_recording_and_panics_has_diverged() {
    let lab = Lab::new();
    recorded(&lab, guests::ANSWERS_WITH_TEXT, &[]).exits_with(0);
    lab.call(["replay", "a.rec", guests::PANICS])
        .done()
        .exits_with(4);
}

#[test]
fn a_recording_sets_no_limit_above_the_default() {
    let lab = Lab::new();
    let limits = ["--limit", "memory=1GiB", "--limit", "files=7"];
    recorded(&lab, guests::ANSWERS_WITH_TEXT, &limits).exits_with(0);
    let shown = lab.call(["recording", "show", "a.rec"]).done();
    let shown = shown.exits_with(0);
    for line in ["memory=1GiB (default 512MiB)", "files=7 (default "] {
        assert!(shown.stdout().contains(line), "{}", shown.shown());
    }
    let done = lab.call(["replay", "a.rec"]).done().exits_with(0);
    let said = done.stderr();
    assert!(said.contains("memory=1GiB, here it is 512MiB"), "{said}");
    assert!(!said.contains("files"), "{said}");
    let done = lab
        .call(["replay", "a.rec", "--limit", "memory=1GiB"])
        .done()
        .exits_with(0);
    assert!(!done.stderr().contains("memory="), "{}", done.stderr());
}

#[test]
fn a_recording_has_nothing_read_outside_of_the_working_directory() {
    let lab = Lab::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().canonicalize().unwrap();
    let dir = dir.display().to_string();
    recorded(&lab, guests::ANSWERS_WITH_TEXT, &["--dir", &dir]).exits_with(0);
    let done = lab.call(["replay", "a.rec"]).done().exits_with(2);
    let said = done.stderr();
    assert!(said.contains("outside of the working directory"), "{said}");
    let asked = format!("{dir}::/work");
    assert!(said.contains(&format!("`--dir {asked}`")), "{said}");
    lab.call(["replay", "a.rec", "--dir", &asked])
        .done()
        .exits_with(0);
}

#[test]
fn a_line_that_would_fill_the_memory_is_not_read() {
    let lab = Lab::new();
    recorded(&lab, guests::ANSWERS_WITH_TEXT, &[]).exits_with(0);
    let whole = std::fs::read_to_string(lab.path("a.rec")).unwrap();
    let dense = format!("[{}0]", "[[0]],".repeat(1 << 20));
    lab.file(
        "a.rec",
        whole.replacen(
            '\n',
            &format!("\n{{\"n\":1,\"call\":\"x\",\"request\":{dense}}}\n"),
            1,
        ),
    );
    for command in [["recording", "show"], ["recording", "export"]] {
        let done = lab.call(command).args(["a.rec"]).done().exits_with(2);
        assert!(done.stderr().contains("line 2"), "{}", done.stderr());
    }
    // The same in the account of a run that somebody hands over.
    let events = lab.account().dir().join("events.ndjson");
    let text = std::fs::read_to_string(&events).unwrap();
    let line = format!(
        "{{\"seq\":0,\"time\":\"2026-01-01T00:00:00Z\",\"prev\":\"\",\"audit\":{dense},\"hash\":\"\"}}\n"
    );
    std::fs::write(&events, line + &text).unwrap();
    let done = lab.call(["runs", "show", "latest"]).done();
    assert!(done.shown().contains("MiB of memory"), "{}", done.shown());
    lab.call(["verify", "latest"]).done().exits_with(1);
}

#[test]
fn recordings_are_shown_and_compared() {
    let lab = Lab::new();
    recorded(&lab, guests::ASKS_THE_WORLD, &["--env", "A=1"]).exits_with(0);
    let shown = lab
        .call(["recording", "show", "a.rec"])
        .done()
        .exits_with(0);
    let text = shown.stdout();
    for part in [
        "run digest sha256:",
        "calls      poll.block: 1",
        "fuel       ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = lab
        .call(["recording", "show", "a.rec", "--json"])
        .done()
        .exits_with(0)
        .json();
    assert_eq!(json["header"]["format"], "wasm-agent/recording@1");
    lab.call(["recording", "diff", "a.rec", "a.rec"])
        .done()
        .exits_with(0);
    std::fs::copy(lab.path("a.rec"), lab.path("one.rec")).unwrap();
    recorded(&lab, guests::ASKS_THE_WORLD, &["--env", "A=2"]).exits_with(0);
    let done = lab
        .call(["recording", "diff", "one.rec", "a.rec"])
        .done()
        .exits_with(1);
    assert!(done.stdout().contains("header: `"), "{}", done.shown());
}

#[test]
fn what_the_tape_does_not_hold_yet_is_not_recorded() {
    let lab = Lab::new();
    let digest = format!("sha256:{}", "0".repeat(64));
    let done = lab
        .run(guests::ASKS_THE_WORLD, "x")
        .args(["--expect-digest", &digest])
        .done()
        .exits_with(2);
    assert!(
        done.stderr().contains("cannot be repeated"),
        "{}",
        done.shown()
    );
    let done = lab
        .run(guests::ASKS_THE_WORLD, "x")
        .args(["--hermetic", "--mcp", "x=cat"])
        .done();
    assert_eq!(done.code(), 2, "{}", done.shown());
}

/// Runs in this process, with one host.
struct Machine {
    host: Host,
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let host = Host::new(HostOptions {
            cache: Cache::open(warm_cache()).unwrap(),
            profile: Profile::Hermetic,
            ..HostOptions::default()
        });
        Machine {
            host: host.unwrap(),
            dir: tempfile::TempDir::new().unwrap(),
        }
    }

    async fn recorded(&self) -> (Arc<Recording>, Outcome) {
        let file = self.dir.path().join("a.rec");
        let agent = self
            .host
            .load(Path::new(guests::ASKS_THE_WORLD))
            .await
            .unwrap();
        let request = RunRequest {
            agent,
            commission: Commission::for_task("run-1", "none/none", Some("x")).unwrap(),
            grants: Grants::resolve(GrantsFile::default(), GrantsFile::default()).unwrap(),
            runs: None,
        };
        let run = self
            .host
            .start_in(Mode::Record(RecordTo::File(file.clone())), request);
        let outcome = run.unwrap().outcome().await;
        (Arc::new(Recording::read(&file).unwrap()), outcome)
    }
}

/// A thousand times, eight at a time, on four threads: one digest.
#[test]
fn a_thousand_replays_have_one_digest() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let machine = Arc::new(Machine::new());
        let (recording, first) = machine.recorded().await;
        assert_eq!(first.ended, Ended::Converged);
        let digest = first.run_digest.unwrap();
        let agent = machine
            .host
            .load(Path::new(guests::ASKS_THE_WORLD))
            .await
            .unwrap();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (machine, recording, agent) =
                    (machine.clone(), recording.clone(), agent.clone());
                tokio::spawn(async move {
                    for _ in 0..125 {
                        let run = machine.host.replay(
                            agent.clone(),
                            recording.clone(),
                            &Places::default(),
                            None,
                        );
                        let outcome = run.unwrap().outcome().await;
                        assert_eq!(outcome.ended, Ended::Converged);
                        assert_eq!(outcome.run_digest, Some(digest));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
    });
}

#[test]
fn a_host_that_meters_in_time_repeats_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let host = Host::new(HostOptions {
            cache: Cache::open(warm_cache()).unwrap(),
            ..HostOptions::default()
        })
        .unwrap();
        let request = RunRequest {
            agent: host.load(Path::new(guests::ASKS_THE_WORLD)).await.unwrap(),
            commission: Commission::for_task("run-1", "none/none", Some("x")).unwrap(),
            grants: Grants::default(),
            runs: None,
        };
        let mode = Mode::Hermetic {
            seed: Seed::numbered(0),
            start: hermetic_start(),
            record: None,
        };
        let error = host.start_in(mode, request).err().unwrap();
        assert!(
            error.to_string().contains("meters guests in time"),
            "{error}"
        );
    });
}
