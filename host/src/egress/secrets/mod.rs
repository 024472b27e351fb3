//! Secrets: put on the wire for the agent, never into it, and looked for wherever they do not belong.

pub mod guard;
pub mod placeholder;
pub mod scan;
pub mod sieve;
pub mod store;
pub mod value;
mod view;

pub use guard::{Guard, Redacted, Verdict};
pub use placeholder::Placeholder;
pub use scan::{Hit, Kind, Needle, Scan, Scanner};
pub use sieve::Sieve;
pub use store::{SecretStore, StoreError, Stored};
pub use value::{Secret, SecretName, ValueError};
