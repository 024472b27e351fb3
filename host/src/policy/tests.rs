//! What is suggested can be read, and allows what was used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::evidence::{Granted, Outside};
use super::*;
use crate::grants::{Access, Grants, GrantsFile};
use crate::trajectory::Used;
use crate::trajectory::used::DirUse;

fn evidence(grants: &Value, used: &Value) -> Evidence {
    Evidence {
        run: "20261121-000000-aaaaaaaa".to_owned(),
        agent: "audit".to_owned(),
        component: "sha256:00".to_owned(),
        outside: Outside::Live,
        granted: Granted::deserialize(grants).unwrap(),
        used: Used::deserialize(used).unwrap(),
        denied: Vec::new(),
        env: BTreeMap::new(),
        model: None,
        hosts: evidence::Hosts::Optional,
    }
}

fn parse(text: &str) -> GrantsFile {
    GrantsFile::parse(text, Path::new("/etc/grants.toml"))
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Directories and files as suggested, without their evidence.
fn places(grants: &Value, used: &Value) -> Vec<String> {
    let file = parse(&suggest(&[evidence(grants, used)]).text);
    let dirs = file.dirs.iter().map(|it| (&it.host, &it.guest, it.access));
    let files = file.files.iter().map(|it| (&it.host, &it.guest, it.access));
    dirs.chain(files)
        .map(|(host, guest, access)| {
            format!("{} {} {access}", host.display(), guest.as_deref().unwrap())
        })
        .collect()
}

#[test]
fn a_directory_is_narrowed_to_what_was_used_of_it() {
    let grants = json!({ "dirs": ["/no/repo::/work:rw"] });
    for (used, expected) in [
        (json!({}), &[][..]),
        // Nothing was written.
        (
            json!({ "listed": ["."], "read": ["a", "b/c"] }),
            &["/no/repo /work ro"],
        ),
        (json!({ "read": ["a"] }), &["/no/repo/a /work/a ro"]),
        (
            json!({ "read": ["a"], "written": ["b"] }),
            &["/no/repo/a /work/a rw", "/no/repo/b /work/b rw"],
        ),
        (
            json!({ "read": ["src/a", "src/b", "src/c", "src/d"], "made": ["out/x"] }),
            &["/no/repo/out /work/out rw", "/no/repo/src /work/src ro"],
        ),
        // Who makes `out` needs the directory it is in.
        (
            json!({ "read": ["src/a"], "made": ["out", "out/x"] }),
            &["/no/repo /work rw"],
        ),
        (
            json!({ "read": ["src/a"], "missing": ["src/b"] }),
            &["/no/repo/src /work/src ro"],
        ),
        (
            json!({ "read": ["src/a"], "links": true }),
            &["/no/repo /work ro"],
        ),
        (json!({ "read": ["src/"] }), &["/no/repo/src /work/src ro"]),
        (
            json!({ "listed": ["a-b", "a", "a/b"] }),
            &["/no/repo/a /work/a ro", "/no/repo/a-b /work/a-b ro"],
        ),
        // Five places are more than a person reads.
        (
            json!({ "listed": ["a/1", "a/2", "b", "c", "d"] }),
            &[
                "/no/repo/a /work/a ro",
                "/no/repo/b /work/b ro",
                "/no/repo/c /work/c ro",
                "/no/repo/d /work/d ro",
            ],
        ),
    ] {
        let mut dir = used.clone();
        dir["guest"] = json!("/work");
        let dirs = if used == json!({}) {
            json!([])
        } else {
            json!([dir])
        };
        assert_eq!(
            places(&grants, &json!({ "dirs": dirs })),
            expected,
            "{used}"
        );
    }
    let copied = json!({ "dirs": ["/no/repo::/work:cow"] });
    let used = json!({ "dirs": [{ "guest": "/work", "written": ["sub/a"] }] });
    assert_eq!(places(&copied, &used), ["/no/repo/sub /work/sub cow"]);
}

#[test]
fn what_is_not_there_any_more_is_not_granted() {
    let lab = tempfile::tempdir().unwrap();
    std::fs::create_dir(lab.path().join("here")).unwrap();
    let host = lab.path().to_str().unwrap();
    let grants = json!({ "dirs": [format!("{host}::/work:ro")] });
    let used =
        json!({ "dirs": [{ "guest": "/work", "missing": ["here/gone/x"], "listed": ["here"] }] });
    assert_eq!(
        places(&grants, &used),
        [format!("{host}/here /work/here ro")]
    );
    let used = json!({ "dirs": [{ "guest": "/work", "read": ["here/gone"] }] });
    assert_eq!(
        places(&grants, &used),
        [format!("{host}/here /work/here ro")]
    );
}

#[test]
fn files_that_were_granted_one_by_one_stay_that() {
    let grants = json!({ "files": ["/no/a::/etc/a:rw", "/no/b::/etc/b:rw"] });
    let used = json!({ "dirs": [{ "guest": "/etc", "read": ["a"], "missing": ["c"] }] });
    assert_eq!(places(&grants, &used), ["/no/a /etc/a ro"]);
    let used = json!({ "dirs": [{ "guest": "/etc", "listed": ["."] }] });
    assert_eq!(places(&grants, &used).len(), 2, "a list shows both");
}

/// What several runs suggest, without evidence: `host guest access`, the newest run last.
fn of_runs(runs: &[(Value, Value)]) -> (Vec<String>, Vec<String>) {
    let runs = runs
        .iter()
        .enumerate()
        .map(|(at, (grants, used))| Evidence {
            run: format!("run-{at}"),
            ..evidence(grants, used)
        });
    let suggestion = suggest(&runs.collect::<Vec<_>>());
    let file = parse(&suggestion.text);
    let dirs = file.dirs.iter().map(|it| (&it.host, &it.guest, it.access));
    let files = file.files.iter().map(|it| (&it.host, &it.guest, it.access));
    let places = dirs.chain(files).map(|(host, guest, access)| {
        format!("{} {} {access}", host.display(), guest.as_deref().unwrap())
    });
    (places.collect(), suggestion.notes)
}

#[test]
fn what_one_run_could_write_is_not_writable_elsewhere() {
    let written = json!({ "dirs": [{ "guest": "/work", "made": ["x"] }] });
    let listed = json!({ "dirs": [{ "guest": "/work", "listed": ["."] }] });
    let (places, _) = of_runs(&[
        (json!({ "dirs": ["/no/scratch::/work:rw"] }), written),
        (json!({ "dirs": ["/no/home::/work:ro"] }), listed.clone()),
    ]);
    assert_eq!(places, ["/no/scratch /work rw"]);

    let inner = json!({ "dirs": [{ "guest": "/work/sub", "made": ["x"] }] });
    let (places, notes) = of_runs(&[
        (json!({ "dirs": ["/no/scratch::/work/sub:rw"] }), inner),
        (json!({ "dirs": ["/no/home::/work:ro"] }), listed),
    ]);
    assert_eq!(places, ["/no/home /work ro"]);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("/no/scratch::/work/sub:rw"), "{notes:?}");

    // Files of one directory have one access.
    let write = json!({ "dirs": [{ "guest": "/etc", "written": ["a"] }] });
    let read = json!({ "dirs": [{ "guest": "/etc", "read": ["b"] }] });
    let (places, notes) = of_runs(&[
        (json!({ "files": ["/no/a::/etc/a:rw"] }), write.clone()),
        (json!({ "files": ["/no/b::/etc/b:ro"] }), read.clone()),
    ]);
    assert_eq!(places, ["/no/a /etc/a rw"]);
    assert_eq!(notes.len(), 1, "{notes:?}");
    let (places, _) = of_runs(&[
        (json!({ "files": ["/no/a::/etc/a:rw"] }), write),
        (json!({ "files": ["/no/b::/etc/b:rw"] }), read),
    ]);
    assert_eq!(places, ["/no/a /etc/a rw", "/no/b /etc/b rw"]);
}

