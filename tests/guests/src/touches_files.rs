//! Files are readable and writable as granted; nothing leads out of a granted directory.

use std::fs;
use std::io;

use serde_json::{Map, Value, json};
use wasm_agent_sdk::{Commission, Result, agent};

agent!(run);

fn run(_: Commission) -> Result<Value> {
    let mut seen = Map::new();
    let mut note = |what: &str, answer: io::Result<String>| {
        seen.insert(
            what.to_owned(),
            json!(answer.unwrap_or_else(|error| format!("{:?}", error.kind()))),
        );
    };
    let done = |()| "done".to_owned();
    for dir in ["/ro", "/rw"] {
        note(
            &format!("read {dir}"),
            fs::read_to_string(format!("{dir}/file")),
        );
        note(
            &format!("create in {dir}"),
            fs::write(format!("{dir}/new"), "new").map(done),
        );
        note(
            &format!("overwrite in {dir}"),
            fs::write(format!("{dir}/old"), "changed").map(done),
        );
        note(&format!("truncate in {dir}"), {
            fs::OpenOptions::new()
                .write(true)
                .truncate(true)
                .open(format!("{dir}/keep"))
                .map(|_| "done".to_owned())
        });
        note(
            &format!("remove in {dir}"),
            fs::remove_file(format!("{dir}/gone")).map(done),
        );
        note(
            &format!("make a folder in {dir}"),
            fs::create_dir(format!("{dir}/folder")).map(done),
        );
        note(
            &format!("rename in {dir}"),
            fs::rename(format!("{dir}/from"), format!("{dir}/to")).map(done),
        );
        note(
            &format!("dot dot from {dir}"),
            fs::read_to_string(format!("{dir}/../secret")),
        );
        note(
            &format!("deep dot dot from {dir}"),
            fs::read_to_string(format!("{dir}/sub/../../secret")),
        );
        note(
            &format!("link out of {dir}"),
            fs::read_to_string(format!("{dir}/link/secret")),
        );
        note(
            &format!("absolute link out of {dir}"),
            fs::read_to_string(format!("{dir}/absolute")),
        );
    }
    note("host's passwd", fs::read_to_string("/etc/passwd"));
    note("relative", fs::read_to_string("secret"));
    note("proc", fs::read_to_string("/proc/self/environ"));
    note("root", fs::read_dir("/").map(|_| "listed".to_owned()));
    Ok(Value::Object(seen))
}
