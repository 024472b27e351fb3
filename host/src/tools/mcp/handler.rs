//! What a server may tell or ask without being asked. Everything it could ask for is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};

use crate::json::printable;
use crate::tools::watch::Watch;
use crate::trajectory::Audit;

/// Progress of one server that is kept on record.
const MAX_PROGRESS: u32 = 1000;

/// Longest message of a server that is kept, in bytes.
const MAX_TEXT: usize = 1 << 10;

/// The client's side of what servers tell.
pub(super) struct Handler {
    id: Arc<str>,
    watch: Watch,
    /// Calls that wait for their result.
    calls: Arc<AtomicU32>,
    progress: AtomicU32,
    changed: AtomicBool,
}

impl Handler {
    pub(super) fn new(id: Arc<str>, watch: Watch, calls: Arc<AtomicU32>) -> Handler {
        Handler {
            id,
            watch,
            calls,
            progress: AtomicU32::new(0),
            changed: AtomicBool::new(false),
        }
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new("wasm-agent", env!("CARGO_PKG_VERSION"));
        // No sampling, no roots, no elicitation: a server gets nothing but calls.
        ClientConfig::new(ClientCapabilities::default(), name)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        // Only while somebody waits, and not for ever: else a server could keep a stuck run alive.
        if self.calls.load(Ordering::Relaxed) == 0
            || self.progress.fetch_add(1, Ordering::Relaxed) >= MAX_PROGRESS
        {
            return;
        }
        self.watch.moved();
        let fraction = params
            .total
            .map(|total| params.progress / total)
            .filter(|fraction| (0.0..=1.0).contains(fraction));
        let message = params.message.as_deref().unwrap_or("is at work");
        let message = format!("{}: {}", self.id, shown(message));
        self.watch.note(Audit::Progress { message, fraction });
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        // The tools of a run are those it started with: a model must not be handed others unseen.
        if !self.changed.swap(true, Ordering::Relaxed) {
            self.watch.server(
                &self.id,
                "tools_changed",
                "it has other tools now; this run keeps those it started with".to_owned(),
            );
        }
    }
}

/// The beginning of a server's text, fit to be shown.
pub(super) fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT);
    printable(text.get(..end).unwrap_or_default())
}
