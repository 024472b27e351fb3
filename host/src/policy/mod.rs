//! Policy from evidence: what runs have used of their grants, the smallest grants that would have allowed it,
//! and what other grants would not have.
//!
//! Evidence is the record `grants_used` of a run, [`crate::trajectory::Used`]: what the host has seen where it
//! checked each grant. What was denied is never granted by it.

pub mod check;
pub mod evidence;
mod files;
mod hosts;
mod limits;
mod narrow;
mod paths;
mod servers;
pub mod suggest;
mod toml;

#[cfg(test)]
mod tests;

pub use check::{Missing, check};
pub use evidence::{Evidence, EvidenceError};
pub use suggest::{Suggestion, suggest};
