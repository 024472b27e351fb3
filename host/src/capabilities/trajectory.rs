//! `wasm-agent:agent/trajectory`: facts a guest claims.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::bindings::wasm_agent::agent::trajectory as wit;
use super::bindings::wasm_agent::agent::types;
use super::state::RunState;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::content::{Block, check_result_content};
use crate::trajectory::event::Origin;
use crate::trajectory::ledger::LedgerError;
use crate::trajectory::recorder::amount;
use crate::trajectory::{Audit, ErrorCode, Rejected, StopReason, fact};

type Answer<T> = wasmtime::Result<Result<T, wit::Rejected>>;

impl wit::Host for RunState {
    async fn assistant(&mut self, turn: wit::Turn) -> Answer<wit::Receipt> {
        let answer = self.claim("assistant", turn_bytes(&turn), |state| {
            let turn = convert_turn(turn)?;
            state.ledger.assistant(Origin::Claimed, turn)
        });
        self.ledger.deliver().await;
        Ok(answer?.map(|receipt| wit::Receipt {
            step: receipt.step,
            refused_calls: receipt.refused_calls,
        }))
    }

    async fn report_usage(
        &mut self,
        key: Option<String>,
        usage: wit::Usage,
        cost_usd: Option<f64>,
    ) -> Answer<()> {
        let answer = self.claim("report-usage", len(key.as_ref()), |state| {
            state
                .ledger
                .usage(key.as_deref(), convert_usage(usage), cost_usd)
        });
        self.ledger.deliver().await;
        answer
    }

    async fn close_turn(&mut self) -> Answer<()> {
        let answer = self.claim("close-turn", 0, |state| state.ledger.close_turn());
        self.ledger.deliver().await;
        answer
    }

    async fn report_tool_result(&mut self, result: wit::ToolResult) -> Answer<()> {
        let bytes = result.call_id.len()
            + result.content.iter().map(result_block_bytes).sum::<usize>()
            + len(result.structured.as_ref());
        let answer = self.claim("report-tool-result", bytes, |state| {
            let content = convert_result_content(result.content)?;
            let result = fact::ToolResult {
                call_id: result.call_id,
                content,
                structured: result
                    .structured
                    .map(|text| object("structured", &text))
                    .transpose()?,
                is_error: result.is_error,
            };
            state.ledger.tool_result(Origin::Claimed, result)?;
            state.activity.tool_returned();
            Ok(())
        });
        self.ledger.deliver().await;
        answer
    }

    async fn start_subagent(&mut self, call: wit::SubagentCall) -> Answer<()> {
        let bytes = call.invocation_id.len()
            + call.name.len()
            + len(call.description.as_ref())
            + len(call.input.as_ref());
        let answer = self.claim("start-subagent", bytes, |state| {
            let call = fact::SubagentCall {
                invocation_id: call.invocation_id,
                name: call.name,
                description: call.description,
                input: call.input.map(|text| object("input", &text)).transpose()?,
            };
            state.ledger.subagent_start(Origin::Claimed, call)
        });
        self.ledger.deliver().await;
        answer
    }

    async fn finish_subagent(&mut self, result: wit::SubagentResult) -> Answer<()> {
        let bytes =
            result.invocation_id.len() + result.text.len() + len(result.structured.as_ref());
        let answer = self.claim("finish-subagent", bytes, |state| {
            let result = fact::SubagentResult {
                invocation_id: result.invocation_id,
                text: result.text,
                structured: result
                    .structured
                    .map(|text| parse("structured", &text))
                    .transpose()?,
                reason: result.reason.into(),
                usage: result.usage.map(convert_subagent_usage).transpose()?,
            };
            state.ledger.subagent_result(Origin::Claimed, result)
        });
        self.ledger.deliver().await;
        answer
    }

    async fn report_error(&mut self, code: types::ErrorCode, message: String) -> Answer<()> {
        let answer = self.claim("report-error", message.len(), |state| {
            state
                .ledger
                .error(Origin::Claimed, code.into(), message, None)
        });
        self.ledger.deliver().await;
        answer
    }

