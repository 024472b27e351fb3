//! What a case tried and what came of it.

use std::fmt::{Debug, Write as _};

/// Longest report: a host that keeps megabytes of it would be another case.
const MAX_SAW: usize = 4000;

/// What a case tried and what came of it.
#[derive(Default)]
pub struct Trial {
    broke: Vec<String>,
    saw: Vec<String>,
    tried: u32,
}

impl Trial {
    /// Something that has to be refused.
    pub fn refused<T, E: Debug>(&mut self, what: &str, result: Result<T, E>) {
        self.tried += 1;
        match result {
            Ok(_) => self.broke(format!("{what}: not refused")),
            Err(error) => self.saw.push(format!("{what}: {error:?}")),
        }
    }

    /// Something that has to work, so that a wall is not taken for one because nothing works at all.
    pub fn works<T, E: Debug>(&mut self, what: &str, result: Result<T, E>) -> Option<T> {
        self.tried += 1;
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.broke(format!("{what}: {error:?}"));
                None
            }
        }
    }

    /// A condition that has to hold.
    pub fn holds(&mut self, what: &str, condition: bool) {
        self.tried += 1;
        if condition {
            self.saw(what);
        } else {
            self.broke(format!("not so: {what}"));
        }
    }

    /// The wall is down.
    pub fn broke(&mut self, what: impl Into<String>) {
        self.broke.push(what.into());
    }

    /// Something worth telling.
    pub fn saw(&mut self, what: impl Into<String>) {
        self.saw.push(what.into());
    }

    /// The answer.
    pub fn to_json(&self) -> String {
        // A case that tried nothing has shown nothing.
        let held = self.broke.is_empty() && self.tried > 0;
        let mut saw = if self.broke.is_empty() {
            &self.saw
        } else {
            &self.broke
        }
        .join("; ");
        if let Some((end, _)) = saw.char_indices().find(|(at, _)| *at >= MAX_SAW) {
            saw.truncate(end);
        }
        let mut json = format!("{{\"held\":{held},\"saw\":\"");
        for c in saw.chars() {
            match c {
                '"' | '\\' => json.extend(['\\', c]),
                c if c.is_control() => {
                    let _ = write!(json, "\\u{:04x}", u32::from(c));
                }
                c => json.push(c),
            }
        }
        json.push_str("\"}");
        json
    }
}
