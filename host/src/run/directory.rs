//! Run directories: where the account of each run is kept.
//!
//! ```text
//! <runs>/<session id>/run.json        what was asked; written before the first guest instruction
//!                     events.ndjson   what happened; see `trajectory::journal`
//!                     checkpoint      the agent's own state, if it saved any
//!                     artifacts/      what the agent handed over
//! ```

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::capabilities::filesystem::cow::Workspace;
use crate::capabilities::filesystem::remove_tree;
use crate::error::Hint;
use crate::foreign;

/// Version of `run.json`.
pub const FORMAT: &str = "wasm-agent/run@1";

/// The folder all run directories are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunsDir(PathBuf);

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
    session_id: String,
}

/// Whether somebody still writes to a run directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// A host does.
    Running,
    /// Nobody does: the run is over, or its host died.
    Over,
    /// It cannot be told: the file system has no locks.
    Unknown,
}

/// A run directory cannot be made, read or removed.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum DirectoryError {
    #[error("cannot find the data directory of this user: {reason}")]
    NoHome { reason: String },
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("there is no run `{id}` in `{}`", runs.display())]
    NoSuchRun { id: String, runs: PathBuf },
    #[error("`{}` is not the directory of a run", path.display())]
    NoRun { path: PathBuf },
    #[error("cannot {action} run `{id}`: it still goes on")]
    Running { action: &'static str, id: String },
    #[error("cannot remove run `{id}`: an attempt to {what} was cut off, and has not been undone")]
    CutOff {
        id: String,
        what: &'static str,
        undo: String,
    },
    #[error("`{id}` is the beginning of more than one run: {}", matches.join(", "))]
    Ambiguous { id: String, matches: Vec<String> },
}

impl Hint for DirectoryError {
    fn hint(&self) -> Option<String> {
        match self {
            DirectoryError::NoHome { .. } => Some("name a folder with `--runs-dir`".to_owned()),
            DirectoryError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => {
                    Some("free some space, or choose another place with `--runs-dir`".to_owned())
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Some("choose a folder you can write to with `--runs-dir`".to_owned())
                }
                _ => None,
            },
            DirectoryError::NoSuchRun { .. } => {
                Some("`wasm-agent runs list` shows what there is".to_owned())
            }
            DirectoryError::NoRun { .. } => {
                Some("name the folder that has its `run.json`".to_owned())
            }
            DirectoryError::Running { .. } => {
                Some("interrupt it, or wait until it is over".to_owned())
            }
            DirectoryError::CutOff { undo, .. } => Some(format!("`{undo}` undoes it")),
            DirectoryError::Ambiguous { .. } => Some("write more of the id".to_owned()),
        }
    }
}

impl RunsDir {
    /// The platform's place for it: `$XDG_DATA_HOME/wasm-agent/runs` and its like.
    ///
    /// # Errors
    ///
    /// The user has no home directory.
    pub fn platform() -> Result<RunsDir, DirectoryError> {
        let strategy = choose_base_strategy().map_err(|error| DirectoryError::NoHome {
            reason: error.to_string(),
        })?;
        Ok(RunsDir(strategy.data_dir().join("wasm-agent").join("runs")))
    }

    /// A folder of the caller's choice.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> RunsDir {
        RunsDir(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory of a new run. Its name is the run's session id: the time, so that names
    /// sort, and some randomness, so that they never clash.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub fn create(&self) -> Result<RunDir, DirectoryError> {
        create_private(&self.0)?;
        let session_id = new_session_id();
        let path = self.0.join(&session_id);
        create_private(&path)?;
        Ok(RunDir { path, session_id })
    }

