//! Components that are tools: described when a run starts, each call in an instance of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::agent::DESCRIBE_TIME;
use super::alone::{Lost, alone};
use super::host::Host;
use crate::capabilities::bindings::tool::{ToolComponentPre, exports};
use crate::capabilities::bindings::wasm_agent::agent::{trajectory as facts, types};
use crate::capabilities::meters::millis;
use crate::capabilities::state::RunState;
use crate::engine::Engine;
use crate::grants::Limits;
use crate::tools::component::{ComponentError, Instance, Loader, name_of};
use crate::tools::{CallError, Component, Described, Output, Piece};

use exports::wasm_agent::agent::tool_provider::ToolOutput;

/// A compiled tool component.
struct Compiled {
    engine: Engine,
    pre: ToolComponentPre<RunState>,
    limits: Limits,
}

/// Loads the tool components of a run.
pub(super) struct Loading {
    pub(super) host: Host,
    pub(super) limits: Limits,
}

impl Loader for Loading {
    fn load<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Component, ComponentError>> {
        load(&self.host, path, &self.limits).boxed()
    }
}

/// Loads the tool component at `path` and asks it for its tools, with nothing granted. Its calls have
/// `limits`, each anew, except for the computing: that is also the run's.
async fn load(host: &Host, path: &Path, limits: &Limits) -> Result<Component, ComponentError> {
    let wrong = |reason: String| ComponentError {
        path: path.to_owned(),
        reason,
    };
    let (engine, pre) = host
        .load_tool(path)
        .await
        .map_err(|error| wrong(error.to_string()))?;
    let describing = Limits {
        wall: millis(DESCRIBE_TIME),
        cpu: millis(DESCRIBE_TIME) / 2,
        ..limits.clone()
    };
    let asked = pre.clone();
    let described = alone(&engine, describing, |mut store| async move {
        let tool = asked.instantiate_async(&mut store).await?;
        let provider = tool.wasm_agent_agent_tool_provider();
        provider.call_describe(&mut store).await
    });
    let tools = described.await.map_err(|lost| wrong(lost.to_string()))?;
    let tools: Result<Vec<Described>, String> = tools.into_iter().map(convert_tool).collect();
    let compiled = Compiled {
        engine,
        pre,
        limits: limits.clone(),
    };
    Ok(Component::new(
        &name_of(path),
        tools.map_err(wrong)?,
        Arc::new(compiled),
    ))
}

impl Instance for Compiled {
    fn call(
        &self,
        tool: String,
        arguments: Map<String, Value>,
        time: Duration,
    ) -> BoxFuture<'_, Result<Output, CallError>> {
        let limits = Limits {
            wall: millis(time),
            cpu: self.limits.cpu.min(millis(time)),
            ..self.limits.clone()
        };
        async move {
            let arguments = Value::Object(arguments).to_string();
            let called = alone(&self.engine, limits, |mut store| async move {
                let component = self.pre.instantiate_async(&mut store).await?;
                let provider = component.wasm_agent_agent_tool_provider();
                provider.call_call(&mut store, &tool, &arguments).await
            });
            match called.await {
                Ok(Ok(output)) => convert_output(output),
                // What a tool says of its failure is for the model.
                Ok(Err(text)) => Ok(Output::error(text)),
                Err(Lost::TooLong(time)) => Err(CallError::TimedOut(millis(time))),
                Err(lost) => Err(CallError::Unavailable(lost.to_string())),
            }
        }
        .boxed()
    }
}

fn convert_tool(tool: types::Tool) -> Result<Described, String> {
    let object = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(schema)) => Ok(schema),
        Ok(_) => Err(format!("the schema of `{}` is no object", tool.name)),
        Err(error) => Err(format!(
            "the schema of `{}` is not JSON: {error}",
            tool.name
        )),
    };
    let input_schema = match &tool.input_schema {
        Some(text) => object(text)?,
        None => Map::from_iter([("type".to_owned(), "object".into())]),
    };
    Ok(Described {
        input_schema,
        output_schema: tool.output_schema.as_deref().map(object).transpose()?,
        name: tool.name,
        description: tool.description,
        read_only: false,
    })
}

fn convert_output(output: ToolOutput) -> Result<Output, CallError> {
    let structured = match output.structured.as_deref().map(serde_json::from_str) {
        None => None,
        Some(Ok(Value::Object(object))) => Some(Value::Object(object)),
        Some(_) => {
            let text = "the tool's structured result is not a JSON object";
            return Err(CallError::Unavailable(text.to_owned()));
        }
    };
    Ok(Output {
        content: output.content.into_iter().map(convert_block).collect(),
        structured,
        is_error: false,
    })
}

fn convert_block(block: facts::ResultBlock) -> Piece {
    match block {
        facts::ResultBlock::Text(text) => Piece::Text(text),
        facts::ResultBlock::Image(types::Source::Bytes(media)) => Piece::Image {
            media_type: media.media_type,
            data: media.data,
        },
        facts::ResultBlock::Document(types::Document {
            source: types::Source::Bytes(media),
            title,
        }) => Piece::Document {
            media_type: media.media_type,
            data: media.data,
            title,
        },
        facts::ResultBlock::Image(source) => elsewhere(source),
        facts::ResultBlock::Document(document) => elsewhere(document.source),
    }
}

/// Media that is somewhere else is a reference, for the model to read.
fn elsewhere(source: types::Source) -> Piece {
    match source {
        types::Source::Url(at) | types::Source::File(at) => Piece::Text(at),
        types::Source::Bytes(media) => Piece::Document {
            media_type: media.media_type,
            data: media.data,
            title: None,
        },
    }
}
