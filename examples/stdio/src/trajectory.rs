//! Writing AVP events.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The parent of what has none.
const ROOT: &str = "0000000000000000";

/// A trajectory on its way out, a line an event.
pub struct Trajectory<W> {
    out: W,
    run_id: String,
    trace_id: String,
    events: u64,
}

impl<W: Write> Trajectory<W> {
    pub fn new(out: W, run_id: &str) -> Self {
        Self {
            out,
            run_id: run_id.to_owned(),
            // Ids come from the run's own: a sandbox has no randomness to spare. Never all zero.
            trace_id: format!("{:016x}{:016x}", hash(run_id) | 1, hash(&run_id.repeat(2))),
            events: 0,
        }
    }

    /// Writes an event without a parent.
    pub fn root(&mut self, name: &str, data: Value) -> io::Result<()> {
        self.child(ROOT, name, data)
    }

    /// Writes an event below the span `parent`.
    pub fn child(&mut self, parent: &str, name: &str, data: Value) -> io::Result<()> {
        self.events += 1;
        let mut full = json!({
            "trace_id": self.trace_id,
            "span_id": self.last_span(),
            "parent_span_id": parent,
        });
        if let (Value::Object(full), Value::Object(data)) = (&mut full, data) {
            full.extend(data);
        }
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let event = json!({
            "specversion": "1.0",
            "id": format!("{}-{}", self.trace_id, self.events),
            "source": "avp://agent",
            "type": format!("avp.{name}"),
            "time": rfc3339(since_epoch),
            "subject": self.run_id,
            "datacontenttype": "application/json",
            "data": full,
        });
        writeln!(self.out, "{event}")?;
        self.out.flush()
    }

    /// The span of the event written last.
    pub fn last_span(&self) -> String {
        format!("{:016x}", self.events)
    }
}

/// FNV-1a: short, and the same everywhere.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A time since 1970 in UTC, to the millisecond.
fn rfc3339(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        days + 1,
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        since_epoch.subsec_millis()
    )
}

fn days_of_year(year: u64) -> u64 {
    (1..=12).map(|month| days_of_month(year, month)).sum()
}

fn days_of_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn ids_have_their_form() {
        let mut out = Vec::new();
        let mut trajectory = Trajectory::new(&mut out, "r1");
        trajectory
            .root("agent_stopped", json!({"avp.reason": "error"}))
            .unwrap();
        let event: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event["data"]["trace_id"].as_str().unwrap().len(), 32);
        assert_eq!(event["data"]["span_id"], "0000000000000001");
        assert_eq!(event["data"]["parent_span_id"], ROOT);
    }
}
