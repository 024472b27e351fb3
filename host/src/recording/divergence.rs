//! Where a replay leaves its recording.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::first_difference;
use crate::json::printable;

/// Longest value that is shown of a difference, in characters.
const SHOWN: usize = 120;

/// The first difference between a replay and its recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divergence {
    /// Number of the call in the recording, from 1.
    pub call: u64,
    /// What the recording has there, in a few words.
    pub expected: String,
    /// What the run came with, in a few words.
    pub found: String,
    /// The first differing field of the request, as `messages[3].content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The field in the recording, as JSON, cut off where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_expected: Option<String>,
    /// The field in the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_found: Option<String>,
    /// Calls of the recording around it, in a few words each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearby: Vec<String>,
    /// What may be the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Divergence {
    /// A difference without a field.
    #[must_use]
    pub fn new(call: u64, expected: impl Into<String>, found: impl Into<String>) -> Divergence {
        Divergence {
            call,
            expected: expected.into(),
            found: found.into(),
            field: None,
            field_expected: None,
            field_found: None,
            nearby: Vec::new(),
            hint: None,
        }
    }

    /// The same with the first difference of two requests, if there is one.
    #[must_use]
    pub fn of_requests(mut self, expected: &Value, found: &Value) -> Divergence {
        if let Some(first) = first_difference(expected, found) {
            self.field = Some(printable(&first.path));
            self.field_expected = first.expected.as_deref().map(shown);
            self.field_found = first.found.as_deref().map(shown);
        }
        self
    }
}

/// A value in a message: printable, and not too long.
pub(super) fn shown(text: &str) -> String {
    let text = printable(text);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replay diverged at {}", self.what())
    }
}

impl Divergence {
    /// The difference: `call 41: expected …, got …`.
    #[must_use]
    pub fn what(&self) -> String {
        let Divergence {
            call,
            expected,
            found,
            ..
        } = self;
        let mut text = format!("call {call}: expected {expected}, got {found}");
        if let Some(field) = &self.field {
            let missing = "nothing";
            let one = self.field_expected.as_deref().unwrap_or(missing);
            let other = self.field_found.as_deref().unwrap_or(missing);
            let field = if field.is_empty() { "request" } else { field };
            text.push_str("; first differing field `");
            text.push_str(field);
            text.push_str("`: expected ");
            text.push_str(one);
            text.push_str(", got ");
            text.push_str(other);
        }
        text
    }
}

impl std::error::Error for Divergence {}
