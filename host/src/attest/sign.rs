//! Signs the account of a run.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::account::Account;
use super::artifact;
use super::dsse::{Envelope, MAX_SIGNATURES};
use super::key::SecretKey;
use super::receipt::{self, FILE, PAYLOAD_TYPE};
use super::recording;
use super::{AttestError, Verified};
use crate::error::Hint;
use crate::trajectory::verify::{Kind, Verdict, verify_path};

/// A receipt that has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The receipt.
    pub file: PathBuf,
    /// Id of the key.
    pub keyid: String,
}

/// A run cannot be signed.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum SignError {
    #[error(transparent)]
    Attest(#[from] AttestError),
    #[error("cannot sign `{}`: it is no run directory", path.display())]
    NoRun { path: PathBuf },
    #[error("cannot sign `{}`: its account was not closed", path.display())]
    Unfinished { path: PathBuf },
    #[error("cannot sign `{}`: its account, or what is beside it, is not valid", path.display())]
    Invalid { path: PathBuf },
    #[error("cannot sign `{}`: it has {MAX_SIGNATURES} signatures", path.display())]
    Full { path: PathBuf },
    #[error("cannot write `{}`: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Hint for SignError {
    fn hint(&self) -> Option<String> {
        match self {
            SignError::Attest(error) => error.hint(),
            SignError::NoRun { .. } => Some("a run is signed, not a trajectory".to_owned()),
            SignError::Unfinished { .. } => {
                Some("what has no end cannot be vouched for; run it again".to_owned())
            }
            SignError::Invalid { path } => Some(format!(
                "`wasm-agent verify {}` says what is wrong with it",
                path.display()
            )),
            SignError::Full { .. } | SignError::Write { .. } => None,
        }
    }
}

/// Writes the receipt of a run that has ended into its directory, signed by `key`. A receipt that is there gets
/// one more signature.
///
/// # Errors
///
/// The account is not closed or not valid, a receipt that is there says something else, or the directory cannot
/// be written.
pub fn sign(directory: &Path, key: &SecretKey) -> Result<Signed, SignError> {
    let path = directory.to_owned();
    let report = verify_path(directory).map_err(AttestError::from)?;
    if report.kind != Kind::RunDirectory {
        return Err(SignError::NoRun { path });
    }
    let account = Account::read(directory, report);
    let artifacts = artifact::check(&account);
    let recording = recording::check(&account);
    let there = receipt::check(&account, recording.as_ref(), None);
    let statement = receipt::statement(&account, recording.as_ref());
    let file = account.directory.join(FILE);
    let (report, unread) = account.into_parts();
    let verified = Verified {
        report,
        unread,
        artifacts,
        recording,
        unsigned: None,
        receipt: there,
    };
    let statement = match (verified.verdict(), statement) {
        (Verdict::Valid, Some(statement)) => statement,
        (Verdict::Unfinished, _) => return Err(SignError::Unfinished { path }),
        _ => return Err(SignError::Invalid { path }),
    };
    let mut envelope = match verified.receipt.map(|check| receipt::read(&check.file)) {
        // It has been compared with the account: what was signed first stays as it is.
        Some(Ok(envelope)) => envelope,
        Some(Err(_)) => return Err(SignError::Invalid { path }),
        None => Envelope::new(PAYLOAD_TYPE, statement),
    };
    envelope.sign(key);
    if envelope.signatures.len() > MAX_SIGNATURES {
        return Err(SignError::Full { path: file });
    }
    write(&file, envelope.text().as_bytes()).map_err(|source| SignError::Write {
        path: file.clone(),
        source,
    })?;
    Ok(Signed {
        file,
        keyid: key.public().id(),
    })
}

/// Whole or not at all, whatever happens to this process.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
