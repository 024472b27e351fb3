//! Compiles every guest of `tests/guests` to a component and writes down where it is.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a build script says what is wrong by failing"
)]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let root = manifest
        .join("../..")
        .canonicalize()
        .expect("the workspace is there");
    let guests = root.join("tests/guests");
    for watched in [
        "tests/guests/src",
        "tests/guests/Cargo.toml",
        "tests/guests/Cargo.lock",
    ] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    for watched in ["guest-sdk/src", "guest-sdk/Cargo.toml", "wit"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }

    let target_dir = guests_target_dir(&out);
    compile(&guests, &target_dir);

    let release = target_dir.join(TARGET).join("release");
    let mut code = String::new();
    let mut all = String::new();
    for name in names(&guests.join("src")) {
        // A guest is a library in the shape of an example, or a program; cargo puts them apart.
        let path = [release.join("examples"), release.clone()]
            .into_iter()
            .map(|dir| dir.join(format!("{name}.wasm")))
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("guest `{name}` is not declared in tests/guests/Cargo.toml"));
        let constant = name.to_uppercase();
        let _ = writeln!(
            code,
            "/// The guest `{name}`.\npub const {constant}: &str = {path:?};"
        );
        let _ = writeln!(all, "        $mac!({name});");
    }
    let _ = writeln!(
        code,
        "/// Calls a macro with the name of each guest.\n\
         #[macro_export]\nmacro_rules! foreach_guest {{\n    ($mac:ident) => {{\n{all}    }};\n}}"
    );
    fs::write(out.join("guests.rs"), code).expect("OUT_DIR can be written");
}

/// Guests are compiled into a folder of their own beside the profiles, so that all profiles share them.
fn guests_target_dir(out: &Path) -> PathBuf {
    // OUT_DIR is <target>/<profile>/build/<package>/out.
    out.ancestors()
        .nth(4)
        .expect("OUT_DIR has the depth cargo gives it")
        .join("guests")
}

fn compile(guests: &Path, target_dir: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        // What this build sets for itself must not reach the other one; the job server may.
        let leaks = text.starts_with("CARGO_") && text != "CARGO_HOME" && text != "CARGO_MAKEFLAGS";
        if leaks || text.contains("RUSTFLAGS") || text.starts_with("RUSTC") {
            cargo.env_remove(&name);
        }
    }
    let status = cargo
        .current_dir(guests)
        .args([
            "build",
            "--locked",
            "--release",
            "--examples",
            "--bins",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(target_dir)
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the guests do not compile");
}

fn names(sources: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(sources)
        .expect("the guests are there")
        .map(|entry| entry.expect("the guests can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}
