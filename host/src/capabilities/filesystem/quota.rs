//! What a run may put on disk: bytes, files, open handles.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::sys::Inode;
use crate::selftest::sabotage::{self, down};
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
    /// `listing-bytes`: bytes of all directory listings open at once, as they are kept.
    pub listing_bytes: u64,
}

impl Default for Limits {
    /// 1 GiB in at most 10 000 new files of at most 256 MiB, 1024 handles, 32 MiB of listings: room for what an agent does
    /// to a working copy, and within what a laptop has to spare a hundred times over.
    fn default() -> Limits {
        Limits {
            disk_bytes: 1 << 30,
            file_bytes: 256 << 20,
            files: 10_000,
            handles: 1024,
            listing_bytes: 32 << 20,
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
    ListingBytes,
}

impl Limit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Limit::DiskBytes => "disk-bytes",
            Limit::FileBytes => "file-bytes",
            Limit::Files => "files",
            Limit::Handles => "handles",
            Limit::ListingBytes => "listing-bytes",
        }
    }

    pub(super) fn max(self, limits: &Limits) -> u64 {
        match self {
            Limit::DiskBytes => limits.disk_bytes,
            Limit::FileBytes => limits.file_bytes,
            Limit::Files => limits.files,
            Limit::Handles => limits.handles,
            Limit::ListingBytes => limits.listing_bytes,
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
    /// Writes of streams that are under way: what they may make of the file, whatever its size is by now.
    under_way: UnderWay,
}

impl Account {
    fn new(base: u64) -> Account {
        Account {
            base,
            charge: 0,
            under_way: UnderWay::default(),
        }
    }
}

/// Writes a stream has been promised and that may land at any moment.
#[derive(Debug, Default)]
struct UnderWay {
    /// Where they end, and how many end there.
    ends: BTreeMap<u64, u32>,
    /// Bytes that go to the end, wherever it is by then.
    appended: u64,
}

impl UnderWay {
    /// The greatest size a file of `size` bytes may have once all of them have landed, in any order.
    fn reach(&self, size: u64) -> u64 {
        let end = self.ends.last_key_value().map_or(0, |(end, _)| *end);
        size.max(end).saturating_add(self.appended)
    }
}

/// What a stream is about to write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// Bytes that end there.
    Until(u64),
    /// So many bytes at the end.
    More(u64),
}

