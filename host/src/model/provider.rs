//! Providers: where they are, what they speak, and which secret is their key.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderName, Method, Uri};

use super::error::Failed;
use super::wire::Class;
use crate::commission;
use crate::egress::rule::RuleError;
use crate::egress::secrets::{Bound, Gathering, SecretError, SecretName, Vault};
use crate::egress::{self, Caller, HostRule};
use crate::grants::models::{Api, ProviderSpec};
use crate::grants::{Grants, ModelsGrant};
use crate::json::printable;
use crate::preflight::Refusal;
use crate::trajectory::ErrorCode;

/// The provider that needs no network: the rest of the model's name is the path of a script.
pub const SCRIPTED: &str = "scripted";

/// A provider, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The part of a model's name before the slash.
    pub id: String,
    /// The wire format it speaks.
    pub api: Api,
    /// Without a slash at its end.
    pub base_url: String,
    /// Name of the secret that is its key.
    pub secret: String,
    /// Whether it answers without a key.
    pub key: KeyNeed,
}

/// Whether a provider answers without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyNeed {
    /// Without one nothing is sent.
    Needed,
    /// It is sent where there is one.
    IfThere,
    /// A commission has moved the provider: the key does not go along.
    StaysBehind,
}

/// A provider that may be asked.
#[derive(Clone, Debug)]
pub struct Reachable {
    /// Which.
    pub provider: Provider,
    /// The requests that are made to it.
    pub rule: HostRule,
    /// Whether there is a key.
    pub key: Key,
}

/// Whether there is a key for a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It is put into each request.
    Bound,
    /// There is none, and none is needed.
    Keyless,
    /// There is none, and nothing is sent without.
    Missing,
}

/// A model and who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Who serves it.
    pub provider: String,
    /// The model's name, as its provider knows it.
    pub model: String,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// A provider the host knows by itself.
struct WellKnown {
    id: &'static str,
    api: Api,
    base_url: &'static str,
    key: KeyNeed,
}

const fn known(id: &'static str, api: Api, base_url: &'static str, key: KeyNeed) -> WellKnown {
    WellKnown {
        id,
        api,
        base_url,
        key,
    }
}

#[rustfmt::skip]
const WELL_KNOWN: &[WellKnown] = &[
    known("anthropic", Api::Anthropic, "https://api.anthropic.com", KeyNeed::Needed),
    known("openai", Api::OpenaiResponses, "https://api.openai.com/v1", KeyNeed::Needed),
    known("gemini", Api::Gemini, "https://generativelanguage.googleapis.com", KeyNeed::Needed),
    known("google", Api::Gemini, "https://generativelanguage.googleapis.com", KeyNeed::Needed),
    known("openrouter", Api::OpenaiChat, "https://openrouter.ai/api/v1", KeyNeed::Needed),
    known("mistral", Api::OpenaiChat, "https://api.mistral.ai/v1", KeyNeed::Needed),
    known("groq", Api::OpenaiChat, "https://api.groq.com/openai/v1", KeyNeed::Needed),
    known("deepseek", Api::OpenaiChat, "https://api.deepseek.com/v1", KeyNeed::Needed),
    known("xai", Api::OpenaiChat, "https://api.x.ai/v1", KeyNeed::Needed),
    known("together", Api::OpenaiChat, "https://api.together.xyz/v1", KeyNeed::Needed),
    known("fireworks", Api::OpenaiChat, "https://api.fireworks.ai/inference/v1", KeyNeed::Needed),
    known("cerebras", Api::OpenaiChat, "https://api.cerebras.ai/v1", KeyNeed::Needed),
    known("ollama", Api::OpenaiChat, "http://localhost:11434/v1", KeyNeed::IfThere),
    known("lmstudio", Api::OpenaiChat, "http://localhost:1234/v1", KeyNeed::IfThere),
    known("llamacpp", Api::OpenaiChat, "http://localhost:8080/v1", KeyNeed::IfThere),
    known("vllm", Api::OpenaiChat, "http://localhost:8000/v1", KeyNeed::IfThere),
];

