//! What is read is valid, and its checks against a commission end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::commission::Commission;
use wasm_agent::descriptor::Descriptor;
use wasm_agent::preflight::preflight;

fuzz_target!(|data: &[u8]| {
    let Ok(descriptor) = Descriptor::parse(data) else {
        return;
    };
    descriptor.validate().expect("what is read is valid");
    let commission =
        Commission::for_task("run", "anthropic/claude", None).expect("a valid commission");
    let _ = preflight(&commission, &descriptor, &[]);
});
