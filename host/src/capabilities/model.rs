//! `wasm-agent:agent/model`: asking language models.

use serde_json::{Value, json};
use wasmtime::component::Resource;

use super::bindings::wasm_agent::agent::model as wit;
use super::bindings::wasm_agent::agent::types;
use super::state::RunState;
use super::trajectory::{
    convert_document, convert_result_content, convert_source, convert_usage_for_guest, parse_text,
};
use crate::descriptor::ToolDecl;
use crate::model::completion::Answered;
use crate::model::error::AskError;
use crate::model::wire::Class;
use crate::model::{
    Asked, Completion, Delta, Input, Message, ModelError, Piece, Request, Sampling, StopCause,
    ToolChoice, validate,
};
use crate::trajectory::content::Block;
use crate::trajectory::{Audit, Rejected, fact};

/// A reply that is arriving, as the guest holds it.
#[derive(Debug)]
pub struct Arriving(Completion);

type Answer<T> = wasmtime::Result<Result<T, wit::ModelError>>;

impl wit::Host for RunState {
    async fn complete(&mut self, request: wit::Request) -> Answer<wit::Reply> {
        self.activity.function("complete");
        let answer = match self.ask(request) {
            Ok(mut completion) => match completion.reply().await {
                Ok(answered) => Ok(self.reply_for_guest(&answered.clone())),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        self.answered(answer).await
    }

    async fn stream(&mut self, request: wit::Request) -> Answer<Resource<Arriving>> {
        self.activity.function("stream");
        let answer = match self.ask(request) {
            Ok(completion) => Ok(self.table.push(Arriving(completion))?),
            Err(error) => Err(error),
        };
        self.answered(answer).await
    }
}

impl wit::HostCompletion for RunState {
    async fn next(&mut self, this: Resource<Arriving>) -> Answer<Option<wit::Delta>> {
        self.activity.function("completion.next");
        let answer = self.table.get_mut(&this)?.0.next().await;
        self.answered(answer.map(|piece| piece.map(delta_for_guest)))
            .await
    }

    async fn reply(&mut self, this: Resource<Arriving>) -> Answer<wit::Reply> {
        self.activity.function("completion.reply");
        let answer = match self.table.get_mut(&this)?.0.reply().await {
            Ok(answered) => Ok(answered.clone()),
            Err(error) => Err(error),
        };
        let answer = answer.map(|answered| self.reply_for_guest(&answered));
        self.answered(answer).await
    }

    async fn drop(&mut self, this: Resource<Arriving>) -> wasmtime::Result<()> {
        self.activity.function("completion.drop");
        drop(self.table.delete(this)?);
        self.ledger.deliver().await;
        Ok(())
    }
}

impl RunState {
    fn ask(&mut self, request: wit::Request) -> Result<Completion, AskError> {
        let bytes = request_bytes(&request);
        let asked = if bytes > validate::MAX_BYTES {
            Err(format!("request: at most {} bytes", validate::MAX_BYTES))
        } else {
            self.convert(request)
        };
        match asked {
            Ok(asked) => self.models.ask(asked),
            Err(reason) => {
                self.ledger.audit(Audit::Rejected {
                    fact: "model",
                    reason: reason.clone(),
                })?;
                Err(ModelError::Invalid(reason).into())
            }
        }
    }

    /// What the guest gets; a journal that fails is the end of the run.
    async fn answered<T>(&mut self, answer: Result<T, AskError>) -> Answer<T> {
        self.ledger.deliver().await;
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(AskError::Journal(error)) => Err(wasmtime::Error::new(error)),
            Err(AskError::Tape(error)) => Err(error),
            Err(AskError::Refused(error)) => Ok(Err(error.into())),
        }
    }

    fn convert(&self, request: wit::Request) -> Result<Asked, String> {
        let messages = request
            .messages
            .into_iter()
            .enumerate()
            .map(|(at, message)| {
                self.convert_message(message)
                    .map_err(|reason| format!("messages[{at}]{reason}"))
            })
            .collect::<Result<_, _>>()?;
        let object = |field: &str, text: &str| match parse_text(field, text)? {
            value @ Value::Object(_) => Ok(value),
            _ => Err(format!("{field}: has to be a JSON object")),
        };
        let tools = request
            .tools
            .into_iter()
            .enumerate()
            .map(|(at, tool)| {
                let schema = |name: &str, text: Option<String>| {
                    text.map(|text| object(&format!("tools[{at}].{name}"), &text))
                        .transpose()
                };
                Ok(ToolDecl {
                    input_schema: schema("input-schema", tool.input_schema)?,
                    output_schema: schema("output-schema", tool.output_schema)?,
                    name: tool.name,
                    description: tool.description,
                    mcp_server_id: tool.mcp_server_id,
                    ..ToolDecl::default()
                })
            })
            .collect::<Result<_, String>>()?;
        let provider_tools = request
            .provider_tools
            .iter()
            .enumerate()
            .map(|(at, text)| object(&format!("provider-tools[{at}]"), text))
            .collect::<Result<_, _>>()?;
        let sampling = request.sampling;
        Ok(Asked {
            model: request.model,
            frame: request.frame,
            request: Request {
                model: String::new(),
                system: request.system,
                messages,
                tools,
                tool_choice: match request.tool_choice {
                    wit::ToolChoice::Auto => ToolChoice::Auto,
                    wit::ToolChoice::Any => ToolChoice::Any,
                    wit::ToolChoice::None => ToolChoice::None,
                    wit::ToolChoice::Tool(name) => ToolChoice::Tool(name),
                },
                provider_tools,
                output_schema: request
                    .output_schema
                    .map(|text| object("output-schema", &text))
                    .transpose()?,
                sampling: Sampling {
                    temperature: sampling.temperature,
                    top_p: sampling.top_p,
                    max_output_tokens: sampling.max_output_tokens,
                    stop_sequences: sampling.stop_sequences,
                    reasoning_tokens: sampling.reasoning_tokens,
                },
            },
        })
    }

    fn convert_message(&self, message: wit::Message) -> Result<Message, String> {
        let at = |at: usize| move |reason: String| format!("[{at}].{reason}");
        Ok(match message {
            wit::Message::User(blocks) => Message::User(
                blocks
                    .into_iter()
                    .enumerate()
                    .map(|(index, block)| convert_input(block).map_err(at(index)))
                    .collect::<Result<_, _>>()?,
            ),
            wit::Message::Assistant(blocks) => Message::Assistant(
                blocks
                    .into_iter()
                    .enumerate()
                    .map(|(index, block)| self.blocks.given_back(block).map_err(at(index)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    fn reply_for_guest(&mut self, answered: &Answered) -> wit::Reply {
        let reply = &answered.reply;
        wit::Reply {
            content: reply
                .content
                .iter()
                .map(|block| self.blocks.for_guest(block))
                .collect(),
            stop: match reply.stop {
                StopCause::EndTurn => wit::StopCause::EndTurn,
                StopCause::ToolUse => wit::StopCause::ToolUse,
                StopCause::MaxTokens => wit::StopCause::MaxTokens,
                StopCause::StopSequence => wit::StopCause::StopSequence,
                StopCause::Refusal => wit::StopCause::Refusal,
                StopCause::Other => wit::StopCause::Other,
            },
            finish_reasons: reply.finish_reasons.clone(),
            model: answered.model.clone(),
            usage: reply.usage.map(convert_usage_for_guest),
            cost_usd: answered.cost_usd,
            step: answered.step,
            refused_calls: answered.refused_calls.clone(),
        }
    }
}

fn convert_input(block: wit::InputBlock) -> Result<Input, String> {
    let parsed = |value: Value| Block::parse(value).map(Input::Block);
    match block {
        wit::InputBlock::Text(text) => Ok(Input::Block(Block::text(text))),
        wit::InputBlock::Image(source) => {
            parsed(json!({ "type": "image", "source": convert_source(source) }))
        }
        wit::InputBlock::Audio(source) => {
            parsed(json!({ "type": "audio", "source": convert_source(source) }))
        }
        wit::InputBlock::Document(document) => parsed(convert_document(document)),
        wit::InputBlock::ToolResult(result) => {
            let content =
                convert_result_content(result.content).map_err(|rejected| match rejected {
                    Rejected::Invalid(reason) => reason,
                    other => other.to_string(),
                })?;
            let structured = match result.structured {
                None => None,
                Some(text) => match parse_text("structured", &text)? {
                    value @ Value::Object(_) => Some(value),
                    _ => return Err("structured: has to be a JSON object".to_owned()),
                },
            };
            Ok(Input::ToolResult(fact::ToolResult {
                call_id: result.call_id,
                content,
                structured,
                is_error: result.is_error,
            }))
        }
    }
}

fn delta_for_guest(piece: Piece) -> wit::Delta {
    match piece {
        Piece::Delta(Delta::Text(text)) => wit::Delta::Text(text),
        Piece::Delta(Delta::Thinking(text)) => wit::Delta::Thinking(text),
        Piece::Delta(Delta::ToolUse { id, name }) => wit::Delta::ToolUse((id, name)),
        Piece::Delta(Delta::ToolInput(text)) => wit::Delta::ToolInput(text),
        Piece::Retry(reason) => wit::Delta::Retry(reason),
    }
}

impl From<ModelError> for wit::ModelError {
    fn from(error: ModelError) -> wit::ModelError {
        match error {
            ModelError::Invalid(reason) => wit::ModelError::Invalid(reason),
            ModelError::Denied { subject, rule } => wit::ModelError::Denied(types::Denied {
                capability: "model".to_owned(),
                subject,
                rule,
            }),
            ModelError::Limit(hit) => wit::ModelError::Limit(types::Limit {
                name: hit.name.to_owned(),
                max: hit.max,
            }),
            ModelError::Unsupported(reason) => wit::ModelError::Unsupported(reason),
            ModelError::Provider { class, failure } => {
                let failure = wit::ProviderFailure {
                    message: failure.message,
                    status: failure.status,
                    attempts: failure.attempts,
                };
                match class {
                    Class::ContextLimit => wit::ModelError::ContextLimit(failure),
                    Class::RateLimited => wit::ModelError::RateLimited(failure),
                    Class::Overloaded => wit::ModelError::Overloaded(failure),
                    Class::UsageLimit => wit::ModelError::UsageLimit(failure),
                    Class::Auth => wit::ModelError::Auth(failure),
                    Class::Network => wit::ModelError::Network(failure),
                    Class::Garbled => wit::ModelError::Garbled(failure),
                    Class::Rejected => wit::ModelError::Rejected(failure),
                    Class::Unsupported => wit::ModelError::Unsupported(failure.message),
                }
            }
        }
    }
}

fn request_bytes(request: &wit::Request) -> usize {
    let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let messages: usize = request
        .messages
        .iter()
        .map(|message| match message {
            wit::Message::User(blocks) => blocks.iter().map(input_bytes).sum::<usize>(),
            wit::Message::Assistant(blocks) => {
                blocks.iter().map(super::trajectory::block_bytes).sum()
            }
        })
        .sum();
    let tools: usize = request
        .tools
        .iter()
        .map(|tool| {
            tool.name.len()
                + len(&tool.description)
                + len(&tool.input_schema)
                + len(&tool.output_schema)
        })
        .sum();
    let provider_tools: usize = request.provider_tools.iter().map(String::len).sum();
    let stops: usize = request
        .sampling
        .stop_sequences
        .iter()
        .map(String::len)
        .sum();
    messages
        + tools
        + provider_tools
        + stops
        + len(&request.system)
        + len(&request.output_schema)
        + len(&request.model)
}

fn input_bytes(block: &wit::InputBlock) -> usize {
    use super::trajectory::{result_block_bytes, source_bytes};
    match block {
        wit::InputBlock::Text(text) => text.len(),
        wit::InputBlock::Image(source) | wit::InputBlock::Audio(source) => source_bytes(source),
        wit::InputBlock::Document(document) => {
            source_bytes(&document.source) + document.title.as_ref().map_or(0, String::len)
        }
        wit::InputBlock::ToolResult(result) => {
            let content: usize = result.content.iter().map(result_block_bytes).sum();
            content + result.call_id.len() + result.structured.as_ref().map_or(0, String::len)
        }
    }
}
