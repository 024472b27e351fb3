//! The granted directories of one run, and everything that is decided and remembered about them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::Digest;
use super::log::{Difference, Log, Net, State};
use super::observe::{Change, ChangeKind, Denial, FileChange, LimitHit, Observer, Operation};
use super::place::Place;
use super::protect::Rules;
use super::quota::{Books, Handles, Limit, Limits, Permit};
use super::sys::{self, Found, Inode, Kind, Links};

/// Files up to this size get a digest. Larger ones are compared by size and by whether they were
/// written: 64 MiB take about 50 ms, and one call of a guest should not cost more.
pub(super) const DIGEST_MAX: u64 = 64 << 20;

/// Files up to this size get their digest where they are closed. Closing runs on the executor, which
/// 256 KiB hold up for less than a millisecond; larger ones wait for the next call that may block.
const DIGEST_INLINE: u64 = 256 << 10;

/// Bound of the path names kept for the list of changes, in bytes. `files` is the limit meant to be
/// met; this one only keeps 10 000 names of 4 KiB each from becoming the host's problem.
const LOG_WEIGHT: usize = 32 << 20;

/// The longest path taken from a guest, as Linux has it.
const PATH_MAX: usize = 4096;

/// A granted directory.
pub(super) struct Root {
    pub(super) guest: String,
    pub(super) dir: Arc<File>,
    pub(super) writable: bool,
    pub(super) device: u64,
    /// The last names of its path on the host, folded: a rule may begin in them.
    pub(super) tail: Vec<String>,
}

/// Why an operation does not take place.
pub(super) enum Refusal {
    /// The system says so, or the arguments make no sense.
    Code(ErrorCode),
    /// A rule of ours says so.
    Rule {
        code: ErrorCode,
        path: String,
        rule: String,
    },
    /// A limit is reached.
    Limit(Limit),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Code(code(&error))
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(error: rustix::io::Errno) -> Refusal {
        io::Error::from(error).into()
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        Refusal::Code(code)
    }
}

impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Refusal {
        Refusal::Limit(limit)
    }
}

/// The error code of a system error; more of them than wasmtime-wasi tells apart.
fn code(error: &io::Error) -> ErrorCode {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::XDEV) => ErrorCode::CrossDevice,
        Some(Errno::DQUOT) => ErrorCode::Quota,
        Some(Errno::ROFS) => ErrorCode::ReadOnly,
        Some(Errno::AGAIN) => ErrorCode::WouldBlock,
        Some(Errno::TXTBSY) => ErrorCode::TextFileBusy,
        Some(Errno::NODEV) => ErrorCode::NoDevice,
        Some(Errno::NXIO) => ErrorCode::NoSuchDevice,
        Some(Errno::MFILE | Errno::NFILE) => ErrorCode::InsufficientMemory,
        _ => ErrorCode::from(error),
    }
}

impl Limit {
    /// What the guest gets to see.
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Limit::DiskBytes | Limit::Files => ErrorCode::Quota,
            Limit::FileBytes => ErrorCode::FileTooLarge,
            Limit::Handles => ErrorCode::InsufficientMemory,
        }
    }
}

/// A file some handle of the guest's is open on.
struct OpenFile {
    place: Place,
    handles: u32,
    writers: u32,
    /// Its last name was removed; its bytes stay until the last handle goes.
    unlinked: bool,
    dirty: bool,
    bytes: u64,
    created: bool,
}

#[derive(Default)]
struct Memory {
    books: Books,
    log: Log,
    open: HashMap<Inode, OpenFile>,
    /// Closed after writing, too large to read where they were closed.
    unread: VecDeque<Closed>,
    told: BTreeSet<&'static str>,
}

struct Closed {
    place: Place,
    bytes: u64,
    created: bool,
    inode: Inode,
}