/// Who serves `model`, where the commission may name another provider than its name does.
///
/// # Errors
///
/// The name is not `provider/model`.
pub fn target(model: &str, asked: Option<&commission::Provider>) -> Result<Target, String> {
    let Some((origin, name)) = model
        .split_once('/')
        .filter(|(origin, name)| !origin.is_empty() && !name.is_empty())
    else {
        return Err("has to be `provider/model`".to_owned());
    };
    if model.len() > 256 || model.chars().any(char::is_control) {
        return Err("at most 256 printable characters".to_owned());
    }
    let target = |provider: &str, model: &str| Target {
        provider: provider.to_owned(),
        model: model.to_owned(),
    };
    Ok(match asked {
        // A script stands for every provider.
        _ if origin == SCRIPTED => target(SCRIPTED, name),
        // Of a router's models, the origin is part of the name.
        Some(provider) if provider.id != origin && provider.id == "openrouter" => {
            target(&provider.id, model)
        }
        Some(provider) => target(&provider.id, name),
        None => target(origin, name),
    })
}

/// The provider `id`, as the operator set it up.
#[must_use]
pub fn resolve(id: &str, grants: &ModelsGrant) -> Option<Provider> {
    let known = WELL_KNOWN.iter().find(|known| known.id == id);
    // The last one wins: flags come after the file.
    let spec = grants.providers.iter().rfind(|spec| spec.id == id);
    let base_url = spec
        .and_then(|spec| spec.base_url.as_deref())
        .or(known.map(|known| known.base_url))?
        .trim_end_matches('/')
        .to_owned();
    let own_key = spec.is_some_and(|spec| spec.secret.is_some());
    let key = match known {
        _ if own_key => KeyNeed::Needed,
        _ if is_loopback(&base_url) => KeyNeed::IfThere,
        Some(known) if spec.is_none_or(|spec| spec.base_url.is_none()) => known.key,
        _ => KeyNeed::Needed,
    };
    Some(Provider {
        id: id.to_owned(),
        api: spec
            .and_then(|spec| spec.api)
            .or(known.map(|known| known.api))
            .unwrap_or(Api::OpenaiChat),
        secret: spec
            .and_then(|spec| spec.secret.clone())
            .unwrap_or_else(|| match id {
                // One provider under two names.
                "google" => "gemini".to_owned(),
                id => id.to_owned(),
            }),
        base_url,
        key,
    })
}

/// Whether the host knows where this provider is.
#[must_use]
pub fn is_known(id: &str, grants: &ModelsGrant) -> bool {
    resolve(id, grants).is_some()
}

/// The providers of granted models, by id, each with the requests that are made to it.
///
/// # Errors
///
/// What the commission says of a provider is more than the operator allows.
pub fn reachable(
    grants: &Grants,
    asked: Option<&commission::Provider>,
) -> Result<BTreeMap<String, Reachable>, Refusal> {
    let specs = grants.models.providers.iter().map(|spec| spec.id.as_str());
    let ids: BTreeSet<&str> = WELL_KNOWN
        .iter()
        .map(|known| known.id)
        .chain(specs)
        .collect();
    let mut reachable = BTreeMap::new();
    for id in ids {
        // A pattern grants models of a provider when it begins with its name, or with what stands for it.
        let of_this = |pattern: &String| {
            let origin = pattern.split('/').next().unwrap_or_default();
            origin == id || origin.contains('*')
        };
        if !grants.models.allow.iter().any(of_this) {
            continue;
        }
        let Some(mut provider) = resolve(id, &grants.models) else {
            continue;
        };
        if let Some(asked) = asked.filter(|asked| asked.id == id) {
            provider = as_asked(provider, asked, grants)?;
        }
        let rule = provider.rule().map_err(|reason| Refusal {
            code: ErrorCode::UnsupportedProvider,
            message: format!("provider `{id}`: {reason}"),
            remedy: Some(format!("--provider {id}=URL")),
        })?;
        let key = match provider.key {
            KeyNeed::Needed => Key::Missing,
            KeyNeed::IfThere | KeyNeed::StaysBehind => Key::Keyless,
        };
        let entry = Reachable {
            provider,
            rule,
            key,
        };
        reachable.insert(id.to_owned(), entry);
    }
    Ok(reachable)
}

