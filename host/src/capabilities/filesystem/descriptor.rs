//! The functions of `wasi:filesystem`: arguments in, our walls, wasmtime-wasi's implementation, answer out.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{self, Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi::{FsPerms, OpenMode};

use super::disk::{Disk, Root};
use super::extent::{Extent, Shown};
use super::lease::Lease;
use super::listing::Listing;
use super::observe::Operation;
use super::open::{How, Opened};
use super::quota::Permit;
use super::refusal::Refusal;
use super::resolve::Dir;
use super::stream::{CountedInput, CountedOutput, Position, WriteRefused};
use super::sys::Links;
use super::{FsView, Threading};
use crate::trajectory::Touch;

use types::ErrorCode;

type Fd = Resource<Descriptor>;

/// What we know of a descriptor beyond what wasmtime-wasi knows.
pub(super) enum Handle {
    Dir {
        mount: usize,
        /// Where it is beneath the granted directory.
        at: Arc<str>,
        _permit: Permit,
    },
    File(FileHandle),
}

pub(super) struct FileHandle {
    mount: usize,
    writes: bool,
    lease: Lease,
    _permit: Permit,
}

impl FsView<'_> {
    /// wasmtime-wasi's own implementation, for what happens to a descriptor that is already open.
    fn inner(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView {
            ctx: &mut self.fs.wasi,
            table: self.table,
        }
    }

    fn disk(&self) -> Arc<Disk> {
        Arc::clone(&self.fs.disk)
    }

    fn dir(&self, fd: &Fd) -> FsResult<Dir> {
        let Descriptor::Dir(dir) = self.table.get(fd)? else {
            return Err(ErrorCode::NotDirectory.into());
        };
        match self.fs.open.get(&fd.rep()) {
            Some(Handle::Dir { mount, at, .. }) => Ok(Dir {
                mount: *mount,
                dir: Arc::clone(&dir.dir),
                at: Arc::clone(at),
            }),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    fn file(&self, fd: &Fd) -> FsResult<(Arc<File>, &FileHandle)> {
        let Descriptor::File(file) = self.table.get(fd)? else {
            return Err(ErrorCode::IsDirectory.into());
        };
        match self.fs.open.get(&fd.rep()) {
            Some(Handle::File(handle)) => Ok((Arc::clone(&file.file), handle)),
            _ => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// What a descriptor stands for, and the granted directory it is in.
    fn opened(&self, fd: &Fd) -> FsResult<(usize, Arc<File>)> {
        Ok(match self.table.get(fd)? {
            Descriptor::Dir(_) => {
                let dir = self.dir(fd)?;
                (dir.mount, dir.dir)
            }
            Descriptor::File(_) => {
                let (file, handle) = self.file(fd)?;
                (handle.mount, file)
            }
        })
    }

    fn stable(&self, stat: types::DescriptorStat) -> types::DescriptorStat {
        match &self.fs.stable {
            Some(stable) => stable.stat(stat),
            None => stat,
        }
    }

    /// A file that was opened for writing.
    fn writer(&self, fd: &Fd) -> FsResult<(Arc<File>, &FileHandle)> {
        let (file, handle) = self.file(fd)?;
        if handle.writes {
            Ok((file, handle))
        } else {
            Err(ErrorCode::NotPermitted.into())
        }
    }

    /// Does something that may block where it may.
    ///
    /// What it does and what is remembered of it happen in one piece, whether or not the guest is still
    /// there to hear of it.
    async fn blocking<T: Send + 'static>(
        &mut self,
        operation: Operation,
        body: impl FnOnce(&Arc<Disk>) -> Result<T, Refusal> + Send + 'static,
    ) -> FsResult<T> {
        let disk = self.disk();
        let whole = move || {
            disk.catch_up();
            let result = body(&disk);
            disk.answer(operation, result)
        };
        let done = match self.fs.threading {
            Threading::Caller => whole(),
            Threading::Pool => {
                let meters = Arc::clone(&self.fs.meters);
                tokio::task::spawn_blocking(move || meters.working(whole))
                    .await
                    .map_err(FsError::trap)?
            }
        };
        self.paced().await;
        done
    }

    /// Refuses what the host keeps for itself, before wasmtime-wasi looks at the path.
    async fn revealed(
        &mut self,
        operation: Operation,
        dir: &Dir,
        path: &str,
        links: Links,
    ) -> FsResult<()> {
        if self.fs.disk.withheld.is_empty() {
            return Ok(());
        }
        let (dir, path) = (dir.clone(), path.to_owned());
        self.blocking(operation, move |disk| {
            match disk.find(&dir, &path, links) {
                Err(refusal @ Refusal::Rule { .. }) => Err(refusal),
                // What else is wrong with it is said by whoever looks next.
                Ok(_) | Err(_) => Ok(()),
            }
        })
        .await
    }

    /// Lets whoever looks after the run hold the guest back, where a call has told more than anybody has heard. On
    /// the guest's own thread nothing else would stop it before it has computed for a while.
    async fn paced(&mut self) {
        if self.fs.disk.observer.is_behind() {
            tokio::task::yield_now().await;
        }
    }

    fn push(&mut self, descriptor: Descriptor, handle: Handle) -> FsResult<Fd> {
        let fd = self.table.push(descriptor)?;
        self.fs.open.insert(fd.rep(), handle);
        Ok(fd)
    }

    fn push_opened(
        &mut self,
        mount: usize,
        opened: Opened,
        how: How,
        permit: Permit,
    ) -> FsResult<Fd> {
        let inline = matches!(self.fs.threading, Threading::Caller);
        let perms = match self.fs.disk.roots.get(mount) {
            Some(root) => perms_of(root),
            None => FsPerms::ReadOnly,
        };
        match opened {
            Opened::Dir(dir, at) => {
                let dir = filesystem::Dir::new(dir, perms, mode_of(perms), inline);
                let handle = Handle::Dir {
                    mount,
                    at,
                    _permit: permit,
                };
                self.push(Descriptor::Dir(dir), handle)
            }
            Opened::File(file, lease) => {
                let mut mode = OpenMode::empty();
                mode.set(OpenMode::READ, how.read || !how.writes());
                mode.set(OpenMode::WRITE, how.writes());
                let file = filesystem::File::new(file, perms, mode, inline);
                let handle = Handle::File(FileHandle {
                    mount,
                    writes: how.writes(),
                    lease,
                    _permit: permit,
                });
                self.push(Descriptor::File(file), handle)
            }
        }
    }

    /// What a path stands for that wasmtime-wasi is about to look up.
    fn shown(&self, operation: Operation, from: &Dir, path: &str) -> FsResult<Shown> {
        let disk = &self.fs.disk;
        disk.answer(operation, disk.extent(from.mount, path))
    }

    /// Tells of a lookup that wasmtime-wasi has refused because it leads out of the directory.
    fn told_escape<T>(
        &self,
        operation: Operation,
        from: &Dir,
        path: &str,
        result: FsResult<T>,
    ) -> FsResult<T> {
        if let Err(error) = &result
            && matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted))
        {
            let disk = &self.fs.disk;
            let refusal = disk.outside(from.mount, &disk.shown(from, path));
            return Err(disk.refuse(operation, refusal).into());
        }
        result
    }

    /// Tells what came of looking at a path.
    fn looked(
        &self,
        dir: &Dir,
        path: &str,
        links: Links,
        result: &FsResult<types::DescriptorStat>,
    ) {
        let kind = match result {
            Ok(stat) => Ok(stat.type_),
            Err(error) => match error.downcast_ref() {
                Some(code) => Err(*code),
                None => return,
            },
        };
        self.fs.disk.looked(dir, path, links, kind);
    }

    fn counted_output(
        &mut self,
        fd: &Fd,
        inner: Resource<DynOutputStream>,
        position: Position,
    ) -> FsResult<Resource<DynOutputStream>> {
        let inner = self.table.delete(inner)?;
        let (file, handle) = self.writer(fd)?;
        let lease = handle.lease.again();
        let disk = self.disk();
        let permit = disk.answer(Operation::Write, disk.permit())?;
        let stream = CountedOutput::new(inner, file, position, lease, permit);
        Ok(self.table.push(Box::new(stream) as DynOutputStream)?)
    }
}

