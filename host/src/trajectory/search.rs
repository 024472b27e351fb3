//! The search for secrets in what leaves a guest, in a run that may be recorded or repeated.
//!
//! A replay has no secrets to look for, and the guest it repeats may still have one: from a granted directory, or
//! because it wrote it itself. What was found is on the tape, at the check that found it, and nothing where
//! nothing was; a replay does with it what the recorded run did.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::audit::LeakAction;
use super::journal::JournalError;
use crate::egress::secrets::{Guard, Kind, Needle, Redacted, Verdict};
use crate::grants::secrets::Leaks;
use crate::recording::{Tape, bytes, marks};

/// What checks that found something are called on the tape.
const KIND: &str = "secrets.found";

/// What a check found, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found<T> {
    /// The secrets, each once; at least one.
    pub secrets: Vec<Needle>,
    /// What came of it.
    pub action: LeakAction,
    /// What passes instead, where it is redacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<T>,
}

/// Bytes that pass instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rest(#[serde(with = "bytes")] pub Vec<u8>);

/// What looks for the secrets of a run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Search {
    guard: Option<Arc<Guard>>,
    tape: Tape,
}

impl<T> Found<T> {
    /// What an operator's policy makes of it.
    #[must_use]
    pub fn by(policy: Leaks, secrets: Vec<Needle>, rest: T) -> Found<T> {
        let (action, rest) = match policy {
            Leaks::Block => (LeakAction::Blocked, None),
            Leaks::Redact => (LeakAction::Redacted, Some(rest)),
            Leaks::Warn => (LeakAction::Passed, None),
        };
        Found {
            secrets,
            action,
            rest,
        }
    }

    /// Why it is refused, in words, where it is.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let needle = self.secrets.first()?;
        (self.action == LeakAction::Blocked)
            .then(|| format!("it contains the {} `{}`", needle.kind.as_str(), needle.name))
    }
}

impl Search {
    /// For a run with these secrets, if it has any, and this tape.
    #[must_use]
    pub fn new(guard: Option<Arc<Guard>>, tape: Tape) -> Search {
        Search { guard, tape }
    }

    /// What knows the secrets; nothing when there are none, or they are not here.
    #[must_use]
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.guard.as_ref()
    }

    /// Makes a check. `is_of` says whether what passed instead when the run was recorded is made of what would
    /// pass now: if it is not, the replay has gone another way, which shows elsewhere.
    ///
    /// # Errors
    ///
    /// The recording cannot be written, or has something else in this place.
    pub fn check<T: Serialize + DeserializeOwned>(
        &self,
        place: &str,
        look: impl FnOnce(&Guard) -> Option<Found<T>>,
        is_of: impl FnOnce(&T) -> bool,
    ) -> Result<Option<Found<T>>, JournalError> {
        if self.guard.is_none() && self.tape.is_off() {
            return Ok(None);
        }
        let mut looked = false;
        let found = self.tape.exception(KIND, place, || {
            looked = true;
            self.guard.as_deref().and_then(look)
        });
        let found = found.map_err(|error| {
            JournalError::new(PathBuf::from("recording"), std::io::Error::other(error))
        })?;
        Ok(found.filter(|found| looked || found.rest.as_ref().is_none_or(is_of)))
    }

    /// Checks something that is there as a whole.
    ///
    /// # Errors
    ///
    /// As [`Search::check`].
    pub fn bytes(&self, place: &str, all: &[u8]) -> Result<Option<Found<Rest>>, JournalError> {
        let look = |guard: &Guard| {
            let found = |action, secrets, rest| Found {
                secrets,
                action,
                rest,
            };
            Some(match guard.judge(all) {
                Verdict::Clean => return None,
                Verdict::Blocked(needle) => found(LeakAction::Blocked, vec![needle], None),
                Verdict::Warned(needle) => found(LeakAction::Passed, vec![needle], None),
                Verdict::Redacted(redacted) => found(
                    LeakAction::Redacted,
                    redacted.found,
                    Some(Rest(redacted.rest)),
                ),
            })
        };
        self.check(place, look, |rest| covers_bytes(&rest.0, all))
    }

    /// Checks a JSON document.
    ///
    /// # Errors
    ///
    /// As [`Search::check`].
    pub fn document(
        &self,
        place: &str,
        value: &Value,
    ) -> Result<Option<Found<Value>>, JournalError> {
        let look = |guard: &Guard| {
            let Redacted { rest, found } = guard.redact_value(value)?;
            Some(Found::by(guard.policy(), found, rest))
        };
        self.check(place, look, |rest| marks::covers(rest, value))
    }

    /// Checks what ends in the account only, which never has a secret in it: where the policy is to block, it is
    /// refused.
    ///
    /// # Errors
    ///
    /// As [`Search::check`].
    pub fn report<T: Serialize>(
        &self,
        place: &str,
        report: &T,
    ) -> Result<Option<Found<Value>>, JournalError> {
        let look = |guard: &Guard| {
            if guard.policy() != Leaks::Block {
                return None;
            }
            let json = serde_json::to_string(report).ok()?;
            let mut secrets = guard.redact_json(&json)?.found;
            secrets.truncate(1);
            Some(Found::by(Leaks::Block, secrets, Value::Null))
        };
        self.check(place, look, |_| true)
    }

    /// Checks an event on its way into the account, where nothing with a secret in it may stand: what stands
    /// there instead, and the secrets.
    ///
    /// # Errors
    ///
    /// As [`Search::check`].
    pub fn event(&self, place: &str, json: &str) -> Result<Option<Redacted<String>>, JournalError> {
        let look = |guard: &Guard| {
            let Redacted { rest, found } = guard.redact_json(json)?;
            Some(Found::by(Leaks::Redact, found, rest))
        };
        let found = self.check(place, look, |rest: &String| {
            let read = |text: &str| serde_json::from_str::<Value>(text).ok();
            read(rest)
                .zip(read(json))
                .is_some_and(|(rest, json)| marks::covers(&rest, &json))
        })?;
        Ok(found.and_then(|found| {
            Some(Redacted {
                rest: found.rest?,
                found: found.secrets,
            })
        }))
    }
}

fn covers_bytes(rest: &[u8], all: &[u8]) -> bool {
    match (std::str::from_utf8(rest), std::str::from_utf8(all)) {
        (Ok(rest), Ok(all)) => marks::covers_text(rest, all),
        // Of what is no text, nobody can tell which part is a mark.
        _ => true,
    }
}

impl Serialize for Needle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", prefix(self.kind), self.name))
    }
}

impl<'de> Deserialize<'de> for Needle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Needle, D::Error> {
        let text = String::deserialize(deserializer)?;
        let of = |kind| {
            let name = text.strip_prefix(prefix(kind))?.strip_prefix(':')?;
            Some(Needle {
                name: name.into(),
                kind,
            })
        };
        of(Kind::Secret)
            .or_else(|| of(Kind::Placeholder))
            .ok_or_else(|| serde::de::Error::custom("neither a secret nor a placeholder"))
    }
}

fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Secret => "secret",
        Kind::Placeholder => "placeholder",
    }
}
