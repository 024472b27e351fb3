//! Drives the functions of `wasi:filesystem` as the linker would, on real directories.

mod escape;
mod journal;
mod limits;
mod protected;
mod single;
mod stream;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptor, OpenFlags, PathFlags,
};

use super::*;
use crate::capabilities::meters::LimitHit;
use crate::digest::Digest;

pub(super) const R: DescriptorFlags = DescriptorFlags::READ;
pub(super) const W: DescriptorFlags = DescriptorFlags::WRITE;
pub(super) const CREATE: OpenFlags = OpenFlags::CREATE;
pub(super) fn none() -> OpenFlags {
    OpenFlags::empty()
}
pub(super) const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
pub(super) fn keep() -> PathFlags {
    PathFlags::empty()
}

pub(super) type Fd = Resource<Descriptor>;

#[derive(Default)]
pub(super) struct Seen {
    pub(super) denied: Mutex<Vec<Denial>>,
    pub(super) changed: Mutex<Vec<Change>>,
    pub(super) limits: Mutex<Vec<LimitHit>>,
}

impl Observer for Seen {
    fn denied(&self, denial: Denial) {
        self.denied.lock().unwrap().push(denial);
    }
    fn changed(&self, change: Change) {
        self.changed.lock().unwrap().push(change);
    }
    fn limit(&self, limit: LimitHit) {
        self.limits.lock().unwrap().push(limit);
    }
}

/// A guest with directories. The first is `/work`, read-write; tests may ask for others.
pub(super) struct Guest {
    pub(super) fs: Filesystem,
    pub(super) table: ResourceTable,
    pub(super) seen: Arc<Seen>,
    pub(super) outer: TempDir,
}

impl FilesystemView for Guest {
    fn filesystem(&mut self) -> FsView<'_> {
        FsView {
            fs: &mut self.fs,
            table: &mut self.table,
        }
    }
}

pub(super) struct Setup {
    outer: TempDir,
    pub(super) limits: Limits,
    pub(super) protection: Protection,
    pub(super) access: Access,
    pub(super) extent: Extent,
    mounts: Vec<Mount>,
}

