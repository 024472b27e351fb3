//! A component that exports neither entry point is no agent.

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wit_bindgen::generate!({
        inline: r#"
            package test:library;

            world library {
                export add: func(a: u32, b: u32) -> u32;
            }
        "#,
    });
}

struct Library;

impl bindings::Guest for Library {
    fn add(a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
}

bindings::export!(Library with_types_in bindings);
