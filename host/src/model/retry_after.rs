//! When a provider wants to be asked again, in all the places where providers say so.

use std::time::Duration;

use serde_json::Value;

/// Seconds that are not meant: longer than any provider waits.
const NEVER: f64 = 1e9;

/// Numbers from here on are seconds since 1970, not seconds from now.
const EPOCH_SECONDS: f64 = 1e8;

/// Numbers from here on are milliseconds since 1970.
const EPOCH_MILLIS: f64 = 1e11;

/// Levels of a document that are looked at.
const MAX_DEPTH: usize = 8;

/// What stands before a time in a sentence.
///
/// - "Please try again in 11.054s": `OpenAI`, Groq (<https://github.com/openai/codex/issues/3764>)
/// - "Please retry in 37.27s": Gemini (<https://github.com/googleapis/python-genai/issues/1875>)
/// - "Please retry after 20 seconds": Azure
/// - "Retry your request after", "Please wait 5 seconds", "resets in": gateways
const BEFORE: [&str; 9] = [
    "try again in",
    "try again after",
    "retry in",
    "retry after",
    "retry your request after",
    "retry your request in",
    "available in",
    "please wait",
    "resets in",
];

/// What a response's headers say: `retry-after` and its like, or the resets of the rate limits that are
/// used up.
#[must_use]
pub(super) fn in_headers(headers: &http::HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(millis) = text(name).and_then(number) {
            return seconds(millis / 1000.0);
        }
    }
    text("retry-after").and_then(|value| moment(value, now))
}

/// When the rate limits that are used up begin anew, by headers such as `x-ratelimit-reset-tokens`
/// (`OpenAI`, Groq: durations), `anthropic-ratelimit-requests-reset` (a timestamp), `x-ratelimit-reset`
/// (`OpenRouter`: milliseconds since 1970).
#[must_use]
pub(super) fn in_limits(headers: &http::HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let resets = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str();
        if !name.contains("ratelimit") || !name.contains("reset") {
            return None;
        }
        let left = headers.get(name.replace("reset", "remaining"));
        let left = left.and_then(|left| number(left.to_str().ok()?.trim()));
        if left.is_some_and(|left| left > 0.0) {
            return None;
        }
        moment(value.to_str().ok()?.trim(), now)
    });
    resets.max()
}

/// What a document says: `google.rpc.RetryInfo`, or a member whose name says it.
#[must_use]
pub(super) fn in_document(document: &Value, now: jiff::Timestamp) -> Option<Duration> {
    find(document, now, 0).filter(|wait| !wait.is_zero())
}

fn find(value: &Value, now: jiff::Timestamp, depth: usize) -> Option<Duration> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| find(item, now, depth + 1)),
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let key: String = key
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .map(|c| c.to_ascii_lowercase())
                .collect();
            match key.as_str() {
                "retrydelay" | "retryafter" | "retryafterseconds" | "resetsinseconds"
                | "xratelimitreset" => told(value, now),
                "retryafterms" => {
                    seconds(value.as_f64().or_else(|| number(value.as_str()?))? / 1000.0)
                }
                _ => find(value, now, depth + 1),
            }
        }),
        _ => None,
    }
}

/// A duration as a text, a number of seconds, or `{"seconds": 9, "nanos": 0}`.
fn told(value: &Value, now: jiff::Timestamp) -> Option<Duration> {
    match value {
        Value::String(text) => moment(text.trim(), now),
        Value::Number(number) => moment(&number.to_string(), now),
        Value::Object(map) => {
            let part = |key: &str| {
                let value = map.get(key)?;
                value.as_f64().or_else(|| number(value.as_str()?))
            };
            seconds(part("seconds")? + part("nanos").unwrap_or(0.0) / 1e9)
        }
        _ => None,
    }
}

/// What a sentence says, such as "Please try again in 1m12.5s."
#[must_use]
pub(super) fn in_words(words: &str) -> Option<Duration> {
    let words = words.to_ascii_lowercase();
    BEFORE.iter().find_map(|before| {
        words.match_indices(before).find_map(|(at, _)| {
            let after = words.get(at + before.len()..)?.trim_start();
            let after = ["about ", "approximately ", "for ", "at least "]
                .iter()
                .find_map(|filler| after.strip_prefix(filler))
                .unwrap_or(after);
            let (wait, _) = span(after)?;
            Some(wait).filter(|wait| !wait.is_zero())
        })
    })
}

/// A point in time, or the time until then: seconds, a duration, seconds or milliseconds since 1970, a
/// timestamp, a date of HTTP.
fn moment(text: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Some(number) = number(text) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of this millennium fit"
        )]
        let now = now.as_millisecond() as f64;
        return seconds(if number >= EPOCH_MILLIS {
            (number - now).max(0.0) / 1000.0
        } else if number >= EPOCH_SECONDS {
            (number - now / 1000.0).max(0.0)
        } else {
            number
        });
    }
    if let Some((wait, rest)) = span(&text.to_ascii_lowercase())
        && rest.trim().is_empty()
    {
        return Some(wait);
    }
    let date = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()
    })?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// The duration a text begins with, and what comes after it: `6m0s`, `7.66s`, `20 seconds`, `35ms`.
fn span(text: &str) -> Option<(Duration, &str)> {
    let mut rest = text;
    let mut sum = None;
    loop {
        let begin = rest.trim_start();
        let end = begin
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(begin.len());
        let (digits, after) = begin.split_at(end);
        let Ok(count) = digits.parse::<f64>() else {
            break;
        };
        let after = after.trim_start();
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 1e-3,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            _ => break,
        };
        sum = Some(sum.unwrap_or(0.0) + count * unit);
        rest = after;
    }
    Some((seconds(sum?)?, rest))
}

