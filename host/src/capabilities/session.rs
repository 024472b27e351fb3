//! `wasm-agent:agent/session`: the run as the guest sees it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::bindings::wasm_agent::agent::session as wit;
use super::bindings::wasm_agent::agent::types;
use super::meters::Left;
use super::state::RunState;
use super::storage::StorageError;
use crate::digest::Digest;
use crate::grants::{Access, Evidence};
use crate::recording::tape::Pace;
use crate::schema::{Violation, document, document_with_content};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::Audit;
use crate::trajectory::ledger::LedgerError;

type Answer<T> = wasmtime::Result<Result<T, wit::SessionError>>;

impl wit::Host for RunState {
    async fn info(&mut self) -> wasmtime::Result<wit::RunInfo> {
        self.looks("info");
        let directories = self.grants.dirs.iter().map(|dir| wit::Directory {
            path: dir.guest.clone(),
            access: match dir.access {
                Access::ReadOnly => wit::Access::ReadOnly,
                // Whether what is written is kept is for the operator to say, later.
                Access::ReadWrite | Access::CopyOnWrite => wit::Access::ReadWrite,
            },
        });
        Ok(wit::RunInfo {
            run_id: self.run_id.to_string(),
            session_id: self.session_id.to_string(),
            directories: directories.collect(),
        })
    }

    async fn budget(&mut self) -> wasmtime::Result<wit::RunBudget> {
        self.looks("budget");
        let left = self.left()?;
        let models = self.models.left(&self.grants.limits);
        Ok(wit::RunBudget {
            wall_ms: left.wall_ms,
            cpu_ms: left.cpu_ms,
            memory_bytes: left.memory_bytes,
            events: self.ledger.facts_left(),
            storage_bytes: self.storage.left(),
            model_calls: models.calls,
            tokens: models.tokens,
            money_micro_usd: models.micro_usd,
            low: left.low,
        })
    }

    async fn save(&mut self, checkpoint: Vec<u8>) -> Answer<wit::Stored> {
        self.activity.function("save");
        let checkpoint = match self.lets_leave("a checkpoint", checkpoint)? {
            Ok(checkpoint) => checkpoint,
            Err(refused) => return Ok(Err(refused)),
        };
        let stored = self.storage.save_checkpoint(&checkpoint);
        let audit = |digest: &Digest, bytes| Audit::Checkpoint {
            digest: digest.to_string(),
            bytes,
        };
        self.stored(stored, checkpoint.len(), audit).await
    }

    async fn load(&mut self) -> Answer<Option<Vec<u8>>> {
        self.looks("load");
        Ok(self.storage.load_checkpoint().map_err(Into::into))
    }

    async fn complete(&mut self, summary: String) -> Answer<()> {
        self.activity.function("complete");
        if summary.len() as u64 > self.grants.limits.event_bytes {
            let max = self.grants.limits.event_bytes;
            return Ok(Err(StorageError::Limit {
                name: "event-bytes",
                max,
            }
            .into()));
        }
        match self.ledger.claimable("complete", &summary) {
            Ok(()) => {}
            Err(LedgerError::Journal(error)) => return Err(error.into()),
            Err(LedgerError::Rejected(rejected)) => {
                self.ledger.deliver().await;
                return Ok(Err(wit::SessionError::Invalid(rejected.to_string())));
            }
        }
        let first = self.ledger.complete(summary)?;
        self.ledger.deliver().await;
        Ok(if first {
            Ok(())
        } else {
            Err(wit::SessionError::Exists("completion".to_owned()))
        })
    }

