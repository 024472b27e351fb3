//! What can be reported about a run, before it is an event.
//!
//! Facts come from a guest (claimed) or from a capability that had the effect itself (observed). They
//! carry no ids of events, no times and no spans: those are the recorder's.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::content::Block;
use super::event::CostSource;
use super::vocabulary::StopReason;

/// Tokens of one turn. `input_tokens` includes those read from a cache (AVP T§3.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_creation_input_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_output_tokens: Option<u64>,
}

/// One inference of a model, or one chunk of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Turn {
    /// Joins chunks of one inference; without a key the turn is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The open frame of the sub-agent whose turn this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<String>,
    /// What the model said.
    pub content: Vec<Block>,
    /// Tokens; the last report of a turn counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The model that answered; the first report of a turn counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model that was asked for; the first report of a turn counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_model: Option<String>,
    /// Who serves it, where that is not the run's provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The provider's finish reasons; the last non-empty report counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<String>,
    /// US dollars, where somebody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// Where they come from: reported, unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_source: Option<CostSource>,
    /// Milliseconds the inference took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Seconds until the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_chunk: Option<f64>,
    /// The provider's category of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal_category: Option<String>,
    /// A JSON object; keys of later chunks win.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<serde_json::Map<String, Value>>,
}

/// The result of a tool call.
#[derive(Clone, Debug, Serialize)]
pub struct ToolResult {
    /// The call it answers.
    pub call_id: String,
    /// A string, or a list of text, image and document blocks.
    pub content: Value,
    /// A JSON object for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// True when the call failed or was refused.
    pub is_error: bool,
}

impl ToolResult {
    /// What a model is told: the structured result, where the content says nothing.
    #[must_use]
    pub fn told(&self) -> Cow<'_, Value> {
        let is_empty = match &self.content {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(blocks) => blocks.is_empty(),
            _ => false,
        };
        match &self.structured {
            Some(structured) if is_empty => Cow::Owned(structured.to_string().into()),
            _ => Cow::Borrowed(&self.content),
        }
    }
}

/// A sub-agent starts.
#[derive(Clone, Debug, Serialize)]
pub struct SubagentCall {
    /// Unique within the run; the id of the tool call that led to it, where there is one.
    pub invocation_id: String,
    /// Name of the sub-agent.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its input, a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// A sub-agent is done.
#[derive(Clone, Debug, Serialize)]
pub struct SubagentResult {
    /// The invocation it answers.
    pub invocation_id: String,
    /// What it answered.
    pub text: String,
    /// A structured answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// How it ended.
    pub reason: StopReason,
    /// What it used, where its own turns are not on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<SubagentUsage>,
}

/// Totals of a sub-agent; what is not known is left out (AVP T§5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are AVP's, under AVP's names")]
pub struct SubagentUsage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_input: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_output: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_model_is_told_the_structured_result_where_the_content_says_nothing() {
        let told = |content: Value, structured: Option<Value>| {
            let result = ToolResult {
                call_id: "c".to_owned(),
                content,
                structured,
                is_error: false,
            };
            result.told().into_owned()
        };
        for empty in [json!(""), json!([]), Value::Null] {
            assert_eq!(told(empty.clone(), Some(json!([42]))), "[42]");
            assert_eq!(told(empty.clone(), None), empty);
        }
        assert_eq!(told(json!("6 items"), Some(json!({"n": 6}))), "6 items");
    }
}
