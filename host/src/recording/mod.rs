//! What a run got from outside, written down so that it can be repeated without it.
//!
//! A run is a function of its component, its commission, its directories and the answers of its host calls.
//! The answers that are not decided by the rest go through one place, the [`Tape`]: when recording it
//! performs and writes, when replaying it compares and answers, and a live run does not notice it. What
//! stands in the file, line by line, is in docs/recording.md; `format.rs` owns it.
//!
//! ```text
//! capability ── tape.effect(kind, request, perform) ──▶ Off:    perform
//!                                                       Record: perform ▶ entry n
//!                                                       Replay: entry n = (kind, request)? ▶ its result
//!                                                               no ▶ Divergence, the run ends
//! ```
//!
//! What is not on the tape because it follows from the rest: randomness and ids (from the seed in the
//! header), listings (sorted), times and identities of files (`filesystem/stable.rs`), the content of granted
//! directories (their digests are in the header), fuel.

pub(crate) mod bytes;
pub mod diff;
pub mod digest;
pub mod divergence;
pub mod format;
pub mod inputs;
pub(crate) mod marks;
pub mod onward;
pub mod publish;
pub mod request;
pub mod seed;
pub mod tape;

pub use diff::{Difference, differences};
pub use digest::RunDigest;
pub use divergence::Divergence;
pub use format::{Recording, RecordingError};
pub use inputs::{InputError, Inventory};
pub use onward::{Beginning, InDoubt, OnwardError};
pub use seed::Seed;
pub use tape::{Tape, TapeError};

#[cfg(test)]
mod tests;
