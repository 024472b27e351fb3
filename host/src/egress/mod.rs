//! The one way out: every outbound connection of a run is opened here, for a guest, for a model or for a
//! tool server alike.
//!
//! A request goes through the same steps whoever makes it: normalise, match a rule, resolve once, check
//! every address, put the secret in, connect to a checked address, send, watch, record. What a caller may
//! reach is in its [`Way`]: a guest has the operator's rules, a model those of its provider and no others.

pub mod address;
mod body;
mod book;
mod client;
mod connect;
mod refused;
pub mod resolve;
pub mod rule;
pub mod secrets;
pub mod target;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub use client::is_forbidden;
pub use connect::Proxy;
pub use refused::{Part, Refused, Waiting};
pub use resolve::Resolver;
pub use rule::HostRule;
pub use target::Target;

use crate::grants::{Limits, NetworkGrant};
use crate::recording::Tape;
use crate::recording::tape::Pace;
use crate::selftest::sabotage;
use crate::selftest::wall::Wall;
use crate::trajectory::Ledger;
use body::{Arriving, Outgoing, Progress};
use book::{Book, Entry};
use client::{Bounds, check_form, exchange, form, header_bytes};
use tls::Tls;

#[cfg(test)]
mod tests;

/// A body that streams, capped by the limits of the run.
pub type Body = UnsyncBoxBody<Bytes, Refused>;

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// The agent, through `wasi:http`.
    Guest,
    /// The host, to ask a model.
    Model,
    /// The host, to reach a tool server.
    Tools,
}

/// How long one request waits. What is not set, and what is longer, is as in the limits of the run. Goes
/// along as an extension of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, the look-up and TLS included.
    pub connect: Option<Duration>,
    /// For the head of the response.
    pub head: Option<Duration>,
    /// Between two pieces of its body.
    pub idle: Option<Duration>,
}

/// What puts secrets into requests and looks for them where they do not belong.
///
/// It is asked once everything else has allowed the request, before anything is sent.
pub trait Injector: Send + Sync {
    /// The request as it is to be sent. The URL is in its normal form; of it, only the query is looked at
    /// afterwards. The body streams: it can be wrapped, not waited for.
    ///
    /// # Errors
    ///
    /// The request must not be sent.
    fn outgoing(
        &self,
        caller: Caller,
        target: &Target,
        request: http::Request<Body>,
    ) -> Result<http::Request<Body>, Refused>;

    /// The response as its caller is to see it.
    ///
    /// # Errors
    ///
    /// Its caller must not see it.
    fn incoming(
        &self,
        caller: Caller,
        target: &Target,
        response: http::Response<Body>,
    ) -> Result<http::Response<Body>, Refused>;
}

/// How a way out is set up.
#[derive(Clone)]
pub struct EgressOptions {
    /// Certificate authorities and the proxy; its hosts are the guest's rules, which this does not use.
    pub network: NetworkGrant,
    /// Limits of the run.
    pub limits: Limits,
    /// Looks names up.
    pub resolver: Arc<dyn Resolver>,
    /// Puts secrets in.
    pub injector: Option<Arc<dyn Injector>>,
    /// The tape of the run: while it replays, and in virtual time, nothing is sent.
    pub tape: Tape,
}

impl Default for EgressOptions {
    fn default() -> EgressOptions {
        EgressOptions {
            network: NetworkGrant::default(),
            limits: Limits::default(),
            resolver: Arc::new(resolve::System),
            injector: None,
            tape: Tape::off(),
        }
    }
}

/// The way out of one run. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    inner: Arc<Inner>,
}

struct Inner {
    book: Arc<Book>,
    limits: Limits,
    proxy: Option<Proxy>,
    tls: Tls,
    resolver: Arc<dyn Resolver>,
    injector: Option<Arc<dyn Injector>>,
    tape: Tape,
    requests: AtomicU64,
}

/// What one caller may reach.
#[derive(Clone)]
pub struct Way {
    egress: Egress,
    caller: Caller,
    rules: Arc<[HostRule]>,
    connections: Arc<Semaphore>,
}

impl Egress {
    /// A way out that is recorded in `ledger`, with the platform's roots and resolver and the default
    /// limits.
    #[must_use]
    pub fn new(ledger: Ledger) -> Egress {
        Egress::with(ledger, EgressOptions::default())
    }

    /// A way out that is recorded in `ledger`.
    #[must_use]
    pub fn with(ledger: Ledger, options: EgressOptions) -> Egress {
        let EgressOptions {
            network,
            limits,
            resolver,
            injector,
            tape,
        } = options;
        Egress {
            inner: Arc::new(Inner {
                book: Arc::new(Book::new(ledger)),
                limits,
                proxy: network.proxy,
                tls: Tls::new(network.authorities),
                resolver,
                injector,
                tape,
                requests: AtomicU64::new(0),
            }),
        }
    }