/// A provider as a commission wants it, as far as the operator allows that.
fn as_asked(
    provider: Provider,
    asked: &commission::Provider,
    grants: &Grants,
) -> Result<Provider, Refusal> {
    let mut provider = match asked.base_url.as_deref() {
        Some(url) if url.trim_end_matches('/') != provider.base_url => {
            moved(provider, url.trim_end_matches('/'), grants)?
        }
        _ => provider,
    };
    let id = provider.id.clone();
    let moved = provider.key == KeyNeed::StaysBehind;
    let wanted = asked
        .credential
        .as_ref()
        .map_or(provider.secret.as_str(), |handle| handle.vault.as_str())
        .to_owned();
    if wanted == provider.secret && !moved {
        return Ok(provider);
    }
    // The operator has it go there anyway.
    let target = provider.target();
    let is_bound = grants.secrets.bindings.iter().any(|granted| {
        granted.bound.name.as_str() == wanted
            && target
                .as_ref()
                .is_some_and(|target| granted.bound.rule.matches(&Method::POST, target))
    });
    if is_bound {
        provider.secret = wanted;
        provider.key = KeyNeed::Needed;
        return Ok(provider);
    }
    if asked.credential.is_none() {
        return Ok(provider);
    }
    let wanted = printable(&wanted);
    let flag = format!("--secret \"{wanted}@{}\"", provider.written_rule());
    Err(Refusal {
        code: ErrorCode::AuthError,
        message: format!(
            "the commission wants the secret `{wanted}` for provider `{id}`, and it is not for there; `{flag}` says it is"
        ),
        remedy: Some(flag),
    })
}

/// A provider where a commission says it is, if the operator lets requests go there.
fn moved(provider: Provider, url: &str, grants: &Grants) -> Result<Provider, Refusal> {
    let id = provider.id.clone();
    let provider = Provider {
        base_url: url.to_owned(),
        key: KeyNeed::StaysBehind,
        ..provider
    };
    let flag = format!("--allow-host \"{}\"", provider.written_rule());
    let refused = |reason: String| Refusal {
        code: ErrorCode::UnsupportedProvider,
        message: format!(
            "the commission has provider `{id}` at `{}`: {reason}",
            printable(url)
        ),
        remedy: Some(flag.clone()),
    };
    check_url(url).map_err(refused)?;
    let target = provider
        .target()
        .ok_or_else(|| refused("it is not a URL that can be asked".to_owned()))?;
    let hosts = &grants.network.hosts;
    if hosts
        .iter()
        .any(|rule| rule.matches(&Method::POST, &target))
    {
        Ok(provider)
    } else {
        Err(refused(format!(
            "that is not granted; `{flag}` or `--provider {id}={}` grants it",
            printable(url)
        )))
    }
}

impl Reachable {
    /// Has the key put into the requests, where there is one.
    pub(super) fn bind(
        &mut self,
        vault: &Vault,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), SecretError> {
        let Provider {
            api, secret, key, ..
        } = &self.provider;
        if *key == KeyNeed::StaysBehind {
            return Ok(());
        }
        let name: SecretName = secret.parse()?;
        if vault.get(&name)?.is_none() {
            return Ok(());
        }
        let rule = self.rule.clone();
        let header = HeaderName::from_static;
        gathering.bind(match api {
            Api::Anthropic => Bound::header(Caller::Model, name, rule, header("x-api-key")),
            Api::Gemini => Bound::header(Caller::Model, name, rule, header("x-goog-api-key")),
            Api::OpenaiChat | Api::OpenaiResponses => Bound::bearer(Caller::Model, name, rule),
        })?;
        self.key = Key::Bound;
        Ok(())
    }
}