    async fn progress(&mut self, message: String, fraction: Option<f64>) -> Answer<()> {
        let answer = self.claim("progress", message.len(), |state| {
            if fraction.is_some_and(|fraction| !(0.0..=1.0).contains(&fraction)) {
                let reason = "fraction: has to be between 0 and 1";
                return Err(Rejected::Invalid(reason.to_owned()).into());
            }
            state.ledger.claimable("progress", &message)?;
            state.activity.says(&message);
            Ok(state.ledger.audit(Audit::Progress { message, fraction })?)
        });
        self.ledger.deliver().await;
        answer
    }
}

impl types::Host for RunState {}

impl RunState {
    /// The shared path of every claim: count it, check it, record it; a refusal is a value, a journal
    /// that fails is the end of the run.
    fn claim<T>(
        &mut self,
        name: &'static str,
        bytes: usize,
        record: impl FnOnce(&mut RunState) -> Result<T, LedgerError>,
    ) -> Answer<T> {
        self.activity.function(name);
        let done = self.ledger.admit(bytes).and_then(|()| record(self));
        match done {
            Ok(done) => Ok(Ok(done)),
            Err(LedgerError::Journal(error)) => Err(wasmtime::Error::new(error)),
            Err(LedgerError::Rejected(rejected)) => {
                tracing::debug!(fact = name, %rejected, "refused a fact");
                Ok(Err(rejected.into()))
            }
        }
    }
}

impl From<Rejected> for wit::Rejected {
    fn from(rejected: Rejected) -> wit::Rejected {
        match rejected {
            Rejected::Invalid(reason) => wit::Rejected::Invalid(reason),
            Rejected::UnknownCall(id) => wit::Rejected::UnknownCall(id),
            Rejected::CallReturned(id) => wit::Rejected::CallReturned(id),
            Rejected::DuplicateCall(id) => wit::Rejected::DuplicateCall(id),
            Rejected::UnknownInvocation(id) => wit::Rejected::UnknownInvocation(id),
            Rejected::DuplicateInvocation(id) => wit::Rejected::DuplicateInvocation(id),
            Rejected::NoOpenTurn => wit::Rejected::NoOpenTurn,
            Rejected::Limit { name, max } => wit::Rejected::Limit(types::Limit {
                name: name.to_owned(),
                max,
            }),
            Rejected::Stopped => wit::Rejected::Stopped,
        }
    }
}

impl From<types::ErrorCode> for ErrorCode {
    fn from(code: types::ErrorCode) -> ErrorCode {
        match code {
            types::ErrorCode::RateLimit => ErrorCode::RateLimit,
            types::ErrorCode::ContextLimit => ErrorCode::ContextLimit,
            types::ErrorCode::AuthError => ErrorCode::AuthError,
            types::ErrorCode::AgentCrash => ErrorCode::AgentCrash,
            types::ErrorCode::UnsupportedModel => ErrorCode::UnsupportedModel,
            types::ErrorCode::UnsupportedProvider => ErrorCode::UnsupportedProvider,
            types::ErrorCode::UnsupportedAgentVersion => ErrorCode::UnsupportedAgentVersion,
            types::ErrorCode::CommissionCollision => ErrorCode::CommissionCollision,
            types::ErrorCode::McpConnectFailed => ErrorCode::McpConnectFailed,
            types::ErrorCode::Unknown => ErrorCode::Unknown,
        }
    }
}

impl From<types::StopReason> for StopReason {
    fn from(reason: types::StopReason) -> StopReason {
        match reason {
            types::StopReason::Converged => StopReason::Converged,
            types::StopReason::Error => StopReason::Error,
            types::StopReason::Interrupted => StopReason::Interrupted,
            types::StopReason::Refused => StopReason::Refused,
            types::StopReason::Abandoned => StopReason::Abandoned,
        }
    }
}

