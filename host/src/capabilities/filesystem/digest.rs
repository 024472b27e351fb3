//! SHA-256 of a file's content.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use sha2::{Digest as _, Sha256};

/// SHA-256, written `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digest of bytes that are in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Digest of what is left to read of `file`, or nothing when there is more than `max` bytes of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_file(file: &File, max: u64) -> io::Result<Option<Digest>> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut total: u64 = 0;
        // The limit is checked while reading: the file may grow meanwhile.
        loop {
            let n = match (&*file).read(&mut buffer) {
                Ok(0) => return Ok(Some(Digest(hasher.finalize().into()))),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            total = total.saturating_add(n as u64);
            if total > max {
                return Ok(None);
            }
            hasher.update(buffer.get(..n).unwrap_or_default());
        }
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Digest, Self::Err> {
        const FORM: &str = "a digest is `sha256:` and 64 hex digits";
        let hex = text.strip_prefix("sha256:").ok_or(FORM)?;
        if hex.len() != 64 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) {
            return Err(FORM);
        }
        let mut digest = [0; 32];
        for (n, byte) in digest.iter_mut().enumerate() {
            let pair = hex.get(2 * n..2 * n + 2).ok_or(FORM)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| FORM)?;
        }
        Ok(Digest(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
