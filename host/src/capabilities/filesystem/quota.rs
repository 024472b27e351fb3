//! What a run may put on disk: bytes, files, open handles.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sys::Inode;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;

/// How much a run may use of its directories, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `disk-bytes`: growth of files in bytes. Deleting or shrinking what the run itself has written
    /// gives room back; deleting what was there before does not, because a sparse file would then be
    /// worth more than it ever took.
    pub disk_bytes: u64,
    /// `file-bytes`: size up to which one file may be made to grow, in bytes.
    pub file_bytes: u64,
    /// `files`: files, directories and links created, less those deleted again.
    pub files: u64,
    /// `handles`: files, directories, streams and directory listings open at once.
    pub handles: u64,
}

impl Default for Limits {
    /// 1 GiB in at most 10 000 new files of at most 256 MiB, 1024 handles: room for what an agent does
    /// to a working copy, and within what a laptop has to spare a hundred times over.
    fn default() -> Limits {
        Limits {
            disk_bytes: 1 << 30,
            file_bytes: 256 << 20,
            files: 10_000,
            handles: 1024,
        }
    }
}

/// A limit that would be passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    DiskBytes,
    FileBytes,
    Files,
    Handles,
}

impl Limit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::DiskBytes => "disk-bytes",
            Limit::FileBytes => "file-bytes",
            Limit::Files => "files",
            Limit::Handles => "handles",
        }
    }

    pub(super) fn max(self, limits: &Limits) -> u64 {
        match self {
            Limit::DiskBytes => limits.disk_bytes,
            Limit::FileBytes => limits.file_bytes,
            Limit::Files => limits.files,
            Limit::Handles => limits.handles,
        }
    }
}

/// What was used so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    disk: u64,
    files: u64,
    accounts: HashMap<Inode, Account>,
    /// Files, directories and symbolic links this run has created and that still exist.
    created: HashSet<Inode>,
    /// Additional names this run has given to files.
    links: HashMap<Inode, u64>,
    peak: Peak,
}

/// The most that was used at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak {
    /// Growth of all files in bytes.
    pub(super) disk: u64,
    /// Size a file was made to grow to in bytes.
    pub(super) file: u64,
    /// Files, directories and links created.
    pub(super) files: u64,
}

#[derive(Debug)]
struct Account {
    /// Size the file had when it was first written to.
    base: u64,
    /// What it has grown by since, as counted in `disk`.
    charge: u64,
}

impl Books {
    pub(super) fn disk(&self) -> u64 {
        self.disk
    }

    pub(super) fn files(&self) -> u64 {
        self.files
    }

    pub(super) fn peak(&self) -> Peak {
        self.peak
    }

    /// Remembers the size of a file before it is written to for the first time.
    pub(super) fn base(&mut self, inode: Inode, size: u64) {
        let account = Account {
            base: size,
            charge: 0,
        };
        self.accounts.entry(inode).or_insert(account);
    }

    /// Counts the growth of a file from `size` to `wanted` bytes before it happens.
    pub(super) fn grow(
        &mut self,
        limits: &Limits,
        inode: Inode,
        size: u64,
        wanted: u64,
    ) -> Result<(), Limit> {
        self.base(inode, size);
        let Some(account) = self.accounts.get_mut(&inode) else {
            return Ok(());
        };
        if wanted <= size {
            return Ok(());
        }
        if wanted > sabotage::limit(Wall::FileBytes, limits.file_bytes) {
            return Err(Limit::FileBytes);
        }
        let charge = wanted.saturating_sub(account.base);
        let more = charge.saturating_sub(account.charge);
        let disk = self.disk.saturating_add(more);
        if disk > sabotage::limit(Wall::DiskBytes, limits.disk_bytes) {
            return Err(Limit::DiskBytes);
        }
        self.disk = disk;
        self.peak.disk = self.peak.disk.max(disk);
        self.peak.file = self.peak.file.max(wanted);
        account.charge = account.charge.max(charge);
        Ok(())
    }

    /// Corrects what was counted for a file by the size it really has.
    pub(super) fn settle(&mut self, inode: Inode, size: u64) {
        if let Some(account) = self.accounts.get_mut(&inode) {
            let charge = size.saturating_sub(account.base);
            self.disk = self
                .disk
                .saturating_sub(account.charge)
                .saturating_add(charge);
            account.charge = charge;
        }
    }

    /// The file is gone from the disk: its last name and its last handle.
    pub(super) fn release(&mut self, inode: Inode) {
        if let Some(account) = self.accounts.remove(&inode) {
            self.disk = self.disk.saturating_sub(account.charge);
        }
    }

    /// Whether one more file may be created.
    pub(super) fn may_create(&self, limits: &Limits) -> Result<(), Limit> {
        if self.files >= sabotage::limit(Wall::Files, limits.files) {
            return Err(Limit::Files);
        }
        Ok(())
    }

    /// A file, directory or symbolic link was created.
    pub(super) fn created(&mut self, inode: Inode) {
        // The number of a file somebody else deleted may be given out again.
        self.release(inode);
        self.accounts.insert(inode, Account { base: 0, charge: 0 });
        self.links.remove(&inode);
        if self.created.insert(inode) {
            self.files = self.files.saturating_add(1);
            self.peak.files = self.peak.files.max(self.files);
        }
    }

    /// A file was given another name.
    pub(super) fn linked(&mut self, inode: Inode) {
        *self.links.entry(inode).or_insert(0) += 1;
        self.files = self.files.saturating_add(1);
        self.peak.files = self.peak.files.max(self.files);
    }

    /// A name of a file, directory or symbolic link is gone.
    pub(super) fn removed(&mut self, inode: Inode) {
        let link = match self.links.get_mut(&inode) {
            Some(links) => {
                *links = links.saturating_sub(1);
                if *links == 0 {
                    self.links.remove(&inode);
                }
                true
            }
            None => false,
        };
        if link || self.created.remove(&inode) {
            self.files = self.files.saturating_sub(1);
        }
    }

    /// How many of a file's names are this run's doing, beyond the one it has anyway.
    pub(super) fn links_made(&self, inode: Inode) -> u64 {
        self.links.get(&inode).copied().unwrap_or(0)
    }
}

/// Counts open handles of a run.
#[derive(Debug)]
pub(super) struct Handles {
    open: AtomicU64,
    peak: AtomicU64,
    max: u64,
}

impl Handles {
    pub(super) fn new(max: u64) -> Arc<Handles> {
        Arc::new(Handles {
            open: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            max: sabotage::limit(Wall::Handles, max),
        })
    }

    pub(super) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(super) fn take(self: &Arc<Self>) -> Result<Permit, Limit> {
        let more = |open| (open < self.max).then_some(open + 1);
        match self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        {
            Ok(before) => {
                self.peak.fetch_max(before + 1, Ordering::Relaxed);
                Ok(Permit(Arc::clone(self)))
            }
            Err(_) => Err(Limit::Handles),
        }
    }
}

/// One open handle; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Handles>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
