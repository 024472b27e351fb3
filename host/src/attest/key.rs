//! Ed25519 keys, in the files OpenSSL keeps them in: PKCS#8 and SPKI, as PEM.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::ed25519::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::ed25519::pkcs8::{
    ALGORITHM_OID, Document, KeypairBytes, PrivateKeyInfoRef, SecretDocument,
};
use ed25519_dalek::pkcs8::{DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::error::Hint;
use crate::json::printable;

/// Longest file that is read as a key, in bytes; one of Ed25519 has 119.
const MAX_BYTES: u64 = 16 << 10;

/// A key that signs. What it is appears nowhere: `Debug` shows its id.
pub struct SecretKey(SigningKey);

/// A key that tells who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A key cannot be read or made. Nothing of a key's content is in it.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum KeyError {
    #[error("cannot read the key `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot use the key `{}`: it is encrypted", path.display())]
    Encrypted { path: PathBuf },
    #[error("cannot sign with `{}`: it is a public key", path.display())]
    NotSecret { path: PathBuf },
    #[error("cannot check a signature with `{}`: it is a private key", path.display())]
    NotPublic { path: PathBuf },
    #[error("cannot use the key `{}`: it is not of Ed25519, but {kind}", path.display())]
    Algorithm { path: PathBuf, kind: String },
    #[error("cannot use the key `{}`: it is no {expected} as PEM", path.display())]
    Malformed {
        path: PathBuf,
        expected: &'static str,
    },
    #[error("cannot make the key `{}`: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot make a key: {0}")]
    Random(getrandom::Error),
    #[error("cannot make a key: {0}")]
    Encode(String),
}

impl Hint for KeyError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            KeyError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "`wasm-agent key new FILE` makes one".to_owned()
            }
            KeyError::Encrypted { path } => format!(
                "`openssl pkey -in {} -out PLAIN` writes it without its password",
                path.display()
            ),
            KeyError::NotSecret { path } => match path.extension() {
                Some(ending) if ending == "pub" => {
                    format!("sign with `{}`", path.with_extension("").display())
                }
                _ => "sign with the private key that belongs to it".to_owned(),
            },
            KeyError::NotPublic { path } => format!(
                "`wasm-agent key new` has written `{}`; of any key, `openssl pkey -in {} -pubout` \
                 prints it",
                public_path(path).display(),
                path.display()
            ),
            KeyError::Algorithm { .. } | KeyError::Malformed { .. } => {
                "`wasm-agent key new FILE` makes one, and so does `openssl genpkey -algorithm ed25519`"
                    .to_owned()
            }
            KeyError::Write { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "a key that is there is not replaced: choose another name".to_owned()
            }
            _ => return None,
        })
    }
}

/// Where the public key is kept of a private one.
#[must_use]
pub fn public_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".pub");
    PathBuf::from(name)
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let failed = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(failed)?;
    // What is no text is no PEM, which is said where it is taken apart.
    Ok(Zeroizing::new(
        std::str::from_utf8(&bytes).unwrap_or_default().to_owned(),
    ))
}

/// What a PEM file says it holds.
fn label(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    rest.split_once("-----").map(|(label, _)| label)
}

impl SecretKey {
    /// Reads a PKCS#8 private key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<SecretKey, KeyError> {
        SecretKey::parse(&read(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<SecretKey, KeyError> {
        let path = path.to_owned();
        match label(text) {
            Some("ENCRYPTED PRIVATE KEY") => return Err(KeyError::Encrypted { path }),
            Some("PUBLIC KEY") => return Err(KeyError::NotSecret { path }),
            Some("PRIVATE KEY") => {}
            Some(label) if label.ends_with(" PRIVATE KEY") => {
                let kind = printable(&label.replace(" PRIVATE KEY", ""));
                return Err(KeyError::Algorithm { path, kind });
            }
            _ => return Err(malformed(path, "private key (PKCS#8)")),
        }
        let Ok((_, document)) = SecretDocument::from_pem(text) else {
            return Err(malformed(path, "private key (PKCS#8)"));
        };
        let Ok(info) = PrivateKeyInfoRef::try_from(document.as_bytes()) else {
            return Err(malformed(path, "private key (PKCS#8)"));
        };
        if info.algorithm.oid != ALGORITHM_OID {
            let kind = algorithm(&info.algorithm.oid.to_string());
            return Err(KeyError::Algorithm { path, kind });
        }
        match SigningKey::try_from(info) {
            Ok(key) => Ok(SecretKey(key)),
            Err(_) => Err(malformed(path, "private key (PKCS#8)")),
        }
    }

    /// A new key from the randomness of the operating system.
    ///
    /// # Errors
    ///
    /// The system gives none.
    pub fn generate() -> Result<SecretKey, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut()).map_err(KeyError::Random)?;
        Ok(SecretKey(SigningKey::from_bytes(&bytes)))
    }

    /// Writes it to a new file that only its owner can read, and the public key beside it, with `.pub` at the
    /// end of the name.
    ///
    /// # Errors
    ///
    /// One of the files is there already or cannot be written; neither is left behind then.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let encode = |error: &dyn fmt::Display| KeyError::Encode(error.to_string());
        let bytes = KeypairBytes {
            secret_key: self.0.to_bytes(),
            // As OpenSSL writes it; some readers do not know the form with the public key in it.
            public_key: None,
        };
        let secret = bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| encode(&error))?;
        let public = self.public().to_pem()?;
        create(path, secret.as_bytes(), 0o600)?;
        create(&public_path(path), public.as_bytes(), 0o644).inspect_err(|_| {
            // It was made here, a moment ago; nobody has used it.
            let _ = std::fs::remove_file(path);
        })
    }

    /// The key that tells of its signatures.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The 64 bytes of the signature of `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.public().id())
    }
}

