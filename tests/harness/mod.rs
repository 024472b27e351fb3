//! Runs the program and reads what it leaves behind.

mod account;
mod anthropic;
mod disk;
mod leaks;
mod provider;
mod redact;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use self::account::Account;
pub(crate) use self::anthropic::{Anthropic, Received};
pub(crate) use self::disk::SmallDisk;
pub(crate) use self::leaks::{assert_no_secret, assert_no_secret_in};
pub(crate) use self::provider::Provider;
pub(crate) use self::redact::redact;

/// No test waits longer for a process than this; then it is a failure. Far beyond what any needs, as it
/// has to hold on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(180);

/// Compares with an inline snapshot what was run, how it ended and what it printed.
macro_rules! snapshot {
    ($done:expr, @$snapshot:literal) => {
        ::insta::assert_snapshot!($done.shown(), @$snapshot)
    };
}
pub(crate) use snapshot;

/// A folder for one test: its runs, and whatever it makes for its agents. Gone afterwards.
pub(crate) struct Lab {
    dir: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab {
            dir: TempDir::new().unwrap(),
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Makes a file, and the folders it is in.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.arg(name)
    }

    /// Makes a folder.
    pub(crate) fn folder(&self, name: &str) -> String {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self.arg(name)
    }

    /// The program with these arguments; run it with [`Call::done`].
    pub(crate) fn call<I: AsRef<str>>(&self, args: impl IntoIterator<Item = I>) -> Call<'_> {
        Call::new(
            self,
            args.into_iter()
                .map(|arg| arg.as_ref().to_owned())
                .collect(),
        )
    }

    /// `wasm-agent run GUEST TASK`.
    pub(crate) fn run(&self, guest: &str, task: &str) -> Call<'_> {
        self.call(["run", guest, task])
    }

    /// The accounts of all runs so far, oldest first.
    pub(crate) fn accounts(&self) -> Vec<Account> {
        let Ok(entries) = std::fs::read_dir(self.path("runs")) else {
            return Vec::new();
        };
        let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // One that is being made has no account yet.
        dirs.retain(|dir| dir.join("events.ndjson").exists());
        dirs.sort();
        dirs.into_iter().map(Account::read).collect()
    }

    /// The account of the only run.
    pub(crate) fn account(&self) -> Account {
        let mut accounts = self.accounts();
        assert_eq!(accounts.len(), 1, "there is one run");
        accounts.remove(0)
    }
}

/// One call of the program.
pub(crate) struct Call<'a> {
    lab: &'a Lab,
    args: Vec<String>,
    stdin: Vec<u8>,
    verified: bool,
    command: Command,
}

