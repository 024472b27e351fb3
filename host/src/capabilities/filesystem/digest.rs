//! SHA-256 of a file's content, bounded.

use std::fs::File;
use std::io::{self, Read as _};

use crate::digest::Digest;

/// Digest of what is left to read of `file`, or nothing when there is more than `max` bytes of it.
///
/// # Errors
/// The file cannot be read.
pub(super) fn of_file(file: &File, max: u64) -> io::Result<Option<Digest>> {
    // One byte more than allowed tells whether there is more: the file may grow while it is read.
    let mut rest = file.take(max.saturating_add(1));
    let digest = Digest::of_reader(&mut rest)?;
    Ok((rest.limit() > 0 || max == u64::MAX).then_some(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek as _, Write as _};

    #[test]
    fn a_file_that_is_too_long_has_none() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        for (max, expected) in [
            (2, None),
            (3, Some(Digest::of(b"abc"))),
            (u64::MAX, Some(Digest::of(b"abc"))),
        ] {
            file.rewind().unwrap();
            assert_eq!(of_file(&file, max).unwrap(), expected, "{max}");
        }
    }
}
