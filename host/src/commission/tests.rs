use proptest::prelude::*;

use super::*;

const MINIMAL: &str = r#"{"schema_version":"0.1","run_id":"r1","model":"anthropic/claude"}"#;

fn parse(text: &str) -> Result<Commission, CommissionError> {
    Commission::parse(text.as_bytes())
}

/// The minimal commission with one more member.
fn with(member: &str) -> Result<Commission, CommissionError> {
    parse(&format!("{},{member}}}", &MINIMAL[..MINIMAL.len() - 1]))
}

fn field(result: Result<Commission, CommissionError>) -> String {
    match result {
        Err(CommissionError::Field { path, .. }) => path,
        other => panic!("expected a field error, got {other:?}"),
    }
}

#[test]
fn everything_avp_allows_is_read() {
    let text = r#"{
        "schema_version": "0.1", "run_id": "r1", "model": "openai/gpt/4o",
        "supervisor": {"name": "acme", "version": "1"},
        "provider": {"id": "openrouter", "base_url": "https://x", "credential": {"vault": "key_1"}},
        "mcp_servers": [
            {"id": "a", "type": "http", "url": "https://a", "headers": {"x": "y"}, "auth": {"vault": "h"}},
            {"type": "stdio", "id": "b", "command": ["uv", "run"], "args": null, "env": {"K": "V"}}],
        "skills": [{"id": "s", "files": {"SKILL.md": "---\nname: Tidy \ndescription: 'Keeps order'\n---\nbody", "a/b.txt": ""}}],
        "enabled_builtin_tools": {"me": []}, "enabled_builtin_subagents": null,
        "enabled_builtin_skills": {"me": ["x"]}, "enabled_builtin_mcp_servers": {},
        "agent_versions": {"me": "1"}, "output_schema": {"type": "object", "maximum": 1.50e3},
        "prompt": "do", "system_prompt": null, "thread_id": "t", "tags": ["a"], "meta": {"n": 12345678901234567890123}
    }"#;
    let commission = parse(text).unwrap();
    let body = commission.body();
    assert_eq!(body.model, "openai/gpt/4o");
    assert_eq!(
        body.mcp_servers
            .iter()
            .map(McpServer::id)
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(body.skills[0].name(), Some("Tidy"));
    assert_eq!(body.skills[0].description(), Some("Keeps order"));
    assert_eq!(
        body.enabled_builtin_tools.as_ref().unwrap()["me"],
        Vec::<String>::new()
    );
    assert_eq!(body.enabled_builtin_subagents, None);
    assert_eq!(body.enabled_builtin_mcp_servers, Some(Default::default()));
    assert_eq!(body.system_prompt, None);
    let raw = commission.raw().get();
    assert!(
        !raw.contains('\n') && raw.contains("1.50e3") && raw.contains("12345678901234567890123")
    );
}

