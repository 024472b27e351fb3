use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::engine::{Artifact, sample};

fn metadata(table: &serde_json::Value) -> Result<Ask, AskError> {
    Ask::from_metadata(table)
}

fn parse(json: &serde_json::Value) -> Result<Ask, AskError> {
    Ask::parse(json.to_string().as_bytes())
}

#[test]
fn short_and_long_forms_of_metadata() {
    let ask = metadata(&json!({
        "description": "Audits.",
        "dirs": ["/work:ro", {"path": "/out", "access": "rw", "why": "the report"}],
        "env": ["LEVEL", {"name": "MODE", "why": "how"}],
    }))
    .unwrap();
    assert_eq!(ask.description(), Some("Audits."));
    assert_eq!(ask.dirs()[0].path, "/work");
    assert_eq!(ask.dirs()[0].access, Access::ReadOnly);
    assert_eq!(ask.dirs()[1].access, Access::ReadWrite);
    assert_eq!(ask.dirs()[1].why.as_deref(), Some("the report"));
    assert_eq!(ask.env()[0].name, "LEVEL");
    assert!(ask.wants_env("MODE") && !ask.wants_env("mode"));
}

#[test]
fn what_an_ask_does_not_have_is_an_error() {
    for table in [
        json!({"net": []}),
        json!({"dirs": "/work:ro"}),
        json!({"dirs": [{"path": "/w", "access": "ro", "extra": 1}]}),
        json!({"dirs": [{"path": "/w", "access": "write"}]}),
        json!({"dirs": [{"path": "/w"}]}),
        json!({"env": [{"name": "A", "value": "1"}]}),
        json!([]),
    ] {
        let error = metadata(&table).unwrap_err();
        assert!(matches!(error, AskError::Malformed(_)), "{table}: {error}");
    }
    for short in ["/work", "/work:", "/work:RW", "/work:cow", "ro", ""] {
        let error = metadata(&json!({"dirs": [short]})).unwrap_err();
        assert!(matches!(error, AskError::Short(_)), "{short}: {error}");
    }
}

#[test]
fn paths_have_one_form() {
    for path in [
        "work",
        "",
        "./work",
        "/work/",
        "//work",
        "/a//b",
        "/a/./b",
        "/a/../b",
        "/..",
        "/a\0",
        "/a\n",
        "/\u{202e}a",
    ] {
        let error = metadata(&json!({"dirs": [{"path": path, "access": "ro"}]})).unwrap_err();
        assert!(matches!(error, AskError::Path(_)), "{path:?}: {error}");
    }
    for path in ["/", "/work", "/a/b.c/..d", "/mit leer", "/é:x"] {
        metadata(&json!({"dirs": [{"path": path, "access": "ro"}]})).unwrap();
    }
}

#[test]
fn variables_have_names() {
    for name in ["", "1A", "A-B", "A=B", "A B", "Ä", "A\0"] {
        let error = metadata(&json!({"env": [name]})).unwrap_err();
        assert!(matches!(error, AskError::Variable(_)), "{name:?}: {error}");
    }
    metadata(&json!({"env": ["_", "A1", "a_b"]})).unwrap();
}

#[test]
fn nothing_is_asked_for_twice() {
    let twice = json!({"dirs": ["/a:ro", "/b:ro", "/a:rw"]});
    assert_eq!(metadata(&twice), Err(AskError::Twice("/a".into())));
    assert_eq!(
        metadata(&json!({"env": ["A", "A"]})),
        Err(AskError::Twice("A".into()))
    );
}

#[test]
fn texts_cannot_move_the_cursor() {
    for text in [
        "a\u{1b}[2Jb",
        "a\nb",
        "a\u{202e}b",
        &"x".repeat(MAX_TEXT + 1),
    ] {
        let error = metadata(&json!({"description": text})).unwrap_err();
        assert!(matches!(error, AskError::Text(_)));
        assert!(!error.to_string().contains(is_control), "{error:?}");
        let error = metadata(&json!({"env": [{"name": "A", "why": text}]})).unwrap_err();
        assert!(matches!(error, AskError::Text(_)));
    }
}

#[test]
fn the_section_is_strict() {
    parse(&json!({"version": 1})).unwrap();
    for wrong in [
        json!({}),
        json!({"version": "1"}),
        json!({"version": 1, "net": []}),
        json!({"version": 1, "dirs": ["/work:ro"]}),
        json!({"version": 1, "env": ["A"]}),
        json!(1),
    ] {
        let error = parse(&wrong).unwrap_err();
        assert!(matches!(error, AskError::Malformed(_)), "{wrong}: {error}");
    }
    let repeated = br#"{"version":1,"dirs":[],"dirs":[{"path":"/","access":"rw"}]}"#;
    assert!(matches!(Ask::parse(repeated), Err(AskError::Malformed(_))));
    assert!(matches!(
        Ask::parse(b"{\"version\":1} x"),
        Err(AskError::Malformed(_))
    ));
    assert!(matches!(Ask::parse(b"\xff"), Err(AskError::Malformed(_))));
}

