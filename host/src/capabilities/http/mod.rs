//! `wasi:http`: requests of the guest, all of them through the egress.
//!
//! Requests, fields and bodies as values are wasmtime-wasi-http's; sending is ours. So are the few functions in
//! which something from outside gets to the guest (`taped`, and the streams of bodies in `streams.rs`): those
//! answers go through the tape.

mod answer;
mod code;
mod exchange;
mod taped;

use std::future::Future;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use tokio::sync::oneshot;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamError, StreamResult};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::{self, ErrorCode, HostFutureTrailers as _};
use wasmtime_wasi_http::p2::body::HostFutureTrailers;
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
};

use super::activity::Nature;
use super::state::RunState;
use crate::egress::{self, Part, Refused, Timeouts, Waiting, Way};
use crate::grants::Limits;
use crate::selftest::sabotage::{self, down};
use crate::selftest::wall::Wall;
pub(super) use answer::{Streamed, sent};
use code::Code;
pub(super) use exchange::Exchange;
use exchange::{Exchanges, Role};

/// Bytes of a request's body a guest may be ahead of the network with one write.
const CHUNK: usize = 64 << 10;

/// `wasi:http` for one guest.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
    exchanges: Exchanges,
}

struct Hooks {
    way: Way,
    /// Lets the request go that was handed over last, once that is on the tape: what was done without being
    /// written down would be done again by a run that goes on from there.
    letting_go: Option<oneshot::Sender<()>>,
}

impl Http {
    /// Requests go this way.
    pub(crate) fn new(way: Way, limits: &Limits) -> Http {
        let mut ctx = WasiHttpCtx::new();
        // Only the backstop, because a guest that is over it traps: the limit itself is checked when a
        // request is sent, and refuses it as a value.
        let fields = limits.header_bytes.saturating_mul(4);
        let fields = sabotage::limit(Wall::RequestSize, fields.saturating_add(64 << 10));
        ctx.set_field_size_limit(usize::try_from(fields).unwrap_or(usize::MAX));
        Http {
            ctx,
            hooks: Hooks {
                way,
                letting_go: None,
            },
            exchanges: Exchanges::default(),
        }
    }

    /// The exchange whose response this stream is read from.
    pub(super) fn reader(&self, stream: &Resource<DynInputStream>) -> Option<Exchange> {
        self.exchanges.get(Role::Reader, stream)
    }

    /// The exchange whose request this stream is written to, once it has been sent.
    pub(super) fn writer(&self, stream: &Resource<DynOutputStream>) -> Option<Exchange> {
        self.exchanges.sent(Role::Writer, stream)
    }

    /// The stream is dropped: what is there in its place may have nothing to do with requests.
    pub(super) fn dropped_reader(&mut self, stream: &Resource<DynInputStream>) {
        self.exchanges.take(Role::Reader, stream);
    }

    /// The same for a stream that is written to.
    pub(super) fn dropped_writer(&mut self, stream: &Resource<DynOutputStream>) {
        self.exchanges.take(Role::Writer, stream);
    }

    /// What came of using a stream, as it can be written down.
    pub(super) fn streamed<T>(&mut self, result: StreamResult<T>) -> wasmtime::Result<Streamed<T>> {
        match result {
            Ok(value) => Ok(Streamed::Ok(value)),
            Err(StreamError::Closed) => Ok(Streamed::Closed),
            Err(StreamError::Trap(error)) => Err(error),
            Err(StreamError::LastOperationFailed(error)) => {
                Ok(Streamed::Failed(Code(self.code_of(error)?)))
            }
        }
    }

    fn code_of(&mut self, error: wasmtime::Error) -> wasmtime::Result<ErrorCode> {
        let error = match error.downcast::<ErrorCode>() {
            Ok(code) => return Ok(code),
            Err(error) => error,
        };
        let error = match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => return Ok(ErrorCode::InternalError(Some(error.to_string()))),
        };
        // wasmtime-wasi-http keeps its conversion to itself; it makes it for trailers that do not come.
        let mut table = ResourceTable::new();
        let failed = table.push(HostFutureTrailers::Done(Err(error)))?;
        match self.view(&mut table).get(failed)? {
            Some(Ok(Err(code))) => Ok(code),
            _ => Ok(ErrorCode::InternalError(None)),
        }
    }

    fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table,
            ctx: &mut self.ctx,
        }
    }
}

