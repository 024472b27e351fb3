//! What is known of a run after it: three views that do not trust each other.

use serde_json::Value;

use super::setup::{Ending, Setup, Trace};
use super::world::World;
use crate::run::{Ended, Outcome};
use crate::trajectory::verify::{Verdict, verify_path};

/// What is known of a run.
pub(super) struct Evidence<'a> {
    pub(super) world: &'a World,
    pub(super) run_id: &'a str,
    pub(super) outcome: &'a Outcome,
    /// The lines of `events.ndjson`.
    pub(super) records: Vec<Value>,
}

impl<'a> Evidence<'a> {
    pub(super) fn gather(
        world: &'a World,
        run_id: &'a str,
        outcome: &'a Outcome,
    ) -> Result<Self, String> {
        let directory = outcome
            .directory
            .as_deref()
            .ok_or("the run kept no directory")?;
        let text = std::fs::read_to_string(directory.join("events.ndjson"))
            .map_err(|error| format!("the account cannot be read: {error}"))?;
        let records = text
            .lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|error| format!("a record is not JSON: {error}"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Evidence {
            world,
            run_id,
            outcome,
            records,
        })
    }

    /// Everything that is wrong, in words.
    pub(super) fn judge(&self, setup: &Setup) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut hold = |result: Result<(), String>| wrong.extend(result.err());
        hold(self.ending(setup.ending));
        for trace in setup.traces {
            hold(self.trace(*trace));
        }
        hold(self.subjects());
        hold(self.verified());
        if let Some(check) = setup.check {
            hold(check(self));
        }
        match self.world.damage() {
            Ok(damage) => wrong.extend(damage),
            Err(error) => wrong.push(format!("the disk cannot be compared: {error}")),
        }
        wrong
    }

    /// What the guest says, where it came back to say it.
    pub(super) fn saw(&self) -> &str {
        self.outcome
            .output
            .as_ref()
            .and_then(|output| output["saw"].as_str())
            .unwrap_or_default()
    }

    fn ending(&self, ending: Ending) -> Result<(), String> {
        let answered = || match &self.outcome.output {
            Some(output) if output["held"] == Value::Bool(true) => Ok(()),
            Some(_) => Err(format!("the guest says: {}", self.saw())),
            None => Err("the guest says nothing".to_owned()),
        };
        match (ending, &self.outcome.ended) {
            (Ending::Answered | Ending::Either, Ended::Converged) => answered(),
            (Ending::Incomplete, Ended::Incomplete { .. }) => answered(),
            (Ending::Crashed | Ending::Either, Ended::Crashed(_)) => Ok(()),
            (Ending::Limit(names), Ended::Limit(hit)) if names.contains(&hit.name) => Ok(()),
            (_, Ended::Converged) => {
                answered().and(Err("the run converged, and must not have".to_owned()))
            }
            (_, ended) => Err(format!("the run ended otherwise: {ended:?}")),
        }
    }

    fn trace(&self, trace: Trace) -> Result<(), String> {
        let found = self.audits().any(|audit| match trace {
            Trace::Denied => audit["kind"] == "denied",
            Trace::Rejected => audit["kind"] == "rejected",
            Trace::Narrowed => audit["kind"] == "narrowed",
            Trace::Limit(name) => audit["kind"] == "limit" && audit["name"] == name,
        });
        if found {
            Ok(())
        } else {
            Err(format!("not on record: {trace:?}"))
        }
    }

    /// The audit records.
    pub(super) fn audits(&self) -> impl Iterator<Item = &Value> {
        self.records.iter().filter_map(|record| record.get("audit"))
    }

    /// The events of the trajectory.
    pub(super) fn events(&self) -> impl Iterator<Item = &Value> {
        self.records.iter().filter_map(|record| record.get("avp"))
    }

    fn subjects(&self) -> Result<(), String> {
        match self.events().find(|event| event["subject"] != self.run_id) {
            None => Ok(()),
            Some(event) => Err(format!("an event of another run: {}", event["subject"])),
        }
    }

    fn verified(&self) -> Result<(), String> {
        let directory = self
            .outcome
            .directory
            .as_deref()
            .unwrap_or(std::path::Path::new("."));
        let report = verify_path(directory).map_err(|error| error.to_string())?;
        match report.verdict() {
            Verdict::Valid => Ok(()),
            verdict => {
                let first = report
                    .violations
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                Err(format!("the account does not verify: {verdict:?}: {first}"))
            }
        }
    }
}
