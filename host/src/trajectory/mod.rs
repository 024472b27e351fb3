//! From facts to events, and from events back to a judgement.

pub mod verify;
pub mod vocabulary;