/// The granted directories of one run.
pub(super) struct Disk {
    pub(super) roots: Vec<Root>,
    pub(super) limits: Limits,
    pub(super) handles: Arc<Handles>,
    pub(super) rules: Rules,
    observer: Arc<dyn Observer>,
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
            roots,
            limits,
            handles: Handles::new(limits.handles),
            observer,
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
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

    /// Turns a refusal into the guest's error code, and tells the observer when it was ours.
    pub(super) fn refuse(&self, operation: Operation, refusal: Refusal) -> ErrorCode {
        match refusal {
            Refusal::Code(code) => code,
            Refusal::Rule { code, path, rule } => {
                self.observer.denied(Denial {
                    operation,
                    path,
                    rule,
                });
                code
            }
            Refusal::Limit(limit) => self.hit(limit),
        }
    }

    pub(super) fn answer<T>(
        &self,
        operation: Operation,
        result: Result<T, Refusal>,
    ) -> Result<T, FsError> {
        result.map_err(|refusal| self.refuse(operation, refusal).into())
    }

    pub(super) fn hit(&self, limit: Limit) -> ErrorCode {
        if self.memory().told.insert(limit.name()) {
            self.observer.limit(LimitHit {
                name: limit.name(),
                max: limit.max(&self.limits),
            });
        }
        limit.code()
    }

    pub(super) fn permit(&self) -> Result<Permit, Refusal> {
        Ok(self.handles.take()?)
    }

    /// Disk bytes and files counted so far.
    pub(super) fn used(&self) -> (u64, u64) {
        let memory = self.memory();
        (memory.books.disk(), memory.books.files())
    }

    // Finding things.

    /// Finds what a path of the guest's names. Everything a guest can name comes through here or
    /// through [`Disk::parent`].
    pub(super) fn find(&self, from: &Dir, path: &str, links: Links) -> Result<Found, Refusal> {
        check(path)?;
        sys::find(&from.dir, path, links).map_err(|error| self.lookup(from, path, &error))
    }

