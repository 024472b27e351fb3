//! What a run left in its run directory.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A run directory, read.
pub(crate) struct Account {
    dir: PathBuf,
    records: Vec<Value>,
}

impl Account {
    /// Reads a run directory. A last line that is torn is left out.
    pub(crate) fn read(dir: PathBuf) -> Account {
        let bytes = std::fs::read(dir.join("events.ndjson")).unwrap();
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let text = std::str::from_utf8(&bytes[..whole]).unwrap();
        let records = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Account { dir, records }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// `run.json`.
    pub(crate) fn request(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.dir.join("run.json")).unwrap()).unwrap()
    }

    /// The events of the trajectory, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Value> {
        self.records.iter().filter_map(|record| record.get("avp"))
    }

    /// The data of all events of a type, named without `avp.`.
    pub(crate) fn data<'a, 'k>(
        &'a self,
        kind: &'k str,
    ) -> impl Iterator<Item = &'a Value> + use<'a, 'k> {
        self.events()
            .filter(move |event| event["type"].as_str().unwrap().strip_prefix("avp.") == Some(kind))
            .map(|event| &event["data"])
    }

    /// The data of the only event of a type.
    #[track_caller]
    pub(crate) fn only(&self, kind: &str) -> &Value {
        let mut found = self.data(kind);
        let first = found
            .next()
            .unwrap_or_else(|| panic!("no {kind} in {:?}", self.kinds()));
        assert!(
            found.next().is_none(),
            "more than one {kind} in {:?}",
            self.kinds()
        );
        first
    }

    /// Types of all events, in order and without `avp.`.
    pub(crate) fn kinds(&self) -> Vec<&str> {
        self.events()
            .map(|event| event["type"].as_str().unwrap().trim_start_matches("avp."))
            .collect()
    }

    /// Audit records of a kind, in order.
    pub(crate) fn audits<'a, 'k>(
        &'a self,
        kind: &'k str,
    ) -> impl Iterator<Item = &'a Value> + use<'a, 'k> {
        self.records
            .iter()
            .filter_map(|record| record.get("audit"))
            .filter(move |audit| audit["kind"] == kind)
    }

    /// The only audit record of this kind.
    #[track_caller]
    pub(crate) fn only_audit(&self, kind: &str) -> &Value {
        let mut found = self.audits(kind);
        let first = found.next().unwrap();
        assert!(found.next().is_none(), "there is one `{kind}`");
        first
    }

    /// Names of the limits that were hit, in order.
    pub(crate) fn limits_hit(&self) -> Vec<&str> {
        self.audits("limit")
            .map(|audit| audit["name"].as_str().unwrap())
            .collect()
    }

    /// The outcome in the last record.
    #[track_caller]
    pub(crate) fn outcome(&self) -> &Value {
        &self.audits("run_ended").last().expect("the run has ended")["outcome"]
    }

    /// How the trajectory says it ended.
    #[track_caller]
    pub(crate) fn stop_reason(&self) -> &str {
        self.only("agent_stopped")["avp.reason"].as_str().unwrap()
    }

    /// Text of all turns.
    pub(crate) fn turns(&self) -> Vec<String> {
        self.data("assistant_message")
            .map(|data| {
                let blocks = data["avp.content"].as_array().unwrap().iter();
                blocks.filter_map(|block| block["text"].as_str()).collect()
            })
            .collect()
    }
}
