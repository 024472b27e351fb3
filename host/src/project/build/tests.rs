use std::fs;

use super::*;
use crate::engine::AgentKind;

fn build_quietly(dir: &Path) -> (Result<Built, BuildError>, Vec<BuildEvent>) {
    let mut events = Vec::new();
    let built = build(dir, &mut |event| events.push(event));
    (built, events)
}

#[test]
fn a_folder_without_a_manifest_is_no_project() {
    let folder = tempfile::tempdir().unwrap();
    let error = build_quietly(folder.path()).0.unwrap_err();
    assert!(matches!(error, BuildError::NoProject { .. }));
    assert!(error.hint().unwrap().contains("wasm-agent new"));
}

/// Runs the real cargo, on a program that needs nothing but the standard library.
#[test]
fn a_program_becomes_a_component_with_its_ask() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let manifest = r#"
        [package]
        name = "tiny-agent"
        edition = "2024"
        [workspace]
        [package.metadata.wasm-agent.ask]
        dirs = ["/work:ro"]
        env = ["LEVEL"]
    "#;
    fs::create_dir(dir.join("src")).unwrap();
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    fs::write(dir.join("src/main.rs"), "fn main() {}").unwrap();

    let (built, events) = build_quietly(dir);
    let built = built.unwrap();
    assert_eq!(built.name, "tiny-agent");
    assert_eq!(built.freshness, Freshness::Changed);
    assert_eq!(built.artifact.kind(), AgentKind::Command);
    let path = built.artifact.path().unwrap();
    assert!(path.ends_with("wasm-agent/tiny-agent.wasm"), "{path:?}");
    let ask = built.artifact.ask().unwrap();
    assert_eq!(ask.dirs()[0].path, "/work");
    assert!(ask.wants_env("LEVEL"));
    assert!(events.contains(&BuildEvent::Compiled {
        name: "tiny-agent".into()
    }));

    let (again, events) = build_quietly(dir);
    let again = again.unwrap();
    assert_eq!(again.freshness, Freshness::Fresh);
    assert_eq!(again.artifact.digest(), built.artifact.digest());
    assert_eq!(events, []);

    // A new ask is a new component, though there is nothing to compile.
    fs::write(
        dir.join("Cargo.toml"),
        manifest.replace("/work:ro", "/work:rw"),
    )
    .unwrap();
    let changed = build_quietly(dir).0.unwrap();
    assert_eq!(changed.freshness, Freshness::Changed);
    assert_ne!(changed.artifact.digest(), built.artifact.digest());

    // An ask that is none is found before anything is compiled.
    fs::write(dir.join("Cargo.toml"), manifest.replace("/work:ro", "work")).unwrap();
    let error = build_quietly(dir).0.unwrap_err();
    assert!(matches!(error, BuildError::Ask { .. }), "{error:?}");

    fs::write(dir.join("Cargo.toml"), "[package").unwrap();
    let error = build_quietly(dir).0.unwrap_err();
    assert!(matches!(error, BuildError::Metadata { .. }), "{error:?}");
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("out");
    let path = dir.join("a.wasm");
    assert_eq!(
        write_if_changed(&dir, &path, b"1").unwrap(),
        Freshness::Changed
    );
    assert_eq!(
        write_if_changed(&dir, &path, b"1").unwrap(),
        Freshness::Fresh
    );
    assert_eq!(
        write_if_changed(&dir, &path, b"2").unwrap(),
        Freshness::Changed
    );
    assert_eq!(fs::read(&path).unwrap(), b"2");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}
