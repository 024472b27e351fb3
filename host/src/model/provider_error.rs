//! What providers say when they fail: its class, and words that can be shown.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::assembly::text;
use super::wire::{Class, Failure};
use super::{context_limit, retry_after};

/// Bytes of a provider's message that are kept.
const MAX_MESSAGE: usize = 1024;

/// Words at least this long, with digits or asterisks in them, are taken for keys in messages about keys.
const KEY_LENGTH: usize = 12;

/// What a provider reported, in parts.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The HTTP status, or a code that means one.
    pub(super) status: Option<u16>,
    /// Typed codes, the most specific one first.
    pub(super) codes: Vec<String>,
    /// The provider's own words.
    pub(super) message: Option<String>,
    /// How long it wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Report {
    /// Reads an error of OpenAI's shape, as its many imitators write it.
    pub(super) fn openai(value: &Value) -> Report {
        // vLLM and Mistral put the members on the top level, Ollama and xAI have a text, Azure nests.
        let error = match value.get("error") {
            Some(error) if !error.is_null() => error,
            _ => value,
        };
        let mut codes = Vec::new();
        for key in ["code", "type", "status"] {
            if let Some(code) = text(error, key).or_else(|| text(value, key)) {
                codes.push(code.chars().take(64).collect());
            }
        }
        let code = error.get("code").or_else(|| value.get("code"));
        let status = code
            .and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()))
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| (400..600).contains(code));
        let message = error
            .as_str()
            .or_else(|| text(error, "message"))
            .map(str::to_owned)
            .or_else(|| {
                // FastAPI's shape of a request that does not validate.
                let detail = error.get("detail").or_else(|| error.get("message"))?;
                Some(
                    detail
                        .as_str()
                        .map_or_else(|| detail.to_string(), str::to_owned),
                )
            });
        Report {
            status,
            codes,
            message,
            retry_after: retry_after::in_document(value, jiff::Timestamp::now()),
        }
    }

    /// The failure this is.
    pub(super) fn failure(&self) -> Failure {
        let message = self.message.as_deref().unwrap_or_default();
        let class = self.class(message);
        let shown = presentable(message, class);
        let message = match (shown.is_empty(), self.status) {
            (false, _) => shown,
            (true, Some(status)) => summary(status),
            (true, None) => match self.codes.first() {
                Some(code) => format!("the provider failed: {}", presentable(code, class)),
                None => "the provider failed without saying why".to_owned(),
            },
        };
        let in_words = || retry_after::in_words(self.message.as_deref()?);
        Failure {
            retry_after: self.retry_after.or_else(in_words),
            ..Failure::new(class, message)
        }
    }

    fn class(&self, message: &str) -> Class {
        let by_code = self.codes.iter().find_map(|code| class_of_code(code));
        let by_status = || self.status.map_or(Class::Rejected, class_of_status);
        let class = by_code.unwrap_or_else(by_status);
        // Most have no code for it; it is worth knowing, because it can be helped.
        if matches!(class, Class::Rejected | Class::Overloaded) {
            if context_limit::is_told_in(message) {
                return Class::ContextLimit;
            }
            if context_limit::is_throttling(message) {
                return Class::RateLimited;
            }
            // LM Studio says it with status 200.
            if message.to_ascii_lowercase().contains("unexpected endpoint") {
                return Class::Rejected;
            }
        }
        // Who does not know the path says nothing of models.
        if class == Class::Unsupported && self.status == Some(404) && !self.names_the_model(message)
        {
            return Class::Rejected;
        }
        class
    }

    fn names_the_model(&self, message: &str) -> bool {
        let names_it = |text: &str| {
            let text = text.to_ascii_lowercase();
            text.contains("model") || text.contains("deployment")
        };
        names_it(message) || self.codes.iter().any(|code| names_it(code))
    }
}

/// The failure an answer with an error status is; `read` reads the provider's JSON.
pub(super) fn from_answer(
    status: StatusCode,
    body: &[u8],
    read: impl FnOnce(&Value) -> Report,
) -> Failure {
    let mut report = match serde_json::from_slice::<Value>(body) {
        Ok(value) => read(&value),
        Err(_) => Report {
            message: match page(body) {
                Some(page) => Some(format!("{} with {page}", summary(status.as_u16()))),
                None => plain_text(body),
            },
            ..Report::default()
        },
    };
    // The status of the answer itself, except where a gateway answers 200 or wraps another one.
    if status.is_client_error() || status.is_server_error() || report.status.is_none() {
        report.status = Some(status.as_u16());
    }
    report.failure()
}

