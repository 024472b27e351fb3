use serde_json::json;
use wasm_agent_sdk::Output;
use wasm_agent_sdk::model::Reply;
use wasm_agent_sdk::session::Access;
use wasm_agent_sdk::testing::{Fact, TestHost, Trial, commission_for};
use wasm_agent_sdk::trajectory::{StopReason, ToolCall};

use super::assistant;

fn call(id: &str, name: &str, input: serde_json::Value) -> Reply {
    Reply::new().with_tool_use(ToolCall::new(id, name, input))
}

fn run(host: TestHost, replies: impl IntoIterator<Item = Reply, IntoIter: 'static>) -> Trial {
    host.replies(replies)
        .run(assistant, commission_for(&assistant, "Note it down."))
}

#[test]
fn a_note_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let host = TestHost::new().directory("/work", dir.path(), Access::ReadWrite);
    let trial = run(
        host,
        [
            call(
                "c1",
                "write_file",
                json!({"file_path": "note.md", "content": "# Note\n"}),
            ),
            call(
                "c2",
                "edit_file",
                json!({"file_path": "note.md", "old_text": "Note", "new_text": "Notes"}),
            ),
            Reply::new().with_text("Noted."),
        ],
    );
    assert_eq!(trial.result, Ok(Output::text("Noted.")));
    let note = std::fs::read_to_string(dir.path().join("note.md")).unwrap();
    assert_eq!(note, "# Notes\n");
}

#[test]
fn it_works_where_nothing_is_granted() {
    let trial = run(
        TestHost::new(),
        [
            call("c1", "list_dir", json!({"dir_path": ""})),
            Reply::new().with_text("I have no files."),
        ],
    );
    assert_eq!(trial.result, Ok(Output::text("I have no files.")));
    assert!(trial.tool_results().all(|result| result.is_error));
}

#[test]
fn the_explorer_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let host = TestHost::new().directory("/work", dir.path(), Access::ReadWrite);
    let trial = run(
        host,
        [
            call("c1", "task", json!({"prompt": "Look around."})),
            call(
                "c2",
                "write_file",
                json!({"file_path": "note.md", "content": ""}),
            ),
            Reply::new().with_text("Nothing is there."),
            Reply::new().with_text("There are no files."),
        ],
    );
    assert_eq!(trial.result, Ok(Output::text("There are no files.")));
    assert!(!dir.path().join("note.md").exists());
    let closed = trial.facts.iter().any(|fact| {
        matches!(fact, Fact::SubagentFinished(result) if result.reason == StopReason::Converged)
    });
    assert!(closed);
}
