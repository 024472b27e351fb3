//! `describe` has no directory, no variable, no argument, and cannot report or store anything.

use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Agent, Commission, Descriptor, Output, Result, agent, session};

struct Nosy;

impl Agent for Nosy {
    fn describe() -> Descriptor {
        let mut seen = Descriptor::new("nosy", "1.0.0");
        let found = [
            ("variables", std::env::vars().count() > 0),
            ("arguments", std::env::args().count() > 0),
            ("directories", !session::info().directories.is_empty()),
            ("work", std::fs::read_dir("/work").is_ok()),
            ("root", std::fs::read_dir("/").is_ok()),
            (
                "report",
                trajectory::assistant(Turn::new().text("x")).is_ok(),
            ),
            ("progress", trajectory::progress("x", None).is_ok()),
            ("save", session::save(b"x").is_ok()),
            (
                "artifact",
                session::submit_artifact("a", "text/plain", b"x").is_ok(),
            ),
        ];
        for (what, is_there) in found {
            if is_there {
                seen = seen.capability(what);
            }
        }
        println!("describe prints");
        seen
    }

    fn run(_: Commission) -> Result<Output> {
        Ok(Output::text("ran"))
    }
}

agent!(Nosy);
