//! From facts to events: what a run reports, what the host writes, and how it is judged.
//!
//! ```text
//! fact (claimed or observed) -> Recorder -> Event -> Journal (seq, hash chain, one write) -> sinks
//!                                                 -> Totals
//! ```
//!
//! [`Ledger`] holds the four together behind one lock and is the only way to add to a run's account.

pub mod audit;
pub mod clock;
pub mod content;
pub mod deeds;
pub mod event;
pub mod fact;
pub mod fold;
mod folded;
pub mod journal;
pub mod ledger;
pub mod opening;
pub mod recorder;
pub mod search;
pub mod used;
pub mod verify;
pub mod vocabulary;

pub use audit::Audit;
pub use event::{Event, Origin};
pub use fold::Totals;
pub use journal::{Journal, JournalError, Record};
pub use ledger::Ledger;
pub use recorder::{Receipt, Recorder, Rejected};
pub use used::{Touch, Use, Used};
pub use vocabulary::{ErrorCode, StopReason};
