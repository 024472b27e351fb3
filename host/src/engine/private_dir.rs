//! A directory only this user can reach, and files in it that are never seen half-written.
//!
//! On Unix the directory is opened once, its owner and permissions are checked on the open descriptor, and
//! every file is reached through that descriptor: renaming or replacing the path later changes nothing.
//! Elsewhere the platform's own permissions of the user's data folder are relied on.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use crate::digest::hex;

/// What the names of files start with that are being written.
const TEMPORARY: &str = ".tmp-";

/// Why a file or directory is not taken as private.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotPrivate {
    /// It cannot be opened, read or made.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is something else than a directory, or than a regular file.
    #[error("it is not a {expected}")]
    Kind {
        /// What it should be.
        expected: &'static str,
    },
    /// It belongs to somebody else.
    #[error("it belongs to user {owner}, not to user {user}")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// Others may use it.
    #[error("its permissions are {mode:03o}: others than its owner can get at it")]
    Mode {
        /// Its permission bits.
        mode: u32,
    },
}

/// How a new file meets one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It takes its place.
    Replace,
    /// It gives way: an error of the kind `AlreadyExists`.
    Keep,
}

/// A file in a private directory.
pub(crate) struct Entry {
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) modified: SystemTime,
}

impl Entry {
    pub(super) fn is_temporary(&self) -> bool {
        self.name.starts_with(TEMPORARY)
    }
}

#[cfg(unix)]
pub(crate) use unix::PrivateDir;

#[cfg(not(unix))]
pub(crate) use portable::PrivateDir;

impl PrivateDir {
    /// Writes a file of `parts`, one after the other. Nobody sees it before it is whole.
    pub(crate) fn write(&self, name: &str, parts: &[&[u8]], existing: Existing) -> io::Result<()> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let temporary = format!("{TEMPORARY}{}", hex(&random));
        let mut file = self.create(&temporary)?;
        let written = parts
            .iter()
            .try_for_each(|part| file.write_all(part))
            .and_then(|()| self.publish(&temporary, name, existing));
        if written.is_err() {
            // Whatever went wrong is what is told; a leftover is removed by a later clean-up.
            let _ = self.remove(&temporary);
        }
        written
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::DirBuilderExt as _;

    use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

    use super::{Entry, Existing, File, NotPrivate, Path, SystemTime, io};
    use crate::selftest::sabotage::down;
    use crate::selftest::wall::Wall;

    /// A directory only this user can reach.
    #[derive(Debug)]
    pub(crate) struct PrivateDir(OwnedFd);

    impl PrivateDir {
        /// Opens the directory at `path`, making it when it is not there.
        pub(crate) fn open(path: &Path) -> Result<Self, NotPrivate> {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
            let stat = rustix::fs::fstat(&dir).map_err(io::Error::from)?;
            check_owner(&stat)?;
            let mode = permissions(&stat);
            // What others could have written may be theirs. What they could only have listed is closed.
            if mode & 0o022 != 0 && !down(Wall::CachePrivate) {
                return Err(NotPrivate::Mode { mode });
            }
            if mode & 0o077 != 0 {
                rustix::fs::fchmod(&dir, Mode::RWXU).map_err(io::Error::from)?;
            }
            Ok(Self(dir))
        }

        /// Opens a file for reading. A symbolic link, a file of somebody else and one that others may use
        /// are refused.
        pub(crate) fn read(&self, name: &str) -> Result<File, NotPrivate> {
            // Without NONBLOCK, opening a FIFO would wait for ever.
            let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if down(Wall::CachePrivate) {
                flags -= OFlags::NOFOLLOW;
            }
            let file =
                rustix::fs::openat(&self.0, name, flags, Mode::empty()).map_err(io::Error::from)?;
            let stat = rustix::fs::fstat(&file).map_err(io::Error::from)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(NotPrivate::Kind {
                    expected: "regular file",
                });
            }
            check_owner(&stat)?;
            let mode = permissions(&stat);
            if mode & 0o077 != 0 && !down(Wall::CachePrivate) {
                return Err(NotPrivate::Mode { mode });
            }
            Ok(file.into())
        }

        pub(super) fn create(&self, name: &str) -> io::Result<File> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            Ok(rustix::fs::openat(&self.0, name, flags, mode)?.into())
        }

        pub(super) fn publish(&self, from: &str, to: &str, existing: Existing) -> io::Result<()> {
            match existing {
                Existing::Replace => rustix::fs::renameat(&self.0, from, &self.0, to)?,
                Existing::Keep => {
                    rustix::fs::linkat(&self.0, from, &self.0, to, AtFlags::empty())?;
                    self.remove(from)?;
                }
            }
            Ok(())
        }

        pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
            Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
        }

        /// The regular files in it.
        pub(crate) fn list(&self) -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.0)? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
                // Another process may have removed it since.
                let (Some(name), Ok(stat)) = (name.to_str(), stat) else {
                    continue;
                };
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
                    entries.push(Entry {
                        name: name.to_owned(),
                        len: u64::try_from(stat.st_size).unwrap_or(0),
                        modified: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds),
                    });
                }
            }
            Ok(entries)
        }
    }

    fn permissions(stat: &Stat) -> u32 {
        Mode::from_raw_mode(stat.st_mode).bits() & 0o777
    }

    fn check_owner(stat: &Stat) -> Result<(), NotPrivate> {
        let user = rustix::process::geteuid().as_raw();
        if stat.st_uid == user {
            Ok(())
        } else {
            Err(NotPrivate::Owner {
                owner: stat.st_uid,
                user,
            })
        }
    }
}

#[cfg(not(unix))]
mod portable {
    use std::path::PathBuf;

    use super::{Entry, Existing, File, NotPrivate, Path, io};

    /// A directory of this user's.
    #[derive(Debug)]
    pub(crate) struct PrivateDir(PathBuf);

    impl PrivateDir {
        pub(crate) fn open(path: &Path) -> Result<Self, NotPrivate> {
            std::fs::create_dir_all(path)?;
            Ok(Self(path.to_owned()))
        }

        pub(crate) fn read(&self, name: &str) -> Result<File, NotPrivate> {
            let path = self.0.join(name);
            if !std::fs::symlink_metadata(&path)?.is_file() {
                return Err(NotPrivate::Kind {
                    expected: "regular file",
                });
            }
            Ok(File::open(path)?)
        }

        pub(super) fn create(&self, name: &str) -> io::Result<File> {
            File::create_new(self.0.join(name))
        }

        pub(super) fn publish(&self, from: &str, to: &str, existing: Existing) -> io::Result<()> {
            let (from, to) = (self.0.join(from), self.0.join(to));
            match existing {
                Existing::Replace => std::fs::rename(from, to),
                Existing::Keep => {
                    std::fs::hard_link(&from, to)?;
                    std::fs::remove_file(from)
                }
            }
        }

        pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
            std::fs::remove_file(self.0.join(name))
        }

        pub(crate) fn list(&self) -> io::Result<Vec<Entry>> {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(&self.0)? {
                let entry = entry?;
                if let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata())
                    && meta.is_file()
                {
                    entries.push(Entry {
                        name,
                        len: meta.len(),
                        modified: meta.modified()?,
                    });
                }
            }
            Ok(entries)
        }
    }
}
