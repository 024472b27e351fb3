//! What an operator allows, and what a component asks for.

pub mod ask;
