//! How a run opens: who asked for what, what the agent is, what it may use.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Rule;
use super::event::{Event, objects, str_of};
use super::report::Findings;
use super::schema;
use super::shape::{self, Path};

/// What the opening said.
#[derive(Default)]
pub(super) struct Prelude {
    commission: Option<Value>,
    descriptor: Option<Value>,
    /// Codes of the errors before `agent_started`, and how many said an MCP server failed.
    errors: u64,
    mcp_failures: u64,
    unknown_errors: u64,
}

/// The commission a run directory was started with.
pub(super) enum Commissioned {
    /// Nothing to compare with.
    Unknown,
    /// As `run.json` has it.
    As(Value),
}

/// Surfaces of an agent that a commission can filter: allow-list, list in the descriptor and in
/// `agent_started`, name of an entry.
const SURFACES: [(&str, &str, &str, &str); 4] = [
    ("enabled_builtin_tools", "tools", "avp.tools", "name"),
    (
        "enabled_builtin_subagents",
        "subagents",
        "avp.subagents",
        "name",
    ),
    ("enabled_builtin_skills", "skills", "avp.skills", "name"),
    (
        "enabled_builtin_mcp_servers",
        "mcp_servers",
        "avp.mcp_servers",
        "id",
    ),
];

impl Prelude {
    pub(super) fn requested(
        &mut self,
        event: &Event<'_>,
        expected: &Commissioned,
        out: &mut Findings,
    ) {
        let commission = event
            .data
            .get("avp.commission")
            .filter(|value| !value.is_null());
        if let Commissioned::As(expected) = expected {
            // AVP asks for the commission as it is (T§2.1) and for events that fit the schema (T§8.8). A
            // commission of another version cannot have both: it may be there or be left out.
            let dropped = commission.is_none() && is_other_version(expected);
            if commission != Some(expected).filter(|value| !value.is_null()) && !dropped {
                out.add(
                    Rule::CommissionUnfaithful,
                    "data.avp.commission",
                    "is not the commission in run.json",
                );
            }
        }
        if let Some(commission) = commission
            && !is_other_version(commission)
        {
            let path = Path::root("data.avp.commission");
            shape::check(
                &schema::COMMISSION,
                commission,
                &path,
                &mut |_, path, message| {
                    out.add(Rule::CommissionInvalid, &path.to_string(), message);
                },
            );
        }
        let supervisor = commission
            .and_then(|c| c.get("supervisor"))
            .and_then(Value::as_object);
        for (field, key) in [
            ("avp.supervisor.name", "name"),
            ("avp.supervisor.version", "version"),
        ] {
            let wanted = supervisor.and_then(|s| s.get(key)).filter(|v| !v.is_null());
            if event.data.get(field).filter(|v| !v.is_null()) != wanted {
                out.add(
                    Rule::SupervisorMismatch,
                    &format!("data.{field}"),
                    "is not the commission's",
                );
            }
        }
        self.commission = commission.cloned();
    }

    pub(super) fn described(&mut self, event: &Event<'_>, out: &mut Findings) {
        let Some(descriptor) = event.data.get("avp.descriptor") else {
            return;
        };
        for (_, list, _, key) in SURFACES {
            let mut seen = HashSet::new();
            for (n, entry) in objects(descriptor.get(list)).enumerate() {
                if !seen.insert(str_of(entry, key)) {
                    let field = format!("data.avp.descriptor.{list}[{n}].{key}");
                    out.add(Rule::DescriptorInvalid, &field, "is there twice");
                }
            }
        }
        judge_servers(
            descriptor.get("tools"),
            descriptor.get("mcp_servers"),
            "data.avp.descriptor.tools",
            |field, message| {
                out.add(Rule::DescriptorInvalid, field, message);
            },
        );
        self.descriptor = Some(descriptor.clone());
    }

    /// An error before `agent_started`.
    pub(super) fn error(&mut self, event: &Event<'_>) {
        self.errors += 1;
        match event.str("avp.error.code") {
            "mcp_connect_failed" => self.mcp_failures += 1,
            "unknown" => self.unknown_errors += 1,
            _ => {}
        }
    }

    pub(super) fn started(&self, event: &Event<'_>, out: &mut Findings) {
        if self.errors > self.mcp_failures {
            let message = "an error before it ends the run, unless it is mcp_connect_failed";
            out.add(Rule::PreludeOrder, "", message);
        }
        judge_servers(
            event.data.get("avp.tools"),
            event.data.get("avp.mcp_servers"),
            "data.avp.tools",
            |field, message| {
                out.add(Rule::McpServerUnknown, field, message);
            },
        );
        let null = Value::Null;
        let descriptor = self.descriptor.as_ref().unwrap_or(&null);
        let commission = self.commission.as_ref().unwrap_or(&null);
        for (field, key) in [
            ("avp.prompt", "prompt"),
            ("avp.system_prompt", "system_prompt"),
        ] {
            let wanted = [commission, descriptor]
                .iter()
                .find_map(|from| from.get(key).filter(|v| !v.is_null()));
            // Without either the agent may know its prompt from elsewhere.
            if wanted.is_some() && event.data.get(field) != wanted {
                out.add(
                    Rule::PromptMismatch,
                    &format!("data.{field}"),
                    "is not the one commissioned",
                );
            }
        }
        self.judge_fit(commission, descriptor, out);
        self.judge_allow_lists(event, commission, descriptor, out);
        self.judge_commissioned_servers(event, commission, out);
    }

