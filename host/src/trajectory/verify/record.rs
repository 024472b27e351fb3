//! The records of a run directory: one hash chain over events and audit.
//!
//! A record is one line, byte for byte
//! `{"seq":N,"time":"…","prev":"…","avp":{…},"hash":"…"}`, or with `audit` in the place of `avp`. Its
//! hash covers everything before `,"hash":"`; `prev` is the hash of the record before it, for the first
//! one that of `run.json`.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Rule;
use super::claims::{Claims, Tally};
use super::judge::Judge;
use super::report::Findings;
use super::time;
use crate::json::{self, JsonError, Members};
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// `,"hash":"`
const HASH_KEY: &str = r#","hash":""#;
const HASH_DIGITS: usize = 64;

/// The chain so far.
pub(super) struct Chain {
    next: u64,
    /// Hash the next record has to name; `None` after a record that could not be read.
    prev: Option<String>,
    last_time: Option<Timestamp>,
    ended: bool,
    /// Over the text of the events, each with a newline.
    trajectory: Sha256,
    tally: Tally,
    outcome: Option<Box<RawValue>>,
}

/// What was read along with judging.
pub(super) struct Read {
    /// Hash of the last record, if there is one and it could be read.
    pub(super) head: Option<String>,
    pub(super) trajectory: String,
    pub(super) claims: Claims,
    /// Of `run_ended`.
    pub(super) outcome: Option<Box<RawValue>>,
}

impl Chain {
    /// A chain that hangs on the bytes of `run.json`.
    pub(super) fn new(run_file: &[u8]) -> Self {
        Self {
            next: 0,
            prev: Some(hash(run_file)),
            last_time: None,
            ended: false,
            trajectory: Sha256::new(),
            tally: Tally::default(),
            outcome: None,
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn finish(self) -> Read {
        Read {
            head: self.prev.filter(|_| self.next > 0),
            trajectory: format!("sha256:{}", hex(&self.trajectory.finalize())),
            claims: self.tally.finish(),
            outcome: self.outcome,
        }
    }

    /// Judges one line.
    pub(super) fn record(&mut self, line: &[u8], judge: &mut Judge, out: &mut Findings) {
        if self.ended {
            out.add(Rule::AfterEnd, "", "nothing may follow run_ended");
        }
        let Some((body, stated)) = std::str::from_utf8(line).ok().and_then(split) else {
            out.add(
                Rule::RecordFormat,
                "",
                "is no record that ends with its hash",
            );
            self.prev = None;
            self.next += 1;
            return;
        };
        if hash(body.as_bytes()) != stated && !down(Wall::Chain) {
            out.add(Rule::ChainHash, "hash", "is not the hash of the record");
        }
        let prev = self.prev.replace(stated.to_owned());
        let members = Members::parse(&format!("{body}}}")).map(|members| members.0);
        let Some([(_, seq), (_, at), (_, before), (kind, content)]) = members
            .as_deref()
            .ok()
            .filter(|members| is_exact(members, body))
        else {
            out.add(
                Rule::RecordFormat,
                "",
                "expected seq, time, prev, avp or audit, hash, without spaces",
            );
            self.next += 1;
            return;
        };
        if seq.get() != self.next.to_string() && !down(Wall::Chain) {
            out.add(
                Rule::ChainSeq,
                "seq",
                format_args!("expected {}, found {}", self.next, seq.get()),
            );
        }
        // After a gap the count goes on from what is there, so that one gap is one violation.
        self.next = seq.get().parse().unwrap_or(self.next).saturating_add(1);
        if prev.is_some_and(|prev| before.get().trim_matches('"') != prev) && !down(Wall::Chain) {
            out.add(
                Rule::ChainPrev,
                "prev",
                "is not the hash of the record before",
            );
        }
        self.judge_time(at.get().trim_matches('"'), out);
        let value = match json::parse(content.get()) {
            Ok(value) => value,
            Err(error) => return unreadable(&error, out),
        };
        if kind == "avp" {
            self.trajectory.update(content.get());
            self.trajectory.update(b"\n");
            self.tally.event(&value, out.line);
            judge.event(&value, out);
        } else {
            self.tally.audit(&value);
            self.audit(&value, content, out);
        }
    }

    fn judge_time(&mut self, text: &str, out: &mut Findings) {
        let Some(now) = time::parse(text) else {
            out.add(Rule::TimeInvalid, "time", "is not an RFC 3339 timestamp");
            return;
        };
        if self.last_time.is_some_and(|last| now < last) && !down(Wall::Chain) {
            out.add(
                Rule::TimeBackwards,
                "time",
                "is before the record before it",
            );
        }
        self.last_time = self.last_time.max(Some(now));
    }

    fn audit(&mut self, value: &Value, text: &RawValue, out: &mut Findings) {
        match value.get("kind").and_then(Value::as_str) {
            Some("run_ended") => {
                self.ended = true;
                // The text as it stands: digests are over texts, and numbers do not survive being read.
                let members = Members::parse(text.get()).map(|members| members.0);
                self.outcome = members
                    .unwrap_or_default()
                    .into_iter()
                    .find_map(|(name, text)| (name == "outcome").then_some(text));
            }
            Some(kind) if !kind.is_empty() => {}
            _ => out.add(
                Rule::AuditInvalid,
                "audit.kind",
                "expected a string that is not empty",
            ),
        }
    }
}

/// Notes why a text is no JSON document with one meaning.
pub(super) fn unreadable(error: &JsonError, out: &mut Findings) {
    match error {
        JsonError::Syntax { .. } => out.add(Rule::NotJson, "", error),
        JsonError::DuplicateKey { path } => out.add(Rule::DuplicateKey, path, "is there twice"),
    }
}

/// The part a hash covers, and the hash.
fn split(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_suffix("\"}")?;
    let (rest, stated) = rest.split_at_checked(rest.len().checked_sub(HASH_DIGITS)?)?;
    Some((rest.strip_suffix(HASH_KEY)?, stated))
}

/// True when the members have the names they must have, and the text is exactly those members.
fn is_exact(members: &[(String, Box<serde_json::value::RawValue>)], body: &str) -> bool {
    let [(seq, n), (time, at), (prev, before), (kind, content)] = members else {
        return false;
    };
    [seq.as_str(), time, prev] == ["seq", "time", "prev"]
        && matches!(kind.as_str(), "avp" | "audit")
        && at.get().starts_with('"')
        && before.get().starts_with('"')
        && content.get().starts_with('{')
        && body
            == format!(
                r#"{{"seq":{},"time":{},"prev":{},"{kind}":{}"#,
                n.get(),
                at.get(),
                before.get(),
                content.get()
            )
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(HASH_DIGITS), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
            text
        })
}