fn number(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| is_number)
}

fn seconds(count: f64) -> Option<Duration> {
    (0.0..=NEVER)
        .contains(&count)
        .then(|| Duration::from_secs_f64(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: &str = "2015-10-21T07:28:00Z";

    fn headers(pairs: &[(&'static str, &str)]) -> http::HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (
                name.parse::<http::HeaderName>().unwrap(),
                value.parse().unwrap(),
            )
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn seconds_milliseconds_durations_and_dates_are_understood() {
        let asked = |pairs: &[(&'static str, &str)]| {
            in_headers(&headers(pairs), NOW.parse().unwrap()).map(|asked| asked.as_millis())
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("retry-after", "2")]), Some(2000));
        assert_eq!(asked(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(asked(&[("retry-after", "0")]), Some(0));
        assert_eq!(asked(&[("retry-after", "9s")]), Some(9000));
        assert_eq!(asked(&[("retry-after", "1m30s")]), Some(90_000));
        assert_eq!(
            asked(&[("retry-after", "2"), ("retry-after-ms", "30")]),
            Some(30)
        );
        assert_eq!(asked(&[("x-ms-retry-after-ms", "30")]), Some(30));
        for (date, millis) in [
            ("Wed, 21 Oct 2015 07:28:05 GMT", 5000),
            ("Wed, 21 Oct 2015 07:00:00 GMT", 0),
            ("2015-10-21T07:28:07Z", 7000),
            ("1445412489", 9000),
            ("1445412489000", 9000),
        ] {
            assert_eq!(asked(&[("retry-after", date)]), Some(millis), "{date}");
        }
        for nonsense in ["soon", "-1", "1e400", "NaN", "", "5 apples", "."] {
            assert_eq!(asked(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn of_several_limits_those_that_are_used_up_count() {
        let asked =
            |pairs| in_limits(&headers(pairs), NOW.parse().unwrap()).map(|asked| asked.as_millis());
        assert_eq!(
            asked(&[
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "6m0s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "7.66s"),
            ]),
            Some(7660)
        );
        assert_eq!(
            asked(&[
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "2015-10-21T07:28:12Z"),
                ("anthropic-ratelimit-tokens-remaining", "80000"),
                ("anthropic-ratelimit-tokens-reset", "2015-10-21T08:28:12Z"),
            ]),
            Some(12_000)
        );
        assert_eq!(asked(&[("x-ratelimit-reset", "1445412489000")]), Some(9000));
        assert_eq!(asked(&[("ratelimit-reset", "30")]), Some(30_000));
        assert_eq!(asked(&[("x-ratelimit-limit-tokens", "9")]), None);
    }

    #[test]
    fn a_document_says_it_in_its_members() {
        let told =
            |document| in_document(&document, NOW.parse().unwrap()).map(|asked| asked.as_millis());
        let info = |delay: Value| {
            json!([{"error": {"code": 429, "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "PerMinute"}]},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
            ]}}])
        };
        assert_eq!(told(info(json!("9s"))), Some(9000));
        assert_eq!(told(info(json!("37.271s"))), Some(37_271));
        assert_eq!(
            told(info(json!({"seconds": "3", "nanos": 5e8}))),
            Some(3500)
        );
        assert_eq!(told(info(json!("0s"))), None);
        for (document, millis) in [
            (json!({"error": {"retry_after": 7}}), 7000),
            (json!({"retry_after_ms": 70}), 70),
            (
                json!({"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1445412489000"}}}}),
                9000,
            ),
            (json!({"error": {"resets_in_seconds": 4000}}), 4_000_000),
        ] {
            assert_eq!(told(document.clone()), Some(millis), "{document}");
        }
        assert_eq!(told(json!({"error": {"message": "9s"}})), None);
    }

    #[test]
    fn a_sentence_says_it_in_its_words() {
        for (words, millis) in [
            (
                "Rate limit reached for gpt-5 on tokens per min (TPM): Limit 30000, Used 22999, Requested 12528. Please try again in 11.054s. Visit https://…",
                11_054,
            ),
            ("Rate limit reached. Please try again in 28ms.", 28),
            ("Please try again in 7m12s.", 432_000),
            ("Try again in 35 seconds", 35_000),
            ("Please retry after 20 seconds.", 20_000),
            (
                "You exceeded your current quota. Please retry in 37.271s.",
                37_271,
            ),
            ("Please wait for 1 minute 5 seconds", 65_000),
            ("quota resets in about 2 days", 172_800_000),
        ] {
            let told = in_words(words).map(|wait| wait.as_millis());
            assert_eq!(told, Some(millis), "{words}");
        }
        for words in [
            "please wait before trying again",
            "try again in a moment",
            "retry in 0s",
            "try again in 3 apples",
            "it took 9s",
        ] {
            assert_eq!(in_words(words), None, "{words}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            value in "[ -~]{0,40}",
            words in "(try again in |retry after |please wait )?[0-9.a-zµ ]{0,20}\\PC{0,8}",
            document in crate::model::testing::any_json(),
        ) {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", value.parse().unwrap());
            headers.insert("x-ratelimit-reset-tokens", value.parse().unwrap());
            let now = jiff::Timestamp::UNIX_EPOCH;
            let _ = in_headers(&headers, now);
            let _ = in_limits(&headers, now);
            let _ = in_words(&words);
            let _ = in_document(&json!({"retryDelay": document, "retry_after_ms": value}), now);
        }
    }
}
