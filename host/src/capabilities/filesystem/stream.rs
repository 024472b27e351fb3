//! Streams on files: wasmtime-wasi's own, with every byte counted on the way.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use super::lease::Lease;
use super::quota::{Permit, Piece, Promise};

/// Why a write did not take place, found again by `filesystem-error-code`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cannot write to the file: {0}")]
pub(super) struct WriteRefused(pub(super) ErrorCode);

/// Bytes a stream takes with one write, which it holds until they are written: with as many streams as a run has
/// handles by default they are 64 MiB.
const WRITE_MAX: usize = 64 << 10;

/// Where the next byte goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Position {
    At(u64),
    End,
}

/// An output stream on a file that counts before it writes.
pub(super) struct CountedOutput {
    inner: DynOutputStream,
    file: Arc<File>,
    position: Position,
    lease: Lease,
    _permit: Permit,
}

impl CountedOutput {
    pub(super) fn new(
        inner: DynOutputStream,
        file: Arc<File>,
        position: Position,
        lease: Lease,
        permit: Permit,
    ) -> CountedOutput {
        CountedOutput {
            inner,
            file,
            position,
            lease,
            _permit: permit,
        }
    }

    /// Counts these bytes, or says why they may not be written; what is to be written. Nothing of this stream is on
    /// its way meanwhile, as `inner` takes a write only when the one before is done; but others may write to the
    /// file, and that is why the bytes stay counted until they have landed.
    fn count(&mut self, bytes: Bytes) -> StreamResult<Bytes> {
        let len = bytes.len() as u64;
        let size = self.file.metadata().map_err(failed)?.len();
        let (start, piece) = match self.position {
            Position::At(start) => (start, Piece::Until(start.saturating_add(len))),
            Position::End => (size, Piece::More(len)),
        };
        let disk = self.lease.disk();
        let promise = match disk.promise(self.lease.inode(), size, piece) {
            Ok(promise) => promise,
            Err(limit) => {
                let code = disk.hit(limit);
                return Err(StreamError::LastOperationFailed(WriteRefused(code).into()));
            }
        };
        let bytes = disk
            .content(self.lease.inode(), start, bytes)
            .map_err(|code| StreamError::LastOperationFailed(WriteRefused(code).into()))?;
        if let Position::At(start) = &mut self.position {
            *start = start.saturating_add(len);
        }
        // Said before it happens: a write that is cut off half-way is a write.
        disk.wrote(self.lease.inode(), len);
        Ok(Bytes::from_owner(Promised {
            bytes,
            _promise: promise,
        }))
    }
}

/// Bytes on their way into a file. Whoever writes them drops them when they are written, on whatever thread, and
/// also when the stream they came from is gone.
struct Promised {
    bytes: Bytes,
    _promise: Promise,
}

impl AsRef<[u8]> for Promised {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn failed(error: io::Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

#[async_trait]
impl OutputStream for CountedOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > WRITE_MAX {
            return Err(StreamError::trap(
                "a write is longer than `check-write` allows",
            ));
        }
        let bytes = self.count(bytes)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.inner.check_write()?.min(WRITE_MAX))
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        // Wait for what is on its way first, so that the end of the file is where it seems to be.
        self.inner.write_ready().await?;
        let bytes = self.count(bytes)?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for CountedOutput {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

/// An input stream on a file that counts as a handle.
pub(super) struct CountedInput {
    inner: DynInputStream,
    _lease: Lease,
    _permit: Permit,
}

impl CountedInput {
    pub(super) fn new(inner: DynInputStream, lease: Lease, permit: Permit) -> CountedInput {
        CountedInput {
            inner,
            _lease: lease,
            _permit: permit,
        }
    }
}

#[async_trait]
impl InputStream for CountedInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.read(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.inner.blocking_read(size).await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[async_trait]
impl Pollable for CountedInput {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}
