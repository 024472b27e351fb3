//! Whatever a receipt's envelope is, what is read of it is written and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::attest::dsse::Envelope;

fuzz_target!(|data: &[u8]| {
    if let Ok(envelope) = Envelope::parse(data) {
        let again = Envelope::parse(envelope.text().as_bytes());
        assert_eq!(again.as_ref(), Ok(&envelope));
    }
});