impl PublicKey {
    /// Reads a public key in PEM, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<PublicKey, KeyError> {
        PublicKey::parse(&read(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<PublicKey, KeyError> {
        let path = path.to_owned();
        match label(text) {
            Some("PUBLIC KEY") => {}
            Some(label) if label.ends_with("PRIVATE KEY") => {
                return Err(KeyError::NotPublic { path });
            }
            Some(label) if label.ends_with(" PUBLIC KEY") => {
                let kind = printable(&label.replace(" PUBLIC KEY", ""));
                return Err(KeyError::Algorithm { path, kind });
            }
            _ => return Err(malformed(path, "public key (SPKI)")),
        }
        let Ok((_, document)) = Document::from_pem(text) else {
            return Err(malformed(path, "public key (SPKI)"));
        };
        match VerifyingKey::from_public_key_der(document.as_bytes()) {
            // A key of small order has signatures that fit many messages.
            Ok(key) if !key.is_weak() => Ok(PublicKey(key)),
            Ok(_) => Err(malformed(path, "public key (SPKI)")),
            Err(ed25519_dalek::pkcs8::spki::Error::OidUnknown { oid }) => {
                let kind = algorithm(&oid.to_string());
                Err(KeyError::Algorithm { path, kind })
            }
            Err(_) => Err(malformed(path, "public key (SPKI)")),
        }
    }

    fn to_pem(&self) -> Result<String, KeyError> {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| KeyError::Encode(error.to_string()))
    }

    /// 64 hex digits: the SHA-256 of the key as SPKI in DER.
    #[must_use]
    pub fn id(&self) -> String {
        // The DER of 32 bytes always fits.
        self.0
            .to_public_key_der()
            .map(|der| Digest::of(der.as_bytes()).hex())
            .unwrap_or_default()
    }

    /// Whether these bytes are a signature of `message` by this key.
    #[must_use]
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

fn malformed(path: PathBuf, expected: &'static str) -> KeyError {
    KeyError::Malformed { path, expected }
}

/// The name of an algorithm that is not Ed25519.
fn algorithm(oid: &str) -> String {
    match oid {
        "1.2.840.113549.1.1.1" => "RSA".to_owned(),
        "1.2.840.10045.2.1" => "EC".to_owned(),
        "1.3.101.110" => "X25519".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        other => format!("of the algorithm {other}"),
    }
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), KeyError> {
    let failed = |source| KeyError::Write {
        path: path.to_owned(),
        source,
    };
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    /// A key of Ed25519 as OpenSSL writes it, from 32 bytes.
    fn pem(seed: [u8; 32]) -> Zeroizing<String> {
        KeypairBytes {
            secret_key: seed,
            public_key: None,
        }
        .to_pkcs8_pem(LineEnding::LF)
        .unwrap()
    }

    fn bytes(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 8032, section 7.1, TEST 3.
    #[test]
    fn the_vector_of_the_rfc() {
        let secret = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
        let key =
            SecretKey::parse(&pem(bytes(secret).try_into().unwrap()), Path::new("k")).unwrap();
        let public = key.public();
        assert_eq!(
            hex(public.0.as_bytes()),
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"
        );
        let signature = key.sign(&[0xaf, 0x82]);
        assert_eq!(
            hex(&signature),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        );
        assert!(public.has_signed(&[0xaf, 0x82], &signature));
        assert!(!public.has_signed(&[0xaf, 0x83], &signature));
        assert!(!public.has_signed(&[0xaf, 0x82], &signature[..63]));
        assert!(!format!("{key:?}").contains("c5aa8d"));
    }

    /// RFC 8410, section 10.3: the first private key, and the public key of section 10.1.
    #[test]
    fn keys_are_in_the_files_of_the_rfc() {
        let secret = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
            -----END PUBLIC KEY-----\n";
        let key = SecretKey::parse(secret, Path::new("k")).unwrap();
        assert_eq!(
            key.public(),
            PublicKey::parse(public, Path::new("p")).unwrap()
        );
        assert_eq!(key.public().to_pem().unwrap(), public);
        assert_eq!(*pem(key.0.to_bytes()), secret);
        assert_eq!(key.public().id().len(), 64);
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k");
        let key = SecretKey::generate().unwrap();
        key.write_new(&path).unwrap();
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        assert_eq!(PublicKey::read(&public_path(&path)).unwrap(), key.public());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let other = SecretKey::generate().unwrap();
        assert!(matches!(
            other.write_new(&path),
            Err(KeyError::Write { .. })
        ));
        // The public key is there, the private one is not: nothing is left behind.
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(
            other.write_new(&path),
            Err(KeyError::Write { .. })
        ));
        assert!(!path.exists());
        assert_eq!(PublicKey::read(&public_path(&path)).unwrap(), key.public());
    }

    #[test]
    fn a_public_key_whose_signatures_fit_anything_is_refused() {
        // The neutral element: `0100…00`.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let weak = VerifyingKey::from_bytes(&neutral).unwrap();
        let text = weak.to_public_key_pem(LineEnding::LF).unwrap();
        let read = PublicKey::parse(&text, Path::new("p"));
        assert!(matches!(read, Err(KeyError::Malformed { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String, body in "[A-Za-z0-9+/=\n]{0,200}") {
            for label in ["PRIVATE KEY", "PUBLIC KEY"] {
                let framed = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
                for text in [&text, &framed] {
                    proptest::prop_assert!(SecretKey::parse(text, Path::new("k")).is_err());
                    proptest::prop_assert!(PublicKey::parse(text, Path::new("k")).is_err());
                }
            }
        }
    }
}
