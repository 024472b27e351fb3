//! From what runs have used up to the limits that leave room for the next run.

use serde_json::Value;

use crate::grants::Limits;
use crate::grants::limits::{Limit, TABLE, Unit};

/// A limit that is suggested.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suggested {
    pub(super) limit: &'static Limit,
    pub(super) value: u64,
    /// The most that was used; nothing when it is not measured and was granted like this.
    pub(super) peak: Option<u64>,
}

/// How many times the peak is granted, and what is granted at least. Time depends on the machine, and a model
/// takes as long as it likes; memory comes in steps, and a few more calls are no matter.
fn room(limit: &Limit) -> (u64, u64) {
    match (limit.name, limit.unit) {
        (_, Unit::Duration) => (5, 10_000),
        ("memory" | "hostcall-bytes", _) => (2, 16 << 20),
        (_, Unit::Bytes) => (2, 64 << 10),
        ("host-calls", _) => (2, 10_000),
        ("tokens", _) => (2, 10_000),
        (_, Unit::Money) => (2, 100_000),
        (_, Unit::Count | Unit::Percent) => (2, 10),
    }
}

/// The next value that is easy to read.
fn rounded(unit: Unit, value: u64) -> u64 {
    /// One, two or five of the next power of ten.
    fn decimal(value: u64) -> u64 {
        let mut power = 1u64;
        loop {
            for times in [1, 2, 5] {
                match power.checked_mul(times) {
                    Some(round) if round >= value => return round,
                    Some(_) => {}
                    None => return value,
                }
            }
            match power.checked_mul(10) {
                Some(next) => power = next,
                None => return value,
            }
        }
    }
    match unit {
        Unit::Bytes => value.checked_next_power_of_two().unwrap_or(value),
        Unit::Duration => {
            const STEPS: [u64; 13] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
            let seconds = value.div_ceil(1000);
            let step = STEPS.into_iter().find(|step| *step >= seconds);
            step.unwrap_or_else(|| seconds.div_ceil(3600).saturating_mul(3600))
                .saturating_mul(1000)
        }
        Unit::Count | Unit::Money | Unit::Percent => decimal(value),
    }
}

/// The limits to suggest where this was used: `peak` by name, and what each run was granted.
pub(super) fn limits(
    peak: &dyn Fn(&str) -> u64,
    granted: &[&serde_json::Map<String, Value>],
) -> Vec<Suggested> {
    let defaults = Limits::default();
    let mut suggested = Vec::new();
    let mut all = Limits::default();
    for limit in TABLE {
        let of_run = |granted: &&serde_json::Map<String, Value>| {
            let mut limits = Limits::default();
            match granted.get(limit.name) {
                Some(Value::String(text)) => limits.set(limit.name, text).ok()?,
                Some(value) => limits.set(limit.name, &value.to_string()).ok()?,
                None => {}
            }
            Some(limit.of(&limits))
        };
        let granted: Vec<u64> = granted.iter().filter_map(of_run).collect();
        let most = granted.iter().copied().max();
        let peak = peak(limit.name);
        let entry = if peak > 0 {
            let (times, least) = room(limit);
            let value = rounded(limit.unit, peak.saturating_mul(times).max(least));
            // No more than was granted, unless that was not enough.
            let value = most.map_or(value, |most| value.min(most.max(peak)));
            Suggested {
                limit,
                value,
                peak: Some(peak),
            }
        } else if let Some(most) = most
            && most != limit.of(&defaults)
            && granted.iter().all(|value| *value == most)
            && !MEASURED.contains(&limit.name)
        {
            Suggested {
                limit,
                value: most,
                peak: None,
            }
        } else {
            continue;
        };
        limit.put(&mut all, entry.value);
        suggested.push(entry);
    }
    // Limits have to go together.
    while let Err(error) = all.check() {
        let crate::grants::limits::LimitError::Relation {
            large, small_value, ..
        } = error
        else {
            break;
        };
        let Ok(limit) = crate::grants::limits::find(large) else {
            break;
        };
        limit.put(&mut all, small_value);
        match suggested.iter_mut().find(|it| it.limit.name == large) {
            Some(entry) => entry.value = small_value,
            None => suggested.push(Suggested {
                limit,
                value: small_value,
                peak: None,
            }),
        }
    }
    suggested
}

/// Limits of which every account has the most that was used: no entry is no use.
pub(super) const MEASURED: &[&str] = &[
    "memory",
    "wall",
    "cpu",
    "events",
    "event-bytes",
    "trajectory-bytes",
    "storage-bytes",
    "handles",
    "disk-bytes",
    "file-bytes",
    "files",
    "host-calls",
    "model-calls",
    "tokens",
    "money",
    "requests",
    "request-bytes",
    "response-bytes",
    "tool-calls",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    fn suggest(peaks: &Value, granted: &Value) -> Vec<(String, String)> {
        let granted: Map<String, Value> = granted.as_object().unwrap().clone();
        let peak = |name: &str| peaks.get(name).and_then(Value::as_u64).unwrap_or(0);
        limits(&peak, &[&granted])
            .iter()
            .map(|it| {
                (
                    it.limit.name.to_owned(),
                    crate::grants::limits::show(it.limit.name, it.value),
                )
            })
            .collect()
    }

    #[test]
    fn there_is_room_and_no_more_than_was_granted() {
        let peaks =
            json!({"memory": 20 << 20, "wall": 300, "host-calls": 123_456, "money": 1_300_000});
        let found = suggest(&peaks, &json!({"host-calls": 200_000}));
        let expected = [
            ("memory", "64MiB"),
            ("wall", "10s"),
            ("host-calls", "200000"),
            ("money", "5.00"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_not_measured_stays_and_what_is_and_was_not_used_goes() {
        let granted = json!({"idle": "20s", "disk-bytes": 5, "idle-notice": "1s"});
        let found = suggest(&json!({"wall": 1}), &granted);
        assert!(
            found.contains(&("idle".to_owned(), "20s".to_owned())),
            "{found:?}"
        );
        assert!(
            found.contains(&("wall".to_owned(), "20s".to_owned())),
            "they go together"
        );
        assert!(
            !found.iter().any(|(name, _)| name == "disk-bytes"),
            "{found:?}"
        );
    }

    proptest! {
        #[test]
        fn they_go_together_and_are_enough(
            peaks in prop::collection::vec((0usize..MEASURED.len(), 1u64..1 << 40), 0..9),
            idle in prop::option::of(1u64..1000),
        ) {
            let of = |name: &str| {
                peaks.iter().filter(|(at, _)| MEASURED[*at] == name).map(|(_, peak)| {
                    if matches!(name, "wall" | "cpu") { peak % (7 * 24 * 3_600_000) + 1 } else { *peak }
                }).max().unwrap_or(0)
            };
            let mut granted = Map::new();
            if let Some(idle) = idle {
                granted.insert("idle".to_owned(), json!(format!("{idle}s")));
            }
            let mut all = Limits::default();
            for suggested in limits(&of, &[&granted]) {
                let text = crate::grants::limits::show(suggested.limit.name, suggested.value);
                all.set(suggested.limit.name, &text).unwrap();
                prop_assert!(suggested.value >= of(suggested.limit.name));
            }
            prop_assert!(all.check().is_ok());
        }
    }
}
