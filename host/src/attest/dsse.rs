//! The Dead Simple Signing Envelope (DSSE 1.0.2): a payload, its type, and signatures over both.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

use super::key::{PublicKey, SecretKey};
use crate::json::{self, printable};

/// Largest envelope that is read, in bytes.
pub const MAX_BYTES: usize = 16 << 20;

/// Most signatures of an envelope.
pub const MAX_SIGNATURES: usize = 64;

/// A payload and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// How the payload is to be read: a media type.
    pub payload_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// Each by itself stands for the whole.
    pub signatures: Vec<Signature>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which key may have made it. It is not signed, and decides nothing.
    pub keyid: String,
    /// Its bytes.
    pub sig: Vec<u8>,
}

/// A text is no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no DSSE envelope: {0}")]
pub struct EnvelopeError(String);

/// The envelope as JSON. Members it does not know are left out of account, as DSSE asks for: they are not signed.
#[derive(Serialize, Deserialize)]
struct Wire {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The bytes a signature is over: the pre-authentication encoding of DSSE.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Both alphabets have to be read; a text is in one of them.
fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    if text.contains(['-', '_']) {
        URL_SAFE.decode(text)
    } else {
        STANDARD.decode(text)
    }
}

impl Envelope {
    /// An envelope nobody has signed yet.
    #[must_use]
    pub fn new(payload_type: &str, payload: Vec<u8>) -> Envelope {
        Envelope {
            payload_type: payload_type.to_owned(),
            payload,
            signatures: Vec::new(),
        }
    }

