//! A program of effects, given as the task: whatever is done in whatever order, a run is repeated and gone on
//! with.

mod ask;

use std::fmt::Debug;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wasm_agent_sdk::trajectory::{self, Turn};
use wasm_agent_sdk::{Commission, Result, agent, session};

agent!(run);

fn run(commission: Commission) -> Result<Value> {
    let program: Vec<Vec<String>> = serde_json::from_str(commission.prompt())?;
    let start = Instant::now();
    let mut seen = Vec::new();
    for step in &program {
        let step: Vec<&str> = step.iter().map(String::as_str).collect();
        seen.push(follow(&step, start)?);
    }
    Ok(Value::Array(seen))
}

fn follow(step: &[&str], start: Instant) -> Result<Value> {
    Ok(match *step {
        ["time"] => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            json!(now.as_nanos().to_string())
        }
        ["elapsed"] => json!(start.elapsed().as_nanos().to_string()),
        ["random"] => json!(RandomState::new().hash_one(0).to_string()),
        ["sleep", millis] => {
            std::thread::sleep(Duration::from_millis(millis.parse().unwrap()));
            Value::Null
        }
        ["budget"] => json!(session::budget().wall_ms),
        ["turn", text] => {
            trajectory::assistant(Turn::new().text(text))?;
            Value::Null
        }
        ["write", path, text] => told(fs::write(path, text)),
        ["append", path, text] => told(
            fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes())),
        ),
        ["remove", path] => told(fs::remove_file(path)),
        ["rename", from, to] => told(fs::rename(from, to)),
        ["read", path] => told(fs::read_to_string(path)),
        ["list", path] => told(fs::read_dir(path).map(|entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            names.collect::<Vec<_>>()
        })),
        ["ask", text] => {
            told(ask::model::complete(&ask::says(text)).map(|reply| ask::texts(&reply.content)))
        }
        ["stream", text] => match ask::model::stream(&ask::says(text)) {
            Ok(completion) => {
                let mut pieces = Vec::new();
                while let Ok(Some(delta)) = completion.next() {
                    pieces.push(format!("{delta:?}"));
                }
                json!(pieces)
            }
            Err(error) => json!(format!("{error:?}")),
        },
        // It loses its patience after the first piece.
        ["glance", text] => match ask::model::stream(&ask::says(text)) {
            Ok(completion) => told(completion.next()),
            Err(error) => json!(format!("{error:?}")),
        },
        ["save", text] => told(session::save(text.as_bytes())),
        ["load"] => told(session::load()),
        _ => json!("no such step"),
    })
}

fn told<T: Debug, E: Debug>(result: std::result::Result<T, E>) -> Value {
    json!(format!("{result:?}"))
}
