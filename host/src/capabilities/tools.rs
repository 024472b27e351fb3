//! `wasm-agent:agent/tools`: tools of servers and components, called by the host.
//!
//! Whatever is answered to a call that a model asked for is also its `tool_returned`, written here.

use futures_util::StreamExt as _;
use rmcp::model::{PromptMessage, ResourceContents, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::bindings::wasm_agent::agent::tools as wit;
use super::bindings::wasm_agent::agent::trajectory as facts;
use super::bindings::wasm_agent::agent::types;
use super::meters::LimitHit;
use super::state::RunState;
use super::trajectory::{convert_result_content, source_bytes};
use crate::descriptor::ToolDecl;
use crate::json;
use crate::recording::Tape;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::tools::{CallError, MAX_PARALLEL, Output, Piece, Ready, Toolbox};
use crate::trajectory::event::Origin;
use crate::trajectory::fact;
use crate::trajectory::ledger::LedgerError;
use crate::trajectory::{Audit, Ledger};

/// Where secrets of others are found, in words.
const PLACE: &str = "what a tool answered";

type Answer<T> = wasmtime::Result<Result<T, wit::ToolError>>;

/// A call on its way.
struct Call {
    id: String,
    step: Step,
}

enum Step {
    /// No `tool-use` waits for it: nothing may be recorded as its result.
    Unasked(wit::ToolError),
    /// It is not made, and that is its result.
    Refused(CallError),
    Ready(Ready),
}

impl wit::Host for RunState {
    async fn list(&mut self) -> wasmtime::Result<Vec<wit::Offered>> {
        self.looks("list");
        let offered = self.tools.offered().map(|(tool, read_only)| wit::Offered {
            tool: convert_tool(tool),
            read_only,
            parallel: read_only,
        });
        Ok(offered.collect())
    }

    async fn servers(&mut self) -> wasmtime::Result<Vec<wit::Server>> {
        self.looks("servers");
        let connected = self.tools.connected();
        let connected = if connected.is_empty() {
            connected
        } else {
            // Whether one has ended meanwhile nobody else knows.
            let now = || Ok(connected);
            self.tape.observe("tools.servers", || Value::Null, now)?
        };
        let servers = self.tools.servers(&connected);
        let servers = servers.into_iter().map(|server| wit::Server {
            id: server.id,
            status: if server.connected {
                wit::Status::Connected
            } else {
                wit::Status::Failed
            },
            title: server.title,
            instructions: server.instructions,
        });
        Ok(servers.collect())
    }

    async fn call(&mut self, call: types::ToolCall) -> Answer<wit::ToolResult> {
        self.activity.function("call");
        let call = self.step(call).await?;
        let made = self.maker().make(call).await?;
        let answer = self.record(made)?;
        self.ledger.deliver().await;
        Ok(answer)
    }

    async fn call_all(
        &mut self,
        calls: Vec<types::ToolCall>,
    ) -> wasmtime::Result<Vec<Result<wit::ToolResult, wit::ToolError>>> {
        self.activity.function("call-all");
        let mut answers = Vec::with_capacity(calls.len());
        let mut calls = calls.into_iter().peekable();
        while let Some(first) = calls.next() {
            let mut together = vec![first];
            while let (Some(last), Some(next)) = (together.last(), calls.peek())
                && self.tools.is_parallel(&last.name)
                && self.tools.is_parallel(&next.name)
                // A call has one result: the second one of the same id has to see that of the first.
                && together.iter().all(|call| call.id != next.id)
            {
                together.extend(calls.next());
            }
            let mut steps = Vec::with_capacity(together.len());
            for call in together {
                steps.push(self.step(call).await?);
            }
            let maker = &self.maker();
            let made: Vec<_> = futures_util::stream::iter(steps)
                .map(|call| maker.make(call))
                .buffered(MAX_PARALLEL)
                .collect()
                .await;
            // In the order of the calls, whichever was done first: the account is the same every time.
            for made in made {
                answers.push(self.record(made?)?);
            }
            self.ledger.deliver().await;
        }
        Ok(answers)
    }

    async fn resources(&mut self, server: String) -> Answer<Vec<wit::ResourceInfo>> {
        self.activity.function("resources");
        let tools = &self.tools;
        let asked = || json!({ "server": server });
        let asking = tools.resources(&server);
        let resources = match self.maker().ask("tools.resources", asked, asking).await? {
            Ok(resources) => resources,
            Err(error) => return Ok(Err(error.into())),
        };
        let info = resources.into_iter().map(|it| wit::ResourceInfo {
            uri: it.uri,
            name: it.name,
            description: it.description,
            media_type: it.mime_type,
        });
        let info: Vec<_> = info.collect();
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = info
            .iter()
            .map(|it| it.uri.len() + it.name.len() + text(&it.description) + text(&it.media_type));
        Ok(self.fits(bytes.sum()).map(|()| info))
    }

    async fn read_resource(
        &mut self,
        server: String,
        uri: String,
    ) -> Answer<Vec<wit::ResourceContent>> {
        self.activity.function("read-resource");
        let tools = &self.tools;
        let asked = || json!({ "server": server, "uri": uri });
        let asking = tools.read(&server, &uri);
        let contents = match self
            .maker()
            .ask("tools.read-resource", asked, asking)
            .await?
        {
            Ok(contents) => contents,
            Err(error) => return Ok(Err(error.into())),
        };
        let contents: Vec<_> = contents.into_iter().filter_map(convert_content).collect();
        let bytes = contents.iter().map(|it| it.data.len()).sum();
        Ok(self.fits(bytes).map(|()| contents))
    }

    async fn prompts(&mut self, server: String) -> Answer<Vec<wit::PromptInfo>> {
        self.activity.function("prompts");
        let tools = &self.tools;
        let asked = || json!({ "server": server });
        let asking = tools.prompts(&server);
        let prompts = match self.maker().ask("tools.prompts", asked, asking).await? {
            Ok(prompts) => prompts,
            Err(error) => return Ok(Err(error.into())),
        };
        let info = prompts.into_iter().map(|it| {
            let mut arguments = it.arguments.unwrap_or_default();
            arguments.sort_by_key(|argument| !argument.required.unwrap_or(false));
            wit::PromptInfo {
                name: it.name,
                description: it.description,
                arguments: arguments.into_iter().map(|it| it.name).collect(),
            }
        });
        let info: Vec<_> = info.collect();
        let bytes = info.iter().map(|it| {
            let description = it.description.as_ref().map_or(0, String::len);
            let arguments = it.arguments.iter().map(String::len).sum::<usize>();
            it.name.len() + description + arguments
        });
        Ok(self.fits(bytes.sum()).map(|()| info))
    }

    async fn prompt(
        &mut self,
        server: String,
        name: String,
        arguments: Vec<(String, String)>,
    ) -> Answer<Vec<wit::PromptMessage>> {
        self.activity.function("prompt");
        let arguments = arguments
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)));
        let arguments: Map<_, _> = arguments.collect();
        let tools = &self.tools;
        let asked = || json!({ "server": server, "name": name, "arguments": arguments });
        let asking = tools.prompt(&server, &name, arguments.clone());
        let messages = match self.maker().ask("tools.prompt", asked, asking).await? {
            Ok(messages) => messages,
            Err(error) => return Ok(Err(error.into())),
        };
        let messages: Vec<_> = messages.into_iter().map(convert_message).collect();
        let bytes = messages
            .iter()
            .flat_map(|message| &message.content)
            .map(block_bytes)
            .sum();
        Ok(self.fits(bytes).map(|()| messages))
    }
}

