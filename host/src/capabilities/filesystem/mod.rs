//! `wasi:filesystem`: the directories the operator granted, and the one place where a path of a guest
//! meets the disk.
//!
//! Everything a path can do (opening, creating, removing, renaming, linking) is resolved, judged and done
//! here; what happens to a file that is already open (reading, writing, its metadata) is left to
//! wasmtime-wasi, with every write counted on the way. Resource types are wasmtime-wasi's, so that
//! streams work with the rest of WASI.
//!
//! What holds, beyond what WASI itself promises:
//!
//! - Only regular files and directories are opened. A FIFO or device is refused before anything happens
//!   to it, so that no thread of the host waits on one.
//! - Rules are decided about the place a path leads to, not about its spelling, and what is opened is
//!   what was judged, even when somebody else renames things meanwhile (`sys.rs` says how).
//! - Protected paths ([`PROTECTED`]) are not created, changed, removed, renamed or linked, whatever they
//!   are reached through.
//! - A file with names that this run did not give it is not written in place: they may lie elsewhere.
//! - Symbolic links that lead out of the directory are neither made nor moved into place.
//! - Every change is told to an [`Observer`] and shows in [`Changes::changes`].
//! - Bytes, files, handles and what they hold are bounded by [`Limits`]; nothing is made or moved deeper than a path
//!   can name.
//!
//! Granted directories are separate devices to a guest: what would rename or link between them gets
//! `cross-device`. Listings are sorted. Something that is refused is an error code, never a trap.

mod content;
pub mod cow;
mod depth;
mod descriptor;
mod digest;
mod disk;
mod effort;
mod extent;
mod git;
mod guard;
mod lease;
mod listing;
mod log;
mod names;
mod observe;
mod open;
mod place;
mod protect;
mod quota;
mod refusal;
mod remove;
mod resolve;
mod stable;
mod stream;
mod survey;
mod symlink;
mod sys;
mod touched;
mod withheld;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags};
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};

use crate::capabilities::meters::Meters;
use crate::error::Hint;
use crate::host_places::HostPlaces;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

pub use effort::Effort;
pub use extent::Extent;
pub use observe::{Change, ChangeKind, Content, Denial, FileChange, FileId, Observer, Operation};
pub(crate) use protect::runs;
pub use protect::{MARKED, Marked, PROTECTED, Protected, Protection, Scope};
pub use quota::Limits;
pub use remove::remove_tree;
pub use stable::Stable;
pub use survey::{SurveyError, SurveyLimits, digest_of, entries, survey};

/// What a guest may do in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    ReadOnly,
    /// Reading and writing.
    ReadWrite,
    /// Reading and writing of a copy; the directory itself is not touched.
    CopyOnWrite {
        /// The copy: [`cow::Workspace::tree`].
        tree: PathBuf,
    },
}

/// A directory of the host that a guest gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The directory. Links in it are followed: the operator wrote it.
    pub host: PathBuf,
    /// Where the guest finds it: absolute, for example `/work`.
    pub guest: String,
    /// What may be done there.
    pub access: Access,
    /// How much of it the guest gets.
    pub extent: Extent,
}

/// Where work that may block is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Threading {
    /// On tokio's blocking threads: a slow disk holds up nobody but its own run.
    #[default]
    Pool,
    /// On the thread that drives the guest. An order of magnitude quicker for small files, and a slow
    /// disk then holds up that thread; for hosts that have given the run a thread of its own.
    Caller,
}

/// A granted directory cannot be set up.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum MountError {
    #[error("cannot open the granted directory `{}`: {source}", host.display())]
    Open { host: PathBuf, source: io::Error },
    #[error("cannot grant `{}`: it shows the host itself, not files", host.display())]
    Pseudo { host: PathBuf },
    #[error("cannot guard the granted directory `{}` on this system: {source}", host.display())]
    Unguarded { host: PathBuf, source: io::Error },
}

