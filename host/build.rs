//! Compiles the hostile guests of `wasm-agent selftest` and puts them into the binary, so that an installed
//! one can test itself.
//!
//! A build never fails here: where the guests cannot be compiled, the binary carries the reason instead, and
//! `selftest` prints it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// Names of the guests, and where cargo puts each below `<target>/release`.
const GUESTS: [(&str, &str); 4] = [
    ("ESCAPE", "escape.wasm"),
    ("STDIO", "stdio.wasm"),
    ("DESCRIBE", "examples/describe.wasm"),
    ("HTTP", "examples/http.wasm"),
];

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let escape = manifest.join("../tests/escape");
    for watched in ["src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", escape.join(watched).display());
    }
    for watched in ["../guest-sdk/src", "../guest-sdk/Cargo.toml", "../wit"] {
        println!(
            "cargo:rerun-if-changed={}",
            manifest.join(watched).display()
        );
    }
    println!("cargo:rerun-if-changed=build.rs");

    let mut code = String::new();
    match compile(&escape, &out) {
        Ok(release) => {
            code.push_str("pub(super) const MISSING: Option<&str> = None;\n");
            for (name, path) in GUESTS {
                // Cargo may change its own folders while the compiler reads: a copy stays as it is.
                let copy = out.join(format!("{name}.wasm"));
                fs::copy(release.join(path), &copy)?;
                let line = format!("pub(super) const {name}: &[u8] = include_bytes!({copy:?});\n");
                code.push_str(&line);
            }
        }
        Err(reason) => {
            code.push_str(&format!(
                "pub(super) const MISSING: Option<&str> = Some({reason:?});\n"
            ));
            for (name, _) in GUESTS {
                code.push_str(&format!("pub(super) const {name}: &[u8] = &[];\n"));
            }
        }
    }
    fs::write(out.join("escape.rs"), code)
}

/// The folder the guests were compiled to, or why there is none.
fn compile(escape: &Path, out: &Path) -> Result<PathBuf, String> {
    if !escape.join("Cargo.toml").is_file() {
        return Err(
            "it was built without the sources of its hostile guests (tests/escape)".to_owned(),
        );
    }
    let sysroot = sysroot().ok_or("the compiler does not say where its targets are")?;
    let target = sysroot.join("lib/rustlib").join(TARGET);
    // A path that does not exist yet makes cargo come back here once it does.
    println!("cargo:rerun-if-changed={}", target.display());
    if !target.is_dir() {
        return Err(format!(
            "it was built where the target {TARGET} is not installed"
        ));
    }
    let target_dir = out.join("guests");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    clean(&mut cargo);
    let output = cargo
        .current_dir(escape)
        .args([
            "build",
            "--locked",
            "--release",
            "--lib",
            "--bins",
            "--examples",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .output()
        .map_err(|error| format!("its hostile guests could not be compiled: {error}"))?;
    if output.status.success() {
        return Ok(target_dir.join(TARGET).join("release"));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    for line in stderr
        .lines()
        .rev()
        .take(20)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        println!("cargo:warning=tests/escape: {line}");
    }
    let last = stderr
        .lines()
        .rfind(|line| line.starts_with("error"))
        .unwrap_or("see the build's output");
    Err(format!("its hostile guests did not compile: {last}"))
}

/// What this build sets for itself must not reach the other one; the job server may.
fn clean(cargo: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let leaks = text.starts_with("CARGO_") && text != "CARGO_HOME" && text != "CARGO_MAKEFLAGS";
        if leaks || text.contains("RUSTFLAGS") || text.starts_with("RUSTC") {
            cargo.env_remove(&name);
        }
    }
}

fn sysroot() -> Option<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}
