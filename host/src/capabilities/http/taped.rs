//! Where something from outside gets to the guest: whether a request is sent, the head of its response, its
//! trailers. What is read from bodies, and written to them, is in `streams.rs`.
//!
//! Everything else of the interface follows from what the guest did. A replay makes the same resources in the
//! same order, and sends nothing: what it makes for a response is a connection that was closed, which nobody
//! asks as long as the tape answers. That shows only when a run goes on behind the end of its recording.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use wasmtime::component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, ErrorCode, HostOutgoingBody as _, HostOutgoingRequest as _, Method, Scheme,
};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest,
};
use wasmtime_wasi_http::{Error, FieldMap, RequestOptions, WasiHttpCtxView};

use super::answer::{Fields, Finished, Response, Sent, Trailers, sent};
use super::code::Code;
use super::exchange::{Exchange, Role};
use super::{Nature, RunState, code};
use crate::recording::tape::Pace;

/// As wasmtime-wasi-http links them: what is defined here takes the place of what it has defined.
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";
const TYPES: &str = "wasi:http/types@0.2.12";

type Asked = Resource<HostOutgoingRequest>;
type Future = Resource<HostFutureIncomingResponse>;
type Got = Option<Result<Result<Resource<HostIncomingResponse>, ErrorCode>, ()>>;
type Carried<T> = wasmtime::Result<Result<Resource<T>, ()>>;
type GotTrailers = Option<Result<Result<Option<Resource<FieldMap>>, ErrorCode>, ()>>;