    /// The way of one caller.
    #[must_use]
    pub fn way(&self, caller: Caller, rules: Vec<HostRule>) -> Way {
        let connections = sabotage::limit(Wall::Connections, self.inner.limits.connections);
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        Way {
            egress: self.clone(),
            caller,
            rules: rules.into(),
            connections: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Ends it: what is still under way is recorded as ended, and no request is made or recorded any more.
    pub fn close(&self) {
        self.inner.book.close();
    }
}

impl Way {
    /// Counts a request, and refuses it where none may be made at all, whatever the rules say: in a replay, in
    /// a hermetic run, and beyond the limit of the run.
    ///
    /// # Errors
    ///
    /// The request must not be made. It is on record.
    pub fn admit(&self, method: &http::Method, url: &http::Uri) -> Result<(), Refused> {
        let inner = &self.egress.inner;
        let max = inner.limits.requests;
        // Beyond the limit nothing is recorded but that it was hit: a record for each could fill a disk.
        if inner.requests.fetch_add(1, Ordering::Relaxed) >= sabotage::limit(Wall::Requests, max) {
            inner.book.limit("requests", max);
            return Err(Refused::Limit {
                name: "requests",
                max,
            });
        }
        let rule = match inner.tape.pace() {
            Pace::Real => return Ok(()),
            Pace::Virtual => "a hermetic run reaches no network",
            Pace::Replayed if sabotage::down(Wall::ReplayNetwork) => return Ok(()),
            Pace::Replayed => "a replay reaches no network",
        };
        let subject = format!("{method} {}", target::shown_anyway(url));
        inner.book.denied(subject.clone(), rule.to_owned());
        Err(Refused::Denied { subject })
    }

    /// Counts a request whose answer is on the tape: a run that goes on behind its recording has made it.
    pub fn recorded(&self) {
        self.egress.inner.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes a request and waits for the head of its response. The URL is absolute. No redirect is
    /// followed. Dropping the future, or the body of the response, ends the connection.
    ///
    /// Has to be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Refused> {
        self.admit(request.method(), request.uri())?;
        let inner = &self.egress.inner;
        let url = target::shown_anyway(request.uri());
        let entry = Arc::new(inner.book.open(self.caller, request.method(), url)?);
        let mut pending = Pending(Some(&entry));
        let answer = self.checked(request, &entry).await;
        pending.0 = None;
        answer.inspect_err(|refused| entry.finish(Some(refused)))
    }

    async fn checked(
        &self,
        request: http::Request<Body>,
        entry: &Arc<Entry>,
    ) -> Result<http::Response<Body>, Refused> {
        let limits = &self.egress.inner.limits;
        let url_bytes = request.uri().to_string().len() as u64;
        if url_bytes > sabotage::limit(Wall::RequestSize, limits.url_bytes) {
            return Err(entry.limit("url-bytes", limits.url_bytes));
        }
        if header_bytes(request.headers()) > sabotage::limit(Wall::RequestSize, limits.header_bytes)
        {
            return Err(entry.limit("header-bytes", limits.header_bytes));
        }
        let target = Target::of(request.uri())?;
        entry.url(target.shown());
        self.permitted(request.method(), &target, entry)?;
        let declared = match check_form(request.method(), request.headers(), &target) {
            Err(_) if sabotage::down(Wall::RequestForm) => None,
            checked => checked?,
        };
        if declared
            .is_some_and(|length| length > sabotage::limit(Wall::RequestSize, limits.request_bytes))
        {
            return Err(entry.limit("request-bytes", limits.request_bytes));
        }
        self.perform(request, target, declared, entry).await
    }

    /// Matches the rules.
    fn permitted(
        &self,
        method: &http::Method,
        target: &Target,
        entry: &Entry,
    ) -> Result<(), Refused> {
        let rule = self.rules.iter().find(|rule| rule.matches(method, target));
        if let Some(rule) = rule {
            entry.rule(rule.to_string());
            return Ok(());
        }
        if sabotage::down(Wall::HostRules) {
            return Ok(());
        }
        let subject = format!("{method} {}", target.shown());
        let rule = if self.rules.is_empty() {
            "no host is granted"
        } else {
            "no rule allows it"
        };
        self.egress
            .inner
            .book
            .denied(subject.clone(), rule.to_owned());
        Err(Refused::Denied { subject })
    }

    async fn perform(
        &self,
        request: http::Request<Body>,
        target: Target,
        declared: Option<u64>,
        entry: &Arc<Entry>,
    ) -> Result<http::Response<Body>, Refused> {
        let inner = &self.egress.inner;
        let limits = &inner.limits;
        let timeouts = request
            .extensions()
            .get::<Timeouts>()
            .copied()
            .unwrap_or_default();
        let at_most = |asked: Option<Duration>, limit: u64| {
            let limit = Duration::from_millis(limit);
            asked.map_or(limit, |asked| asked.min(limit))
        };
        let connect = at_most(timeouts.connect, limits.http_connect);
        let connecting = async {
            let permit = self.permit(connect, entry).await?;
            let (request, target, connection) = self.connect(request, target, entry).await?;
            Ok::<_, Refused>((permit, request, target, connection))
        };
        let (permit, request, target, connection) =
            timeout(connect, connecting)
                .await
                .map_err(|_| Refused::Timeout {
                    waiting: Waiting::Connection,
                    after: connect,
                })??;
        let request = request.map(|body| Outgoing {
            body,
            entry: entry.clone(),
            progress: Progress::now(),
            declared,
            max: sabotage::limit(Wall::RequestSize, limits.request_bytes),
            sent: 0,
        });
        let bounds = Bounds {
            header_bytes: limits.header_bytes,
            head: at_most(timeouts.head, limits.http_head),
        };
        let form = form(&target, inner.proxy.is_some());
        let (response, tasks) = exchange(connection, request, &target, form, bounds).await?;
        entry.status(response.status());
        let response = response.map(|body| {
            let arriving = Arriving {
                body,
                entry: entry.clone(),
                max: sabotage::limit(Wall::ResponseSize, limits.response_bytes),
                header_max: limits.header_bytes,
                idle: at_most(timeouts.idle, limits.http_idle),
                waiting: None,
                received: 0,
                over: false,
                tasks: Some(tasks),
                permit: Some(permit),
            };
            arriving.boxed_unsync()
        });
        match &inner.injector {
            Some(injector) => injector.incoming(self.caller, &target, response),
            None => Ok(response),
        }
    }

    /// A place among the requests under way.
    async fn permit(&self, wait: Duration, entry: &Entry) -> Result<OwnedSemaphorePermit, Refused> {
        // A little less than the whole: the limit is the better reason.
        let wait = wait.saturating_sub(wait / 8);
        match timeout(wait, self.connections.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(Refused::Closed),
            Err(_) => Err(entry.limit("connections", self.egress.inner.limits.connections)),
        }
    }

    /// Looks the host up, checks every address, lets the secrets in, and connects to what was checked.
    async fn connect(
        &self,
        request: http::Request<Body>,
        target: Target,
        entry: &Entry,
    ) -> Result<(http::Request<Body>, Target, connect::Connection), Refused> {
        let inner = &self.egress.inner;
        let addresses = match &inner.proxy {
            None => resolve::checked(inner.resolver.as_ref(), target.host()).await,
            Some(proxy) => proxy.addresses(inner.resolver.as_ref()).await,
        };
        let addresses = addresses.inspect_err(|refused| {
            if let Refused::Address { address, class, .. } = refused {
                let rule = format!("{address} is {class}; only a rule that names it allows it");
                let subject = format!("{} {}", request.method(), target.shown());
                inner.book.denied(subject, rule);
            }
        })?;
        let (request, target) = match &inner.injector {
            None => (request, target),
            Some(injector) => {
                let request = normal(request, &target);
                let request = injector.outgoing(self.caller, &target, request)?;
                let target = target.with_query(request.uri().query());
                (request, target)
            }
        };
        let (host, port) = match &inner.proxy {
            None => (target.host(), target.port()),
            Some(proxy) => (proxy.host(), proxy.port()),
        };
        let (mut stream, address) = connect::tcp(host, &addresses, port).await?;
        entry.address(address.to_string());
        if inner.proxy.is_some() && target.scheme() == target::Scheme::Https {
            connect::tunnel(&mut stream, &target).await?;
        }
        let connection = connect::secured(Box::new(stream), &target, &inner.tls).await?;
        Ok((request, target, connection))
    }
}

/// A request whose caller still waits for the head of the response. Dropped, it is over: the connection may
/// keep the entry a little longer.
struct Pending<'a>(Option<&'a Entry>);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0 {
            entry.finish(Some(&Refused::Dropped));
        }
    }
}

/// The request with its URL in the normal form.
fn normal(mut request: http::Request<Body>, target: &Target) -> http::Request<Body> {
    let uri = format!("{}{}", target.origin(), target.path_and_query());
    // It was read from such a text.
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}
