use super::*;

fn descriptor() -> Descriptor {
    Descriptor::parse(
        br#"{"agent_name":"me","agent_version":"1.0","spec_version":"0.1","prompt":"own","system_prompt":"own system",
            "supported_models":["anthropic/*","*/gpt-[45]*"],
            "mcp_servers":[{"id":"inner"},{"id":"down","status":"failed"}],
            "tools":[{"name":"read"},{"name":"write"},{"name":"search","avp.mcp_server_id":"inner"},{"name":"lost","avp.mcp_server_id":"down"}],
            "subagents":[{"name":"scout"}],"skills":[{"name":"tidy"}]}"#,
    )
    .unwrap()
}

fn run(members: &str) -> Result<Effective, Refusal> {
    let text =
        format!(r#"{{"schema_version":"0.1","run_id":"r","model":"anthropic/claude"{members}}}"#);
    preflight(
        &Commission::parse(text.as_bytes()).unwrap(),
        &descriptor(),
        &["granted".to_owned()],
    )
}

fn names<'a, T>(list: &'a [T], name: impl Fn(&'a T) -> &'a String) -> Vec<&'a str> {
    list.iter().map(|entry| name(entry).as_str()).collect()
}

#[test]
fn without_allow_lists_everything_that_works_is_there() {
    let effective = run("").unwrap();
    assert_eq!(
        names(&effective.tools, |t| &t.name),
        ["read", "write", "search"]
    );
    assert_eq!(names(&effective.subagents, |s| &s.name), ["scout"]);
    assert_eq!(names(&effective.skills, |s| &s.name), ["tidy"]);
    assert_eq!(effective.prompt.as_deref(), Some("own"));
}

#[test]
fn the_commission_overrides_prompts_and_adds_skills_and_servers() {
    let effective = run(
        r#","prompt":"theirs","skills":[{"id":"s1","files":{"SKILL.md":"---\nname: Fold\ndescription: Folds.\n---\n"}},{"id":"s2","files":{"SKILL.md":"x"}}],"mcp_servers":[{"id":"outer","type":"http","url":"https://x"}]"#,
    )
    .unwrap();
    assert_eq!(effective.prompt.as_deref(), Some("theirs"));
    assert_eq!(effective.system_prompt.as_deref(), Some("own system"));
    assert_eq!(
        names(&effective.skills, |s| &s.name),
        ["tidy", "Fold", "s2"]
    );
    assert_eq!(effective.skills[1].description.as_deref(), Some("Folds."));
    // The host tells of it once it has tried to reach it.
    assert_eq!(names(&effective.mcp_servers, |s| &s.id), ["inner", "down"]);
}

#[test]
fn allow_lists_only_take_away() {
    let effective = run(
        r#","enabled_builtin_tools":{"me":["write","search"]},"enabled_builtin_subagents":{"me":[]},"enabled_builtin_mcp_servers":{"me":[]},"agent_versions":{"other":"9","me":"1.0"}"#,
    )
    .unwrap();
    assert_eq!(names(&effective.tools, |t| &t.name), ["write"]);
    assert_eq!(effective.subagents, []);
    assert_eq!(effective.mcp_servers, []);
}

#[test]
fn refusals_come_in_the_order_of_the_checks() {
    let pin = r#","agent_versions":{"me":"2.0"}"#;
    let no_key = r#","enabled_builtin_tools":{"you":[]}"#;
    let unknown = r#","enabled_builtin_skills":{"me":["tidy","paint"]}"#;
    let server = r#","mcp_servers":[{"id":"inner","type":"http","url":"https://x"}]"#;
    let cases = [
        (
            format!("{pin}{no_key}{unknown}{server}"),
            ErrorCode::UnsupportedAgentVersion,
            "2.0",
        ),
        (
            format!("{no_key}{unknown}{server}"),
            ErrorCode::CommissionCollision,
            "enabled_builtin_tools",
        ),
        (
            format!("{unknown}{server}"),
            ErrorCode::CommissionCollision,
            "paint",
        ),
        (server.to_owned(), ErrorCode::CommissionCollision, "inner"),
    ];
    for (members, code, part) in cases {
        let refusal = run(&members).unwrap_err();
        assert_eq!(refusal.code, code, "{members}");
        assert!(refusal.message.contains(part), "{}", refusal.message);
    }
}

#[test]
fn skills_may_not_share_a_name() {
    let skill = |id: &str, name: &str| {
        format!(r#"{{"id":"{id}","files":{{"SKILL.md":"---\nname: {name}\n---\n"}}}}"#)
    };
    for skills in [
        skill("tidy", "x"),
        skill("s", "tidy"),
        format!("{},{}", skill("a", "x"), skill("b", "x")),
    ] {
        let refusal = run(&format!(r#","skills":[{skills}]"#)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::CommissionCollision, "{skills}");
    }
}

#[test]
fn a_granted_server_has_an_id_of_its_own() {
    let server = r#","mcp_servers":[{"id":"granted","type":"http","url":"https://x"}]"#;
    assert_eq!(
        run(server).unwrap_err().code,
        ErrorCode::CommissionCollision
    );
    let commission = Commission::for_task("r", "anthropic/claude", None).unwrap();
    let refusal = preflight(&commission, &descriptor(), &["inner".to_owned()]).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::CommissionCollision);
}

#[test]
fn models_outside_the_patterns_are_refused() {
    let with_model = |model: &str| {
        let commission = Commission::for_task("r", model, None).unwrap();
        preflight(&commission, &descriptor(), &[])
    };
    assert!(with_model("openai/gpt-4o").is_ok());
    assert_eq!(
        with_model("openai/o3").unwrap_err().code,
        ErrorCode::UnsupportedModel
    );
    let mut none = descriptor();
    none.supported_models = Some(Vec::new());
    let commission = Commission::for_task("r", "a/b", None).unwrap();
    assert_eq!(
        preflight(&commission, &none, &[]).unwrap_err().code,
        ErrorCode::UnsupportedModel
    );
    none.supported_models = None;
    assert!(preflight(&commission, &none, &[]).is_ok());
}