pub(super) fn add_to_linker(linker: &mut Linker<RunState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut handler = linker.instance(HANDLER)?;
    handler.func_wrap(
        "handle",
        |mut store, (request, options): (Asked, Option<Resource<RequestOptions>>)| {
            let state = store
                .data_mut()
                .enter("wasi:http/outgoing-handler", Nature::Acts);
            Ok((handle(state, request, options)?,))
        },
    )?;
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[constructor]outgoing-request",
        |mut store, (headers,): (Resource<FieldMap>,)| {
            let state = looks(store.data_mut());
            let mut view = state.http.view(&mut state.table);
            let request = types::HostOutgoingRequest::new(&mut view, headers)?;
            state.http.exchanges.begin(&request);
            Ok((request,))
        },
    )?;
    types.func_wrap(
        "[method]future-incoming-response.get",
        |mut store, (future,): (Future,)| Ok((get(looks(store.data_mut()), &future)?,)),
    )?;
    types.func_wrap(
        "[static]incoming-body.finish",
        |mut store, (body,): (Resource<HostIncomingBody>,)| {
            let state = looks(store.data_mut());
            let exchange = state.http.exchanges.take(Role::IncomingBody, &body);
            let mut view = state.http.view(&mut state.table);
            let trailers = types::HostIncomingBody::finish(&mut view, body)?;
            if let Some(exchange) = exchange {
                let exchanges = &mut state.http.exchanges;
                exchanges.put(Role::Trailers, &trailers, exchange);
            }
            Ok((trailers,))
        },
    )?;
    types.func_wrap(
        "[method]future-trailers.get",
        |mut store, (trailers,): (Resource<HostFutureTrailers>,)| {
            Ok((get_trailers(looks(store.data_mut()), &trailers)?,))
        },
    )?;
    types.func_wrap(
        "[static]outgoing-body.finish",
        |mut store, (body, trailers): (Resource<HostOutgoingBody>, Option<Resource<FieldMap>>)| {
            Ok((finish(looks(store.data_mut()), body, trailers)?,))
        },
    )?;
    let types = &mut types;
    carry(
        types,
        "[method]outgoing-request.body",
        [Role::Request, Role::OutgoingBody],
        |view, request: Asked| view.body(request),
    )?;
    carry(
        types,
        "[method]outgoing-body.write",
        [Role::OutgoingBody, Role::Writer],
        |view, body| -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
            view.write(body)
        },
    )?;
    carry(
        types,
        "[method]incoming-response.consume",
        [Role::Response, Role::IncomingBody],
        |view, response| types::HostIncomingResponse::consume(view, response),
    )?;
    carry(
        types,
        "[method]incoming-body.stream",
        [Role::IncomingBody, Role::Reader],
        |view, body| -> Carried<DynInputStream> { types::HostIncomingBody::stream(view, body) },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn looks(state: &mut RunState) -> &mut RunState {
    state.enter("wasi:http/types", Nature::Looks)
}

/// Links a function that gets one resource out of another: both belong to the same request.
fn carry<A: 'static, B: 'static>(
    types: &mut LinkerInstance<'_, RunState>,
    name: &str,
    [from, to]: [Role; 2],
    call: fn(&mut WasiHttpCtxView<'_>, Resource<A>) -> Carried<B>,
) -> wasmtime::Result<()>
where
    Resource<A>: Lift + ComponentType,
    Resource<B>: Lower + ComponentType,
{
    types.func_wrap(name, move |mut store, (of,): (Resource<A>,)| {
        let state = looks(store.data_mut());
        let exchange = state.http.exchanges.get(from, &of);
        let got = call(&mut state.http.view(&mut state.table), of)?;
        if let (Ok(got), Some(exchange)) = (&got, exchange) {
            state.http.exchanges.put(to, got, exchange);
        }
        Ok((got,))
    })
}

/// An exchange that is not among those of the guest: a defect of the host.
fn unknown() -> wasmtime::Error {
    wasmtime::Error::msg("a resource of a request belongs to none")
}

fn handle(
    state: &mut RunState,
    request: Asked,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Result<Future, ErrorCode>> {
    let exchange = state.http.exchanges.take(Role::Request, &request);
    let exchange = exchange.ok_or_else(unknown)?;
    let asked = described(state, &exchange, &request, options.as_ref())?;
    let rep = request.rep();
    let mut performed = None;
    let tape = state.tape.clone();
    let answer = tape.observe(
        "http.send",
        || asked,
        || {
            let result = send(state, request, options)?;
            let answer = match &result {
                Ok(_) => Sent::Sent,
                Err(code) => Sent::Refused(Code(code.clone())),
            };
            performed = Some(result);
            Ok(answer)
        },
    )?;
    if let Some(letting_go) = state.http.hooks.letting_go.take() {
        // Nobody waits for it if the request was refused after all.
        let _ = letting_go.send(());
    }
    exchange.is_sent();
    let result = match performed {
        Some(result) => result,
        None => {
            let request = Resource::<HostOutgoingRequest>::new_own(rep);
            state.table.delete(request)?;
            match answer {
                Sent::Sent => {
                    state.http.hooks.way.recorded();
                    Ok(closed(state, Error::ConnectionTerminated)?)
                }
                Sent::Refused(Code(code)) => Err(code),
            }
        }
    };
    if let Ok(future) = &result {
        state.http.exchanges.put(Role::Future, future, exchange);
    }
    Ok(result)
}

/// Sends a request, if this run sends any.
fn send(
    state: &mut RunState,
    request: Asked,
    options: Option<Resource<RequestOptions>>,
) -> wasmtime::Result<Result<Future, ErrorCode>> {
    if state.tape.pace() == Pace::Virtual {
        // Here and now: when a task would have come to it is nothing a hermetic run may show.
        let request = state.table.delete(request)?;
        let method = method(&request.method);
        let method = http::Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let url = url(&request).parse().unwrap_or_default();
        return Ok(match state.http.hooks.way.admit(&method, &url) {
            Err(refused) => Ok(closed(state, code(refused))?),
            Ok(()) => Ok(closed(state, Error::HttpRequestDenied)?),
        });
    }
    let mut view = state.http.view(&mut state.table);
    match view.handle(request, options) {
        Ok(future) => Ok(Ok(future)),
        Err(error) => error.downcast().map(Err),
    }
}

/// What there is of a response that never comes.
fn closed(state: &mut RunState, error: Error) -> wasmtime::Result<Future> {
    Ok(state
        .table
        .push(HostFutureIncomingResponse::Ready(Err(error)))?)
}

/// A request as it stands on the tape: as the guest put it together.
fn described(
    state: &RunState,
    exchange: &Exchange,
    request: &Asked,
    options: Option<&Resource<RequestOptions>>,
) -> wasmtime::Result<Value> {
    let request = state.table.get(request)?;
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        json!([name.as_str(), sent(value.as_bytes())])
    };
    let mut asked = exchange.asks(None);
    let Some(map) = asked.as_object_mut() else {
        return Ok(asked);
    };
    map.insert("method".to_owned(), method(&request.method).into());
    map.insert("url".to_owned(), url(request).into());
    let headers = request.headers.iter().map(header).collect();
    map.insert("headers".to_owned(), Value::Array(headers));
    map.insert("body".to_owned(), request.body.is_some().into());
    if let Some(options) = options {
        let options = state.table.get(options)?;
        let mut timeouts = Map::new();
        for (name, timeout) in [
            ("connect", options.connect_timeout),
            ("first-byte", options.first_byte_timeout),
            ("between-bytes", options.between_bytes_timeout),
        ] {
            if let Some(timeout) = timeout {
                let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
                timeouts.insert(name.to_owned(), nanos.into());
            }
        }
        if !timeouts.is_empty() {
            map.insert("timeouts".to_owned(), timeouts.into());
        }
    }
    Ok(asked)
}

fn method(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

fn url(request: &HostOutgoingRequest) -> String {
    let scheme = match &request.scheme {
        None => "",
        Some(Scheme::Http) => "http:",
        Some(Scheme::Https) => "https:",
        Some(Scheme::Other(scheme)) => &format!("{scheme}:"),
    };
    let authority = request.authority.as_deref().unwrap_or_default();
    let path = request.path_with_query.as_deref().unwrap_or_default();
    format!("{scheme}//{authority}{path}")
}

fn get(state: &mut RunState, future: &Future) -> wasmtime::Result<Got> {
    let exchange = state.http.exchanges.get(Role::Future, future);
    let exchange = exchange.ok_or_else(unknown)?;
    let rep = future.rep();
    let mut performed = None;
    let tape = state.tape.clone();
    let answer = tape.observe(
        "http.response",
        || exchange.asks(None),
        || {
            let mut view = state.http.view(&mut state.table);
            Ok(
                match types::HostFutureIncomingResponse::get(&mut view, Future::new_borrow(rep))? {
                    None => Response::Pending,
                    Some(Err(())) => Response::Taken,
                    Some(Ok(Err(code))) => Response::Failed(Code(code)),
                    Some(Ok(Ok(response))) => {
                        let head = state.table.get(&response)?;
                        let (status, headers) = (head.status, Fields::of(&head.headers));
                        performed = Some(response);
                        Response::Head { status, headers }
                    }
                },
            )
        },
    )?;
    if let Response::Head { .. } | Response::Failed(_) = answer {
        *state.table.get_mut(future)? = HostFutureIncomingResponse::Consumed;
    }
    Ok(match answer {
        Response::Pending => None,
        Response::Taken => Some(Err(())),
        Response::Failed(Code(code)) => Some(Ok(Err(code))),
        Response::Head { status, headers } => {
            // As it stands on the tape, also when it is recorded: a secret may be gone from it.
            let headers = FieldMap::new_immutable(&mut state.http.hooks, headers.map()?);
            let response = match performed {
                Some(response) => {
                    state.table.get_mut(&response)?.headers = headers;
                    response
                }
                None => state.table.push(HostIncomingResponse {
                    status,
                    headers,
                    body: Some(HostIncomingBody::new(Closed.boxed_unsync())),
                })?,
            };
            let exchanges = &mut state.http.exchanges;
            exchanges.put(Role::Response, &response, exchange);
            Some(Ok(Ok(response)))
        }
    })
}

fn get_trailers(
    state: &mut RunState,
    trailers: &Resource<HostFutureTrailers>,
) -> wasmtime::Result<GotTrailers> {
    let exchange = state.http.exchanges.get(Role::Trailers, trailers);
    let exchange = exchange.ok_or_else(unknown)?;
    let rep = trailers.rep();
    let mut performed = None;
    let tape = state.tape.clone();
    let answer = tape.observe(
        "http.trailers",
        || exchange.asks(None),
        || {
            let mut view = state.http.view(&mut state.table);
            Ok(
                match types::HostFutureTrailers::get(&mut view, Resource::new_borrow(rep))? {
                    None => Trailers::Pending,
                    Some(Err(())) => Trailers::Taken,
                    Some(Ok(Err(code))) => Trailers::Failed(Code(code)),
                    Some(Ok(Ok(None))) => Trailers::Fields(None),
                    Some(Ok(Ok(Some(fields)))) => {
                        let written = Fields::of(state.table.get(&fields)?);
                        performed = Some(fields);
                        Trailers::Fields(Some(written))
                    }
                },
            )
        },
    )?;
    if let Trailers::Fields(_) | Trailers::Failed(_) = answer {
        *state.table.get_mut(trailers)? = HostFutureTrailers::Consumed;
    }
    Ok(match answer {
        Trailers::Pending => None,
        Trailers::Taken => Some(Err(())),
        Trailers::Failed(Code(code)) => Some(Ok(Err(code))),
        Trailers::Fields(None) => Some(Ok(Ok(None))),
        Trailers::Fields(Some(fields)) => {
            let fields = FieldMap::new_immutable(&mut state.http.hooks, fields.map()?);
            let fields = match performed {
                Some(there) => {
                    *state.table.get_mut(&there)? = fields;
                    there
                }
                None => state.table.push(fields)?,
            };
            Some(Ok(Ok(Some(fields))))
        }
    })
}

/// Whether a body is as long as was declared depends on how much of it the other end has taken.
fn finish(
    state: &mut RunState,
    body: Resource<HostOutgoingBody>,
    trailers: Option<Resource<FieldMap>>,
) -> wasmtime::Result<Result<(), ErrorCode>> {
    let exchange = state.http.exchanges.sent(Role::OutgoingBody, &body);
    state.http.exchanges.take(Role::OutgoingBody, &body);
    let reps = (body.rep(), trailers.as_ref().map(Resource::rep));
    let mut performed = false;
    let perform = || {
        performed = true;
        let mut view = state.http.view(&mut state.table);
        match types::HostOutgoingBody::finish(&mut view, body, trailers) {
            Ok(()) => Ok(Finished::Ok),
            Err(error) => error.downcast().map(|code| Finished::Failed(Code(code))),
        }
    };
    let tape = state.tape.clone();
    let answer = match exchange {
        None => perform(),
        Some(exchange) => tape.observe("http.finish", || exchange.asks(None), perform),
    }?;
    if !performed {
        // In the order in which they are deleted otherwise: the next resources get their places.
        let (body, trailers) = reps;
        let body: HostOutgoingBody = state.table.delete(Resource::new_own(body))?;
        body.abort();
        if let Some(trailers) = trailers {
            state
                .table
                .delete(Resource::<FieldMap>::new_own(trailers))?;
        }
    }
    Ok(match answer {
        Finished::Ok => Ok(()),
        Finished::Failed(Code(code)) => Err(code),
    })
}

/// The body of a response nobody sends.
struct Closed;

impl http_body::Body for Closed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(Some(Err(Error::ConnectionTerminated)))
    }
}
