//! What the host is told about a guest's use of its directories.

use std::fmt;

use crate::capabilities::meters::LimitHit;
use crate::digest::Digest;
use crate::trajectory::Touch;

/// Is told what a guest does to its directories, while it happens.
///
/// Called from blocking threads and never with a lock of this module held. It must not call back into
/// the file system it observes.
pub trait Observer: Send + Sync {
    /// Something was refused by a rule; the guest got an error code and goes on.
    fn denied(&self, denial: Denial);
    /// Something changed on disk.
    fn changed(&self, change: Change);
    /// Content on its way into a file at `offset`: whether it may be written. Asked before every write, on
    /// whatever thread makes it; `file` stays the same for as long as the file is there.
    fn content(
        &self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        path: &dyn Fn() -> String,
    ) -> Content {
        let _ = (file, offset, bytes, path);
        Content::Passes
    }
    /// A path beneath the granted directory `guest` is used as the guest may; `path` is relative to it, empty
    /// for itself. Whether that is news.
    fn touched(&self, guest: &str, path: &str, touch: Touch) -> bool {
        let _ = (guest, path, touch);
        false
    }
    /// Whether so much has been told that the guest should not go on before somebody has heard of it.
    fn is_behind(&self) -> bool {
        false
    }
    /// A limit was hit. Told once a limit and run, however often the guest runs into it.
    fn limit(&self, limit: LimitHit);
}

/// A file of the host: its device and number.
pub type FileId = (u64, u64);

/// What becomes of content on its way into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is written as it is.
    Passes,
    /// This is written instead; it has the same length.
    Instead(Vec<u8>),
    /// It is not written, by this rule.
    Refused(String),
}

/// Something a guest asked for and did not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What was asked for.
    pub operation: Operation,
    /// The path: canonical in the guest's terms when it could be resolved, as given otherwise.
    pub path: String,
    /// The rule that decided.
    pub rule: String,
}

/// What a guest can ask a directory or file for, as far as a rule can refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operation {
    Open,
    Write,
    SetSize,
    SetTimes,
    CreateDirectory,
    RemoveDirectory,
    Unlink,
    Rename,
    Symlink,
    Link,
    Stat,
    ReadLink,
}

impl Operation {
    /// Its name in events: the WIT function's without the `-at`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Open => "open",
            Operation::Write => "write",
            Operation::SetSize => "set-size",
            Operation::SetTimes => "set-times",
            Operation::CreateDirectory => "create-directory",
            Operation::RemoveDirectory => "remove-directory",
            Operation::Unlink => "unlink-file",
            Operation::Rename => "rename",
            Operation::Symlink => "symlink",
            Operation::Link => "link",
            Operation::Stat => "stat",
            Operation::ReadLink => "readlink",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One change, when it happens.
///
/// Writes are told once a file is closed (its last descriptor and stream dropped), so that `after` is
/// what was left behind. [`super::Changes::finish`] tells those that were still open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Canonical path in the guest's terms.
    pub path: String,
    /// What happened.
    pub kind: ChangeKind,
    /// Bytes written since the file was opened; 0 for anything but content.
    pub bytes_written: u64,
    /// Content before this run touched the file; nothing when there was none or it is too large.
    pub before: Option<Digest>,
    /// Content now; nothing when there is none or it is too large.
    pub after: Option<Digest>,
}

/// What happened to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A file that was not there.
    Created,
    /// Other content in a file that was there.
    Modified,
    /// A file or symbolic link is gone.
    Deleted,
    /// It was called differently.
    Renamed {
        /// What it was called.
        from: String,
    },
    /// A directory that was not there.
    DirCreated,
    /// A directory is gone.
    DirRemoved,
    /// A symbolic link that was not there.
    SymlinkCreated,
    /// Another name for a file.
    LinkCreated,
    /// Only the times of access and modification were set.
    Times,
}

impl ChangeKind {
    /// Its name in events.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            ChangeKind::Created => "created",
            ChangeKind::Modified => "modified",
            ChangeKind::Deleted => "deleted",
            ChangeKind::Renamed { .. } => "renamed",
            ChangeKind::DirCreated => "dir-created",
            ChangeKind::DirRemoved => "dir-removed",
            ChangeKind::SymlinkCreated => "symlink-created",
            ChangeKind::LinkCreated => "link-created",
            ChangeKind::Times => "times",
        }
    }
}

/// What a run did to one path in the end: the difference between before the run and now.
///
/// A file that was created and deleted again is not a change; a file that was written beside and renamed
/// over another is a modification of that other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Canonical path in the guest's terms.
    pub path: String,
    /// The net effect.
    pub kind: ChangeKind,
    /// Bytes written to it in the whole run, counting overwritten ones.
    pub bytes_written: u64,
    /// Content before the run; nothing when there was none or it is too large.
    pub before: Option<Digest>,
    /// Content now; nothing when there is none or it is too large.
    pub after: Option<Digest>,
}
