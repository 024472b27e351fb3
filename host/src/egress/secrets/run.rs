//! The secrets of one run: gathered before it starts, put on the wire and looked for while it runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};

use super::super::refused::Part;
use super::super::{Body, Caller, Injector, Refused, Target};
use super::binding::{Binding, Bound, Place};
use super::body::{Search, Searched, leak, told};
use super::guard::{Guard, Redacted};
use super::logs;
use super::placeholder::Placeholder;
use super::scan::{Kind, Needle, Scanner};
use super::store::{SecretStore, StoreError};
use super::unpack;
use super::value::{Secret, SecretName, ValueError};
use crate::error::Hint;
use crate::grants::secrets::{Leaks, SecretsGrant};
use crate::recording::Seed;
use crate::selftest::sabotage::down;
use crate::selftest::wall::Wall;
use crate::trajectory::audit::LeakAction;
use crate::trajectory::{Audit, Ledger};

/// Where values of secrets come from.
#[derive(Clone, Debug, Default)]
pub struct Vault {
    store: Option<SecretStore>,
    environment: bool,
    given: BTreeMap<SecretName, Secret>,
}

/// A secret cannot be used in a run.
#[derive(Debug, thiserror::Error)]
#[expect(
    missing_docs,
    reason = "the message of each variant says what it means"
)]
pub enum SecretError {
    #[error("the secret `{name}` is not set")]
    Unset { name: SecretName },
    #[error("the secrets `{a}` and `{b}` would both be put into `{place}` of requests to {host}")]
    Collision {
        a: SecretName,
        b: SecretName,
        place: Place,
        host: String,
    },
    #[error("cannot use the secret `{name}`: its variable `{variable}` is not UTF-8")]
    NotText { name: SecretName, variable: String },
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot get random numbers from the operating system: {0}")]
    Random(#[from] getrandom::Error),
    #[error("the secrets of this run are too many to look for")]
    TooMany,
}

impl Hint for SecretError {
    fn hint(&self) -> Option<String> {
        match self {
            SecretError::Unset { name } => Some(format!(
                "`wasm-agent secret set {name}` keeps it, or set {}",
                name.variable()
            )),
            SecretError::Collision { .. } => {
                Some("narrow their hosts, methods or paths until one remains".to_owned())
            }
            SecretError::Value(error) => error.hint(),
            SecretError::Store(error) => error.hint(),
            SecretError::NotText { .. } | SecretError::Random(_) | SecretError::TooMany => None,
        }
    }
}

impl Vault {
    /// Where the user's secrets are kept, if they are used.
    #[must_use]
    pub fn store_path(&self) -> Option<&Path> {
        self.store.as_ref().map(SecretStore::path)
    }

    /// Secrets of the user: `WASM_AGENT_SECRET_NAME` first, then the store.
    #[must_use]
    pub fn of_user(store: SecretStore) -> Vault {
        Vault {
            store: Some(store),
            environment: true,
            given: BTreeMap::new(),
        }
    }

    /// Secrets of the environment, `WASM_AGENT_SECRET_NAME`, alone.
    #[must_use]
    pub fn of_environment() -> Vault {
        Vault {
            environment: true,
            ..Vault::default()
        }
    }

    /// The same, and this one before any other of its name.
    #[must_use]
    pub fn with(mut self, name: SecretName, secret: Secret) -> Vault {
        self.given.insert(name, secret);
        self
    }

    /// The value of a secret, when it is set.
    ///
    /// # Errors
    ///
    /// It is set and cannot be used; the store cannot be read.
    pub fn get(&self, name: &SecretName) -> Result<Option<Secret>, SecretError> {
        if let Some(secret) = self.given.get(name) {
            return Ok(Some(secret.clone()));
        }
        if self.environment {
            let variable = name.variable();
            match std::env::var(&variable) {
                Ok(value) => return Ok(Some(Secret::new(name, value)?)),
                Err(std::env::VarError::NotPresent) => {}
                Err(std::env::VarError::NotUnicode(_)) => {
                    let name = name.clone();
                    return Err(SecretError::NotText { name, variable });
                }
            }
        }
        match &self.store {
            Some(store) => Ok(store.get(name)?),
            None => Ok(None),
        }
    }

