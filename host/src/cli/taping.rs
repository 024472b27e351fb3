//! The flags that make a run one that can be repeated, and what is said of it afterwards.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use wasm_agent::digest::Digest;
use wasm_agent::engine::Profile;
use wasm_agent::error::Exit;
use wasm_agent::recording::Seed;
use wasm_agent::run::taping::hermetic_start;
use wasm_agent::run::{Mode, Outcome, RecordTo};

use super::failure::Failure;
use super::out::{DIM, note, styled};

/// Recording, and running with nothing but the inputs.
#[derive(clap::Args)]
#[command(next_help_heading = "Repeat")]
pub(super) struct TapingFlags {
    /// Record what the agent gets from outside, to a file or to `recording.ndjson` in the run directory
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    record: Option<Option<PathBuf>>,

    /// Give the agent nothing but its inputs: virtual time, numbered randomness, a budget of fuel
    #[arg(long)]
    hermetic: bool,

    /// The number everything random in a hermetic run follows from
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        requires = "hermetic"
    )]
    #[arg(hide_default_value = true)]
    seed: u64,

    /// When the clock of a hermetic run begins, such as 2026-01-01T00:00:00Z; in 2000, unless it matters
    #[arg(long, value_name = "TIME", requires = "hermetic")]
    clock: Option<String>,

    #[command(flatten)]
    expected: ExpectFlag,
}

/// What has to come out.
#[derive(clap::Args)]
#[command(next_help_heading = "Repeat")]
pub(super) struct ExpectFlag {
    /// Fail with exit code 4 unless the run digest is this one
    #[arg(long, value_name = "DIGEST")]
    expect_digest: Option<Digest>,
}

impl TapingFlags {
    /// Whether a recording is asked for.
    pub(super) fn records(&self) -> bool {
        self.record.is_some()
    }

    /// Where a run is recorded that is recorded in any case.
    pub(super) fn record_to(&self) -> RecordTo {
        match &self.record {
            Some(Some(file)) => RecordTo::File(file.clone()),
            Some(None) | None => RecordTo::RunDirectory,
        }
    }

    /// The file it is recorded to.
    pub(super) fn file(&self) -> Option<&Path> {
        self.record.as_ref()?.as_deref()
    }

    /// How the run relates to a recording.
    pub(super) fn mode(&self) -> Result<Mode, Failure> {
        let record = self.record.as_ref().map(|file| match file {
            Some(file) => RecordTo::File(file.clone()),
            None => RecordTo::RunDirectory,
        });
        if self.hermetic {
            let start = match &self.clock {
                None => hermetic_start(),
                Some(text) => text.parse().map_err(|error| {
                    Failure::with_hint(
                        anyhow!("cannot read the time `{text}`: {error}"),
                        "write it like 2026-01-01T00:00:00Z",
                    )
                })?,
            };
            return Ok(Mode::Hermetic {
                seed: Seed::numbered(self.seed),
                start,
                record,
            });
        }
        match record {
            Some(to) => Ok(Mode::Record(to)),
            None if self.expected.expect_digest.is_some() => Err(Failure::with_hint(
                anyhow!("cannot expect a digest of a run that cannot be repeated"),
                "add `--hermetic` or `--record`",
            )),
            None => Ok(Mode::Live),
        }
    }

    /// The id of a run made from a task: the same every time for a hermetic run, or it would differ from
    /// itself.
    pub(super) fn run_id(&self) -> Option<String> {
        self.hermetic.then(|| format!("run-{:016x}", self.seed))
    }

    pub(super) fn expected(&self) -> &ExpectFlag {
        &self.expected
    }
}

/// How guests of a run in this mode have to be metered.
pub(super) fn profile(mode: &Mode) -> Profile {
    match mode {
        Mode::Live => Profile::Live,
        Mode::Record(_) | Mode::Hermetic { .. } | Mode::Replay(_) | Mode::Onward(_) => {
            Profile::Hermetic
        }
    }
}

impl ExpectFlag {
    /// How the process ends: as the run did, unless its digest is not the one that was expected.
    pub(super) fn exit(&self, outcome: &Outcome) -> Result<Exit, Failure> {
        match (self.expect_digest, outcome.run_digest) {
            (None, _) => Ok(outcome.exit()),
            (Some(expected), Some(found)) if expected == found => Ok(outcome.exit()),
            // It has said already what is wrong.
            (Some(_), None) if outcome.exit() != Exit::Success => Ok(outcome.exit()),
            (Some(expected), found) => {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                let error = anyhow!("the run digest is not the expected one: {found}");
                Err(Failure::with_hint(
                    error,
                    format!(
                        "expected {expected}; `wasm-agent recording diff` shows what differs between two \
                         recordings"
                    ),
                )
                .exiting(Exit::Diverged))
            }
        }
    }
}

/// Says what a run can be known and repeated by.
pub(super) fn tell(outcome: &Outcome) {
    if let Some(digest) = &outcome.run_digest {
        note(&styled(DIM, format!("run digest: {digest}")));
    }
    if let Some(recording) = &outcome.recording {
        note(&styled(DIM, format!("recording: {}", recording.display())));
    }
}
