//! An agent has the variables, arguments and directories it was granted, and no others.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(_: Commission) -> Result<Value> {
    let info = session::info();
    let root: Result<Vec<String>, String> = std::fs::read_dir("/")
        .map(|entries| {
            entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect()
        })
        .map_err(|error| error.kind().to_string());
    Ok(json!({
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "args": std::env::args().collect::<Vec<_>>(),
        "dirs": info.directories.iter().map(|d| format!("{} {:?}", d.path, d.access)).collect::<Vec<_>>(),
        "root": root,
        "run_id": info.run_id,
        "has_session_id": !info.session_id.is_empty(),
        "stdin": std::io::read_to_string(std::io::stdin()).map_err(|error| error.kind().to_string()),
    }))
}
