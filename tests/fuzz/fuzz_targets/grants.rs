//! Whatever a grants file holds, it is read or refused.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use wasm_agent::grants::GrantsFile;

fuzz_target!(|text: &str| {
    let _ = GrantsFile::parse(text, Path::new("/grants.toml"));
});
