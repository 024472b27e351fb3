//! An import this host does not have is named before anything runs.

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wit_bindgen::generate!({
        inline: r#"
            package test:teleport@1.0.0;

            interface beam {
                up: func(who: string) -> bool;
            }

            world traveller {
                import beam;
                export wasi:cli/run@0.2.3;
            }

            package wasi:cli@0.2.3 {
                interface run {
                    run: func() -> result;
                }
            }
        "#,
    });
}

struct Traveller;

impl bindings::exports::wasi::cli::run::Guest for Traveller {
    fn run() -> Result<(), ()> {
        if bindings::test::teleport::beam::up("Scotty") {
            Ok(())
        } else {
            Err(())
        }
    }
}

bindings::export!(Traveller with_types_in bindings);
