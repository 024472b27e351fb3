//! The agent {{name}}: names the files of `/work` that match the task.

use wasm_agent_sdk::tools::{GrepFiles, Workspace, grep_files};
use wasm_agent_sdk::{Commission, Result, agent, trajectory};

agent!(run);

fn run(commission: Commission) -> Result<String> {
    let Ok(work) = Workspace::open("/work") else {
        return Ok("There is nothing to search: grant a directory with --dir PATH::/work".into());
    };
    let pattern = match commission.prompt().trim() {
        "" => "TODO",
        pattern => pattern,
    };
    trajectory::progress(&format!("searching for {pattern}"), None)?;
    Ok(grep_files(&work, &GrepFiles::new(pattern))?)
}

#[cfg(test)]
mod tests {
    use wasm_agent_sdk::Output;
    use wasm_agent_sdk::session::Access;
    use wasm_agent_sdk::testing::{TestHost, commission};

    #[test]
    fn names_the_files_that_match() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "some hay\na needle\n").unwrap();
        std::fs::write(dir.path().join("b.txt"), "only hay\n").unwrap();
        let host = TestHost::new().directory("/work", dir.path(), Access::ReadOnly);
        let trial = host.run(super::run, commission("ne+dle"));
        assert_eq!(trial.result, Ok(Output::text("/work/a.txt")));
    }

    #[test]
    fn asks_for_a_directory_without_one() {
        let trial = TestHost::new().run(super::run, commission("needle"));
        assert!(matches!(trial.result, Ok(Output::Text(text)) if text.contains("--dir")));
    }
}
