//! Runs AI agents that are compiled to WASI components, in a sandbox that grants nothing by itself.

pub mod commission;
pub mod descriptor;
pub mod error;
mod json;
pub mod preflight;
pub mod trajectory;