/// Links both interfaces. Making a request is doing something; putting one together is not.
pub(super) fn add_to_linker(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    outgoing_handler::add_to_linker::<RunState, WasiHttp>(linker, |state| {
        let state = state.enter("wasi:http/outgoing-handler", Nature::Acts);
        state.http.view(&mut state.table)
    })?;
    let options = types::LinkOptions::default();
    types::add_to_linker::<RunState, WasiHttp>(linker, &options, |state| {
        let state = state.enter("wasi:http/types", Nature::Looks);
        state.http.view(&mut state.table)
    })?;
    taped::add_to_linker(linker)
}

type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        if down(Wall::RequestForm) {
            return Arc::new(|_| false);
        }
        Arc::new(egress::is_forbidden)
    }

    fn set_host_header(&mut self) -> bool {
        // The egress sets it, to the host of the URL.
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let way = self.way.clone();
        let mut request = request.map(|body| {
            body.map_err(|_| Refused::Malformed {
                part: Part::Body,
                what: "its body was not finished",
            })
            .boxed_unsync()
        });
        if let Some(options) = options {
            request.extensions_mut().insert(Timeouts {
                connect: options.connect_timeout,
                head: options.first_byte_timeout,
                idle: options.between_bytes_timeout,
            });
        }
        let (letting_go, written) = oneshot::channel();
        self.letting_go = Some(letting_go);
        Box::new(async move {
            if written.await.is_err() {
                return Err(Error::ConnectionTerminated);
            }
            let response = way.send(request).await.map_err(code)?;
            let response = response.map(|body| body.map_err(code).boxed_unsync());
            // The connection ends with the body: there is nothing else to wait for.
            let rest: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(async { Ok(()) });
            Ok((response, rest))
        })
    }
}

/// A refusal in the words of `wasi:http`.
fn code(refused: Refused) -> Error {
    let section = |max: u64| u32::try_from(max).ok();
    match refused {
        Refused::Denied { .. } | Refused::Leak { .. } | Refused::Secret { .. } => {
            Error::HttpRequestDenied
        }
        Refused::Malformed { part, .. } => match part {
            Part::Url => Error::HttpRequestUriInvalid,
            Part::Method => Error::HttpRequestMethodInvalid,
            Part::Headers => Error::HttpProtocolError,
            Part::Body => Error::HttpRequestBodySize(None),
        },
        Refused::Address { .. } => Error::DestinationIpProhibited,
        Refused::Resolve { reason, .. } => Error::DnsError {
            rcode: Some(reason),
            info_code: None,
        },
        Refused::Connect { refused: true, .. } => Error::ConnectionRefused,
        Refused::Connect { .. } => Error::DestinationUnavailable,
        Refused::Tls {
            certificate: true, ..
        } => Error::TlsCertificateError,
        Refused::Tls { .. } => Error::TlsProtocolError,
        Refused::Timeout { waiting, .. } => match waiting {
            Waiting::Connection => Error::ConnectionTimeout,
            Waiting::Head => Error::HttpResponseTimeout,
            Waiting::Body => Error::ConnectionReadTimeout,
        },
        Refused::Limit { name, max } => match name {
            "request-bytes" => Error::HttpRequestBodySize(Some(max)),
            "response-bytes" => Error::HttpResponseBodySize(Some(max)),
            "url-bytes" => Error::HttpRequestUriTooLong,
            "header-bytes" => Error::HttpRequestHeaderSectionSize(section(max)),
            _ => Error::ConnectionLimitReached,
        },
        Refused::Truncated => Error::HttpResponseIncomplete,
        Refused::Protocol { .. } => Error::HttpProtocolError,
        Refused::Dropped | Refused::Closed => Error::ConnectionTerminated,
    }
}
