//! Agent projects on disk, as `run` and `build` take them.

use crate::harness::Lab;

const MANIFEST: &str = r#"
[package]
name = "broken"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]

[workspace]
"#;

#[test]
fn the_compilers_own_message_is_shown() {
    let lab = Lab::new();
    lab.file("broken/Cargo.toml", MANIFEST);
    lab.file(
        "broken/src/lib.rs",
        "pub fn run() -> u32 { \"not a number\" }\n",
    );
    for args in [
        &["run", "broken"][..],
        &["build", "broken"],
        &["describe", "--build", "broken"],
    ] {
        let done = lab.call(args).toolchain().done().exits_with(2);
        let error = done.stderr();
        assert!(
            error.contains("error[E0308]: mismatched types"),
            "{}",
            done.shown()
        );
        assert!(error.contains("src/lib.rs:1:23"), "{}", done.shown());
    }
    assert!(lab.accounts().is_empty(), "nothing was run");
}

#[test]
fn a_project_that_is_no_agent_is_told_apart() {
    let lab = Lab::new();
    lab.file("broken/Cargo.toml", MANIFEST);
    lab.file("broken/src/lib.rs", "pub fn run() {}\n");
    let done = lab
        .call(["run", "broken", "x"])
        .toolchain()
        .done()
        .exits_with(2);
    assert!(
        done.stderr().contains("it is not an agent"),
        "{}",
        done.shown()
    );
}

#[test]
fn a_manifest_that_is_no_manifest() {
    let lab = Lab::new();
    lab.file("broken/Cargo.toml", "this is not TOML");
    let done = lab
        .call(["run", "broken", "x"])
        .toolchain()
        .done()
        .exits_with(2);
    assert!(done.stderr().contains("Cargo.toml"), "{}", done.shown());
}

#[test]
fn without_a_toolchain_it_says_what_is_missing() {
    let lab = Lab::new();
    lab.file("broken/Cargo.toml", MANIFEST);
    lab.file("broken/src/lib.rs", "pub fn run() {}\n");
    let call = lab
        .call(["run", "broken", "x"])
        .env("PATH", lab.folder("empty"));
    let done = call.done().exits_with(2);
    assert!(done.stderr().contains("cargo"), "{}", done.shown());
    assert!(done.stderr().contains("hint: "), "{}", done.shown());
}
