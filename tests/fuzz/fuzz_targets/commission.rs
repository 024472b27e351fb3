//! What is read is one line, reads again as the same text, and stays valid with a task.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::commission::Commission;

fuzz_target!(|data: &[u8]| {
    let Ok(commission) = Commission::parse(data) else {
        return;
    };
    let raw = commission.raw().get();
    assert!(!raw.contains('\n'));
    let again = Commission::parse(raw.as_bytes()).expect("its own text is valid");
    assert_eq!(again.raw().get(), raw);
    let _ = commission.with_task("task");
});
