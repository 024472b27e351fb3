//! Agents: components that are compiled, linked, and described by themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Component;

use super::drive;
use super::host::{Host, Inner};
use super::loading::NotLoaded;
use crate::capabilities::bindings;
use crate::capabilities::state::RunState;
use crate::descriptor::{Descriptor, DescriptorError};
use crate::engine::inspect::{Import, unmet};
use crate::engine::{AgentKind, Artifact, ArtifactError, Engine, LoadError};
use crate::error::Hint;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// `describe` says who an agent is; it has nothing to wait for, and next to nothing to compute: a tenth of it.
pub(super) const DESCRIBE_TIME: Duration = Duration::from_secs(20);

/// A loaded agent: compiled, linked, and described by itself.
#[derive(Clone)]
pub struct Agent {
    pub(super) artifact: Arc<Artifact>,
    pub(super) entry: Entry,
    pub(super) descriptor: Descriptor,
}

/// How an agent is entered.
#[derive(Clone)]
pub(super) enum Entry {
    /// `describe` and `run` of our world.
    Agent(bindings::AgentPre<RunState>),
    /// `wasi:cli/run`.
    Command(wasmtime_wasi::p2::bindings::CommandPre<RunState>),
}

/// An agent cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum AgentError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("cannot load `{}`: compiling it takes longer than {max:?}", path.display())]
    TooLong { path: PathBuf, max: Duration },
    #[error("cannot start `{}`: it imports what this host does not offer: {}", path.display(), list(imports))]
    Imports { path: PathBuf, imports: Vec<Import> },
    #[error("cannot run `{}`: it is a tool, not an agent", path.display())]
    Tool { path: PathBuf },
    #[error("cannot start `{}`: {reason}", path.display())]
    Link { path: PathBuf, reason: String },
    #[error("cannot describe `{}`: {reason}", path.display())]
    Describe { path: PathBuf, reason: String },
    #[error("cannot use the description `{}` gives of itself: {source}", path.display())]
    Descriptor {
        path: PathBuf,
        source: DescriptorError,
    },
}

impl Hint for AgentError {
    fn hint(&self) -> Option<String> {
        match self {
            AgentError::Artifact(error) => error.hint(),
            AgentError::Load(error) => error.hint(),
            AgentError::TooLong { .. } => Some(
                "give it more time with `--load-timeout`; what is compiled is kept for the next time"
                    .to_owned(),
            ),
            AgentError::Imports { path, .. } => Some(format!(
                "`wasm-agent inspect {}` shows what each import needs",
                path.display()
            )),
            AgentError::Tool { path } => Some(format!(
                "give it to an agent: `--tool {}`",
                path.display()
            )),
            AgentError::Link { .. } => {
                Some("build it against this host's wit/, or with `wasm-agent build`".to_owned())
            }
            AgentError::Describe { .. } | AgentError::Descriptor { .. } => None,
        }
    }
}

fn list(imports: &[Import]) -> String {
    imports
        .iter()
        .map(|import| format!("`{}`", import.item.name))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Agent {
    /// What the agent says of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The component.
    #[must_use]
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }
}

impl Host {
    /// Loads the component at `path`, compiling it unless it has been compiled before, and lets it
    /// describe itself, with nothing granted.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn load(&self, path: &Path) -> Result<Agent, AgentError> {
        let artifact = Artifact::open(path, self.inner.max_component_bytes)?;
        self.load_artifact(artifact).await
    }

    /// Loads a component that has been read already.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn load_artifact(&self, artifact: Artifact) -> Result<Agent, AgentError> {
        let path = artifact
            .path()
            .unwrap_or(Path::new("(in memory)"))
            .to_owned();
        let artifact = Arc::new(artifact);
        let component = self.compile(&path, &artifact).await?;
        let pre = self
            .inner
            .linker
            .instantiate_pre(&component)
            .map_err(|error| link_error(&path, error))?;
        let entry = match artifact.kind() {
            AgentKind::Tool => return Err(AgentError::Tool { path }),
            AgentKind::Agent => Entry::Agent(
                bindings::AgentPre::new(pre).map_err(|error| link_error(&path, error))?,
            ),
            AgentKind::Command => Entry::Command(
                wasmtime_wasi::p2::bindings::CommandPre::new(pre)
                    .map_err(|error| link_error(&path, error))?,
            ),
        };
        let descriptor = match &entry {
            Entry::Agent(pre) => {
                let described = drive::describe(&self.inner.engine, pre, DESCRIBE_TIME).await;
                described.map_err(|reason| AgentError::Describe {
                    path: path.clone(),
                    reason,
                })?
            }
            Entry::Command(_) => Descriptor::minimal(&agent_name(&path), "0.0.0"),
        };
        descriptor
            .validate()
            .map_err(|source| AgentError::Descriptor { path, source })?;
        Ok(Agent {
            artifact,
            entry,
            descriptor,
        })
    }

    /// Loads the component at `path` as a tool.
    pub(super) async fn load_tool(
        &self,
        path: &Path,
    ) -> Result<(Engine, bindings::tool::ToolComponentPre<RunState>), AgentError> {
        let artifact = Arc::new(Artifact::open(path, self.inner.max_component_bytes)?);
        let component = self.compile(path, &artifact).await?;
        let pre = self
            .inner
            .linker
            .instantiate_pre(&component)
            .and_then(bindings::tool::ToolComponentPre::new)
            .map_err(|error| link_error(path, error))?;
        Ok((self.inner.engine.clone(), pre))
    }

    /// The compiled form of a component that imports nothing this host does not offer.
    async fn compile(
        &self,
        path: &Path,
        artifact: &Arc<Artifact>,
    ) -> Result<Component, AgentError> {
        let path = path.to_owned();
        let imports = unmet(artifact);
        if !imports.is_empty() && !down(Wall::Imports) {
            return Err(AgentError::Imports { path, imports });
        }
        let Inner {
            engine,
            cache,
            loading,
            ..
        } = &*self.inner;
        match loading.load(engine, artifact, cache).await {
            Ok(component) => Ok(component),
            Err(NotLoaded::Failed(error)) => Err(error.into()),
            Err(NotLoaded::TooLong(max)) => Err(AgentError::TooLong { path, max }),
        }
    }
}

fn link_error(path: &Path, error: impl std::fmt::Display) -> AgentError {
    AgentError::Link {
        path: path.to_owned(),
        reason: format!("{error:#}"),
    }
}

/// A name for an agent that does not say its own.
fn agent_name(path: &Path) -> String {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .collect();
    if name.is_empty() {
        "agent".to_owned()
    } else {
        name
    }
}
