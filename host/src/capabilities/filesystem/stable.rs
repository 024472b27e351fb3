//! What a file system says of a file beside its content, made the same on every machine.
//!
//! Times, inode numbers, link counts and the size of directories differ from one copy of a directory to the
//! next. A run that is to be repeated sees none of it: every file is as old as the run, and is who it is by
//! its path.

use std::fs::File;

use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorStat, DescriptorType, MetadataHashValue,
};

use super::disk::Disk;
use super::refusal::Refusal;
use crate::digest::Digest;

/// What is the same in every run.
#[derive(Clone, Copy, Debug)]
pub struct Stable {
    /// What all times of all files are.
    pub time: Datetime,
}

impl Stable {
    /// What is said of a file.
    pub(super) fn stat(&self, mut stat: DescriptorStat) -> DescriptorStat {
        stat.data_access_timestamp = Some(self.time);
        stat.data_modification_timestamp = Some(self.time);
        stat.status_change_timestamp = Some(self.time);
        stat.link_count = 1;
        if stat.type_ == DescriptorType::Directory {
            stat.size = 0;
        }
        stat
    }
}

impl Disk {
    /// Who something is: its path in the guest.
    pub(super) fn identity(
        &self,
        mount: usize,
        handle: &File,
    ) -> Result<MetadataHashValue, Refusal> {
        let place = self.place(mount, handle)?;
        let digest = Digest::of(self.guest_path(&place).as_bytes());
        let (lower, upper) = digest.as_bytes().split_at(16);
        Ok(MetadataHashValue {
            lower: number(lower),
            upper: number(upper),
        })
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
