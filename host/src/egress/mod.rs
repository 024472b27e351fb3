//! The one way out: every outbound connection of a run is opened here, for a guest, for a model or for a
//! tool server alike.
//!
//! A request goes through the same steps whoever makes it: normalise, match a rule, resolve once, check
//! every address, connect to a checked address, put the secret in, send, watch, record. What a caller may
//! reach is in its [`Way`]: a guest has the operator's rules, a model those of its provider and no others.

pub mod rule;
pub mod secrets;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub use rule::HostRule;

use crate::trajectory::Ledger;

/// A body that streams, capped by the limits of the run.
pub type Body = UnsyncBoxBody<Bytes, Refused>;

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// The agent, through `wasi:http`.
    Guest,
    /// The host, to ask a model.
    Model,
    /// The host, to reach a tool server.
    Tools,
}

/// The way out of one run. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    #[expect(dead_code, reason = "requests are recorded there")]
    ledger: Ledger,
}

/// What one caller may reach.
#[derive(Clone)]
pub struct Way {
    #[expect(dead_code, reason = "the connections are made there")]
    egress: Egress,
    caller: Caller,
    rules: Arc<[HostRule]>,
}

/// Why a request was not made, or has no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No rule allows it.
    #[error("no rule allows {subject}")]
    Denied {
        /// Method and URL, without what may be secret.
        subject: String,
    },
}

impl Egress {
    /// A way out that is recorded in `ledger`.
    #[must_use]
    pub fn new(ledger: Ledger) -> Egress {
        Egress {
            inner: Arc::new(Inner { ledger }),
        }
    }

    /// The way of one caller.
    #[must_use]
    pub fn way(&self, caller: Caller, rules: Vec<HostRule>) -> Way {
        let _ = &self.inner;
        Way {
            egress: self.clone(),
            caller,
            rules: rules.into(),
        }
    }
}

impl Way {
    /// Makes a request and waits for the head of its response. The URL is absolute. No redirect is
    /// followed.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Refused> {
        let _ = (self.caller, &self.rules);
        Err(Refused::Denied {
            subject: format!("{} {}", request.method(), request.uri()),
        })
    }
}
