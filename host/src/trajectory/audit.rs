//! Audit records: what the host knows of a run that AVP has no event for.
//!
//! They share the hash chain and the sequence of `events.ndjson` with the trajectory.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::used::Used;
use crate::egress::Caller;

/// One audit record. On disk it is an object whose `kind` is the variant's name in `snake_case`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Audit {
    /// Something was asked for that the operator has not granted.
    Denied {
        /// The interface or resource kind.
        capability: &'static str,
        /// What was asked for.
        subject: String,
        /// The rule that decided.
        rule: String,
    },
    /// Records of one kind that do not stand here one by one, because there were too many of them.
    Repeated {
        /// The kind they are of: `denied`, `rejected` or `leak`.
        of: &'static str,
        /// What they have in common: the capability, the function, or the secret and what became of it.
        what: String,
        /// The rule that decided, where it is the same for all of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// How many this record stands for.
        count: u64,
        /// How many there have been so far, those with a record of their own included.
        total: u64,
    },
    /// A request left the sandbox, or was about to. It is written when it is over: with the end of the
    /// response, or with what stopped it.
    Request {
        /// Who made it.
        caller: Caller,
        /// For example `GET`.
        method: String,
        /// Without user information and without values of the query.
        url: String,
        /// The rule that allowed it.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The address it was sent to: the proxy's, where there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        /// Status of the response.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Bytes of the request's body that were sent.
        bytes_out: u64,
        /// Bytes of the response's body that arrived.
        bytes_in: u64,
        /// Time from its beginning to its end.
        milliseconds: u64,
        /// Why it was not made, or has no whole answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A limit was hit.
    Limit {
        /// Its name in the `[limits]` table.
        name: &'static str,
        /// The greatest value allowed.
        max: u64,
    },
    /// A known secret, or a placeholder, was found where it does not belong.
    Leak {
        /// The secret's name.
        name: String,
        /// Where it was found.
        place: String,
        /// What became of what it was in.
        action: LeakAction,
    },
    /// A secret was put on the wire.
    SecretUsed {
        /// Its name.
        name: String,
        /// BLAKE3 of its value, keyed with the key of this installation: the same value has the same digest
        /// here, and nobody else can tell what it is of.
        digest: String,
        /// The header or the parameter it was put in.
        place: String,
        /// `scheme://host[:port]` it went to.
        host: String,
        /// Whether something the caller had put there was replaced.
        replaced: bool,
    },
    /// The guest reported something impossible; nothing was recorded of it.
    Rejected {
        /// The function that was called.
        fact: &'static str,
        /// Why it was refused.
        reason: String,
    },
    /// An accepted fact that becomes an event when its turn closes. It is here so that a host that is
    /// killed in between loses nothing it has acknowledged.
    Held {
        /// The function that was called.
        fact: &'static str,
        /// Its arguments.
        report: Value,
    },
    /// Something about a tool server.
    ToolServer {
        /// Its id.
        server: String,
        /// What: `started`, `connected`, `failed`, `stderr`, `tools_left_out`, `tools_changed`.
        notice: &'static str,
        /// More about it; of `stderr`, what the server wrote.
        text: String,
    },
    /// Something the guest wrote to a standard stream.
    Output {
        /// Which one.
        stream: Stream,
        /// The text; bytes that are not UTF-8 are replaced.
        text: String,
    },
    /// A line of a stdio agent that is not an AVP event.
    MalformedLine {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// Its beginning.
        text: String,
    },
    /// An event of a stdio agent whose type AVP does not know.
    ForeignEvent {
        /// As the agent wrote it.
        event: Value,
    },
    /// What the agent says it is doing.
    Progress {
        /// In its own words.
        message: String,
        /// Between 0 and 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        fraction: Option<f64>,
    },
    /// The agent stored its state.
    Checkpoint {
        /// `sha256:…`.
        digest: String,
        /// Length.
        bytes: u64,
    },
    /// The agent declared its work done.
    Completed {
        /// What it says was done.
        summary: String,
    },
    /// The agent handed over a result.
    Artifact {
        /// File name in the run directory's `artifacts`.
        name: String,
        /// For example `text/markdown`.
        media_type: String,
        /// `sha256:…`.
        digest: String,
        /// Length.
        bytes: u64,
    },
    /// A file was changed through a granted directory.
    FileChanged {
        /// In the guest.
        path: String,
        /// What happened to it.
        change: &'static str,
        /// What it was called before, when it was renamed.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// Bytes written since it was opened.
        bytes_written: u64,
        /// Content before the run touched it.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// Content now.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// A model did not answer and is asked again.
    ModelRetry {
        /// The model, as `provider/model`.
        model: String,
        /// The request that failed, from 1.
        attempt: u32,
        /// What kind of failure.
        class: &'static str,
        /// The HTTP status, where there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// What the provider said, or what went wrong with it.
        message: String,
        /// Milliseconds until it is asked again.
        wait_ms: u64,
        /// Tokens the void part has used, where the provider said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        tokens: Option<u64>,
        /// The member of the request that was refused: it is left out from now on, for the whole run.
        #[serde(skip_serializing_if = "Option::is_none")]
        without: Option<String>,
    },
    /// The component asked for less than the operator granted; the rest was not handed over.
    Narrowed {
        /// What was left out.
        subject: String,
    },
    /// The host looked after the run: it noticed something, or is about to end it.
    Supervision {
        /// What: `idle`, `budget_low`, `hard_stop` and their like.
        notice: &'static str,
        /// The limit a `hard_stop` is about.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<&'static str>,
        /// What the guest was doing, since when, and what it had done.
        diagnosis: Value,
    },
    /// What the run has used of its grants; the last record but one.
    GrantsUsed(Box<Used>),
    /// The last record of a run.
    RunEnded {
        /// The outcome, as `runs show --format json` prints it.
        outcome: Value,
    },
}

/// Longest text of a guest's in a record of something that was refused, in bytes. A path longer than 256 bytes is
/// recognised by its beginning; a guest that is refused a thousand of them should not fill a disk with it.
const SUBJECT: usize = 300;

/// Longest rule or reason, in bytes: the host's own words, with a path or a name of the guest's in some of them.
const REASON: usize = 512;

impl Audit {
    /// Whether `audit-bytes` counts it: everything that a call of the guest is enough for and that no other limit
    /// counts in bytes.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            Audit::Denied { .. }
            | Audit::Repeated { .. }
            | Audit::Request { .. }
            | Audit::Leak { .. }
            | Audit::SecretUsed { .. }
            | Audit::Rejected { .. }
            | Audit::MalformedLine { .. }
            | Audit::Checkpoint { .. }
            | Audit::Artifact { .. }
            | Audit::FileChanged { .. }
            | Audit::ModelRetry { .. } => true,
            // `trajectory-bytes` counts facts, `output-bytes` output.
            Audit::Held { .. }
            | Audit::Progress { .. }
            | Audit::ForeignEvent { .. }
            | Audit::Output { .. } => false,
            // Bounded in number, or in bytes where they are made.
            Audit::ToolServer { .. }
            | Audit::Limit { .. }
            | Audit::Completed { .. }
            | Audit::Narrowed { .. }
            | Audit::Supervision { .. }
            | Audit::GrantsUsed(_)
            | Audit::RunEnded { .. } => false,
        }
    }

    /// The texts in which a guest can make a record of a refusal as long as it likes, and how long they may be.
    pub(super) fn wordy(&mut self) -> impl Iterator<Item = (&mut String, usize)> {
        let texts = match self {
            Audit::Denied { subject, rule, .. } => [Some((subject, SUBJECT)), Some((rule, REASON))],
            Audit::Rejected { reason, .. } | Audit::MalformedLine { reason, .. } => {
                [Some((reason, REASON)), None]
            }
            Audit::Leak { place, .. } => [Some((place, SUBJECT)), None],
            _ => [None, None],
        };
        texts.into_iter().flatten()
    }
}

/// What became of something a secret was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeakAction {
    /// It went nowhere.
    Blocked,
    /// It passed without the secret.
    Redacted,
    /// It passed as it was.
    Passed,
}

/// A captured standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stream {
    Stdout,
    Stderr,
}
