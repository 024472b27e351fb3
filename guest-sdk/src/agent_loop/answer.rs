//! The answer in the form the commission asks for.

use serde_json::Value;

use super::conversation::Ending;
use crate::{Output, schema};

/// What a conversation came to.
#[derive(Debug)]
pub(super) struct Answer {
    /// In the model's words.
    pub(super) text: String,
    /// As the output schema has it.
    pub(super) structured: Option<Value>,
    pub(super) ending: Ending,
}

impl Answer {
    pub(super) fn output(self) -> Output {
        match self.structured {
            Some(value) => value.into(),
            None if self.text.trim().is_empty() => Output::None,
            None => self.text.into(),
        }
    }
}

/// What the system prompt says about the form of the answer.
pub(super) fn instructions(schema: &Value) -> String {
    format!(
        "Your final answer has to be one JSON document, without any text around it, that matches this \
         JSON Schema:\n{schema}"
    )
}

/// The JSON document an answer is, or holds, when it matches the schema; otherwise what to tell the model.
pub(super) fn structured(text: &str, schema: &Value) -> Result<Value, String> {
    let value = document(text)?;
    match schema::check(schema, &value) {
        Ok(()) => Ok(value),
        Err(what) => Err(format!("it does not match the JSON Schema: {what}")),
    }
}

/// Models put documents into code fences and between sentences, whatever they are told.
fn document(text: &str) -> Result<Value, String> {
    let text = text.trim();
    let error = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let fenced = text.split("```").nth(1).map(|inside| {
        let language = inside.find('\n').unwrap_or(0);
        inside.get(language..).unwrap_or_default()
    });
    let braced = (text.find(['{', '[']))
        .zip(text.rfind(['}', ']']))
        .and_then(|(first, last)| text.get(first..=last));
    (fenced.into_iter().chain(braced))
        .find_map(|part| serde_json::from_str(part.trim()).ok())
        .ok_or_else(|| format!("it is not a JSON document: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_found_where_models_put_it() {
        let schema = json!({"type": "object", "required": ["a"]});
        let found = |text| structured(text, &schema);
        for text in [
            r#"{"a":1}"#,
            "Here you are:\n```json\n{\"a\": 1}\n```\nAnything else?",
            "The answer is {\"a\": 1}.",
            "```\n{\"a\":1}```",
        ] {
            assert_eq!(found(text), Ok(json!({"a": 1})), "{text}");
        }
        assert_eq!(
            found("{}"),
            Err("it does not match the JSON Schema: the document lacks `a`".into())
        );
        for text in ["", "no", "```", "} {", "``` ```"] {
            assert!(
                found(text)
                    .unwrap_err()
                    .starts_with("it is not a JSON document"),
                "{text}"
            );
        }
    }
}
