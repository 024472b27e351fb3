//! Whatever a provider streams, it is events or refused; how it is cut into pieces does not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::model::sse::Parser;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let parse = |size: usize| {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in bytes.chunks(size) {
            match parser.feed(piece) {
                Ok(more) => events.extend(more),
                Err(_) => return None,
            }
        }
        events.extend(parser.finish());
        Some(events)
    };
    assert_eq!(parse(usize::from(size) + 1), parse(bytes.len().max(1)));
});
