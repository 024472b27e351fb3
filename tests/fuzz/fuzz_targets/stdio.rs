//! Whatever a stdio agent writes to its standard output, each line is an event or an error, and the
//! account can be closed.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wasm_agent::capabilities::stdio::binding::Binding;
use wasm_agent::capabilities::stdio::{Captured, Lines};
use wasm_agent::commission::Commission;
use wasm_agent::descriptor::Descriptor;
use wasm_agent::trajectory::journal::Link;
use wasm_agent::trajectory::ledger::FactLimits;
use wasm_agent::trajectory::opening::Opening;
use wasm_agent::trajectory::recorder::Ids;
use wasm_agent::trajectory::{Journal, Ledger, Recorder, StopReason};
use wasmtime_wasi::p2::OutputStream;

fuzz_target!(|output: &[u8]| {
    let commission = Commission::for_task("run", "none/none", None).unwrap();
    let limits = FactLimits {
        facts: 1000,
        fact_bytes: 1 << 16,
        total_bytes: 1 << 20,
    };
    let recorder = Recorder::new(Ids::seeded([1; 16]), "run", None);
    let ledger = Ledger::new(recorder, Journal::in_memory(Link::of(b"")), limits, None);
    let opening = Opening::begin(
        commission,
        serde_json::json!({}),
        "session".into(),
        ledger.clone(),
    )
    .unwrap();
    let minimal = Descriptor::minimal("agent", "1");
    let binding = Binding::new(ledger.clone(), opening.clone(), minimal.clone());
    let mut stream = Captured::new(ledger.clone(), Lines::Events(binding), limits.fact_bytes);
    for piece in output.chunks(37) {
        stream.write(Bytes::copy_from_slice(piece)).unwrap();
    }
    stream.finish().unwrap();
    opening.start(&minimal).unwrap();
    ledger.stop(StopReason::Converged, None).unwrap();
});
