//! Why a request was not made, or has no whole answer.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::address::Class;
use super::secrets::Kind;
use crate::error::Hint;

/// Why a request was not made, or has no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No rule allows it.
    #[error("no rule allows {subject}")]
    Denied {
        /// Method and URL, without what may be secret.
        subject: String,
    },
    /// The request is not one that can be sent.
    #[error("the request cannot be sent: {what}")]
    Malformed {
        /// Which part of it is wrong.
        part: Part,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The name leads to an address that is not public. Nothing was sent.
    #[error("cannot connect to `{host}`: it leads to {address}, which is {class}")]
    Address {
        /// The name.
        host: String,
        /// The address.
        address: IpAddr,
        /// What is wrong with it.
        class: Class,
    },
    /// The name leads nowhere.
    #[error("cannot find `{host}`: {reason}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver says.
        reason: String,
    },
    /// There is no connection.
    #[error("cannot connect to `{host}`: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// Whether it is there and does not want to.
        refused: bool,
        /// What the network says.
        reason: String,
    },
    /// The other end is not who it should be, or does not speak TLS.
    #[error("cannot trust `{host}`: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// Whether its certificate is what is wrong.
        certificate: bool,
        /// What is wrong.
        reason: String,
    },
    /// It took too long.
    #[error("{waiting} did not come within {after:?}")]
    Timeout {
        /// What was waited for.
        waiting: Waiting,
        /// How long.
        after: Duration,
    },
    /// A limit was hit.
    #[error("limit `{name}` is reached ({})", crate::grants::limits::show(name, *max))]
    Limit {
        /// Its name.
        name: &'static str,
        /// The greatest value allowed.
        max: u64,
    },
    /// The connection ended before the response did.
    #[error("the connection ended before the response did")]
    Truncated,
    /// The other end does not keep to HTTP.
    #[error("the exchange failed: {reason}")]
    Protocol {
        /// How.
        reason: String,
    },
    /// A secret, or a placeholder, is where it does not belong.
    #[error("{place} contains the {what} `{name}`", what = kind.as_str())]
    Leak {
        /// The name of the secret.
        name: String,
        /// Which of the two it is.
        kind: Kind,
        /// What it is in.
        place: &'static str,
    },
    /// A secret cannot be put where it is bound to.
    #[error("cannot use the secret `{name}`: {reason}")]
    Secret {
        /// Its name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// Whoever made it did not wait for its end.
    #[error("its caller did not wait for its end")]
    Dropped,
    /// The run is over.
    #[error("the run is over")]
    Closed,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Part {
    Method,
    Url,
    Headers,
    Body,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The connection.
    Connection,
    /// The head of the response.
    Head,
    /// The next piece of its body.
    Body,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Waiting::Connection => "a connection",
            Waiting::Head => "the head of the response",
            Waiting::Body => "the next piece of the response",
        })
    }
}

impl Hint for Refused {
    fn hint(&self) -> Option<String> {
        match self {
            Refused::Denied { .. } => Some("`--allow-host HOST` allows it".to_owned()),
            Refused::Address { address, .. } => Some(match address {
                IpAddr::V4(address) => {
                    format!("`--allow-host {address}` allows that address, by itself")
                }
                IpAddr::V6(address) => {
                    format!("`--allow-host [{address}]` allows that address, by itself")
                }
            }),
            Refused::Tls { .. } => {
                Some("`--ca-file FILE` trusts an authority of your own".to_owned())
            }
            Refused::Limit { name, .. } => Some(format!("`--limit {name}=VALUE` sets it")),
            _ => None,
        }
    }
}
