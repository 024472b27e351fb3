//! A run that was ended is gone on with as if nothing had happened; a recorded one is forked, or its gaps filled.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::process::Signal;
use serde_json::{Value, json};
use wasm_agent::commission::Commission;
use wasm_agent::engine::{Cache, Profile};
use wasm_agent::grants::{Grants, GrantsFile};
use wasm_agent::recording::{InDoubt, Recording, Seed};
use wasm_agent::run::taping::{FILE, hermetic_start};
use wasm_agent::run::{
    Agent, Ended, Host, HostOptions, Mode, Outcome, Places, RecordTo, RunDir, RunRequest, RunsDir,
};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Done, Lab, snapshot, warm_cache};

/// Answers whatever it is asked.
const SCRIPT: &str = r#"
version = 1
[[rules]]
when = { last-user-contains = "fail" }
times = 1
reply = { error = { class = "overloaded", status = 529, retry-after-ms = 30 } }
[[rules]]
reply = { text = "You said: {last_user}", chunk = 4, usage = { input = 20, output = 7 }, cost-usd = 0.1 }
"#;

/// Runs in this process, with nothing but their inputs, in one directory they may write to.
struct Machine {
    lab: Lab,
    host: Host,
    agent: Agent,
    runs: RunsDir,
}

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
struct Left {
    digest: Option<String>,
    ended: Ended,
    output: Option<Value>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Machine {
    async fn new(component: &str) -> Machine {
        let lab = Lab::new();
        lab.file("script.toml", SCRIPT);
        let host = Host::new(HostOptions {
            cache: Cache::open(warm_cache()).unwrap(),
            profile: Profile::Hermetic,
            ..HostOptions::default()
        });
        let host = host.unwrap();
        let agent = host.load(Path::new(component)).await.unwrap();
        let runs = RunsDir::at(lab.path("runs"));
        Machine {
            lab,
            host,
            agent,
            runs,
        }
    }

    /// The directory as it is before every run.
    fn tidy(&self) {
        let _ = fs::remove_dir_all(self.lab.path("w"));
        self.lab.file("w/file", "content");
        self.lab.file("w/sub/other", "other");
    }

    fn left(&self, outcome: &Outcome) -> Left {
        Left {
            digest: outcome.run_digest.map(|digest| digest.to_string()),
            ended: outcome.ended.clone(),
            output: outcome.output.clone(),
            files: files(&self.lab.path("w")),
        }
    }

    async fn record(&self, script: &str, task: &str) -> (RunDir, Left) {
        self.tidy();
        self.record_in_place(script, task).await
    }

    async fn record_in_place(&self, script: &str, task: &str) -> (RunDir, Left) {
        let model = format!("scripted/{script}");
        let mut grants = GrantsFile::default();
        let dir = format!("{}:rw", self.lab.arg("w"));
        grants.dirs.push(dir.parse().unwrap());
        grants.models.push(model.clone());
        let request = RunRequest {
            agent: self.agent.clone(),
            commission: Commission::for_task("run-1", &model, Some(task)).unwrap(),
            grants: Grants::resolve(grants, GrantsFile::default()).unwrap(),
            runs: Some(self.runs.clone()),
        };
        let mode = Mode::Hermetic {
            seed: Seed::numbered(3),
            start: hermetic_start(),
            record: Some(RecordTo::RunDirectory),
        };
        let outcome = self.host.start_in(mode, request).unwrap().outcome().await;
        let run = self.runs.find("latest").unwrap();
        (run, self.left(&outcome))
    }

    /// The run as it would be if its host had been killed when so many lines of its recording were written.
    fn killed(&self, run: &RunDir, lines: usize) -> RunDir {
        let killed = self.runs.path().join("20260101-000000-00000000");
        let _ = fs::remove_dir_all(&killed);
        copy(run.path(), &killed);
        let text = fs::read_to_string(run.path().join(FILE)).unwrap();
        let kept: String = text.split_inclusive('\n').take(lines).collect();
        // It was about to write the next one.
        fs::write(killed.join(FILE), kept + "{\"n\":").unwrap();
        self.runs.find("20260101-000000").unwrap()
    }

    async fn resumed(&self, killed: &RunDir) -> Left {
        let agent = self.agent.clone();
        let resumed = self.host.resume(agent, killed, InDoubt::Retry, &self.runs);
        let (handle, _) = resumed.unwrap();
        let outcome = handle.outcome().await;
        let left = self.left(&outcome);
        fs::remove_dir_all(outcome.directory.unwrap()).unwrap();
        left
    }

    /// Killed at every line of its recording and gone on with, and replayed: each time it leaves the same.
    async fn is_the_same_wherever_it_is_killed(&self, script: &str, task: &str) {
        let (run, whole) = self.record(script, task).await;
        assert!(whole.digest.is_some(), "{whole:?}");
        let lines = fs::read_to_string(run.path().join(FILE)).unwrap();
        let lines = lines.lines().count();
        for line in 1..lines {
            let killed = self.killed(&run, line);
            let left = self.resumed(&killed).await;
            assert_eq!(left, whole, "killed after line {line} of {lines}: {task}");
        }
        self.tidy();
        let recording = Recording::read(&run.path().join(FILE)).unwrap();
        let (agent, mut places) = (self.agent.clone(), Places::default());
        let work = self.lab.path("w");
        places.dirs = vec![format!("{}::/work", work.display()).parse().unwrap()];
        let replay = self.host.replay(agent, Arc::new(recording), &places, None);
        let outcome = replay.unwrap().outcome().await;
        assert_eq!(self.left(&outcome).digest, whole.digest, "{task}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn step() -> impl Strategy<Value = Vec<String>> {
    let path = || {
        prop_oneof![
            Just("/work/file"),
            Just("/work/new"),
            Just("/work/sub/other")
        ]
    };
    let text = || prop_oneof![Just("a"), Just("fail"), Just("some more words"), Just("")];
    let of = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    prop_oneof![
        prop_oneof![
            Just("time"),
            Just("elapsed"),
            Just("random"),
            Just("budget"),
            Just("load")
        ]
        .prop_map(move |name| of(&[name])),
        prop_oneof![Just("0"), Just("1"), Just("50")].prop_map(move |ms| of(&["sleep", ms])),
        (
            prop_oneof![
                Just("turn"),
                Just("ask"),
                Just("stream"),
                Just("glance"),
                Just("save")
            ],
            text()
        )
            .prop_map(move |(name, text)| of(&[name, text])),
        (prop_oneof![Just("write"), Just("append")], path(), text())
            .prop_map(move |(name, path, text)| of(&[name, path, text])),
        (prop_oneof![Just("read"), Just("remove")], path())
            .prop_map(move |(name, path)| of(&[name, path])),
        (path(), path()).prop_map(move |(from, to)| of(&["rename", from, to])),
        Just(of(&["list", "/work"])),
    ]
}

/// Programs of effects nobody thought of, each killed at each of its calls.
#[test]
pub(crate) fn follows_a_program() {
    let runtime = runtime();
    let machine = runtime.block_on(Machine::new(guests::FOLLOWS_A_PROGRAM));
    let script = machine.lab.arg("script.toml");
    let config = ProptestConfig {
        cases: 12,
        // A failure says which program it was; making it smaller would run for minutes.
        max_shrink_iters: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let programs = proptest::collection::vec(step(), 1..10);
    runner
        .run(&programs, |program| {
            let task = serde_json::to_string(&program).unwrap();
            runtime.block_on(machine.is_the_same_wherever_it_is_killed(&script, &task));
            Ok(())
        })
        .unwrap();
}

/// An agent that talks to a model, uses tools, has a sub-agent and writes files.
#[test]
fn an_assistant_comes_to_the_same_end_wherever_it_is_killed() {
    runtime().block_on(async {
        let machine = Machine::new(crate::assistant::component()).await;
        let demo = crate::assistant::example("demo.toml");
        let notes = crate::assistant::example("demo/notes");
        copy(&notes, &machine.lab.path("w/notes"));
        let script = demo.to_str().unwrap();
        let (run, whole) = machine.record_in_place(script, "Plan my day.").await;
        assert_eq!(whole.ended, Ended::Converged);
        let lines = fs::read_to_string(run.path().join(FILE)).unwrap();
        // Every fifteenth, which are some of every kind: its model takes its time.
        for line in (1..lines.lines().count()).step_by(15) {
            let left = machine.resumed(&machine.killed(&run, line)).await;
            assert_eq!(left, whole, "killed after line {line}");
        }
    });
}

/// A model that takes its time.
const SLOW: &str = r#"
version = 1
[[rules]]
reply = { text = "You said: {last_user}, and I have a lot to say about it.", chunk = 2, chunk-delay-ms = 20, usage = { input = 20, output = 7 } }
"#;

const TALK: &str = r#"[["write","/work/new","begun"],["ask","one"],["append","/work/new",", one"],["stream","two"],["append","/work/new",", two"],["ask","three"],["append","/work/file"," and more"],["time"]]"#;

fn slow(lab: &Lab) {
    lab.file("slow.toml", SLOW);
    lab.file("w/file", "content");
}

fn recorded(lab: &Lab) -> crate::harness::Running {
    let run = lab.run(guests::FOLLOWS_A_PROGRAM, TALK);
    let granted = ["--model", "scripted/slow.toml", "--dir", "w:rw", "--record"];
    run.args(granted).spawn()
}

fn newest(lab: &Lab) -> PathBuf {
    let runs = RunsDir::at(lab.path("runs"));
    runs.find("latest").unwrap().path().to_owned()
}

/// Waits until a recording has so many lines.
fn wait_for_lines(lab: &Lab, lines: usize) {
    for _ in 0..2000 {
        let runs = RunsDir::at(lab.path("runs")).list().unwrap();
        if let Some(run) = runs.first()
            && let Ok(text) = fs::read_to_string(run.path().join(FILE))
            && text.lines().count() >= lines
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the recording does not grow");
}

fn resumed(lab: &Lab) -> Done {
    lab.call(["run", "--resume", "latest"]).done()
}

#[track_caller]
fn has_come_to_its_end(lab: &Lab, done: &Done) {
    assert_eq!(done.code(), 0, "{}", done.shown());
    assert!(
        done.stdout().contains("three, and I have a lot"),
        "{}",
        done.shown()
    );
    let read = |name| fs::read_to_string(lab.path(name)).unwrap();
    assert_eq!(read("w/new"), "begun, one, two");
    assert_eq!(read("w/file"), "content and more");
}

/// Killed for good, at points nobody chose; and again while it goes on.
#[test]
fn a_killed_host_is_gone_on_with() {
    for lines in [1, 6, 30, 60] {
        let lab = Lab::new();
        slow(&lab);
        let mut running = recorded(&lab);
        wait_for_lines(&lab, lines);
        running.child.kill().unwrap();
        running.wait();
        let first = newest(&lab);

        let mut again = lab.call(["run", "--resume", "latest"]).spawn();
        let before = fs::read_to_string(first.join(FILE))
            .unwrap()
            .lines()
            .count();
        while newest(&lab) == first && again.child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        wait_for_lines(&lab, before.min(20));
        again.child.kill().unwrap();
        again.wait();

        let done = resumed(&lab);
        has_come_to_its_end(&lab, &done);
        let request = fs::read_to_string(newest(&lab).join("run.json")).unwrap();
        let request: Value = serde_json::from_str(&request).unwrap();
        assert_eq!(request["taping"]["mode"], "resume");
        assert_eq!(request["taping"]["parent"]["how"], "resume");
        // What it says can be repeated from the first instruction to the last.
        lab.file("w/file", "content");
        fs::remove_file(lab.path("w/new")).unwrap();
        let recording = newest(&lab).join(FILE);
        lab.call(["replay", recording.to_str().unwrap()])
            .done()
            .exits_with(0);
    }
}

#[test]
fn a_run_that_was_interrupted_or_timed_out_is_gone_on_with() {
    let lab = Lab::new();
    slow(&lab);
    let mut running = recorded(&lab);
    wait_for_lines(&lab, 40);
    running.signal(Signal::INT);
    assert_eq!(running.wait().code(), Some(130));
    // Somebody works in the directory meanwhile: nothing of that is lost.
    lab.file("w/new", "mine");
    let old = newest(&lab);
    let done = resumed(&lab);
    has_come_to_its_end(&lab, &done);
    assert!(
        done.stderr().contains("put back to what it was"),
        "{}",
        done.shown()
    );
    let aside = fs::read_to_string(old.join("found-1/0/tree/new")).unwrap();
    assert_eq!(aside, "mine");

    // With the time it was granted: it has it anew each time.
    let lab = Lab::new();
    slow(&lab);
    let run = lab.run(guests::FOLLOWS_A_PROGRAM, TALK);
    let granted = ["--model", "scripted/slow.toml", "--dir", "w:rw", "--record"];
    let done = run.args(granted).args(["--timeout", "900ms"]).done();
    assert_eq!(done.code(), 3, "{}", done.shown());
    let mut done = resumed(&lab);
    for _ in 0..20 {
        if done.code() == 3 {
            done = resumed(&lab);
        }
    }
    has_come_to_its_end(&lab, &done);
}

#[test]
fn what_cannot_be_resumed_is_said() {
    let lab = Lab::new();
    slow(&lab);
    lab.run(guests::ANSWERS_WITH_TEXT, "x").done().exits_with(0);
    let id = |lab: &Lab| {
        newest(lab)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    snapshot!(resumed(&lab), @r#"
    $ wasm-agent run --resume latest
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot go on from run `[SESSION]`: it was not recorded to its directory
    hint: `run --record` records a run, so that it can be resumed and forked
    "#);

    lab.run(guests::ANSWERS_WITH_TEXT, "x")
        .arg("--record")
        .done()
        .exits_with(0);
    snapshot!(resumed(&lab), @r#"
    $ wasm-agent run --resume latest
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot resume run `[SESSION]`: it has come to its end (converged)
    hint: `wasm-agent fork [SESSION] --at CALL` goes on from one of its calls
    "#);

    let mut running = recorded(&lab);
    wait_for_lines(&lab, 5);
    snapshot!(resumed(&lab), @r#"
    $ wasm-agent run --resume latest
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot resume run `[SESSION]`: it still goes on
    hint: interrupt it, or wait until it is over
    "#);
    running.child.kill().unwrap();
    running.wait();

    // Its directory has to be there, and its agent has to do what it did.
    fs::rename(lab.path("w"), lab.path("elsewhere")).unwrap();
    snapshot!(resumed(&lab), @r#"
    $ wasm-agent run --resume latest
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant the directory `[LAB]/./w`: No such file or directory (os error 2)
    hint: put it there, or say where it is with `--dir HOST::GUEST` (`replay`, `fork`)
    "#);
    fs::rename(lab.path("elsewhere"), lab.path("w")).unwrap();
    let killed = id(&lab);
    let other = lab.call(["run", "--resume", &killed, guests::ANSWERS_WITH_TEXT]);
    let done = other.done().exits_with(4);
    assert!(
        done.stderr().contains("another component"),
        "{}",
        done.shown()
    );
    // What it was granted is what it has.
    let more = lab.call(["run", "--resume", &killed, "--dir", "w"]).done();
    let said = more.exits_with(2).stderr();
    assert!(said.contains("does not go with"), "{said}");
}

/// Whoever goes on twice from the same point would do twice what was done since.
#[test]
fn a_run_is_gone_on_with_once() {
    let lab = Lab::new();
    slow(&lab);
    let mut running = recorded(&lab);
    wait_for_lines(&lab, 10);
    running.child.kill().unwrap();
    running.wait();
    let first = newest(&lab)
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    has_come_to_its_end(&lab, &resumed(&lab));
    let again = lab.call(["run", "--resume", &first]).done();
    snapshot!(again, @r#"
    $ wasm-agent run --resume [SESSION]
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot resume run `[SESSION]`: run `[SESSION]` goes on from it already
    hint: `wasm-agent run --resume [SESSION]` goes on with that one
    "#);
    let read = |name| fs::read_to_string(lab.path(name)).unwrap();
    assert_eq!(read("w/new"), "begun, one, two", "nothing was put back");
}

/// A secret that stands in what leads outside would be kept with it.
#[test]
fn what_is_kept_to_go_on_with_has_no_secret_in_it() {
    let lab = Lab::new();
    let run = |mcp: &str| {
        let run = lab.run(guests::ANSWERS_WITH_TEXT, "x");
        run.args([
            "--record",
            "--secret",
            "github@https://api.github.com",
            "--mcp",
            mcp,
        ])
        .env("WASM_AGENT_SECRET_GITHUB", "ghp_abcdefghijklmnop")
        .done()
    };
    let done = run("s=TOKEN=ghp_abcdefghijklmnop cat").exits_with(2);
    assert!(
        done.stderr()
            .contains("cannot record this run: a secret is in"),
        "{}",
        done.shown()
    );
    assert!(lab.accounts().is_empty());
    run("s=TOKEN=other cat");
    let kept = fs::metadata(newest(&lab).join("onward.json")).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&kept);
    assert_eq!(mode & 0o777, 0o600);
}

/// A recording is a file from elsewhere.
#[test]
fn a_recording_grants_nothing_by_itself() {
    let lab = Lab::new();
    lab.file("w/file", "content");
    lab.file("private/key", "the key");
    lab.file("script.toml", SCRIPT);
    let task = r#"[["list","/work"],["read","/work/key"],["write","/work/key","x"]]"#;
    lab.run(guests::FOLLOWS_A_PROGRAM, task)
        .args([
            "--model",
            "scripted/script.toml",
            "--dir",
            "w:rw",
            "--record=a.rec",
        ])
        .done();
    let text = fs::read_to_string(lab.path("a.rec")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut header: Value = serde_json::from_str(&lines[0]).unwrap();
    let private = lab.path("private");
    header["grants"]["dirs"] = json!([format!("{}::/work:rw", private.display())]);
    header["inputs"] = json!([]);
    lines[0] = header.to_string();
    crate::replay::forged(&lab, lines);

    let replay = lab
        .call(["replay", "a.rec", guests::FOLLOWS_A_PROGRAM])
        .done();
    let said = replay.exits_with(2).stderr();
    assert!(said.contains("does not say what was in it"), "{said}");
    let live = lab.call([
        "run",
        "--replay",
        "a.rec",
        "--mode",
        "live",
        guests::FOLLOWS_A_PROGRAM,
    ]);
    let live = live.args(["--allow-model", "scripted/script.toml"]).done();
    let said = live.exits_with(2).stderr();
    assert!(said.contains("grant it: `--dir HOST::/work`"), "{said}");
    assert!(lab.accounts().len() == 1, "nothing was run");
    assert_eq!(
        fs::read_to_string(lab.path("private/key")).unwrap(),
        "the key"
    );
}

#[test]
fn a_run_that_changed_a_single_file_is_forked() {
    let lab = Lab::new();
    lab.file("f.txt", "content");
    lab.file("script.toml", SCRIPT);
    let task = r#"[["append","/in/f.txt"," and more"],["ask","one"],["read","/in/f.txt"]]"#;
    let run = lab.run(guests::FOLLOWS_A_PROGRAM, task);
    let granted = [
        "--model",
        "scripted/script.toml",
        "--file",
        "f.txt::/in/f.txt:rw",
        "--record",
    ];
    run.args(granted).done().exits_with(0);
    let at = call(&newest(&lab).join(FILE), "model.ask", 0).to_string();
    let fork = lab.call(["fork", "latest", "--at", &at, "--format", "json"]);
    let output = fork.done().exits_with(0).json()["output"].clone();
    assert_eq!(output[2], r#"Ok("content and more")"#);
    assert_eq!(
        fs::read_to_string(lab.path("f.txt")).unwrap(),
        "content and more"
    );
}

/// The number of the first call of a kind, in a recording.
fn call(recording: &Path, kind: &str, nth: usize) -> u64 {
    let text = fs::read_to_string(recording).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut calls = lines.filter(|line| line["call"] == kind);
    calls.nth(nth).unwrap()["n"].as_u64().unwrap()
}

#[test]
fn a_run_is_forked_at_a_call() {
    let lab = Lab::new();
    lab.file("w/file", "content");
    lab.file("script.toml", SCRIPT);
    lab.file(
        "other.toml",
        "version = 1\n[[rules]]\nreply = { text = \"I am another one.\" }\n",
    );
    let task = r#"[["ask","one"],["append","/work/file"," and more"],["ask","two"],["read","/work/file"]]"#;
    let run = lab.run(guests::FOLLOWS_A_PROGRAM, task);
    let granted = [
        "--model",
        "scripted/script.toml",
        "--dir",
        "w:rw",
        "--record",
        "--format",
        "json",
    ];
    let first = run.args(granted).done().exits_with(0).json();
    let original = newest(&lab);
    let id = original.file_name().unwrap().to_str().unwrap().to_owned();
    let recording = original.join(FILE);
    assert_eq!(
        fs::read_to_string(lab.path("w/file")).unwrap(),
        "content and more"
    );

    // Another model from the second question on.
    let second = call(&recording, "model.ask", 1);
    let fork = |args: &[&str]| {
        let call = lab.call(["fork", &id, "--format", "json"]);
        call.args(args.iter().copied()).done()
    };
    let at = second.to_string();
    let done = fork(&["--at", &at, "--model", "scripted/other.toml"]).exits_with(0);
    let output = done.json()["output"].clone();
    assert_eq!(output[0], first["output"][0]);
    assert_eq!(output[1], first["output"][1]);
    assert_eq!(output[2], r#"Ok("I am another one.")"#);
    // What it changed is a copy: it has the content of the time, and the directory has its own.
    assert_eq!(output[3], r#"Ok("content and more")"#);
    assert_eq!(done.json()["to_apply"], 1);
    assert_eq!(
        fs::read_to_string(lab.path("w/file")).unwrap(),
        "content and more"
    );
    let request = fs::read_to_string(newest(&lab).join("run.json")).unwrap();
    let request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(
        request["taping"]["parent"],
        json!({ "run": id, "how": "fork", "at": second })
    );
    // A fork can be forked, and repeated.
    let forked = newest(&lab);
    let again = lab.call(["fork", "latest", "--at", &at, "--format", "json"]);
    let again = again.done().exits_with(0).json();
    assert_eq!(again["output"][2], first["output"][2]);
    let dir = format!("{}::/work", original.join("start/0/tree").display());
    let replay = lab.call(["replay", forked.join(FILE).to_str().unwrap(), "--dir", &dir]);
    let replayed = replay
        .args(["--format", "json"])
        .done()
        .exits_with(0)
        .json();
    assert_eq!(replayed["output"], output);

    // Another answer to the first question.
    let step = call(&recording, "model.next", 0);
    let text = fs::read_to_string(&recording).unwrap();
    let reply = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["result"]["step"]["reply"].is_object())
        .unwrap();
    let edit = format!("{}:/step/reply/content/0/text=No.", reply["n"]);
    let done = fork(&["--at", &at, "--edit", &edit]).exits_with(0).json();
    assert_eq!(done["output"][0], r#"Ok("No.")"#);

    let edit = format!("{step}:/nothing=1");
    snapshot!(fork(&["--at", &at, "--edit", &edit]), @r#"
    $ wasm-agent fork [SESSION] --format json --at 15 --edit 8:/nothing=1
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot change the answer to call 8: its result has nothing there
    hint: write `CALL:/path/into/its/result=JSON`, with a path as RFC 6901 has it
    "#);
    snapshot!(fork(&["--at", "0"]), @r#"
    $ wasm-agent fork [SESSION] --format json --at 0
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot go on from call 0: the recording has 24
    hint: `wasm-agent recording show` lists the calls with their numbers
    "#);
    snapshot!(fork(&["--at", "1", "--edit", "x"]), @r#"
    $ wasm-agent fork [SESSION] --format json --at 1 --edit x
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read `--edit x`
    hint: write `CALL:/path/into/its/result=JSON`
    "#);
}

#[test]
fn the_gaps_of_a_recording_are_filled_but_not_in_ci() {
    let lab = Lab::new();
    lab.file("script.toml", SCRIPT);
    let task = r#"[["ask","one"],["time"],["ask","two"]]"#;
    let run = lab.run(guests::FOLLOWS_A_PROGRAM, task);
    run.args(["--model", "scripted/script.toml", "--record=a.rec"])
        .done()
        .exits_with(0);
    // What came after the first answer is gone.
    let text = fs::read_to_string(lab.path("a.rec")).unwrap();
    let cut = call(&lab.path("a.rec"), "model.ask", 1);
    let kept: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with(&format!("{{\"n\":{cut},")))
        .collect();
    lab.file("a.rec", kept.join("\n") + "\n");

    let repeat = |mode: &'static str| {
        let call = lab.call(["run", "--replay", "a.rec", "--mode", mode]);
        call.args(["--allow-model", "scripted/script.toml"])
    };
    let done = repeat("hybrid").arg("--record=b.rec").done().exits_with(0);
    assert!(done.stdout().contains("You said: two"), "{}", done.shown());
    lab.call(["run", "--replay", "b.rec"]).done().exits_with(0);
    snapshot!(repeat("hybrid").env("CI", "true").done(), @r#"
    $ wasm-agent run --replay a.rec --mode hybrid --allow-model scripted/script.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot fill the gaps of `a.rec` here: this is CI
    hint: a run in CI repeats what was reviewed; record it anew elsewhere, and commit that
    "#);
    snapshot!(repeat("replay").done(), @r#"
    $ wasm-agent run --replay a.rec --mode replay --allow-model scripted/script.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot replay the recording: it ends before its run did
    hint: its host was killed, or the file was cut off; `wasm-agent recording show` tells how far it goes
    "#);
    let done = repeat("live").arg("--record=c.rec").done().exits_with(0);
    assert!(done.stdout().contains("You said: two"), "{}", done.shown());
    lab.call(["replay", "c.rec"]).done().exits_with(0);
}
