//! One seed a run: everything random in it follows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::digest::hex;

/// 32 bytes everything random in a run is derived from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// From the operating system.
    ///
    /// # Errors
    ///
    /// It has no randomness to give.
    pub fn random() -> Result<Seed, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Seed(bytes))
    }

    /// The seed a person calls `number`.
    #[must_use]
    pub fn numbered(number: u64) -> Seed {
        Seed(blake3::derive_key(
            "wasm-agent 2026 seed of a hermetic run",
            &number.to_le_bytes(),
        ))
    }

    /// An endless stream of bytes for one purpose; different purposes have nothing to do with each other.
    #[must_use]
    pub fn stream(&self, purpose: &str) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(&self.0)
            .update(purpose.as_bytes())
            .finalize_xof()
    }

    /// The first bytes of such a stream.
    #[must_use]
    pub fn bytes<const N: usize>(&self, purpose: &str) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream(purpose).fill(&mut bytes);
        bytes
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Seed {
    /// Whoever knows the seed knows every random number of the run: it does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// A text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a seed: 64 lower-case hex digits are expected")]
pub struct SeedError;

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Seed, SeedError> {
        // Written as digests are, without their prefix.
        let digest: crate::digest::Digest =
            format!("sha256:{text}").parse().map_err(|_| SeedError)?;
        Ok(Seed(*digest.as_bytes()))
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seed, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