impl<'a> Call<'a> {
    fn new(lab: &'a Lab, args: Vec<String>) -> Call<'a> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasm-agent"));
        // Nothing of the caller's environment decides how a test ends.
        command.env_clear().current_dir(lab.dir.path());
        command.env("WASM_AGENT_RUNS_DIR", lab.path("runs"));
        command.env("WASM_AGENT_CACHE_DIR", warm_cache());
        command.env("HOME", lab.dir.path());
        Call {
            lab,
            args,
            stdin: Vec::new(),
            verified: true,
            command,
        }
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub(crate) fn args<I: Into<String>>(mut self, args: impl IntoIterator<Item = I>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn limit(self, limit: &str) -> Self {
        self.arg("--limit").arg(limit)
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs it through a shell command that ends in `"$@"`.
    pub(crate) fn under(mut self, script: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", script, "sh"])
            .arg(self.command.get_program());
        shell.env_clear().current_dir(self.lab.dir.path());
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        self.command = shell;
        self
    }

    /// Lets it find the Rust toolchain of whoever runs the tests.
    pub(crate) fn toolchain(mut self) -> Self {
        let home = std::env::var("HOME").unwrap_or_default();
        for (name, default) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let dir = std::env::var(name).unwrap_or_else(|_| format!("{home}/{default}"));
            self.command.env(name, dir);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        self.command.env("PATH", path);
        self
    }

    /// For a run whose account cannot be closed.
    pub(crate) fn unverified(mut self) -> Self {
        self.verified = false;
        self
    }

    /// Starts it with all streams piped; whoever calls reads them.
    pub(crate) fn spawn(mut self) -> Running {
        self.command.args(&self.args);
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Running {
            child: self.command.spawn().unwrap(),
        }
    }

    /// Runs it to its end. Every trajectory it leaves behind has to pass `verify`, and nothing it leaves behind
    /// may have a secret it was given.
    pub(crate) fn done(mut self) -> Done {
        let lab = self.lab;
        let stdin = lab.path(".stdin");
        std::fs::write(&stdin, &self.stdin).unwrap();
        self.command
            .args(&self.args)
            .stdin(File::open(stdin).unwrap());
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let before = run_dirs(lab);
        let secrets = self.secrets();
        let mut running = Running {
            child: self.command.spawn().unwrap(),
        };
        let stdout = read_all(running.child.stdout.take().unwrap());
        let stderr = read_all(running.child.stderr.take().unwrap());
        let status = running.wait();
        let done = Done {
            args: self.args,
            status,
            stdout: stdout.recv_timeout(PATIENCE).unwrap(),
            stderr: stderr.recv_timeout(PATIENCE).unwrap(),
            lab_dir: lab.dir.path().to_owned(),
        };
        if self.verified {
            for dir in run_dirs(lab)
                .into_iter()
                .filter(|dir| !before.contains(dir))
            {
                verify(&dir);
            }
        }
        // Not in what is kept of any run, and not in anything that is said.
        for secret in &secrets {
            for dir in run_dirs(lab) {
                assert_no_secret(&dir, secret);
            }
            assert_no_secret_in("standard output", &done.stdout, secret);
            assert_no_secret_in("standard error", &done.stderr, secret);
        }
        done
    }

    /// The secrets it is given in its environment. One that is told to let them pass is not searched, and
    /// neither are values that are too short to be secrets.
    fn secrets(&self) -> Vec<String> {
        if self.args.iter().any(|arg| arg == "warn") {
            return Vec::new();
        }
        self.command
            .get_envs()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"WASM_AGENT_SECRET_"))
            .filter_map(|(_, value)| value?.to_str().map(str::to_owned))
            .filter(|value| value.len() >= 12)
            .collect()
    }
}

fn run_dirs(lab: &Lab) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(lab.path("runs")) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("run.json").is_file())
        .collect()
}

/// What the host writes, the judge accepts.
#[track_caller]
pub(crate) fn verify(path: &Path) {
    let verdict = verdict(path);
    assert!(verdict.0, "verify {}:\n{}", path.display(), verdict.1);
}

/// Whether the judge accepts it, and what it says.
pub(crate) fn verdict(path: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_wasm-agent"))
        .arg("verify")
        .arg(path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A process that is running. Killed when the test ends before it does.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    /// Waits for the end; a process that does not end fails the test.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begin = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "the process does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Lines of standard error as they come.
    pub(crate) fn stderr_lines(&mut self) -> mpsc::Receiver<String> {
        use std::io::{BufRead, BufReader};
        let stderr = BufReader::new(self.child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the first line that contains `text`.
pub(crate) fn wait_for(lines: &mpsc::Receiver<String>, text: &str) {
    loop {
        let line = lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("`{text}` does not come"));
        if line.contains(text) {
            return;
        }
    }
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says why a test could not do on this machine what it is there for.
#[expect(clippy::print_stderr, reason = "it is said to whoever runs the tests")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

fn read_all(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        // The test may have failed meanwhile.
        let _ = sender.send(bytes);
    });
    receiver
}

/// One cache for all tests and for the next time, so that each guest is compiled once.
pub(crate) fn warm_cache() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    dir
}

/// A call of the program that has ended.
pub(crate) struct Done {
    args: Vec<String>,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    lab_dir: PathBuf,
}

impl Done {
    /// The exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("{}\n{}", self.status, self.stderr()))
    }

    /// Fails unless this is the exit code; prints everything then.
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Done {
        assert_eq!(self.code(), code, "{}", self.shown());
        self
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.stderr.clone()).unwrap()
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.shown()))
    }

    /// Command, exit code and both streams, without what differs from one time to the next.
    pub(crate) fn shown(&self) -> String {
        let text = format!(
            "$ wasm-agent {}\nexit {}\n----- stdout -----\n{}----- stderr -----\n{}",
            self.args.join(" "),
            self.status
                .code()
                .map_or_else(|| self.status.to_string(), |code| code.to_string()),
            self.stdout(),
            self.stderr(),
        );
        redact(&text, &self.lab_dir)
    }
}
