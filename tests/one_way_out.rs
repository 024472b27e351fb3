//! There is one way out to the network: nothing outside `host/src/egress` opens a connection.

use std::path::{Path, PathBuf};

/// What opens connections, or brings along something that does.
const WAYS: &[&str] = &[
    "TcpStream",
    "TcpSocket",
    "UdpSocket",
    "UnixStream",
    "UnixDatagram",
    "ToSocketAddrs",
    "to_socket_addrs",
    "lookup_host",
    "hyper::client",
    "hyper_util::client",
    "TlsConnector",
    "ClientConnection",
    "reqwest",
    "ureq",
    "default_send_request",
    "inherit_network",
    "allow_tcp",
    "allow_udp",
    "allow_ip_name_lookup",
    "socket_addr_check",
];

/// Where one may stand outside the egress, and why it is none.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "run/store.rs",
        "inherit_network",
        "the switch of a wall, which no default build has",
    ),
    ("run/store.rs", "allow_tcp", "the same"),
    ("run/store.rs", "allow_udp", "the same"),
    ("run/store.rs", "allow_ip_name_lookup", "the same"),
    (
        "selftest/cases/surroundings.rs",
        "UdpSocket",
        "a port of the self-test that nobody may come to",
    ),
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nothing_but_the_egress_opens_a_connection() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 100, "the sources are there");
    let mut egress = 0;
    let mut used = vec![false; EXCEPTIONS.len()];
    let mut wrong = Vec::new();
    for path in files {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        // Tests talk to servers of their own.
        if name.ends_with("tests.rs") || name.contains("/tests/") {
            continue;
        }
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (number, line) in text.lines().enumerate() {
            for way in WAYS.iter().filter(|way| line.contains(**way)) {
                if name.starts_with("egress/") {
                    egress += 1;
                    continue;
                }
                let exception = EXCEPTIONS
                    .iter()
                    .position(|(file, what, _)| *file == name && what == way);
                match exception {
                    Some(at) => used[at] = true,
                    None => wrong.push(format!("{name}:{}: {way}", number + 1)),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a second way out: {wrong:#?}");
    assert!(egress > 0, "the words are those of the egress");
    assert!(used.iter().all(|used| *used), "an exception nobody needs");
}

/// A client among the dependencies would be a way out that no line of ours shows.
#[test]
fn no_other_client_is_among_the_dependencies() {
    let manifest = include_str!("../host/Cargo.toml");
    let features = |name: &str| {
        manifest
            .lines()
            .find(|line| line.starts_with(&format!("{name} =")))
            .unwrap_or_else(|| panic!("{name} is a dependency"))
    };
    let http = features("wasmtime-wasi-http");
    assert!(
        http.contains("default-features = false") && !http.contains("default-send-request"),
        "{http}"
    );
    let lock = include_str!("../Cargo.lock");
    for name in ["reqwest", "ureq", "isahc", "curl", "attohttpc", "surf"] {
        assert!(!lock.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
