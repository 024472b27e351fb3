//! Tools of the agent's own code.

use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::trajectory::{ResultBlock, ToolCall, ToolResult};
use crate::{Error, Json, Result, Tool, schema};

/// What a tool gave: text for the model, and a JSON object for programs beside it. Text becomes one with
/// `into()`, and so does a `serde_json::Value`.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolOutput {
    /// What the model gets to read.
    pub content: Vec<ResultBlock>,
    /// A JSON object for programs.
    pub structured: Option<Json>,
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self {
            content: vec![ResultBlock::Text(text)],
            structured: None,
        }
    }
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Value> for ToolOutput {
    fn from(value: Value) -> Self {
        Self {
            structured: value.is_object().then(|| value.clone().into()),
            ..value.to_string().into()
        }
    }
}

impl From<()> for ToolOutput {
    fn from((): ()) -> Self {
        "done".into()
    }
}

type Function = dyn Fn(Value) -> Result<ToolOutput>;

/// A tool and the function behind it.
#[derive(Clone)]
pub(super) struct LocalTool {
    pub(super) tool: Tool,
    /// The input schema, parsed; one that is not JSON checks nothing, and the host refuses it.
    schema: Option<Rc<Value>>,
    function: Rc<Function>,
}

impl LocalTool {
    pub(super) fn new<A, O>(tool: Tool, call: impl Fn(A) -> Result<O> + 'static) -> Self
    where
        A: DeserializeOwned,
        O: Into<ToolOutput>,
    {
        let mut tool = tool;
        // Providers insist on a schema, and this one allows everything.
        let schema = tool
            .input_schema
            .get_or_insert_with(|| r#"{"type":"object"}"#.into());
        let schema = serde_json::from_str(schema).ok().map(Rc::new);
        let function = move |input: Value| {
            let arguments = serde_json::from_value(input)
                .map_err(|error| Error::new(format!("the arguments are not valid: {error}")))?;
            Ok(call(arguments)?.into())
        };
        Self {
            tool,
            schema,
            function: Rc::new(function),
        }
    }

    /// The result of a call; what goes wrong is one too.
    pub(super) fn call(&self, call: &ToolCall) -> ToolResult {
        match self.output(&call.input) {
            Ok(output) => ToolResult {
                call_id: call.id.clone(),
                content: output.content,
                structured: output.structured.map(Json::into_text),
                is_error: false,
            },
            Err(error) => ToolResult::error(&*call.id, error.message()),
        }
    }

    fn output(&self, input: &str) -> Result<ToolOutput> {
        let input: Value = serde_json::from_str(input)?;
        if let Some(schema) = &self.schema {
            schema::check(schema, &input)
                .map_err(|what| Error::new(format!("the arguments are not valid: {what}")))?;
        }
        (self.function)(input)
    }
}
