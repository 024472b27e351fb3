//! The store of one guest: what it is granted, and every limit set.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

use super::agent::Entry;
use super::drive::{Job, Watched};
use super::workspaces::{Workspaces, protection};
use crate::capabilities::Witness;
use crate::capabilities::content::Remembered;
use crate::capabilities::filesystem::{self, Extent, Filesystem, Mount, MountError, Stable};
use crate::capabilities::http::Http;
use crate::capabilities::meters::Limiter;
use crate::capabilities::random::Randomness;
use crate::capabilities::state::RunState;
use crate::capabilities::storage::Storage;
use crate::egress::{Caller, Way};
use crate::engine::{Engine, Profile};
use crate::grants::{Access, FileGrant, Grants};
use crate::model::Models;
use crate::recording::Tape;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;
use crate::tools::Toolbox;
use crate::trajectory::Ledger;

/// Fuel for one millisecond of the limit `cpu` in a run that is metered in fuel: about what a core of today
/// burns in it.
pub const FUEL_PER_MS: u64 = 1_000_000;

/// Fuel after which a guest lets others run, and can be ended: about a millisecond.
const FUEL_SLICE: u64 = 1_000_000;

pub(super) fn new_store(
    job: &Job,
    watched: &Watched,
    files: Filesystem,
    storage: Storage,
    tools: Toolbox,
) -> Store<RunState> {
    let Watched {
        meters,
        activity,
        stdout,
        stderr,
        submissions: _,
    } = watched;
    let grants = &job.grants;
    let mut wasi = WasiCtx::builder();
    wasi.stdout(stdout.clone()).stderr(stderr.clone());
    if sabotage::down(Wall::Environment) {
        wasi.inherit_env();
        if let Entry::Agent(_) = &job.agent.entry {
            wasi.stdin(wasmtime_wasi::p2::pipe::MemoryInputPipe::new(
                "typed by the operator",
            ));
        }
    }
    if sabotage::down(Wall::Network) {
        wasi.inherit_network()
            .allow_tcp(true)
            .allow_udp(true)
            .allow_ip_name_lookup(true);
    }
    wasi.arg(&job.agent.descriptor.agent_name)
        .args(&grants.args);
    for (name, value) in &grants.env {
        wasi.env(name, value);
    }
    for placeholder in job.secrets.placeholders() {
        // What was narrowed away is not there any more.
        wasi.env(&placeholder.variable, placeholder.as_str());
    }
    if let Entry::Command(_) = &job.agent.entry {
        let line = format!("{}\n", job.commission.raw().get());
        wasi.stdin(wasmtime_wasi::p2::pipe::MemoryInputPipe::new(line));
    }
    let state = RunState {
        wasi: wasi.build(),
        files: files.metered_by(meters.clone()),
        http: Http::new(guest_way(job), &grants.limits),
        table: table(grants),
        limiter: Limiter::new(meters.clone(), activity.clone(), &grants.limits),
        meters: meters.clone(),
        activity: activity.clone(),
        ledger: job.ledger.clone(),
        models: Models::new(
            &job.models,
            &job.egress,
            job.ledger.clone(),
            activity.clone(),
            meters.clone(),
            job.tape.clone(),
        ),
        blocks: Remembered::default(),
        tools,
        storage,
        run_id: Arc::from(job.commission.body().run_id.as_str()),
        session_id: Arc::from(job.known_as.as_str()),
        grants: grants.clone(),
        tape: job.tape.clone(),
        random: Randomness::new(&job.seed),
        timers: HashMap::new(),
    };
    armed(&job.engine, state, grants)
}

/// What the guest's own requests may reach.
fn guest_way(job: &Job) -> Way {
    let rules = job.grants.network.hosts.clone();
    job.egress.way(Caller::Guest, rules)
}

