//! Components that are tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::catalog::Described;
use super::{CallError, Output};
use crate::error::Hint;

/// A component that is a tool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the tool component `{}`: {reason}", path.display())]
pub struct ComponentError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl Hint for ComponentError {
    fn hint(&self) -> Option<String> {
        Some("a tool component exports `wasm-agent:agent/tool-provider`".to_owned())
    }
}

/// Loads components that are tools. `run/` knows how.
pub(crate) trait Loader: Send + Sync {
    /// Loads the one at `path`, and asks it for its tools.
    fn load<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, Result<Component, ComponentError>>;
}

/// Runs one call of a component in an instance of its own. `run/` knows how: it makes the stores.
pub(crate) trait Instance: Send + Sync {
    /// Calls `tool`.
    fn call(
        &self,
        tool: String,
        arguments: Map<String, Value>,
        time: Duration,
    ) -> BoxFuture<'_, Result<Output, CallError>>;
}

/// A component that is a tool, or several. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    name: Arc<str>,
    tools: Arc<[Described]>,
    instance: Arc<dyn Instance>,
}

impl Component {
    pub(crate) fn new(name: &str, tools: Vec<Described>, instance: Arc<dyn Instance>) -> Component {
        Component {
            name: Arc::from(name),
            tools: tools.into(),
            instance,
        }
    }

    /// What its tools are prefixed with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn tools(&self) -> &[Described] {
        &self.tools
    }

    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        time: Duration,
    ) -> Result<Output, CallError> {
        self.instance.call(tool.to_owned(), arguments, time).await
    }
}

/// What the tools of the file at `path` are prefixed with: its name, without its ending.
pub(crate) fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .chars()
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '-' | '_' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '_',
        })
        .take(32)
        .collect();
    if name.is_empty() {
        "tool".to_owned()
    } else {
        name
    }
}