    /// Reads JSON.
    ///
    /// # Errors
    ///
    /// It is no envelope, or larger than [`MAX_BYTES`], or has more than [`MAX_SIGNATURES`].
    pub fn parse(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
        let wrong = |reason: &dyn std::fmt::Display| EnvelopeError(printable(&reason.to_string()));
        if bytes.len() > MAX_BYTES {
            return Err(wrong(&"it is too large"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(&error))?;
        let value = json::parse(text).map_err(|error| wrong(&error))?;
        let wire = Wire::deserialize(value).map_err(|error| wrong(&error))?;
        if wire.signatures.is_empty() {
            return Err(wrong(&"it has no signature"));
        }
        if wire.signatures.len() > MAX_SIGNATURES {
            return Err(wrong(&"it has too many signatures"));
        }
        let signatures = wire.signatures.into_iter().map(|signature| {
            Ok(Signature {
                keyid: signature.keyid,
                sig: decode(&signature.sig)?,
            })
        });
        Ok(Envelope {
            payload_type: wire.payload_type,
            payload: decode(&wire.payload).map_err(|error| wrong(&error))?,
            signatures: signatures
                .collect::<Result<_, base64::DecodeError>>()
                .map_err(|error| wrong(&error))?,
        })
    }

    /// The envelope as JSON, with a newline at its end.
    #[must_use]
    pub fn text(&self) -> String {
        let wire = Wire {
            payload: STANDARD.encode(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|signature| WireSignature {
                    keyid: signature.keyid.clone(),
                    sig: STANDARD.encode(&signature.sig),
                })
                .collect(),
        };
        // Texts always have a JSON.
        serde_json::to_string_pretty(&wire).unwrap_or_default() + "\n"
    }

    /// Adds a signature, in the place of an earlier one by the same key.
    pub fn sign(&mut self, key: &SecretKey) {
        let keyid = key.public().id();
        let sig = key.sign(&pae(&self.payload_type, &self.payload)).to_vec();
        self.signatures.retain(|signature| signature.keyid != keyid);
        self.signatures.push(Signature { keyid, sig });
    }

    /// Whether one of the signatures is by this key.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let message = pae(&self.payload_type, &self.payload);
        self.signatures
            .iter()
            .any(|signature| key.has_signed(&message, &signature.sig))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// DSSE protocol.md, "Test Vectors".
    #[test]
    fn the_vector_of_the_specification() {
        let bytes = pae("http://example.com/HelloWorld", b"hello world");
        assert_eq!(
            bytes,
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        let envelope = Envelope::parse(
            br#"{"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld",
                "signatures": [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}"#,
        )
        .unwrap();
        assert_eq!(envelope.payload, b"hello world");
        assert_eq!(envelope.signatures[0].sig.len(), 64);
        // It counts bytes, not characters.
        assert_eq!(pae("é", "ü".as_bytes()), "DSSEv1 2 é 2 ü".as_bytes());
    }

    fn signed(payload: &[u8]) -> (SecretKey, Envelope) {
        let key = SecretKey::generate().unwrap();
        let mut envelope = Envelope::new("application/x", payload.to_vec());
        envelope.sign(&key);
        (key, envelope)
    }

    #[test]
    fn what_is_written_is_read_back_in_either_alphabet() {
        let (key, mut envelope) = signed(&[0xfb, 0xff, 0xfe, 1]);
        envelope.sign(&SecretKey::generate().unwrap());
        let text = envelope.text();
        let read = Envelope::parse(text.as_bytes()).unwrap();
        assert_eq!(read, envelope);
        assert!(read.is_signed_by(&key.public()));
        let safe = Wire {
            payload: URL_SAFE.encode(&envelope.payload),
            payload_type: envelope.payload_type.clone(),
            signatures: Vec::from([WireSignature {
                keyid: String::new(),
                sig: URL_SAFE.encode(&envelope.signatures[0].sig),
            }]),
        };
        let read = Envelope::parse(serde_json::to_string(&safe).unwrap().as_bytes()).unwrap();
        assert!(read.is_signed_by(&key.public()));
        // Signing again replaces one's own.
        envelope.sign(&key);
        assert_eq!(envelope.signatures.len(), 2);
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"payload":"","payloadType":"a","signatures":[]}"#,
            r#"{"payload":"","payloadType":"a","signatures":[{"keyid":"x"}]}"#,
            r#"{"payload":"?","payloadType":"a","signatures":[{"sig":""}]}"#,
            r#"{"payload":"+-==","payloadType":"a","signatures":[{"sig":""}]}"#,
            r#"{"payload":"","payload":"","payloadType":"a","signatures":[{"sig":""}]}"#,
        ] {
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{text}");
        }
        let unsigned = r#"{"payload":"","payloadType":"a","signatures":[{"sig":""}],"new":1}"#;
        let read = Envelope::parse(unsigned.as_bytes()).unwrap();
        assert!(!read.is_signed_by(&SecretKey::generate().unwrap().public()));
    }

    /// One changed byte anywhere in the text: it is refused, or says the same as before.
    #[test]
    fn no_byte_can_be_changed() {
        let (key, envelope) = signed(br#"{"_type":"t","n":1}"#);
        let public = key.public();
        let text = envelope.text().into_bytes();
        let mut refused = 0;
        for at in 0..text.len() {
            for bit in [0, 4] {
                let mut changed = text.clone();
                changed[at] ^= 1 << bit;
                let Ok(read) = Envelope::parse(&changed) else {
                    refused += 1;
                    continue;
                };
                if read.is_signed_by(&public) {
                    assert_eq!(read.payload, envelope.payload, "byte {at}");
                    assert_eq!(read.payload_type, envelope.payload_type, "byte {at}");
                } else {
                    refused += 1;
                }
            }
        }
        assert!(refused > text.len(), "{refused}");
        // And of what is signed, without its encoding.
        for bit in 0..8 {
            for at in 0..envelope.payload.len() {
                let mut changed = envelope.clone();
                changed.payload[at] ^= 1 << bit;
                assert!(!changed.is_signed_by(&public), "byte {at}");
            }
            for at in 0..64 {
                let mut changed = envelope.clone();
                changed.signatures[0].sig[at] ^= 1 << bit;
                assert!(!changed.is_signed_by(&public), "byte {at}");
            }
        }
        let another = Envelope {
            payload_type: "application/y".to_owned(),
            ..envelope.clone()
        };
        assert!(!another.is_signed_by(&public));
        assert!(!envelope.is_signed_by(&SecretKey::generate().unwrap().public()));
    }

    proptest! {
        #[test]
        fn what_is_signed_has_one_encoding(a: (String, Vec<u8>), b: (String, Vec<u8>)) {
            prop_assert_eq!(pae(&a.0, &a.1) == pae(&b.0, &b.1), a == b);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Envelope::parse(&bytes);
        }
    }
}
