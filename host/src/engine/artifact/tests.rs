use proptest::prelude::*;

use super::*;
use crate::engine::outline::{MAX_ITEMS, MAX_NAME};
use crate::engine::sample;
use crate::grants::ask::SECTION;

fn problem(bytes: &[u8]) -> ArtifactProblem {
    Artifact::from_bytes(bytes).unwrap_err().problem
}

#[test]
fn an_agent_is_recognised() {
    let bytes = sample::component(&["wasi:io/poll@0.2.6"], &["describe", "run"]);
    let artifact = Artifact::from_bytes(bytes.clone()).unwrap();
    assert_eq!(artifact.kind(), AgentKind::Agent);
    assert_eq!(artifact.digest(), Digest::of(&bytes));
    assert_eq!(artifact.imports()[0].name, "wasi:io/poll@0.2.6");
    assert_eq!(artifact.imports()[0].kind, ItemKind::Interface);
    assert_eq!(artifact.exports().len(), 2);
    assert_eq!(artifact.ask(), None);
}

#[test]
fn a_command_is_recognised_in_any_release_of_wasi_0_2() {
    for version in ["0.2.0", "0.2.6", "0.2.12"] {
        let bytes = sample::exporting_instance(&format!("wasi:cli/run@{version}"));
        assert_eq!(
            Artifact::from_bytes(bytes).unwrap().kind(),
            AgentKind::Command
        );
    }
    for name in [
        "wasi:cli/run@0.3.0",
        "wasi:cli/run@0.2.0-rc.1",
        "wasi:cli/run@0.2",
        "wasi:cli/run",
        "wasi:cli/running@0.2.0",
        "other:cli/run@0.2.0",
    ] {
        let problem = problem(&sample::exporting_instance(name));
        let ArtifactProblem::NoEntryPoint { exports } = &problem else {
            panic!("{name}: {problem:?}");
        };
        assert_eq!(exports[0].name, name);
        assert!(problem.to_string().contains(name));
        assert!(problem.hint().is_some());
    }
}

#[test]
fn one_of_the_two_functions_is_not_enough() {
    for functions in [&["run"][..], &["describe"], &[]] {
        let problem = problem(&sample::component(&[], functions));
        assert!(matches!(problem, ArtifactProblem::NoEntryPoint { .. }));
    }
}

