//! Hosts: which requests may leave, and how the way out is set up.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::egress::rule::RuleError;
use crate::egress::{HostRule, Proxy};
use crate::error::Hint;

/// A file of authorities is small: the platform's whole list has 200 KiB.
const MAX_CA_BYTES: u64 = 4 << 20;

/// What may be reached over the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkGrant {
    /// What the agent's own requests may reach.
    pub hosts: Vec<HostRule>,
    /// PEM files of certificate authorities that are trusted besides the platform's.
    pub ca_files: Vec<PathBuf>,
    /// The certificates in them.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The proxy every request goes through. Nothing is taken from the environment.
    pub proxy: Option<Proxy>,
}

/// A grant of a host is wrong.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum NetworkError {
    #[error(transparent)]
    Rule(#[from] RuleError),
    #[error("cannot trust the authorities in `{}`: {reason}", path.display())]
    Authorities { path: PathBuf, reason: String },
    #[error("cannot use the proxy `{url}`: {reason}")]
    Proxy { url: String, reason: &'static str },
}

impl Hint for NetworkError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            NetworkError::Rule(_) => "write `HOST`, `HOST:PORT` or `METHOD https://HOST/PATH/*`",
            NetworkError::Authorities { .. } => "give a PEM file with certificates of authorities",
            NetworkError::Proxy { .. } => "write `http://HOST:PORT`",
        };
        Some(hint.to_owned())
    }
}

pub(super) fn resolve(
    hosts: impl Iterator<Item = String>,
    ca_files: Vec<PathBuf>,
    proxy: Option<String>,
) -> Result<NetworkGrant, NetworkError> {
    let mut authorities = Vec::new();
    for path in &ca_files {
        let found = read_authorities(path).map_err(|reason| NetworkError::Authorities {
            path: path.clone(),
            reason,
        })?;
        authorities.extend(found);
    }
    let proxy = proxy.map(|url| {
        url.parse()
            .map_err(|reason| NetworkError::Proxy { url, reason })
    });
    Ok(NetworkGrant {
        hosts: hosts.map(|rule| rule.parse()).collect::<Result<_, _>>()?,
        ca_files,
        authorities,
        proxy: proxy.transpose()?,
    })
}

/// Reads them now: what is trusted must not change while the run goes on.
fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_CA_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| error.to_string())?;
    if pem.len() as u64 > MAX_CA_BYTES {
        return Err(format!("it has more than {MAX_CA_BYTES} bytes"));
    }
    let mut roots = RootCertStore::empty();
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots
            .add(certificate.clone())
            .map_err(|error| error.to_string())?;
        authorities.push(certificate);
    }
    if authorities.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(authorities)
}
