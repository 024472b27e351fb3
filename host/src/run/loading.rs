//! Compiling a component in bounded time.
//!
//! Nothing can stop the compiler once it has begun. So it works on a thread of its own, and what is bounded
//! is how long a caller waits for it, and how many such threads there are. One that was given up on computes
//! until it is done or the process ends, and what it has compiled is kept in the cache: the next attempt
//! finds it there. A process that wants the processor back has to end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use wasmtime::component::Component;

use crate::engine::{Artifact, Cache, Engine, LoadError};
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;

/// Longest time to wait for a component that is loaded, unless the operator says otherwise. The largest ones
/// there are, with a Python or JavaScript engine, take half a minute on a slow machine.
pub(super) const LOAD_TIME: Duration = Duration::from_secs(120);

/// Components that are compiled at once, those that were given up on among them.
const PLACES: usize = 8;

/// Loads components for one host.
pub(super) struct Loading {
    time: Duration,
    places: Arc<Semaphore>,
}

/// A component was not loaded.
pub(super) enum NotLoaded {
    /// It is none, or the compiler failed.
    Failed(LoadError),
    /// It takes longer than this.
    TooLong(Duration),
}

impl Loading {
    pub(super) fn new(time: Duration) -> Loading {
        Loading {
            time,
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// The compiled form of `artifact`, from `cache` or the compiler. Dropping the future gives up on it.
    pub(super) async fn load(
        &self,
        engine: &Engine,
        artifact: &Arc<Artifact>,
        cache: &Cache,
    ) -> Result<Component, NotLoaded> {
        // What is in the cache is mapped and checked at once; a thread would take longer than that to start.
        if let Some(component) = engine.cached(artifact, cache) {
            return Ok(component);
        }
        let time = sabotage::time(Wall::LoadTime, self.time);
        let (engine, artifact, cache) = (engine.clone(), artifact.clone(), cache.clone());
        let loaded = async {
            let digest = artifact.digest();
            // Nobody closes the semaphore; without a place there would just be one thread more.
            let place = self.places.clone().acquire_owned().await.ok();
            let (sender, receiver) = oneshot::channel();
            // Not one of the runtime's threads: it would wait for this one when it is shut down.
            std::thread::Builder::new()
                .name("wasm-agent-load".into())
                .spawn(move || {
                    // Whoever asked may have given up.
                    let _ = sender.send(engine.compile_into(&artifact, &cache));
                    drop(place);
                })
                .map_err(LoadError::Thread)?;
            receiver
                .await
                .unwrap_or(Err(LoadError::Panicked { digest }))
        };
        match tokio::time::timeout(time, loaded).await {
            Ok(loaded) => loaded.map_err(NotLoaded::Failed),
            Err(_) => Err(NotLoaded::TooLong(time)),
        }
    }
}
