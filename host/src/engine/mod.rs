//! The engine: the ONE place that makes a `wasmtime::Config`, reads component files and compiles them.

pub mod artifact;
pub mod cache;
pub mod inspect;
pub(crate) mod outline;
pub(crate) mod private_dir;
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

/// Stack of the thread that compiles, in bytes. The reader of types calls itself for each level of nesting
/// and takes up to 5 KiB for it; [`outline::MAX_TYPE_NESTING`] levels fit twice. Only touched pages count.
const COMPILER_STACK: usize = 64 << 20;

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

    /// The compiled form of `artifact`, if it is in `cache` and can be trusted. Takes about as long as reading the
    /// file.
    pub fn cached(&self, artifact: &Artifact, cache: &Cache) -> Option<Component> {
        cache.get(&self.key(artifact), self)
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
        match self.cached(artifact, cache) {
            Some(component) => Ok(component),
            None => self.compile_into(artifact, cache),
        }
    }

    /// Compiles `artifact` and puts the result into `cache`; see [`Engine::load`].
    pub(crate) fn compile_into(
        &self,
        artifact: &Artifact,
        cache: &Cache,
    ) -> Result<Component, LoadError> {
        let started = std::time::Instant::now();
        tracing::debug!(digest = %artifact.digest(), "compiling");
        let component = self.compile(artifact)?;
        tracing::debug!(digest = %artifact.digest(), elapsed = ?started.elapsed(), "compiled");
        if cache.is_enabled() {
            match component.serialize() {
                Ok(code) => cache.put(&self.key(artifact), &code),
                Err(error) => tracing::warn!("keeping compiled code: {error:#}"),
            }
        }
        Ok(component)
    }

    fn key(&self, artifact: &Artifact) -> cache::Key {
        cache::Key::new(artifact.digest(), &self.compatibility)
    }

    /// Compiles on a thread of its own, whose stack is known to be enough for what [`Artifact`] lets through.
    fn compile(&self, artifact: &Artifact) -> Result<Component, LoadError> {
        let compiled = std::thread::scope(|scope| {
            let compile = || Component::from_binary(&self.inner, artifact.bytes());
            std::thread::Builder::new()
                .name("wasm-agent-compile".into())
                .stack_size(COMPILER_STACK)
                .spawn_scoped(scope, compile)
                .map(std::thread::ScopedJoinHandle::join)
        });
        let digest = artifact.digest();
        match compiled.map_err(LoadError::Thread)? {
            Ok(Ok(component)) => Ok(component),
            Ok(Err(error)) => Err(LoadError::Compile {
                digest,
                reason: format!("{error:#}"),
            }),
            // The panic's own words are on stderr; it ends the start of this agent and nothing else.
            Err(_) => Err(LoadError::Panicked { digest }),
        }
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
    /// The compiler has a defect that this component meets.
    #[error("compiling component {digest}: the compiler failed on it")]
    Panicked {
        /// The component.
        digest: Digest,
    },
    /// There was no thread left to compile on.
    #[error("starting the compiler's thread")]
    Thread(#[source] std::io::Error),
}

impl Hint for LoadError {
    fn hint(&self) -> Option<String> {
        let Self::Compile { reason, .. } = self else {
            return None;
        };
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
        let LoadError::Compile { digest, reason } = error else {
            panic!("{error:?}");
        };
        assert_eq!(digest, artifact.digest());
        assert!(!reason.is_empty());
    }

    /// Without the check, six kilobytes of such types overflow a stack of 2 MiB.
    #[test]
    fn types_nested_deeply_do_not_end_the_process() {
        let engine = Engine::new(Profile::Live, Allocation::OnDemand).unwrap();
        let load = |levels| {
            let bytes = sample::with_nested_types(sample::agent(), levels);
            let artifact = Artifact::from_bytes(bytes)?;
            let _ = engine.load(&artifact, &Cache::disabled());
            Ok::<_, ArtifactError>(())
        };
        load(100).unwrap();
        load(outline::MAX_TYPE_NESTING - 1).unwrap();
        for levels in [outline::MAX_TYPE_NESTING + 1, 1_000_000] {
            let error = load(levels).unwrap_err();
            assert!(matches!(error.problem, ArtifactProblem::TooDeep));
        }
        // The same in a component within the component.
        let hidden = sample::with_nested_types(sample::agent(), 1_000_000);
        let error = Artifact::from_bytes(sample::wrapping(&hidden)).unwrap_err();
        assert!(matches!(error.problem, ArtifactProblem::TooDeep));
    }

    #[test]
    fn components_nested_deeply_do_not_end_the_process() {
        let engine = Engine::new(Profile::Live, Allocation::OnDemand).unwrap();
        let mut bytes = sample::agent();
        for _ in 0..outline::MAX_COMPONENT_NESTING {
            bytes = sample::wrapping(&bytes);
        }
        let artifact = Artifact::from_bytes(bytes.clone()).unwrap();
        engine.load(&artifact, &Cache::disabled()).unwrap();
        let error = Artifact::from_bytes(sample::wrapping(&bytes)).unwrap_err();
        assert!(matches!(error.problem, ArtifactProblem::TooDeep));
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
