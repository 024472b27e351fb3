//! Names and values of secrets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::Hint;

/// A shorter value would be found everywhere, and protects nothing.
pub const MIN_BYTES: usize = 6;

/// Keys, tokens and passwords are far shorter; each search for a secret costs memory in proportion.
pub const MAX_BYTES: usize = 8 << 10;

/// Longest name.
const MAX_NAME: usize = 64;

/// The name of a secret: `[a-z0-9_-]`, 1 to 64 of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

impl SecretName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The environment variable that has the value, before the store is looked into.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = self.0.to_ascii_uppercase().replace('-', "_");
        format!("WASM_AGENT_SECRET_{name}")
    }
}

impl FromStr for SecretName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<SecretName, ValueError> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(good) {
            return Err(ValueError::Name {
                name: text.chars().take(MAX_NAME).collect(),
            });
        }
        Ok(SecretName(text.to_owned()))
    }
}

impl Serialize for SecretName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretName, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a secret. Overwritten when dropped; nothing prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A value that can be put on the wire and looked for.
    ///
    /// # Errors
    ///
    /// It is empty, too short, too long, or has a character that ends a line or a string.
    pub fn new(name: &SecretName, value: String) -> Result<Secret, ValueError> {
        let value = Zeroizing::new(value);
        let name = || name.to_string();
        if value.is_empty() {
            return Err(ValueError::Empty { name: name() });
        }
        if value.contains(['\0', '\r', '\n']) {
            return Err(ValueError::Character { name: name() });
        }
        match value.len() {
            ..MIN_BYTES => Err(ValueError::Short { name: name() }),
            MIN_BYTES..=MAX_BYTES => Ok(Secret(value)),
            _ => Err(ValueError::Long { name: name() }),
        }
    }

    /// The value itself, for the place it was declared for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A name or value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum ValueError {
    #[error("cannot use the secret name `{name}`: it is not 1 to {MAX_NAME} of a-z 0-9 _ -")]
    Name { name: String },
    #[error("cannot use the secret `{name}`: its value is empty")]
    Empty { name: String },
    #[error("cannot use the secret `{name}`: its value is shorter than {MIN_BYTES} bytes")]
    Short { name: String },
    #[error("cannot use the secret `{name}`: its value is longer than {MAX_BYTES} bytes")]
    Long { name: String },
    #[error("cannot use the secret `{name}`: its value contains a line break or a zero byte")]
    Character { name: String },
}

impl Hint for ValueError {
    fn hint(&self) -> Option<String> {
        match self {
            ValueError::Name { .. } => Some("write a name such as `github` or `my-key_2`".into()),
            ValueError::Empty { .. } | ValueError::Character { .. } => {
                Some("give the key alone, on one line".into())
            }
            ValueError::Short { .. } => {
                Some("a value that short would be found everywhere, and is guessed easily".into())
            }
            ValueError::Long { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_narrow_and_have_a_variable() {
        for name in ["", "A", "a b", "a/b", "ä", "..", "a\n", &"a".repeat(65)] {
            assert!(name.parse::<SecretName>().is_err(), "{name}");
        }
        let name: SecretName = "my-key_2".parse().unwrap();
        assert_eq!(name.variable(), "WASM_AGENT_SECRET_MY_KEY_2");
    }

    #[test]
    fn values_are_one_line_of_a_sensible_length() {
        let name: SecretName = "x".parse().unwrap();
        for value in ["", "12345", "123456\n", "1234\r567", "1234\x00567"] {
            let error = Secret::new(&name, value.to_owned()).unwrap_err();
            assert!(value.len() < 3 || !error.to_string().contains(value.trim()));
        }
        assert!(Secret::new(&name, "x".repeat(MAX_BYTES + 1)).is_err());
        assert!(Secret::new(&name, "123456".to_owned()).is_ok());
    }

    #[test]
    fn nothing_prints_a_value() {
        let name: SecretName = "x".parse().unwrap();
        let secret = Secret::new(&name, "correct horse".to_owned()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
