//! Secrets: put on the wire for the agent, never into it, and looked for wherever they do not belong.
//!
//! `store.rs` keeps them, `run.rs` gathers those of a run and is asked by the egress about each request,
//! `binding.rs` says where each goes. `view.rs`, `scan.rs`, `guard.rs` and `sieve.rs` find them, in whatever
//! form, in text, documents and streams.

pub mod binding;
mod body;
pub mod guard;
pub mod logs;
pub mod placeholder;
pub mod run;
pub mod scan;
pub mod sieve;
pub mod store;
mod unpack;
pub mod value;
mod view;

pub use binding::{Bound, Place};
pub use guard::{Guard, Redacted, Verdict};
pub use placeholder::Placeholder;
pub use run::{Gathering, SecretError, Secrets, Vault};
pub use scan::{Hit, Kind, Needle, Scan, Scanner};
pub use sieve::Sieve;
pub use store::{SecretStore, StoreError, Stored};
pub use value::{Secret, SecretName, ValueError};

#[cfg(test)]
mod tests;
