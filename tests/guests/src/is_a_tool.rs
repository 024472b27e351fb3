//! A component that is tools: described with nothing granted, each call in an instance of its own.

mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wit_bindgen::generate!({ path: "../../wit", world: "tool-component" });
}

use std::cell::Cell;

use bindings::exports::wasm_agent::agent::tool_provider::{Guest, ToolOutput};
use bindings::wasm_agent::agent::trajectory::ResultBlock;
use bindings::wasm_agent::agent::types::Tool;

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

struct Tools;

impl Guest for Tools {
    fn describe() -> Vec<Tool> {
        ["count", "look", "fail", "loop", "trap"]
            .map(|name| Tool {
                name: name.to_owned(),
                description: Some(format!("Can {name}.")),
                input_schema: Some(r#"{"type":"object","maxProperties":1}"#.to_owned()),
                output_schema: None,
                mcp_server_id: None,
            })
            .to_vec()
    }

    fn call(name: String, arguments: String) -> Result<ToolOutput, String> {
        let text = match name.as_str() {
            "count" => {
                CALLS.set(CALLS.get() + 1);
                format!("call {} with {arguments}", CALLS.get())
            }
            "look" => {
                let variables = std::env::vars().count();
                let arguments = std::env::args().count();
                let root = std::fs::read_dir("/").is_ok();
                let network = std::net::TcpStream::connect("127.0.0.1:80").is_ok();
                format!(
                    "{variables} variables, {arguments} arguments, root {root}, network {network}"
                )
            }
            "loop" => loop {
                std::hint::spin_loop();
            },
            "trap" => panic!("on purpose"),
            _ => return Err("that is not how to use it".to_owned()),
        };
        Ok(ToolOutput {
            content: vec![ResultBlock::Text(text)],
            structured: (name == "count").then(|| r#"{"counted":true}"#.to_owned()),
        })
    }
}

bindings::export!(Tools with_types_in bindings);
