//! Between the types of the WIT contract and the types of AVP.

use serde_json::{Map, Value};

use crate::capabilities::bindings::wasm_agent::agent::types as wit;
use crate::commission::Commission;
use crate::descriptor::{Descriptor, McpServerDecl, SkillDecl, SubagentDecl, ToolDecl};
use crate::preflight::Effective;

/// The commission as the guest should act on it.
pub(super) fn commission_for_guest(
    commission: &Commission,
    effective: &Effective,
) -> wit::Commission {
    let body = commission.body();
    let own_skills = effective
        .skills
        .iter()
        .filter(|skill| {
            !body
                .skills
                .iter()
                .any(|handed| is_skill(handed, &skill.name))
        })
        .map(|skill| skill.name.clone());
    wit::Commission {
        run_id: body.run_id.clone(),
        model: body.model.clone(),
        prompt: effective.prompt.clone(),
        system_prompt: effective.system_prompt.clone(),
        output_schema: body
            .output_schema
            .as_ref()
            .map(|schema| schema.get().to_owned()),
        skills: body
            .skills
            .iter()
            .map(|skill| wit::Skill {
                id: skill.id.clone(),
                files: skill.files.clone().into_iter().collect(),
            })
            .collect(),
        tools: effective
            .tools
            .iter()
            .map(|tool| tool.name.clone())
            .collect(),
        subagents: effective
            .subagents
            .iter()
            .map(|agent| agent.name.clone())
            .collect(),
        builtin_skills: own_skills.collect(),
        thread_id: body.thread_id.clone(),
        tags: body.tags.clone(),
        meta: body.meta.as_ref().map(|meta| meta.get().to_owned()),
        raw: commission.raw().get().to_owned(),
    }
}

fn is_skill(handed: &crate::commission::Skill, name: &str) -> bool {
    handed.name().unwrap_or(&handed.id) == name
}

/// The descriptor a guest returned.
///
/// # Errors
///
/// A schema that is not JSON; what else may be wrong is for [`Descriptor::validate`].
pub(super) fn descriptor_from_guest(guest: wit::Descriptor) -> Result<Descriptor, String> {
    let tools = guest
        .tools
        .into_iter()
        .map(|tool| {
            Ok(ToolDecl {
                input_schema: schema("tool", &tool.name, tool.input_schema)?,
                output_schema: schema("tool", &tool.name, tool.output_schema)?,
                name: tool.name,
                description: tool.description,
                mcp_server_id: tool.mcp_server_id,
                extra: Map::new(),
            })
        })
        .collect::<Result<_, String>>()?;
    let subagents = guest
        .subagents
        .into_iter()
        .map(|agent| {
            Ok(SubagentDecl {
                input_schema: schema("sub-agent", &agent.name, agent.input_schema)?,
                name: agent.name,
                description: agent.description,
                agent_type: agent.agent_type,
                extra: Map::new(),
            })
        })
        .collect::<Result<_, String>>()?;
    let skills = guest.skills.into_iter().map(|skill| SkillDecl {
        name: skill.name,
        description: skill.description,
        version: skill.version,
        source: skill.source,
        extra: Map::new(),
    });
    let mcp_servers = guest.mcp_servers.into_iter().map(|server| McpServerDecl {
        id: server.id,
        name: server.name,
        description: server.description,
        status: None,
        extra: Map::new(),
    });
    Ok(Descriptor {
        default_model: guest.default_model,
        supported_models: guest.supported_models,
        system_prompt: guest.system_prompt,
        prompt: guest.prompt,
        tools,
        subagents,
        skills: skills.collect(),
        mcp_servers: mcp_servers.collect(),
        capabilities: guest.capabilities,
        ..Descriptor::minimal(&guest.agent_name, &guest.agent_version)
    })
}

fn schema(kind: &str, name: &str, text: Option<String>) -> Result<Option<Value>, String> {
    text.map(|text| {
        serde_json::from_str(&text)
            .map_err(|error| format!("the schema of {kind} `{name}` is not valid JSON: {error}"))
    })
    .transpose()
}
