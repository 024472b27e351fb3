//! A recording against the account of its run.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::Mismatch;
use super::account::{Account, OutcomeText, RunFile, digest_of_json, is_regular};
use crate::digest::Digest;
use crate::recording::format::{End, Entry};
use crate::recording::{Recording, RunDigest};
use crate::run::taping::FILE;

/// What became of comparing.
#[derive(Debug, Serialize)]
pub struct RecordingCheck {
    /// The recording.
    pub file: PathBuf,
    /// Whether it is there.
    pub state: RecordingState,
    /// SHA-256 of the file.
    pub digest: Option<Digest>,
    /// Calls in it.
    pub calls: u64,
    /// What the directories and files were that the run was given, as it says.
    pub inputs: Vec<Input>,
    /// In what it says something else than the account.
    pub mismatches: Vec<Mismatch>,
}

/// A directory or a file of a run, as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Input {
    /// In the guest.
    pub path: String,
    /// As docs/recording.md says.
    pub digest: Digest,
}

/// Where the recording of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordingState {
    /// It was compared.
    Compared,
    /// It was written to another place, and is not there: nothing to compare. That is no mismatch.
    Elsewhere,
    /// It was written to the run directory, and is not there.
    Lost,
}

/// Where the recording of a run should be, and whether that is in its directory.
pub(super) fn place(directory: &Path, run: &RunFile) -> Option<(PathBuf, bool)> {
    let own = directory.join(FILE);
    match run
        .taping
        .as_ref()
        .and_then(|taping| taping.recording.as_ref())
    {
        Some(path) if path == Path::new(FILE) => Some((own, true)),
        Some(path) => Some((path.clone(), false)),
        None => is_regular(&own).then_some((own, true)),
    }
}

/// Compares; nothing when the run has no recording.
pub(super) fn check(account: &Account) -> Option<RecordingCheck> {
    let run = account.run.as_ref()?;
    let (file, own) = place(&account.directory, run)?;
    let mut check = RecordingCheck {
        state: RecordingState::Compared,
        digest: None,
        calls: 0,
        inputs: Vec::new(),
        mismatches: Vec::new(),
        file,
    };
    if !is_regular(&check.file) {
        if own {
            check.state = RecordingState::Lost;
            check.differs(
                "file",
                Some("a recording in the run directory"),
                None::<&str>,
            );
        } else {
            check.state = RecordingState::Elsewhere;
        }
        return Some(check);
    }
    let recording = match Recording::read(&check.file) {
        Ok(recording) => recording,
        Err(error) => {
            check.differs("file", Some("a recording"), Some(error));
            return Some(check);
        }
    };
    check.digest = std::fs::File::open(&check.file)
        .and_then(Digest::of_reader)
        .ok();
    check.calls = recording.entries.iter().map(Entry::calls).sum();
    let inputs = recording.header.inputs.iter().map(|input| Input {
        path: input.path.clone(),
        digest: input.digest,
    });
    check.inputs = inputs.collect();
    check.beginnings(account, run, &recording);
    if let Some(outcome) = &account.outcome {
        check.ends(account, run, outcome, &recording);
    }
    Some(check)
}

impl RecordingCheck {
    fn differs(
        &mut self,
        what: &str,
        account: Option<impl std::fmt::Display>,
        found: Option<impl std::fmt::Display>,
    ) {
        self.mismatches.push(Mismatch::new(what, account, found));
    }

    fn same<T: PartialEq + std::fmt::Display>(
        &mut self,
        what: &str,
        account: Option<T>,
        found: Option<T>,
    ) {
        if account != found {
            self.differs(what, account, found);
        }
    }

    fn beginnings(&mut self, account: &Account, run: &RunFile, recording: &Recording) {
        let header = &recording.header;
        self.same("session", account.known_as(), Some(&header.session_id));
        let component = header.component.digest.to_string();
        self.same("component", Some(&run.agent.digest), Some(&component));
        // `run.json` has the commission as it was read, the recording as it was given.
        let commission: Value =
            serde_json::from_str(header.commission.get()).unwrap_or(Value::Null);
        let commission = Digest::of(commission.to_string().as_bytes());
        self.same(
            "commission",
            Some(digest_of_json(&run.commission)),
            Some(commission),
        );
    }

    fn ends(&mut self, account: &Account, run: &RunFile, outcome: &OutcomeText, of: &Recording) {
        let Some(end) = &of.end else {
            // A run that ended as a fault of the host has neither.
            self.same("run digest", outcome.run_digest, None);
            return;
        };
        let End {
            ended,
            output,
            trajectory,
            fuel,
            run: run_digest,
            ..
        } = end;
        let said = account.report.trajectory.clone();
        self.same("trajectory", said, Some(trajectory.to_string()));
        self.same("ended", Some(outcome.ended.get()), Some(&ended.to_string()));
        // Where secrets may pass, the output is recorded as it was returned, and the account is without them.
        let passed = lets_secrets_pass(run) && outcome.output.is_some() && output.is_some();
        let said = match &outcome.output {
            Some(text) if passed && text.get().contains("[secret:") => *output,
            output => output.as_deref().map(digest_of_json),
        };
        self.same("output", said, *output);
        self.same("fuel", outcome.fuel, *fuel);
        self.same("run digest", outcome.run_digest, Some(*run_digest));
        if let (Ok(component), true) = (run.agent.digest.parse(), self.mismatches.is_empty()) {
            // What is compared here is what has no line of its own above: grants, inputs, answers, files.
            let anew = digest_anew(&component, outcome, of, end);
            let what = "run digest, put together anew";
            self.same(what, outcome.run_digest, Some(anew));
        }
    }
}

/// Whether the operator has let secrets leave the agent.
fn lets_secrets_pass(run: &RunFile) -> bool {
    let grants: Value = serde_json::from_str(run.grants.get()).unwrap_or_default();
    grants.get("leaks").and_then(Value::as_str) == Some("warn")
}

/// The run digest from the recording and what the account says came of the run.
fn digest_anew(component: &Digest, outcome: &OutcomeText, of: &Recording, end: &End) -> Digest {
    let mut digest = RunDigest::new(&of.header, component);
    digest.line("recording", of.entries_digest);
    digest.line("trajectory", end.trajectory);
    digest.line("ended", digest_of_json(&outcome.ended));
    if let Some(output) = &end.output {
        digest.line("output", output);
    }
    for file in &outcome.files {
        digest.line("file", file);
    }
    for artifact in &outcome.artifacts {
        digest.line("artifact", artifact);
    }
    if let Some(fuel) = outcome.fuel {
        digest.line("fuel", fuel);
    }
    digest.finish()
}
