//! Nothing undeclared is reachable: directories, variables, arguments, sockets; and what is wrong with
//! a grant is said before anything runs.

use std::net::TcpListener;

use serde_json::json;
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, snapshot};

#[test]
pub(crate) fn tells_what_it_has() {
    let lab = Lab::new();
    let done = lab
        .run(guests::TELLS_WHAT_IT_HAS, "x")
        .env("HOST_SECRET", "s3cr3t")
        .stdin("not for you")
        .done();
    let seen = done.exits_with(0).json();
    assert_eq!(seen["env"], json!({}), "nothing is inherited");
    assert_eq!(seen["args"], json!(["guests"]));
    assert_eq!(seen["dirs"], json!([]));
    assert!(
        seen["root"].get("Err").is_some(),
        "there is no root directory"
    );
    assert_eq!(seen["stdin"], json!({ "Ok": "" }));

    let lab = Lab::new();
    let (a, b) = (lab.folder("a"), lab.folder("b"));
    let done = lab
        .run(guests::TELLS_WHAT_IT_HAS, "x")
        .args([
            "--env",
            "LANG=C",
            "--env",
            "EQUALS=a=b",
            "--arg",
            "--fast",
            "--arg",
            "two words",
        ])
        .args([
            "--dir",
            &format!("{a}:rw"),
            "--dir",
            &format!("{b}::/data/b"),
        ])
        .done();
    let seen = done.exits_with(0).json();
    assert_eq!(seen["env"], json!({ "LANG": "C", "EQUALS": "a=b" }));
    assert_eq!(seen["args"], json!(["guests", "--fast", "two words"]));
    assert_eq!(
        seen["dirs"],
        json!(["/data/b Access::ReadOnly", "/work Access::ReadWrite"])
    );
    assert_eq!(seen["run_id"], lab.account().outcome()["run_id"]);
}