    /// Finds the directory a path's last component lies in.
    pub(super) fn parent(&self, from: &Dir, path: &str) -> Result<Parent, Refusal> {
        check(path)?;
        let trimmed = path.trim_end_matches('/');
        let (dir, name) = match trimmed.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((dir, name)) => (dir, name),
            None => (".", trimmed),
        };
        let found =
            sys::find_dir(&from.dir, dir).map_err(|error| self.lookup(from, path, &error))?;
        if matches!(name, "" | "." | "..") {
            // It names the directory that is there already; nothing can be done to it by name.
            self.find(from, path, Links::Keep)?;
            return Err(ErrorCode::Invalid.into());
        }
        if found.links() == 0 {
            return Err(ErrorCode::NoEntry.into());
        }
        let place = self.place(from.mount, found.handle())?.child(name);
        Ok(Parent {
            dir: found,
            name: name.to_owned(),
            place,
            slash: trimmed.len() < path.len(),
        })
    }

    fn lookup(&self, from: &Dir, path: &str, error: &io::Error) -> Refusal {
        if code(error) == ErrorCode::CrossDevice {
            self.outside(from.mount, path)
        } else {
            Refusal::Code(code(error))
        }
    }

    pub(super) fn outside(&self, mount: usize, path: &str) -> Refusal {
        let guest = self.roots.get(mount).map_or("", |root| root.guest.as_str());
        Refusal::Rule {
            code: ErrorCode::NotPermitted,
            path: path.to_owned(),
            rule: format!("leads out of the granted directory `{guest}`"),
        }
    }

    /// Where something is, as the kernel says.
    pub(super) fn place(&self, mount: usize, handle: &File) -> Result<Place, Refusal> {
        let root = self.root(mount)?;
        // Asked anew every time: the granted directory itself may be moved while a run goes on.
        let base = sys::location(&root.dir)?;
        let path = sys::location(handle)?;
        match path.strip_prefix(&base) {
            Ok(rel) => Ok(Place {
                mount,
                rel: rel.to_owned(),
            }),
            // Somebody has moved it out of the granted directory while the guest held it open.
            Err(_) => Err(self.outside(mount, &path.to_string_lossy())),
        }
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
            Ok(found) => state_of(&found),
            Err(_) => State::Absent,
        }
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

    pub(super) fn may_create(&self) -> Result<(), Refusal> {
        let memory = self.memory();
        if memory.log.weight() > LOG_WEIGHT {
            return Err(Limit::Files.into());
        }
        Ok(memory.books.may_create(&self.limits)?)
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

    pub(super) fn base(&self, inode: Inode, size: u64) {
        self.memory().books.base(inode, size);
    }

    pub(super) fn settle(&self, inode: Inode, size: u64) {
        self.memory().books.settle(inode, size);
    }

    /// Bytes were written to an open file, or its size was set.
    pub(super) fn wrote(&self, inode: Inode, bytes: u64) {
        let mut memory = self.memory();
        if let Some(open) = memory.open.get_mut(&inode) {
            open.dirty = true;
            open.bytes = open.bytes.saturating_add(bytes);
            if !open.unlinked {
                let place = open.place.clone();
                memory.log.written(&place, bytes);
            }
        }
    }

    /// Counts a handle on a file.
    pub(super) fn lease(self: &Arc<Self>, file: Leased) -> Lease {
        let Leased {
            inode,
            place,
            writes,
            created,
        } = file;
        let mut memory = self.memory();
        let open = memory.open.entry(inode).or_insert_with(|| OpenFile {
            place,
            handles: 0,
            writers: 0,
            unlinked: false,
            dirty: false,
            bytes: 0,
            created: false,
        });
        open.handles += 1;
        open.writers += u32::from(writes);
        open.created |= created;
        open.dirty |= created;
        drop(memory);
        Lease {
            disk: Arc::clone(self),
            inode,
            writes,
        }
    }

    fn unlease(&self, inode: Inode, writes: bool) {
        let mut memory = self.memory();
        let Some(open) = memory.open.get_mut(&inode) else {
            return;
        };
        open.handles = open.handles.saturating_sub(1);
        open.writers = open.writers.saturating_sub(u32::from(writes));
        let mut closed = None;
        if open.writers == 0 && open.dirty {
            open.dirty = false;
            closed = (!open.unlinked).then(|| Closed {
                place: open.place.clone(),
                bytes: std::mem::take(&mut open.bytes),
                created: std::mem::take(&mut open.created),
                inode,
            });
        }
        if open.handles == 0 {
            let unlinked = open.unlinked;
            memory.open.remove(&inode);
            if unlinked {
                memory.books.release(inode);
            }
        }
        drop(memory);
        if let Some(closed) = closed
            && let Some(closed) = self.tell_written(closed, DIGEST_INLINE)
        {
            self.memory().unread.push_back(closed);
        }
    }

    /// Tells of a file that was written and closed; gives it back when it is larger than `max`.
    fn tell_written(&self, closed: Closed, max: u64) -> Option<Closed> {
        let root = self.roots.get(closed.place.mount)?;
        let found = sys::find(&root.dir, closed.place.rel.as_path(), Links::Keep).ok()?;
        if found.inode() != closed.inode {
            return None;
        }
        self.settle(closed.inode, found.size());
        if found.size() > max && found.size() <= DIGEST_MAX {
            return Some(closed);
        }
        let before = self.before(&closed.place);
        let after = state_of(&found).digest();
        let kind = if closed.created {
            ChangeKind::Created
        } else {
            ChangeKind::Modified
        };
        self.observer.changed(Change {
            path: self.guest_path(&closed.place),
            kind,
            bytes_written: closed.bytes,
            before,
            after,
        });
        None
    }

    /// Tells of large files that were closed. Blocks.
    pub(super) fn catch_up(&self) {
        while let Some(closed) = { self.memory().unread.pop_front() } {
            self.tell_written(closed, DIGEST_MAX);
        }
    }

    pub(super) fn tell(&self, place: &Place, kind: ChangeKind, before: Option<Digest>) {
        let after = match kind {
            ChangeKind::Deleted | ChangeKind::DirRemoved | ChangeKind::DirCreated => None,
            _ => self.state(place).digest(),
        };
        self.observer.changed(Change {
            path: self.guest_path(place),
            kind,
            bytes_written: 0,
            before,
            after,
        });
    }

    /// Tells of files that are still open for writing. Blocks.
    pub(super) fn tell_open(&self) {
        self.catch_up();
        let closed: Vec<Closed> = self
            .memory()
            .open
            .iter_mut()
            .filter(|(_, open)| open.dirty && !open.unlinked)
            .map(|(inode, open)| {
                open.dirty = false;
                Closed {
                    place: open.place.clone(),
                    bytes: std::mem::take(&mut open.bytes),
                    created: std::mem::take(&mut open.created),
                    inode: *inode,
                }
            })
            .collect();
        for closed in closed {
            self.tell_written(closed, DIGEST_MAX);
        }
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

/// What a path of a guest may look like at all.
fn check(path: &str) -> Result<(), Refusal> {
    if path.is_empty() {
        Err(ErrorCode::NoEntry.into())
    } else if path.len() > PATH_MAX {
        Err(ErrorCode::NameTooLong.into())
    } else if path.contains('\0') {
        Err(ErrorCode::Invalid.into())
    } else {
        Ok(())
    }
}

fn state_of(found: &Found) -> State {
    match found.kind() {
        Kind::Dir => State::Dir,
        Kind::Special => State::Special,
        Kind::File => {
            let digest = (found.size() <= DIGEST_MAX)
                .then(|| found.reopen(OFlags::RDONLY).ok())
                .flatten()
                .and_then(|file| Digest::of_file(&file, DIGEST_MAX).ok().flatten());
            State::File {
                size: found.size(),
                digest,
            }
        }
        Kind::Symlink => match found.target() {
            Ok(target) => State::Symlink(Digest::of(&target)),
            Err(_) => State::Special,
        },
    }
}

/// A directory of the guest's, as the start of a path.
#[derive(Clone)]
pub(super) struct Dir {
    pub(super) mount: usize,
    pub(super) dir: Arc<File>,
}

/// The directory a name lies in, and the name.
pub(super) struct Parent {
    pub(super) dir: Found,
    pub(super) name: String,
    /// Canonical place of the name.
    pub(super) place: Place,
    /// The path ended in a slash: only a directory is meant.
    pub(super) slash: bool,
}

impl Parent {
    pub(super) fn handle(&self) -> &File {
        self.dir.handle()
    }

    /// What the name stands for, links not followed.
    pub(super) fn found(&self) -> io::Result<Found> {
        sys::find(self.handle(), &self.name, Links::Keep)
    }
}

/// What is to be counted as open.
pub(super) struct Leased {
    pub(super) inode: Inode,
    pub(super) place: Place,
    pub(super) writes: bool,
    pub(super) created: bool,
}

/// A counted handle on a file. When the last one that writes goes, the change is told.
pub(super) struct Lease {
    disk: Arc<Disk>,
    inode: Inode,
    writes: bool,
}

impl Lease {
    pub(super) fn inode(&self) -> Inode {
        self.inode
    }

    pub(super) fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Another handle on the same file, for a stream that outlives its descriptor.
    pub(super) fn again(&self) -> Lease {
        let mut memory = self.disk.memory();
        if let Some(open) = memory.open.get_mut(&self.inode) {
            open.handles += 1;
            open.writers += u32::from(self.writes);
        }
        drop(memory);
        Lease {
            disk: Arc::clone(&self.disk),
            inode: self.inode,
            writes: self.writes,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.disk.unlease(self.inode, self.writes);
    }
}