fn class_of_code(code: &str) -> Option<Class> {
    Some(match code.to_ascii_lowercase().as_str() {
        "context_length_exceeded"
        | "exceed_context_size_error"
        | "string_above_max_length"
        | "model_max_prompt_tokens_exceeded"
        | "context_window_exceeded"
        | "context_window_exceeded_error"
        | "1261" => Class::ContextLimit,
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "insufficient_balance"
        | "insufficient_credits"
        | "access_terminated_error"
        | "quota_exceeded" => Class::UsageLimit,
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "rate_limit_reached_error"
        | "too_many_requests"
        | "throttlingexception"
        | "throttling_error"
        | "resource_exhausted" => Class::RateLimited,
        "server_error"
        | "internal_server_error"
        | "internal_error"
        | "overloaded_error"
        | "overloaded"
        | "engine_overloaded_error"
        | "service_unavailable"
        | "unavailable_error"
        | "slow_down"
        | "unavailable"
        | "internal"
        | "deadline_exceeded" => Class::Overloaded,
        "invalid_api_key"
        | "authentication_error"
        | "invalid_authentication_error"
        | "incorrect_api_key"
        | "permission_error"
        | "permission_denied"
        | "unauthenticated"
        | "api_key_invalid"
        | "account_deactivated"
        | "unsupported_country_region_territory" => Class::Auth,
        "model_not_found"
        | "model_not_available"
        | "invalid_model"
        | "deploymentnotfound"
        | "unsupported_parameter"
        | "unsupported_value"
        | "not_found_error"
        | "not_found" => Class::Unsupported,
        // Groq: the model wrote a call or a document that does not parse. Another sample may.
        "tool_use_failed" | "json_validate_failed" => Class::Garbled,
        _ => return None,
    })
}

fn class_of_status(status: u16) -> Class {
    match status {
        401 | 403 => Class::Auth,
        402 => Class::UsageLimit,
        404 | 501 => Class::Unsupported,
        408 => Class::Network,
        413 => Class::ContextLimit,
        429 => Class::RateLimited,
        // 498 is Groq's word for no capacity.
        498 | 500..=599 => Class::Overloaded,
        _ => Class::Rejected,
    }
}

fn summary(status: u16) -> String {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    match reason {
        Some(reason) => format!("the provider answered {status} {reason}"),
        None => format!("the provider answered {status}"),
    }
}

/// What a web page is, in a few words; none for anything else.
pub(super) fn page(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with('<') {
        return None;
    }
    // ASCII letters keep their places.
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title").and_then(|at| {
        let begin = at + text.get(at..)?.find('>')? + 1;
        let end = begin + lower.get(begin..)?.find("</title")?;
        text.get(begin..end)
    });
    let title: Vec<&str> = title.unwrap_or_default().split_whitespace().collect();
    let title: String = title.join(" ").chars().take(80).collect();
    Some(if title.is_empty() {
        "a web page".to_owned()
    } else {
        format!("a web page, \"{title}\"")
    })
}

/// A web page where an answer should be. Asking again brings it again.
pub(super) fn from_page(status: StatusCode, page: &str) -> Failure {
    let summary = summary(status.as_u16());
    Failure::new(Class::Rejected, format!("{summary} with {page}"))
}

/// A message somebody wrote, not a document.
fn plain_text(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    (!text.is_empty() && !text.starts_with(['<', '{', '['])).then(|| text.to_owned())
}

/// Foreign words as they may be shown: on one line, bounded, without what looks like a key.
fn presentable(message: &str, class: Class) -> String {
    let mut shown = String::new();
    for word in message.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        let is_key = class == Class::Auth && looks_like_key(word);
        let word = if is_key { "[key]" } else { word };
        if !shown.is_empty() {
            shown.push(' ');
        }
        for c in word.chars() {
            // Bidirectional controls can make a terminal show something else than what is there.
            if matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            {
                continue;
            }
            if shown.len() + c.len_utf8() > MAX_MESSAGE - '…'.len_utf8() {
                shown.push('…');
                return shown;
            }
            shown.push(c);
        }
    }
    shown
}

