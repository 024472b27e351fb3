//! Named engine profiles and the one place of the project that makes a [`wasmtime::Config`].

use std::hash::Hash as _;
use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// Stack a guest's own frames may use, in bytes. Twice wasmtime's default: interpreters compiled to
/// WebAssembly recurse deeply. A guest that needs more traps.
pub const GUEST_STACK: usize = 1 << 20;

/// Whole stack of one running guest, in bytes. What exceeds [`GUEST_STACK`] belongs to the host calls made
/// on it; 1 MiB is what wasmtime's own defaults leave them at least. Only touched pages are resident.
pub const FIBER_STACK: usize = 2 << 20;

/// Frames a guest backtrace keeps. A runaway recursion has a hundred thousand, and all say the same.
const BACKTRACE_FRAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// How guest code is compiled and interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// For runs in the real world: interrupted by an epoch, that is by wall-clock ticks.
    Live,
    /// For runs that must repeat exactly: metered in fuel, and without a bit that depends on the CPU.
    Hermetic,
}

/// Where the memory of instances comes from. Does not change compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Mapped for each instance and unmapped after it. For a process that runs one agent: a pool would be
    /// set up in vain, and memory that is never used again cannot leak between instances.
    OnDemand,
    /// Slots set aside once and used again. For a process that runs many agents.
    Pooling {
        /// How many agents can be alive at once; one more fails to start.
        instances: u32,
    },
}

/// The configuration of an engine. Every engine of this project is made from it.
pub(super) fn config(profile: Profile, allocation: Allocation) -> Config {
    let mut config = Config::new();

    match profile {
        // An epoch check is a load and a compare; the ticker decides what time it is.
        Profile::Live => {
            config.epoch_interruption(true);
        }
        Profile::Hermetic => {
            // Fuel counts instructions: the same run ends at the same one on every machine. It yields to
            // the executor as epochs do, and costs about the same; both at once would add up.
            config.consume_fuel(true);
            // The bits of a NaN are otherwise the CPU's choice, and guests can see them.
            config.cranelift_nan_canonicalization(true);
            // Relaxed SIMD is otherwise allowed to differ between CPUs.
            config.relaxed_simd_deterministic(true);
        }
    }

    // Component-model async is not compiled in, and WASI 0.2 does not need it; without its bookkeeping an
    // instance starts in half the time and a host call costs two thirds.
    config.concurrency_support(false);
    // A second thread in a guest would be beyond limits, accounting and replay. The threads proposal is not
    // compiled in either; this keeps the host from making a shared memory itself.
    config.shared_memory(false);
    // Nothing that agents are written in targets it, and it trades guard pages for bounds checks.
    config.wasm_memory64(false);
    // Multi-memory stays on: wasmtime generates adapters between composed components that use it, and takes
    // for granted that they are valid. The limits of a run count the sum over all memories.

    // A trap is explained to its author with function names, files and lines; explicit, because wasmtime
    // would otherwise ask an environment variable, which would then decide what the cache holds.
    config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    config.wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES));
    // Only system unwinders and native profilers read it; registering it costs every start.
    if cfg!(not(windows)) {
        config.native_unwind_info(false);
    }

    config.max_wasm_stack(GUEST_STACK);
    config.async_stack_size(FIBER_STACK);

    config.allocation_strategy(match allocation {
        Allocation::OnDemand => InstanceAllocationStrategy::OnDemand,
        Allocation::Pooling { instances } => InstanceAllocationStrategy::Pooling(pool(instances)),
    });
    config
}

/// A pool for `instances` live agents. Sizes were measured with Rust, Python and JavaScript agents.
fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    // One agent is one component instance on one stack, made of several core instances; JavaScript
    // components have two memories and tables, which is the most that was seen.
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances.saturating_mul(2))
        .total_tables(instances.saturating_mul(2))
        .total_stacks(instances)
        // Per agent: the greatest that was seen, rounded up.
        .max_core_instances_per_component(40)
        .max_memories_per_component(2)
        .max_tables_per_component(4)
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .table_elements(20_000)
        // A slot's virtual size. The memory limit of a run is checked apart from it and is usually smaller.
        .max_memory_size(1 << 30)
        // The low part of a slot is cleared by writing zeroes instead of through the kernel, which would
        // take a lock all threads share. Sized for agents with a small stack; costs this much per slot.
        .linear_memory_keep_resident(192 << 10)
        .table_keep_resident(8 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(instances);
    // `pagemap_scan` stays off: a page that is swapped out at the time of a reset would keep the previous
    // agent's data.
    pool
}

/// A digest of everything that decides whether compiled code fits `engine`: wasmtime's version, the
/// target and its CPU features, and the settings of the profile. Pool settings are not among them.
pub(super) fn compatibility(engine: &wasmtime::Engine) -> [u8; 32] {
    /// Feeds BLAKE3, because 64 bits of a hash that is not keyed are too few to name a file by.
    struct Collect(blake3::Hasher);

    impl std::hash::Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            let bytes = self.0.finalize();
            let mut first = [0; 8];
            first
                .iter_mut()
                .zip(bytes.as_bytes())
                .for_each(|(to, from)| *to = *from);
            u64::from_le_bytes(first)
        }
    }

    let mut hasher = Collect(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    *hasher.0.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(profile: Profile, allocation: Allocation) -> [u8; 32] {
        compatibility(&wasmtime::Engine::new(&config(profile, allocation)).unwrap())
    }

    #[test]
    fn profiles_never_share_code_and_pools_always_do() {
        let live = hash(Profile::Live, Allocation::OnDemand);
        let hermetic = hash(Profile::Hermetic, Allocation::OnDemand);
        assert_ne!(live, hermetic);
        assert_eq!(live, hash(Profile::Live, Allocation::OnDemand));
        assert_eq!(
            live,
            hash(Profile::Live, Allocation::Pooling { instances: 4 })
        );
    }
}