impl RunState {
    /// Decides what becomes of a call. A call nobody asked for is not looked at any further: it must not
    /// reach a server, and its result must not reach the account.
    async fn step(&mut self, call: types::ToolCall) -> wasmtime::Result<Call> {
        let types::ToolCall { id, name, input } = call;
        let step = match json::parse(&input) {
            Err(error) => Step::Refused(CallError::InvalidArguments(format!(
                "the arguments are not JSON: {error}"
            ))),
            Ok(input) if !self.ledger.awaits(&id, &name, &input) && !down(Wall::ToolAsked) => {
                // Each is on record: counted, so that they are no way to fill a disk.
                let counted = self.ledger.admit(name.len()).is_ok();
                let refused = counted.then(|| self.tools.refused(&name)).flatten();
                Step::Unasked(match refused {
                    // A model that names a tool it was not shown has had its answer already.
                    Some(denied) => denied.into(),
                    None => wit::ToolError::NoSuchCall(format!(
                        "no tool-use `{}` of `{}` with these arguments waits for its result",
                        json::printable(&id),
                        json::printable(&name)
                    )),
                })
            }
            Ok(input) => match self.ledger.admit(input.to_string().len()) {
                Ok(()) => match self.ledger.leaving_json("the arguments of a tool", input) {
                    Ok(input) => match self.tools.prepare(&name, input).await {
                        Ok(ready) => Step::Ready(ready),
                        Err(error) => Step::Refused(error),
                    },
                    Err(LedgerError::Journal(error)) => return Err(wasmtime::Error::new(error)),
                    Err(LedgerError::Rejected(rejected)) => Step::Refused(CallError::Denied {
                        subject: name,
                        rule: rejected.to_string(),
                    }),
                },
                Err(LedgerError::Journal(error)) => return Err(wasmtime::Error::new(error)),
                Err(LedgerError::Rejected(crate::trajectory::Rejected::Limit { name, max })) => {
                    Step::Refused(CallError::Limit(LimitHit { name, max }))
                }
                Err(LedgerError::Rejected(rejected)) => {
                    Step::Unasked(wit::ToolError::NoSuchCall(rejected.to_string()))
                }
            },
        };
        Ok(Call { id, step })
    }