/// `OpenAI` quotes the wrong key with asterisks in its middle; others quote it whole.
fn looks_like_key(word: &str) -> bool {
    !word.contains("://")
        && word.len() >= KEY_LENGTH
        && word.contains(|c: char| c.is_ascii_digit() || c == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn openai(status: u16, body: &Value) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        from_answer(status, body.to_string().as_bytes(), Report::openai)
    }

    #[test]
    fn typed_codes_decide_before_the_status() {
        for (status, body, class) in [
            (
                400,
                json!({"error": {"message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}),
                Class::ContextLimit,
            ),
            (
                429,
                json!({"error": {"message": "You exceeded your current quota, please check your plan and billing details.", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}}),
                Class::UsageLimit,
            ),
            (
                429,
                json!({"error": {"message": "Rate limit reached for gpt-4o", "type": "tokens", "param": null, "code": "rate_limit_exceeded"}}),
                Class::RateLimited,
            ),
            (
                404,
                json!({"error": {"message": "The model `gpt-9` does not exist", "type": "invalid_request_error", "param": null, "code": "model_not_found"}}),
                Class::Unsupported,
            ),
            (
                500,
                json!({"error": {"message": "The server had an error", "type": "server_error", "param": null, "code": null}}),
                Class::Overloaded,
            ),
            (
                400,
                json!({"error": {"message": "Unsupported parameter: 'temperature'", "type": "invalid_request_error", "param": "temperature", "code": "unsupported_parameter"}}),
                Class::Unsupported,
            ),
            // llama.cpp
            (
                400,
                json!({"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 4096}}),
                Class::ContextLimit,
            ),
            (
                503,
                json!({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
                Class::Overloaded,
            ),
            // vLLM
            (
                400,
                json!({"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens", "type": "BadRequestError", "param": null, "code": 400}),
                Class::ContextLimit,
            ),
            // OpenRouter
            (
                402,
                json!({"error": {"code": 402, "message": "Insufficient credits", "metadata": {}}}),
                Class::UsageLimit,
            ),
            // Ollama
            (
                404,
                json!({"error": {"message": "model \"nope\" not found, try pulling it first", "type": "not_found_error", "param": null, "code": null}}),
                Class::Unsupported,
            ),
            // xAI
            (
                400,
                json!({"code": "Client specified an invalid argument", "error": "Incorrect role"}),
                Class::Rejected,
            ),
            // Bedrock, behind a gateway that has its own status
            (
                500,
                json!({"error": {"message": "Too many tokens, please wait before trying again.", "type": "server_error"}}),
                Class::RateLimited,
            ),
            (
                500,
                json!({"error": {"message": "Input is too long for requested model.", "type": "server_error"}}),
                Class::ContextLimit,
            ),
            // FastAPI, which does not know the path
            (404, json!({"detail": "Not Found"}), Class::Rejected),
            // Z.ai
            (
                400,
                json!({"error": {"code": "1261", "message": "Prompt exceeds max length"}}),
                Class::ContextLimit,
            ),
            // Groq
            (
                400,
                json!({"error": {"message": "Failed to call a function.", "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": "<function=x"}}),
                Class::Garbled,
            ),
            // Mistral
            (
                422,
                json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]}),
                Class::Rejected,
            ),
        ] {
            let failure = openai(status, &body);
            assert_eq!(failure.class, class, "{body}: {failure}");
            assert!(!failure.message.is_empty());
        }
    }

    #[test]
    fn an_answer_that_is_not_json_is_summed_up_by_its_status() {
        let failure = from_answer(
            StatusCode::BAD_GATEWAY,
            b"<html><h1>502</h1></html>",
            Report::openai,
        );
        assert_eq!(failure.class, Class::Overloaded);
        assert_eq!(
            failure.message,
            "the provider answered 502 Bad Gateway with a web page"
        );
        let failure = from_answer(
            StatusCode::FORBIDDEN,
            b"\n<!DOCTYPE html><HTML><Title lang=en>\n Just a\nmoment...</TITLE><body>long</body>",
            Report::openai,
        );
        assert_eq!(failure.class, Class::Auth);
        assert_eq!(
            failure.message,
            "the provider answered 403 Forbidden with a web page, \"Just a moment...\""
        );
        let failure = from_answer(
            StatusCode::NOT_FOUND,
            b"404 page not found\n",
            Report::openai,
        );
        assert_eq!(failure.message, "404 page not found");
        assert_eq!(failure.class, Class::Rejected);
        for status in [
            400, 401, 402, 403, 404, 408, 413, 418, 429, 500, 502, 503, 529,
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(!from_answer(status, b"", Report::openai).message.is_empty());
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let failure = openai(
            401,
            &json!({"error": {"message": "Incorrect API key provided: sk-proj-ab******************wxyz. You can find your API key at https://platform.openai.com/account/api-keys.", "type": "invalid_request_error", "code": "invalid_api_key"}}),
        );
        assert_eq!(failure.class, Class::Auth);
        insta::assert_snapshot!(failure.message, @"Incorrect API key provided: [key] You can find your API key at https://platform.openai.com/account/api-keys.");
    }

    #[test]
    fn messages_are_one_bounded_line() {
        let failure = openai(
            400,
            &json!({"error": {"message": format!("a\nb\u{1b}[31m\u{202e}{}", "ä".repeat(5000))}}),
        );
        assert!(failure.message.len() <= MAX_MESSAGE);
        assert!(failure.message.starts_with("a b [31mä"), "{failure}");
        assert!(failure.message.ends_with('…'));
    }
}
