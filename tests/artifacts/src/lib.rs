//! Where the compiled guests of `tests/guests` are.
//!
//! There is a constant a guest, and [`foreach_guest!`], which names them all: the black-box tests use it
//! to make a guest without a test a compile error.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));
