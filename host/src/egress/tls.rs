//! TLS: the roots that are trusted, and handshakes.

use std::sync::{Arc, LazyLock, OnceLock};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Refused;
use super::connect::Io;
use super::target::Host;

/// The platform's roots: reading them takes tens of milliseconds, so that it is done once, and only by a
/// process that makes a TLS connection.
static PLATFORM: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "could not read a trusted root of the platform");
    }
    // Platforms carry certificates that are older than the rules for them.
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(
        roots = roots.len(),
        ignored,
        "read the platform's trusted roots"
    );
    roots
});

/// What a run trusts.
pub(super) struct Tls {
    authorities: Vec<CertificateDer<'static>>,
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Tls {
    /// Trusts these besides the platform's roots.
    pub(super) fn new(authorities: Vec<CertificateDer<'static>>) -> Tls {
        Tls {
            authorities,
            config: OnceLock::new(),
        }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let build = || {
            let mut roots = PLATFORM.clone();
            for authority in &self.authorities {
                roots
                    .add(authority.clone())
                    .map_err(|error| error.to_string())?;
            }
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Ok(Arc::new(config))
        };
        self.config.get_or_init(build).clone()
    }

    /// Makes a connection to `host` over `io`, and says whether HTTP/2 was agreed on.
    pub(super) async fn connect(
        &self,
        io: Box<dyn Io>,
        host: &Host,
    ) -> Result<(TlsStream<Box<dyn Io>>, bool), Refused> {
        let failed = |reason: String| Refused::Tls {
            host: host.to_string(),
            certificate: false,
            reason,
        };
        let name = match host {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?
            }
            Host::Ip(address) => ServerName::from(*address),
        };
        let connector = TlsConnector::from(self.config().map_err(failed)?);
        let stream = connector
            .connect(name, io)
            .await
            .map_err(|error| Refused::Tls {
                host: host.to_string(),
                certificate: is_certificate(&error),
                reason: error.to_string(),
            })?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((stream, h2))
    }
}

/// Whether a handshake failed because of the other end's certificate.
fn is_certificate(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}