    /// At an `agent_stopped` without `agent_started`.
    pub(super) fn judge_short_form(&self, event: &Event<'_>, out: &mut Findings) {
        if self.errors == 0 {
            out.add(
                Rule::ShortForm,
                "",
                "the run neither started nor had an error",
            );
        } else if self.commission.as_ref().is_some_and(is_other_version) && self.unknown_errors == 0
        {
            out.add(
                Rule::ShortForm,
                "",
                "a commission of another version is an error with code unknown",
            );
        }
        if !matches!(event.str("avp.reason"), "error" | "interrupted") {
            out.add(
                Rule::ShortForm,
                "data.avp.reason",
                "a run that never started ends with error",
            );
        }
    }

    /// Faults of the commission that must have kept the agent from starting.
    fn judge_fit(&self, commission: &Value, descriptor: &Value, out: &mut Findings) {
        if is_other_version(commission) {
            out.add(
                Rule::PreflightIgnored,
                "",
                "the commission is of another version of AVP",
            );
        }
        let agent = descriptor
            .get("agent_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let pin = commission
            .get("agent_versions")
            .and_then(|pins| pins.get(agent));
        if pin.is_some() && pin != descriptor.get("agent_version") {
            out.add(
                Rule::PreflightIgnored,
                "",
                "the commission pins the agent to another version",
            );
        }
        for (list, own, _, key) in SURFACES {
            let Some(lists) = commission.get(list).and_then(Value::as_object) else {
                continue;
            };
            let names: HashSet<&str> = objects(descriptor.get(own))
                .map(|entry| str_of(entry, key))
                .collect();
            let fits = lists
                .get(agent)
                .and_then(Value::as_array)
                .is_some_and(|allowed| {
                    allowed
                        .iter()
                        .filter_map(Value::as_str)
                        .all(|name| names.contains(name))
                });
            if !fits {
                out.add(
                    Rule::PreflightIgnored,
                    "",
                    format_args!("{list} does not fit the agent"),
                );
            }
        }
        for (list, key) in [("mcp_servers", "id"), ("skills", "name")] {
            let own: HashSet<&str> = objects(descriptor.get(list))
                .map(|entry| str_of(entry, key))
                .collect();
            if objects(commission.get(list)).any(|entry| own.contains(str_of(entry, "id"))) {
                out.add(
                    Rule::PreflightIgnored,
                    "",
                    format_args!("commission and agent share an id in {list}"),
                );
            }
        }
    }

    fn judge_allow_lists(
        &self,
        event: &Event<'_>,
        commission: &Value,
        descriptor: &Value,
        out: &mut Findings,
    ) {
        let agent = descriptor
            .get("agent_name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for (list, own, published, key) in SURFACES {
            let Some(allowed) = commission
                .get(list)
                .and_then(|lists| lists.get(agent))
                .and_then(Value::as_array)
            else {
                continue;
            };
            let allowed: HashSet<&str> = allowed.iter().filter_map(Value::as_str).collect();
            let own: HashSet<&str> = objects(descriptor.get(own))
                .map(|entry| str_of(entry, key))
                .collect();
            for (n, entry) in event.list(published).enumerate() {
                let name = str_of(entry, key);
                if own.contains(name) && !allowed.contains(name) {
                    let field = format!("data.{published}[{n}]");
                    out.add(
                        Rule::AllowListIgnored,
                        &field,
                        format_args!("`{name}` is not in {list}"),
                    );
                }
            }
        }
    }

    fn judge_commissioned_servers(
        &self,
        event: &Event<'_>,
        commission: &Value,
        out: &mut Findings,
    ) {
        let mut down = 0;
        for server in objects(commission.get("mcp_servers")) {
            let id = str_of(server, "id");
            match event
                .list("avp.mcp_servers")
                .find(|listed| str_of(listed, "id") == id)
            {
                None => {
                    let message = format_args!("the commission's server `{id}` is not listed");
                    out.add(Rule::McpServerMissing, "data.avp.mcp_servers", message);
                }
                Some(listed) if str_of(listed, "status") != "connected" => down += 1,
                Some(_) => {}
            }
        }
        if down > self.mcp_failures {
            let message =
                format_args!("{down} servers failed, {} errors say so", self.mcp_failures);
            out.add(Rule::McpFailureUnreported, "data.avp.mcp_servers", message);
        }
    }
}

/// True for a commission this version of AVP says nothing about.
fn is_other_version(commission: &Value) -> bool {
    commission
        .get("schema_version")
        .and_then(Value::as_str)
        .is_some_and(|version| version != "0.1")
}

/// Every tool's server is listed, and not known to be down.
fn judge_servers(
    tools: Option<&Value>,
    servers: Option<&Value>,
    path: &str,
    mut found: impl FnMut(&str, &str),
) {
    let serves = |server: &Map<String, Value>| {
        matches!(
            server.get("status").and_then(Value::as_str),
            None | Some("connected")
        )
    };
    let ids: HashSet<&str> = objects(servers)
        .filter(|s| serves(s))
        .map(|s| str_of(s, "id"))
        .collect();
    for (n, tool) in objects(tools).enumerate() {
        if let Some(id) = tool.get("avp.mcp_server_id").and_then(Value::as_str)
            && !ids.contains(id)
        {
            found(
                &format!("{path}[{n}].avp.mcp_server_id"),
                "is no server that answers",
            );
        }
    }
}