    /// Ids of all runs, newest first.
    ///
    /// # Errors
    ///
    /// The folder is there but cannot be read.
    pub fn list(&self) -> Result<Vec<RunDir>, DirectoryError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.io("read")(source)),
        };
        let mut runs: Vec<RunDir> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("run.json").is_file())
            .filter_map(|entry| {
                let session_id = entry.file_name().into_string().ok()?;
                Some(RunDir {
                    path: entry.path(),
                    session_id,
                })
            })
            .collect();
        runs.sort_by(|a, b| b.session_id.cmp(&a.session_id));
        Ok(runs)
    }

    /// As [`RunsDir::find`], or the run directory at a path: whatever has a slash in it.
    ///
    /// # Errors
    ///
    /// There is none, or the id is not clear.
    pub fn find_or_open(&self, run: &str) -> Result<RunDir, DirectoryError> {
        if !run.contains('/') {
            return self.find(run);
        }
        let path = Path::new(run);
        let no_such = || DirectoryError::NoRun {
            path: path.to_owned(),
        };
        let name = path.file_name().and_then(|name| name.to_str());
        match name {
            Some(name) if path.join("run.json").is_file() => Ok(RunDir {
                path: path.to_owned(),
                session_id: name.to_owned(),
            }),
            _ => Err(no_such()),
        }
    }

    /// Finds a run by the beginning of its session id; `latest` is the newest one.
    ///
    /// # Errors
    ///
    /// None, or more than one, begins like that.
    pub fn find(&self, id: &str) -> Result<RunDir, DirectoryError> {
        let mut runs = self.list()?;
        let no_such = || DirectoryError::NoSuchRun {
            id: id.to_owned(),
            runs: self.0.clone(),
        };
        if id == "latest" {
            return runs.into_iter().next().ok_or_else(no_such);
        }
        runs.retain(|run| !id.is_empty() && run.session_id.starts_with(id));
        if let Some(exact) = runs.iter().position(|run| run.session_id == id) {
            return Ok(runs.swap_remove(exact));
        }
        match runs.len() {
            0 => Err(no_such()),
            1 => Ok(runs.swap_remove(0)),
            _ => {
                let matches = runs.into_iter().map(|run| run.session_id).collect();
                Err(DirectoryError::Ambiguous {
                    id: id.to_owned(),
                    matches,
                })
            }
        }
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> DirectoryError {
        let path = self.0.clone();
        move |source| DirectoryError::Io {
            action,
            path,
            source,
        }
    }
}

impl RunDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's session id.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// The event log.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join("events.ndjson")
    }

    /// Writes `run.json`; its bytes are the beginning of the hash chain.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_request(&self, request: &Value) -> Result<Vec<u8>, DirectoryError> {
        let mut bytes = serde_json::to_vec_pretty(request).unwrap_or_default();
        bytes.push(b'\n');
        let path = self.path.join("run.json");
        tempfile::NamedTempFile::new_in(&self.path)
            .and_then(|mut file| file.write_all(&bytes).map(|()| file))
            .and_then(|file| Ok(file.persist(&path)?))
            .map_err(|source| DirectoryError::Io {
                action: "write",
                path,
                source,
            })?;
        Ok(bytes)
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not JSON.
    pub fn read_request(&self) -> Result<Value, DirectoryError> {
        let path = self.path.join("run.json");
        let io = |source| DirectoryError::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        let bytes = foreign::read_json(&path).map_err(io)?;
        serde_json::from_slice(&bytes).map_err(|error| io(io::Error::other(error)))
    }

    /// Whether a host still writes to it. Asked by locking the log for a moment, which its journal has locked.
    #[must_use]
    pub fn life(&self) -> Life {
        let Ok(log) = File::open(self.events()) else {
            // It is created with the run.
            return Life::Over;
        };
        match log.try_lock_shared() {
            Ok(()) => Life::Over,
            Err(TryLockError::WouldBlock) => Life::Running,
            Err(TryLockError::Error(_)) => Life::Unknown,
        }
    }

    /// Refuses to `action` a run that goes on.
    ///
    /// # Errors
    ///
    /// It goes on.
    pub fn is_over_to(&self, action: &'static str) -> Result<(), DirectoryError> {
        match self.life() {
            Life::Running => Err(DirectoryError::Running {
                action,
                id: self.session_id.clone(),
            }),
            Life::Over | Life::Unknown => Ok(()),
        }
    }

    /// Refuses to remove what it takes to put a directory of the operator's right again.
    ///
    /// # Errors
    ///
    /// Applying the run's changes, or putting things back for it, was cut off.
    pub fn is_at_rest(&self) -> Result<(), DirectoryError> {
        let id = self.session_id.clone();
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let (what, undo) = match name.as_ref() {
                "cow" => (
                    "apply its changes",
                    format!("wasm-agent apply {id} --discard"),
                ),
                name if name.starts_with("found-") => (
                    "put things back for it",
                    format!("wasm-agent run --resume {id}"),
                ),
                _ => continue,
            };
            let folders = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            if folders
                .into_iter()
                .any(|folder| Workspace::is_cut_off(&folder.path()))
            {
                return Err(DirectoryError::CutOff { id, what, undo });
            }
        }
        Ok(())
    }

    /// Removes the directory and everything in it. One that could not be removed whole is still a run.
    ///
    /// # Errors
    ///
    /// The run goes on, or is not at rest, or something in it cannot be removed.
    pub fn remove(self) -> Result<(), DirectoryError> {
        self.is_over_to("remove")?;
        self.is_at_rest()?;
        // Without `run.json` it would not be listed any more, whatever is left of it.
        remove_tree(&self.path, Some("run.json")).map_err(|source| DirectoryError::Io {
            action: "remove",
            path: self.path.clone(),
            source,
        })
    }
}

