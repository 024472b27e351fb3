//! `wasi:random`: everything from the run's seed, which a live run throws away.

use blake3::OutputReader;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use super::state::RunState;
use crate::recording::Seed;
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;

/// Bytes of randomness one host call may ask for.
const RANDOM_BYTES: u64 = 64 << 10;

/// The random numbers of one guest.
pub struct Randomness {
    secure: OutputReader,
    insecure: OutputReader,
    seed: [u8; 16],
}

impl Randomness {
    /// All of it follows from `seed`.
    #[must_use]
    pub fn new(seed: &Seed) -> Randomness {
        Randomness {
            secure: seed.stream("wasi:random/random"),
            insecure: seed.stream("wasi:random/insecure"),
            seed: if down(Wall::Entropy) {
                [0; 16]
            } else {
                seed.bytes("wasi:random/insecure-seed")
            },
        }
    }
}

fn bytes(from: &mut OutputReader, len: u64) -> wasmtime::Result<Vec<u8>> {
    let max = sabotage::limit(Wall::RandomBytes, RANDOM_BYTES);
    if len > max {
        return Err(wasmtime::Error::msg(format!(
            "{len} random bytes are more than the {max} of one call"
        )));
    }
    let mut bytes = vec![0; usize::try_from(len)?];
    from.fill(&mut bytes);
    Ok(bytes)
}

fn number(from: &mut OutputReader) -> u64 {
    let mut bytes = [0; 8];
    from.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl random::Host for RunState {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.random.secure, len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(number(&mut self.random.secure))
    }
}

impl insecure::Host for RunState {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        bytes(&mut self.random.insecure, len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(number(&mut self.random.insecure))
    }
}

impl insecure_seed::Host for RunState {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        let seed = u128::from_le_bytes(self.random.seed);
        #[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
        Ok((seed as u64, (seed >> 64) as u64))
    }
}