#[test]
fn every_line_says_on_what_it_stands() {
    let grants = json!({
        "dirs": ["/no/repo::/work:rw", "/no/data::/data:ro"],
        "args": ["--fast"],
        "env": ["LANG"],
        "hosts": ["api.example.com"],
        "models": ["anthropic/*"],
        "mcp-servers": [
            { "id": "files", "command": "TOKEN=… npx files", "env": ["TOKEN"], "tools": ["*"] },
            { "id": "other", "url": "https://x.org/mcp" },
        ],
        "secrets": [{ "name": "key", "host": "api.example.com", "header": "x-key" }],
    });
    let used = json!({
        "dirs": [{ "guest": "/work", "read": ["src/a", "src/b", "src/c", "src/d"], "listed": ["src"] }],
        "environment": true,
        "requests": [{ "caller": "guest", "method": "GET", "url": "https://api.example.com/v1/a", "count": 3 }],
        "models": { "anthropic/claude-haiku-4-5": 2 },
        "tools": [{ "server": "files", "tool": "read", "calls": 4 }],
        "secrets": ["key"],
        "peak": { "memory": 3 << 20, "requests": 3 },
    });
    let mut run = evidence(&grants, &used);
    run.denied = vec![evidence::Denied {
        capability: "network".to_owned(),
        subject: "GET https://evil.example/\n[limits]".to_owned(),
        rule: "no rule".to_owned(),
    }];
    let suggestion = suggest(&[run.clone()]);
    insta::assert_snapshot!(suggestion.text, @r#"
    # What 1 run used, and nothing else; every line says by which evidence.
    # Agent: audit (sha256:00)
    # Run: 20261121-000000-aaaaaaaa
    version = 1

    dirs = [
      # read by 1 run: 4 files; listed by 1 run
      "/no/repo/src::/work/src:ro",
      # not used: /no/data::/data:ro
    ]

    # as in run 20261121-000000-aaaaaaaa
    args = ["--fast"]

    hosts = [
      # 1 run: 3 requests
      "GET api.example.com/v1/a",
    ]

    models = [
      # asked by 1 run: 2 times
      "anthropic/claude-haiku-4-5",
    ]

    # Denied in 20261121-000000-aaaaaaaa, and not granted here:
    #   network: GET https://evil.example/ [limits] (no rule)

    [[mcp-servers]]
    # used by 1 run
    # env = { TOKEN = "…" }: a run does not keep values
    id = "files"
    command = ["npx", "files"]
    tools = ["read"]

    [[secrets]]
    # used by 1 run
    name = "key"
    host = "api.example.com"
    header = "x-key"

    [env]
    # read by 1 run; which variable, nobody can tell
    # LANG = "…": a run does not keep values

    [limits]
    # at most 3MiB used
    memory = "16MiB"
    # at most 3 used
    requests = "10"
    "#);
    insta::assert_snapshot!(suggestion.notes.join("\n"), @r"
    the server files had the variable TOKEN: its value is not kept, add it
    the value of LANG is not kept: add it under [env]
    ");
    let mut file = parse(&suggestion.text);
    // The value of LANG is for a person to add.
    assert_eq!(check(&file, &[run.clone()]).unwrap().len(), 1);
    file.env.insert("LANG".to_owned(), "C".to_owned());
    assert_eq!(check(&file, &[run]).unwrap(), []);
}

#[test]
fn names_somebody_else_has_chosen_are_no_patterns() {
    let grants = json!({ "mcp-servers": [{ "id": "s", "command": "x" }], "models": ["x/*"] });
    let used = json!({
        "models": { "x/*": 1 },
        "tools": [{ "server": "s", "tool": "*", "calls": 1 }],
    });
    let suggestion = suggest(&[evidence(&grants, &used)]);
    let file = parse(&suggestion.text);
    assert!(
        file.models.is_empty() && file.mcp_servers.is_empty(),
        "{}",
        suggestion.text
    );
    assert_eq!(suggestion.notes.len(), 2);
}

#[test]
fn everything_that_would_not_be_allowed_is_listed() {
    let used = json!({
        "dirs": [
            { "guest": "/work", "read": ["a"], "written": ["b"], "made": ["sub/c"], "listed": ["."], "missing": ["x/y"] },
            { "guest": "/data", "read": ["a"] },
        ],
        "environment": true,
        "requests": [
            { "caller": "guest", "method": "PUT", "url": "https://api.example.com/v1/a", "count": 3 },
            { "caller": "model", "method": "POST", "url": "https://api.anthropic.com/v1/messages", "count": 3 },
        ],
        "models": { "anthropic/claude-haiku-4-5": 2, "scripted/a.toml": 1 },
        "tools": [
            { "server": "files", "tool": "read", "calls": 4 },
            { "server": "files", "tool": "write", "calls": 4 },
            { "component": "search", "tool": "find", "calls": 1 },
        ],
        "secrets": ["key"],
        "peak": { "memory": 3 << 20 },
    });
    let granted = json!({
        "env": ["LANG"],
        "args": ["--fast", "x"],
        "mcp-servers": [{ "id": "files", "command": "x" }],
        "secrets": [{ "name": "key", "host": "api.example.com" }],
    });
    let run = evidence(&granted, &used);
    let new = parse(
        "version = 1\ndirs = ['/no/such::/work:ro']\nmodels = ['anthropic/*', 'scripted/*']\n\
         hosts = ['GET api.example.com']\n[limits]\nmemory = '1MiB'\n\
         [[mcp-servers]]\nid = 'files'\ncommand = ['x']\ntools = ['read']",
    );
    let missing = check(&new, &[run]).unwrap();
    let shown: Vec<String> = missing.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    writing /work/b needs dirs or files: …::/work/b:rw
    creating, moving or removing /work/sub/c needs dirs: …::/work/sub:rw
    reading /data/a needs dirs or files: …::/data/a:ro
    PUT https://api.example.com/v1/a needs hosts: PUT https://api.example.com/v1/a
    asking scripted/a.toml needs models: scripted/a.toml
    the tool write of files needs mcp-servers: id = "files", tools = ["write"]
    the tool find of the component search needs tools: …/search.wasm
    the variable LANG, perhaps needs env: LANG = "…"
    the arguments, perhaps needs args: ["--fast", "x"]
    the secret key for api.example.com needs secrets: name = "key", host = "api.example.com"
    3MiB of memory (allowed is 1MiB) needs limits: memory = "3MiB"
    "#);
}

#[test]
fn what_the_account_does_not_tell_is_said() {
    let run = evidence(&json!({}), &json!({ "more": true }));
    let suggestion = suggest(std::slice::from_ref(&run));
    assert_eq!(suggestion.notes.len(), 1, "{:?}", suggestion.notes);
    assert!(suggestion.notes[0].contains("more than"));
    let missing = check(&parse(&suggestion.text), &[run]).unwrap();
    assert_eq!(missing.len(), 1, "it cannot be known that all is allowed");
    assert!(missing[0].used.contains("more than"), "{missing:?}");
}

#[test]
fn a_secret_is_for_the_hosts_it_went_to() {
    let secret = |host: &str| json!({ "name": "key", "host": host });
    let granted = json!({ "secrets": [secret("api.example.com"), secret("other.example.com")] });
    let missing = |used: &Value, file: &str| {
        let file = parse(&format!("version = 1\nhosts = ['*.example.com']\n{file}"));
        let missing = check(&file, &[evidence(&granted, used)]).unwrap();
        missing.into_iter().map(|it| it.needs).collect::<Vec<_>>()
    };
    let asked = json!({
        "requests": [{ "caller": "guest", "method": "GET", "url": "https://api.example.com/v1/a", "count": 1 }],
        "secrets": ["key"],
    });
    let bound = |host: &str| format!("[[secrets]]\nname = 'key'\nhost = '{host}'\n");
    for host in ["api.example.com", "*.example.com", "GET api.example.com/v1"] {
        assert_eq!(missing(&asked, &bound(host)), [""; 0], "{host}");
    }
    for host in [
        "other.example.com",
        "POST api.example.com",
        "api.example.com/v2",
    ] {
        let needs = missing(&asked, &bound(host));
        assert_eq!(
            needs,
            [r#"name = "key", host = "api.example.com""#],
            "{host}"
        );
    }
    // Nobody knows where it went.
    let unknown = json!({ "secrets": ["key"] });
    let needs = missing(&unknown, &bound("api.example.com"));
    assert_eq!(needs, [r#"name = "key", host = "other.example.com""#]);
}

fn paths() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(
        "([a-c]|a b|\\.x|::|:rw|\u{7}|ü){1,2}(/[a-c]{1,2}){0,3}/?|\\.",
        0..4,
    )
}

prop_compose! {
    fn dir_use()(
        guest in "/(work|data)",
        read in paths(), written in paths(), made in paths(), listed in paths(),
        folders in paths(), seen in paths(), missing in paths(),
        links in prop::bool::weighted(0.1),
    ) -> DirUse {
        DirUse { guest, read, written, made, listed, folders, seen, missing, links }
    }
}

prop_compose! {
    fn used()(
        dirs in prop::collection::vec(dir_use(), 0..2),
        environment: bool,
        requests in prop::collection::vec(
            ("GET|POST", "https?://(a\\.b|127\\.0\\.0\\.1)(:81)?(/[a-z]{0,3}){0,3}|https://a\\.b"), 0..7),
        models in prop::collection::btree_map("(anthropic|x)/[^*\\p{C}]{1,6}|scripted/[^*\\p{C}]{1,6}", 1u64..9, 0..3),
        tools in prop::collection::vec(("s|t", "[a-z]{1,3}"), 0..4),
        components in prop::collection::vec("[a-z]{1,3}", 0..2),
        secrets in prop::collection::btree_set("key|other", 0..2),
        peak in prop::collection::btree_map("memory|wall|cpu|tokens|event-bytes|money", 1u64..600_000, 0..6),
    ) -> Used {
        let mut dirs: Vec<DirUse> = dirs;
        dirs.dedup_by(|a, b| a.guest == b.guest);
        let requests = requests.into_iter().map(|(method, url)| {
            json!({ "caller": "guest", "method": method, "url": url, "count": 1 })
        });
        let tools = tools.into_iter().map(|(server, tool)| json!({ "server": server, "tool": tool, "calls": 1 }));
        let components = components.into_iter().map(|name| json!({ "component": name, "tool": "t", "calls": 1 }));
        Used {
            dirs,
            environment,
            requests: serde_json::from_value(requests.collect()).unwrap(),
            models,
            tools: serde_json::from_value(tools.chain(components).collect()).unwrap(),
            servers: std::collections::BTreeSet::new(),
            secrets,
            peak,
            more: false,
        }
    }
}

prop_compose! {
    /// A run with any grants of the host, and any use of them.
    fn granted_run()(
        dirs in prop::collection::vec(("a|b|a/x", "/work|/work/sub|/data", "ro|rw|cow"), 0..3),
        files in prop::collection::vec(("a|b|a/x", "f|g", "/work|/work/sub|/etc", "ro|rw"), 0..3),
        guests in prop::collection::vec(("/work|/work/sub|/data|/etc", paths(), paths(), paths(), paths()), 0..4),
        names in prop::collection::vec("f|g", 0..2),
    ) -> (Value, Value) {
        let dirs = dirs.iter().map(|(host, guest, access)| format!("/no/{host}::{guest}:{access}"));
        let files = files.iter().map(|(host, name, guest, access)| format!("/no/{host}/{name}::{guest}/{name}:{access}"));
        let uses = guests.into_iter().map(|(guest, mut read, mut written, made, listed)| {
            read.extend(names.first().cloned());
            written.extend(names.get(1).cloned());
            json!({ "guest": guest, "read": read, "written": written, "made": made, "listed": listed })
        });
        (
            json!({ "dirs": dirs.collect::<Vec<_>>(), "files": files.collect::<Vec<_>>() }),
            json!({ "dirs": uses.collect::<Vec<_>>() }),
        )
    }
}

proptest! {
    #[test]
    fn nothing_of_the_host_is_suggested_that_no_run_had(
        runs in prop::collection::vec(granted_run(), 1..4),
    ) {
        let runs: Vec<Evidence> = runs.iter().enumerate().map(|(at, (grants, used))| Evidence {
            run: format!("run-{at}"),
            ..evidence(grants, used)
        }).collect();
        let suggestion = suggest(&runs);
        let file = parse(&suggestion.text);
        let reach = |access: Access| match access {
            Access::ReadOnly => 0,
            Access::CopyOnWrite => 1,
            Access::ReadWrite => 2,
        };
        let in_dir = |host: &Path, access| runs.iter().flat_map(|run| &run.granted.dirs)
            .any(|it| host.starts_with(&it.host) && reach(access) <= reach(it.access));
        let in_file = |host: &Path, access| runs.iter().flat_map(|run| &run.granted.files)
            .any(|it| host == it.host && reach(access) <= reach(it.access));
        for it in &file.dirs {
            prop_assert!(in_dir(&it.host, it.access), "{}", suggestion.text);
        }
        for it in &file.files {
            let had = in_dir(&it.host, it.access) || in_file(&it.host, it.access);
            prop_assert!(had, "{}", suggestion.text);
        }
    }

    #[test]
    fn what_is_suggested_is_read_and_allows_what_was_used(
        uses in prop::collection::vec((used(), "rw|cow", "\\PC{0,9}", "[ -~]{0,9}"), 1..4),
        args in prop::collection::vec("\\PC{0,9}", 0..3),
    ) {
        let runs: Vec<Evidence> = uses.into_iter().enumerate().map(|(at, (used, access, subject, value))| {
            let components: Vec<PathBuf> = used.tools.iter()
                .filter_map(|tool| Some(PathBuf::from(format!("/no/{}.wasm", tool.component.as_ref()?))))
                .collect();
            let grants = json!({
                "dirs": [format!("/no/repo {at}::/work:{access}"), format!("/no/data::/data:{access}")],
                "env": ["A B", "LANG"],
                "args": args,
                "limits": crate::grants::Limits::default().to_json(),
                "mcp-servers": [{ "id": "s", "command": "A=… x y", "env": ["A"] }, { "id": "t", "url": "https://t.org" }],
                "secrets": [{ "name": "key", "host": "a.b" }, { "name": "other", "host": "a.b", "query": subject.clone() + "q" }],
                "tools": components,
            });
            let mut run = evidence(&grants, &json!({}));
            run.run = format!("run-{at}");
            run.used = used;
            run.env = [("LANG".to_owned(), value.clone()), ("A B".to_owned(), value)].into();
            run.denied = vec![evidence::Denied {
                capability: "x".to_owned(),
                subject: subject.clone() + "\n]\n[limits]",
                rule: subject,
            }];
            run
        }).collect();
        let suggestion = suggest(&runs);
        let file = parse(&suggestion.text);
        prop_assert_eq!(check(&file, &runs).unwrap(), [], "{}", suggestion.text);
        // Where the directories are there, they go together.
        let lab = tempfile::tempdir().unwrap();
        let mut here = file.clone();
        for dir in &mut here.dirs {
            dir.host = lab.path().to_owned();
        }
        for file in &mut here.files {
            let guest = Path::new(file.guest.as_deref().unwrap());
            let host = lab.path().join(guest.parent().unwrap().strip_prefix("/").unwrap());
            std::fs::create_dir_all(&host).unwrap();
            file.host = host.join(guest.file_name().unwrap());
            std::fs::write(&file.host, "").unwrap();
        }
        here.tools.clear();
        let resolved = Grants::resolve(here, GrantsFile::default());
        prop_assert!(resolved.is_ok(), "{}\n{}", resolved.unwrap_err(), suggestion.text);
        // The grants of nobody else but those runs.
        prop_assert!(file.dirs.iter().all(|dir| dir.host.starts_with("/no")));
    }
}
