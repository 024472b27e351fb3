//! Secrets: put on the wire for the agent, never into it, and looked for wherever they do not belong.

pub mod scan;
pub mod value;
mod view;

pub use scan::{Hit, Kind, Needle, Scan, Scanner};
pub use value::{Secret, SecretName, ValueError};
