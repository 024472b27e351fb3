//! A tool server that is a program: started with a clean environment, ended with everything it started.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::grants::CommandLine;
use crate::grants::tools::find_program;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// How long a server may take to end once it is told to.
const TOLD: Duration = Duration::from_secs(1);

/// A running program and the processes it started. Dropping it kills them all.
pub(super) struct Process {
    child: Child,
    /// The group of the program, while it has not been reaped: the number may be somebody else's later.
    group: Option<Pid>,
    /// `HOME`, `TMPDIR` and, unless the operator names another, the working directory of the program; removed with it.
    _home: TempDir,
}

/// The streams of a program.
pub(super) struct Streams {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Process {
    /// Starts `line` in a process group of its own.
    ///
    /// It starts in an empty directory, unless the operator names another: many programs run what they find in their
    /// working directory, and the host's is often one an agent may write to. Paths in the line lead where they lead from
    /// the host's.
    ///
    /// Its environment is what was granted, and: `PATH`, because programs such as `npx` find others by it;
    /// `HOME` and `TMPDIR`, an empty directory that is removed afterwards.
    ///
    /// # Errors
    ///
    /// There is no such program, or it cannot be started.
    pub(super) fn start(line: &CommandLine) -> io::Result<(Process, Streams)> {
        let placed = line.from_here();
        let (program, args) = placed
            .words
            .split_first()
            .ok_or_else(|| io::Error::other("the command names no program"))?;
        let home = tempfile::Builder::new().prefix("wasm-agent-").tempdir()?;
        let cwd = line.cwd.as_deref();
        // Found from here: what `PATH` says in relative terms is not meant from there.
        let found = find_program(program, cwd.unwrap_or(Path::new("")))
            .and_then(|path| std::path::absolute(path).ok());
        let mut command = Command::new(found.as_deref().unwrap_or(Path::new(program)));
        command.args(args);
        if !down(Wall::ServerDirectory) {
            command.current_dir(cwd.unwrap_or(home.path()));
        }
        if !down(Wall::ServerEnvironment) {
            command.env_clear();
        }
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .envs(&line.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let missing = || io::Error::other("the program has no standard streams");
        let streams = Streams {
            stdin: child.stdin.take().ok_or_else(missing)?,
            stdout: child.stdout.take().ok_or_else(missing)?,
            stderr: child.stderr.take().ok_or_else(missing)?,
        };
        let process = Process {
            child,
            group,
            _home: home,
        };
        Ok((process, streams))
    }

    /// How it ended, if it has. Whatever it started is killed then.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        // The group is killed while its leader is still there to hold the number.
        let ended = has_ended(self.group);
        if ended {
            self.kill();
        }
        self.child.try_wait().ok().flatten()
    }

    /// Gives it `grace` to end by itself, its input being closed; then tells it to end, and kills what is left.
    pub(super) async fn end(mut self, grace: Duration) {
        if !self.ends_within(grace).await
            && let Some(group) = self.group
        {
            // It may be gone by now.
            let _ = kill_process_group(group, Signal::TERM);
            self.ends_within(TOLD).await;
        }
        self.kill();
        // Reaped, so that no zombie is left of a host that runs many agents.
        let _ = self.child.wait().await;
    }

    async fn ends_within(&self, time: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + time;
        while !has_ended(self.group) {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether the leader of the group has ended, without reaping it.
fn has_ended(group: Option<Pid>) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let Some(pid) = group else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

/// Where `program` would be found, for messages.
pub(super) fn hint(error: &io::Error, program: &str) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => {
            format!("there is no program `{program}` in PATH")
        }
        io::ErrorKind::NotFound => format!("there is no file `{}`", Path::new(program).display()),
        _ => error.to_string(),
    }
}
