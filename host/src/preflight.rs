//! Does this commission fit this agent? Decided before the first instruction of `run`.
//!
//! The order of the checks decides which refusal a commission with several faults gets: version pin,
//! allow-lists without an entry for the agent, names the agent does not have, ids both sides use, model.

mod glob;

use std::collections::BTreeSet;

use crate::commission::{AllowList, Body, Commission};
use crate::descriptor::{Descriptor, DialStatus, McpServerDecl, SkillDecl, SubagentDecl, ToolDecl};
use crate::json::printable;
use crate::trajectory::vocabulary::ErrorCode;

/// What the agent may use in this run, as `agent_started` publishes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The task: the commission's prompt, else the descriptor's.
    pub prompt: Option<String>,
    /// The commission's system prompt, else the descriptor's.
    pub system_prompt: Option<String>,
    /// The agent's tools after the allow-lists.
    pub tools: Vec<ToolDecl>,
    /// The agent's sub-agents after the allow-list.
    pub subagents: Vec<SubagentDecl>,
    /// The agent's skills after the allow-list, then the commission's, described by their front matter.
    pub skills: Vec<SkillDecl>,
    /// The agent's MCP servers after the allow-list.
    pub mcp_servers: Vec<McpServerDecl>,
}

/// Why the agent is not run: becomes `error_occurred`, followed by `agent_stopped` with reason `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub struct Refusal {
    /// The class of the error.
    pub code: ErrorCode,
    /// What does not fit.
    pub message: String,
    /// What the operator can say on the command line so that it can run, where that is what is missing.
    pub remedy: Option<String>,
}

/// Checks a commission against the agent that is to act on it (C§3.3, C§4, D§2.7). `granted` are the ids of
/// the operator's MCP servers.
///
/// # Errors
/// The first check that fails.
pub fn preflight(
    commission: &Commission,
    descriptor: &Descriptor,
    granted: &[String],
) -> Result<Effective, Refusal> {
    let body = commission.body();
    let agent = descriptor.agent_name.as_str();
    if let Some(pin) = body.agent_versions.get(agent)
        && *pin != descriptor.agent_version
    {
        return Err(Refusal {
            code: ErrorCode::UnsupportedAgentVersion,
            message: format!(
                "commission pins agent `{}` to version `{}`; this is version `{}`",
                printable(agent),
                printable(pin),
                printable(&descriptor.agent_version),
            ),
            remedy: None,
        });
    }
    let allowed = Allowed::new(body, descriptor)?;
    collisions(body, descriptor, granted)?;
    if let Some(patterns) = &descriptor.supported_models
        && !patterns
            .iter()
            .any(|pattern| glob::matches(pattern, &body.model))
    {
        return Err(Refusal {
            code: ErrorCode::UnsupportedModel,
            message: format!(
                "agent `{}` does not work with model `{}`; it supports: {}",
                printable(agent),
                printable(&body.model),
                printable(&patterns.join(", ")),
            ),
            remedy: None,
        });
    }
    Ok(allowed.apply(body, descriptor))
}

/// The allow-lists of one agent; `None` allows everything.
struct Allowed<'a> {
    tools: Option<BTreeSet<&'a str>>,
    subagents: Option<BTreeSet<&'a str>>,
    skills: Option<BTreeSet<&'a str>>,
    mcp_servers: Option<BTreeSet<&'a str>>,
}

impl<'a> Allowed<'a> {
    fn new(body: &'a Body, descriptor: &Descriptor) -> Result<Self, Refusal> {
        let agent = descriptor.agent_name.as_str();
        let lists: [(_, &Option<AllowList>, BTreeSet<&str>); 4] = [
            (
                "enabled_builtin_tools",
                &body.enabled_builtin_tools,
                names(&descriptor.tools, |t| &t.name),
            ),
            (
                "enabled_builtin_subagents",
                &body.enabled_builtin_subagents,
                names(&descriptor.subagents, |s| &s.name),
            ),
            (
                "enabled_builtin_skills",
                &body.enabled_builtin_skills,
                names(&descriptor.skills, |s| &s.name),
            ),
            (
                "enabled_builtin_mcp_servers",
                &body.enabled_builtin_mcp_servers,
                names(&descriptor.mcp_servers, |s| &s.id),
            ),
        ];
        let missing: Vec<_> = lists
            .iter()
            .filter(|(_, map, _)| map.as_ref().is_some_and(|map| !map.contains_key(agent)))
            .map(|(list, _, _)| *list)
            .collect();
        if !missing.is_empty() {
            return Err(collision(format!(
                "commission filters {} without an entry for agent `{}`",
                missing.join(", "),
                printable(agent)
            )));
        }
        let mut resolved = lists.iter().map(|(list, map, offered)| {
            let Some(allowed) = map.as_ref().and_then(|map| map.get(agent)) else {
                return Ok(None);
            };
            let unknown: Vec<_> = allowed
                .iter()
                .map(String::as_str)
                .filter(|name| !offered.contains(name))
                .collect();
            if unknown.is_empty() {
                return Ok(Some(allowed.iter().map(String::as_str).collect()));
            }
            Err(collision(format!(
                "commission's {list} names what agent `{}` does not have: {}",
                printable(agent),
                printable(&unknown.join(", "))
            )))
        });
        let mut next = || resolved.next().unwrap_or(Ok(None));
        Ok(Self {
            tools: next()?,
            subagents: next()?,
            skills: next()?,
            mcp_servers: next()?,
        })
    }

