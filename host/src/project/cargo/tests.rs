use serde_json::json;

use super::*;
use crate::error::Hint as _;

/// `cargo metadata` of a workspace in `/w` whose packages are folders of it.
fn metadata(packages: &[(&str, serde_json::Value, serde_json::Value)]) -> Metadata {
    let ids: Vec<_> = packages.iter().map(|package| package.0).collect();
    let packages: Vec<_> = packages
        .iter()
        .map(|(name, targets, metadata)| {
            json!({
                "name": name, "id": name, "manifest_path": format!("/w/{name}/Cargo.toml"),
                "targets": targets, "metadata": metadata, "future": [],
            })
        })
        .collect();
    serde_json::from_value(json!({
        "packages": packages, "workspace_members": ids, "target_directory": "/w/target", "workspace_root": "/w",
        "workspace_default_members": ids,
    }))
    .unwrap()
}

fn library(name: &str) -> serde_json::Value {
    json!({"name": name, "kind": ["cdylib", "rlib"], "crate_types": ["cdylib", "rlib"]})
}

fn program(name: &str) -> serde_json::Value {
    json!({"name": name, "kind": ["bin"], "crate_types": ["bin"]})
}

fn other(name: &str, kind: &str) -> serde_json::Value {
    json!({"name": name, "kind": [kind], "crate_types": [kind]})
}

fn choose(metadata: &Metadata) -> Result<String, BuildError> {
    let candidate = metadata.choose(Path::new("/w"))?;
    Ok(format!("{} = {candidate}", candidate.name()))
}

#[test]
fn the_only_candidate_is_the_agent() {
    let project = metadata(&[
        (
            "my-agent",
            json!([library("my_agent"), other("t", "test")]),
            json!(null),
        ),
        (
            "helper",
            json!([other("helper", "lib"), other("build", "custom-build")]),
            json!(null),
        ),
        (
            "macros",
            json!([other("macros", "proc-macro")]),
            json!(null),
        ),
    ]);
    assert_eq!(
        choose(&project).unwrap(),
        "my-agent = library `my_agent` of package `my-agent`"
    );
    let project = metadata(&[("tool", json!([program("prog")]), json!({"wasm-agent": {}}))]);
    assert_eq!(
        choose(&project).unwrap(),
        "prog = program `prog` of package `tool`"
    );
}

/// Such as this project's own workspace.
#[test]
fn a_program_of_a_workspace_is_an_agent_only_when_something_says_so() {
    let plain = ("host", json!([program("host")]), json!(null));
    let error = choose(&metadata(std::slice::from_ref(&plain))).unwrap_err();
    assert!(matches!(error, BuildError::NoAgent { .. }), "{error:?}");
    assert!(error.to_string().contains("program `host`"), "{error}");
    assert!(error.hint().unwrap().contains("wasm-agent-sdk"));

    let agent = ("agent", json!([library("agent")]), json!(null));
    let chosen = choose(&metadata(&[plain.clone(), agent])).unwrap();
    assert!(chosen.starts_with("agent = library"), "{chosen}");

    let mut both = metadata(&[plain, ("speaks", json!([program("speaks")]), json!(null))]);
    both.packages[1].dependencies.push(Dependency {
        name: SDK.to_owned(),
        path: None,
    });
    let chosen = choose(&both).unwrap();
    assert!(chosen.starts_with("speaks = program"), "{chosen}");
}

#[test]
fn several_candidates_are_listed() {
    let project = metadata(&[
        ("a", json!([library("a")]), json!(null)),
        ("b", json!([library("b"), program("b")]), json!(null)),
    ]);
    let error = choose(&project).unwrap_err();
    let BuildError::Ambiguous { candidates, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(candidates.len(), 3);
    assert!(error.hint().unwrap().contains("component ="));

    let none = metadata(&[("a", json!([other("a", "lib")]), json!(null))]);
    let error = choose(&none).unwrap_err();
    assert!(matches!(error, BuildError::NothingToBuild { .. }));
    assert!(error.hint().unwrap().contains("cdylib"));
}

#[test]
fn a_package_can_choose() {
    let both = json!([library("my_agent"), program("other")]);
    for wanted in ["my-agent", "my_agent"] {
        let metadata = metadata(&[(
            "my-agent",
            both.clone(),
            json!({"wasm-agent": {"component": wanted}}),
        )]);
        assert!(choose(&metadata).unwrap().starts_with("my-agent = library"));
    }
    let metadata = metadata(&[("my-agent", both, json!({"wasm-agent": {"component": "x"}}))]);
    let error = choose(&metadata).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("no component `x`") && text.contains("program `other`"),
        "{text}"
    );
}

#[test]
fn unknown_settings_are_errors() {
    for settings in [json!({"asks": {}}), json!({"component": 1}), json!("text")] {
        let metadata = metadata(&[("a", json!([library("a")]), json!({"wasm-agent": settings}))]);
        let error = choose(&metadata).unwrap_err();
        assert!(matches!(error, BuildError::Settings { .. }), "{error:?}");
    }
    // What other tools keep there is theirs.
    let metadata = metadata(&[("a", json!([library("a")]), json!({"other": {"x": 1}}))]);
    choose(&metadata).unwrap();
}

/// The tools are scripts that say what the test wants to hear.
#[cfg(unix)]
mod scripted {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Scripts(tempfile::TempDir);

    impl Scripts {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn script(&self, name: &str, body: &str) {
            let path = self.path(name);
            // Written under another name: a file still open for writing cannot be executed.
            let draft = self.path("draft");
            std::fs::write(&draft, format!("#!/bin/sh\n{body}\n")).unwrap();
            std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&draft, path).unwrap();
        }

