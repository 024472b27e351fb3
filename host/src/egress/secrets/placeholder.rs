//! Placeholders: what the agent finds where a library insists on a key.
//!
//! A placeholder looks like a key, follows from the seed of its run, and is worth nothing: in the place its secret is
//! bound to it is replaced, as anything else there is, and nowhere else does it leave the guest.

use std::fmt;

use super::value::SecretName;
use crate::recording::Seed;

/// What every placeholder begins with.
pub const PREFIX: &str = "wa-placeholder-";

const RANDOM: usize = 32;

/// RFC 4648, lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The placeholder of one secret in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// The secret it stands for.
    pub name: SecretName,
    /// The environment variable it is in.
    pub variable: String,
    text: String,
}

impl Placeholder {
    /// The one of a run with this seed: a replay has the same.
    #[must_use]
    pub fn new(name: SecretName, variable: String, seed: &Seed) -> Placeholder {
        let random: [u8; RANDOM] = seed.bytes(&format!("placeholder {variable}"));
        let digits = random
            .iter()
            .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)));
        let text = PREFIX
            .chars()
            .chain(digits.map(|digit| char::from(*digit)))
            .collect();
        Placeholder {
            name,
            variable,
            text,
        }
    }

    /// As the agent finds it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_different_and_recognised() {
        let new = |variable: &str, seed| {
            Placeholder::new(
                "a".parse().unwrap(),
                variable.to_owned(),
                &Seed::numbered(seed),
            )
        };
        let (a, b) = (new("KEY", 1), new("KEY", 2));
        assert_ne!(a.as_str(), b.as_str());
        assert_ne!(a.as_str(), new("OTHER", 1).as_str());
        assert_eq!(a, new("KEY", 1));
        assert_eq!(a.as_str().len(), PREFIX.len() + RANDOM);
        assert!(a.as_str().starts_with(PREFIX));
    }
}
