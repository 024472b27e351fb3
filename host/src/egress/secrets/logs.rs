//! Secrets of runs under way, kept out of what this process logs.
//!
//! At its most talkative the log has the arguments of every host call in it.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::guard::Guard;

static GUARDS: RwLock<Vec<Weak<Guard>>> = RwLock::new(Vec::new());

/// Keeps what `guard` looks for out of the log, for as long as it is there.
pub(super) fn watch(guard: &Arc<Guard>) {
    let mut guards = GUARDS.write().unwrap_or_else(PoisonError::into_inner);
    guards.retain(|guard| guard.strong_count() > 0);
    guards.push(Arc::downgrade(guard));
}

/// A piece of a log, without the secrets of any run of this process. For whoever writes the log: each event
/// has to come in one piece.
#[must_use]
pub fn without_secrets(text: &[u8]) -> Option<Vec<u8>> {
    let guards = GUARDS.read().unwrap_or_else(PoisonError::into_inner);
    let mut rest = None;
    for guard in guards.iter().filter_map(Weak::upgrade) {
        if let Some(redacted) = guard.redact(rest.as_deref().unwrap_or(text)) {
            rest = Some(redacted.rest);
        }
    }
    rest
}
