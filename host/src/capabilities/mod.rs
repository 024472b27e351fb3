//! What a guest can call: one file a WIT interface, and nothing else in them.
//!
//! A capability converts arguments, asks the ledger or the session, and converts the answer. It decides
//! nothing about how a run is supervised, and knows nobody who starts one.

pub mod activity;
mod clocks;
pub mod content;
mod contents;
pub mod filesystem;
pub(crate) mod http;
mod link;
pub mod meters;
pub mod model;
mod poll;
pub mod random;
pub mod session;
pub mod state;
pub mod stdio;
pub mod storage;
mod streams;
pub mod tools;
pub mod trajectory;
mod witness;

pub use witness::Witness;

pub(crate) use link::link;

/// Types and traits generated from `wit/`.
#[expect(missing_docs, reason = "generated; the WIT documents every item")]
pub mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "agent",
        // Host functions are async so that a slow listener can hold a guest back, and trappable so that
        // a host that cannot keep the account any more ends the run instead of lying to the guest.
        imports: { default: async | trappable },
        exports: { default: async },
        with: { "wasm-agent:agent/model.completion": crate::capabilities::model::Arriving },
    });

    /// The world of a component that is a tool.
    pub mod tool {
        wasmtime::component::bindgen!({
            path: "wit",
            world: "tool-component",
            imports: { default: async | trappable },
            exports: { default: async },
            with: {
                "wasm-agent:agent/types": super::wasm_agent::agent::types,
                "wasm-agent:agent/trajectory": super::wasm_agent::agent::trajectory,
            },
        });
    }
}
