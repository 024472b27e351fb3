//! AVP v0.1 trajectory events, as they go on the wire.
//!
//! Every event is a CloudEvents 1.0 envelope around `data`, which starts with the span triple. Fields
//! AVP does not know carry the vendor prefix `wasm_agent.`; a plain AVP consumer ignores them.

use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::content::Block;
use super::fact::{SubagentUsage, Usage};
use super::vocabulary::{ErrorCode, StopReason};
use crate::descriptor::{Descriptor, McpServerDecl, SkillDecl, SubagentDecl, ToolDecl};

/// Who vouches for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The host did it: it opened, closed or refused something.
    Host,
    /// The host saw it happen: it crossed a host call that has the effect itself.
    Observed,
    /// The guest says so.
    Claimed,
}

/// A span id: 16 lowercase hexadecimal digits on the wire, never zero except as "no parent".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl SpanId {
    /// The parent of a root span.
    pub const NONE: SpanId = SpanId(0);
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

/// A trace id: 32 lowercase hexadecimal digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(pub u128);

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

/// Place of an event in the span tree of its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The run's trace.
    pub trace: TraceId,
    /// The event's own span.
    pub id: SpanId,
    /// The span it belongs to.
    pub parent: SpanId,
}

/// One event of a trajectory.
#[derive(Clone, Debug)]
pub struct Event {
    /// Unique within the run.
    pub id: String,
    /// When the fact was reported, never before the event written just before it.
    pub time: Timestamp,
    /// The commission's run id.
    pub subject: Arc<str>,
    /// Its place in the span tree.
    pub span: Span,
    /// Who vouches for it.
    pub origin: Origin,
    /// What happened.
    pub body: Body,
}

/// What happened: the part of `data` that depends on the type of the event.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(
    missing_docs,
    reason = "each variant is the AVP event type of the same name"
)]
pub enum Body {
    RunRequested(Box<RunRequested>),
    AgentDescribed(Box<AgentDescribed>),
    AgentStarted(Box<AgentStarted>),
    AssistantMessage(Box<AssistantMessage>),
    ToolInvoked(Box<ToolInvoked>),
    ToolReturned(Box<ToolReturned>),
    SubagentInvoked(Box<SubagentInvoked>),
    SubagentReturned(Box<SubagentReturned>),
    ErrorOccurred(Box<ErrorOccurred>),
    AgentStopped(Box<AgentStopped>),
}

impl Body {
    /// The CloudEvents `type`.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Body::RunRequested(_) => "avp.run_requested",
            Body::AgentDescribed(_) => "avp.agent_described",
            Body::AgentStarted(_) => "avp.agent_started",
            Body::AssistantMessage(_) => "avp.assistant_message",
            Body::ToolInvoked(_) => "avp.tool_invoked",
            Body::ToolReturned(_) => "avp.tool_returned",
            Body::SubagentInvoked(_) => "avp.subagent_invoked",
            Body::SubagentReturned(_) => "avp.subagent_returned",
            Body::ErrorOccurred(_) => "avp.error_occurred",
            Body::AgentStopped(_) => "avp.agent_stopped",
        }
    }
}

/// `avp.run_requested`: what was asked, as it was asked.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct RunRequested {
    #[serde(
        rename = "avp.supervisor.name",
        skip_serializing_if = "Option::is_none"
    )]
    pub supervisor_name: Option<String>,
    #[serde(
        rename = "avp.supervisor.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub supervisor_version: Option<String>,
    #[serde(rename = "avp.commission", skip_serializing_if = "Option::is_none")]
    pub commission: Option<Box<RawValue>>,
}

/// `avp.agent_described`: what the agent says of itself.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct AgentDescribed {
    #[serde(rename = "avp.descriptor")]
    pub descriptor: Descriptor,
}

/// `avp.agent_started`: opens the run's span; what the agent may use in this run.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct AgentStarted {
    #[serde(rename = "avp.provider.name", skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
    #[serde(rename = "avp.operation.name")]
    pub operation_name: &'static str,
    #[serde(rename = "avp.request.model", skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    #[serde(rename = "avp.prompt", skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    #[serde(rename = "avp.system_prompt", skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    #[serde(rename = "avp.tools")]
    pub tools: Vec<ToolDecl>,
    #[serde(rename = "avp.mcp_servers")]
    pub mcp_servers: Vec<McpServerDecl>,
    #[serde(rename = "avp.skills")]
    pub skills: Vec<SkillDecl>,
    #[serde(rename = "avp.subagents")]
    pub subagents: Vec<SubagentDecl>,
    #[serde(rename = "avp.thread_id", skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    #[serde(rename = "avp.session_id", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    #[serde(rename = "avp.tags", skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The effective grants, in the words of a grants file.
    #[serde(rename = "wasm_agent.grants", skip_serializing_if = "Option::is_none")]
    pub grants: Option<Value>,
}

