//! The granted directories of one run, and everything that is decided and remembered about them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::digest;
use super::effort::{Digests, Effort};
use super::extent::Extent;
use super::git::Repositories;
use super::lease::{Closed, OpenFile};
use super::log::{Difference, Log, Net, State};
use super::observe::{ChangeKind, FileChange, Observer};
use super::place::Place;
use super::protect::Rules;
use super::quota::{Books, Handles, Limit, Limits, Permit, Piece, Promise, Room, Shelf};
use super::refusal::Refusal;
use super::sys::{self, Found, Inode, Kind, Links};
use crate::digest::Digest;
use crate::host_places::HostPlaces;

/// Files up to this size get a digest. Larger ones are compared by size and by whether they were
/// written: 64 MiB take about 50 ms, and one call of a guest should not cost more.
pub(super) const DIGEST_MAX: u64 = 64 << 20;

/// Bytes read for digests while a run goes on; further files are told without. A guest could otherwise
/// make the host read 64 MiB for every byte it writes.
const DIGEST_BUDGET: u64 = 16 << 30;

/// Bytes read for digests once the guest is gone: half a second, after which a run is to be over.
const DIGEST_BUDGET_AFTER: u64 = 512 << 20;

/// Bound of the path names kept for the list of changes, in bytes. `files` is the limit meant to be
/// met; this one only keeps 10 000 names of 4 KiB each, or 100 000 files that were there before, from becoming the
/// host's problem.
const LOG_WEIGHT: usize = 32 << 20;

/// A granted directory.
pub(super) struct Root {
    pub(super) guest: String,
    pub(super) dir: Arc<File>,
    pub(super) writable: bool,
    pub(super) extent: Extent,
    pub(super) device: u64,
    /// Where the granted directory is on the host, also where a copy of it is written.
    pub(super) host: PathBuf,
    /// The last names of its path on the host, folded: a rule may begin in them.
    pub(super) tail: Vec<String>,
}

/// What is remembered of a run.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) books: Books,
    pub(super) log: Log,
    pub(super) open: HashMap<Inode, OpenFile>,
    /// Closed after writing, too large to read where they were closed.
    pub(super) unread: VecDeque<Closed>,
    pub(super) told: BTreeSet<&'static str>,
}

/// What is read once the guest is gone.
struct After {
    effort: Effort,
    digests: Digests,
}

/// The granted directories of one run.
pub(super) struct Disk {
    pub(super) roots: Vec<Root>,
    pub(super) limits: Limits,
    pub(super) handles: Arc<Handles>,
    listings: Arc<Shelf>,
    pub(super) rules: Rules,
    pub(super) repositories: Repositories,
    pub(super) observer: Arc<dyn Observer>,
    /// Where the host keeps its own data.
    pub(super) withheld: HostPlaces,
    /// Bytes read for digests.
    read: AtomicU64,
    /// What reads them once the guest is gone.
    after: Mutex<Option<After>>,
    /// Nothing is to be read any more.
    hurried: Arc<AtomicBool>,
    memory: Mutex<Memory>,
}

impl Disk {
    pub(super) fn new(
        roots: Vec<Root>,
        limits: Limits,
        rules: Rules,
        observer: Arc<dyn Observer>,
    ) -> Disk {
        Disk {
            rules,
            repositories: Repositories::default(),
            roots,
            limits,
            handles: Handles::new(limits.handles),
            listings: Shelf::new(limits.listing_bytes),
            observer,
            withheld: HostPlaces::default(),
            read: AtomicU64::new(0),
            after: Mutex::default(),
            hurried: Arc::default(),
            memory: Mutex::default(),
        }
    }

    /// The same without what is withheld.
    pub(super) fn withholding(mut self, withheld: HostPlaces) -> Disk {
        self.withheld = withheld;
        self
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change of it is complete at the point where a panic could happen.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn root(&self, mount: usize) -> Result<&Root, Refusal> {
        self.roots
            .get(mount)
            .ok_or(Refusal::Code(ErrorCode::BadDescriptor))
    }

    pub(super) fn guest_path(&self, place: &Place) -> String {
        match self.roots.get(place.mount) {
            Some(root) => place.guest_path(&root.guest),
            None => place.rel.to_string_lossy().into_owned(),
        }
    }

    pub(super) fn permit(&self) -> Result<Permit, Refusal> {
        Ok(self.handles.take()?)
    }

    /// Room for the entries of a listing.
    pub(super) fn listing_room(&self) -> Room {
        self.listings.room()
    }

    // What was there before.

    /// What is at a place now. Things that cannot be read count as absent or without a digest.
    pub(super) fn state(&self, place: &Place) -> State {
        let Some(root) = self.roots.get(place.mount) else {
            return State::Absent;
        };
        let rel = if place.rel.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &place.rel
        };
        match sys::find(&root.dir, rel, Links::Keep) {
            Ok(found) => self.look(&found),
            Err(_) => State::Absent,
        }
    }

    /// What something is, its content included as far as there is budget for reading it.
    pub(super) fn look(&self, found: &Found) -> State {
        match found.kind() {
            Kind::Dir => State::Dir,
            Kind::Special => State::Special,
            Kind::File => State::File {
                size: found.size(),
                digest: (found.size() <= DIGEST_MAX)
                    .then(|| self.digest(found))
                    .flatten(),
            },
            Kind::Symlink => match found.target() {
                Ok(target) => State::Symlink(Digest::of(&target)),
                Err(_) => State::Special,
            },
        }
    }