    /// Writes `tool_returned` and turns it into the answer.
    fn record(&self, made: Made) -> Answer<wit::ToolResult> {
        let Made { id, done } = made;
        let (output, error) = match done {
            Done::Unasked(error) => return Ok(Err(error)),
            Done::Failed(error) => (Output::error(error.to_string()), Some(error)),
            Done::Output(output) => (output, None),
        };
        let result = convert_output(id, output);
        let content = convert_result_content(result.content.clone());
        let structured = result.structured.as_deref().map(json::parse).transpose();
        let (Ok(content), Ok(structured)) = (content, structured) else {
            let reason = "the tool's result cannot be recorded".to_owned();
            return Ok(Err(wit::ToolError::Unavailable(reason)));
        };
        let bytes = result.content.iter().map(block_bytes).sum();
        let recorded = self.ledger.tool_result(
            Origin::Observed,
            fact::ToolResult {
                call_id: result.call_id.clone(),
                content,
                structured,
                is_error: result.is_error,
            },
        );
        match recorded {
            Ok(()) => {
                self.ledger.observed(bytes);
                self.activity.tool_returned();
            }
            Err(LedgerError::Journal(error)) => return Err(wasmtime::Error::new(error)),
            Err(LedgerError::Rejected(rejected)) => {
                return Ok(Err(wit::ToolError::NoSuchCall(rejected.to_string())));
            }
        }
        Ok(match error {
            Some(error) => Err(error.into()),
            None => Ok(result),
        })
    }

    fn maker(&self) -> Maker {
        Maker {
            tools: self.tools.clone(),
            tape: self.tape.clone(),
            ledger: self.ledger.clone(),
        }
    }

    /// Whether what a server sent is within the limit of a result.
    fn fits(&self, bytes: usize) -> Result<(), wit::ToolError> {
        let max = self.grants.limits.tool_result_bytes;
        if bytes as u64 <= max {
            return Ok(());
        }
        let name = "tool-result-bytes";
        if let Err(error) = self.ledger.audit(Audit::Limit { name, max }) {
            tracing::warn!(%error, "cannot record that a limit is reached");
        }
        Err(CallError::Limit(LimitHit { name, max }).into())
    }
}

struct Made {
    id: String,
    done: Done,
}

enum Done {
    Unasked(wit::ToolError),
    Failed(CallError),
    Output(Output),
}

/// Makes calls and asks servers, through the tape. What they answer is without the secrets they may know before
/// it is on the tape.
struct Maker {
    tools: Toolbox,
    tape: Tape,
    ledger: Ledger,
}

impl Maker {
    async fn make(&self, call: Call) -> wasmtime::Result<Made> {
        let done = match call.step {
            Step::Unasked(error) => Done::Unasked(error),
            Step::Refused(error) => Done::Failed(error),
            Step::Ready(ready) => {
                let performed = async {
                    Ok(match self.tools.call(&ready).await {
                        Ok(output) => Ok(self.without_secrets(output)?),
                        Err(error) => Err(error),
                    })
                };
                let came: Result<Output, CallError> = self
                    .tape
                    .act("tools.call", || ready.asked(), performed)
                    .await?;
                match came {
                    Ok(output) => Done::Output(output),
                    Err(error) => Done::Failed(error),
                }
            }
        };
        Ok(Made { id: call.id, done })
    }

    /// Asks a server for something that changes nothing there.
    async fn ask<T: Serialize + DeserializeOwned>(
        &self,
        kind: &'static str,
        asked: impl FnOnce() -> Value + Send,
        asking: impl Future<Output = Result<T, CallError>>,
    ) -> wasmtime::Result<Result<T, CallError>> {
        let performed = async { self.cleared(asking.await) };
        self.tape.effect(kind, asked, performed).await
    }

