//! Runs AI agents that are compiled to WASI components, in a sandbox that grants nothing by itself.

pub mod digest;
pub mod engine;
pub mod error;
pub mod grants;
pub mod project;
