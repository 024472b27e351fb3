//! A recording is a file from anywhere: it is read or refused, and what was read is written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::recording::Recording;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(recording) = Recording::parse(bytes) {
        for entry in &recording.entries {
            assert!(!entry.line().contains('\n'));
        }
    }
});
