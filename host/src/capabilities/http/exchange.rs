//! Which resource belongs to which request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use wasmtime::component::Resource;

/// What a resource is to its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Request,
    /// The body of the request, and the stream into it.
    OutgoingBody,
    Writer,
    Future,
    Response,
    /// The body of the response, and the stream out of it.
    IncomingBody,
    Reader,
    Trailers,
}

/// One request of the guest, and what comes of it.
#[derive(Clone, Debug)]
pub(in super::super) struct Exchange {
    /// The guest has made so many requests with it, sent or not.
    number: u64,
    sent: Arc<AtomicBool>,
}

impl Exchange {
    /// From now on, what comes of it comes from outside.
    pub(super) fn is_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }

    /// What a call asks of it, as it stands on the tape.
    pub(in super::super) fn asks(&self, with: Option<(&str, Value)>) -> Value {
        let mut asked = Map::new();
        asked.insert("request".to_owned(), self.number.into());
        if let Some((name, value)) = with {
            asked.insert(name.to_owned(), value);
        }
        asked.into()
    }
}

/// The requests of a guest, by their resources. As many as the guest has resources, at most for each role.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    made: u64,
    all: HashMap<(Role, u32), Exchange>,
}

impl Exchanges {
    /// A request is there.
    pub(super) fn begin<T: 'static>(&mut self, request: &Resource<T>) {
        self.made += 1;
        let exchange = Exchange {
            number: self.made,
            sent: Arc::default(),
        };
        self.put(Role::Request, request, exchange);
    }

    /// The exchange a resource belongs to. A resource that is gone may still be listed, until another one has
    /// its place: those that others share a type with are taken off when they are dropped.
    pub(super) fn get<T: 'static>(&self, role: Role, of: &Resource<T>) -> Option<Exchange> {
        self.all.get(&(role, of.rep())).cloned()
    }

    /// The same, and the resource is not there any more.
    pub(super) fn take<T: 'static>(&mut self, role: Role, of: &Resource<T>) -> Option<Exchange> {
        self.all.remove(&(role, of.rep()))
    }

    pub(super) fn put<T: 'static>(&mut self, role: Role, of: &Resource<T>, exchange: Exchange) {
        self.all.insert((role, of.rep()), exchange);
    }

    /// The exchange a resource belongs to, once the request has been sent: before that, nobody outside has a
    /// say in it.
    pub(super) fn sent<T: 'static>(&self, role: Role, of: &Resource<T>) -> Option<Exchange> {
        let exchange = self.get(role, of)?;
        exchange.sent.load(Ordering::Relaxed).then_some(exchange)
    }
}
