//! Whatever the script of a model holds, it is read or refused.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wasm_agent::model::scripted::format::Script;

fuzz_target!(|text: &str| {
    let _ = Script::parse(text, Path::new("s.toml"));
    let _ = Script::parse(text, Path::new("s.json"));
});
