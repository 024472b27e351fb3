//! Returning as if all were well, without what was required.

use wasm_agent_sdk::session;
use wasm_agent_sdk::trajectory::{self, Turn};

use crate::Case;
use crate::disk::{dir, write};
use crate::trial::Trial;

pub const CASES: &[(&str, Case)] = &[
    ("require-complete", complete),
    ("require-artifact", artifact),
    ("require-schema", schema),
];

/// It says everywhere that it is done, except where that counts.
fn complete(trial: &mut Trial, _: &str) {
    println!("complete");
    trial.works(
        "a turn",
        trajectory::assistant(Turn::new().text("I have completed the task.")),
    );
    trial.works("progress", trajectory::progress("complete", Some(1.0)));
    trial.works("a checkpoint", session::save(b"complete"));
}

/// It leaves the document everywhere, except where it is to be handed over.
fn artifact(trial: &mut Trial, _: &str) {
    let report = br#"{"findings":[]}"#;
    trial.works(
        "a file",
        write(&dir("/work"), "report.json", r#"{"findings":[]}"#),
    );
    trial.works("a checkpoint", session::save(report));
    trial.works(
        "another name",
        session::submit_artifact("Report.json", "application/json", *report),
    );
    trial.works("done", session::complete("report.json is there"));
}

/// It hands over what does not match, and returns all the same.
fn schema(trial: &mut Trial, _: &str) {
    for report in ["{}", "[]", "{", "", r#"{"findings":1} trailing"#] {
        trial.refused(
            report,
            session::submit_artifact("report.json", "application/json", report.as_bytes()),
        );
    }
}