#[test]
fn long_lists_of_exports_are_cut_in_messages() {
    let names: Vec<_> = (0..20).map(|n| format!("f{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let text = problem(&sample::component(&[], &names)).to_string();
    assert!(text.contains("`f7` and 12 more"), "{text}");
}

#[test]
fn what_is_not_a_component_is_called_by_its_name() {
    assert!(matches!(problem(b""), ArtifactProblem::Empty));
    assert!(matches!(
        problem(b"\0a"),
        ArtifactProblem::Truncated { at: 2 }
    ));
    assert!(matches!(problem(b"  (component)"), ArtifactProblem::Text));
    assert!(matches!(
        problem(b";; text\n(module)"),
        ArtifactProblem::Text
    ));
    assert!(matches!(
        problem(b"\x7fELF\x02\x01"),
        ArtifactProblem::Precompiled
    ));
    assert!(matches!(problem(b"PK\x03\x04"), ArtifactProblem::NotWasm));
    let core = sample::module().finish();
    assert!(matches!(problem(&core), ArtifactProblem::CoreModule));
    assert!(
        ArtifactProblem::CoreModule
            .hint()
            .unwrap()
            .contains("wasm32-wasip2")
    );
    // A version of the binary format from the future.
    let future = problem(b"\0asm\xff\0\x01\0");
    assert!(
        matches!(future, ArtifactProblem::Malformed(_)),
        "{future:?}"
    );
}

#[test]
fn a_component_cut_short_is_called_incomplete() {
    let whole = sample::agent();
    let mut truncated = 0;
    for len in 4..whole.len() {
        match problem(&whole[..len]) {
            ArtifactProblem::Truncated { at } => {
                assert_eq!(at, len);
                truncated += 1;
            }
            // Between two sections a shorter component ends, and lacks what would have followed.
            ArtifactProblem::NoEntryPoint { .. } => {}
            other => panic!("{len} bytes: {other:?}"),
        }
    }
    assert!(truncated > whole.len() / 2);
}

#[test]
fn names_that_could_move_the_cursor_are_refused() {
    let bytes = sample::component(&["wasi:io/poll@0.2.0\u{1b}[2J"], &["describe", "run"]);
    assert!(matches!(problem(&bytes), ArtifactProblem::BadName));
    let bytes = sample::component(&[&"a".repeat(MAX_NAME + 1)], &["describe", "run"]);
    assert!(matches!(problem(&bytes), ArtifactProblem::BadName));
}

#[test]
fn the_number_of_imports_is_bounded() {
    let names: Vec<_> = (0..=MAX_ITEMS).map(|n| format!("a{n}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let bytes = sample::component(&names, &["describe", "run"]);
    assert!(matches!(
        problem(&bytes),
        ArtifactProblem::TooManyItems { max: MAX_ITEMS }
    ));
}

#[test]
fn a_broken_ask_is_an_error_and_two_are_too() {
    let ask = br#"{"version":1,"description":"x"}"#;
    let one = sample::with_section(sample::agent(), SECTION, ask);
    let artifact = Artifact::from_bytes(one.clone()).unwrap();
    assert_eq!(artifact.ask().unwrap().description(), Some("x"));
    let two = sample::with_section(one, SECTION, ask);
    assert!(matches!(
        problem(&two),
        ArtifactProblem::Ask(AskError::Repeated)
    ));
    let broken = sample::with_section(sample::agent(), SECTION, b"{}");
    assert!(matches!(
        problem(&broken),
        ArtifactProblem::Ask(AskError::Malformed(_))
    ));
}

#[test]
fn files_are_read_once_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.wasm");
    let open = |max| Artifact::open(&path, max);

    let error = open(MAX_ARTIFACT).unwrap_err();
    assert!(
        matches!(&error.problem, ArtifactProblem::Io(why) if why.kind() == io::ErrorKind::NotFound)
    );
    assert!(error.hint().unwrap().contains("wasm-agent new"));
    assert!(error.to_string().contains("agent.wasm"));

    let bytes = sample::agent();
    std::fs::write(&path, &bytes).unwrap();
    let len = bytes.len() as u64;
    let artifact = open(len).unwrap();
    assert_eq!(artifact.path(), Some(path.as_path()));
    assert_eq!(artifact.bytes(), bytes);
    let error = open(len - 1).unwrap_err();
    assert!(matches!(error.problem, ArtifactProblem::TooLarge { max } if max == len - 1));

    let error = Artifact::open(folder.path(), MAX_ARTIFACT).unwrap_err();
    assert!(matches!(error.problem, ArtifactProblem::Directory));
}

#[cfg(unix)]
#[test]
fn a_fifo_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let error = Artifact::open(&path, MAX_ARTIFACT).unwrap_err();
    assert!(matches!(error.problem, ArtifactProblem::NotAFile));
}

/// 200 MB, none of them on the disk.
#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(200 << 20).unwrap();
    let error = Artifact::open(file.path(), MAX_ARTIFACT).unwrap_err();
    assert!(matches!(
        error.problem,
        ArtifactProblem::TooLarge { max: MAX_ARTIFACT }
    ));
}

#[test]
fn tracks_are_those_of_the_linker() {
    let on_track = |version: &str, major, minor| {
        let item = Item {
            name: format!("a:b/c@{version}"),
            kind: ItemKind::Interface,
        };
        item.interface().unwrap().on_track(major, minor)
    };
    assert!(on_track("0.2.0", 0, 2));
    assert!(on_track("0.2.99", 0, 2));
    assert!(!on_track("0.20.0", 0, 2));
    assert!(!on_track("0.2.0-rc", 0, 2));
    assert!(!on_track("0.2", 0, 2));
    assert!(!on_track("0.2.0.0", 0, 2));
    assert!(!on_track("", 0, 2));
    assert!(on_track("0.1.4", 0, 1));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Artifact::from_bytes(bytes);
    }

    #[test]
    fn no_body_of_a_component_panics(body: Vec<u8>) {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        bytes.extend(body);
        let _ = Artifact::from_bytes(bytes);
    }

    #[test]
    fn no_change_of_a_component_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = sample::with_section(
            sample::component(&["wasi:io/poll@0.2.6"], &["describe", "run"]),
            "producers",
            b"\x01\x08language\x01\x04Rust\x00",
        );
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(artifact) = Artifact::from_bytes(bytes) {
            let _ = crate::engine::Inspection::of(&artifact).rows();
        }
    }
}