    async fn submit_artifact(&mut self, artifact: wit::Artifact) -> Answer<wit::Stored> {
        self.activity.function("submit-artifact");
        if artifact.media_type.len() > 256 || artifact.media_type.chars().any(char::is_control) {
            let reason = "media-type: at most 256 printable characters".to_owned();
            return Ok(Err(wit::SessionError::Invalid(reason)));
        }
        let grants = self.grants.clone();
        if let Err(violation) = weigh(&grants.require, &artifact).await {
            let reason = format!("data: {violation}");
            self.ledger.audit(Audit::Rejected {
                fact: "submit-artifact",
                reason: format!("`{}`: {reason}", artifact.name),
            })?;
            self.ledger.deliver().await;
            return Ok(Err(wit::SessionError::Invalid(reason)));
        }
        let wit::Artifact {
            name,
            media_type,
            data,
        } = artifact;
        // Its name is part of it.
        match self
            .ledger
            .claimable("the name of an artifact", &(&name, &media_type))
        {
            Ok(()) => {}
            Err(LedgerError::Journal(error)) => return Err(error.into()),
            Err(LedgerError::Rejected(rejected)) => {
                return Ok(Err(wit::SessionError::Invalid(rejected.to_string())));
            }
        }
        let data = match self.lets_leave("an artifact", data)? {
            Ok(data) => data,
            Err(refused) => return Ok(Err(refused)),
        };
        let stored = self.storage.store_artifact(&name, &media_type, &data);
        let audit = |digest: &Digest, bytes| Audit::Artifact {
            name,
            media_type,
            digest: digest.to_string(),
            bytes,
        };
        self.stored(stored, data.len(), audit).await
    }
}

impl RunState {
    /// What is left of the budgets, as the clock of the run says.
    fn left(&self) -> wasmtime::Result<Left> {
        let limits = &self.grants.limits;
        self.tape.observe(
            "session.budget",
            || json!(null),
            || {
                Ok(match self.tape.pace() {
                    // Computing takes no virtual time: its budget is fuel, which nobody can run low on unseen.
                    Pace::Virtual => {
                        let wall = Duration::from_micros(self.tape.peek());
                        self.meters.left_after(limits, wall, Duration::ZERO)
                    }
                    Pace::Real | Pace::Replayed => self.meters.left(limits),
                })
            },
        )
    }

    /// Notes a call that reads and changes nothing: a guest that only does this is idle.
    pub(super) fn looks(&self, function: &'static str) {
        self.activity.function(function);
        self.activity.looks();
    }

    /// What may be kept of `data`, where the operator and others will read it.
    fn lets_leave(&self, place: &str, data: Vec<u8>) -> Answer<Vec<u8>> {
        match self.ledger.leaving(place, data) {
            Ok(data) => Ok(Ok(data)),
            Err(LedgerError::Journal(error)) => Err(error.into()),
            Err(LedgerError::Rejected(rejected)) => {
                Ok(Err(wit::SessionError::Invalid(rejected.to_string())))
            }
        }
    }

    async fn stored(
        &mut self,
        stored: Result<Digest, StorageError>,
        bytes: usize,
        audit: impl FnOnce(&Digest, u64) -> Audit,
    ) -> Answer<wit::Stored> {
        let answer = match stored {
            Ok(digest) => {
                let bytes = bytes as u64;
                self.ledger.audit(audit(&digest, bytes))?;
                Ok(wit::Stored {
                    digest: digest.to_string(),
                    bytes,
                })
            }
            Err(error) => {
                if let StorageError::Limit { name, max } = error {
                    self.ledger.audit(Audit::Limit { name, max })?;
                }
                Err(error.into())
            }
        };
        self.ledger.deliver().await;
        Ok(answer)
    }
}

/// Whether an artifact is what the operator requires under its name. It is decided before it is
/// stored, so that the agent can hand over a better one under the same name.
async fn weigh(required: &Evidence, artifact: &wit::Artifact) -> Result<(), Violation> {
    let Some(required) = required.artifact(&artifact.name) else {
        return Ok(());
    };
    if down(Wall::Required) {
        return Ok(());
    }
    match &required.schema {
        Some((_, schema)) => schema.check(document(&artifact.data)?).await,
        // Nobody can do anything with a JSON file that is not JSON.
        None if is_json_name(&required.name) => document_with_content(&artifact.data).map(|_| ()),
        None if artifact.data.is_empty() => Err(Violation::Empty),
        None => Ok(()),
    }
}

fn is_json_name(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

impl From<StorageError> for wit::SessionError {
    fn from(error: StorageError) -> wit::SessionError {
        match error {
            StorageError::Name { .. } => wit::SessionError::Invalid(error.to_string()),
            StorageError::Exists { name } => wit::SessionError::Exists(name),
            StorageError::Limit { name, max } => wit::SessionError::Limit(types::Limit {
                name: name.to_owned(),
                max,
            }),
            StorageError::NoDirectory | StorageError::Io { .. } => {
                wit::SessionError::Unavailable(error.to_string())
            }
        }
    }
}