#[test]
fn every_malformed_field_is_named() {
    for (member, path) in [
        (r#""x":1"#, "x"),
        (r#""tags":"a""#, "tags"),
        (r#""supervisor":{"name":""}"#, "supervisor.name"),
        (r#""supervisor":{"name":"a","url":"b"}"#, "supervisor.url"),
        (r#""provider":{"id":"Acme"}"#, "provider.id"),
        (
            r#""provider":{"id":"a","credential":{"vault":"a b"}}"#,
            "provider.credential.vault",
        ),
        (
            r#""provider":{"id":"a","credential":"sk-123"}"#,
            "provider.credential",
        ),
        (
            r#""mcp_servers":[{"id":"a","type":"stdio","command":[]}]"#,
            "mcp_servers[0].command",
        ),
        (
            r#""mcp_servers":[{"id":"a","type":"http","url":""}]"#,
            "mcp_servers[0].url",
        ),
        (
            r#""mcp_servers":[{"id":"a","type":"stdio","command":["x"],"url":"y"}]"#,
            "mcp_servers[0]",
        ),
        (
            r#""mcp_servers":[{"id":"a","type":"sse","url":"y"}]"#,
            "mcp_servers[0].type",
        ),
        (
            r#""mcp_servers":[{"id":"a","type":"http","url":"y"},{"id":"a","type":"http","url":"z"}]"#,
            "mcp_servers[1].id",
        ),
        (r#""skills":[{"id":"a","files":{}}]"#, "skills[0].files"),
        (
            r#""skills":[{"id":"a","files":{"SKILL.md":"","../x":""}}]"#,
            "skills[0].files",
        ),
        (
            r#""skills":[{"id":"a","files":{"SKILL.md":"","/etc/x":""}}]"#,
            "skills[0].files",
        ),
        (
            r#""skills":[{"id":"a b","files":{"SKILL.md":""}}]"#,
            "skills[0].id",
        ),
        (
            r#""enabled_builtin_tools":{"me":"all"}"#,
            "enabled_builtin_tools.me",
        ),
        (r#""agent_versions":{"me":1}"#, "agent_versions.me"),
        (r#""output_schema":[]"#, "output_schema"),
        (r#""meta":"x""#, "meta"),
        (r#""meta":{"a":{"b":1,"b":1}}"#, "meta.a.b"),
        (r#""run_id":"again""#, "run_id"),
    ] {
        assert_eq!(field(with(member)), path, "{member}");
    }
    assert_eq!(field(parse("[]")), ".");
    assert_eq!(
        field(parse(
            r#"{"schema_version":"0.1","run_id":"","model":"a/b"}"#
        )),
        "run_id"
    );
    for model in ["claude", "/claude", "a/", "", "a/b\\nc"] {
        let text = format!(r#"{{"schema_version":"0.1","run_id":"r","model":"{model}"}}"#);
        assert_eq!(field(parse(&text)), "model", "{model}");
    }
    assert_eq!(field(parse(r#"{"run_id":"r","model":"a/b"}"#)), ".");
    assert_eq!(
        field(parse(
            r#"{"schema_version":0.1,"run_id":"r","model":"a/b"}"#
        )),
        "schema_version"
    );
}

#[test]
fn another_version_is_its_own_error_whatever_else_is_wrong() {
    let text = r#"{"schema_version": "0.2", "run_id": "r9", "colour": "red"}"#;
    let Err(CommissionError::UnsupportedVersion { found, run_id, raw }) = parse(text) else {
        panic!()
    };
    assert_eq!((found.as_str(), run_id.as_deref()), ("0.2", Some("r9")));
    assert_eq!(
        raw.get(),
        r#"{"schema_version":"0.2","run_id":"r9","colour":"red"}"#
    );
}

#[test]
fn bytes_that_are_no_json_are_located() {
    assert!(matches!(
        Commission::parse(b"{\"a\":\xff}"),
        Err(CommissionError::NotUtf8 { offset: 5 })
    ));
    assert!(matches!(
        parse("{\n oops"),
        Err(CommissionError::NotJson { line: 2, .. })
    ));
    assert!(matches!(parse(""), Err(CommissionError::NotJson { .. })));
    assert!(matches!(
        parse(&"[".repeat(1 << 20)),
        Err(CommissionError::NotJson { .. })
    ));
    let large = vec![b' '; MAX_BYTES + 1];
    assert!(matches!(
        Commission::parse(&large),
        Err(CommissionError::TooLarge { .. })
    ));
}

#[test]
fn a_task_fills_the_slot_or_becomes_the_prompt() {
    let task = |commission: &Commission| {
        commission
            .with_task("count \"x\"")
            .map(|c| c.body().prompt.clone())
    };
    assert_eq!(
        task(&parse(MINIMAL).unwrap()).unwrap().as_deref(),
        Some("count \"x\"")
    );
    let template = with(r#""prompt":"Do {input}, then {input}.","meta":{"n":1.0}"#).unwrap();
    assert_eq!(
        task(&template).unwrap().as_deref(),
        Some("Do count \"x\", then count \"x\".")
    );
    assert!(
        template
            .with_task("x")
            .unwrap()
            .raw()
            .get()
            .ends_with(r#""meta":{"n":1.0}}"#)
    );
    let fixed = with(r#""prompt":"Do it.""#).unwrap();
    assert!(matches!(task(&fixed), Err(CommissionError::TwoPrompts)));
    let bomb = with(&format!(r#""prompt":"{}""#, "{input}".repeat(100_000))).unwrap();
    assert!(matches!(
        bomb.with_task(&"x".repeat(100_000)),
        Err(CommissionError::TooLarge { .. })
    ));
}

#[test]
fn model_and_built_in_change_only_their_fields() {
    let commission = with(r#""prompt":"p","meta":{"n":1e2}"#).unwrap();
    let other = commission.with_model("openai/gpt").unwrap();
    assert_eq!(
        other.raw().get(),
        commission
            .raw()
            .get()
            .replace("anthropic/claude", "openai/gpt")
    );
    assert_eq!(field(commission.with_model("gpt")), "model");
    let seeded = commission
        .with_built_in(br#"{"prompt":"q","system_prompt":"s","tools":[{"name":"t"}]}"#)
        .unwrap();
    assert_eq!(seeded.body().prompt.as_deref(), Some("p"));
    assert_eq!(seeded.body().system_prompt.as_deref(), Some("s"));
    assert_eq!(field(commission.with_built_in(b"{\"x\":1}")), "built-in");
}

#[test]
fn a_task_alone_makes_a_commission() {
    let commission = Commission::for_task("r", "none/none", Some("hi")).unwrap();
    assert_eq!(
        commission.body().supervisor.as_ref().unwrap().name,
        "wasm-agent"
    );
    assert_eq!(commission.body().prompt.as_deref(), Some("hi"));
    assert_eq!(field(Commission::for_task("r", "none", None)), "model");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Commission::parse(&bytes);
    }

    #[test]
    fn what_is_read_reads_again(prompt in any::<String>(), tags in prop::collection::vec(any::<String>(), 0..4)) {
        let text = serde_json::json!({
            "schema_version": "0.1", "run_id": "r", "model": "a/b", "prompt": prompt, "tags": tags,
        });
        let once = parse(&serde_json::to_string_pretty(&text).unwrap()).unwrap();
        let twice = parse(once.raw().get()).unwrap();
        prop_assert_eq!(once.raw().get(), twice.raw().get());
        prop_assert_eq!(&twice.body().tags, &tags);
    }
}
