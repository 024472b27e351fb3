//! The host: what all runs share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;

use super::directory::RunsDir;
use super::loading::{LOAD_TIME, Loading};
use crate::capabilities::link;
use crate::capabilities::state::RunState;
use crate::egress::secrets::Vault;
use crate::engine::artifact::MAX_ARTIFACT;
use crate::engine::{Allocation, Cache, Engine, EngineError, Profile};
use crate::error::Hint;
use crate::grants::Grants;
use crate::host_places::HostPlaces;

/// How a host is set up.
#[derive(Debug)]
pub struct HostOptions {
    /// Where compiled components are kept.
    pub cache: Cache,
    /// Largest component in bytes.
    pub max_component_bytes: u64,
    /// How guests are metered: in time, or in fuel, so that their runs can be repeated.
    pub profile: Profile,
    /// Where the values of secrets come from.
    pub vault: Vault,
    /// Longest time [`Host::load`] waits for a component to be compiled. Compiling cannot be stopped: it goes
    /// on in the background until it is done or the process ends.
    pub load_time: Duration,
    /// Where else the host keeps data of its own, beside the cache, the secrets and the runs of its requests: no guest
    /// finds anything there, whatever it is granted.
    pub places: Vec<PathBuf>,
}

impl Default for HostOptions {
    /// No cache, no secrets, and components of up to 128 MiB that are compiled within two minutes and metered in
    /// time.
    fn default() -> HostOptions {
        HostOptions {
            cache: Cache::disabled(),
            max_component_bytes: MAX_ARTIFACT,
            profile: Profile::Live,
            vault: Vault::default(),
            load_time: LOAD_TIME,
            places: Vec::new(),
        }
    }
}

/// Runs agents. One host serves any number of runs at once.
#[derive(Clone)]
pub struct Host {
    pub(super) inner: Arc<Inner>,
}

/// What the runs of one host share.
pub(super) struct Inner {
    pub(super) engine: Engine,
    pub(super) linker: Linker<RunState>,
    pub(super) cache: Cache,
    pub(super) loading: Loading,
    pub(super) max_component_bytes: u64,
    pub(super) vault: Vault,
    places: Vec<PathBuf>,
}

/// A host cannot be set up.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum HostError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot link the host's interfaces: {0}")]
    Linker(String),
}

impl Hint for HostError {}

impl Host {
    /// A host.
    ///
    /// # Errors
    ///
    /// This machine cannot run the engine.
    pub fn new(options: HostOptions) -> Result<Host, HostError> {
        let engine = Engine::new(options.profile, Allocation::OnDemand)?;
        let mut linker = Linker::new(engine.wasmtime());
        link(&mut linker).map_err(|error| HostError::Linker(format!("{error:#}")))?;
        Ok(Host {
            inner: Arc::new(Inner {
                engine,
                linker,
                cache: options.cache,
                loading: Loading::new(options.load_time),
                max_component_bytes: options.max_component_bytes,
                vault: options.vault,
                places: options.places,
            }),
        })
    }

    /// Where this host keeps its own data, with the folder that a run is kept in. Nobody asks for it where no directory
    /// and no file is granted.
    pub(super) fn places(&self, runs: Option<&RunsDir>, grants: &Grants) -> HostPlaces {
        if grants.dirs.is_empty() && grants.files.is_empty() {
            return HostPlaces::default();
        }
        let Inner {
            cache,
            vault,
            places,
            ..
        } = &*self.inner;
        let used = [cache.path(), vault.store_path(), runs.map(RunsDir::path)];
        let used = used.into_iter().flatten().map(Path::to_owned);
        HostPlaces::new(used.chain(places.iter().cloned()))
    }
}

#[cfg(test)]
mod tests;
