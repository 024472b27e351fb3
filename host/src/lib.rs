//! Runs AI agents that are compiled to WASI components, in a sandbox that grants nothing by itself.
//!
//! The `wasm-agent` binary is a thin layer over this library: whatever it does, a program can do.
//!
//! ```no_run
//! use std::path::Path;
//! use wasm_agent::commission::Commission;
//! use wasm_agent::engine::Cache;
//! use wasm_agent::grants::{Grants, GrantsFile};
//! use wasm_agent::run::{Host, HostOptions, RunRequest, RunsDir};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // One host serves any number of runs at once.
//! let cache = Cache::open("/var/cache/my-agents")?;
//! let host = Host::new(HostOptions { cache, ..HostOptions::default() })?;
//! let agent = host.load(Path::new("repo-audit.wasm")).await?;
//!
//! // Nothing is granted but what is said here.
//! let grants = GrantsFile { dirs: vec!["./repo:ro".parse()?], ..GrantsFile::default() };
//! let mut run = host.start(RunRequest {
//!     agent,
//!     commission: Commission::for_task("run-1", "none/none", Some("Audit /work."))?,
//!     grants: Grants::resolve(grants, GrantsFile::default())?,
//!     runs: Some(RunsDir::platform()?),
//! })?;
//!
//! // Records arrive in order, each already on disk.
//! while let Some(record) = run.next().await {
//!     if let Some(event) = record.avp() {
//!         println!("{event}");
//!     }
//! }
//! let outcome = run.outcome().await;
//! println!("{}: {:?}", outcome.stop_reason, outcome.output);
//! # Ok(())
//! # }
//! ```
//!
//! How a run flows through the modules, and where each line of behaviour lives, is in ARCHITECTURE.md.

pub mod attest;
pub mod capabilities;
pub mod commission;
pub mod descriptor;
pub mod digest;
pub mod egress;
pub mod engine;
pub mod error;
pub mod foreign;
pub mod grants;
pub mod host_places;
mod json;
pub mod model;
pub mod policy;
pub mod preflight;
pub mod project;
pub mod recording;
pub mod run;
pub mod schema;
pub mod selftest;
pub mod tools;
pub mod trajectory;
pub mod unseen;
