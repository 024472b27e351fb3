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
        // `beyond` says so.
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

/// Why a provider that wants to be left alone for longer than this host waits is not asked again.
#[must_use]
pub fn beyond(failed: &Failed) -> Option<String> {
    let waits = matches!(
        failed.failure.class,
        Class::RateLimited | Class::Overloaded | Class::Network
    );
    let asked = failed
        .retry_after
        .filter(|asked| waits && *asked > LONGEST_ASKED_FOR)?;
    Some(format!(
        "it wants to be asked again in {} s, and this host waits {} s at most",
        asked.as_secs_f64().ceil(),
        LONGEST_ASKED_FOR.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_wait_beyond_the_bound_is_told() {
        let told = |class, after| beyond(&failed(class, after));
        assert_eq!(told(Class::RateLimited, Some(120)), None);
        assert_eq!(told(Class::RateLimited, None), None);
        assert_eq!(told(Class::Auth, Some(600)), None);
        insta::assert_snapshot!(told(Class::RateLimited, Some(600)).unwrap(), @"it wants to be asked again in 600 s, and this host waits 120 s at most");
    }
}
