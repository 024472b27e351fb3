//! The hostile guest of `wasm-agent selftest`.
//!
//! The commission's prompt names a case and, after a blank, what the case needs to know of the host. A
//! case tries one way out and answers `{"held": bool, "saw": "…"}`: whether the wall held as far as it can
//! tell. What became of the disk and of the account is for the host to look at. A case that the host should
//! end does not come back.

mod account;
mod cow;
mod disk;
mod environment;
mod handles;
mod links;
mod memory;
mod metered;
mod paths;
mod protected;
mod quota;
mod readonly;
mod required;
mod single_file;
mod special;
mod storage;
mod time;
mod tools;
mod trial;

use trial::Trial;
use wasm_agent_sdk::{Agent, Commission, Descriptor, Error, Output, Result, Tool, agent};

/// What is tried, and what with.
type Case = fn(&mut Trial, &str);

const CASES: &[&[(&str, Case)]] = &[
    paths::CASES,
    links::CASES,
    readonly::CASES,
    special::CASES,
    protected::CASES,
    single_file::CASES,
    cow::CASES,
    quota::CASES,
    memory::CASES,
    metered::CASES,
    account::CASES,
    required::CASES,
    storage::CASES,
    time::CASES,
    environment::CASES,
    handles::CASES,
    tools::CASES,
];

#[global_allocator]
static ALLOCATOR: time::Stalling = time::Stalling;

struct Escape;

impl Agent for Escape {
    /// Tells what can be seen from here, where there should be nothing.
    fn describe() -> Descriptor {
        Descriptor::new("escape", "0.1.0")
            .tool(Tool::new("granted"))
            .capability(environment::seen_while_describing())
    }

    fn run(commission: Commission) -> Result<Output> {
        let (id, arg) = match commission.prompt().split_once(' ') {
            Some((id, arg)) => (id, arg),
            None => (commission.prompt(), ""),
        };
        let (_, case) = CASES
            .iter()
            .flat_map(|cases| cases.iter())
            .find(|(name, _)| *name == id)
            .ok_or_else(|| Error::new(format!("there is no case `{id}` in the guest")))?;
        let mut trial = Trial::default();
        case(&mut trial, arg);
        Ok(Output::Json(trial.to_json()))
    }
}

agent!(Escape);
