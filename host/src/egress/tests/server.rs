//! Servers on loopback, as good or bad as a test needs them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::super::connect::Io;

type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A server that keeps what it received.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    _stop: oneshot::Sender<()>,
}

/// A connection, and where what comes over it is kept.
pub(super) struct Peer {
    pub(super) io: Box<dyn Io>,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
    at: usize,
}

impl Peer {
    /// Reads the head of a request.
    pub(super) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = self.io.read_u8().await else {
                break;
            };
            head.push(byte);
            self.received.lock().unwrap()[self.at].push(byte);
        }
        String::from_utf8(head).unwrap()
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) -> bool {
        self.io.write_all(bytes).await.is_ok() && self.io.flush().await.is_ok()
    }

    /// Waits until the other end goes away.
    pub(super) async fn gone(&mut self) {
        while self.io.read_u8().await.is_ok() {}
    }
}

impl Server {
    /// Serves each connection with `serve`, over TLS where there is a certificate.
    pub(super) async fn start<F>(tls: Option<ServerConfig>, serve: F) -> Server
    where
        F: Fn(Peer) -> Serving + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let kept = received.clone();
        let accept = async move {
            let serve = Arc::new(serve);
            let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
            while let Ok((stream, _)) = listener.accept().await {
                let (serve, tls, received) = (serve.clone(), tls.clone(), kept.clone());
                tokio::spawn(async move {
                    let io: Box<dyn Io> = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let at = {
                        let mut received = received.lock().unwrap();
                        received.push(Vec::new());
                        received.len() - 1
                    };
                    serve(Peer { io, received, at }).await;
                });
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = accept => {}
                _ = stopped => {}
            }
        });
        Server {
            address,
            received,
            _stop: stop,
        }
    }

    /// Answers every request in the same way, and then waits for the other end to go.
    pub(super) async fn saying(answer: impl Into<Vec<u8>>) -> Server {
        let answer: Arc<Vec<u8>> = Arc::new(answer.into());
        Server::start(None, move |mut peer| {
            let answer = answer.clone();
            Box::pin(async move {
                peer.head().await;
                if peer.say(&answer).await {
                    peer.gone().await;
                }
            })
        })
        .await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came over each connection, as text.
    pub(super) fn received(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        received.iter().map(text).collect()
    }
}

/// A certificate authority of the test's own.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A server's configuration with a certificate for these names.
    pub(super) fn server(&self, names: &[&str], alpn: &[&str]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.0)
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}
