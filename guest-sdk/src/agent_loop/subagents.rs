//! Sub-agents: loops of their own behind the tool `task`.

use crate::trajectory::{self, StopReason, SubagentCall, ToolCall, ToolResult};
use crate::{Commission, Failure, Subagent, Tool};

use super::AgentLoop;
use super::conversation::Conversation;

/// The tool that hands a task over.
pub(super) const TOOL: &str = "task";

/// The tool as a model sees it.
pub(super) fn tool<'a>(subagents: impl Iterator<Item = &'a Subagent>) -> Tool {
    let mut names = Vec::new();
    let mut text = String::from(
        "Hands a task to a sub-agent, which works on it by itself and answers once. It sees nothing of \
         this conversation: say everything it has to know. Sub-agents:",
    );
    for subagent in subagents {
        let what = subagent.description.as_deref().unwrap_or_default();
        text.push_str(&format!("\n- {}: {what}", subagent.name));
        names.push(subagent.name.clone());
    }
    Tool::new(TOOL).describe(text).input_schema(serde_json::json!({
        "type": "object",
        "properties": {
            "subagent": {"enum": names, "description": "Who does it. Default: the first one."},
            "description": {"type": "string", "description": "The task in a few words."},
            "prompt": {"type": "string", "minLength": 1, "description": "The task, with everything it needs."},
        },
        "required": ["prompt"],
        "additionalProperties": false,
    }))
}

#[derive(serde::Deserialize)]
struct Arguments {
    #[serde(default)]
    subagent: Option<String>,
    #[serde(default)]
    description: Option<String>,
    prompt: String,
}

/// Has a sub-agent do a task, in its frame.
pub(super) fn delegate(
    subagents: &[(Subagent, AgentLoop)],
    commission: &Commission,
    call: &ToolCall,
) -> ToolResult {
    match answer(subagents, commission, call) {
        Ok(text) => ToolResult::text(&*call.id, text),
        Err(why) => ToolResult::error(&*call.id, why),
    }
}

fn answer(
    subagents: &[(Subagent, AgentLoop)],
    commission: &Commission,
    call: &ToolCall,
) -> Result<String, String> {
    let arguments: Arguments = serde_json::from_str(&call.input)
        .map_err(|error| format!("the arguments are not valid: {error}"))?;
    let mut allowed =
        (subagents.iter()).filter(|(subagent, _)| commission.allows_subagent(&subagent.name));
    let chosen = match &arguments.subagent {
        Some(name) => allowed.find(|(subagent, _)| subagent.name == *name),
        None => allowed.next(),
    };
    let Some((subagent, agent)) = chosen else {
        return Err(match arguments.subagent {
            Some(name) => format!("there is no sub-agent `{name}`"),
            None => "there is no sub-agent".into(),
        });
    };
    let mut start = SubagentCall::new(&*call.id, &*subagent.name).input(&*call.input);
    start.description = arguments.description;
    let frame = trajectory::subagent(start).map_err(|rejected| rejected.to_string())?;
    let result = Conversation::new(agent, commission, Some(frame.id()))
        .and_then(|conversation| conversation.run(&arguments.prompt));
    let (reason, text) = match result {
        Ok(answer) => (StopReason::Converged, Ok(answer.text)),
        Err(error) => match error.failure() {
            Failure::Refused(why) => (StopReason::Refused, Err(format!("it declined: {why}"))),
            Failure::Abandoned(why) => (StopReason::Abandoned, Err(format!("it gave up: {why}"))),
            Failure::Error(report) => (
                StopReason::Error,
                Err(format!("it failed: {}", report.message)),
            ),
        },
    };
    let said = match &text {
        Ok(text) | Err(text) => text.clone(),
    };
    frame
        .finish(reason, said)
        .map_err(|rejected| rejected.to_string())?;
    text
}