impl Hint for MountError {
    fn hint(&self) -> Option<String> {
        match self {
            MountError::Open { .. } | MountError::Pseudo { .. } => None,
            MountError::Unguarded { .. } => Some(
                "granting directories needs Linux 5.6 (`openat2`) and a mounted `/proc`".to_owned(),
            ),
        }
    }
}

/// The directories of one run. Lives in the store's state; what has to outlive the store is in its
/// [`Changes`].
pub struct Filesystem {
    disk: Arc<disk::Disk>,
    wasi: WasiFilesystemCtx,
    threading: Threading,
    /// What work on other threads is added to.
    meters: Arc<Meters>,
    /// Whether what is said of files beside their content is made the same in every run.
    stable: Option<Stable>,
    open: HashMap<u32, descriptor::Handle>,
}

impl Filesystem {
    /// Opens the granted directories. None is a fine number of them: the guest then has no files.
    ///
    /// # Errors
    /// A directory cannot be opened, or is one that shows the host itself (`/proc`, `/sys`), or the
    /// system lacks what the guards are built on.
    pub fn new(
        mounts: &[Mount],
        limits: Limits,
        protection: &Protection,
        observer: Arc<dyn Observer>,
    ) -> Result<Filesystem, MountError> {
        let none = HostPlaces::default();
        Filesystem::withholding(mounts, limits, protection, &none, observer)
    }

    /// The same without what is withheld: it is not there for the guest, whatever directory it lies in.
    ///
    /// # Errors
    /// As [`Filesystem::new`].
    pub fn withholding(
        mounts: &[Mount],
        limits: Limits,
        protection: &Protection,
        withheld: &HostPlaces,
        observer: Arc<dyn Observer>,
    ) -> Result<Filesystem, MountError> {
        let roots = mounts.iter().map(open_root).collect::<Result<_, _>>()?;
        let rules = protect::Rules::new(protection);
        let disk = disk::Disk::new(roots, limits, rules, observer);
        Ok(Filesystem {
            disk: Arc::new(disk.withholding(withheld.clone())),
            wasi: WasiFilesystemCtx::default(),
            threading: Threading::default(),
            meters: Arc::default(),
            stable: None,
            open: HashMap::new(),
        })
    }

    /// Adds the computing that is done for the guest on other threads than its own to `meters`.
    #[must_use]
    pub fn metered_by(mut self, meters: Arc<Meters>) -> Filesystem {
        self.meters = meters;
        self
    }

    /// Chooses where work that may block is done.
    #[must_use]
    pub fn with_threading(mut self, threading: Threading) -> Filesystem {
        self.threading = threading;
        self
    }

    /// Makes what is said of files the same in every run, and what they do independent of time: work is done
    /// on the thread that drives the guest.
    #[must_use]
    pub fn with_stability(mut self, stable: Stable) -> Filesystem {
        self.stable = Some(stable);
        self.with_threading(Threading::Caller)
    }

    /// What is known of the run's changes; valid after the store is gone.
    #[must_use]
    pub fn journal(&self) -> Changes {
        Changes(Arc::clone(&self.disk))
    }
}

