//! Whether a run has shown what it had to show.

use serde_json::Value;

use crate::capabilities::storage::Submitted;
use crate::commission::Commission;
use crate::error::Hint;
use crate::grants::Evidence;
use crate::schema::{Schema, SchemaError};

/// The output cannot be checked as the operator requires it.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum EvidenceError {
    #[error("cannot check the output: the commission has no `output_schema`")]
    NoOutputSchema,
    #[error("cannot check the output with the commission's `output_schema`: {0}")]
    OutputSchema(SchemaError),
}

impl Hint for EvidenceError {
    fn hint(&self) -> Option<String> {
        match self {
            EvidenceError::NoOutputSchema => Some(
                "run a `--commission` that has one, or do not require `output-schema`".to_owned(),
            ),
            EvidenceError::OutputSchema(error) => error.hint(),
        }
    }
}

/// The schema of the output, where the operator requires that it is matched.
pub(super) fn output_schema(
    required: &Evidence,
    commission: &Commission,
) -> Result<Option<Schema>, EvidenceError> {
    if !required.output_schema {
        return Ok(None);
    }
    let Some(schema) = &commission.body().output_schema else {
        return Err(EvidenceError::NoOutputSchema);
    };
    Schema::parse(schema.get().as_bytes())
        .map(Some)
        .map_err(EvidenceError::OutputSchema)
}

/// What a run that returned has not shown, in the words of `--require`. Only what came in through the
/// host calls of this run counts.
pub(super) async fn missing(
    required: &Evidence,
    completed: bool,
    artifacts: &[Submitted],
    output: Option<&Value>,
    output_schema: Option<&Schema>,
) -> Vec<String> {
    let mut missing = Vec::new();
    if required.complete && !completed {
        missing.push("complete".to_owned());
    }
    for artifact in &required.artifacts {
        if artifacts.iter().all(|given| given.name != artifact.name) {
            missing.push(format!("artifact={}", artifact.name));
        }
    }
    match (output_schema, output) {
        (None, _) => {}
        (Some(_), None) => missing.push("output-schema: there is no output".to_owned()),
        (Some(schema), Some(output)) => {
            if let Err(violation) = schema.check(output.clone()).await {
                missing.push(format!("output-schema: {violation}"));
            }
        }
    }
    missing
}
