//! The scripted provider: a model that follows rules instead of thinking.
//!
//! For demonstrations and tests without a network and without a key. It is a provider like any other:
//! what it answers goes through the same retries, limits and accounting. `format.rs` is the file as
//! written, `rule.rs` decides which rule applies, `play.rs` turns its reply into a stream.

pub mod format;
mod play;
mod rule;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use format::{ScriptError, schema};
pub(super) use play::Playing;

use super::Request;
use super::error::Failed;
use super::wire::Class;
use format::Script;
use rule::Seen;

/// A script that is being followed in one run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scripted {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    script: Script,
    state: Mutex<State>,
}

/// What has happened in the run so far.
#[derive(Debug, Default)]
struct State {
    /// How often each rule has been applied.
    applied: Vec<u64>,
    /// Calls made, for their ids.
    calls: u64,
}

impl Scripted {
    /// Reads the script at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not a script.
    pub fn open(path: &Path) -> Result<Scripted, ScriptError> {
        Ok(Scripted::new(path, Script::read(path)?))
    }

    fn new(path: &Path, script: Script) -> Scripted {
        let state = State {
            applied: vec![0; script.rules.len()],
            calls: 0,
        };
        Scripted {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                script,
                state: Mutex::new(state),
            }),
        }
    }

    /// The model whose price applies, as `provider/model`.
    #[must_use]
    pub fn priced_as(&self) -> Option<&str> {
        self.inner.script.priced_as.as_deref()
    }

    /// Answers a request with the first rule that applies.
    pub(super) fn ask(&self, request: &Request) -> Result<Playing, Failed> {
        let inner = &self.inner;
        let seen = Seen::of(request);
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        for (rule, applied) in inner.script.rules.iter().zip(&mut state.applied) {
            if rule.times.is_some_and(|times| *applied >= times) || !seen.fits(&rule.when) {
                continue;
            }
            *applied += 1;
            return Ok(Playing::of(
                &inner.script,
                &rule.reply,
                &seen,
                &mut state.calls,
            ));
        }
        Err(Failed::new(
            Class::Rejected,
            format!(
                "no rule of the script `{}` applies to turn {}; the conversation ends with {}",
                inner.path.display(),
                seen.turn,
                seen.end()
            ),
        ))
    }
}

#[cfg(test)]
mod tests;
