//! Why an operation does not take place, and what the guest and the observer get to know of it.

use std::io;

use wasmtime_wasi::p2::FsError;
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

use super::disk::Disk;
use super::observe::{Denial, Operation};
use super::quota::Limit;
use crate::capabilities::meters::LimitHit;

/// The longest path taken from a guest, as Linux has it.
const PATH_MAX: usize = 4096;

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
pub(super) fn code(error: &io::Error) -> ErrorCode {
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
            Limit::Handles | Limit::ListingBytes => ErrorCode::InsufficientMemory,
        }
    }
}

impl Disk {
    /// Turns a refusal into the guest's error code, and tells the observer when it was ours.
    pub(super) fn refuse(&self, operation: Operation, refusal: Refusal) -> ErrorCode {
        match refusal {
            Refusal::Code(code) => code,
            Refusal::Rule { code, path, rule } => {
                self.observer.denied(Denial {
                    operation,
                    path: told(path),
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
}

/// What a path of a guest may look like at all.
pub(super) fn check(path: &str) -> Result<(), Refusal> {
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

/// A path of a guest's as far as it is told: one that is too long is refused before it is looked at.
fn told(mut path: String) -> String {
    if path.len() > PATH_MAX {
        let end = (0..=PATH_MAX).rev().find(|end| path.is_char_boundary(*end));
        path.truncate(end.unwrap_or(0));
        path.push('…');
    }
    path
}
