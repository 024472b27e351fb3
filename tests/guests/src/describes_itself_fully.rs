//! Everything a descriptor can say arrives, and a commission is checked against it.

use serde_json::{Value, json};
use wasm_agent_sdk::{
    Agent, Commission, Descriptor, McpServer, Output, Result, SkillInfo, Subagent, Tool, agent,
};

struct Full;

impl Agent for Full {
    fn describe() -> Descriptor {
        Descriptor::new("full", "2.1.0")
            .default_model("acme/small")
            .supported_model("acme/*")
            .system_prompt("You are thorough.")
            .prompt("Do the usual.")
            .tool(
                Tool::new("read")
                    .describe("Reads.")
                    .input_schema(json!({ "type": "object" })),
            )
            .tool(Tool::new("write").output_schema(json!({ "type": "object" })))
            .subagent(Subagent::new("reviewer").describe("Reviews."))
            .skill(SkillInfo {
                name: "style".to_owned(),
                description: Some("House style.".to_owned()),
                version: Some("1".to_owned()),
                source: None,
            })
            .mcp_server(McpServer {
                id: "search".to_owned(),
                name: Some("Search".to_owned()),
                description: None,
            })
            .capability("streaming")
    }

    fn run(commission: Commission) -> Result<Output> {
        let value: Value = json!({
            "run_id": commission.run_id,
            "model": commission.model,
            "prompt": commission.prompt,
            "system_prompt": commission.system_prompt,
            "tools": commission.tools,
            "subagents": commission.subagents,
            "builtin_skills": commission.builtin_skills,
            "skills": commission.skills.iter().map(|skill| &skill.id).collect::<Vec<_>>(),
            "thread_id": commission.thread_id,
            "tags": commission.tags,
            "meta": commission.meta::<Value>()?,
            "raw": serde_json::from_str::<Value>(&commission.raw)?["run_id"],
        });
        Ok(value.into())
    }
}

agent!(Full);
