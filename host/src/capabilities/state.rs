//! The state of one guest's store: what its host calls work on.

use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::activity::{Activity, Nature};
use super::content::Remembered;
use super::filesystem::{Filesystem, FilesystemView, FsView};
use super::http::Http;
use super::meters::{Limiter, Meters};
use super::random::Randomness;
use super::storage::Storage;
use crate::grants::Grants;
use crate::model::Models;
use crate::recording::Tape;
use crate::tools::Toolbox;
use crate::trajectory::Ledger;

/// The state of one guest's store. It dies with the guest; what has to outlive it is behind an `Arc`.
pub struct RunState {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) files: Filesystem,
    pub(crate) http: Http,
    pub(crate) limiter: Limiter,
    pub(crate) meters: Arc<Meters>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) ledger: Ledger,
    pub(crate) models: Models,
    /// What the cases of the contract's blocks do not carry, for when the guest hands them back.
    pub(crate) blocks: Remembered,
    pub(crate) tools: Toolbox,
    pub(crate) storage: Storage,
    /// What answers from outside go through.
    pub(crate) tape: Tape,
    pub(crate) random: Randomness,
    /// Pollables that are timers of virtual time, and their deadlines in microseconds since the start.
    pub(crate) timers: HashMap<u32, u64>,
    pub(crate) run_id: Arc<str>,
    pub(crate) session_id: Arc<str>,
}

impl RunState {
    /// Notes that the guest enters a host call.
    pub(super) fn enter(&mut self, interface: &'static str, nature: Nature) -> &mut RunState {
        self.activity.enter(interface, nature);
        self
    }
}

impl FilesystemView for RunState {
    fn filesystem(&mut self) -> FsView<'_> {
        // Every call of the interface gets its view here.
        self.enter("wasi:filesystem", Nature::Acts);
        FsView {
            fs: &mut self.files,
            table: &mut self.table,
        }
    }
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}
