//! What `wit-bindgen` makes of the contract in `wit/`. Agents use the wrappers instead; `agent!` needs
//! the export macro and its types to be reachable.
#![allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "agent",
    pub_export_macro: true,
    export_macro_name: "export_agent",
    default_bindings_module: "wasm_agent_sdk::bindings",
    runtime_path: "::wasm_agent_sdk::wit_bindgen::rt",
    additional_derives: [PartialEq],
});
