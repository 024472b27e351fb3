use proptest::prelude::*;

use super::*;

fn parse(member: &str) -> Result<Descriptor, DescriptorError> {
    let text = format!(r#"{{"agent_name":"a","agent_version":"1","spec_version":"0.1"{member}}}"#);
    Descriptor::parse(text.as_bytes())
}

#[test]
fn minimal_is_valid_and_its_empty_lists_are_null() {
    let descriptor = Descriptor::minimal("a", "1");
    descriptor.validate().unwrap();
    assert_eq!(
        serde_json::to_string(&descriptor).unwrap(),
        r#"{"agent_name":"a","agent_version":"1","spec_version":"0.1","supported_models":null,"mcp_servers":null,"tools":null,"subagents":null,"skills":null,"capabilities":null}"#
    );
}

#[test]
fn declarations_keep_members_avp_does_not_know() {
    let text = r#","mcp_servers":[{"id":"My Server","status":"needs-auth"}],"tools":[{"name":"t","inputSchema":{"type":"object"},"avp.mcp_server_id":"My Server","annotations":{"x":1}}]"#;
    let descriptor = parse(text).unwrap();
    assert_eq!(
        descriptor.mcp_servers[0].status,
        Some(DialStatus::NeedsAuth)
    );
    let again = serde_json::to_string(&descriptor.tools).unwrap();
    assert_eq!(
        again,
        r#"[{"name":"t","inputSchema":{"type":"object"},"avp.mcp_server_id":"My Server","annotations":{"x":1}}]"#
    );
}

#[test]
fn every_malformed_field_is_named() {
    let many = format!(
        r#","tools":[{}{{"name":"x"}}]"#,
        (0..1024)
            .map(|n| format!(r#"{{"name":"{n}"}},"#))
            .collect::<String>()
    );
    for (member, path) in [
        (r#","version":"1""#, "version"),
        (r#","tools":[{"name":"t"},{"name":"t"}]"#, "tools[1].name"),
        (r#","tools":[{"name":""}]"#, "tools[0].name"),
        (
            r#","tools":[{"name":"t","inputSchema":[]}]"#,
            "tools[0].inputSchema",
        ),
        (
            r#","tools":[{"name":"t","outputSchema":"x"}]"#,
            "tools[0].outputSchema",
        ),
        (
            r#","tools":[{"name":"t","avp.mcp_server_id":"m"}]"#,
            "tools[0].avp.mcp_server_id",
        ),
        (
            r#","subagents":[{"name":"s","inputSchema":1}]"#,
            "subagents[0].inputSchema",
        ),
        (r#","skills":[{"name":"s"},{"name":"s"}]"#, "skills[1].name"),
        (
            r#","mcp_servers":[{"id":"m","status":"dead"}]"#,
            "mcp_servers[0]",
        ),
        (many.as_str(), "tools"),
    ] {
        match parse(member) {
            Err(DescriptorError::Field { path: found, .. }) => {
                assert!(found.starts_with(path), "{found} for {path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(matches!(
        parse(r#","agent_name":"b""#),
        Err(DescriptorError::NotJson(_))
    ));
    let mut other = Descriptor::minimal("a", "1");
    other.spec_version = "0.2".into();
    assert!(other.validate().is_err());
    other = Descriptor::minimal("", "1");
    assert!(other.validate().is_err());
    other = Descriptor::minimal("a", "1");
    other.prompt = Some("x".repeat(MAX_BYTES));
    assert!(matches!(
        other.validate(),
        Err(DescriptorError::TooLarge { .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Descriptor::parse(&bytes);
    }

    #[test]
    fn what_is_written_reads_back(names in prop::collection::btree_set("[a-z]{1,8}", 0..5), prompt in any::<Option<String>>()) {
        let mut descriptor = Descriptor::minimal("a", "1");
        descriptor.prompt = prompt;
        descriptor.tools = names.into_iter().map(|name| ToolDecl { name, ..ToolDecl::default() }).collect();
        let text = serde_json::to_vec(&descriptor).unwrap();
        prop_assert_eq!(Descriptor::parse(&text).unwrap(), descriptor);
    }
}
