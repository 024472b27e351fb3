//! What runs have used, the grants that follow from it, and two runs side by side.

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Call, Lab, snapshot};

/// The guest on a list of calls.
fn told<'a>(lab: &'a Lab, calls: &Value) -> Call<'a> {
    lab.run(guests::DOES_WHAT_IT_IS_TOLD, &calls.to_string())
        .args(["--format", "json"])
}

/// A repository with a bit of everything.
fn repository(lab: &Lab) {
    for (name, text) in [
        ("repo/README.md", "read me"),
        ("repo/src/a.rs", "fn a() {}"),
        ("repo/src/b.rs", "fn b() {}"),
        ("repo/src/deep/c.rs", "fn c() {}"),
        ("repo/src/deep/d.rs", "fn d() {}"),
        ("repo/secret/key", "not for agents"),
        ("repo/out/old", "old"),
    ] {
        lab.file(name, text);
    }
}

/// Suggests grants from all runs so far, into a file.
fn suggest(lab: &Lab, out: &str) -> String {
    let ids: Vec<String> = lab
        .accounts()
        .iter()
        .map(|account| account.dir().to_str().unwrap().to_owned())
        .collect();
    let done = lab
        .call(["policy", "suggest", "--out", out])
        .args(ids)
        .done()
        .exits_with(0);
    assert_eq!(done.stdout(), "");
    std::fs::read_to_string(lab.path(out)).unwrap()
}

fn answer(done: &crate::harness::Done) -> Value {
    done.json()["output"].clone()
}