    fn digest(&self, found: &Found) -> Option<Digest> {
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(After { effort, digests }) = after.as_mut() {
            return digests.of(found, effort).ok().flatten();
        }
        drop(after);
        if !self.may_read(found.size()) {
            return None;
        }
        let file = found.reopen(OFlags::RDONLY).ok()?;
        digest::of_file(&file, DIGEST_MAX).ok().flatten()
    }

    fn may_read(&self, size: u64) -> bool {
        let read = self.read.fetch_add(size, Ordering::Relaxed);
        read.saturating_add(size) <= DIGEST_BUDGET
    }

    /// Allows for the digests that are still to come, once the guest cannot ask for more of them.
    ///
    /// It is a budget of bytes and none of time: a run that is repeated has to find the same digests.
    pub(super) fn renew_budget(&self) {
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        *after = Some(After {
            effort: Effort::bytes(DIGEST_BUDGET_AFTER, self.hurried.clone()),
            digests: Digests::default(),
        });
    }

    /// Has nothing read for digests any more.
    pub(super) fn hurry(&self) {
        self.hurried.store(true, Ordering::Relaxed);
    }

    /// Remembers what is at a place, before it is changed for the first time.
    pub(super) fn touch(&self, place: &Place) {
        if !self.memory().log.knows(place) {
            // Reading it takes long; nobody else changes this place meanwhile, as a run makes one call
            // at a time.
            let state = self.state(place);
            self.memory().log.touch(place, state);
        }
    }

    /// Forgets the touch of something that did not happen.
    pub(super) fn untouch(&self, place: &Place) {
        if self.state(place) == State::Absent {
            self.memory().log.deleted(place);
        }
    }

    // What happens.

    /// Whether one more path may be changed: each that was is remembered until the run is over, those of files that
    /// were there before, too.
    pub(super) fn may_touch(&self) -> Result<(), Refusal> {
        if self.memory().log.weight() > LOG_WEIGHT {
            return Err(Limit::Files.into());
        }
        Ok(())
    }

    pub(super) fn may_create(&self) -> Result<(), Refusal> {
        Ok(self.memory().books.may_create(&self.limits)?)
    }

    pub(super) fn created(&self, inode: Inode) {
        self.memory().books.created(inode);
    }

    pub(super) fn linked(&self, inode: Inode, place: &Place) {
        let mut memory = self.memory();
        memory.books.linked(inode);
        memory.log.linked(place);
    }

    pub(super) fn links_made(&self, inode: Inode) -> u64 {
        self.memory().books.links_made(inode)
    }

    /// A name is gone; `last` when it was the only one.
    pub(super) fn removed(&self, inode: Inode, last: bool) {
        let mut memory = self.memory();
        memory.books.removed(inode);
        if last {
            match memory.open.get_mut(&inode) {
                Some(open) => open.unlinked = true,
                None => memory.books.release(inode),
            }
        }
    }

    pub(super) fn deleted(&self, place: &Place) {
        self.memory().log.deleted(place);
    }

    pub(super) fn before(&self, place: &Place) -> Option<Digest> {
        self.memory().log.before(place)
    }

    pub(super) fn renamed(&self, from: &Place, to: &Place) {
        let mut memory = self.memory();
        memory.log.renamed(from, to);
        for open in memory.open.values_mut() {
            if !open.unlinked
                && let Some(place) = open.place.moved(from, to)
            {
                open.place = place;
            }
        }
        for closed in &mut memory.unread {
            if let Some(place) = closed.place.moved(from, to) {
                closed.place = place;
            }
        }
    }

    pub(super) fn times(&self, place: &Place) {
        self.memory().log.times(place);
    }

    /// Counts growth before it happens.
    pub(super) fn grow(&self, inode: Inode, size: u64, wanted: u64) -> Result<(), Limit> {
        self.memory().books.grow(&self.limits, inode, size, wanted)
    }

    /// Counts a write of a stream before it is made.
    pub(super) fn promise(
        self: &Arc<Self>,
        inode: Inode,
        size: u64,
        piece: Piece,
    ) -> Result<Promise, Limit> {
        let mut memory = self.memory();
        memory.books.promise(&self.limits, inode, size, piece)?;
        drop(memory);
        Ok(Promise {
            disk: Arc::clone(self),
            inode,
            piece,
        })
    }

    pub(super) fn landed(&self, inode: Inode, piece: Piece) {
        self.memory().books.landed(inode, piece);
    }

    pub(super) fn base(&self, inode: Inode, size: u64) {
        self.memory().books.base(inode, size);
    }

    pub(super) fn settle(&self, inode: Inode, size: u64) {
        self.memory().books.settle(inode, size);
    }

    /// The net effect of the run so far, by path. Blocks.
    pub(super) fn changes(&self) -> Vec<FileChange> {
        let differences = self.memory().log.differences(|place| self.state(place));
        let mut changes: Vec<FileChange> = differences
            .into_iter()
            .map(|difference| self.file_change(difference))
            .collect();
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }

    fn file_change(&self, difference: Difference) -> FileChange {
        let kind = match difference.kind {
            Net::Plain(kind) => kind,
            Net::Renamed(from) => ChangeKind::Renamed {
                from: self.guest_path(&from),
            },
        };
        FileChange {
            path: self.guest_path(&difference.place),
            kind,
            bytes_written: difference.bytes,
            before: difference.before,
            after: difference.after,
        }
    }
}