        fn tools(&self) -> Tools {
            Tools {
                dir: self.0.path().to_owned(),
                cargo: self.path("cargo").into(),
                rustc: self.path("rustc").into(),
                rustup: self.path("rustup").into(),
            }
        }

        fn target_folder(&self) -> PathBuf {
            self.path("sysroot/lib/rustlib").join(TARGET)
        }

        /// The result of asking for the target, and what was said about it.
        fn ensure_target(&self) -> (Result<bool, BuildError>, Vec<BuildEvent>) {
            let mut events = Vec::new();
            let sysroot = self.path("sysroot");
            self.script("rustc", &format!("echo '{}'", sysroot.display()));
            let result = self.tools().ensure_target(&mut |event| events.push(event));
            (result, events)
        }
    }

    #[test]
    fn a_target_that_is_there_is_not_added() {
        let scripts = Scripts::new();
        std::fs::create_dir_all(scripts.target_folder()).unwrap();
        let (result, events) = scripts.ensure_target();
        assert!(!result.unwrap());
        assert_eq!(events, []);
    }

    #[test]
    fn a_missing_target_is_added_and_said_so() {
        let scripts = Scripts::new();
        let folder = scripts.target_folder();
        scripts.script(
            "rustup",
            &format!(
                "[ \"$*\" = 'target add wasm32-wasip2' ] && mkdir -p '{}'",
                folder.display()
            ),
        );
        let (result, events) = scripts.ensure_target();
        assert!(result.unwrap());
        assert_eq!(events, [BuildEvent::AddingTarget { target: TARGET }]);
    }

    #[test]
    fn a_target_that_cannot_be_added_is_an_error() {
        let scripts = Scripts::new();
        let (result, _) = scripts.ensure_target();
        let error = result.unwrap_err();
        assert!(
            matches!(error, BuildError::NoTarget),
            "without rustup: {error:?}"
        );
        assert!(error.hint().unwrap().contains("rustup target add"));

        scripts.script("rustup", "exit 3");
        let (result, _) = scripts.ensure_target();
        let error = result.unwrap_err();
        assert!(
            matches!(&error, BuildError::AddTarget { status } if status.code() == Some(3)),
            "{error:?}"
        );

        // rustup looks after another compiler than the one in use.
        scripts.script("rustup", "exit 0");
        let (result, _) = scripts.ensure_target();
        assert!(matches!(result.unwrap_err(), BuildError::NoTarget));
    }

    #[test]
    fn the_rust_flags_of_the_environment_stay_out() {
        let scripts = Scripts::new();
        let tools = scripts.tools();
        let command = tools.command(&tools.cargo, &[]);
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            assert!(
                command
                    .get_envs()
                    .any(|(name, value)| name == variable && value.is_none())
            );
        }
        let kept = |variable: &str| command.get_envs().all(|(name, _)| name != variable);
        assert!(kept("CARGO_TARGET_DIR"));
    }

    fn compile(body: &str) -> (Result<Compiled, BuildError>, Vec<BuildEvent>) {
        let scripts = Scripts::new();
        scripts.script("cargo", body);
        let metadata = metadata(&[("my-agent", json!([library("my_agent")]), json!(null))]);
        let candidate = metadata.choose(Path::new("/w")).unwrap();
        let mut events = Vec::new();
        let result = scripts
            .tools()
            .compile(&candidate, &mut |event| events.push(event));
        (result, events)
    }

    #[test]
    fn of_what_cargo_made_the_candidate_is_taken() {
        let made = |package: &str, name: &str, file: &str, fresh: bool| {
            json!({
                "reason": "compiler-artifact", "package_id": package, "fresh": fresh,
                "target": library(name), "filenames": [format!("/t/{file}.rlib"), format!("/t/{file}.wasm")],
            })
        };
        let messages = |fresh| {
            format!(
                "cat <<'END'\n{}\nnot json\n{}\n{}\n{}\nEND",
                json!({"reason": "build-script-executed", "package_id": "dep"}),
                made("dep", "my_agent", "wrong", true),
                made("my-agent", "my_agent", "right", fresh),
                json!({"reason": "build-finished", "success": true}),
            )
        };
        let (result, events) = compile(&messages(true));
        let compiled = result.unwrap();
        assert_eq!(compiled.path, Path::new("/t/right.wasm"));
        assert_eq!(compiled.freshness, Freshness::Fresh);
        assert_eq!(events, []);

        let (result, events) = compile(&messages(false));
        assert_eq!(result.unwrap().freshness, Freshness::Changed);
        let name = "my_agent".into();
        assert_eq!(events, [BuildEvent::Compiled { name }]);
    }

    #[test]
    fn a_cargo_that_fails_or_makes_nothing_is_an_error() {
        let (result, _) = compile("exit 101");
        assert!(
            matches!(result, Err(BuildError::Failed { status, .. }) if status.code() == Some(101))
        );
        let (result, _) = compile("exit 0");
        assert!(matches!(result, Err(BuildError::NoOutput { .. })));
    }

    #[test]
    fn without_cargo_the_hint_says_where_to_get_it() {
        let error = Scripts::new().tools().metadata().map(drop).unwrap_err();
        assert!(matches!(error, BuildError::Tool { .. }));
        assert!(error.hint().unwrap().contains("rustup.rs"));
    }
}

#[test]
fn what_was_compiled_is_noted_beside_it() {
    let text = "/w/target/x.wasm: /w/src/lib.rs /w/a\\ b/data.txt\n\n/w/other: /w/build.rs\n";
    let paths = ["/w/src/lib.rs", "/w/a b/data.txt", "/w/build.rs"].map(PathBuf::from);
    assert_eq!(dependencies(text), paths);
    assert!(dependencies("nothing").is_empty());
}