fn convert_turn(turn: wit::Turn) -> Result<fact::Turn, Rejected> {
    let content = turn
        .content
        .into_iter()
        .enumerate()
        .map(|(index, block)| {
            convert_block(block)
                .map_err(|reason| Rejected::Invalid(format!("content[{index}].{reason}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(fact::Turn {
        key: turn.key,
        frame: turn.frame,
        content,
        usage: turn.usage.map(convert_usage),
        model: turn.model,
        request_model: turn.request_model,
        provider: None,
        finish_reasons: turn.finish_reasons,
        cost_usd: turn.cost_usd,
        cost_source: None,
        duration_ms: turn.duration_ms,
        time_to_first_chunk: turn.time_to_first_chunk,
        refusal_category: turn.refusal_category,
        meta: turn.meta.map(|text| map("meta", &text)).transpose()?,
    })
}

pub(super) fn convert_usage(usage: wit::Usage) -> fact::Usage {
    fact::Usage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cache_read_input_tokens: usage.cache_read_input_tokens,
        cache_creation_input_tokens: usage.cache_creation_input_tokens,
        reasoning_output_tokens: usage.reasoning_output_tokens,
    }
}

pub(super) fn convert_usage_for_guest(usage: fact::Usage) -> wit::Usage {
    wit::Usage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cache_read_input_tokens: usage.cache_read_input_tokens,
        cache_creation_input_tokens: usage.cache_creation_input_tokens,
        reasoning_output_tokens: usage.reasoning_output_tokens,
    }
}

fn convert_subagent_usage(usage: wit::SubagentUsage) -> Result<fact::SubagentUsage, Rejected> {
    amount("usage.cost-usd", usage.cost_usd)?;
    Ok(fact::SubagentUsage {
        cost_usd: usage.cost_usd,
        tokens_input: usage.tokens_input,
        tokens_output: usage.tokens_output,
        turns: usage.turns,
    })
}

pub(super) fn convert_block(block: types::ContentBlock) -> Result<Block, String> {
    use types::ContentBlock as B;
    let value = match block {
        B::Text(text) => return Ok(Block::text(text)),
        B::Thinking(thinking) => {
            let mut block = Map::new();
            block.insert("type".to_owned(), "thinking".into());
            block.insert("thinking".to_owned(), thinking.thinking.into());
            if let Some(signature) = thinking.signature {
                block.insert("signature".to_owned(), signature.into());
            }
            if thinking.redacted {
                block.insert("redacted".to_owned(), true.into());
            }
            Value::Object(block)
        }
        B::Image(source) => json!({ "type": "image", "source": convert_source(source) }),
        B::Audio(source) => json!({ "type": "audio", "source": convert_source(source) }),
        B::Video(source) => json!({ "type": "video", "source": convert_source(source) }),
        B::Document(document) => convert_document(document),
        B::ToolUse(call) => convert_call("tool_use", &call)?,
        B::ServerToolUse(call) => convert_call("server_tool_use", &call)?,
        B::ServerToolResult(result) => json!({
            "type": "server_tool_result",
            "tool_use_id": result.call_id,
            "name": result.name,
            "content": parse_text("content", &result.content)?,
            "is_error": result.is_error,
        }),
        B::Refusal(text) => json!({ "type": "refusal", "refusal": text }),
        B::Other(text) => parse_text("other", &text)?,
    };
    Block::parse(value)
}

fn convert_call(kind: &str, call: &types::ToolCall) -> Result<Value, String> {
    let input = parse_text("input", &call.input)?;
    Ok(json!({ "type": kind, "id": call.id, "name": call.name, "input": input }))
}

pub(super) fn convert_document(document: types::Document) -> Value {
    let mut block = Map::new();
    block.insert("type".to_owned(), "document".into());
    block.insert("source".to_owned(), convert_source(document.source));
    if let Some(title) = document.title {
        block.insert("title".to_owned(), title.into());
    }
    Value::Object(block)
}

pub(super) fn convert_source(source: types::Source) -> Value {
    match source {
        types::Source::Bytes(media) => json!({
            "type": "base64",
            "media_type": media.media_type,
            "data": STANDARD.encode(media.data),
        }),
        types::Source::Url(url) => json!({ "type": "url", "url": url }),
        types::Source::File(id) => json!({ "type": "file", "file_id": id }),
    }
}

/// A result that is only text is a string on the wire, as providers have it.
pub(super) fn convert_result_content(mut blocks: Vec<wit::ResultBlock>) -> Result<Value, Rejected> {
    if let [wit::ResultBlock::Text(text)] = blocks.as_mut_slice() {
        return Ok(Value::String(std::mem::take(text)));
    }
    let blocks = blocks.into_iter().map(|block| match block {
        wit::ResultBlock::Text(text) => json!({ "type": "text", "text": text }),
        wit::ResultBlock::Image(source) => {
            json!({ "type": "image", "source": convert_source(source) })
        }
        wit::ResultBlock::Document(document) => convert_document(document),
    });
    let content = Value::Array(blocks.collect());
    check_result_content(Some(&content)).map_err(Rejected::Invalid)?;
    Ok(content)
}

pub(super) fn parse_text(field: &str, text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Err(_) if down(Wall::Facts) => Ok(Value::Null),
        parsed => parsed.map_err(|error| format!("{field}: not valid JSON: {error}")),
    }
}