    fn cleared<T: Serialize + DeserializeOwned>(
        &self,
        answer: Result<T, CallError>,
    ) -> wasmtime::Result<Result<T, CallError>> {
        let Ok(answer) = answer else {
            return Ok(answer);
        };
        if self.ledger.guard().is_none() {
            return Ok(Ok(answer));
        }
        let cleared = self
            .ledger
            .arriving_json(PLACE, serde_json::to_value(answer)?)?;
        Ok(serde_json::from_value(cleared).map_err(|_| {
            let reason = "there is a secret in what the server answered";
            CallError::Unavailable(reason.to_owned())
        }))
    }

    /// What a tool says, without the secrets its server may know.
    fn without_secrets(&self, output: Output) -> wasmtime::Result<Output> {
        if self.ledger.guard().is_none() {
            return Ok(output);
        }
        let mut content = Vec::with_capacity(output.content.len());
        for piece in output.content {
            content.push(match piece {
                Piece::Text(text) => Piece::Text(self.ledger.arriving(PLACE, text)?),
                other => other,
            });
        }
        let structured = match output.structured {
            Some(value) => {
                let text = self.ledger.arriving(PLACE, value.to_string())?;
                // Cut out of a string of it, a mark leaves it a document.
                Some(json::parse(&text).unwrap_or(Value::Null))
            }
            None => None,
        };
        Ok(Output {
            content,
            structured,
            ..output
        })
    }
}

impl From<CallError> for wit::ToolError {
    fn from(error: CallError) -> wit::ToolError {
        match error {
            CallError::Unknown(name) => wit::ToolError::Unknown(name),
            CallError::InvalidArguments(reason) => wit::ToolError::InvalidArguments(reason),
            CallError::Denied { subject, rule } => wit::ToolError::Denied(types::Denied {
                capability: "tools".to_owned(),
                subject,
                rule,
            }),
            CallError::Limit(LimitHit { name, max }) => wit::ToolError::Limit(types::Limit {
                name: name.to_owned(),
                max,
            }),
            CallError::TimedOut(millis) => wit::ToolError::TimedOut(millis),
            CallError::Unavailable(reason) => wit::ToolError::Unavailable(reason),
        }
    }
}

fn convert_tool(tool: &ToolDecl) -> types::Tool {
    let text = |schema: &Option<Value>| schema.as_ref().map(Value::to_string);
    types::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: text(&tool.input_schema),
        output_schema: text(&tool.output_schema),
        mcp_server_id: tool.mcp_server_id.clone(),
    }
}

fn convert_output(call_id: String, output: Output) -> wit::ToolResult {
    wit::ToolResult {
        call_id,
        content: output.content.into_iter().map(convert_piece).collect(),
        structured: output.structured.as_ref().map(Value::to_string),
        is_error: output.is_error,
    }
}

fn convert_piece(piece: Piece) -> facts::ResultBlock {
    let bytes = |media_type, data| types::Source::Bytes(types::InlineMedia { media_type, data });
    match piece {
        Piece::Text(text) => facts::ResultBlock::Text(text),
        Piece::Image { media_type, data } => facts::ResultBlock::Image(bytes(media_type, data)),
        Piece::Document {
            media_type,
            data,
            title,
        } => facts::ResultBlock::Document(types::Document {
            source: bytes(media_type, data),
            title,
        }),
    }
}

fn block_bytes(block: &facts::ResultBlock) -> usize {
    match block {
        facts::ResultBlock::Text(text) => text.len(),
        facts::ResultBlock::Image(source) => source_bytes(source),
        facts::ResultBlock::Document(document) => source_bytes(&document.source),
    }
}

fn convert_message(message: PromptMessage) -> wit::PromptMessage {
    wit::PromptMessage {
        role: match message.role {
            Role::User => "user".to_owned(),
            Role::Assistant => "assistant".to_owned(),
        },
        content: vec![convert_piece(message.content.into())],
    }
}

fn convert_content(content: ResourceContents) -> Option<wit::ResourceContent> {
    match content {
        ResourceContents::TextResourceContents {
            uri,
            mime_type,
            text,
            ..
        } => Some(wit::ResourceContent {
            uri,
            media_type: mime_type,
            data: text.into_bytes(),
        }),
        ResourceContents::BlobResourceContents {
            uri,
            mime_type,
            blob,
            ..
        } => Some(wit::ResourceContent {
            uri,
            media_type: mime_type,
            // What is not base64 is nothing anybody could use.
            data: STANDARD.decode(blob).ok()?,
        }),
        _ => None,
    }
}