impl Provider {
    /// Where requests go; what a model's name adds to it comes after.
    fn endpoint(&self) -> String {
        let path = match self.api {
            Api::Anthropic => "/v1/messages",
            Api::OpenaiResponses => "/responses",
            Api::OpenaiChat => "/chat/completions",
            Api::Gemini => "/v1beta/",
        };
        format!("{}{path}", self.base_url)
    }

    /// The same failure, with a hint where the base URL may be the cause of it.
    pub(super) fn explained(&self, mut failed: Failed) -> Failed {
        let message = &mut failed.failure.message;
        let lower = message.to_ascii_lowercase();
        let is_unknown = failed.status == Some(404) || failed.status == Some(405);
        let is_path = is_unknown
            || lower.contains("unexpected endpoint")
            || lower.contains(" with a web page");
        if failed.failure.class != Class::Rejected || !is_path {
            return failed;
        }
        let Provider { id, base_url, .. } = self;
        let path = url::Url::parse(base_url).map(|url| url.path().trim_matches('/').to_owned());
        let is_bare = path.as_ref().is_ok_and(String::is_empty);
        let has_version = path.is_ok_and(|path| path.rsplit('/').next() == Some("v1"));
        let hint = match self.api {
            Api::OpenaiChat | Api::OpenaiResponses if is_bare => Some(format!(
                "; most servers have it under `/v1`: `--provider {id}={base_url}/v1`"
            )),
            Api::Anthropic if has_version => Some(format!(
                "; the base URL ends before `/v1`: `--provider {id}={}`",
                base_url.trim_end_matches("/v1")
            )),
            _ => None,
        };
        *message = format!(
            "{message} ({} was asked{})",
            self.endpoint(),
            hint.unwrap_or_default()
        );
        failed
    }

    fn written_rule(&self) -> String {
        format!("POST {}", self.endpoint())
    }

    fn target(&self) -> Option<egress::Target> {
        egress::Target::of(&Uri::try_from(self.endpoint()).ok()?).ok()
    }

    /// The requests that are made to it, and no others.
    fn rule(&self) -> Result<HostRule, String> {
        self.written_rule()
            .parse()
            .map_err(|error: RuleError| error.to_string())
    }
}

/// There is no key.
pub(super) fn no_key(provider: &Provider) -> Failed {
    let Provider { id, secret, .. } = provider;
    Failed::new(
        Class::Auth,
        format!("there is no key for provider `{id}`; `wasm-agent secret set {secret}` keeps one"),
    )
}

/// Whether a URL leads to this very machine.
fn is_loopback(base_url: &str) -> bool {
    let Ok(url) = url::Url::parse(base_url) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// What is wrong with a provider as the operator wrote it.
///
/// # Errors
///
/// In words.
pub fn check(spec: &ProviderSpec) -> Result<(), String> {
    let word = |text: &str| {
        !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte)
            })
    };
    if !word(&spec.id) {
        return Err("an id has lowercase letters, digits, `_` and `-`".to_owned());
    }
    if spec.id == SCRIPTED {
        return Err("this id is taken by scripts".to_owned());
    }
    if let Some(url) = &spec.base_url {
        check_url(url)?;
    } else if !WELL_KNOWN.iter().any(|known| known.id == spec.id) {
        return Err("it is not well-known, so it needs a base URL".to_owned());
    }
    if spec.secret.as_deref().is_some_and(|secret| !word(secret)) {
        return Err("the name of a secret has lowercase letters, digits, `_` and `-`".to_owned());
    }
    Ok(())
}

