//! Everything an agent can notice of the outside is on the tape: time, randomness, waiting, budgets, files.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    let mut seen = Map::new();
    let start = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    seen.insert("wall".to_owned(), json!(wall.as_nanos().to_string()));
    // The order of a hash map follows from the random seed of the process.
    let map: HashMap<u32, u32> = (0..20).map(|n| (n, n)).collect();
    seen.insert("order".to_owned(), json!(map.keys().collect::<Vec<_>>()));
    std::thread::sleep(Duration::from_millis(20));
    seen.insert(
        "slept".to_owned(),
        json!(start.elapsed().as_nanos().to_string()),
    );
    let budget = session::budget();
    seen.insert("left".to_owned(), json!(budget.wall_ms));
    seen.insert("session".to_owned(), json!(session::info().session_id));
    seen.insert("files".to_owned(), json!(files("/work")));
    trajectory::assistant(Turn::new().text(format!("it is {}", wall.as_nanos())))?;
    if let Some(prompt) = &commission.prompt
        && prompt.contains("spin")
    {
        let mut rounds = 0_u64;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(5) {
            rounds += 1;
        }
        seen.insert("rounds".to_owned(), json!(rounds));
    }
    let written = std::fs::write("/work/new", format!("{wall:?}"));
    seen.insert(
        "written".to_owned(),
        json!(written.map_err(|error| error.kind().to_string())),
    );
    Ok(Value::Object(seen))
}

/// Names, sizes and times of what is in a directory.
fn files(dir: &str) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let described = entries.flatten().map(|entry| {
        let meta = entry.metadata().unwrap();
        let age = meta.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
        json!([
            entry.file_name().to_string_lossy(),
            meta.len(),
            age.as_nanos().to_string()
        ])
    });
    described.collect()
}
