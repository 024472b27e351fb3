//! Whatever a model's provider answers: no panic, and pieces of calls only after their beginning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wasm_agent::model::Delta;
use wasm_agent::model::gemini::Gemini;
use wasm_agent::model::openai_chat::ChatCompletions;
use wasm_agent::model::openai_responses::Responses;
use wasm_agent::model::wire::{ServerEvent, Wire};

// The first byte chooses the format, each line is an event.
fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let wire: &dyn Wire = match which % 3 {
        0 => &ChatCompletions,
        1 => &Responses,
        _ => &Gemini,
    };
    let _ = wire.failure(http::StatusCode::BAD_REQUEST, data);
    if let Ok(answer) = serde_json::from_slice(data) {
        let mut decoder = wire.decoder(0);
        let _ = decoder.whole(&answer).and_then(|()| decoder.reply());
    }
    let mut decoder = wire.decoder(0);
    let mut has_call = false;
    for line in String::from_utf8_lossy(data).lines() {
        let event = ServerEvent {
            event: String::new(),
            data: line.to_owned(),
        };
        let Ok(deltas) = decoder.event(&event) else {
            break;
        };
        for delta in deltas {
            has_call |= matches!(delta, Delta::ToolUse { .. });
            assert!(has_call || !matches!(delta, Delta::ToolInput(_)));
        }
    }
    let _ = decoder.reply();
});
