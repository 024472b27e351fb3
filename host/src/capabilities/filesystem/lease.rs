//! Files the guest holds open: who writes to them, and what is told when the last writer goes.

use std::sync::Arc;

use super::disk::{DIGEST_MAX, Disk};
use super::observe::{Change, ChangeKind};
use super::place::Place;
use super::sys::{self, Inode, Links};
use crate::digest::Digest;

/// Files up to this size get their digest where they are closed. Closing runs on the executor, which
/// 256 KiB hold up for less than a millisecond; larger ones wait for the next call that may block.
const DIGEST_INLINE: u64 = 256 << 10;

/// A file some handle of the guest's is open on.
pub(super) struct OpenFile {
    pub(super) place: Place,
    handles: u32,
    writers: u32,
    /// Its last name was removed; its bytes stay until the last handle goes.
    pub(super) unlinked: bool,
    dirty: bool,
    bytes: u64,
    created: bool,
}

/// A file that was written and closed, and that nobody was told of yet.
pub(super) struct Closed {
    pub(super) place: Place,
    bytes: u64,
    created: bool,
    inode: Inode,
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

impl Disk {
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
        let after = self.look(&found).digest();
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
}
