//! One digest for a run: equal runs have equal ones, on any machine.

use std::fmt::Display;

use serde_json::Value;

use super::format::Header;
use crate::digest::Digest;

/// Version of what the digest is over.
const FORMAT: &str = "wasm-agent/run-digest@1";

/// Puts a run digest together: SHA-256 over lines `NAME VALUE`, as docs/recording.md lists them.
pub struct RunDigest(String);

impl RunDigest {
    /// Of a run with these beginnings.
    #[must_use]
    pub fn new(header: &Header, component: &Digest) -> RunDigest {
        let mut digest = RunDigest(format!("{FORMAT}\n"));
        digest.line("component", component);
        digest.line("commission", Digest::of(header.commission.get().as_bytes()));
        digest.line(
            "grants",
            Digest::of(header.guest_grants.to_string().as_bytes()),
        );
        let env = header.grants.get("env").unwrap_or(&Value::Null);
        digest.line("env", Digest::of(env.to_string().as_bytes()));
        digest.line("seed", header.seed);
        digest.line("start", &header.start);
        digest.line("session", Value::from(header.session_id.as_str()));
        for input in &header.inputs {
            digest.line(
                "input",
                format_args!("{} {}", input.digest, Value::from(input.path.as_str())),
            );
        }
        digest
    }

    /// Adds a line.
    pub fn line(&mut self, name: &str, value: impl Display) {
        use std::fmt::Write as _;
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// The digest.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}
