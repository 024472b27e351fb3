//! RFC 3339 timestamps, strictly.

use jiff::Timestamp;

/// Reads a timestamp; `None` when the text is not one, or names a day or time that does not exist.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date_time, after) = text.split_at_checked(19)?;
    if !fits(date_time, "dddd-dd-ddTdd:dd:dd") {
        return None;
    }
    let (fraction, zone) = match after.strip_prefix('.') {
        Some(rest) => {
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            rest.split_at_checked(end)
                .filter(|(digits, _)| !digits.is_empty())?
        }
        None => ("", after),
    };
    if !matches!(zone, "Z" | "z") && !fits(zone, "+dd:dd") {
        return None;
    }
    // Nanoseconds are what a clock gives; RFC 3339 allows any number of digits.
    let fraction = fraction.get(..9).unwrap_or(fraction);
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{date_time}{dot}{fraction}{zone}")
        .to_ascii_uppercase()
        .parse()
        .ok()
}

fn fits(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't'),
                b'+' => matches!(byte, b'+' | b'-'),
                wanted => byte == wanted,
            })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_rfc_3339_is_read() {
        for good in [
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05.123456789012z",
            "2026-01-02T03:04:05.5+02:00",
            "2024-02-29T00:00:00-00:00",
            "2016-12-31T23:59:60Z",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "not a time",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-02-30T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+0200",
            "20260102T030405Z",
            "2026-01-02T03:04:05Z[UTC]",
            "２026-01-02T03:04:05Z",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
        assert!(parse("2026-01-02T03:04:05Z") > parse("2026-01-02T05:04:04+02:00"));
    }
}