/// `avp.assistant_message`: one turn of a model.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct AssistantMessage {
    #[serde(rename = "avp.step")]
    pub step: u32,
    #[serde(rename = "avp.duration_ms")]
    pub duration_ms: u64,
    #[serde(rename = "avp.content")]
    pub content: Vec<Block>,
    #[serde(rename = "avp.provider.name", skip_serializing_if = "Option::is_none")]
    pub provider_name: Option<String>,
    #[serde(rename = "avp.request.model", skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    #[serde(rename = "avp.response.model", skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
    #[serde(
        rename = "avp.response.finish_reasons",
        skip_serializing_if = "Option::is_none"
    )]
    pub finish_reasons: Option<Vec<String>>,
    #[serde(
        rename = "avp.response.time_to_first_chunk",
        skip_serializing_if = "Option::is_none"
    )]
    pub time_to_first_chunk: Option<f64>,
    #[serde(rename = "avp.usage")]
    pub usage: Usage,
    #[serde(rename = "avp.cost_usd")]
    pub cost_usd: f64,
    #[serde(rename = "avp.cost.source")]
    pub cost_source: CostSource,
    #[serde(
        rename = "avp.refusal.category",
        skip_serializing_if = "Option::is_none"
    )]
    pub refusal_category: Option<String>,
    #[serde(rename = "avp.meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
}

/// Where the cost of a turn comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostSource {
    /// The provider or the agent named it.
    Reported,
    /// From the price table and the token counts.
    Computed,
    /// Not known; the number is zero.
    Unknown,
}

/// `avp.tool_invoked`: a tool was called.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct ToolInvoked {
    #[serde(rename = "avp.step")]
    pub step: u32,
    #[serde(rename = "avp.tool.call_id")]
    pub call_id: String,
    #[serde(rename = "avp.tool.name")]
    pub name: String,
    #[serde(rename = "avp.tool.input")]
    pub input: Value,
    #[serde(rename = "avp.tool.dispatch_target")]
    pub dispatch_target: DispatchTarget,
    #[serde(rename = "avp.mcp_server_id", skip_serializing_if = "Option::is_none")]
    pub mcp_server_id: Option<String>,
}

/// Where a tool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DispatchTarget {
    /// In the agent, or on the provider's side.
    Local,
    /// On an MCP server.
    McpServer,
}

/// `avp.tool_returned`: what a tool call gave.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct ToolReturned {
    #[serde(rename = "avp.step")]
    pub step: u32,
    #[serde(rename = "avp.tool.call_id")]
    pub call_id: String,
    #[serde(rename = "avp.tool.name")]
    pub name: String,
    #[serde(rename = "avp.duration_ms")]
    pub duration_ms: u64,
    #[serde(rename = "avp.tool_result")]
    pub result: ToolResultBlock,
}

/// The `tool_result` block of a `tool_returned` event.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename = "tool_result")]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct ToolResultBlock {
    pub tool_use_id: String,
    /// A string, or a list of text, image and document blocks.
    pub content: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured_content: Option<Value>,
    pub is_error: bool,
}

/// `avp.subagent_invoked`: opens the frame of a sub-agent.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct SubagentInvoked {
    #[serde(rename = "avp.step")]
    pub step: u32,
    #[serde(rename = "avp.subagent.name")]
    pub name: String,
    #[serde(
        rename = "avp.subagent.description",
        skip_serializing_if = "Option::is_none"
    )]
    pub description: Option<String>,
    #[serde(rename = "avp.subagent.invocation_id")]
    pub invocation_id: String,
    #[serde(rename = "avp.subagent.input")]
    pub input: Value,
}

/// `avp.subagent_returned`: closes the frame of a sub-agent.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct SubagentReturned {
    #[serde(rename = "avp.step")]
    pub step: u32,
    #[serde(rename = "avp.subagent.name")]
    pub name: String,
    #[serde(rename = "avp.subagent.invocation_id")]
    pub invocation_id: String,
    #[serde(rename = "avp.duration_ms")]
    pub duration_ms: u64,
    #[serde(rename = "avp.subagent.result.text")]
    pub text: String,
    #[serde(
        rename = "avp.subagent.result.structured",
        skip_serializing_if = "Option::is_none"
    )]
    pub structured: Option<Value>,
    #[serde(rename = "avp.subagent.reason")]
    pub reason: StopReason,
    #[serde(rename = "avp.subagent.usage", skip_serializing_if = "Option::is_none")]
    pub usage: Option<SubagentUsage>,
}

/// `avp.error_occurred`: something failed. Not terminal by itself.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct ErrorOccurred {
    #[serde(rename = "avp.error.code")]
    pub code: ErrorCode,
    #[serde(rename = "avp.error.message")]
    pub message: String,
    /// The cause as data, where AVP has no code for it.
    #[serde(rename = "wasm_agent.cause", skip_serializing_if = "Option::is_none")]
    pub cause: Option<Value>,
}

/// `avp.agent_stopped`: the last event of every trajectory.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct AgentStopped {
    #[serde(rename = "avp.reason")]
    pub reason: StopReason,
    #[serde(rename = "avp.output", skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(8))?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", "avp://agent")?;
        map.serialize_entry("type", self.body.type_name())?;
        map.serialize_entry("time", &Rfc3339(self.time))?;
        map.serialize_entry("subject", &*self.subject)?;
        map.serialize_entry("datacontenttype", "application/json")?;
        map.serialize_entry(
            "data",
            &Data {
                trace_id: self.span.trace,
                span_id: self.span.id,
                parent_span_id: self.span.parent,
                body: &self.body,
                origin: self.origin,
            },
        )?;
        map.end()
    }
}

#[derive(Serialize)]
struct Data<'a> {
    trace_id: TraceId,
    span_id: SpanId,
    parent_span_id: SpanId,
    #[serde(flatten)]
    body: &'a Body,
    #[serde(rename = "wasm_agent.origin")]
    origin: Origin,
}

/// RFC 3339 in UTC with microseconds: the one way this project writes a time.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(pub Timestamp);

impl std::fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
