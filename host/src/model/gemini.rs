//! Google's Gemini API.

mod answer;
mod request;

use http::StatusCode;
use serde_json::Value;

use super::Request;
use super::assembly::text;
use super::provider_error::{self, Report};
use super::retry_after;
use super::wire::{Decoder, Endpoint, Failure, Outgoing, Unsupported, Wire};

/// Marks thought signatures in the signature of a thinking block.
///
/// Gemini signs parts of all kinds. A thinking block without text carries the signature of the part that
/// follows it.
const SIGNATURE: &str = "gemini";

/// The format of `POST {base_url}/v1beta/models/{model}:streamGenerateContent`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gemini;

impl Wire for Gemini {
    fn outgoing(&self, endpoint: &Endpoint, request: &Request) -> Result<Outgoing, Unsupported> {
        let model = request::model_path(&request.model)?;
        let base = endpoint.base_url.trim_end_matches('/');
        let version = match base.rsplit('/').next() {
            Some("v1" | "v1alpha" | "v1beta") => "",
            _ => "/v1beta",
        };
        Ok(Outgoing {
            url: format!("{base}{version}/{model}:streamGenerateContent?alt=sse"),
            headers: Vec::new(),
            body: request::body(request)?.to_string().into(),
        })
    }

    fn decoder(&self, inference: u64) -> Box<dyn Decoder> {
        Box::new(answer::Answer::new(inference))
    }

    fn failure(&self, status: StatusCode, body: &[u8]) -> Failure {
        provider_error::from_answer(status, body, report)
    }
}

/// Reads an error of Google's shape; without `alt=sse` it comes in a list.
fn report(value: &Value) -> Report {
    let retry_after = retry_after::in_document(value, jiff::Timestamp::now());
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let details = error.get("details").and_then(Value::as_array);
    let mut codes = Vec::new();
    for detail in details.into_iter().flatten() {
        if let Some(reason) = text(detail, "reason") {
            codes.push(reason.chars().take(64).collect());
        }
        // A quota of the day does not come back while a run waits.
        let violations = detail.get("violations").and_then(Value::as_array);
        let is_daily = violations.into_iter().flatten().any(|violation| {
            text(violation, "quotaId").is_some_and(|quota| quota.contains("PerDay"))
        });
        if is_daily {
            codes.push("quota_exceeded".to_owned());
        }
    }
    codes.extend(text(error, "status").map(|status| status.chars().take(64).collect::<String>()));
    Report {
        status: error
            .get("code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| (400..600).contains(code)),
        codes,
        message: text(error, "message").map(str::to_owned),
        retry_after,
    }
}

#[cfg(test)]
mod tests;