#[test]
fn a_later_version_is_called_that() {
    let later = parse(&json!({"version": 2, "hosts": ["example.org"]}));
    assert_eq!(later, Err(AskError::Version { found: 2 }));
    assert!(later.unwrap_err().hint().is_some());
}

#[test]
fn an_ask_is_bounded() {
    let spaces = [b"{\"version\":1}".as_slice(), &[b' '; MAX_BYTES]].concat();
    assert_eq!(
        Ask::parse(&spaces),
        Err(AskError::TooLong { max: MAX_BYTES })
    );
    let many: Vec<_> = (0..=MAX_ENTRIES).map(|n| format!("/d{n}:ro")).collect();
    assert_eq!(
        metadata(&json!({"dirs": many})),
        Err(AskError::TooMany { max: MAX_ENTRIES })
    );
    let deep = "[".repeat(10_000);
    assert!(matches!(
        Ask::parse(deep.as_bytes()),
        Err(AskError::Malformed(_))
    ));
}

#[test]
fn an_ask_for_a_directory_is_one_for_what_is_in_it() {
    let ask = metadata(&json!({"dirs": ["/work:ro", "/work/out:rw"]})).unwrap();
    assert_eq!(ask.access_at("/work"), Some(Access::ReadOnly));
    assert_eq!(ask.access_at("/work/src"), Some(Access::ReadOnly));
    assert_eq!(ask.access_at("/work/out/x"), Some(Access::ReadWrite));
    assert_eq!(ask.access_at("/workshop"), None);
    assert_eq!(ask.access_at("/"), None);
    let all = metadata(&json!({"dirs": ["/:ro"]})).unwrap();
    assert_eq!(all.access_at("/anything"), Some(Access::ReadOnly));
    assert_eq!(all.access_at("/"), Some(Access::ReadOnly));
}

#[test]
fn embedding_replaces_and_changes_nothing_else() {
    let first = metadata(&json!({"description": "first"})).unwrap();
    let second = metadata(&json!({"dirs": ["/work:rw"]})).unwrap();
    let plain = sample::with_section(sample::agent(), "other", b"stays");

    let once = embed(&plain, &first).unwrap();
    assert!(once.starts_with(&plain));
    let artifact = Artifact::from_bytes(once.clone()).unwrap();
    assert_eq!(artifact.ask(), Some(&first));

    let twice = embed(&once, &second).unwrap();
    assert!(twice.starts_with(&plain));
    assert_eq!(Artifact::from_bytes(twice).unwrap().ask(), Some(&second));
    assert_eq!(embed(&once, &first).unwrap(), once);
}

#[test]
fn embedding_into_something_broken_is_an_error() {
    let ask = metadata(&json!({})).unwrap();
    let agent = sample::agent();
    assert!(matches!(
        embed(&agent[..agent.len() - 3], &ask),
        Err(EmbedError::Component(ArtifactProblem::Truncated { .. }))
    ));
    assert!(embed(b"not wasm", &ask).is_err());
}

prop_compose! {
    fn any_ask()(
        description in prop::option::of("[^\\p{C}]{0,40}"),
        dirs in prop::collection::btree_map("(/[a-z.é ]{3,8}){1,4}", any::<(bool, bool)>(), 0..6),
        env in prop::collection::btree_set("[A-Za-z_][A-Za-z0-9_]{0,12}", 0..6),
    ) -> Ask {
        Ask {
            version: VERSION,
            description,
            dirs: dirs
                .into_iter()
                .filter(|(path, _)| is_normal(path))
                .map(|(path, (write, why))| DirAsk {
                    path,
                    access: if write { Access::ReadWrite } else { Access::ReadOnly },
                    why: why.then(|| "because".into()),
                })
                .collect(),
            env: env.into_iter().map(|name| EnvAsk { name, why: None }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn what_is_embedded_is_read_back(ask in any_ask()) {
        let artifact = Artifact::from_bytes(embed(&sample::agent(), &ask).unwrap()).unwrap();
        prop_assert_eq!(artifact.ask(), Some(&ask));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = Ask::parse(&bytes);
    }

    #[test]
    fn what_is_read_is_written_the_same(text in r#"\{"version":1(,"env":\[(\{"name":"[A-Z]{1,3}"\})?\])?\}"#) {
        let ask = Ask::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(Ask::parse(&ask.to_section().unwrap()).unwrap(), ask);
    }
}
