//! What one run is asked to do.

use crate::Commission;

impl Commission {
    /// The task; empty when there is none.
    #[must_use]
    pub fn prompt(&self) -> &str {
        self.prompt.as_deref().unwrap_or_default()
    }

    /// May the agent use this tool of its own? A tool that is not allowed must not be offered to a
    /// model; the host refuses calls of it.
    #[must_use]
    pub fn allows_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool == name)
    }

    /// May the agent use this sub-agent of its own?
    #[must_use]
    pub fn allows_subagent(&self, name: &str) -> bool {
        self.subagents.iter().any(|subagent| subagent == name)
    }

    /// May the agent use this skill of its own?
    #[must_use]
    pub fn allows_skill(&self, name: &str) -> bool {
        self.builtin_skills.iter().any(|skill| skill == name)
    }

    /// The JSON Schema the answer should match. Parsed at every call.
    ///
    /// # Errors
    /// When the text is not JSON, which the host rules out.
    #[cfg(feature = "json")]
    pub fn output_schema(&self) -> crate::Result<Option<serde_json::Value>> {
        parse(self.output_schema.as_deref(), "output_schema")
    }

    /// The supervisor's free-form data. Parsed at every call.
    ///
    /// # Errors
    /// When the data does not have the shape of `T`.
    #[cfg(feature = "json")]
    pub fn meta<T: serde::de::DeserializeOwned>(&self) -> crate::Result<Option<T>> {
        parse(self.meta.as_deref(), "meta")
    }
}

#[cfg(feature = "json")]
fn parse<T: serde::de::DeserializeOwned>(
    text: Option<&str>,
    field: &str,
) -> crate::Result<Option<T>> {
    use crate::Context;
    text.map(|text| {
        serde_json::from_str(text).context(format_args!("reading the commission's field `{field}`"))
    })
    .transpose()
}
