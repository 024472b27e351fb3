//! The engine: the ONE place that makes a `wasmtime::Config`, reads component files and compiles them.

pub mod artifact;
pub mod cache;
pub mod inspect;
pub(crate) mod outline;
mod private_dir;
pub mod profile;
#[cfg(test)]
pub(crate) mod sample;

use std::time::Duration;

use wasmtime::component::Component;

pub use artifact::{AgentKind, Artifact, ArtifactError, ArtifactProblem};
pub use cache::{Cache, CacheError};
pub use inspect::{Import, Inspection, Need, Unmet, unmet};
pub use outline::{InterfaceName, Item, ItemKind, Producer};
pub use private_dir::NotPrivate;
pub use profile::{Allocation, Profile};

use crate::digest::Digest;
use crate::error::Hint;

/// Time between two epochs of a live engine. A spinning guest is stopped within two of them; each costs
/// one wake-up.
pub const EPOCH_TICK: Duration = Duration::from_millis(10);

/// Compiles and holds guest code under one [`Profile`]. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    profile: Profile,
    compatibility: [u8; 32],
}

impl Engine {
    /// Makes an engine and, for [`Profile::Live`], starts the thread that advances its epoch every
    /// [`EPOCH_TICK`]. The thread ends with the last clone of the engine and of the stores made from it.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when this machine cannot run the profile, or has no thread left.
    pub fn new(profile: Profile, allocation: Allocation) -> Result<Self, EngineError> {
        let inner =
            wasmtime::Engine::new(&profile::config(profile, allocation)).map_err(|error| {
                EngineError::Setup {
                    profile,
                    reason: format!("{error:#}"),
                }
            })?;
        if profile == Profile::Live {
            start_ticker(&inner)?;
        }
        let compatibility = profile::compatibility(&inner);
        Ok(Self {
            inner,
            profile,
            compatibility,
        })
    }

    /// The wasmtime engine, to make linkers and stores from.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner
    }

    /// The profile it was made with.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// A digest of everything that decides whether compiled code fits this engine; part of a run's record.
    pub fn compatibility(&self) -> &[u8; 32] {
        &self.compatibility
    }

    /// The compiled form of `artifact`: from `cache` if it is there and can be trusted, otherwise compiled
    /// and put there. Compiling takes from tens of milliseconds to minutes: call it on a thread that may
    /// block. This is where the bytes are validated; opening an artifact reads its outline only.
    ///
    /// A cache that does not work slows a start down and never stops it: it is reported as a warning.
    ///
    /// # Errors
    ///
    /// [`LoadError::Compile`] when the bytes are not a valid component or use a feature this engine does not have.
    pub fn load(&self, artifact: &Artifact, cache: &Cache) -> Result<Component, LoadError> {
        let key = cache::Key::new(artifact.digest(), &self.compatibility);
        if let Some(component) = cache.get(&key, self) {
            return Ok(component);
        }
        let started = std::time::Instant::now();
        let component = Component::from_binary(&self.inner, artifact.bytes()).map_err(|error| {
            LoadError::Compile {
                digest: artifact.digest(),
                reason: format!("{error:#}"),
            }
        })?;
        tracing::debug!(digest = %artifact.digest(), elapsed = ?started.elapsed(), "compiled");
        if cache.is_enabled() {
            match component.serialize() {
                Ok(code) => cache.put(&key, &code),
                Err(error) => tracing::warn!("keeping compiled code: {error:#}"),
            }
        }
        Ok(component)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Starts the thread that advances the epoch. It holds the engine weakly, so that it cannot outlive it.
fn start_ticker(engine: &wasmtime::Engine) -> Result<(), EngineError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("wasm-agent-epoch".into())
        .spawn(move || {
            loop {
                std::thread::sleep(EPOCH_TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map(drop)
        .map_err(EngineError::Ticker)
}

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// wasmtime refused the configuration on this machine.
    #[error("setting up the {profile:?} engine: {reason}")]
    Setup {
        /// The profile asked for.
        profile: Profile,
        /// What wasmtime said.
        reason: String,
    },
    /// The thread that advances the epoch could not be started.
    #[error("starting the engine's clock thread")]
    Ticker(#[source] std::io::Error),
}

impl Hint for EngineError {}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not valid, or uses a feature the engine does not have.
    #[error("compiling component {digest}: {reason}")]
    Compile {
        /// The component.
        digest: Digest,
        /// What the compiler said.
        reason: String,
    },
}

impl Hint for LoadError {
    fn hint(&self) -> Option<String> {
        let Self::Compile { reason, .. } = self;
        // wasmtime's words for a component that uses the asynchronous ABI of WASI 0.3.
        reason.contains("component model async").then(|| {
            "this component needs WASI 0.3; build it for wasm32-wasip2 (WASI 0.2), for QuickJS with `--sync`".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ticks_and_ends_with_the_engine() {
        let engine = Engine::new(Profile::Live, Allocation::OnDemand).unwrap();
        let weak = engine.wasmtime().weak();
        drop(engine);
        // The ticker holds a strong reference only while it ticks: this ends unless it keeps one for ever.
        while weak.upgrade().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_component_that_is_not_valid_is_an_error() {
        let engine = Engine::new(Profile::Live, Allocation::OnDemand).unwrap();
        let artifact = Artifact::from_bytes(sample::invalid_agent()).unwrap();
        let error = engine.load(&artifact, &Cache::disabled()).unwrap_err();
        let LoadError::Compile { digest, reason } = error;
        assert_eq!(digest, artifact.digest());
        assert!(!reason.is_empty());
    }

    #[test]
    fn an_agent_compiles_in_every_profile() {
        for profile in [Profile::Live, Profile::Hermetic] {
            let engine = Engine::new(profile, Allocation::OnDemand).unwrap();
            let artifact = Artifact::from_bytes(sample::agent()).unwrap();
            engine.load(&artifact, &Cache::disabled()).unwrap();
        }
    }
}