/// The granted directories, with the ledger as their witness.
pub(super) fn filesystem(
    grants: &Grants,
    workspaces: &Workspaces,
    ledger: &Ledger,
    tape: &Tape,
) -> Result<Filesystem, MountError> {
    let mut mounts: Vec<Mount> = grants
        .dirs
        .iter()
        .map(|dir| Mount {
            host: dir.host.clone(),
            guest: dir.guest.clone(),
            access: match (dir.access, workspaces.tree(&dir.guest)) {
                (Access::ReadOnly, _) => filesystem::Access::ReadOnly,
                (Access::CopyOnWrite, _) if sabotage::down(Wall::CopyOnWrite) => {
                    filesystem::Access::ReadWrite
                }
                // A replay works on a copy of what the recorded run was let change itself.
                (Access::ReadWrite, None) => filesystem::Access::ReadWrite,
                (Access::ReadWrite | Access::CopyOnWrite, Some(tree)) => {
                    filesystem::Access::CopyOnWrite { tree }
                }
                // Without a copy there is nothing that may be written to.
                (Access::CopyOnWrite, None) => filesystem::Access::ReadOnly,
            },
            extent: Extent::Whole,
        })
        .collect();
    mounts.extend(single_files(&grants.files));
    let limits = filesystem::Limits {
        disk_bytes: grants.limits.disk_bytes,
        file_bytes: grants.limits.file_bytes,
        files: grants.limits.files,
        handles: grants.limits.handles,
        listing_bytes: grants.limits.listing_bytes,
    };
    let witness = Arc::new(Witness::new(ledger.clone()));
    let protection = protection(grants);
    let files = Filesystem::withholding(&mounts, limits, &protection, &grants.withheld, witness)?;
    Ok(match tape.start() {
        Some(start) => files.with_stability(Stable {
            time: Datetime {
                seconds: u64::try_from(start.as_second()).unwrap_or(0),
                nanoseconds: u32::try_from(start.subsec_nanosecond()).unwrap_or(0),
            },
        }),
        None => files,
    })
}

/// The directories that show single files: one for each directory of the guest.
pub(super) fn single_files(files: &[FileGrant]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for directory in files.chunk_by(|a, b| a.guest == b.guest) {
        let Some(first) = directory.first() else {
            continue;
        };
        // They were granted alike; what the agent asks for may still have narrowed some of them.
        let writable = directory
            .iter()
            .all(|file| file.access == Access::ReadWrite);
        mounts.push(Mount {
            host: first.host.clone(),
            guest: first.guest.clone(),
            access: if writable {
                filesystem::Access::ReadWrite
            } else {
                filesystem::Access::ReadOnly
            },
            extent: if sabotage::down(Wall::SingleFiles) {
                Extent::Whole
            } else {
                Extent::Files(directory.iter().map(|file| file.name.clone()).collect())
            },
        });
    }
    mounts
}

pub(super) fn table(grants: &Grants) -> ResourceTable {
    let mut table = ResourceTable::new();
    table.set_max_capacity(
        usize::try_from(sabotage::limit(Wall::Resources, grants.limits.handles))
            .unwrap_or(usize::MAX),
    );
    table
}

/// A store with every limit set; wasmtime's own defaults are generous.
pub(super) fn armed(engine: &Engine, state: RunState, grants: &Grants) -> Store<RunState> {
    let mut store = Store::new(engine.wasmtime(), state);
    store.limiter(|state| &mut state.limiter);
    let hostcall_bytes = sabotage::limit(Wall::HostcallBytes, grants.limits.hostcall_bytes);
    store.set_hostcall_fuel(usize::try_from(hostcall_bytes).unwrap_or(usize::MAX));
    match engine.profile() {
        Profile::Live => {
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|store| {
                store.data().activity.computing();
                Ok(UpdateDeadline::Yield(1))
            });
        }
        Profile::Hermetic => {
            // Neither fails on an engine that is metered in fuel.
            let set = store.set_fuel(budget(grants));
            let set = set.and_then(|()| store.fuel_async_yield_interval(Some(FUEL_SLICE)));
            if let Err(error) = set {
                tracing::error!("cannot meter a guest in fuel: {error:#}");
            }
        }
    }
    store
}

/// Fuel of a run that is metered in it.
pub(super) fn budget(grants: &Grants) -> u64 {
    sabotage::limit(Wall::Cpu, grants.limits.cpu).saturating_mul(FUEL_PER_MS)
}
