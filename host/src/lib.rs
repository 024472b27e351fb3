//! Runs AI agents that are compiled to WASI components, in a sandbox that grants nothing by itself.

pub mod capabilities;
pub mod commission;
pub mod descriptor;
pub mod digest;
pub mod engine;
pub mod error;
pub mod grants;
mod json;
pub mod project;
pub mod preflight;
pub mod run;
pub mod trajectory;
