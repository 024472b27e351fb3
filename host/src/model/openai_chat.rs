//! `OpenAI`'s Chat Completions, which most servers speak: Ollama, llama.cpp, vLLM, `OpenRouter` and many more.
//!
//! They differ in details. What a request has to know about them goes by the provider's id; answers are
//! read as liberally as has been seen.

mod answer;
mod request;

pub(super) use answer::{read_cost, stream_failure};
use http::StatusCode;
pub(super) use request::effort;

use super::Request;
use super::provider_error::{self, Report};
use super::wire::{Decoder, Endpoint, Failure, Outgoing, Unsupported, Wire};

/// Marks `reasoning_details` of `OpenRouter` in the signature of a thinking block.
const REASONING_DETAILS: &str = "openrouter";

/// Marks the reasoning of a server that calls it `reasoning_content`: servers that do want it back beside
/// the calls it led to.
const REASONING_CONTENT: &str = "reasoning_content";

/// The format of `POST {base_url}/chat/completions`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatCompletions;

impl Wire for ChatCompletions {
    fn outgoing(&self, endpoint: &Endpoint, request: &Request) -> Result<Outgoing, Unsupported> {
        let body = request::body(&endpoint.provider, request)?;
        Ok(Outgoing {
            url: format!(
                "{}/chat/completions",
                endpoint.base_url.trim_end_matches('/')
            ),
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
