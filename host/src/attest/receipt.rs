//! What a receipt says, and whether it says what the account says.
//!
//! An in-toto Statement v1. Everything in it follows from the run directory, so that whoever checks it makes it
//! again and compares. There is no time of signing in it: nobody could check that.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::Mismatch;
use super::account::{Account, digest_of_json, is_regular, read_bounded};
use super::dsse::{self, Envelope};
use super::key::PublicKey;
use super::recording::{RecordingCheck, RecordingState};
use crate::digest::Digest;
use crate::recording::request::first_difference;

/// Name of a receipt in a run directory.
pub const FILE: &str = "receipt.dsse.json";

/// What the payload of the envelope is.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// Version of what a receipt says.
pub const PREDICATE_TYPE: &str = "https://github.com/wasm-agent/wasm-agent/receipt/v1";

/// What became of looking at a receipt.
#[derive(Debug, Serialize)]
pub struct ReceiptCheck {
    /// The receipt.
    pub file: PathBuf,
    /// Ids of the keys that have signed it, as it says. Whether they have is for [`ReceiptCheck::signature`].
    pub signed_by: Vec<String>,
    /// Whether the key that was given has signed it.
    pub signature: SignatureCheck,
    /// In what it says something else than the account.
    pub mismatches: Vec<Mismatch>,
}

/// What is known of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureCheck {
    /// No key was given.
    NotChecked,
    /// The key has signed this receipt.
    Good,
    /// It has not.
    Refused,
}

/// The statement of a run whose account is closed: the bytes that are signed.
pub(super) fn statement(account: &Account, recording: Option<&RecordingCheck>) -> Option<Vec<u8>> {
    let value = statement_value(account, recording_value(recording).as_ref())?;
    serde_json::to_vec(&value).ok()
}

fn recording_value(recording: Option<&RecordingCheck>) -> Option<Value> {
    let recording = recording?;
    let name = recording.file.file_name()?.to_string_lossy();
    Some(json!({ "file": name, "digest": recording.digest?, "inputs": recording.inputs }))
}

fn statement_value(account: &Account, recording: Option<&Value>) -> Option<Value> {
    let (run, outcome) = (account.run.as_ref()?, account.outcome.as_ref()?);
    let head = account.report.head.as_ref()?;
    let trajectory: Digest = account.report.trajectory.as_ref()?.parse().ok()?;
    let log = std::fs::File::open(account.directory.join("events.ndjson"))
        .and_then(Digest::of_reader)
        .ok()?;
    let output = outcome.output.as_deref().map(digest_of_json);
    let mut subjects = Vec::from([
        subject("events.ndjson", &log),
        subject("trajectory.ndjson", &trajectory),
    ]);
    subjects.extend(output.map(|output| subject("output.json", &output)));
    for artifact in &outcome.artifacts {
        let artifact: Value = serde_json::from_str(artifact.get()).ok()?;
        let name = artifact.get("name")?.as_str()?;
        let digest = artifact.get("digest")?.as_str()?.parse().ok()?;
        subjects.push(subject(&format!("artifacts/{name}"), &digest));
    }
    let grants: Value = serde_json::from_str(run.grants.get()).ok()?;
    let ended: Value = serde_json::from_str(outcome.ended.get()).ok()?;
    Some(json!({
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "run": {
                "run_id": outcome.run_id,
                "session_id": run.session_id,
                "known_as": account.known_as(),
                "started": run.started,
            },
            "host": { "version": run.host.version, "profile": run.host.profile },
            "component": {
                "name": run.agent.name,
                "version": run.agent.version,
                "digest": run.agent.digest,
            },
            "commission": digest_of_json(&run.commission),
            "grants": digest_of_json(&run.grants),
            "log": { "head": head, "events": account.report.events },
            "trajectory": trajectory,
            "recording": recording,
            "run_digest": outcome.run_digest,
            "fuel": outcome.fuel,
            "ended": ended,
            "stop_reason": outcome.stop_reason,
            "output": output,
            "evidence": {
                "required": grants.get("require"),
                "completed": outcome.completed,
            },
        },
    }))
}

fn subject(name: &str, digest: &Digest) -> Value {
    json!({ "name": name, "digest": { "sha256": digest.hex() } })
}

/// Looks at the receipt in a run directory; nothing when there is none.
pub(super) fn check(
    account: &Account,
    recording: Option<&RecordingCheck>,
    key: Option<&PublicKey>,
) -> Option<ReceiptCheck> {
    let file = account.directory.join(FILE);
    if !file.exists() && file.symlink_metadata().is_err() {
        return None;
    }
    let mut check = ReceiptCheck {
        signed_by: Vec::new(),
        signature: match key {
            None => SignatureCheck::NotChecked,
            Some(_) => SignatureCheck::Refused,
        },
        mismatches: Vec::new(),
        file,
    };
    let envelope = match read(&check.file) {
        Ok(envelope) => envelope,
        Err(reason) => {
            let mismatch = Mismatch::new("file", Some("a DSSE envelope"), Some(reason));
            check.mismatches.push(mismatch);
            return Some(check);
        }
    };
    check.signed_by = envelope
        .signatures
        .iter()
        .map(|signature| crate::json::printable(&signature.keyid))
        .collect();
    if key.is_some_and(|key| envelope.is_signed_by(key)) {
        check.signature = SignatureCheck::Good;
    }
    check.mismatches = differences(account, recording, &envelope);
    Some(check)
}

/// The envelope in a file.
pub(super) fn read(file: &Path) -> Result<Envelope, String> {
    if !is_regular(file) {
        return Err("it is no file".to_owned());
    }
    let bytes = read_bounded(file, dsse::MAX_BYTES).ok_or("it cannot be read, or is too large")?;
    Envelope::parse(&bytes).map_err(|error| error.to_string())
}

fn differences(
    account: &Account,
    recording: Option<&RecordingCheck>,
    envelope: &Envelope,
) -> Vec<Mismatch> {
    let differs = |what: &str, account: &str, found: &str| {
        Vec::from([Mismatch::new(what, Some(account), Some(found))])
    };
    if envelope.payload_type != PAYLOAD_TYPE {
        return differs("payloadType", PAYLOAD_TYPE, &envelope.payload_type);
    }
    let text = std::str::from_utf8(&envelope.payload).unwrap_or_default();
    let found = match crate::json::parse(text) {
        Ok(found) => found,
        Err(error) => return differs("payload", "a statement", &error.to_string()),
    };
    for (name, expected) in [("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)] {
        let said = found.get(name).and_then(Value::as_str).unwrap_or_default();
        if said != expected {
            return differs(name, expected, said);
        }
    }
    let claimed = found.pointer("/predicate/recording").cloned();
    let recorded = match recording {
        // It names one that is not here to be compared, or none where there is one now.
        Some(check) if check.state == RecordingState::Elsewhere => claimed,
        _ if claimed == Some(Value::Null) => claimed,
        recording => recording_value(recording),
    };
    let expected = statement_value(account, recorded.as_ref()).and_then(|value| {
        // As it would be read, for the sake of numbers.
        serde_json::from_str(&value.to_string()).ok()
    });
    let Some(expected): Option<Value> = expected else {
        return differs("account", "not closed", "a statement of how the run ended");
    };
    first_difference(&expected, &found)
        .map(|first| Mismatch::new(&first.path, first.expected, first.found))
        .into_iter()
        .collect()
}