/// A write that is counted and under way. Dropped when it has landed, or will not land any more.
pub(super) struct Promise {
    pub(super) disk: Arc<Disk>,
    pub(super) inode: Inode,
    pub(super) piece: Piece,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.disk.landed(self.inode, self.piece);
    }
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
        self.accounts
            .entry(inode)
            .or_insert_with(|| Account::new(size));
    }

    /// Counts the growth of a file from `size` to `wanted` bytes before it happens, and what is under way with it.
    pub(super) fn grow(
        &mut self,
        limits: &Limits,
        inode: Inode,
        size: u64,
        wanted: u64,
    ) -> Result<(), Limit> {
        self.cover(limits, inode, size, Piece::Until(wanted))
    }

    fn cover(
        &mut self,
        limits: &Limits,
        inode: Inode,
        size: u64,
        piece: Piece,
    ) -> Result<(), Limit> {
        self.base(inode, size);
        let Some(account) = self.accounts.get_mut(&inode) else {
            return Ok(());
        };
        let before = account.under_way.reach(size);
        let reach = match piece {
            Piece::Until(end) => account.under_way.reach(size.max(end)),
            Piece::More(bytes) => before.saturating_add(bytes),
        };
        if reach <= before {
            return Ok(());
        }
        if reach > sabotage::limit(Wall::FileBytes, limits.file_bytes) {
            return Err(Limit::FileBytes);
        }
        let charge = reach.saturating_sub(account.base);
        let more = charge.saturating_sub(account.charge);
        let disk = self.disk.saturating_add(more);
        if disk > sabotage::limit(Wall::DiskBytes, limits.disk_bytes) {
            return Err(Limit::DiskBytes);
        }
        self.disk = disk;
        self.peak.disk = self.peak.disk.max(disk);
        self.peak.file = self.peak.file.max(reach);
        account.charge = account.charge.max(charge);
        Ok(())
    }

    /// Counts a write of a stream, which lands later. Until [`Books::landed`] its bytes stay counted, whatever
    /// happens to the file meanwhile.
    pub(super) fn promise(
        &mut self,
        limits: &Limits,
        inode: Inode,
        size: u64,
        piece: Piece,
    ) -> Result<(), Limit> {
        self.cover(limits, inode, size, piece)?;
        if let Some(account) = self.accounts.get_mut(&inode)
            && !down(Wall::Promised)
        {
            match piece {
                Piece::Until(end) => *account.under_way.ends.entry(end).or_insert(0) += 1,
                Piece::More(bytes) => {
                    let appended = &mut account.under_way.appended;
                    *appended = appended.saturating_add(bytes);
                }
            }
        }
        Ok(())
    }

    /// A write of a stream has landed, or never will.
    pub(super) fn landed(&mut self, inode: Inode, piece: Piece) {
        let Some(account) = self.accounts.get_mut(&inode) else {
            return;
        };
        match piece {
            Piece::Until(end) => {
                if let Some(writes) = account.under_way.ends.get_mut(&end) {
                    *writes = writes.saturating_sub(1);
                    if *writes == 0 {
                        account.under_way.ends.remove(&end);
                    }
                }
            }
            Piece::More(bytes) => {
                let appended = &mut account.under_way.appended;
                *appended = appended.saturating_sub(bytes);
            }
        }
    }

    /// Corrects what was counted for a file by the size it really has; never below what may still land in it.
    pub(super) fn settle(&mut self, inode: Inode, size: u64) {
        if let Some(account) = self.accounts.get_mut(&inode) {
            let charge = account.under_way.reach(size).saturating_sub(account.base);
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
        self.accounts.insert(inode, Account::new(0));
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

/// Counts the bytes of open directory listings.
#[derive(Debug)]
pub(super) struct Shelf {
    used: AtomicU64,
    max: u64,
}

impl Shelf {
    pub(super) fn new(max: u64) -> Arc<Shelf> {
        Arc::new(Shelf {
            used: AtomicU64::new(0),
            max: sabotage::limit(Wall::ListingBytes, max),
        })
    }

    /// Room for a listing, which takes more of it with each entry.
    pub(super) fn room(self: &Arc<Self>) -> Room {
        Room {
            shelf: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// What one listing takes; given back when dropped.
#[derive(Debug)]
pub(super) struct Room {
    shelf: Arc<Shelf>,
    bytes: u64,
}

impl Room {
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Limit> {
        let more = |used: u64| {
            let sum = used.saturating_add(bytes);
            (sum <= self.shelf.max).then_some(sum)
        };
        self.shelf
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Limit::ListingBytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shelf.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: Inode = Inode {
        device: 1,
        number: 1,
    };

    proptest! {
        /// A model of a file whose writes land in any order: what is charged is never less than what it may
        /// have grown to.
        #[test]
        fn the_charge_covers_every_order_of_landing(
            steps in prop::collection::vec((0u8..5, 0u64..50, any::<prop::sample::Index>()), 0..60),
        ) {
            let limits = Limits { disk_bytes: 200, file_bytes: 150, ..Limits::default() };
            let mut books = Books::default();
            books.created(FILE);
            let (mut size, mut flying) = (0u64, Vec::new());
            for (step, bytes, which) in steps {
                match step {
                    0 => {
                        if books.promise(&limits, FILE, size, Piece::Until(bytes)).is_ok() {
                            flying.push(Piece::Until(bytes));
                        }
                    }
                    1 => {
                        if books.promise(&limits, FILE, size, Piece::More(bytes)).is_ok() {
                            flying.push(Piece::More(bytes));
                        }
                    }
                    2 if !flying.is_empty() => {
                        let piece = flying.remove(which.index(flying.len()));
                        size = match piece {
                            Piece::Until(end) => size.max(end),
                            Piece::More(more) => size + more,
                        };
                        books.landed(FILE, piece);
                    }
                    3 => {
                        if books.grow(&limits, FILE, size, bytes).is_ok() {
                            size = bytes;
                            books.settle(FILE, size);
                        }
                    }
                    _ => books.settle(FILE, size),
                }
                prop_assert!(books.disk() >= size, "{} charged for {size}", books.disk());
                prop_assert!(size <= limits.file_bytes);
            }
        }
    }

    #[test]
    fn listings_share_their_room() {
        let shelf = Shelf::new(100);
        let (mut one, mut other) = (shelf.room(), shelf.room());
        one.take(60).unwrap();
        assert_eq!(other.take(60), Err(Limit::ListingBytes));
        other.take(40).unwrap();
        drop(one);
        other.take(60).unwrap();
        drop(other);
        assert_eq!(shelf.used.load(Ordering::Relaxed), 0);
    }
}
