//! Nothing is unbounded: every limit ends a run or refuses a call, and says its name.

use wasm_agent_test_artifacts as guests;

use wasm_agent::grants::limits::HOST_MEMORY;

use crate::harness::Lab;

/// The run ended at the limit `name`, and its account is whole.
#[track_caller]
fn ended_at(lab: &Lab, name: &str) {
    let account = lab.account();
    assert_eq!(account.outcome()["ended"]["kind"], "limit");
    assert_eq!(account.outcome()["ended"]["name"], name);
    assert_eq!(account.limits_hit(), [name]);
    assert_eq!(account.stop_reason(), "interrupted");
    let error = account.data("error_occurred").last().unwrap();
    assert!(error["avp.error.message"].as_str().unwrap().contains(name));
}

#[test]
pub(crate) fn computes_for_ever() {
    let lab = Lab::new();
    lab.run(guests::COMPUTES_FOR_EVER, "x")
        .limit("cpu=200ms")
        .done()
        .exits_with(3);
    ended_at(&lab, "cpu");
    let account = lab.account();
    assert_eq!(account.turns(), ["Thinking."]);
    assert_eq!(
        account.only("tool_returned")["avp.tool_result"]["is_error"],
        true
    );

    let lab = Lab::new();
    lab.run(guests::COMPUTES_FOR_EVER, "x")
        .args(["--timeout", "200ms"])
        .done()
        .exits_with(3);
    ended_at(&lab, "wall");
}

#[test]
pub(crate) fn sleeps_for_ever() {
    let lab = Lab::new();
    // Sleeping uses hardly any of its computing time, so that only wall time can end it.
    lab.run(guests::SLEEPS_FOR_EVER, "x")
        .limit("cpu=10s")
        .limit("wall=200ms")
        .done()
        .exits_with(3);
    ended_at(&lab, "wall");
}

#[test]
fn a_quiet_agent_is_told_from_a_computing_one() {
    let lab = Lab::new();
    lab.run(guests::SLEEPS_FOR_EVER, "x")
        .limit("idle=300ms")
        .done()
        .exits_with(3);
    ended_at(&lab, "idle");
    let diagnosis = lab.account().outcome()["diagnosis"].clone();
    assert_eq!(diagnosis["doing"], "host_call");
    assert_eq!(diagnosis["call"], "wasi:io/poll");

    let lab = Lab::new();
    lab.run(guests::COMPUTES_FOR_EVER, "x")
        .limit("cpu=200ms")
        .done()
        .exits_with(3);
    ended_at(&lab, "cpu");
    assert_eq!(lab.account().outcome()["diagnosis"]["doing"], "computing");
}

#[test]
pub(crate) fn recurses_without_end() {
    let lab = Lab::new();
    let done = lab
        .run(guests::RECURSES_WITHOUT_END, "x")
        .done()
        .exits_with(1);
    assert!(
        done.stderr().contains("crashed: the agent trapped"),
        "{}",
        done.shown()
    );
    let account = lab.account();
    assert_eq!(account.stop_reason(), "error");
    let frames = account.outcome()["ended"]["backtrace"]
        .as_array()
        .unwrap()
        .len();
    assert!(
        (1..=32).contains(&frames),
        "{frames} frames of a very deep stack"
    );
}

#[test]
pub(crate) fn allocates_without_end() {
    let lab = Lab::new();
    lab.run(guests::ALLOCATES_WITHOUT_END, "x")
        .limit("memory=64MiB")
        .done()
        .exits_with(3);
    ended_at(&lab, "memory");
    let peak = lab.account().outcome()["memory_peak"].as_u64().unwrap();
    assert!((48 << 20..=64 << 20).contains(&peak), "{peak}");
}

#[test]
pub(crate) fn copes_with_refused_memory() {
    let lab = Lab::new();
    let done = lab
        .run(guests::COPES_WITH_REFUSED_MEMORY, "x")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "no gigabyte for me\n");
    assert_eq!(lab.account().limits_hit(), ["memory"]);
}

/// The limit was hit, and is not what ended it.
#[test]
pub(crate) fn crashes_after_coping_with_refused_memory() {
    let lab = Lab::new();
    lab.run(guests::CRASHES_AFTER_COPING_WITH_REFUSED_MEMORY, "x")
        .done()
        .exits_with(1);
    let account = lab.account();
    assert_eq!(account.outcome()["ended"]["kind"], "crashed");
    assert_eq!(account.limits_hit(), ["memory"]);
}

#[test]
fn a_component_that_needs_more_memory_than_there_is_does_not_start() {
    let lab = Lab::new();
    lab.run(guests::ANSWERS_WITH_TEXT, "x")
        .limit("memory=64KiB")
        .done()
        .exits_with(3);
    ended_at(&lab, "memory");
}

#[test]
pub(crate) fn opens_files_without_end() {
    let lab = Lab::new();
    lab.file("work/file", "x");
    let work = lab.arg("work");
    let call = lab
        .run(guests::OPENS_FILES_WITHOUT_END, "x")
        .args(["--dir", &work]);
    let done = call.limit("handles=50").done().exits_with(0);
    // The directory itself is one of the fifty; the error is one the guest can handle.
    assert_eq!(done.stdout(), "49: Out of memory (os error 48)\n");
    assert_eq!(lab.account().limits_hit(), ["handles"]);
}