fn parse(field: &str, text: &str) -> Result<Value, Rejected> {
    parse_text(field, text).map_err(Rejected::Invalid)
}

fn map(field: &str, text: &str) -> Result<Map<String, Value>, Rejected> {
    match parse(field, text)? {
        Value::Object(map) => Ok(map),
        _ if down(Wall::Facts) => Ok(Map::new()),
        _ => Err(Rejected::Invalid(format!(
            "{field}: has to be a JSON object"
        ))),
    }
}

fn object(field: &str, text: &str) -> Result<Value, Rejected> {
    map(field, text).map(Value::Object)
}

fn len(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn turn_bytes(turn: &wit::Turn) -> usize {
    turn.content.iter().map(block_bytes).sum::<usize>()
        + len(turn.key.as_ref())
        + len(turn.frame.as_ref())
        + len(turn.model.as_ref())
        + len(turn.request_model.as_ref())
        + len(turn.refusal_category.as_ref())
        + len(turn.meta.as_ref())
        + turn.finish_reasons.iter().map(String::len).sum::<usize>()
}

pub(super) fn block_bytes(block: &types::ContentBlock) -> usize {
    use types::ContentBlock as B;
    match block {
        B::Text(text) | B::Refusal(text) | B::Other(text) => text.len(),
        B::Thinking(thinking) => thinking.thinking.len() + len(thinking.signature.as_ref()),
        B::Image(source) | B::Audio(source) | B::Video(source) => source_bytes(source),
        B::Document(document) => source_bytes(&document.source) + len(document.title.as_ref()),
        B::ToolUse(call) | B::ServerToolUse(call) => {
            call.id.len() + call.name.len() + call.input.len()
        }
        B::ServerToolResult(result) => {
            result.call_id.len() + result.name.len() + result.content.len()
        }
    }
}

pub(super) fn result_block_bytes(block: &wit::ResultBlock) -> usize {
    match block {
        wit::ResultBlock::Text(text) => text.len(),
        wit::ResultBlock::Image(source) => source_bytes(source),
        wit::ResultBlock::Document(document) => {
            source_bytes(&document.source) + len(document.title.as_ref())
        }
    }
}

/// Bytes become base64 on the wire: four for every three.
pub(super) fn source_bytes(source: &types::Source) -> usize {
    match source {
        types::Source::Bytes(media) => media.media_type.len() + media.data.len().div_ceil(3) * 4,
        types::Source::Url(text) | types::Source::File(text) => text.len(),
    }
}
