//! Directory listings: bounded, and always in the same order.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{AtFlags, FileType, OFlags};
use wasmtime_wasi::p2::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use super::quota::{Permit, Room};
use super::refusal::Refusal;
use super::sys::{self, Inode, Kind, Links};

/// Entries a directory may have to be listed. A listing is kept in the host's memory as a whole.
const ENTRIES_MAX: usize = 200_000;

/// What the host keeps for an entry beside its name: the entry itself, and what the allocator adds.
const ENTRY: u64 = 80;

/// What is left of a listing.
pub(super) struct Listing {
    entries: std::vec::IntoIter<Result<DirectoryEntry, ErrorCode>>,
    _permit: Permit,
    _room: Room,
}

impl Listing {
    /// Reads a directory as a whole, sorted by name: the order of the disk would tell runs apart.
    /// What is not to be kept, by name and inode, is left out.
    pub(super) fn read(
        dir: &File,
        permit: Permit,
        mut room: Room,
        is_kept: impl Fn(&str, Inode) -> bool,
    ) -> Result<Listing, Refusal> {
        // A handle of its own: the position in a directory belongs to the open file.
        let dir = sys::find_dir(dir, ".")?.reopen(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let device = dir.metadata()?.dev();
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entries.len() == ENTRIES_MAX {
                return Err(ErrorCode::Overflow.into());
            }
            room.take(ENTRY.saturating_add(name.count_bytes() as u64))?;
            let kind = match entry.file_type() {
                FileType::Unknown => kind_of(&dir, name),
                kind => kind,
            };
            // Names that are not UTF-8 have no place in a WIT string.
            let name = name.to_owned().into_string();
            let inode = Inode {
                device,
                number: entry.ino(),
            };
            entries.push(match name {
                Ok(name) if !is_kept(&name, inode) => continue,
                Ok(name) => Ok(DirectoryEntry {
                    type_: descriptor_type(kind),
                    name,
                }),
                Err(_) => Err(ErrorCode::IllegalByteSequence),
            });
        }
        entries.sort_by(|a, b| name_of(a).cmp(&name_of(b)));
        // It grew by doubling.
        entries.shrink_to_fit();
        Ok(Listing {
            entries: entries.into_iter(),
            _permit: permit,
            _room: room,
        })
    }

    /// The directory that shows these files, in the same order; those that are gone are left out.
    pub(super) fn of_files(
        dir: &File,
        files: &BTreeSet<String>,
        permit: Permit,
        mut room: Room,
    ) -> Result<Listing, Refusal> {
        let is_file = |name: &&String| {
            sys::find(dir, name.as_str(), Links::Keep).is_ok_and(|it| it.kind() == Kind::File)
        };
        let entries: Vec<_> = files
            .iter()
            .filter(is_file)
            .map(|name| {
                Ok(DirectoryEntry {
                    type_: DescriptorType::RegularFile,
                    name: name.clone(),
                })
            })
            .collect();
        for name in files {
            room.take(ENTRY.saturating_add(name.len() as u64))?;
        }
        Ok(Listing {
            entries: entries.into_iter(),
            _permit: permit,
            _room: room,
        })
    }

    pub(super) fn next(&mut self) -> Option<Result<DirectoryEntry, ErrorCode>> {
        self.entries.next()
    }
}

fn name_of(entry: &Result<DirectoryEntry, ErrorCode>) -> Option<&str> {
    entry.as_ref().ok().map(|entry| entry.name.as_str())
}

/// Some file systems do not say in a listing what an entry is.
fn kind_of(dir: &File, name: &std::ffi::CStr) -> FileType {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => FileType::from_raw_mode(stat.st_mode),
        Err(_) => FileType::Unknown,
    }
}

fn descriptor_type(kind: FileType) -> DescriptorType {
    match kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::Fifo => DescriptorType::Fifo,
        FileType::Socket => DescriptorType::Socket,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::Unknown => DescriptorType::Unknown,
    }
}
