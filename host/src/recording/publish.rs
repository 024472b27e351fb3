//! A recording for others: without what a replay can do without, and as something to read.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::format::{Answer, ClockKind, Entry, digest};
use super::{Recording, RecordingError};
use crate::json::printable;

impl Recording {
    /// Takes out what a replay can do without and what tells of the machine it was made on: names of files in
    /// granted directories (their digests stay, so a difference is noticed, and not which file it is), and where
    /// on the host everything was. The run digest stays what it is.
    #[must_use]
    pub fn pruned(mut self) -> Recording {
        let header = &mut self.header;
        header.component.path = None;
        for input in &mut header.inputs {
            input.entries = None;
        }
        for granted in ["dirs", "files"] {
            let specs = header.grants.get_mut(granted).and_then(Value::as_array_mut);
            for spec in specs.into_iter().flatten() {
                // `HOST::GUEST:ACCESS`
                if let Some((_, guest)) = spec.as_str().and_then(|spec| spec.rsplit_once("::")) {
                    *spec = format!(".::{guest}").into();
                }
            }
        }
        self
    }

    /// The file, each line with its newline. The last one says what the others are.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.header.line();
        text.push('\n');
        for entry in &self.entries {
            text.push_str(&entry.line());
            text.push('\n');
        }
        if let Some(end) = &self.end {
            let mut end = end.clone();
            end.lines = digest(&Sha256::new_with_prefix(&text));
            text.push_str(&end.line());
            text.push('\n');
        }
        text
    }

    /// The whole as one JSON document.
    ///
    /// # Errors
    ///
    /// None for a recording that has been read.
    pub fn to_json(&self) -> Result<Value, RecordingError> {
        let mut lines = Vec::new();
        for (at, line) in self.to_text().lines().enumerate() {
            let value: Value =
                serde_json::from_str(line).map_err(|error| RecordingError::Line {
                    line: at + 1,
                    reason: printable(&error.to_string()),
                })?;
            lines.push(value);
        }
        let end = match &self.end {
            Some(_) => lines.pop(),
            None => None,
        };
        let mut lines = lines.into_iter();
        let header = lines.next();
        let calls: Vec<Value> = lines.collect();
        Ok(json!({
            "header": header,
            "calls": calls,
            "end": end.and_then(|end| end.get("end").cloned()),
        }))
    }

    /// What happened, for a person to review: a heading a call, its request and its answer as JSON. Readings of
    /// the clock are summed up.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        let header = &self.header;
        writeln!(
            text,
            "# Recording of `{}`\n",
            printable(&header.component.name)
        )?;
        let clock = match header.clock {
            ClockKind::Real => "real",
            ClockKind::Virtual => "virtual",
        };
        writeln!(text, "- component {}", header.component.digest)?;
        writeln!(text, "- session `{}`", printable(&header.session_id))?;
        writeln!(text, "- began {} ({clock} clock)", printable(&header.start))?;
        for input in &header.inputs {
            writeln!(
                text,
                "- input `{}` {}",
                printable(&input.path),
                input.digest
            )?;
        }
        match &self.end {
            Some(end) => {
                writeln!(text, "- ended {}", one_line(&end.ended))?;
                writeln!(text, "- run digest {}", end.run)?;
            }
            None => writeln!(
                text,
                "- not ended: its host was killed, or the file was cut off"
            )?,
        }
        text.push_str("\n## Commission\n");
        let commission = serde_json::from_str(header.commission.get()).unwrap_or(Value::Null);
        block(text, &commission)?;
        for entry in &self.entries {
            match entry {
                Entry::Readings { n, by, us } => {
                    let total: u64 = us.iter().fold(0, |sum, us| sum.saturating_add(*us));
                    writeln!(
                        text,
                        "\n{n}. {} readings of the clock in {total} µs",
                        by.len()
                    )?;
                }
                Entry::Call {
                    n,
                    kind,
                    request,
                    answer,
                } => {
                    writeln!(text, "\n## {n} `{}`", printable(kind))?;
                    asked(text, request)?;
                    answered(text, answer)?;
                }
                Entry::Asked { n, kind, request } => {
                    writeln!(text, "\n## {n} `{}`, begun", printable(kind))?;
                    asked(text, request)?;
                }
                Entry::Answered { of, answer } => {
                    writeln!(text, "\n## {of}, answered")?;
                    answered(text, answer)?;
                }
                Entry::Cut { ended, .. } => {
                    writeln!(text, "\n## Ended from outside: {}", one_line(ended))?;
                }
            }
        }
        Ok(())
    }
}

fn one_line(value: &Value) -> String {
    printable(&value.to_string())
}

fn asked(text: &mut String, request: &Value) -> std::fmt::Result {
    match request {
        Value::Null => Ok(()),
        request => block(text, request),
    }
}

fn answered(text: &mut String, answer: &Answer) -> std::fmt::Result {
    match answer {
        Answer::Result(Value::Null) => writeln!(text, "\n→ nothing"),
        Answer::Result(value) => {
            text.push_str("\n→\n");
            block(text, value)
        }
        Answer::Trap(message) => writeln!(text, "\n→ trapped: {}", printable(message)),
    }
}

/// JSON in a fence that is longer than any in it.
fn block(text: &mut String, value: &Value) -> std::fmt::Result {
    let shown = format!("{value:#}");
    let longest = shown
        .split(|c| c != '`')
        .map(str::len)
        .max()
        .unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    writeln!(text, "\n{fence}json\n{shown}\n{fence}")
}
