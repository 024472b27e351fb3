//! When to ask again, and how long to wait until then.

use std::time::Duration;

use super::error::Failed;
use super::wire::Class;

/// The first wait; it doubles with each attempt.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait of our own choosing.
const LONGEST: Duration = Duration::from_secs(30);

/// The longest wait a provider may ask for. Whoever asks for more is not going to answer this run.
const LONGEST_ASKED_FOR: Duration = Duration::from_secs(120);

/// Whether, and when, to ask again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// After this time.
    Again(Duration),
    /// Not at all.
    GiveUp,
}

/// Decides about a failure of attempt number `attempt`, counted from 1. `jitter` is between 0 and 255 and
/// spreads those who fail at the same time; `left` is what is left of the run.
#[must_use]
pub fn next(failed: &Failed, attempt: u32, max: u64, jitter: u8, left: Duration) -> Next {
    let again = match failed.failure.class {
        Class::RateLimited | Class::Overloaded | Class::Network => true,
        // A model may stumble over its own format; one that does so twice will go on.
        Class::Garbled => attempt == 1,
        Class::ContextLimit
        | Class::UsageLimit
        | Class::Auth
        | Class::Rejected
        | Class::Unsupported => false,
    };
    if !again || u64::from(attempt) >= max {
        return Next::GiveUp;
    }
    let wait = match failed.retry_after {
        Some(asked) if asked > LONGEST_ASKED_FOR => return Next::GiveUp,
        Some(asked) => asked,
        None => {
            let doubled = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16));
            // Between half of it and all of it.
            let half = doubled.min(LONGEST) / 2;
            half + half * u32::from(jitter) / 255
        }
    };
    if wait >= left {
        return Next::GiveUp;
    }
    Next::Again(wait)
}

/// What a response's headers say about when to come back: `retry-after-ms`, or `retry-after` in seconds or
/// as a date.
#[must_use]
pub fn asked_for(headers: &http::HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite() && (0.0..=1e9).contains(number))
    };
    if let Some(millis) = text("retry-after-ms").and_then(number) {
        return Some(Duration::from_secs_f64(millis / 1000.0));
    }
    let after = text("retry-after")?;
    if let Some(seconds) = number(after) {
        return Some(Duration::from_secs_f64(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(after)
        .ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn failed(class: Class, retry_after: Option<u64>) -> Failed {
        Failed {
            retry_after: retry_after.map(Duration::from_secs),
            ..Failed::new(class, "x")
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (class, again) in [
            (Class::RateLimited, true),
            (Class::Overloaded, true),
            (Class::Network, true),
            (Class::Garbled, true),
            (Class::Auth, false),
            (Class::ContextLimit, false),
            (Class::UsageLimit, false),
            (Class::Rejected, false),
            (Class::Unsupported, false),
        ] {
            let next = next(&failed(class, None), 1, 5, 0, HOUR);
            assert_eq!(next != Next::GiveUp, again, "{class:?}");
        }
        let garbled = failed(Class::Garbled, None);
        assert_eq!(next(&garbled, 2, 5, 0, HOUR), Next::GiveUp);
    }

    #[test]
    fn waits_double_with_jitter_and_end() {
        let failed = failed(Class::Overloaded, None);
        let wait = |attempt, jitter| next(&failed, attempt, 100, jitter, HOUR);
        let again = |millis| Next::Again(Duration::from_millis(millis));
        assert_eq!(wait(1, 0), again(250));
        assert_eq!(wait(1, 255), again(500));
        assert_eq!(wait(3, 255), again(2000));
        assert_eq!(wait(50, 255), again(30_000));
        assert_eq!(next(&failed, 5, 5, 0, HOUR), Next::GiveUp);
        let soon = Duration::from_millis(100);
        assert_eq!(
            next(&failed, 1, 5, 0, soon),
            Next::GiveUp,
            "the run ends before"
        );
    }

    #[test]
    fn a_provider_may_say_when_but_not_any_time() {
        let wait = |after| next(&failed(Class::RateLimited, Some(after)), 1, 5, 99, HOUR);
        assert_eq!(wait(7), Next::Again(Duration::from_secs(7)));
        assert_eq!(wait(120), Next::Again(Duration::from_secs(120)));
        assert_eq!(wait(121), Next::GiveUp);
    }

    #[test]
    fn seconds_milliseconds_and_dates_are_understood() {
        let now: jiff::Timestamp = "2015-10-21T07:28:00Z".parse().unwrap();
        let asked = |pairs: &[(&'static str, &str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<http::HeaderMap>();
            asked_for(&headers, now).map(|asked| asked.as_millis())
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "2")]), Some(2000));
        assert_eq!(asked(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(
            asked(&[("retry-after", "2"), ("retry-after-ms", "30")]),
            Some(30)
        );
        assert_eq!(
            asked(&[("retry-after", "Wed, 21 Oct 2015 07:28:05 GMT")]),
            Some(5000)
        );
        assert_eq!(
            asked(&[("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")]),
            Some(0)
        );
        for nonsense in ["soon", "-1", "1e400", "NaN", ""] {
            assert_eq!(asked(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "[ -~]{0,40}") {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            let _ = asked_for(&headers, jiff::Timestamp::UNIX_EPOCH);
        }
    }
}