#[test]
pub(crate) fn touches_files() {
    let lab = Lab::new();
    lab.file("secret", "s3cr3t");
    for dir in ["ro", "rw"] {
        for name in ["file", "old", "keep", "gone", "from", "sub/file"] {
            lab.file(&format!("{dir}/{name}"), "content");
        }
        std::os::unix::fs::symlink("..", lab.path(dir).join("link")).unwrap();
        std::os::unix::fs::symlink(lab.path("secret"), lab.path(dir).join("absolute")).unwrap();
    }
    let done = lab
        .run(guests::TOUCHES_FILES, "x")
        .args(["--dir", &format!("{}::/ro", lab.arg("ro"))])
        .args(["--dir", &format!("{}::/rw:rw", lab.arg("rw"))])
        .done()
        .exits_with(0);
    insta::assert_snapshot!(format!("{:#}", done.json()), @r#"
    {
      "read /ro": "content",
      "create in /ro": "ReadOnlyFilesystem",
      "overwrite in /ro": "ReadOnlyFilesystem",
      "truncate in /ro": "ReadOnlyFilesystem",
      "remove in /ro": "ReadOnlyFilesystem",
      "make a folder in /ro": "ReadOnlyFilesystem",
      "rename in /ro": "ReadOnlyFilesystem",
      "dot dot from /ro": "PermissionDenied",
      "deep dot dot from /ro": "PermissionDenied",
      "link out of /ro": "PermissionDenied",
      "absolute link out of /ro": "PermissionDenied",
      "read /rw": "content",
      "create in /rw": "done",
      "overwrite in /rw": "done",
      "truncate in /rw": "done",
      "remove in /rw": "done",
      "make a folder in /rw": "done",
      "rename in /rw": "done",
      "dot dot from /rw": "PermissionDenied",
      "deep dot dot from /rw": "PermissionDenied",
      "link out of /rw": "PermissionDenied",
      "absolute link out of /rw": "PermissionDenied",
      "host's passwd": "NotFound",
      "relative": "NotFound",
      "proc": "NotFound",
      "root": "NotFound"
    }
    "#);
    assert!(!done.stdout().contains("s3cr3t"));

    let read = |path: &str| std::fs::read_to_string(lab.path(path)).unwrap();
    for name in ["file", "old", "keep", "gone", "from"] {
        assert_eq!(
            read(&format!("ro/{name}")),
            "content",
            "ro/{name} is as it was"
        );
    }
    assert_eq!(
        std::fs::read_dir(lab.path("ro")).unwrap().count(),
        8,
        "nothing new in ro"
    );
    assert_eq!(read("rw/new"), "new");
    assert_eq!(read("rw/old"), "changed");
    assert_eq!(read("rw/keep"), "");
    assert_eq!(read("rw/to"), "content");
    assert!(!lab.path("rw/gone").exists());
}

#[test]
fn without_a_grant_there_are_no_files() {
    let lab = Lab::new();
    lab.file("ro/file", "content");
    let done = lab.run(guests::TOUCHES_FILES, "x").done().exits_with(0);
    let seen = done.json();
    for (what, answer) in seen.as_object().unwrap() {
        assert_ne!(answer, "done", "{what}");
        assert_ne!(answer, "content", "{what}");
        assert_ne!(answer, "listed", "{what}");
    }
}

#[test]
pub(crate) fn opens_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let lab = Lab::new();
    let done = lab
        .run(guests::OPENS_SOCKETS, &address)
        .done()
        .exits_with(0);
    assert_eq!(
        done.stdout(),
        "connect: refused, listen: refused, udp: refused, resolve: refused\n"
    );
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn single_files_are_there_and_nothing_beside_them() {
    let lab = Lab::new();
    for name in ["file", "old", "keep", "gone", "secret", "sub/file"] {
        lab.file(&format!("host/{name}"), "content");
    }
    let file = |spec: &str| format!("{}{spec}", lab.arg("host/"));
    let done = lab
        .run(guests::TOUCHES_FILES, "x")
        .args(["--file", &file("file::/rw/file:rw")])
        .args(["--file", &file("old::/rw/old:rw")])
        .args(["--file", &file("gone::/rw/gone:rw")])
        .args(["--file", &file("file::/ro/file")])
        .done()
        .exits_with(0);
    let seen = done.json();
    for (what, expected) in [
        ("read /ro", "content"),
        ("read /rw", "content"),
        ("overwrite in /rw", "done"),
        ("remove in /rw", "PermissionDenied"),
        ("create in /rw", "PermissionDenied"),
        ("make a folder in /rw", "PermissionDenied"),
        ("truncate in /rw", "NotFound"),
        ("dot dot from /rw", "PermissionDenied"),
        ("deep dot dot from /rw", "PermissionDenied"),
        ("root", "NotFound"),
    ] {
        assert_eq!(seen[what], expected, "{what}");
    }
    let read = |name: &str| std::fs::read_to_string(lab.path("host").join(name)).unwrap();
    assert_eq!((&*read("old"), &*read("keep")), ("changed", "content"));
    assert_eq!(std::fs::read_dir(lab.path("host")).unwrap().count(), 6);
    assert_eq!(lab.account().outcome().get("trees"), None);
    let files = lab.account().request()["grants"]["files"].clone();
    assert_eq!(files.as_array().unwrap().len(), 4);
}

#[test]
fn protected_paths_stay_as_they_are() {
    let lab = Lab::new();
    for name in ["file", "old", "keep", "gone", "from", "sub/file"] {
        lab.file(&format!("rw/{name}"), "content");
    }
    let dir = format!("{}::/rw:rw", lab.arg("rw"));
    let protect = ["--protect", "OLD", "--protect", "fold*"];
    let done = lab
        .run(guests::TOUCHES_FILES, "x")
        .args(["--dir", &dir])
        .args(protect)
        .done()
        .exits_with(0);
    let seen = done.json();
    assert_eq!(seen["overwrite in /rw"], "PermissionDenied");
    assert_eq!(seen["make a folder in /rw"], "PermissionDenied");
    assert_eq!(seen["create in /rw"], "done");
    let account = lab.account();
    let trees = &account.outcome()["trees"];
    assert_eq!(trees[0]["path"], "/rw");
    assert_ne!(trees[0]["before"], trees[0]["after"]);
    assert!(trees[0]["after"].is_string() && trees[0].get("skipped").is_none());
    assert_eq!(
        account.request()["grants"]["protect"],
        json!(["OLD", "fold*"])
    );
    let rule = "`OLD` is protected: the operator says so";
    assert!(account.audits("denied").any(|it| it["rule"] == rule));
}

#[test]
fn nothing_is_protected_when_the_operator_says_so() {
    for (flag, expected) in [(None, "PermissionDenied"), (Some("--no-protect"), "done")] {
        let lab = Lab::new();
        lab.file("outside", "content");
        lab.folder("rw");
        std::fs::hard_link(lab.path("outside"), lab.path("rw/old")).unwrap();
        let done = lab
            .run(guests::TOUCHES_FILES, "x")
            .args(["--dir", &format!("{}::/rw:rw", lab.arg("rw"))])
            .args(flag)
            .done()
            .exits_with(0);
        assert_eq!(done.json()["overwrite in /rw"], expected);
    }
}

#[test]
fn a_grants_file_says_the_same_as_flags() {
    let lab = Lab::new();
    lab.folder("etc/a");
    let file = lab.file(
        "etc/grants.toml",
        concat!(
            "version = 1\n",
            "dirs = ['a::/work:rw']\n",
            "args = ['--fast']\n",
            "[env]\nLANG = 'C'\n",
            "[limits]\nevents = 5\nwall = '1m'\n",
        ),
    );
    let done = lab
        .run(guests::TELLS_WHAT_IT_HAS, "x")
        .args(["--grants", &file])
        .done()
        .exits_with(0);
    let from_file = lab.account().request()["grants"].clone();
    assert_eq!(done.json()["dirs"], json!(["/work Access::ReadWrite"]));

    let lab_of_flags = Lab::new();
    lab_of_flags
        .run(guests::TELLS_WHAT_IT_HAS, "x")
        .args(["--dir", &format!("{}::/work:rw", lab.arg("etc/a"))])
        .args([
            "--arg",
            "--fast",
            "--env",
            "LANG=C",
            "--limit",
            "events=5",
            "--timeout",
            "1m",
        ])
        .done()
        .exits_with(0);
    assert_eq!(lab_of_flags.account().request()["grants"], from_file);
}

#[test]
fn flags_add_to_the_file_and_win_over_it() {
    let lab = Lab::new();
    let file = lab.file(
        "grants.toml",
        "version = 1\nargs = ['a']\n[env]\nA = '1'\nB = '1'\n",
    );
    let done = lab
        .run(guests::TELLS_WHAT_IT_HAS, "x")
        .args(["--grants", &file, "--env", "B=2", "--arg", "b"])
        .done()
        .exits_with(0);
    assert_eq!(done.json()["env"], json!({ "A": "1", "B": "2" }));
    assert_eq!(done.json()["args"], json!(["guests", "b"]));
}

/// Runs with these arguments; nothing may be run, and the message is what the snapshot has.
fn refused(lab: &Lab, args: &[&str]) -> crate::harness::Done {
    let done = lab
        .run("agent.wasm", "x")
        .args(args.iter().copied())
        .done()
        .exits_with(2);
    assert!(lab.accounts().is_empty(), "nothing was run");
    done
}

#[test]
fn what_is_wrong_with_a_directory_is_said() {
    let lab = Lab::new();
    snapshot!(refused(&lab, &["--dir", "missing"]), @r#"
    $ wasm-agent run agent.wasm x --dir missing
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant the directory `missing`: No such file or directory (os error 2)
    "#);
    lab.file("file", "x");
    snapshot!(refused(&lab, &["--dir", "file"]), @r#"
    $ wasm-agent run agent.wasm x --dir file
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant `[LAB]/file`: it is not a directory
    hint: grant the directory it is in: `[LAB]`
    "#);
    lab.folder("a/b");
    snapshot!(refused(&lab, &["--dir", "a", "--dir", "a/b"]), @r#"
    $ wasm-agent run agent.wasm x --dir a --dir a/b
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant both `[LAB]/a::/work:ro` and `[LAB]/a/b::/work:ro`: they overlap in the guest
    hint: give each directory a guest path of its own with `HOST::GUEST`
    "#);
    snapshot!(refused(&lab, &["--dir", "a::/x", "--dir", "a/b::/x/y"]), @r#"
    $ wasm-agent run agent.wasm x --dir a::/x --dir a/b::/x/y
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant both `[LAB]/a::/x:ro` and `[LAB]/a/b::/x/y:ro`: they overlap in the guest
    hint: give each directory a guest path of its own with `HOST::GUEST`
    "#);
    snapshot!(refused(&lab, &["--dir", "a::relative"]), @r#"
    $ wasm-agent run agent.wasm x --dir a::relative
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant `relative` in the guest: the path is not absolute
    hint: use an absolute path such as `/work` or `/data/in`
    "#);
    snapshot!(refused(&lab, &["--dir", "a::/x/../y"]), @r#"
    $ wasm-agent run agent.wasm x --dir a::/x/../y
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant `/x/../y` in the guest: the path contains `.` or `..`
    hint: use an absolute path such as `/work` or `/data/in`
    "#);
    snapshot!(refused(&lab, &["--dir", "a:rwx"]), @r#"
    $ wasm-agent run agent.wasm x --dir a:rwx
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the directory grant `a:rwx`: the access has to be `ro`, `rw` or `cow`
    hint: write `HOST`, `HOST:rw` or `HOST::GUEST:rw`
    "#);
    snapshot!(refused(&lab, &["--dir", ""]), @r#"
    $ wasm-agent run agent.wasm x --dir
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the directory grant ``: the host path is empty
    hint: write `HOST`, `HOST:rw` or `HOST::GUEST:rw`
    "#);
}

#[test]
fn a_directory_that_cannot_be_read_is_said() {
    let lab = Lab::new();
    lab.folder("closed");
    std::fs::set_permissions(
        lab.path("closed"),
        std::os::unix::fs::PermissionsExt::from_mode(0o000),
    )
    .unwrap();
    if std::fs::read_dir(lab.path("closed")).is_ok() {
        crate::harness::skipped("this user can read everything");
        return;
    }
    let done = refused(&lab, &["--dir", "closed"]);
    assert!(done.stderr().contains("closed"), "{}", done.shown());
}

#[test]
fn what_is_wrong_with_a_grants_file_is_said() {
    let lab = Lab::new();
    snapshot!(refused(&lab, &["--grants", "missing.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants missing.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `missing.toml`: No such file or directory (os error 2)
    "#);
    lab.file("unknown.toml", "version = 1\nnetwork = ['example.org']\n");
    snapshot!(refused(&lab, &["--grants", "unknown.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants unknown.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `unknown.toml`: TOML parse error at line 2, column 1
      |
    2 | network = ['example.org']
      | ^^^^^^^
    unknown field `network`, expected one of `version`, `component`, `dirs`, `files`, `protect`, `no-protect`, `env`, `args`, `limits`, `require`, `hosts`, `ca-files`, `proxy`, `models`, `providers`, `prices`, `secrets`, `leaks`, `mcp-servers`, `commands`, `tools`
    hint: keys are version, component, dirs, files, protect, no-protect, env, args, limits, require, hosts, ca-files, proxy, models, providers, prices, secrets, leaks, mcp-servers, commands and tools
    "#);
    lab.file("version.toml", "version = 2\n");
    snapshot!(refused(&lab, &["--grants", "version.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants version.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `version.toml`: it has version 2, this host reads 1
    hint: write `version = 1`
    "#);
    lab.file("limit.toml", "version = 1\n[limits]\nmemroy = '1GiB'\n");
    snapshot!(refused(&lab, &["--grants", "limit.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants limit.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot use the grants file `limit.toml`: there is no limit `memroy`
    hint: limits are memory, wall, cpu, events, event-bytes, trajectory-bytes, audit-bytes, output-bytes, storage-bytes, hostcall-bytes, table-elements, instances, handles, listing-bytes, disk-bytes, file-bytes, files, idle, idle-notice, first-call, after-result, soft, host-calls, host-call-rate, repeated-error, repeated-call, model-calls, tokens, money, model-idle, model-stall, model-attempts, requests, connections, request-bytes, response-bytes, header-bytes, url-bytes, http-connect, http-head, http-idle, tools, tool-dial, tool-close, tool-call, tool-calls, tool-result-bytes
    "#);
    lab.file("syntax.toml", "version = 1\ndirs = [\n");
    snapshot!(refused(&lab, &["--grants", "syntax.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants syntax.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `syntax.toml`: TOML parse error at line 2, column 9
      |
    2 | dirs = [
      |         ^
    unclosed array, expected `]`
    hint: keys are version, component, dirs, files, protect, no-protect, env, args, limits, require, hosts, ca-files, proxy, models, providers, prices, secrets, leaks, mcp-servers, commands and tools
    "#);
    lab.file("bytes.toml", b"version = 1\n# \xff\n");
    snapshot!(refused(&lab, &["--grants", "bytes.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants bytes.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `bytes.toml`: stream did not contain valid UTF-8
    "#);
    lab.file("empty.toml", "");
    snapshot!(refused(&lab, &["--grants", "empty.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants empty.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `empty.toml`: TOML parse error at line 1, column 1
      |
    1 |
      | ^
    missing field `version`
    hint: keys are version, component, dirs, files, protect, no-protect, env, args, limits, require, hosts, ca-files, proxy, models, providers, prices, secrets, leaks, mcp-servers, commands and tools
    "#);
    lab.folder("folder.toml");
    snapshot!(refused(&lab, &["--grants", "folder.toml"]), @r#"
    $ wasm-agent run agent.wasm x --grants folder.toml
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read the grants file `folder.toml`: Is a directory (os error 21)
    "#);
}

#[test]
fn what_is_wrong_with_other_grants_is_said() {
    let lab = Lab::new();
    snapshot!(refused(&lab, &["--env", "NAME"]), @r#"
    $ wasm-agent run agent.wasm x --env NAME
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read `--env NAME`: there is no `=` in it
    hint: write `--env NAME=VALUE`
    "#);
    snapshot!(refused(&lab, &["--env", "=value"]), @r#"
    $ wasm-agent run agent.wasm x --env =value
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot grant the environment variable ``: the name is empty
    hint: write `NAME=VALUE`
    "#);
    snapshot!(refused(&lab, &["--limit", "memory"]), @r#"
    $ wasm-agent run agent.wasm x --limit memory
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot read `--limit memory`: there is no `=` in it
    hint: write `--limit NAME=VALUE`
    "#);
    snapshot!(refused(&lab, &["--limit", "speed=1"]), @r#"
    $ wasm-agent run agent.wasm x --limit speed=1
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: there is no limit `speed`
    hint: limits are memory, wall, cpu, events, event-bytes, trajectory-bytes, audit-bytes, output-bytes, storage-bytes, hostcall-bytes, table-elements, instances, handles, listing-bytes, disk-bytes, file-bytes, files, idle, idle-notice, first-call, after-result, soft, host-calls, host-call-rate, repeated-error, repeated-call, model-calls, tokens, money, model-idle, model-stall, model-attempts, requests, connections, request-bytes, response-bytes, header-bytes, url-bytes, http-connect, http-head, http-idle, tools, tool-dial, tool-close, tool-call, tool-calls, tool-result-bytes
    "#);
    snapshot!(refused(&lab, &["--limit", "memory=lots"]), @r#"
    $ wasm-agent run agent.wasm x --limit memory=lots
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot set the limit `memory` to `lots`: a number is missing or too large
    hint: write it like `512MiB`, `64KiB` or `1000`
    "#);
    snapshot!(refused(&lab, &["--limit", "memory=0"]), @r#"
    $ wasm-agent run agent.wasm x --limit memory=0
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot set the limit `memory` to `0`: zero would stop every run
    hint: write it like `512MiB`, `64KiB` or `1000`
    "#);
    snapshot!(refused(&lab, &["--timeout", "10"]), @r#"
    $ wasm-agent run agent.wasm x --timeout 10
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot set the limit `wall` to `10`: the unit is not one of this limit's
    hint: write it like `10m`, `90s` or `250ms`
    "#);
    snapshot!(refused(&lab, &["--limit", "event-bytes=64MiB"]), @r#"
    $ wasm-agent run agent.wasm x --limit event-bytes=64MiB
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: limit `event-bytes` (67108864) must not be greater than `hostcall-bytes` (33554432)
    "#);
}

/// What was granted is shown in the words it was granted with.
#[test]
fn files_and_protection_are_shown_afterwards() {
    let lab = Lab::new();
    let file = lab.file("settings.toml", "x");
    let work = lab.folder("work");
    let call = lab.run(guests::ANSWERS_WITH_TEXT, "x");
    call.args(["--file", &file, "--protect", "*.pem"])
        .args(["--dir", &format!("{work}::/data:rw")])
        .done()
        .exits_with(0);
    let shown = lab.call(["runs", "show"]).done().exits_with(0).stdout();
    assert!(
        shown.contains("--file ") && shown.contains("settings.toml:ro"),
        "{shown}"
    );
    assert!(shown.contains("--protect *.pem"), "{shown}");
    assert!(!shown.contains("--no-protect"), "{shown}");

    let lab = Lab::new();
    lab.run(guests::ANSWERS_WITH_TEXT, "x")
        .arg("--no-protect")
        .done()
        .exits_with(0);
    let shown = lab.call(["runs", "show"]).done().exits_with(0).stdout();
    assert!(shown.contains("--no-protect"), "{shown}");
}

#[test]
fn a_limit_that_is_wrong_names_its_file() {
    let lab = Lab::new();
    let file = lab.file("grants.toml", "version = 1\n[limits]\nwall = \"soon\"\n");
    let call = lab.run(guests::ANSWERS_WITH_TEXT, "x");
    let done = call.args(["--grants", &file]).done().exits_with(2);
    let said = done.stderr();
    assert!(
        said.contains("grants.toml`: cannot set the limit `wall`"),
        "{said}"
    );
    assert!(said.contains("hint: write it like"), "{said}");
}

#[test]
fn what_the_host_keeps_for_itself_cannot_be_granted() {
    let lab = Lab::new();
    lab.run(guests::TELLS_WHAT_IT_HAS, "x").done().exits_with(0);
    lab.file("secrets/secrets.toml", "");
    std::os::unix::fs::symlink(lab.path("runs"), lab.path("link")).unwrap();
    for (flag, place) in [
        ("--dir", lab.arg("runs")),
        ("--dir", lab.arg("link")),
        ("--dir", format!("{}:rw", lab.account().dir().display())),
        ("--dir", lab.arg("secrets")),
        ("--file", lab.arg("secrets/secrets.toml")),
    ] {
        let done = lab
            .run(guests::TELLS_WHAT_IT_HAS, "x")
            .env("WASM_AGENT_SECRETS_DIR", lab.arg("secrets"))
            .args(["--no-protect", flag, &place])
            .done()
            .exits_with(2);
        let said = done.stderr();
        assert!(
            said.contains("the host keeps its own data there"),
            "{place}: {}",
            done.shown()
        );
    }
    assert_eq!(lab.accounts().len(), 1, "nothing else was started");
}

#[test]
fn a_granted_directory_does_not_show_what_the_host_keeps_in_it() {
    let lab = Lab::new();
    lab.file("secrets/secrets.toml", "");
    lab.file("other/a", "");
    lab.call(["key", "new", &lab.arg("key.pem")])
        .done()
        .exits_with(0);
    let root = lab.path("");
    for access in ["ro", "rw", "cow"] {
        let done = lab
            .run(guests::TELLS_WHAT_IT_HAS, "x")
            .env("WASM_AGENT_SECRETS_DIR", lab.arg("secrets"))
            .args(["--dir", &format!("{}::/:{access}", root.display())])
            .args(["--sign", &lab.arg("key.pem")])
            .done()
            .exits_with(0);
        let seen = done.json();
        let names: Vec<&str> = seen["root"]["Ok"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(serde_json::Value::as_str)
            .collect();
        assert!(names.contains(&"other"), "{access}: {names:?}");
        for own in ["runs", "secrets", "key.pem"] {
            assert!(!names.contains(&own), "{access}: {names:?}");
        }
    }
}