    fn apply(&self, body: &Body, descriptor: &Descriptor) -> Effective {
        let mcp_servers: Vec<McpServerDecl> = descriptor
            .mcp_servers
            .iter()
            .filter(|s| permits(&self.mcp_servers, &s.id))
            .cloned()
            .collect();
        // A server that is known not to answer serves no tools (D§5.5); neither does a disabled one.
        let serving: BTreeSet<&str> = mcp_servers
            .iter()
            .filter(|s| {
                s.status
                    .is_none_or(|status| status == DialStatus::Connected)
            })
            .map(|s| s.id.as_str())
            .collect();
        let tools = descriptor
            .tools
            .iter()
            .filter(|tool| permits(&self.tools, &tool.name))
            .filter(|tool| {
                tool.mcp_server_id
                    .as_deref()
                    .is_none_or(|id| serving.contains(id))
            })
            .cloned()
            .collect();
        let subagents = descriptor
            .subagents
            .iter()
            .filter(|s| permits(&self.subagents, &s.name))
            .cloned()
            .collect();
        let skills = descriptor
            .skills
            .iter()
            .filter(|skill| permits(&self.skills, &skill.name))
            .cloned()
            .chain(body.skills.iter().map(|skill| SkillDecl {
                name: skill.name().unwrap_or(&skill.id).to_owned(),
                description: skill.description().map(str::to_owned),
                ..SkillDecl::default()
            }))
            .collect();
        Effective {
            prompt: body.prompt.clone().or_else(|| descriptor.prompt.clone()),
            system_prompt: body
                .system_prompt
                .clone()
                .or_else(|| descriptor.system_prompt.clone()),
            tools,
            subagents,
            skills,
            mcp_servers,
        }
    }
}

/// Ids and names that both sides use (C§3.3). The name in a skill's front matter counts like its id: it
/// is the name the model gets to read.
fn collisions(body: &Body, descriptor: &Descriptor, granted: &[String]) -> Result<(), Refusal> {
    let agent = printable(&descriptor.agent_name);
    let own = names(&descriptor.mcp_servers, |server| &server.id);
    if let Some(id) = granted.iter().find(|id| own.contains(id.as_str())) {
        return Err(collision(format!(
            "MCP server `{id}` of the grants is one of agent `{agent}`'s own"
        )));
    }
    if let Some(server) = body
        .mcp_servers
        .iter()
        .find(|server| granted.iter().any(|id| id == server.id()))
    {
        return Err(collision(format!(
            "MCP server `{}` of the commission has the id of one of the grants",
            server.id()
        )));
    }
    if let Some(server) = body
        .mcp_servers
        .iter()
        .find(|server| own.contains(server.id()))
    {
        let id = server.id();
        return Err(collision(format!(
            "MCP server `{id}` of the commission is one of agent `{agent}`'s own"
        )));
    }
    let mut taken = names(&descriptor.skills, |skill| &skill.name);
    for skill in &body.skills {
        let name = skill.name().unwrap_or(&skill.id);
        if taken.contains(skill.id.as_str()) || !taken.insert(name) {
            return Err(collision(format!(
                "skill `{}` (`{}`) of the commission has the name of another skill of agent `{agent}` or of the commission",
                skill.id,
                printable(name)
            )));
        }
    }
    Ok(())
}

fn collision(message: String) -> Refusal {
    Refusal {
        code: ErrorCode::CommissionCollision,
        message,
        remedy: None,
    }
}

fn names<T>(list: &[T], name: impl Fn(&T) -> &String) -> BTreeSet<&str> {
    list.iter().map(|entry| name(entry).as_str()).collect()
}

fn permits(allowed: &Option<BTreeSet<&str>>, name: &str) -> bool {
    allowed.as_ref().is_none_or(|names| names.contains(name))
}

#[cfg(test)]
mod tests;