/// `20261121-053000-9f3a1c07`: UTC time to the microsecond, the last part of it in hexadecimal, and 12
/// random bits. Names sort in the order in which runs were started, those of one second included.
pub(crate) fn new_session_id() -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let mut random = [0; 2];
    if getrandom::fill(&mut random).is_err() {
        // Without randomness two runs of one microsecond could clash; creating the log then fails.
        let [.., a, b] = std::process::id().to_be_bytes();
        random = [a, b];
    }
    let random = u16::from_be_bytes(random) & 0xfff;
    let micros = now.subsec_nanosecond() / 1000;
    format!("{}-{micros:05x}{random:03x}", now.strftime("%Y%m%d-%H%M%S"))
}

/// Run directories hold whatever an agent has seen: they are for their owner only.
fn create_private(path: &Path) -> Result<(), DirectoryError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| DirectoryError::Io {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_in_the_order_in_which_they_were_made() {
        let ids: Vec<_> = (0..20)
            .map(|_| {
                std::thread::sleep(std::time::Duration::from_micros(2));
                new_session_id()
            })
            .collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert!(
            ids.iter()
                .all(|id| id.len() == "20261121-053000-1f3a9c07".len()),
            "{ids:?}"
        );
    }

    #[test]
    fn a_run_is_found_by_the_beginning_of_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let runs = RunsDir::at(dir.path());
        assert!(matches!(
            runs.find("latest"),
            Err(DirectoryError::NoSuchRun { .. })
        ));
        for id in ["20260101-000000-aaaaaaaa", "20260102-000000-bbbbbbbb"] {
            fs::create_dir(dir.path().join(id)).unwrap();
            fs::write(dir.path().join(id).join("run.json"), "{}").unwrap();
        }
        assert_eq!(
            runs.find("20260101").unwrap().session_id(),
            "20260101-000000-aaaaaaaa"
        );
        assert_eq!(
            runs.find("latest").unwrap().session_id(),
            "20260102-000000-bbbbbbbb"
        );
        assert!(matches!(
            runs.find("2026"),
            Err(DirectoryError::Ambiguous { .. })
        ));
        for id in ["", "..", "x"] {
            assert!(
                matches!(runs.find(id), Err(DirectoryError::NoSuchRun { .. })),
                "{id}"
            );
        }
    }
}
