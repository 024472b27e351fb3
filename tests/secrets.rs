//! Secrets through the program: kept, put on the wire, and found nowhere else afterwards.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wasm_agent_test_artifacts as guests;

use crate::harness::{Lab, assert_no_secret, assert_no_secret_in, snapshot};

const KEY: &str = "hunter22/correct+horse~";

/// A server that keeps all it received, and says what it received of a request's head.
struct Echo {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Echo {
    /// The thread ends with the tests.
    fn start() -> Echo {
        Echo::answering(|request| {
            let body = format!("you sent {}", String::from_utf8_lossy(request));
            let length = body.len();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        })
    }

    fn answering(answer: impl Fn(&[u8]) -> String + Send + 'static) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = received.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream
                    .set_read_timeout(Some(Duration::from_secs(60)))
                    .unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    request.extend_from_slice(&buffer[..read]);
                    let text = String::from_utf8_lossy(&request);
                    let Some((head, body)) = text.split_once("\r\n\r\n") else {
                        continue;
                    };
                    let length = head
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "));
                    let whole = match length {
                        Some(length) => body.len() >= length.parse().unwrap(),
                        None => !head.contains("transfer-encoding") || body.ends_with("0\r\n\r\n"),
                    };
                    if whole {
                        break;
                    }
                }
                kept.lock().unwrap().extend_from_slice(&request);
                // Who asked may be gone.
                let _ = stream.write_all(answer(&request).as_bytes());
            }
        });
        Echo { address, received }
    }

    fn rule(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

#[test]
fn the_store_is_kept_listed_and_forgotten_without_a_value_being_shown() {
    let lab = Lab::new();
    let set = |value: &str| lab.call(["secret", "set", "github"]).stdin(value);
    snapshot!(lab.call(["secret", "list"]).done(), @r"
    $ wasm-agent secret list
    exit 0
    ----- stdout -----
    ----- stderr -----
    no secrets are kept; `wasm-agent secret set NAME` keeps one
    ");
    set(&format!("{KEY}\n")).done().exits_with(0);
    snapshot!(set("another-value").done(), @r"
    $ wasm-agent secret set github
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot set the secret `github`: there is one
    hint: replace it with `--force`
    ");
    set("another-value").arg("--force").done().exits_with(0);
    for (value, why) in [
        ("", "empty"),
        ("a\nb12345", "line break"),
        ("12345", "shorter"),
    ] {
        let done = set(value).arg("--force").done().exits_with(2);
        assert!(done.stderr().contains(why), "{}", done.stderr());
    }
    let invalid = lab
        .call(["secret", "set", "bad"])
        .stdin(b"hunter22\xff".to_vec())
        .done()
        .exits_with(2);
    assert!(!invalid.stderr().contains("hunter22"));
    lab.call(["secret", "set", "Bad Name"])
        .stdin(KEY)
        .done()
        .exits_with(2);
    let listed = lab
        .call(["secret", "list", "--json"])
        .env("WASM_AGENT_SECRET_FROM_ENV", KEY)
        .done()
        .exits_with(0);
    let json = listed.json();
    let of = |at: usize| (&json["secrets"][at]["name"], &json["secrets"][at]["source"]);
    assert_eq!(of(0), (&json!("from_env"), &json!("environment")));
    assert_eq!(of(1), (&json!("github"), &json!("store")));
    assert_no_secret_in("the list", listed.stdout().as_bytes(), KEY);
    lab.call(["secret", "rm", "github"]).done().exits_with(0);
    snapshot!(lab.call(["secret", "rm", "github"]).done(), @r"
    $ wasm-agent secret rm github
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: cannot remove the secret `github`: there is none in the store
    hint: `wasm-agent secret list` shows what there is
    ");
}

#[test]
fn a_store_others_can_read_is_not_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new();
    let store = lab.arg("secrets");
    let call = |args: [&str; 2]| lab.call(args).env("WASM_AGENT_SECRETS_DIR", &store);
    call(["secret", "set"])
        .arg("a")
        .stdin(KEY)
        .done()
        .exits_with(0);
    let file = lab.path("secrets/secrets.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let done = call(["secret", "list"]).done().exits_with(2);
    assert!(done.stderr().contains("644"), "{}", done.stderr());
    assert!(done.stderr().contains("hint:"), "{}", done.stderr());
}

#[test]
fn what_is_not_set_is_said_before_the_run() {
    let lab = Lab::new();
    let run = |secret: &str| {
        lab.run(guests::ANSWERS_WITH_TEXT, "x")
            .args(["--secret", secret])
            .done()
    };
    snapshot!(run("github@api.github.com"), @r"
    $ wasm-agent run [GUESTS]/answers_with_text.wasm x --secret github@api.github.com
    exit 2
    ----- stdout -----
    ----- stderr -----
    error: the secret `github` is not set
    hint: `wasm-agent secret set github` keeps it, or set WASM_AGENT_SECRET_GITHUB
    ");
    assert_eq!(lab.accounts().len(), 0);
    run("github@*").exits_with(2);
    run("github").exits_with(2);
}

#[test]
fn the_host_puts_it_on_the_wire_and_the_guest_never_sees_it() {
    let lab = Lab::new();
    let server = Echo::start();
    let request = |path: &str, value: &str| {
        json!({
            "scheme": "http", "host": server.address.to_string(), "path": path,
            "headers": { "authorization": value },
        })
    };
    let task = json!([
        request("/bound", "Bearer mine"),
        request("/other", "Bearer mine")
    ]);
    let grants = lab.file(
        "grants.toml",
        format!(
            "version = 1\nhosts = ['{0}']\nleaks = 'redact'\n\
             [[secrets]]\nname = 'github'\nhost = '{0}/bound'\nenv = 'GITHUB_TOKEN'\n",
            server.rule("")
        ),
    );
    let done = lab
        .run(guests::MAKES_REQUESTS, &task.to_string())
        .args(["--grants", &grants])
        .env("WASM_AGENT_SECRET_GITHUB", KEY)
        .done()
        .exits_with(0);
    let answers = done.json();
    let body = |at: usize| answers[at]["body"].as_str().unwrap();
    assert!(body(0).contains("Bearer [secret:github]"), "{answers}");
    assert!(body(1).contains("Bearer mine"), "{answers}");
    let received = server.received();
    assert_eq!(received.matches(KEY).count(), 1);
    assert!(received.contains(&format!("authorization: Bearer {KEY}\r\n")));
    let account = lab.account();
    let used: Vec<_> = account.audits("secret_used").collect();
    assert_eq!(used.len(), 1);
    assert_eq!(used[0]["replaced"], true);
    assert_no_secret_in("standard output", done.stdout().as_bytes(), KEY);
    assert_no_secret_in("standard error", done.stderr().as_bytes(), KEY);
    std::fs::remove_file(lab.path("grants.toml")).unwrap();
    assert!(assert_no_secret(&lab.path("runs"), KEY) >= 2);
}

#[test]
fn the_key_of_a_model_goes_with_the_hosts_requests_alone() {
    let lab = Lab::new();
    let refuse = |_: &[u8]| "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned();
    let server = Echo::answering(refuse);
    let done = lab
        .run(guests::MODEL_ANSWERS, "hello")
        .args(["--provider", &format!("local={}", server.rule("/v1"))])
        .args(["--model", "local/small"])
        .env("WASM_AGENT_SECRET_LOCAL", KEY)
        .done();
    let received = server.received();
    assert!(
        received.starts_with("POST /v1/chat/completions"),
        "{received}"
    );
    assert_eq!(
        received
            .matches(&format!("authorization: Bearer {KEY}\r\n"))
            .count(),
        1
    );
    assert_eq!(received.matches(KEY).count(), 1);
    assert_eq!(lab.account().audits("secret_used").count(), 1);
    assert_no_secret_in("standard error", done.stderr().as_bytes(), KEY);
    assert!(assert_no_secret(&lab.path("runs"), KEY) >= 2);

    // What the model is told is no place for a key, not even its own.
    lab.run(guests::MODEL_ANSWERS, &format!("use {KEY}"))
        .args(["--provider", &format!("local={}", server.rule("/v1"))])
        .args(["--model", "local/small"])
        .env("WASM_AGENT_SECRET_LOCAL", KEY)
        .done();
    assert!(lab.accounts()[1].audits("leak").count() >= 1);
    let rest = server.received().replace(&format!("Bearer {KEY}"), "");
    assert_no_secret_in("the traffic", rest.as_bytes(), KEY);
}

#[test]
pub(crate) fn spills_a_secret() {
    let lab = Lab::new();
    let server = Echo::start();
    let run = |task: &str, leaks: &str| {
        lab.folder("work");
        lab.run(guests::SPILLS_A_SECRET, task)
            .args(["--allow-host", &server.rule(""), "--leaks", leaks])
            .args(["--secret", "github@example.org"])
            .args(["--dir", &format!("{}::/work:rw", lab.arg("work"))])
            // As a file it may read, or a server that is careless, could tell it.
            .args(["--env", &format!("KNOWN={KEY}")])
            .env("WASM_AGENT_SECRET_GITHUB", KEY)
            .env("WASM_AGENT_LOG", "trace")
            .done()
    };
    let address = server.address.to_string();
    for leaks in ["block", "redact"] {
        let done = run(&address, leaks).exits_with(0);
        if leaks == "block" {
            assert_eq!(done.json(), json!([]), "nothing came through");
        }
        assert_no_secret_in("standard output", done.stdout().as_bytes(), KEY);
        assert_no_secret_in("standard error", done.stderr().as_bytes(), KEY);
        assert_no_secret_in("the traffic", server.received().as_bytes(), KEY);
        assert!(assert_no_secret(&lab.path("runs"), KEY) >= 2);
        assert_no_secret(&lab.path("work"), KEY);
        let account = lab.accounts().pop().unwrap();
        let leaks: Vec<Value> = account.audits("leak").cloned().collect();
        assert!(leaks.len() > 30, "{leaks:?}");
        assert!(leaks.iter().all(|leak| leak["name"] == "github"));
    }

    let done = run(&format!("{address}/answer"), "block").exits_with(1);
    assert_no_secret_in("standard output", done.stdout().as_bytes(), KEY);
    assert!(done.stderr().contains("withheld"), "{}", done.stderr());
    assert_no_secret(&lab.path("runs"), KEY);
    let done = run(&format!("{address}/answer"), "redact").exits_with(0);
    assert_eq!(done.json(), json!({ "secret": "[secret:github]" }));
    let done = run(&format!("{address}/answer"), "warn").exits_with(0);
    assert_eq!(done.json(), json!({ "secret": KEY }));
    // Whatever the policy, it is not kept.
    for file in ["run.json", "events.ndjson"] {
        for account in std::fs::read_dir(lab.path("runs")).unwrap() {
            let path = account.unwrap().path().join(file);
            assert_no_secret_in(file, &std::fs::read(path).unwrap(), KEY);
        }
    }
}

#[test]
fn a_secret_in_the_task_itself_is_not_kept() {
    let lab = Lab::new();
    lab.run(guests::ANSWERS_WITH_TEXT, &format!("use the key {KEY}"))
        .args(["--secret", "github@example.org"])
        .env("WASM_AGENT_SECRET_GITHUB", KEY)
        .done()
        // It answers with its task, which is withheld.
        .exits_with(1);
    assert!(assert_no_secret(&lab.path("runs"), KEY) >= 2);
}
