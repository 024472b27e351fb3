//! Connections: to a checked address, or through the operator's proxy.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Refused;
use super::resolve::{self, Resolver};
use super::target::{Host, Target};
use super::tls::Tls;

/// Longest answer of a proxy to CONNECT, in bytes.
const PROXY_HEAD: usize = 8 << 10;

/// A stream of bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The operator's proxy: `http://HOST[:PORT]`. What it connects to is its own business: only rules about
/// names and addresses as written hold for requests through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    host: Host,
    port: u16,
}

impl FromStr for Proxy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Proxy, &'static str> {
        let uri: http::Uri = text.parse().map_err(|_| "it is not a URL")?;
        let target = Target::of(&uri).map_err(|_| "it is not `http://HOST[:PORT]`")?;
        if target.scheme() != super::target::Scheme::Http {
            return Err("only proxies that are spoken to over `http://` are known");
        }
        if target.path() != "/" || target.query().is_some() {
            return Err("a proxy has no path");
        }
        Ok(Proxy {
            host: target.host().clone(),
            port: target.port(),
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl Proxy {
    /// Its addresses, which are not checked: the operator named it.
    pub(super) async fn addresses(&self, resolver: &dyn Resolver) -> Result<Vec<IpAddr>, Refused> {
        match &self.host {
            Host::Name(name) if !self.host.is_localhost() => {
                resolve::addresses(resolver, name).await
            }
            host => resolve::checked(resolver, host).await,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn host(&self) -> &Host {
        &self.host
    }
}

/// A connection over which HTTP can be spoken.
pub(super) struct Connection {
    pub(super) io: Box<dyn Io>,
    /// HTTP/2 was agreed on.
    pub(super) h2: bool,
}

/// Connects to the first of `addresses` that answers.
pub(super) async fn tcp(
    host: &Host,
    addresses: &[IpAddr],
    port: u16,
) -> Result<(TcpStream, SocketAddr), Refused> {
    let mut last = None;
    for address in addresses {
        let address = SocketAddr::new(*address, port);
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Heads and events are small, and somebody waits for them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "could not set TCP_NODELAY");
                }
                return Ok((stream, address));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(Refused::Connect {
        host: host.to_string(),
        refused: last
            .as_ref()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
        reason: last.map_or_else(
            || "there is no address".to_owned(),
            |error| error.to_string(),
        ),
    })
}

/// Speaks TLS to the target where it wants it.
pub(super) async fn secured(
    io: Box<dyn Io>,
    target: &Target,
    tls: &Tls,
) -> Result<Connection, Refused> {
    match target.scheme() {
        super::target::Scheme::Http => Ok(Connection { io, h2: false }),
        super::target::Scheme::Https => {
            let (stream, h2) = tls.connect(io, target.host()).await?;
            Ok(Connection {
                io: Box::new(stream),
                h2,
            })
        }
    }
}

/// Asks a proxy for a tunnel to the target.
pub(super) async fn tunnel(stream: &mut TcpStream, target: &Target) -> Result<(), Refused> {
    let failed = |reason: String| Refused::Connect {
        host: target.host().to_string(),
        refused: false,
        reason: format!("the proxy {reason}"),
    };
    let to = format!("{}:{}", target.host(), target.port());
    let head = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let spoken = async {
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut byte = [0];
        // One at a time: what comes after the head is not ours to read. It is short.
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= PROXY_HEAD || stream.read(&mut byte).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend(byte);
        }
        Ok(answer)
    };
    let answer = spoken
        .await
        .map_err(|error: io::Error| failed(format!("did not answer: {error}")))?;
    let line = answer
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let version = words.next().unwrap_or_default();
    match words.next().and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=299) if version.starts_with("HTTP/1.") => Ok(()),
        Some(status) => Err(failed(format!("answered {status}"))),
        None => Err(failed("does not speak HTTP".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_plain_url() {
        for (text, shown) in [
            ("http://127.0.0.1:3128", "http://127.0.0.1:3128"),
            ("http://Proxy.example/", "http://proxy.example:80"),
        ] {
            assert_eq!(text.parse::<Proxy>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "proxy:80",
            "https://proxy",
            "socks5://proxy",
            "http://me:pw@proxy",
            "http://proxy/a",
        ] {
            assert!(text.parse::<Proxy>().is_err(), "{text}");
        }
    }
}