impl preopens::Host for FsView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let disk = self.disk();
        let mut directories = Vec::new();
        for (mount, root) in disk.roots.iter().enumerate() {
            let Ok(permit) = disk.permit().map_err(|it| disk.refuse(Operation::Open, it)) else {
                // The function has no error to answer with; a guest that asks that often knows them.
                break;
            };
            let perms = perms_of(root);
            let inline = matches!(self.fs.threading, Threading::Caller);
            let dir = root.dir.try_clone()?;
            let dir = filesystem::Dir::new(dir, perms, mode_of(perms), inline);
            let handle = Handle::Dir {
                mount,
                at: Arc::default(),
                _permit: permit,
            };
            let fd = self.push(Descriptor::Dir(dir), handle)?;
            directories.push((fd, root.guest.clone()));
        }
        Ok(directories)
    }
}

impl types::Host for FsView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        if let Some(WriteRefused(code)) = self.table.get(&error)?.downcast_ref() {
            return Ok(Some(*code));
        }
        self.inner().filesystem_error_code(error)
    }
}

impl types::HostDescriptor for FsView<'_> {
    async fn advise(
        &mut self,
        fd: Fd,
        offset: types::Filesize,
        len: types::Filesize,
        advice: types::Advice,
    ) -> FsResult<()> {
        self.inner().advise(fd, offset, len, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.inner().sync_data(fd).await
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<types::DescriptorFlags> {
        self.inner().get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<types::DescriptorType> {
        self.inner().get_type(fd).await
    }

    async fn set_size(&mut self, fd: Fd, size: types::Filesize) -> FsResult<()> {
        let (file, handle) = self.writer(&fd)?;
        let inode = handle.lease.inode();
        let disk = self.disk();
        let old = file.metadata()?.len();
        if let Err(limit) = disk.grow(inode, old, size) {
            return Err(disk.hit(limit).into());
        }
        disk.wrote(inode, 0);
        self.inner().set_size(fd, size).await?;
        // As it is, not as it was asked for: a stream may have written meanwhile.
        disk.settle(inode, file.metadata()?.len());
        Ok(())
    }

    async fn set_times(
        &mut self,
        fd: Fd,
        atim: types::NewTimestamp,
        mtim: types::NewTimestamp,
    ) -> FsResult<()> {
        let (mount, handle) = self.opened(&fd)?;
        let times = timestamps(atim, mtim)?;
        self.blocking(Operation::SetTimes, move |disk| {
            disk.set_times(mount, handle, &times)
        })
        .await
    }

    async fn read(
        &mut self,
        fd: Fd,
        len: types::Filesize,
        offset: types::Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        self.inner().read(fd, len, offset).await
    }

    async fn write(
        &mut self,
        fd: Fd,
        buf: Vec<u8>,
        offset: types::Filesize,
    ) -> FsResult<types::Filesize> {
        let (file, handle) = self.writer(&fd)?;
        let inode = handle.lease.inode();
        let disk = self.disk();
        let size = file.metadata()?.len();
        let end = offset.saturating_add(buf.len() as u64);
        if let Err(limit) = disk.grow(inode, size, end) {
            return Err(disk.hit(limit).into());
        }
        let buf = disk.content(inode, offset, buf.into())?.into();
        self.paced().await;
        // Said before it happens: a write that is cut off half-way is a write.
        disk.wrote(inode, 0);
        let written = self.inner().write(fd, buf, offset).await?;
        disk.wrote(inode, written);
        Ok(written)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let dir = self.dir(&fd)?;
        let listing = self
            .blocking(Operation::Open, move |disk| {
                let permit = disk.permit()?;
                disk.touched(&dir, "", Touch::Listed);
                match &disk.root(dir.mount)?.extent {
                    Extent::Whole => {
                        let is_withheld = disk.withheld_in(&dir)?;
                        Listing::read(&dir.dir, permit, disk.listing_room(), |name, inode| {
                            !is_withheld(name, inode)
                        })
                    }
                    Extent::Files(files) => {
                        Listing::of_files(&dir.dir, files, permit, disk.listing_room())
                    }
                }
            })
            .await?;
        let listing = self.table.push(listing)?;
        // The table tells entries apart by what they are, not by what the guest's type is called.
        Ok(Resource::new_own(listing.rep()))
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.inner().sync(fd).await
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.blocking(Operation::CreateDirectory, move |disk| {
            disk.create_directory(&dir, &path)
        })
        .await
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<types::DescriptorStat> {
        let shown = match self.dir(&fd) {
            Ok(dir) => self.shown(Operation::Stat, &dir, ".")?,
            Err(_) => Shown::Any,
        };
        let stat = shown.stat(self.inner().stat(fd).await?);
        Ok(self.stable(stat))
    }

    async fn stat_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        let dir = self.dir(&fd)?;
        let shown = self.shown(Operation::Stat, &dir, &path)?;
        self.revealed(Operation::Stat, &dir, &path, links(flags))
            .await?;
        let flags = path_flags(shown.links(links(flags)));
        let result = self.inner().stat_at(fd, flags, path.clone()).await;
        self.looked(&dir, &path, links(flags), &result);
        self.paced().await;
        let stat = self.told_escape(Operation::Stat, &dir, &path, result)?;
        Ok(self.stable(shown.stat(stat)))
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
        atim: types::NewTimestamp,
        mtim: types::NewTimestamp,
    ) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        let times = timestamps(atim, mtim)?;
        self.blocking(Operation::SetTimes, move |disk| {
            disk.set_times_at(&dir, &path, links(flags), &times)
        })
        .await
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let (from, to) = (self.dir(&fd)?, self.dir(&new_fd)?);
        if links(flags) == Links::Follow {
            return Err(ErrorCode::Invalid.into());
        }
        self.blocking(Operation::Link, move |disk| {
            disk.link(&from, &old_path, &to, &new_path)
        })
        .await
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
        open_flags: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Fd> {
        use types::{DescriptorFlags as D, OpenFlags as O};
        let dir = self.dir(&fd)?;
        if flags
            .intersects(D::FILE_INTEGRITY_SYNC | D::DATA_INTEGRITY_SYNC | D::REQUESTED_WRITE_SYNC)
        {
            return Err(ErrorCode::Unsupported.into());
        }
        let how = How {
            links: links(path_flags),
            create: open_flags.contains(O::CREATE),
            exclusive: open_flags.contains(O::EXCLUSIVE),
            truncate: open_flags.contains(O::TRUNCATE),
            directory: open_flags.contains(O::DIRECTORY),
            read: flags.contains(D::READ),
            write: flags.contains(D::WRITE),
        };
        let mount = dir.mount;
        let (opened, permit) = self
            .blocking(Operation::Open, move |disk| {
                let permit = disk.permit()?;
                Ok((disk.open(&dir, &path, how)?, permit))
            })
            .await?;
        self.push_opened(mount, opened, how, permit)
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        let dir = self.dir(&fd)?;
        if self.shown(Operation::ReadLink, &dir, &path)? != Shown::Any {
            return Err(ErrorCode::Invalid.into());
        }
        self.revealed(Operation::ReadLink, &dir, &path, Links::Keep)
            .await?;
        let result = self.inner().readlink_at(fd, path.clone()).await;
        if result.is_ok() {
            self.fs.disk.touched(&dir, "", Touch::Link);
        }
        self.paced().await;
        self.told_escape(Operation::ReadLink, &dir, &path, result)
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.blocking(Operation::RemoveDirectory, move |disk| {
            disk.remove_directory(&dir, &path)
        })
        .await
    }

    async fn rename_at(
        &mut self,
        fd: Fd,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        let (from, to) = (self.dir(&fd)?, self.dir(&new_fd)?);
        self.blocking(Operation::Rename, move |disk| {
            disk.rename(&from, &old_path, &to, &new_path)
        })
        .await
    }

    async fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.blocking(Operation::Symlink, move |disk| {
            disk.symlink(&dir, &target, &path)
        })
        .await
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        let dir = self.dir(&fd)?;
        self.blocking(Operation::Unlink, move |disk| disk.unlink(&dir, &path))
            .await
    }

    fn read_via_stream(
        &mut self,
        fd: Fd,
        offset: types::Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let (_, handle) = self.file(&fd)?;
        let lease = handle.lease.again();
        let disk = self.disk();
        let permit = disk.answer(Operation::Open, disk.permit())?;
        let inner = self.inner().read_via_stream(fd, offset)?;
        let inner = self.table.delete(inner)?;
        let stream = CountedInput::new(inner, lease, permit);
        Ok(self.table.push(Box::new(stream) as DynInputStream)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Fd,
        offset: types::Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd)?;
        let inner = self.inner().write_via_stream(again(&fd), offset)?;
        self.counted_output(&fd, inner, Position::At(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.writer(&fd)?;
        let inner = self.inner().append_via_stream(again(&fd))?;
        self.counted_output(&fd, inner, Position::End)
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        self.inner().is_same_object(a, b).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<types::MetadataHashValue> {
        if self.fs.stable.is_some() {
            let (mount, handle) = self.opened(&fd)?;
            let disk = self.disk();
            return disk.answer(Operation::Stat, disk.identity(mount, &handle));
        }
        self.inner().metadata_hash(fd).await
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        let dir = self.dir(&fd)?;
        let asked = flags;
        let shown = self.shown(Operation::Stat, &dir, &path)?;
        let flags = path_flags(shown.links(links(flags)));
        self.fs.disk.touched(&dir, &path, Touch::Identity);
        if self.fs.stable.is_some() {
            let disk = self.disk();
            let found = disk.find(&dir, &path, links(flags));
            let identity = found.and_then(|found| disk.identity(dir.mount, found.handle()));
            return disk.answer(Operation::Stat, identity);
        }
        self.paced().await;
        let kept = shown.links(links(asked));
        self.revealed(Operation::Stat, &dir, &path, kept).await?;
        let result = self.inner().metadata_hash_at(fd, flags, path.clone()).await;
        self.told_escape(Operation::Stat, &dir, &path, result)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        let rep = fd.rep();
        types::HostDescriptor::drop(&mut self.inner(), fd)?;
        // After the descriptor, so that the last handle on a file is gone when its change is told.
        self.fs.open.remove(&rep);
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for FsView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        let listing: Resource<Listing> = Resource::new_borrow(stream.rep());
        let entry = self.table.get_mut(&listing)?.next();
        Ok(entry.transpose()?)
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        let listing: Resource<Listing> = Resource::new_own(stream.rep());
        self.table.delete(listing)?;
        Ok(())
    }
}

fn perms_of(root: &Root) -> FsPerms {
    if root.writable {
        FsPerms::ReadWrite
    } else {
        FsPerms::ReadOnly
    }
}

/// What `get-flags` says of a directory.
fn mode_of(perms: FsPerms) -> OpenMode {
    match perms {
        FsPerms::ReadOnly => OpenMode::READ,
        FsPerms::ReadWrite => OpenMode::READ | OpenMode::WRITE,
    }
}

/// The same descriptor, for a callee that wants one of its own.
fn again(fd: &Fd) -> Fd {
    Resource::new_borrow(fd.rep())
}

fn links(flags: types::PathFlags) -> Links {
    if flags.contains(types::PathFlags::SYMLINK_FOLLOW) {
        Links::Follow
    } else {
        Links::Keep
    }
}

fn path_flags(links: Links) -> types::PathFlags {
    match links {
        Links::Follow => types::PathFlags::SYMLINK_FOLLOW,
        Links::Keep => types::PathFlags::empty(),
    }
}

fn timestamps(
    access: types::NewTimestamp,
    modification: types::NewTimestamp,
) -> Result<Timestamps, ErrorCode> {
    Ok(Timestamps {
        last_access: timespec(access)?,
        last_modification: timespec(modification)?,
    })
}

fn timespec(time: types::NewTimestamp) -> Result<Timespec, ErrorCode> {
    Ok(match time {
        types::NewTimestamp::NoChange => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        types::NewTimestamp::Now => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        types::NewTimestamp::Timestamp(time) => {
            let carry = u64::from(time.nanoseconds / 1_000_000_000);
            let seconds = time.seconds.checked_add(carry).ok_or(ErrorCode::Overflow)?;
            Timespec {
                tv_sec: i64::try_from(seconds).map_err(|_| ErrorCode::Overflow)?,
                tv_nsec: (time.nanoseconds % 1_000_000_000).into(),
            }
        }
    })
}