#[test]
pub(crate) fn does_what_it_is_told() {
    let lab = Lab::new();
    repository(&lab);
    let calls = json!([
        ["list", "/work/src"],
        ["read", "/work/src/a.rs"],
        ["read", "/work/src/a.rs"],
        ["read", "/work/src/deep/c.rs"],
        ["look", "/work/src/b.rs"],
        ["read", "/work/src/missing.rs"],
        ["write", "/work/out/new", "new"],
        ["remove", "/work/out/old"],
        ["variable", "LANG"],
        ["read", "/etc/passwd"],
        ["read", "/work/src/../../escape"],
        ["submit", "report.txt", "all is well"],
    ]);
    let run = || {
        std::fs::write(lab.path("repo/out/old"), "old").unwrap();
        let _ = std::fs::remove_file(lab.path("repo/out/new"));
        told(&lab, &calls)
    };
    let first = run()
        .args(["--dir", "repo:rw", "--env", "LANG=C"])
        .done()
        .exits_with(0);
    let account = lab.account();
    let mut used = account.only_audit("grants_used").clone();
    let peak = used["peak"].take();
    insta::assert_snapshot!(format!("{used:#}"), @r#"
    {
      "kind": "grants_used",
      "dirs": [
        {
          "guest": "/work",
          "read": [
            "src/a.rs",
            "src/deep/c.rs"
          ],
          "made": [
            "out/new",
            "out/old"
          ],
          "listed": [
            "src"
          ],
          "folders": [
            "src"
          ],
          "seen": [
            "src/b.rs"
          ],
          "missing": [
            "src/missing.rs"
          ]
        }
      ],
      "environment": true,
      "peak": null
    }
    "#);
    for name in [
        "memory",
        "wall",
        "events",
        "host-calls",
        "handles",
        "storage-bytes",
    ] {
        assert!(peak[name].as_u64() > Some(0), "{name}: {peak}");
    }
    assert_eq!(peak["files"], 1);
    assert_eq!(peak["disk-bytes"], 3);
    assert_eq!(peak["storage-bytes"], 11);

    let text = suggest(&lab, "grants.toml");
    let shown: Vec<&str> = text
        .lines()
        // The digest of the component is the compiler's.
        .filter(|line| !line.starts_with('#') && !line.starts_with("component = \"sha256:"))
        .take_while(|line| !line.starts_with("[limits]"))
        .collect();
    let shown = shown
        .join("\n")
        .replace(lab.path("").to_str().unwrap(), "[LAB]/");
    insta::assert_snapshot!(shown, @r#"
    version = 1

    dirs = [
      # changed by 1 run: 2 paths
      "[LAB]/repo/out::/work/out:rw",
      # read by 1 run: 2 files; listed by 1 run; searched by 1 run for 1 path that is not there
      "[LAB]/repo/src::/work/src:ro",
    ]


    [env]
    "#);

    // The value of LANG is for a person to add.
    let again = run()
        .args(["--grants", "grants.toml", "--env", "LANG=C"])
        .done()
        .exits_with(0);
    assert_eq!(answer(&again), answer(&first));
    let check = lab
        .call(["policy", "check", "--grants", "grants.toml", "latest"])
        .done()
        .exits_with(1);
    assert!(check.stdout().contains("LANG"), "{}", check.shown());

    // What was not used is out of reach now.
    let more = told(
        &lab,
        &json!([
            ["read", "/work/secret/key"],
            ["write", "/work/src/a.rs", "x"]
        ]),
    )
    .args(["--grants", "grants.toml"])
    .done()
    .exits_with(0);
    assert_eq!(answer(&more)[1], "ReadOnlyFilesystem");
    assert_ne!(answer(&more)[0], "not for agents");
}

#[test]
fn a_few_files_are_granted_by_their_names() {
    let lab = Lab::new();
    repository(&lab);
    let calls = json!([["look", "/work/src/a.rs"], ["read", "/work/src/a.rs"]]);
    let first = told(&lab, &calls).args(["--dir", "repo:rw"]).done();
    let text = suggest(&lab, "grants.toml");
    assert!(!text.contains("dirs = ["), "{text}");
    let again = told(&lab, &calls).args(["--grants", "grants.toml"]).done();
    assert_eq!(answer(&again.exits_with(0)), answer(&first.exits_with(0)));
    let more = json!([["read", "/work/src/b.rs"], ["list", "/work/src"]]);
    let more = told(&lab, &more)
        .args(["--grants", "grants.toml"])
        .done()
        .exits_with(0);
    assert_eq!(answer(&more), json!(["NotFound", "a.rs"]));
    // Suggested from that run, it is the same again.
    let narrow = suggest(&lab, "narrow.toml");
    assert!(narrow.contains("a.rs::/work/src/a.rs:ro"), "{narrow}");
}

#[test]
fn links_keep_a_directory_whole() {
    let lab = Lab::new();
    repository(&lab);
    std::os::unix::fs::symlink("src", lab.path("repo/link")).unwrap();
    let calls = json!([["read", "/work/link/a.rs"]]);
    let first = told(&lab, &calls).args(["--dir", "repo"]).done();
    let account = lab.account();
    let dir = &account.only_audit("grants_used")["dirs"][0];
    assert_eq!(dir["links"], true);
    assert_eq!(dir["read"], json!(["link/a.rs", "src/a.rs"]));
    suggest(&lab, "grants.toml");
    let again = told(&lab, &calls).args(["--grants", "grants.toml"]).done();
    assert_eq!(answer(&again.exits_with(0)), answer(&first.exits_with(0)));
}

#[test]
fn what_was_denied_is_told_and_not_granted() {
    let lab = Lab::new();
    repository(&lab);
    let calls = json!([
        ["write", "/work/README.md", "x"],
        ["read", "/work/../x"],
        ["list", "/work"]
    ]);
    told(&lab, &calls)
        .args(["--dir", "repo"])
        .done()
        .exits_with(0);
    let text = suggest(&lab, "grants.toml");
    assert!(text.contains("repo::/work:ro\""), "{text}");
    assert!(
        text.contains(
            "#   wasi:filesystem: open /work/README.md (the directory `/work` is granted read-only)"
        ),
        "{text}"
    );
}

#[test]
fn tighter_grants_are_checked_against_what_was_used() {
    let lab = Lab::new();
    repository(&lab);
    let calls = json!([
        ["list", "/work"],
        ["write", "/work/out/new", "x"],
        ["read", "/work/src/a.rs"]
    ]);
    told(&lab, &calls)
        .args(["--dir", "repo:rw"])
        .done()
        .exits_with(0);
    lab.file(
        "tight.toml",
        "version = 1\ndirs = ['repo/src::/work/src', 'repo/out::/work/out']\n[limits]\nmemory = '64KiB'\nhost-calls = 1",
    );
    let done = lab
        .call(["policy", "check", "--grants", "tight.toml", "latest"])
        .done();
    // How much memory and how many calls it takes is the compiler's to say.
    let shown: Vec<String> = done
        .shown()
        .lines()
        .filter(|line| !line.contains("limits"))
        .map(str::to_owned)
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    $ wasm-agent policy check --grants tight.toml latest
    exit 1
    ----- stdout -----
    tight.toml does not allow 4 things that 1 run used

    [SESSION]
      dirs    creating, moving or removing /work/out/new  needs …::/work/out:rw
      dirs    listing /work                               needs …::/work:ro
    ----- stderr -----
    ");
    let json = lab
        .call([
            "policy",
            "check",
            "--grants",
            "tight.toml",
            "--json",
            "latest",
        ])
        .done()
        .exits_with(1)
        .json();
    assert_eq!(json["format"], "wasm-agent/policy-check@1");
    let keys: Vec<_> = json["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["key"])
        .collect();
    assert_eq!(keys, ["dirs", "dirs", "limits", "limits"], "{json}");

    lab.file("wide.toml", "version = 1\ndirs = ['nowhere::/work:rw']");
    let done = lab
        .call(["policy", "check", "--grants", "wide.toml", "latest"])
        .done();
    snapshot!(done, @r"
    $ wasm-agent policy check --grants wide.toml latest
    exit 0
    ----- stdout -----
    wide.toml allows everything 1 run used
    ----- stderr -----
    ");
}

#[test]
fn a_run_without_evidence_and_a_file_that_is_there_are_said() {
    let lab = Lab::new();
    told(&lab, &json!([])).done().exits_with(0);
    lab.file("taken.toml", "edited by hand");
    let done = lab
        .call(["policy", "suggest", "latest", "--out", "taken.toml"])
        .done();
    snapshot!(done, @r"
    $ wasm-agent policy suggest latest --out taken.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot write the grants file `taken.toml`: File exists (os error 17)
    hint: remove it, or name another file
    ");
    assert_eq!(
        std::fs::read_to_string(lab.path("taken.toml")).unwrap(),
        "edited by hand"
    );

    let account = lab.account();
    let events = account.dir().join("events.ndjson");
    let text = std::fs::read_to_string(&events).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|it| !it.contains("grants_used"))
        .collect();
    std::fs::write(&events, lines.join("\n") + "\n").unwrap();
    let done = lab.call(["policy", "suggest", "latest"]).done();
    snapshot!(done, @r"
    $ wasm-agent policy suggest latest
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot tell what run `[SESSION]` has used: its account does not say
    hint: its host was killed, it goes on, or an older wasm-agent wrote it: run it again
    ");
}

#[test]
fn two_runs_are_compared() {
    let lab = Lab::new();
    repository(&lab);
    let calls = json!([
        ["read", "/work/src/a.rs"],
        ["list", "/work/out"],
        ["write", "/work/out/new", "x"]
    ]);
    for _ in 0..2 {
        told(&lab, &calls)
            .args(["--dir", "repo:cow"])
            .done()
            .exits_with(0);
    }
    let other = json!([
        ["read", "/work/src/b.rs"],
        ["look", "/work/README.md"],
        ["list", "/work/out"],
        ["write", "/work/out/new", "y"],
        ["submit", "r.txt", "x"]
    ]);
    told(&lab, &other)
        .args(["--dir", "repo:cow"])
        .done()
        .exits_with(0);
    let accounts = lab.accounts();
    let ids: Vec<&str> = accounts
        .iter()
        .map(|account| account.dir().file_name().unwrap().to_str().unwrap())
        .collect();
    let same = lab
        .call(["runs", "diff", ids[0], ids[1]])
        .done()
        .exits_with(0);
    assert!(!same.stdout().contains("Tool calls"), "{}", same.shown());
    assert!(!same.stdout().contains("Files"), "{}", same.shown());

    let by_path = accounts[0].dir().to_str().unwrap();
    let done = lab
        .call(["runs", "diff", by_path, "latest"])
        .done()
        .exits_with(1);
    // What depends on the machine is not compared here, either.
    let shown: Vec<String> = done
        .shown()
        .lines()
        .filter(|line| {
            ![
                "host calls",
                "memory peak",
                "wall us",
                "cpu us",
                "component",
                "$ ",
            ]
            .iter()
            .any(|it| line.starts_with(it))
        })
        .map(str::to_owned)
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    exit 1
    ----- stdout -----
                   [SESSION]                                      [SESSION]
    agent          told                                                          told
    task           [["read","/work/src/a.rs"],["list","/work/out"],["write","/…  [["read","/work/src/b.rs"],["look","/work/README.md"],["lis…
    ended          converged                                                     converged
    stop reason    converged                                                     converged
    turns          3                                                             5
    tool calls     3                                                             5
    tool errors    0                                                             0
    input tokens   0                                                             0
    output tokens  0                                                             0
    cost usd       $0.0000                                                       $0.0000

    Tool calls
      ~ read (call 1)
          arguments `argument`: "/work/src/a.rs", "/work/src/b.rs"
          result `content`: "fn a() {}", "fn b() {}"
      + look (call 2 of the other)
        1 call the same
      ~ write (calls 3 and 4)
          arguments `text`: "x", "y"
      + submit (call 5 of the other)

    Files
      /work/out/new  created sha256:2d711642b726b04401627ca9…  created sha256:a1fce4363854ff888cff4b8e…

    Artifacts
      r.txt  -  sha256:2d711642b726b04401627ca9fbac32f5…

    Answer
      `[0]`: "fn a() {}", "fn b() {}"
    ----- stderr -----
    "#);

    let json = lab
        .call(["runs", "diff", ids[0], ids[2], "--json"])
        .done()
        .exits_with(1)
        .json();
    assert_eq!(json["format"], "wasm-agent/runs-diff@1");
    assert_eq!(json["same"], false);
    assert_eq!(json["calls"][0]["arguments"]["path"], "argument");
    assert_eq!(json["calls"][1]["one"], Value::Null);
    assert_eq!(json["artifacts"][0]["name"], "r.txt");
    assert_eq!(json["files"][0]["name"], "/work/out/new");
}

/// Runs that hit different limits did not end alike.
#[test]
fn how_two_runs_ended_is_compared() {
    let lab = Lab::new();
    for limit in ["wall=200ms", "idle=200ms", "idle=200ms"] {
        lab.run(guests::SLEEPS_FOR_EVER, "x")
            .limit(limit)
            .done()
            .exits_with(3);
    }
    let accounts = lab.accounts();
    let differ = |one: usize, other: usize| -> Vec<String> {
        let dir = |at: usize| accounts[at].dir().to_str().unwrap();
        let done = lab
            .call(["runs", "diff", dir(one), dir(other), "--json"])
            .done();
        let json = done.json();
        assert_eq!(json["same"], done.code() == 0);
        let facts = json["facts"].as_array().unwrap().iter();
        let differ = facts.filter(|fact| fact["counts"] == "yes" && fact["one"] != fact["other"]);
        differ
            .map(|fact| fact["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(differ(0, 1), ["ended_by"]);
    assert_eq!(differ(1, 2), [""; 0]);
    let log = accounts[2].dir().join("events.ndjson");
    let reason = format!("\"stop_reason\":{}", accounts[2].outcome()["stop_reason"]);
    let whole = std::fs::read_to_string(&log).unwrap();
    let changed = whole.replace(&reason, "\"stop_reason\":\"refused\"");
    std::fs::write(&log, changed).unwrap();
    assert_eq!(differ(1, 2), ["stop_reason"]);
}
