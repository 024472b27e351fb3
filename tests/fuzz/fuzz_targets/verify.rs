//! The judge comes to a verdict about anything. Seeds: `tests/fixtures/honest`, `tests/fixtures/forgeries`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::trajectory::verify::{MAX_VIOLATIONS, verify_lines};

fuzz_target!(|data: &[u8]| {
    let report = verify_lines(data);
    assert!(report.violations.len() <= MAX_VIOLATIONS);
    assert!(report.total >= report.violations.len() as u64);
});
