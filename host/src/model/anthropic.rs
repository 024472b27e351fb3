//! Anthropic's Messages.

mod answer;
mod request;

use http::{HeaderName, HeaderValue, StatusCode};

use super::Request;
use super::provider_error::{self, Report};
use super::wire::{Decoder, Endpoint, Failure, Outgoing, Unsupported, Wire};

/// The version of the interface that is spoken here.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Marks a thinking block that came in the form Anthropic keeps back.
const REDACTED: &str = "anthropic.redacted";

/// The format of `POST {base_url}/v1/messages`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages;

impl Wire for Messages {
    fn outgoing(&self, endpoint: &Endpoint, request: &Request) -> Result<Outgoing, Unsupported> {
        Ok(Outgoing {
            url: format!("{}/v1/messages", endpoint.base_url.trim_end_matches('/')),
            headers: vec![(HeaderName::from_static("anthropic-version"), VERSION)],
            body: request::body(request)?.to_string().into(),
        })
    }

    fn decoder(&self, inference: u64) -> Box<dyn Decoder> {
        Box::new(answer::Answer::new(inference))
    }

    fn failure(&self, status: StatusCode, body: &[u8]) -> Failure {
        provider_error::from_answer(status, body, Report::openai)
    }
}

#[cfg(test)]
mod tests;