    /// The key of digests. Where there is no store, one for this time only.
    fn key(&self) -> Result<[u8; 32], SecretError> {
        if let Some(store) = &self.store {
            match store.key() {
                Ok(key) => return Ok(key),
                // Secrets from the environment need no folder that can be written to.
                Err(error) => tracing::debug!(%error, "digests of secrets are of this run only"),
            }
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(key)
    }
}

/// Gathers the secrets of a run.
#[derive(Debug)]
pub struct Gathering<'a> {
    vault: &'a Vault,
    values: BTreeMap<SecretName, Secret>,
    bounds: Vec<Bound>,
    placeholders: Vec<Placeholder>,
    seed: Seed,
}

impl<'a> Gathering<'a> {
    /// None yet. Placeholders follow from the seed of the run.
    #[must_use]
    pub fn new(vault: &'a Vault, seed: Seed) -> Gathering<'a> {
        Gathering {
            vault,
            seed,
            values: BTreeMap::new(),
            bounds: Vec::new(),
            placeholders: Vec::new(),
        }
    }

    /// The value of a secret the host uses itself, such as in the environment of a tool server. It is looked
    /// for from then on.
    ///
    /// # Errors
    ///
    /// It is not set or cannot be used.
    pub fn value(&mut self, name: &SecretName) -> Result<Secret, SecretError> {
        if let Some(secret) = self.values.get(name) {
            return Ok(secret.clone());
        }
        let secret = self
            .vault
            .get(name)?
            .ok_or_else(|| SecretError::Unset { name: name.clone() })?;
        self.values.insert(name.clone(), secret.clone());
        Ok(secret)
    }

    /// Whether a secret is set.
    ///
    /// # Errors
    ///
    /// It is set and cannot be used; the store cannot be read.
    pub fn has(&self, name: &SecretName) -> Result<bool, SecretError> {
        Ok(self.values.contains_key(name) || self.vault.get(name)?.is_some())
    }

    /// Puts a secret into requests of one caller.
    ///
    /// # Errors
    ///
    /// It is not set or cannot be used; another one has that place already.
    pub fn bind(&mut self, bound: Bound) -> Result<(), SecretError> {
        self.value(&bound.name)?;
        if self.bounds.contains(&bound) {
            return Ok(());
        }
        if let Some(other) = self.bounds.iter().find(|other| other.collides(&bound)) {
            return Err(SecretError::Collision {
                a: other.name.clone(),
                b: bound.name,
                place: bound.place,
                host: bound.rule.host(),
            });
        }
        self.bounds.push(bound);
        Ok(())
    }

    /// What the operator has bound for the agent's own requests.
    ///
    /// # Errors
    ///
    /// As [`Gathering::bind`].
    pub fn granted(&mut self, grant: &SecretsGrant) -> Result<(), SecretError> {
        for granted in &grant.bindings {
            self.bind(granted.bound.clone())?;
            if let Some(variable) = &granted.variable {
                let name = granted.bound.name.clone();
                self.placeholders
                    .push(Placeholder::new(name, variable.clone(), &self.seed));
            }
        }
        Ok(())
    }

    /// All of them, with the policy for those found where they do not belong.
    ///
    /// # Errors
    ///
    /// There are too many to look for.
    pub fn finish(self, leaks: Leaks) -> Result<Secrets, SecretError> {
        let Gathering {
            vault,
            values,
            bounds,
            placeholders,
            seed: _,
        } = self;
        if values.is_empty() {
            return Ok(Secrets::default());
        }
        let key = vault.key()?;
        let bindings = bounds.into_iter().filter_map(|bound| {
            let secret = values.get(&bound.name)?.clone();
            let digest = blake3::keyed_hash(&key, secret.expose().as_bytes());
            let digest = format!("blake3:{}", digest.to_hex());
            Some(Binding {
                bound,
                secret,
                digest,
            })
        });
        let bindings: Vec<_> = bindings.collect();
        let needle = |name: &SecretName, kind| Needle {
            name: name.as_str().into(),
            kind,
        };
        let secrets = values
            .iter()
            .map(|(name, secret)| (needle(name, Kind::Secret), secret.expose().as_bytes()));
        let stand_ins = placeholders.iter().map(|placeholder| {
            let needle = needle(&placeholder.name, Kind::Placeholder);
            (needle, placeholder.as_str().as_bytes())
        });
        let scanner = Scanner::new(secrets.chain(stand_ins)).ok_or(SecretError::TooMany)?;
        let guard = Arc::new(Guard::new(scanner, leaks));
        logs::watch(&guard);
        Ok(Secrets {
            bindings: bindings.into(),
            placeholders: placeholders.into(),
            values: Arc::new(values),
            guard: Some(guard),
        })
    }
}

/// The secrets of one run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    bindings: Arc<[Binding]>,
    placeholders: Arc<[Placeholder]>,
    values: Arc<BTreeMap<SecretName, Secret>>,
    guard: Option<Arc<Guard>>,
}

impl Secrets {
    /// Those of a replay: the placeholders its guest had, and nothing they stand for.
    #[must_use]
    pub fn recorded(placeholders: &BTreeMap<String, SecretName>, seed: &Seed) -> Secrets {
        let placeholders = placeholders
            .iter()
            .map(|(variable, name)| Placeholder::new(name.clone(), variable.clone(), seed));
        Secrets {
            placeholders: placeholders.collect(),
            ..Secrets::default()
        }
    }