/// What is wrong with a base URL.
pub(super) fn check_url(text: &str) -> Result<(), String> {
    let url = url::Url::parse(text).map_err(|error| format!("the base URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("the base URL has to begin with `http://` or `https://` and a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the base URL must not hold a name or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the base URL must not hold a `?` or `#`".to_owned());
    }
    Ok(())
}

/// A provider nobody knows.
pub(super) fn unknown(id: &str) -> Refusal {
    let flag = format!("--provider {id}=URL");
    Refusal {
        code: ErrorCode::UnsupportedProvider,
        message: format!("provider `{id}` is not known; `{flag}` says where it is"),
        remedy: Some(flag),
    }
}

/// A model the operator has not granted.
pub(super) fn not_granted(target: &Target) -> Refusal {
    let flag = if target.provider == SCRIPTED {
        format!("--model {target}")
    } else {
        format!("--allow-model {target}")
    };
    Refusal {
        code: ErrorCode::UnsupportedModel,
        message: format!("model `{target}` is not granted; `{flag}` grants it"),
        remedy: Some(flag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(id: &str) -> ProviderSpec {
        ProviderSpec {
            id: id.to_owned(),
            api: None,
            base_url: None,
            secret: None,
        }
    }

    fn grants(providers: Vec<ProviderSpec>) -> ModelsGrant {
        ModelsGrant {
            providers,
            ..ModelsGrant::default()
        }
    }

    #[test]
    fn well_known_providers_can_be_moved_and_unknown_ones_added() {
        let none = grants(vec![]);
        let anthropic = resolve("anthropic", &none).unwrap();
        assert_eq!(anthropic.base_url, "https://api.anthropic.com");
        assert_eq!(
            (anthropic.secret.as_str(), anthropic.key),
            ("anthropic", KeyNeed::Needed)
        );
        assert_eq!(resolve("ollama", &none).unwrap().key, KeyNeed::IfThere);
        assert_eq!(resolve("nobody", &none), None);

        let moved = |url: &str, secret: Option<&str>| {
            let spec = ProviderSpec {
                base_url: Some(url.to_owned()),
                secret: secret.map(str::to_owned),
                ..spec("anthropic")
            };
            resolve("anthropic", &grants(vec![spec])).unwrap()
        };
        let provider = moved("http://127.0.0.1:9/", None);
        assert_eq!(
            (provider.api, provider.key),
            (Api::Anthropic, KeyNeed::IfThere)
        );
        assert_eq!(provider.base_url, "http://127.0.0.1:9");
        assert_eq!(moved("http://127.0.0.1:9", Some("k")).key, KeyNeed::Needed);
        assert_eq!(moved("https://proxy.example", None).key, KeyNeed::Needed);
        assert_eq!(moved("http://localhost.example", None).key, KeyNeed::Needed);

        let mine = ProviderSpec {
            base_url: Some("https://x.example/v1".to_owned()),
            ..spec("mine")
        };
        let mine = resolve("mine", &grants(vec![mine])).unwrap();
        assert_eq!((mine.api, mine.secret.as_str()), (Api::OpenaiChat, "mine"));
    }

    #[test]
    fn a_commission_may_name_who_serves_a_model() {
        let served = |model: &str, by: Option<&str>| {
            let provider = by.map(|id| commission::Provider {
                id: id.to_owned(),
                base_url: None,
                credential: None,
            });
            target(model, provider.as_ref()).map(|target| target.to_string())
        };
        assert_eq!(served("anthropic/c", None).unwrap(), "anthropic/c");
        assert_eq!(
            served("anthropic/c", Some("anthropic")).unwrap(),
            "anthropic/c"
        );
        assert_eq!(
            served("anthropic/c", Some("openrouter")).unwrap(),
            "openrouter/anthropic/c"
        );
        assert_eq!(
            served("meta/llama", Some("ollama")).unwrap(),
            "ollama/llama"
        );
        assert_eq!(
            served("scripted/x.toml", Some("anthropic")).unwrap(),
            "scripted/x.toml"
        );
        for bad in ["", "x", "/x", "x/", "a/\n"] {
            assert!(served(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_provider_is_said() {
        check(&spec("openai")).unwrap();
        let with_url = |url: &str| {
            check(&ProviderSpec {
                base_url: Some(url.to_owned()),
                ..spec("mine")
            })
        };
        with_url("http://localhost:1/v1").unwrap();
        for url in [
            "",
            "localhost",
            "ftp://x",
            "http://u:p@x",
            "http://x?y",
            "http://x#y",
            "file:///x",
        ] {
            assert!(with_url(url).is_err(), "{url}");
        }
        for id in ["", "A", "a/b", "scripted", "mine"] {
            assert!(check(&spec(id)).is_err(), "{id}");
        }
    }
}
