//! Runs AI agents that are compiled to WASI components, in a sandbox that grants nothing by itself.

pub mod commission;
pub mod error;
mod json;