    /// What looks for them; nothing when there is none.
    #[must_use]
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        self.guard.as_ref()
    }

    /// What the agent finds in its environment.
    #[must_use]
    pub fn placeholders(&self) -> &[Placeholder] {
        &self.placeholders
    }

    /// The value of one that was gathered for the host's own use.
    #[must_use]
    pub fn value(&self, name: &SecretName) -> Option<&Secret> {
        self.values.get(name)
    }

    /// Whether this secret goes with requests of a caller to a URL.
    #[must_use]
    pub fn binds(&self, caller: Caller, name: &str, url: &str) -> bool {
        let Some(target) = url.parse().ok().and_then(|uri| Target::of(&uri).ok()) else {
            return false;
        };
        let goes = |binding: &Binding| {
            binding.bound.name.as_str() == name
                && binding.matches(caller, &http::Method::POST, &target)
        };
        self.bindings.iter().any(goes)
    }

    /// What puts them into requests and looks for them in what goes out and comes in; nothing when there is
    /// none.
    #[must_use]
    pub fn injector(&self, ledger: Ledger) -> Option<Arc<dyn Injector>> {
        let guard = self.guard.clone()?;
        Some(Arc::new(Wire {
            secrets: self.clone(),
            guard,
            ledger,
        }))
    }
}

struct Wire {
    secrets: Secrets,
    guard: Arc<Guard>,
    ledger: Ledger,
}

impl Injector for Wire {
    fn outgoing(
        &self,
        caller: Caller,
        target: &Target,
        request: http::Request<Body>,
    ) -> Result<http::Request<Body>, Refused> {
        let (mut parts, body) = request.into_parts();
        let encodings = self.encodings(&parts.headers).ok_or(Refused::Malformed {
            part: Part::Headers,
            what: "its body is encoded more often than is looked through for secrets",
        })?;
        let mut query = target.query().map(str::to_owned);
        let bindings = self.secrets.bindings.iter();
        let matching: Vec<&Binding> = bindings
            .filter(|binding| binding.matches(caller, &parts.method, target))
            .collect();
        for (at, binding) in matching.iter().enumerate() {
            let same = |other: &&Binding| other.bound.place == binding.bound.place;
            if matching.iter().skip(at + 1).any(same) {
                return Err(Refused::Secret {
                    name: binding.bound.name.to_string(),
                    reason: "another one has the same place in this request",
                });
            }
        }
        let replaced: Vec<bool> = matching
            .iter()
            .map(|binding| binding.clear(&mut parts.headers, &mut query))
            .collect();
        let place = format!("request to {}", target.origin());
        self.search_url(&place, target.path(), query.as_deref())?;
        self.search_headers(&place, "a header", &mut parts.headers, true)?;
        for (binding, replaced) in matching.iter().zip(replaced) {
            binding.put(&mut parts.headers, &mut query)?;
            let used = Audit::SecretUsed {
                name: binding.bound.name.to_string(),
                digest: binding.digest.clone(),
                place: binding.bound.place.to_string(),
                host: target.origin(),
                replaced,
            };
            // What is not on record is not done.
            self.ledger.audit(used).map_err(|_| Refused::Closed)?;
        }
        if !matching.is_empty() {
            // What the server says of it has to be readable.
            let identity = HeaderValue::from_static("identity");
            parts.headers.insert(header::ACCEPT_ENCODING, identity);
            let path = target.path();
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            let uri = format!("{}{path}{query}", target.origin());
            parts.uri = uri.parse().map_err(|_| Refused::Malformed {
                part: Part::Url,
                what: "its URL cannot be sent",
            })?;
        }
        // A body whose length has been announced cannot become shorter.
        let policy = match self.guard.policy() {
            Leaks::Redact if parts.headers.contains_key(header::CONTENT_LENGTH) => Leaks::Block,
            policy => policy,
        };
        let search = Search {
            guard: self.guard.clone(),
            ledger: self.ledger.clone(),
            place: format!("body of a {place}"),
            what: "the body of the request",
            placeholders: !down(Wall::Placeholder),
            policy,
        };
        let body = Body::new(Searched::new(body, search, encodings));
        Ok(http::Request::from_parts(parts, body))
    }

