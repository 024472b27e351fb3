//! Bytes as they stand in a recording: a text where they are UTF-8, else `{"base64":…}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes: a text where they are one, and otherwise `{"base64":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    #[serde(rename_all = "lowercase")]
    Other {
        base64: String,
    },
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Octets, D::Error> {
        deserialize(deserializer).map(Octets)
    }
}

/// Writes bytes; for `#[serde(with = …)]`.
pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => Written::Other {
            base64: STANDARD.encode(bytes),
        }
        .serialize(serializer),
    }
}

/// Reads them.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Text(text) => Ok(text.into_bytes()),
        Written::Other { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Octets;

    proptest! {
        #[test]
        fn bytes_are_read_as_they_were_written(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = serde_json::to_string(&Octets(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Octets>(&text).unwrap(), Octets(bytes));
        }
    }

    #[test]
    fn text_is_written_as_text() {
        let text = serde_json::to_string(&Octets(b"ab".to_vec())).unwrap();
        assert_eq!(text, r#""ab""#);
        assert!(serde_json::from_str::<Octets>(r#"{"base64":"?"}"#).is_err());
    }
}
