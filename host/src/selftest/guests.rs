//! The hostile guests, as the build script has compiled them.

include!(concat!(env!("OUT_DIR"), "/escape.rs"));