    fn incoming(
        &self,
        _: Caller,
        target: &Target,
        response: http::Response<Body>,
    ) -> Result<http::Response<Body>, Refused> {
        let (mut parts, body) = response.into_parts();
        let encodings = self.encodings(&parts.headers).ok_or_else(|| Refused::Protocol {
            reason: "the body of the response is encoded more often than is looked through for secrets"
                .to_owned(),
        })?;
        let place = format!("response of {}", target.origin());
        self.search_headers(
            &place,
            "a header of the response",
            &mut parts.headers,
            false,
        )?;
        let policy = match self.guard.policy() {
            Leaks::Redact => {
                // It may become shorter, or longer.
                parts.headers.remove(header::CONTENT_LENGTH);
                Leaks::Redact
            }
            policy => policy,
        };
        let search = Search {
            guard: self.guard.clone(),
            ledger: self.ledger.clone(),
            place: format!("body of a {place}"),
            what: "the body of the response",
            placeholders: false,
            policy,
        };
        let body = Body::new(Searched::new(body, search, encodings));
        Ok(http::Response::from_parts(parts, body))
    }
}

impl Wire {
    /// What a body is declared to be encoded with; nothing when that is more than is looked through, and nothing may
    /// pass that was not.
    fn encodings(&self, headers: &HeaderMap) -> Option<Vec<String>> {
        let declared = unpack::declared(headers);
        declared.or_else(|| (self.guard.policy() == Leaks::Warn).then(Vec::new))
    }

    fn search_url(&self, place: &str, path: &str, query: Option<&str>) -> Result<(), Refused> {
        let url = format!("{path}?{}", query.unwrap_or_default());
        let Some(redacted) = self.guard.redact(url.as_bytes()) else {
            return Ok(());
        };
        for needle in &redacted.found {
            // Nothing can be cut out of an address: it would be another one.
            let passes = needle.kind == Kind::Secret && self.guard.policy() == Leaks::Warn
                || needle.kind == Kind::Placeholder && down(Wall::Placeholder);
            let place = format!("URL of a {place}");
            if passes {
                told(&self.ledger, needle, &place, LeakAction::Passed);
            } else {
                told(&self.ledger, needle, &place, LeakAction::Blocked);
                return Err(leak(needle, "the URL"));
            }
        }
        Ok(())
    }

    fn search_headers(
        &self,
        place: &str,
        what: &'static str,
        headers: &mut HeaderMap,
        placeholders: bool,
    ) -> Result<(), Refused> {
        for name in headers.keys() {
            if let Some(found) = self.guard.redact(name.as_str().as_bytes())
                && let Some(needle) = found.found.first()
            {
                told(&self.ledger, needle, place, LeakAction::Blocked);
                return Err(leak(needle, what));
            }
        }
        for (name, value) in headers.iter_mut() {
            let Some(Redacted { rest, found }) = self.guard.redact(value.as_bytes()) else {
                continue;
            };
            let place = format!("`{name}` of a {place}");
            let mut policy = None;
            for needle in &found {
                let decided = match (needle.kind, self.guard.policy()) {
                    (Kind::Placeholder, _) if !placeholders || down(Wall::Placeholder) => continue,
                    (Kind::Placeholder, _) => Leaks::Block,
                    (Kind::Secret, decided) => decided,
                };
                let action = match decided {
                    Leaks::Block => LeakAction::Blocked,
                    Leaks::Redact => LeakAction::Redacted,
                    Leaks::Warn => LeakAction::Passed,
                };
                told(&self.ledger, needle, &place, action);
                if decided == Leaks::Block {
                    return Err(leak(needle, what));
                }
                policy = Some(decided);
            }
            if policy == Some(Leaks::Redact) {
                *value =
                    HeaderValue::from_bytes(&rest).unwrap_or(HeaderValue::from_static("[secret]"));
            }
        }
        Ok(())
    }
}
