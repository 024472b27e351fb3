//! The end of a run that can be repeated: its digest, and the end of its tape.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::drive::Job;
use super::outcome::{Ended, FileChange, Outcome};
use crate::capabilities::storage::Submitted;
use crate::digest::Digest;
use crate::egress::secrets::Redacted;
use crate::grants::secrets::Leaks;
use crate::recording::tape::{Closing, TapeError};
use crate::recording::{RunDigest, marks};
use crate::trajectory::Ledger;
use crate::trajectory::search::Found;

/// Closes the tape: puts the digest of the run together, and ends the recording or compares with its end.
pub(super) fn sealed(job: &Job, outcome: Outcome) -> Outcome {
    let (Some(header), Some(entries), Some(trajectory)) = (
        &job.header,
        job.tape.entries_digest(),
        job.ledger.trajectory_digest(),
    ) else {
        return outcome;
    };
    if matches!(outcome.ended, Ended::Diverged(_) | Ended::HostFault { .. }) {
        return outcome;
    }
    let text = |value: &Value| Digest::of(value.to_string().as_bytes());
    let ended = serde_json::to_value(&outcome.ended).unwrap_or_default();
    let output = outcome.output.as_ref().map(text);
    let mut digest = RunDigest::new(header, &job.agent.artifact.digest());
    digest.line("recording", entries);
    digest.line("trajectory", trajectory);
    digest.line("ended", text(&ended));
    if let Some(output) = output {
        digest.line("output", output);
    }
    for file in &outcome.files {
        digest.line("file", serde_json::to_value(file).unwrap_or_default());
    }
    for artifact in &outcome.artifacts {
        digest.line(
            "artifact",
            serde_json::to_value(artifact).unwrap_or_default(),
        );
    }
    if let Some(fuel) = outcome.fuel {
        digest.line("fuel", fuel);
    }
    let run = digest.finish();
    let closing = Closing {
        ended,
        output,
        trajectory,
        fuel: outcome.fuel,
        run,
    };
    let outcome = Outcome {
        run_digest: Some(run),
        ..outcome
    };
    let ended = match job.tape.close(closing) {
        Ok(()) => return outcome,
        Err(TapeError::Diverged(divergence)) => Ended::Diverged(divergence),
        Err(error) => Ended::HostFault {
            message: error.to_string(),
        },
    };
    Outcome { ended, ..outcome }
}

/// What of an outcome is part of a run that can be repeated, without the secrets in it: a replay, which knows
/// none of them, says the same.
pub(super) fn said(ledger: &Ledger, outcome: Outcome) -> Outcome {
    let mut said = Said {
        ended: outcome.ended,
        output: outcome.output,
        files: outcome.files,
        artifacts: outcome.artifacts,
    };
    let found = ledger.search().check(
        "the outcome",
        |guard| {
            let Redacted { mut rest, found } = guard.redact_value(&said)?;
            if guard.policy() == Leaks::Warn {
                rest.output = None;
            }
            Some(Found::by(Leaks::Redact, found, rest))
        },
        |rest| {
            let mut rest = rest.clone();
            rest.output = rest.output.or_else(|| said.output.clone());
            let value = |said: &Said| serde_json::to_value(said).unwrap_or_default();
            marks::covers(&value(&rest), &value(&said))
        },
    );
    match found {
        Ok(Some(Found {
            rest: Some(rest), ..
        })) => {
            said = Said {
                // Without one, the policy is to leave the answer as it is.
                output: rest.output.or(said.output),
                ..rest
            };
        }
        Ok(_) => {}
        Err(error) => {
            said.ended = Ended::HostFault {
                message: error.to_string(),
            };
        }
    }
    Outcome {
        ended: said.ended,
        output: said.output,
        files: said.files,
        artifacts: said.artifacts,
        ..outcome
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Said {
    ended: Ended,
    output: Option<Value>,
    files: Vec<FileChange>,
    artifacts: Vec<Submitted>,
}