#[test]
pub(crate) fn floods_events() {
    let lab = Lab::new();
    let done = lab
        .run(guests::FLOODS_EVENTS, "x")
        .limit("events=100")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "100 accepted, 900 refused\n");
    let account = lab.account();
    assert_eq!(account.data("assistant_message").count(), 100);
    assert_eq!(
        account.limits_hit(),
        ["events"],
        "said once, not nine hundred times"
    );
    assert_eq!(account.stop_reason(), "converged");
}

#[test]
fn all_facts_together_have_a_limit() {
    let lab = Lab::new();
    let call = lab.run(guests::FLOODS_EVENTS, "x");
    let done = call
        .limit("trajectory-bytes=1000")
        .limit("event-bytes=1000")
        .done();
    // The guest takes any refusal but that of the number of events for a failure.
    let done = done.exits_with(1);
    assert!(
        done.stderr().contains("trajectory-bytes"),
        "{}",
        done.shown()
    );
    assert_eq!(lab.account().limits_hit(), ["trajectory-bytes"]);
}

#[test]
pub(crate) fn reports_two_megabytes() {
    let lab = Lab::new();
    let done = lab
        .run(guests::REPORTS_TWO_MEGABYTES, "x")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "event-bytes 1048576\n");
    let account = lab.account();
    assert_eq!(account.turns(), ["shorter"]);
    assert_eq!(account.limits_hit(), ["event-bytes"]);
}

#[test]
pub(crate) fn reports_a_hundred_megabytes() {
    let lab = Lab::new();
    lab.run(guests::REPORTS_A_HUNDRED_MEGABYTES, "x")
        .done()
        .exits_with(3);
    ended_at(&lab, "hostcall-bytes");
    assert_eq!(lab.account().turns(), ["small"]);
}

#[test]
pub(crate) fn prints_a_gigabyte() {
    let lab = Lab::new();
    let done = lab
        .run(guests::PRINTS_A_GIGABYTE, "x")
        .limit("output-bytes=100KiB")
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "536870912 bytes each\n");
    let account = lab.account();
    for (stream, end) in [
        ("stdout", "the end of stdout\n"),
        ("stderr", "the end of stderr\n"),
    ] {
        let tail = account.outcome()[format!("{stream}_tail")]
            .as_str()
            .unwrap();
        assert!(
            tail.len() <= 64 << 10 && tail.ends_with(end),
            "{} bytes",
            tail.len()
        );
        let kept: usize = account
            .audits("output")
            .filter(|output| output["stream"] == stream)
            .map(|output| output["text"].as_str().unwrap().len())
            .sum();
        assert!(
            (90 << 10..=100 << 10).contains(&kept),
            "{kept} bytes of {stream}"
        );
    }
    assert_eq!(account.limits_hit(), ["output-bytes", "output-bytes"]);
    let log = account
        .dir()
        .join("events.ndjson")
        .metadata()
        .unwrap()
        .len();
    assert!(log < 2 << 20, "{log} bytes of log");
}

#[test]
pub(crate) fn tells_what_is_left() {
    let lab = Lab::new();
    let call = lab
        .run(guests::TELLS_WHAT_IS_LEFT, "x")
        .limit("events=50")
        .limit("storage-bytes=1000");
    let done = call
        .limit("wall=1m")
        .limit("cpu=30s")
        .limit("memory=64MiB")
        .args([
            "--limit",
            "model-calls=7",
            "--limit",
            "tokens=8",
            "--limit",
            "money=0.5",
        ])
        .done()
        .exits_with(0);
    let expected = serde_json::json!({
        "events": [50, 49],
        "storage": [1000, 990],
        "wall_in_range": true,
        "cpu_in_range": true,
        "memory_in_range": true,
        "models": [7, 8, 500_000],
        "low": [false, false],
    });
    assert_eq!(done.json(), expected);
}

/// Most memory the process has had resident so far, in bytes.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Whatever a guest calls, in whatever order and however much of it it holds on to: what the host keeps for it stays
/// within a bound that is written down.
#[test]
pub(crate) fn calls_at_random() {
    const MEMORY: u64 = 32 << 20;
    for seed in 1..=4 {
        let lab = Lab::new();
        let work = format!("{}:rw", lab.folder("work"));
        lab.file(
            "s.toml",
            "version = 1\n[[rules]]\nreply = { text = \"yes\" }\n",
        );
        let mut run = lab
            .run(guests::CALLS_AT_RANDOM, &format!("{seed} 6000"))
            .args(["--quiet", "--dir", &work, "--model", "scripted/s.toml"])
            .limit("memory=32MiB")
            .limit("disk-bytes=64MiB")
            .limit("repeated-error=1000000")
            .limit("repeated-call=1000000")
            .spawn();
        let pid = run.child.id();
        let mut most = 0;
        // The system keeps the peak, so that looking now and then misses nothing but the very end.
        while run.child.try_wait().unwrap().is_none() {
            most = most.max(peak(pid).unwrap_or(0));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let account = lab.account();
        let ended = &account.outcome()["ended"];
        let mib = most >> 20;
        assert!(
            matches!(ended["kind"].as_str(), Some("converged" | "limit")),
            "seed {seed}: {ended}"
        );
        assert!(
            most > 0 && most <= MEMORY + HOST_MEMORY,
            "seed {seed}: {mib} MiB"
        );
    }
}