impl Setup {
    pub(super) fn new() -> Setup {
        let outer = TempDir::new().unwrap();
        fs::create_dir(outer.path().join("work")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        Setup {
            outer,
            limits: Limits::default(),
            protection: Protection::default(),
            access: Access::ReadWrite,
            extent: Extent::Whole,
            mounts: Vec::new(),
        }
    }

    /// The host's path of the guest's `/work`.
    pub(super) fn work(&self) -> PathBuf {
        self.outer.path().join("work")
    }

    pub(super) fn file(self, path: &str, content: impl AsRef<[u8]>) -> Setup {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(super) fn limits(mut self, limits: Limits) -> Setup {
        self.limits = limits;
        self
    }

    pub(super) fn mount(mut self, name: &str, access: Access) -> Setup {
        let host = self.outer.path().join(name);
        fs::create_dir_all(&host).unwrap();
        let guest = format!("/{name}");
        self.mounts.push(Mount {
            host,
            guest,
            access,
            extent: Extent::Whole,
        });
        self
    }

    pub(super) fn start(self) -> Guest {
        let seen = Arc::new(Seen::default());
        let mut mounts = vec![Mount {
            host: self.work(),
            guest: "/work".to_owned(),
            access: self.access.clone(),
            extent: self.extent.clone(),
        }];
        mounts.extend(self.mounts);
        let fs = Filesystem::new(&mounts, self.limits, &self.protection, seen.clone()).unwrap();
        Guest {
            fs,
            table: ResourceTable::new(),
            seen,
            outer: self.outer,
        }
    }
}

pub(super) fn code<T>(result: Result<T, FsError>) -> Result<T, ErrorCode> {
    result.map_err(|error| error.downcast().expect("an error code, not a trap"))
}

impl Guest {
    pub(super) fn host(&self, path: &str) -> PathBuf {
        self.outer.path().join("work").join(path)
    }

    pub(super) fn read_host(&self, path: &str) -> String {
        fs::read_to_string(self.host(path)).unwrap()
    }

    /// The `n`th granted directory.
    pub(super) fn dir(&mut self, n: usize) -> Fd {
        let mut dirs = self.filesystem().get_directories().unwrap();
        dirs.remove(n).0
    }

    pub(super) async fn open_in(
        &mut self,
        dir: &Fd,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Fd, ErrorCode> {
        self.open_with(dir, FOLLOW, path, open, flags).await
    }

    pub(super) async fn open_with(
        &mut self,
        dir: &Fd,
        links: PathFlags,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Fd, ErrorCode> {
        let dir = Resource::new_borrow(dir.rep());
        let path = path.to_owned();
        code(
            self.filesystem()
                .open_at(dir, links, path, open, flags)
                .await,
        )
    }

    /// Opens a path of `/work`.
    pub(super) async fn open(
        &mut self,
        path: &str,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> Result<Fd, ErrorCode> {
        let dir = self.dir(0);
        let result = self.open_in(&dir, path, open, flags).await;
        self.close(dir);
        result
    }

    pub(super) fn close(&mut self, fd: Fd) {
        HostDescriptor::drop(&mut self.filesystem(), fd).unwrap();
    }

    /// What `std::fs::write` does.
    pub(super) async fn write(&mut self, path: &str, content: &str) -> Result<(), ErrorCode> {
        let fd = self.open(path, CREATE | OpenFlags::TRUNCATE, W).await?;
        let result = self.write_fd(&fd, content.as_bytes(), 0).await;
        self.close(fd);
        result.map(drop)
    }

    pub(super) async fn write_fd(
        &mut self,
        fd: &Fd,
        bytes: &[u8],
        at: u64,
    ) -> Result<u64, ErrorCode> {
        let fd = Resource::new_borrow(fd.rep());
        code(self.filesystem().write(fd, bytes.to_vec(), at).await)
    }

    pub(super) async fn read(&mut self, path: &str) -> Result<String, ErrorCode> {
        let fd = self.open(path, none(), R).await?;
        let borrowed = Resource::new_borrow(fd.rep());
        let bytes = code(self.filesystem().read(borrowed, 1 << 16, 0).await);
        self.close(fd);
        bytes.map(|(bytes, _)| String::from_utf8(bytes).unwrap())
    }

    pub(super) async fn mkdir(&mut self, path: &str) -> Result<(), ErrorCode> {
        let dir = self.dir(0);
        let path = path.to_owned();
        code(self.filesystem().create_directory_at(dir, path).await)
    }

    pub(super) async fn rmdir(&mut self, path: &str) -> Result<(), ErrorCode> {
        let dir = self.dir(0);
        let path = path.to_owned();
        code(self.filesystem().remove_directory_at(dir, path).await)
    }

    pub(super) async fn unlink(&mut self, path: &str) -> Result<(), ErrorCode> {
        let dir = self.dir(0);
        let path = path.to_owned();
        code(self.filesystem().unlink_file_at(dir, path).await)
    }

    pub(super) async fn rename(&mut self, from: &str, to: &str) -> Result<(), ErrorCode> {
        let (a, b) = (self.dir(0), self.dir(0));
        let (from, to) = (from.to_owned(), to.to_owned());
        code(self.filesystem().rename_at(a, from, b, to).await)
    }

    pub(super) async fn symlink(&mut self, target: &str, path: &str) -> Result<(), ErrorCode> {
        let dir = self.dir(0);
        let (target, path) = (target.to_owned(), path.to_owned());
        code(self.filesystem().symlink_at(dir, target, path).await)
    }

    pub(super) async fn link(&mut self, from: &str, to: &str) -> Result<(), ErrorCode> {
        let (a, b) = (self.dir(0), self.dir(0));
        let (from, to) = (from.to_owned(), to.to_owned());
        code(self.filesystem().link_at(a, keep(), from, b, to).await)
    }

    pub(super) async fn touch(&mut self, path: &str, links: PathFlags) -> Result<(), ErrorCode> {
        use wasmtime_wasi::p2::bindings::filesystem::types::NewTimestamp;
        let dir = self.dir(0);
        let path = path.to_owned();
        let now = NewTimestamp::Now;
        code(
            self.filesystem()
                .set_times_at(dir, links, path, now, now)
                .await,
        )
    }

    /// Net changes as `kind path`, renames as `renamed old path`.
    pub(super) fn changes(&self) -> Vec<String> {
        self.fs.journal().changes().iter().map(change).collect()
    }

    pub(super) fn denials(&self) -> Vec<Denial> {
        std::mem::take(&mut *self.seen.denied.lock().unwrap())
    }

    pub(super) fn last_rule(&self) -> String {
        self.denials().pop().expect("a denial").rule
    }
}

fn change(change: &FileChange) -> String {
    match &change.kind {
        ChangeKind::Renamed { from } => format!("renamed {from} {}", change.path),
        kind => format!("{} {}", kind.as_str(), change.path),
    }
}

pub(super) fn hard_link(from: &Path, to: &Path) {
    fs::hard_link(from, to).unwrap();
}

#[test]
fn both_interfaces_are_linked_once() {
    let engine = wasmtime::Engine::default();
    let mut linker = Linker::<Guest>::new(&engine);
    add_to_linker(&mut linker).unwrap();
    assert!(add_to_linker(&mut linker).is_err());
}

#[test]
fn a_mount_has_to_be_a_real_directory() {
    let limits = Limits::default();
    let protection = Protection::default();
    let mount = |host: &str| {
        let mount = Mount {
            host: host.into(),
            guest: "/x".to_owned(),
            access: Access::ReadOnly,
            extent: Extent::Whole,
        };
        Filesystem::new(&[mount], limits, &protection, Arc::new(Seen::default())).map(drop)
    };
    assert!(matches!(mount("/proc"), Err(MountError::Pseudo { .. })));
    assert!(matches!(
        mount("/proc/self/fd"),
        Err(MountError::Pseudo { .. })
    ));
    assert!(matches!(mount("/sys"), Err(MountError::Pseudo { .. })));
    assert!(matches!(mount("/nowhere"), Err(MountError::Open { .. })));
    assert!(matches!(mount("/etc/passwd"), Err(MountError::Open { .. })));
    assert!(mount("/tmp").is_ok());
}

#[tokio::test]
async fn no_grant_is_no_directory() {
    let seen = Arc::new(Seen::default());
    let fs = Filesystem::new(&[], Limits::default(), &Protection::default(), seen.clone()).unwrap();
    let outer = TempDir::new().unwrap();
    let mut guest = Guest {
        fs,
        table: ResourceTable::new(),
        seen,
        outer,
    };
    assert!(guest.filesystem().get_directories().unwrap().is_empty());
}
