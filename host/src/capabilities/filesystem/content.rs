//! What is written is shown to the observer first.

use bytes::Bytes;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::Disk;
use super::observe::{Content, Operation};
use super::refusal::Refusal;
use super::sys::Inode;

impl Disk {
    /// What may be written of `bytes` at `offset` of a file: as many of them.
    ///
    /// # Errors
    ///
    /// A rule of the observer's is against it; it has been told.
    pub(super) fn content(
        &self,
        inode: Inode,
        offset: u64,
        bytes: Bytes,
    ) -> Result<Bytes, ErrorCode> {
        let path = || {
            let place = self
                .memory()
                .open
                .get(&inode)
                .map(|open| open.place.clone());
            place.map_or_else(|| "?".to_owned(), |place| self.guest_path(&place))
        };
        let file = (inode.device, inode.number);
        match self.observer.content(file, offset, &bytes, &path) {
            Content::Passes => Ok(bytes),
            Content::Instead(instead) if instead.len() == bytes.len() => Ok(instead.into()),
            // Another length would be another file.
            Content::Instead(_) => Err(ErrorCode::NotPermitted),
            Content::Refused(rule) => {
                let refusal = Refusal::Rule {
                    code: ErrorCode::NotPermitted,
                    path: path(),
                    rule,
                };
                Err(self.refuse(Operation::Write, refusal))
            }
        }
    }
}
