//! Exports with the right names and the wrong types are told apart from an agent.

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wit_bindgen::generate!({
        inline: r#"
            package test:impostor;

            world agent {
                export describe: func() -> string;
                export run: func(task: string) -> string;
            }
        "#,
    });
}

struct Impostor;

impl bindings::Guest for Impostor {
    fn describe() -> String {
        "trust me".to_owned()
    }

    fn run(task: String) -> String {
        task
    }
}

bindings::export!(Impostor with_types_in bindings);
