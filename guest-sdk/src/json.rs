//! JSON documents as text, the way the contract carries them.

/// A JSON document, written out: made of text that is JSON already, or of a `serde_json::Value`. The
/// host parses it and refuses what is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Any value that serializes.
    ///
    /// # Errors
    /// When the value does not go into JSON: a map whose keys are not text, or a failing `Serialize`.
    #[cfg(feature = "json")]
    pub fn of(value: &impl serde::Serialize) -> crate::Result<Self> {
        Ok(Self(serde_json::to_string(value)?))
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

#[cfg(feature = "json")]
impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string())
    }
}
