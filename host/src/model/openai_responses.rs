//! `OpenAI`'s Responses API, without state at the provider: reasoning goes back and forth encrypted.

mod answer;
mod request;

use http::StatusCode;

use super::Request;
use super::provider_error::{self, Report};
use super::wire::{Decoder, Endpoint, Failure, Outgoing, Unsupported, Wire};

/// Marks encrypted reasoning in the signature of a thinking block: `openai:ID:CONTENT`.
const REASONING: &str = "openai";

/// The format of `POST {base_url}/responses`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Responses;

impl Wire for Responses {
    fn outgoing(&self, endpoint: &Endpoint, request: &Request) -> Result<Outgoing, Unsupported> {
        let body = request::body(request)?;
        Ok(Outgoing {
            url: format!("{}/responses", endpoint.base_url.trim_end_matches('/')),
            headers: Vec::new(),
            body: body.to_string().into(),
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
