//! The few system calls with which a path of a guest meets the disk.
//!
//! Linux only: resolution is left to `openat2` (which keeps it beneath a directory whatever the links on
//! the way say), and the place something was found at is read back from the kernel, so that rules are
//! decided about what is there and not about the string the guest gave. Other systems have no equal of
//! it; [`probe`] refuses to start there instead of guarding less.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timestamps};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;

/// How often a lookup is repeated when somebody renames things on the host meanwhile (`EAGAIN`).
const LOOKUP_ATTEMPTS: u32 = 16;

/// What tells two files apart, whatever they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) number: u64,
}

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Dir,
    Symlink,
    /// A FIFO, a socket, a device: reading one can block for ever or reach the host's hardware.
    Special,
}

/// Something on disk, held by a handle that gives no access to its content (`O_PATH`).
///
/// Opening it this way has no side effect: not on a FIFO, not on a device. What it is can therefore be
/// looked at first, and cannot change any more when it is opened for real through [`Found::reopen`].
pub(super) struct Found {
    handle: File,
    meta: Metadata,
}

impl Found {
    fn new(handle: OwnedFd) -> io::Result<Found> {
        let handle = File::from(handle);
        let meta = handle.metadata()?;
        Ok(Found { handle, meta })
    }

    /// Looks at something that is already open.
    pub(super) fn again(file: &File) -> io::Result<Found> {
        Found::new(file.try_clone()?.into())
    }

    pub(super) fn handle(&self) -> &File {
        &self.handle
    }

    pub(super) fn meta(&self) -> &Metadata {
        &self.meta
    }

    pub(super) fn kind(&self) -> Kind {
        let kind = self.meta.file_type();
        if kind.is_file() {
            Kind::File
        } else if kind.is_dir() {
            Kind::Dir
        } else if kind.is_symlink() {
            Kind::Symlink
        } else {
            Kind::Special
        }
    }

    pub(super) fn inode(&self) -> Inode {
        inode(&self.meta)
    }

    pub(super) fn size(&self) -> u64 {
        self.meta.len()
    }

    pub(super) fn links(&self) -> u64 {
        self.meta.nlink()
    }

    /// Opens the very thing that was found. A regular file or directory never blocks here.
    pub(super) fn reopen(&self, flags: OFlags) -> io::Result<File> {
        // `O_NONBLOCK` does nothing to regular files but keep a lease of another process from holding
        // the thread.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::openat(CWD, link_of(&self.handle), flags, Mode::empty())?;
        Ok(File::from(file))
    }

    /// What a symbolic link points to.
    pub(super) fn target(&self) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.handle, "", Vec::new())?.into_bytes())
    }

    /// Sets times of the very thing that was found.
    pub(super) fn set_times(&self, times: &Timestamps) -> io::Result<()> {
        Ok(rustix::fs::utimensat(
            CWD,
            link_of(&self.handle),
            times,
            AtFlags::empty(),
        )?)
    }

    /// Gives the very file that was found another name.
    pub(super) fn link(&self, dir: &File, name: &str) -> io::Result<()> {
        let from = link_of(&self.handle);
        Ok(rustix::fs::linkat(
            CWD,
            from,
            dir,
            name,
            AtFlags::SYMLINK_FOLLOW,
        )?)
    }
}

/// Whether links in the last component are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Keep,
}

/// Finds what `path` names beneath `dir`. A trailing slash asks for a directory.
///
/// # Errors
/// `EXDEV` when the path leads out of `dir`.
pub(super) fn find(dir: &File, path: impl Arg + Copy, links: Links) -> io::Result<Found> {
    let mut flags = OFlags::PATH;
    if links == Links::Keep {
        flags |= OFlags::NOFOLLOW;
    }
    Found::new(open_beneath(dir, path, flags, Mode::empty())?)
}

/// Finds what `path` names beneath `dir`, with no link on the way and none at the end followed.
pub(super) fn find_plain(dir: &File, path: impl Arg + Copy) -> io::Result<Found> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    Found::new(open_resolved(dir, path, flags, Mode::empty(), resolve)?)
}

/// Finds a directory beneath `dir`.
pub(super) fn find_dir(dir: &File, path: impl Arg + Copy) -> io::Result<Found> {
    Found::new(open_beneath(
        dir,
        path,
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )?)
}

/// Creates the regular file `name` in `dir`; fails when there is anything of that name.
pub(super) fn create(dir: &File, name: &str, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::NOCTTY;
    Ok(File::from(open_beneath(
        dir,
        name,
        flags,
        Mode::from_raw_mode(0o666),
    )?))
}

fn open_beneath(
    dir: &File,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> io::Result<OwnedFd> {
    let resolve = if down(Wall::Beneath) {
        ResolveFlags::empty()
    } else {
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS
    };
    open_resolved(dir, path, flags, mode, resolve)
}

fn open_resolved(
    dir: &File,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    for _ in 0..LOOKUP_ATTEMPTS {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::BUSY.into())
}

/// Where the kernel says something is, from the root of the host.
pub(super) fn location(handle: &File) -> io::Result<PathBuf> {
    let target = rustix::fs::readlinkat(CWD, link_of(handle), Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(
        target.into_bytes(),
    )))
}

fn link_of(handle: &File) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

pub(super) fn inode(meta: &Metadata) -> Inode {
    Inode {
        device: meta.dev(),
        number: meta.ino(),
    }
}

/// File systems that show the host itself instead of files: `proc`, `sysfs` and their relatives.
const PSEUDO: &[u32] = &[
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0xcafe_4a11, // bpf
    0x1cd1,      // devpts
    0x6e73_6673, // nsfs
    0x6265_6570, // configfs
    0x1980_0202, // mqueue
    0xde5e_81e4, // efivarfs
    0x4249_4e4d, // binfmt_misc
    0x6165_676c, // pstore
];

/// Whether something lies on a file system that shows the host itself.
pub(super) fn is_pseudo(handle: impl AsFd) -> io::Result<bool> {
    let magic = rustix::fs::fstatfs(handle)?.f_type;
    // The kernel's constants are 32 bit wide; the field's width and sign depend on the architecture.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the upper half is a sign extension"
    )]
    let magic = magic as u32;
    Ok(PSEUDO.contains(&magic))
}

/// Checks that this system has what the module is built on.
///
/// # Errors
/// `openat2` is missing (Linux before 5.6, or a container that forbids it) or `/proc` is not mounted.
pub(super) fn probe(dir: &File) -> io::Result<()> {
    let found = find_dir(dir, ".")?;
    location(found.handle()).map(drop)
}
