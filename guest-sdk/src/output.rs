//! The answer of a run.

use crate::Output;

impl Output {
    /// An answer in words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A structured answer.
    ///
    /// # Errors
    /// When the value does not go into JSON: a map whose keys are not text, or a failing `Serialize`.
    #[cfg(feature = "json")]
    pub fn json(value: &impl serde::Serialize) -> crate::Result<Self> {
        Ok(Self::Json(serde_json::to_string(value)?))
    }
}

impl From<String> for Output {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Output {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<()> for Output {
    fn from((): ()) -> Self {
        Self::None
    }
}

#[cfg(feature = "json")]
impl From<serde_json::Value> for Output {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value.to_string())
    }
}
