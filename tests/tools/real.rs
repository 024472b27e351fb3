//! Servers other people have written, from npm and PyPI. Where there is no Node, no Python or no registry,
//! the tests say so and pass: everything they show is shown with a server of ours, too.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{calls, guest, told};
use crate::harness::{Lab, skipped};

/// The versions that are tried. Newer ones may do other things.
const EVERYTHING: &str = "@modelcontextprotocol/server-everything@2026.8.31";
const TIME: [&str; 2] = ["mcp-server-time==2026.10.19", "mcp==2.3.0"];

/// A folder that is kept from one time to the next, filled by `install` once.
fn installed(name: &str, install: impl FnOnce(&Path) -> Command) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let done = dir.join("installed");
    if !done.exists() {
        std::fs::create_dir_all(&dir).unwrap();
        let output = match install(&dir).output() {
            Ok(output) => output,
            Err(error) => {
                skipped(&format!("{name} cannot be installed: {error}"));
                return None;
            }
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            skipped(&format!("{name} cannot be installed: {said}"));
            return None;
        }
        std::fs::write(done, "").unwrap();
    }
    Some(dir)
}

#[test]
fn the_reference_server_from_npm() {
    let install = |dir: &Path| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--prefix"]);
        npm.arg(dir).arg(EVERYTHING);
        npm
    };
    let Some(dir) = installed("npm-everything", install) else {
        return;
    };
    let lab = Lab::new();
    let mut steps = calls(&[
        ("every__echo", json!({"message": "hello"})),
        ("every__get-sum", json!({"a": 2, "b": 40})),
        ("every__get-sum", json!({"a": "two"})),
        ("every__get-tiny-image", json!({})),
        (
            "every__get-structured-content",
            json!({"location": "New York"}),
        ),
    ]);
    steps.extend([
        json!({"resources": ["every"]}),
        json!({"prompts": ["every"]}),
    ]);
    let index = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let command = format!("node {} stdio", dir.join(index).display());
    let done = guest(&lab, &steps)
        .args(["--mcp".to_owned(), format!("every={command}")])
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .done()
        .exits_with(0);
    let told = told(&done);
    assert_eq!(told[0], json!(["ok", "Echo: hello"]));
    assert!(told[1][1].as_str().unwrap().contains("42"), "{told:?}");
    assert_eq!(told[2][0], "invalid-arguments");
    let image = told[3].as_array().unwrap();
    assert!(image.contains(&json!("an image")), "{told:?}");
    assert!(
        told[4].as_array().unwrap().last().unwrap().is_object(),
        "{told:?}"
    );
    assert!(!told[5].as_array().unwrap().is_empty());
    assert!(!told[6].as_array().unwrap().is_empty());
    let account = lab.account();
    let servers = &account.only("agent_started")["avp.mcp_servers"];
    assert_eq!(servers[0]["status"], "connected");
}

#[test]
fn a_server_from_pypi() {
    let install = |dir: &Path| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "-q", "--target"]);
        pip.arg(dir.join("site")).args(TIME);
        pip
    };
    let Some(dir) = installed("pypi-time", install) else {
        return;
    };
    let lab = Lab::new();
    let convert =
        json!({"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"});
    let steps = calls(&[("time__convert_time", convert)]);
    let site = dir.join("site").display().to_string();
    // Between the two, somebody who writes down what is asked.
    let program = "python3 -m mcp_server_time --local-timezone UTC";
    let asked = lab.arg("asked");
    let script = format!("#!/bin/sh\ntee {asked} | PYTHONPATH={site} {program}\n");
    let command = format!("sh {}", lab.file("server.sh", script));
    let done = guest(&lab, &steps)
        .args(["--mcp".to_owned(), format!("time={command}")])
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .done()
        .exits_with(0);
    let told = told(&done).remove(0);
    assert_eq!(told[0], "ok");
    assert!(told.to_string().contains("21:00"), "{told}");
    // It speaks the newest protocol.
    let asked = std::fs::read_to_string(lab.path("asked")).unwrap();
    assert!(asked.contains("server/discover"), "{asked}");
    assert!(!asked.contains("\"initialize\""), "{asked}");
}