fn open_root(mount: &Mount) -> Result<disk::Root, MountError> {
    let host = || mount.host.clone();
    let open = |source| MountError::Open {
        host: host(),
        source,
    };
    let unguarded = |source| MountError::Unguarded {
        host: host(),
        source,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open_dir = |path: &PathBuf| {
        rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map(File::from)
            .map_err(|errno| open(errno.into()))
    };
    let granted = open_dir(&mount.host)?;
    let dir = match &mount.access {
        Access::ReadOnly | Access::ReadWrite => granted.try_clone().map_err(open)?,
        Access::CopyOnWrite { tree } => open_dir(tree)?,
    };
    if sys::is_pseudo(&dir).map_err(open)? {
        return Err(MountError::Pseudo { host: host() });
    }
    sys::probe(&dir).map_err(unguarded)?;
    // Of what was granted, also when it is a copy that is written: that is what rules are about.
    let at = sys::location(&granted).map_err(unguarded)?;
    let tail = at
        .iter()
        .skip(1)
        .map(|name| protect::fold(&name.to_string_lossy()))
        .collect();
    let device = sys::inode(&dir.metadata().map_err(open)?).device;
    Ok(disk::Root {
        guest: mount.guest.clone(),
        dir: Arc::new(dir),
        writable: match mount.access {
            Access::ReadOnly => false,
            Access::ReadWrite | Access::CopyOnWrite { .. } => true,
        },
        extent: mount.extent.clone(),
        device,
        host: at,
        tail,
    })
}

/// Opens a file by its absolute path without links, for reading or (as it is) for writing. A link that stands there now
/// leads to a file that nobody granted.
pub(crate) fn open_plain(path: &std::path::Path, access: &Access) -> io::Result<File> {
    let beneath = path.strip_prefix("/").map_err(io::Error::other)?;
    let found = if down(Wall::ApplyPlace) {
        sys::find(&File::open("/")?, beneath, sys::Links::Follow)?
    } else {
        sys::find_plain(&File::open("/")?, beneath)?
    };
    if found.kind() != sys::Kind::File {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    found.reopen(match access {
        Access::ReadOnly => OFlags::RDONLY,
        Access::ReadWrite | Access::CopyOnWrite { .. } => OFlags::WRONLY,
    })
}

/// What a run has done to its directories.
#[derive(Clone)]
pub struct Changes(Arc<disk::Disk>);

/// How much of the limits is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Growth of files in bytes.
    pub disk_bytes: u64,
    /// Files, directories and links created and not deleted again.
    pub files: u64,
    /// Files, directories, streams and listings open now.
    pub handles: u64,
    /// The most of them that were open at once.
    pub handles_peak: u64,
    /// The most that `disk_bytes` and `files` have been.
    pub disk_bytes_peak: u64,
    /// As `disk_bytes_peak`.
    pub files_peak: u64,
    /// The greatest size a file was made to grow to, in bytes.
    pub file_bytes_peak: u64,
}

impl Changes {
    /// The net effect of the run so far, ordered by path. Reads changed files: call it where blocking is
    /// allowed.
    #[must_use]
    pub fn changes(&self) -> Vec<FileChange> {
        self.0.changes()
    }

    /// Tells the observer of files that are still open for writing, and gives the net effect of the run.
    /// Call it once, after the store is dropped, where blocking is allowed.
    #[must_use]
    pub fn finish(&self) -> Vec<FileChange> {
        self.0.renew_budget();
        self.0.tell_open();
        self.0.changes()
    }

    /// Has [`Changes::finish`] read no file any more, whoever is in it: what is left gets no digest.
    pub fn hurry(&self) {
        self.0.hurry();
    }

    /// How much of the limits is used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let memory = self.0.memory();
        let (books, handles) = (&memory.books, &self.0.handles);
        Usage {
            disk_bytes: books.disk(),
            files: books.files(),
            handles: handles.open(),
            handles_peak: handles.peak(),
            disk_bytes_peak: books.peak().disk,
            files_peak: books.peak().files,
            file_bytes_peak: books.peak().file,
        }
    }
}

/// Our `wasi:filesystem`, with what it needs to answer a call.
pub struct FsView<'a> {
    /// The run's directories.
    pub fs: &'a mut Filesystem,
    /// The store's resources: the same table the rest of WASI uses.
    pub table: &'a mut ResourceTable,
}

/// A store's state that has a [`Filesystem`].
pub trait FilesystemView: Send {
    /// The part of the state the file system needs.
    fn filesystem(&mut self) -> FsView<'_>;
}

struct HasFilesystem;

impl HasData for HasFilesystem {
    type Data<'a> = FsView<'a>;
}

/// Adds `wasi:filesystem/types` and `wasi:filesystem/preopens`, and nothing else, to a linker.
///
/// # Errors
/// The linker has them already.
pub fn add_to_linker<T: FilesystemView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, HasFilesystem>(linker, T::filesystem)?;
    preopens::add_to_linker::<T, HasFilesystem>(linker, T::filesystem)
}

#[cfg(test)]
mod tests;
